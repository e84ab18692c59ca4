// Attention with position terms, as plain loops in double:
// the reference for every other back-end. Forward:
//
//   s[i][j] = scale * <q~_i, k~_j> + bias[i][j]    q~, k~ rotated; with regions, as the region of
//                                                  (i, j) says; terms: kernels/attention_terms.h
//   lse[i]  = log sum over visible j of exp(s[i][j])
//   p[i][j] = exp(s[i][j] - lse[i])
//   o[i]    = sum over j of z[i][j] p[i][j] v_j    z: dropout (kernels/dropout.h), else 1
//
// Backward, given do = dL/do (not with regions):
//
//   delta[i]  = <do_i, o_i>
//   ds[i][j]  = p[i][j] (z[i][j] <do_i, v_j> - delta[i])
//   dv_j      = sum over i of z[i][j] p[i][j] do_i
//   dq~_i     = scale sum over j of ds[i][j] k~_j         dq = dq~ rotated back
//   dk~_j     = scale sum over i of ds[i][j] q~_i         dk = dk~ rotated back
//   dc_j      = sum over i of ds[i][j]                   one-sided key bias; sum over j of dc_j = 0
//   dr_p     += sigma ds[i][j],  dr_j -= sigma ds[i][j]  two-sided; sigma = 1 for j <= p, else -1
//   dt[p - t]     += ds[i][j]                                          distance table
//   dslope[s]     += ds[i][j] u,  dintercept[s] += ds[i][j]            piecewise, u in segment s
//   dpsi[|p - t|] += ds[i][j] slope[s] row_factor[p]
//   drow_factor[p] += ds[i][j] slope[s] psi[|p - t|]
//
// Shapes:  q, o (B, H, T_q, D); k, v (B, H_kv, T_k, D); lse (B, H, T_q); all dense, row-major
//          query head h reads key head h / (H / H_kv)
// Edges:   a query that sees no key gives o = 0, lse = -inf and no gradient, never NaN
// Errors:  a size that does not fit its span is a bug of the caller (LR_CHECK)
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/attention_terms.h"

namespace longrun {

struct AttentionSize {
  std::int64_t batch = 1;
  std::int64_t n_head = 0;
  std::int64_t n_kv_head = 0;  // divides n_head
  std::int64_t n_query = 0;
  std::int64_t n_key = 0;
  std::int64_t head_dim = 0;
};

struct AttentionInput {
  AttentionSize size;
  std::span<const double> q, k, v;
};

struct AttentionOutput {
  std::vector<double> o, lse;
};

struct AttentionGradient {
  std::vector<double> q, k, v;   // with the inputs' shapes
  std::vector<double> key_bias;  // (B, H, T_k): of c, or of r; empty without the term
  // With the shapes of AttentionTerms; empty without the term.
  std::vector<double> distance_table;
  std::vector<double> slope, intercept, psi, row_factor;
};

AttentionOutput ReferenceAttentionForward(const AttentionInput& input, const AttentionTerms& terms);

// kMagnitudes: every sum is taken over the absolute values of its summands, with
// ds = p (|<do, v>| + |delta|), where neither is less than the root of the sum of the squares of
// its D products; q and k are used as they are after rotation. The result is not a gradient: tests
// measure the rounding of a gradient against it, since a relative error says nothing where summands
// cancel. Above all, delta = <do, o> is computed from an o that forward has rounded.
enum class GradientSums { kSigned, kMagnitudes };

// `o_gradient` (B, H, T_q, D) is dL/do. `o` and `lse` are forward's results as the caller stored
// them, perhaps rounded, or merged with those of other keys; empty: they are computed again.
AttentionGradient ReferenceAttentionBackward(const AttentionInput& input,
                                             const AttentionTerms& terms,
                                             std::span<const double> o_gradient,
                                             std::span<const double> o = {},
                                             std::span<const double> lse = {},
                                             GradientSums sums = GradientSums::kSigned);

}  // namespace longrun
