// The terms of a bias that are more than a number per key, as tensors with gradients. Formulas:
// model/position/method.h.
//
// Legend: B batch, H heads, D head_dim, Q queries of a block, K keys, N distances, P rows of a
// content table. Query row r is at position q_begin + r, key column m at k_begin + m.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "model/position/method.h"

namespace longrun {

// f_h(d) for the distances d = begin .. begin + n - 1: (H, N), of the type and on the device of
// `like`. Computed in double on the CPU; its gradient goes to `learned`.
at::Tensor DistanceRow(const DistanceBias& bias, const std::vector<at::Tensor>& learned,
                       std::int64_t n_head, std::int64_t begin, std::int64_t n,
                       const at::TensorOptions& like);

// bias[h][r][m] = row[h][q_ahead + r - m - first]: (H, Q, K). q_ahead = q_begin - k_begin.
at::Tensor DistanceBlock(const at::Tensor& row_HN, std::int64_t first, std::int64_t q_ahead,
                         std::int64_t n_query, std::int64_t n_key);

// The network as a piecewise linear function of u = psi[|i - j|] row_factor[i], in the kernels'
// form (kernels/attention_terms.h): a ReLU of one number bends where its unit switches on, at
// -b1 / w1. All in double; gradients go to `learned`: w1, b1, w2, b2, c, lambda.
struct NetworkPieces {
  at::Tensor psi_T, row_factor_T;     // (n_positions)
  at::Tensor knots_K;                 // ascending, positive: u is never less than 0; no gradient
  at::Tensor slope_HS, intercept_HS;  // S = K + 1 segments
};
NetworkPieces PiecesOf(const DistanceNetwork& network, const std::vector<at::Tensor>& learned,
                       std::int64_t n_positions);

// (H, Q, K). `learned`: w1, b1, w2, b2, c, lambda.
at::Tensor NetworkBlock(const DistanceNetwork& network, const std::vector<at::Tensor>& learned,
                        std::int64_t q_begin, std::int64_t n_query, std::int64_t k_begin,
                        std::int64_t n_key);

// (B, H, Q, K), from unscaled queries and scores with -inf where a key is not visible.
at::Tensor ContentBlock(const at::Tensor& q_BHQD, const at::Tensor& scores_BHQK,
                        const at::Tensor& table_DP);

}  // namespace longrun
