// What positions add to attention, as the kernels see it: views of numbers, owned by the caller.
//
//   s[b][h][i][j] = scale * <rotate(q_i, p), rotate(k_j, j)> + bias[b][h][i][j],   p = q_offset + i
//                 = -inf where query i does not see key j
//
// B batch, H heads, T_q queries, T_k keys, D head_dim, R rotary channels (even, R <= D).
// Keys stand at positions 0 .. T_k - 1, query i at position p. A term that is absent costs nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

namespace longrun {

// Causal: query i sees key j when j <= q_offset + i. Not causal: it sees every key.
struct Visibility {
  bool causal = true;
  std::int64_t q_offset = 0;  // the position of query 0; negative: the first queries see nothing
};

// One-sided: bias = c_j. A bias a_i + c_j is the same thing, since a_i cancels in the softmax where
// every visible key of row i has it: b_i - b_j is passed as c = -b.
// Two-sided: bias = r_p - r_j for j <= p, r_j - r_p beyond. Every query stands at a key there:
// 0 <= q_offset, q_offset + T_q <= T_k.
struct KeyBias {
  std::span<const double> values;  // (B, H, T_k): c, or r
  bool two_sided = false;
};

// The channels of a row turn in pairs; those from R on pass through.
//   kHalf:         y[c]  = x[c]  cos - x[c+R/2] sin,   y[c+R/2] = x[c+R/2] cos + x[c]  sin
//   kInterleaved:  y[2c] = x[2c] cos - x[2c+1]  sin,   y[2c+1]  = x[2c+1]  cos + x[2c] sin
struct RotationTable {
  enum class Layout { kHalf, kInterleaved };
  std::span<const double> cos, sin;  // (positions, R/2), of the angle position * frequency[c]
  std::int64_t n_rotary = 0;         // R
  Layout layout = Layout::kHalf;
};

struct AttentionTerms {
  double scale = 0.0;  // of the product, never of the bias
  Visibility visibility = {};
  std::optional<KeyBias> key_bias = {};
  std::optional<RotationTable> rotation = {};
};

}  // namespace longrun
