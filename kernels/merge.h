// Merges attention over parts of the keys into attention over all of them, so that the keys of a
// text can be divided among calls or devices (Visibility::k_offset, attention_terms.h).
//
//   m      = max over parts of lse_part
//   w_part = exp(lse_part - m)
//   o      = sum over parts of w_part o_part / sum of w_part
//   lse    = m + log(sum of w_part)
//
// The parts' keys are disjoint. Each part's o is normalised by its own lse, as forward writes both.
// Dropout merges as well, since it changes o alone.
//
// Shapes: o (B, T_q, H, D), in fp32, bf16, fp16 or fp64; lse (B, H, T_q), in fp32 or fp64. All
//         parts and the result have the same shapes; types may differ: computed in double, rounded
//         once
// Edges:  a query that sees no key in a part has lse = -inf there, and takes nothing from it;
//         if it sees no key in any part, o = 0 and lse = -inf
// Order:  sums are taken in the order of the parts
// Errors: kInvalidArgument names a part or result whose shape, type or memory does not fit; only
//         host memory is supported
#pragma once

#include <span>

#include "base/status.h"
#include "kernels/attention.h"

namespace longrun {

struct AttentionPart {
  HeadsView o;
  NumbersView lse;
};

// `parts` must not be empty, and must not overlap the results.
Status MergeAttention(std::span<const AttentionPart> parts, const HeadsBuffer& o,
                      const NumbersBuffer& lse);

}  // namespace longrun
