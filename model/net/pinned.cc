#include "model/net/pinned.h"

#include <c10/util/Exception.h>

#include "base/str.h"

namespace longrun {

// LibTorch throws CUDA's error as it is. Others than this one are not of this call: it also reports
// what went wrong in kernels before.
at::Tensor Pinned(std::string_view what, const std::function<at::Tensor()>& pin) {
  constexpr std::int32_t kMemoryAllocation = 2;  // cudaErrorMemoryAllocation
  try {
    return pin();
  } catch (const c10::AcceleratorError& error) {
    if (error.get_error_code() != kMemoryAllocation) throw;
    C10_THROW_ERROR(OutOfMemoryError, Str("the host's memory for ", what,
                                          " cannot be pinned: ", error.what_without_backtrace()));
  }
}

}  // namespace longrun
