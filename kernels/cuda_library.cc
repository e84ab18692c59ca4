#include "kernels/cuda_library.h"

#include <dlfcn.h>

#include "base/str.h"

namespace longrun {
namespace {

Result<void*> Symbol(void* library, const std::string& path, const char* name) {
  void* const symbol = dlsym(library, name);
  if (symbol != nullptr) return symbol;
  return Status(Code::kFailedPrecondition,
                Str(path, " has no ", name, ": it is from another build of longrun"));
}

}  // namespace

Result<CudaLibrary> LoadCudaLibrary(const std::string& path) {
  void* const library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* why = dlerror();
    return Status(
        Code::kFailedPrecondition,
        Str("the CUDA part of longrun cannot be loaded: ", why == nullptr ? "unknown reason" : why,
            "; build longrun on a machine with nvcc, or use a CPU"));
  }
  ASSIGN_OR_RETURN(void* const version, Symbol(library, path, kLongrunCudaVersionSymbol));
  const std::int32_t found = reinterpret_cast<LongrunCudaVersion>(version)();
  if (found != kLongrunCudaVersion) {
    return Status(
        Code::kFailedPrecondition,
        Str(path, " has version ", found, " of the plug-in's interface, but this trainer ",
            "needs version ", kLongrunCudaVersion, ": build both from the same commit"));
  }
  ASSIGN_OR_RETURN(void* const describe, Symbol(library, path, kLongrunGpuDescribeSymbol));
  ASSIGN_OR_RETURN(void* const forward, Symbol(library, path, kLongrunAttentionForwardSymbol));
  ASSIGN_OR_RETURN(void* const backward, Symbol(library, path, kLongrunAttentionBackwardSymbol));
  return CudaLibrary{
      .describe = reinterpret_cast<LongrunGpuDescribe>(describe),
      .attention_forward = reinterpret_cast<LongrunAttentionForwardFunction>(forward),
      .attention_backward = reinterpret_cast<LongrunAttentionBackwardFunction>(backward)};
}

}  // namespace longrun
