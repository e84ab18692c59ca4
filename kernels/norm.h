// Residual addition and normalisation over channels, forward and backward, row by row.
//
//   s = x + a                                        a: a block's output; s = x if absent
//   LayerNorm  y = (s - mean(s)) rstd gamma + beta   rstd = 1 / sqrt(mean((s - mean(s))^2) +
//                                                    epsilon)
//   RMSNorm    y = s rstd gamma                      rstd = 1 / sqrt(mean(s^2) + epsilon)
//
//   (Ba, Kiros, Hinton 2016, arXiv:1607.06450; Zhang, Sennrich 2019, arXiv:1910.07467)
//
// Backward. Given are dy, and ds, which is the gradient of s from its other readers. With
// n = (s - mean) rstd (RMSNorm: s rstd) and g = dy gamma:
//
//   dx = da = ds + rstd (g - mean(g) - n mean(g n))          RMSNorm: without mean(g)
//   dgamma = sum over rows of dy n,   dbeta = sum over rows of dy
//
// Shapes:  x, a, s, y and their gradients (N, C), dense; gamma, beta (C); mean, rstd (N)
// Types:   a, da, y, dy fp32 or bf16, a and y also fp16, but not beside bf16; everything else, and
//          every sum, fp32
// Bits:    a row's bits depend only on that row; the bits of dgamma and dbeta depend on the rows,
//          not on threads
// Errors:  a null or negative argument is a bug of the caller (LR_CHECK)
#pragma once

#include <cstdint>

#include "kernels/elements.h"
#include "kernels/simd.h"

namespace longrun {

struct NormShape {
  std::int64_t n_row = 0, n_channel = 0;
  bool centred = true;  // LayerNorm; else RMSNorm
  double epsilon = 1e-5;
};

struct NormForwardCall {
  NormShape shape;
  const float* x = nullptr;
  ConstElements addend = {};  // may be null
  const float* gamma = nullptr;
  const float* beta = nullptr;  // may be null
  float* sum = nullptr;         // s; null if `addend` is, since then s = x
  Elements y = {};
  float* mean = nullptr;  // for backward; null with RMSNorm
  float* rstd = nullptr;
};
void NormForward(const NormForwardCall& call, const KernelOptions& options);

struct NormBackwardCall {
  NormShape shape;
  ConstElements dy = {};
  const float* sum = nullptr;  // s
  const float* gamma = nullptr;
  const float* mean = nullptr;
  const float* rstd = nullptr;
  const float* d_sum = nullptr;  // null if s has no other reader
  float* dx = nullptr;
  Bf16* d_addend = nullptr;  // dx again, for a bf16 addend; may be null
  float* d_gamma = nullptr;  // written; null: not computed
  float* d_beta = nullptr;   // the same; only with d_gamma
};
void NormBackward(const NormBackwardCall& call, const KernelOptions& options);

}  // namespace longrun
