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

// `View` is HeadsView or HeadsBuffer. The tensor is (B, H, T, D) in fp32 or bf16, with dense
// channels and any other steps.
template <typename View>
View HeadsOf(const at::Tensor& x_BHTD) {
  LR_CHECK(x_BHTD.size(3) <= 1 || x_BHTD.stride(3) == 1);
  return {.data = x_BHTD.data_ptr(),
          .scalar = x_BHTD.scalar_type() == at::kBFloat16 ? Scalar::kBf16 : Scalar::kFp32,
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
