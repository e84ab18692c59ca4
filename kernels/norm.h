// Residual addition and normalisation over channels, forward and backward, a row at a time.
//
//   s = x + a                                        a: what a block adds; absent: s = x
//   LayerNorm  y = (s - mean(s)) rstd gamma + beta   rstd = 1 / sqrt(mean((s - mean(s))^2) + epsilon)
//   RMSNorm    y = s rstd gamma                      rstd = 1 / sqrt(mean(s^2) + epsilon)
//
//   (Ba, Kiros, Hinton 2016, arXiv:1607.06450; Zhang, Sennrich 2019, arXiv:1910.07467)
//
// Backward, given dy, and ds of whoever else reads s: with n = (s - mean) rstd (RMSNorm: s rstd) and
// g = dy gamma,
//
//   dx = da = ds + rstd (g - mean(g) - n mean(g n))          RMSNorm: without mean(g)
//   dgamma = sum over rows of dy n,   dbeta = sum over rows of dy
//
// Shapes:  x, a, s, y and their gradients (N, C), dense; gamma, beta (C); mean, rstd (N)
// Types:   a, da, y, dy fp32 or bf16; all else, and every sum, fp32
// Bits:    a row's depend on that row alone; dgamma's and dbeta's on the rows, not on threads
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
  float* sum = nullptr;         // s; null with `addend` null, since s = x then
  Elements y = {};
  float* mean = nullptr;  // what backward reads; null with RMSNorm
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
  const float* d_sum = nullptr;  // may be null: nobody else reads s
  float* dx = nullptr;
  Bf16* d_addend = nullptr;  // dx again, of a bf16 addend; may be null
  float* d_gamma = nullptr;  // written; null: not wanted
  float* d_beta = nullptr;   // the same, with d_gamma alone
};
void NormBackward(const NormBackwardCall& call, const KernelOptions& options);

}  // namespace longrun
