// The two products in the attention of a single token after cached keys, for the keys of a part of
// the cache. A matrix library is slow at products with one row; these read each key once.
//
//   scores   s[r][j]  = <q[r], k[r / group][j]>
//   mix      o[r]    += sum over j of p[r][j] v[r / group][j]
//
// Shapes:  q, o (R, D), dense; k, v: R / group matrices (K, D), `matrix_step` apart, their rows
//          dense; s, p (R, K), rows `row_step` apart; all fp32
//          R: sequences times heads; group: query heads for each key head
// Bits:    a row's bits depend only on that row, not on threads
// Errors:  a null or negative argument is a bug of the caller (LR_CHECK)
#pragma once

#include <cstdint>

#include "kernels/simd.h"

namespace longrun {

struct TokenProductShape {
  std::int64_t n_row = 0, group = 1, n_key = 0, head_dim = 0;
  std::int64_t matrix_step = 0, row_step = 0;
};

struct TokenScoresCall {
  TokenProductShape shape;
  const float* q = nullptr;
  const float* k = nullptr;
  float* scores = nullptr;
};
void TokenScores(const TokenScoresCall& call, const KernelOptions& options);

struct TokenMixCall {
  TokenProductShape shape;
  const float* p = nullptr;
  const float* v = nullptr;
  float* o = nullptr;
};
void TokenMix(const TokenMixCall& call, const KernelOptions& options);

}  // namespace longrun
