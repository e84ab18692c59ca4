// Computes a learned bias per key (CABLE, FoX), forward and backward; kernels/reference/key_bias.h
// has CABLE's formulas. sigma is 1 for CABLE's gate -softplus(a), and -1 for FoX's gate
// log sigmoid(a) = -softplus(-a):
//
//   r[b][h][t] = before[b][h] - sum over u <= t of softplus(sigma a[b][u][h])
//   da[b][t][h] = -sigma sigmoid(sigma a[b][t][h]) sum over u >= t of dr[b][h][u]
//
// r reaches 1e4 and more, where the spacing of fp32 is 1e-3. So it is summed in double and returned
// in one of two forms: as r, or as local and anchor with
// r[t] = anchor[t / kKeyBiasBlock] + local[t]. anchor[J] is the sum before block J, so that local
// stays small.
//
// Shapes:  a, da (B, T, H); r, dr, local (B, H, T); anchor (B, H, ceil(T / kKeyBiasBlock));
//          before (B, H)
// Types:   a, da, local fp32; r, dr, anchor, before and intermediate values double
// Bits:    a sequence's bits depend only on that sequence
// Errors:  a null or negative argument is a bug of the caller (LR_CHECK)
#pragma once

#include <cstdint>

#include "kernels/simd.h"

namespace longrun {

inline constexpr std::int64_t kKeyBiasBlock = 128;

struct KeyBiasShape {
  std::int64_t batch = 1, n_head = 0, n_key = 0;
  bool log_sigmoid = false;  // FoX's gate; else CABLE's
};

struct KeyBiasForwardCall {
  KeyBiasShape shape;
  const float* a = nullptr;
  const double* before = nullptr;  // null: 0
  double* r = nullptr;             // the result: either r, or both local and anchor
  float* local = nullptr;
  double* anchor = nullptr;
  bool negated = false;  // returns c = -r, which attention takes one-sided
};
void KeyBiasForward(const KeyBiasForwardCall& call, const KernelOptions& options);

struct KeyBiasBackwardCall {
  KeyBiasShape shape;
  const float* a = nullptr;
  const double* dr = nullptr;  // with `negated`: dc
  float* da = nullptr;
  bool negated = false;
};
void KeyBiasBackward(const KeyBiasBackwardCall& call, const KernelOptions& options);

}  // namespace longrun
