#include "worker/trainer/gpu.h"

#include "base/str.h"
#include "kernels/cuda_library.h"
#include "model/net/device.h"

namespace longrun::trainer {
Result<GpuInfo> DescribeGpu(int ordinal) {
  static const Result<CudaLibrary> plugin = LoadCudaLibrary(CudaPluginPath());
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
