#include "model/net/recorder.h"

#include <dlfcn.h>

#include "base/files.h"
#include "base/process.h"
#include "base/str.h"

namespace longrun {
namespace {

Status CannotBeLoaded(const std::string& path) {
  const char* const why = dlerror();
  return Status(Code::kFailedPrecondition,
                Str("CUDA graphs were requested, but ", path,
                    " cannot be loaded: ", why == nullptr ? "unknown reason" : why,
                    "; build longrun where there are nvcc and LibTorch's CUDA libraries, or unset "
                    "LONGRUN_GPU_GRAPHS"));
}

}  // namespace

Result<std::unique_ptr<Recorder>> OpenRecorder(const c10::Device& device) {
  const std::string path = JoinPath(ProgramFolder(), kCudaGraphsName);
  void* const module = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (module == nullptr) return CannotBeLoaded(path);
  void* const make = dlsym(module, kMakeRecorderSymbol);
  if (make == nullptr) return CannotBeLoaded(path);
  return std::unique_ptr<Recorder>(reinterpret_cast<MakeRecorder>(make)(device.index()));
}

}  // namespace longrun
