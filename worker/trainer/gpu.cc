#include "worker/trainer/gpu.h"

#include <dlfcn.h>

#include "base/files.h"
#include "base/process.h"
#include "base/str.h"
#include "kernels/cuda_plugin.h"

namespace longrun::trainer {
namespace {

struct Plugin {
  LongrunGpuDescribe describe = nullptr;
};

Result<Plugin> LoadPlugin() {
  const std::string path = JoinPath(ProgramFolder(), "liblongrun_cuda.so");
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* why = dlerror();
    return Status(
        Code::kFailedPrecondition,
        Str("the CUDA part of longrun cannot be loaded: ", why == nullptr ? "unknown reason" : why,
            "; build longrun on a machine with nvcc, or use a CPU"));
  }
  void* symbol = dlsym(library, kLongrunGpuDescribeSymbol);
  if (symbol == nullptr) {
    return Status(Code::kFailedPrecondition, Str(path, " has no ", kLongrunGpuDescribeSymbol,
                                                 ": it is from another build of longrun"));
  }
  return Plugin{.describe = reinterpret_cast<LongrunGpuDescribe>(symbol)};
}

}  // namespace

Result<GpuInfo> DescribeGpu(int ordinal) {
  static const Result<Plugin> plugin = LoadPlugin();
  if (!plugin) return plugin.status();
  LongrunGpu gpu = {};
  if (const char* error = plugin->describe(ordinal, &gpu); error != nullptr) {
    return Status(Code::kFailedPrecondition, Str("GPU ", ordinal, ": ", error));
  }
  return GpuInfo{.name = gpu.name,
                 .memory_bytes = gpu.memory_bytes,
                 .capability_major = gpu.capability_major,
                 .capability_minor = gpu.capability_minor};
}

}  // namespace longrun::trainer
