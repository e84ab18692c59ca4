// Cross-entropy over a chunk of logits, row by row, and the gradient, which may replace the logits.
//
//   lse[n] = log sum over v of exp(z[n][v]),   nll[n] = lse[n] - z[n][target[n]]
//   dz[n][v] = weight (exp(z[n][v] - lse[n]) - [v = target[n]])
//
// Row n with target kIgnoredTarget has nll 0 and dz 0.
//
// Shapes:  z (N, V), dense; target, nll, lse (N)
// Types:   z and dz fp32, bf16 or fp16; nll and lse fp32, from sums in fp32
// Edges:   a logit that is NaN or +inf gives NaN; -inf is probability 0
// Bits:    a row's bits depend only on that row
// Errors:  a null or negative argument, or a target outside of [0, V), is a bug of the caller
//          (LR_CHECK)
#pragma once

#include <cstdint>

#include "kernels/elements.h"
#include "kernels/simd.h"

namespace longrun {

inline constexpr std::int64_t kIgnoredTarget = -100;

struct CrossEntropyCall {
  std::int64_t n_row = 0, n_vocab = 0;
  ConstElements logits = {};
  const std::int64_t* targets = nullptr;
  float* nll = nullptr;
  float* lse = nullptr;    // null: not stored
  Elements d_logits = {};  // of the logits' type, may be the logits; null: not computed
  double weight = 1.0;
};
void CrossEntropy(const CrossEntropyCall& call, const KernelOptions& options);

}  // namespace longrun
