// q, k and v of one product, as they lie in it: no copy on the way there, none on the way back.
//
// Legend: B batch, T positions, H heads, D head_dim.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>

namespace longrun {

// The three parts (B, H, T, D) of qkv, which is dense: (B, T, 3 H D), or (B, T, H 3 D) with heads_first.
// Their gradients are one tensor, copied together unless they lie as EmptyGradients lays them.
std::array<at::Tensor, 3> UnpackHeads(const at::Tensor& qkv_BTC, std::int64_t n_head,
                                      bool heads_first);

// Gradients of q, k and v (B, H, T, D), not yet written: as the parts of one tensor where q, k and v
// are, else as (B, T, H, D) each, so that a projection behind reads rows of all heads.
std::array<at::Tensor, 3> EmptyGradients(const at::Tensor& q_BHTD, const at::Tensor& k_BHTD,
                                         const at::Tensor& v_BHTD);

// (B, H, T, D) of x's sizes that lies as (B, T, H, D), not yet written.
at::Tensor EmptyHeads(const at::Tensor& x_BHTD);

}  // namespace longrun
