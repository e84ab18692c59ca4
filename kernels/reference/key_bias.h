// Computes a learned bias per key, in double (CABLE; axiomlab/Cable, src/Cable.py).
//
//   g[b][t][h] = -softplus(a[b][t][h]),   softplus(x) = max(x, 0) + log(1 + exp(-|x|))
//   r[b][h][t] = sum over u <= t of g[b][u][h]           inclusive: r[.][.][0] = g[.][0][.]
//
// Attention takes r two-sided, or c = -r one-sided (kernels/attention_terms.h). Backward:
//
//   da[b][t][h] = -sigmoid(a[b][t][h]) * sum over u >= t of dr[b][h][u]
//
// Shapes: a (B, T, H), the layout of the linear layer's output; r (B, H, T), the layout that
// attention reads.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace longrun {

struct KeyBiasSize {
  std::int64_t batch = 1;
  std::int64_t n_head = 0;
  std::int64_t n_key = 0;
};

std::vector<double> ReferenceKeyBiasForward(const KeyBiasSize& size, std::span<const double> a);
std::vector<double> ReferenceKeyBiasBackward(const KeyBiasSize& size, std::span<const double> a,
                                             std::span<const double> r_gradient);

}  // namespace longrun
