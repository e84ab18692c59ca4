#include "kernels/cuda_library.h"

#include <dlfcn.h>

#include <mutex>

#include "base/check.h"
#include "base/str.h"

namespace longrun {
namespace {

Result<void*> Symbol(void* library, const std::string& path, const char* name) {
  void* const symbol = dlsym(library, name);
  if (symbol != nullptr) return symbol;
  return Status(Code::kFailedPrecondition,
                Str(path, " has no ", name, ": it is from another build of longrun"));
}

template <typename Function>
Status Find(void* library, const std::string& path, const char* name, Function& function) {
  ASSIGN_OR_RETURN(void* const symbol, Symbol(library, path, name));
  function = reinterpret_cast<Function>(symbol);
  return {};
}

struct OpenedLibrary {
  std::mutex mutex;
  std::string path;  // empty: none is open
  CudaLibrary library;
};

// The kernels carry no state, so the plug-in is the process's.
OpenedLibrary& Opened() {
  static OpenedLibrary opened;
  return opened;
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
  CudaLibrary functions;
  const auto find = [&](const char* name, auto& function) {
    return Find(library, path, name, function);
  };
  RETURN_IF_ERROR(find(kLongrunGpuDescribeSymbol, functions.describe));
  RETURN_IF_ERROR(find(kLongrunCudaArchitecturesSymbol, functions.architectures));
  RETURN_IF_ERROR(find(kLongrunAttentionForwardSymbol, functions.attention_forward));
  RETURN_IF_ERROR(find(kLongrunAttentionBackwardSymbol, functions.attention_backward));
  RETURN_IF_ERROR(find(kLongrunNormForwardSymbol, functions.norm_forward));
  RETURN_IF_ERROR(find(kLongrunNormBackwardSymbol, functions.norm_backward));
  RETURN_IF_ERROR(find(kLongrunActivationForwardSymbol, functions.activation_forward));
  RETURN_IF_ERROR(find(kLongrunActivationBackwardSymbol, functions.activation_backward));
  RETURN_IF_ERROR(find(kLongrunCrossEntropySymbol, functions.cross_entropy));
  RETURN_IF_ERROR(find(kLongrunColumnSumSymbol, functions.column_sum));
  RETURN_IF_ERROR(find(kLongrunKeyBiasForwardSymbol, functions.key_bias_forward));
  RETURN_IF_ERROR(find(kLongrunKeyBiasBackwardSymbol, functions.key_bias_backward));
  RETURN_IF_ERROR(find(kLongrunAdamWSymbol, functions.adamw));
  return functions;
}

Result<const CudaLibrary*> OpenCudaLibrary(const std::string& path) {
  OpenedLibrary& opened = Opened();
  const std::lock_guard lock(opened.mutex);
  if (opened.path.empty()) {
    ASSIGN_OR_RETURN(opened.library, LoadCudaLibrary(path));
    opened.path = path;
  }
  if (opened.path != path) {
    return Status(Code::kFailedPrecondition,
                  Str("the CUDA part of longrun is already loaded from ", opened.path,
                      ", and cannot be loaded from ", path, " as well"));
  }
  return &opened.library;
}

const CudaLibrary& OpenedCudaLibrary() {
  LR_CHECK(Opened().library.describe != nullptr);
  return Opened().library;
}

}  // namespace longrun
