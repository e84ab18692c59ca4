// AdamW (Loshchilov, Hutter 2019, arXiv:1711.05101) over many tensors in one pass, and the global
// norm used for gradient clipping. With g' = clip g, t = 1, 2, ...:
//
//   theta = theta - lr lambda theta
//   m = beta1 m + (1 - beta1) g',   v = beta2 v + (1 - beta2) g'^2
//   theta = theta - lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)
//
// Types:   fp32, with the coefficients formed in double. A bf16 copy of theta is the fp32 result,
//          rounded to nearest even
// Bits:    an element's bits depend only on that element. The norm's bits depend on the gradients,
//          not on threads: parts of fixed size are summed in fp32, and their sums in double, in
//          order
// Subnormal numbers: flushed, or kept where the options say so (base/subnormals.h). Flushing
//          changes m by less than 2^-124 / (1 - beta1), and sqrt(v) by less than
//          2^-63 sqrt(3 / (1 - beta2)). For beta2 = 0.999 this is 6e-18, less than fp32's rounding
//          of an eps of 1e-10 or more. Flushing makes the norm of n numbers smaller by less than
//          2^-63 sqrt(n). Proof: each multiply-add of a square to a sum, which is zero or at least
//          2^-126, loses less than 2^-126. So the sum S of the squares loses d < n 2^-126 in all,
//          and sqrt(S) - sqrt(S - d) <= sqrt(d)
// Errors:  a null or negative argument is a bug of the caller (LR_CHECK)
#pragma once

#include <cstdint>
#include <span>

#include "kernels/elements.h"
#include "kernels/simd.h"

namespace longrun {

struct ConstVector {
  const float* data = nullptr;
  std::int64_t n = 0;
};
// The square root of the sum of all squares.
double GlobalNorm(std::span<const ConstVector> gradients, const KernelOptions& options);

struct AdamWTensor {
  std::int64_t n = 0;
  const float* gradient = nullptr;
  float* parameter = nullptr;
  float* m = nullptr;
  float* v = nullptr;
  Bf16* copy = nullptr;       // of theta, for products in bf16; null: none is kept
  double weight_decay = 0.0;  // lambda
};

struct AdamWStep {
  double lr = 0.0, beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  std::int64_t t = 1;
  double clip = 1.0;  // g' = clip g; the gradients in memory do not change
};
void AdamWUpdate(std::span<const AdamWTensor> tensors, const AdamWStep& step,
                 const KernelOptions& options);

}  // namespace longrun
