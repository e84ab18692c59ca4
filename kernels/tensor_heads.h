// LibTorch tensors as the views that attention reads and writes. Only for code that uses LibTorch.
#pragma once

#include <ATen/core/Tensor.h>

#include "base/check.h"
#include "kernels/attention.h"

namespace longrun {

inline MemorySpace MemoryOf(const at::Tensor& x) {
  if (!x.is_cuda()) return {};
  return {.kind = MemorySpace::Kind::kCuda, .ordinal = static_cast<std::int32_t>(x.get_device())};
}

// The type of its elements: fp32, bf16 or fp16.
inline Scalar ScalarOf(const at::Tensor& x) {
  switch (x.scalar_type()) {
    case at::kBFloat16:
      return Scalar::kBf16;
    case at::kHalf:
      return Scalar::kFp16;
    default:
      LR_CHECK(x.scalar_type() == at::kFloat);
      return Scalar::kFp32;
  }
}

// `View` is HeadsView or HeadsBuffer. The tensor is (B, H, T, D) with dense channels and any other
// steps.
template <typename View>
View HeadsOf(const at::Tensor& x_BHTD) {
  LR_CHECK(x_BHTD.size(3) <= 1 || x_BHTD.stride(3) == 1);
  return {.data = x_BHTD.data_ptr(),
          .scalar = ScalarOf(x_BHTD),
          .batch = x_BHTD.size(0),
          .n_row = x_BHTD.size(2),
          .n_head = x_BHTD.size(1),
          .head_dim = x_BHTD.size(3),
          .batch_step = x_BHTD.stride(0),
          .row_step = x_BHTD.stride(2),
          .head_step = x_BHTD.stride(1),
          .memory = MemoryOf(x_BHTD)};
}

}  // namespace longrun
