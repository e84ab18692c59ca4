// q, k and v as parts of one product, without copies in forward or backward.
//
// Legend: B batch, T positions, H heads, D head_dim.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>

namespace longrun {

// The three parts (B, H, T, D) of qkv, which is dense: (B, T, 3 H D), or (B, T, H 3 D) with
// heads_first. Their gradients become one tensor, which is a copy unless they have the layout
// of EmptyGradients.
std::array<at::Tensor, 3> UnpackHeads(const at::Tensor& qkv_BTC, std::int64_t n_head,
                                      bool heads_first);

// Uninitialised gradients of q, k and v (B, H, T, D). If q, k and v are parts of one tensor, so are
// the gradients. Otherwise each has the memory layout (B, T, H, D), so that the projection before
// them reads rows of all heads.
std::array<at::Tensor, 3> EmptyGradients(const at::Tensor& q_BHTD, const at::Tensor& k_BHTD,
                                         const at::Tensor& v_BHTD);

// An uninitialised tensor of x's sizes (B, H, T, D) with memory layout (B, T, H, D).
at::Tensor EmptyHeads(const at::Tensor& x_BHTD);

}  // namespace longrun
