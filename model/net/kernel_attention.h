// The fused attention of kernels/ as a node of LibTorch's graph: q, k, v and the numbers of the terms
// are tensors with gradients; no T x T tensor exists on either way.
//
// Legend: B batch, T positions, H heads, D head_dim, N distances.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "base/status.h"
#include "kernels/attention.h"
#include "kernels/attention_terms.h"

namespace longrun {

// The rotation of a call, by position from 0 on, in double.
struct RotationNumbers {
  std::vector<double> cos = {}, sin = {}, growth = {};  // as RotationTable has them
  std::int64_t n_rotary = 0;
  RotationTable::Layout layout = RotationTable::Layout::kHalf;
};

struct KernelAttentionCall {
  const AttentionKernel* kernel = nullptr;  // KernelOfMachine()
  at::Tensor q_BHTD, k_BHTD, v_BHTD;        // fp32 or bf16, on the CPU
  double scale = 0.0;
  bool causal = true;
  std::int64_t window = 0;  // 0: none
  // At most one of the two. As KeyBias has them: c, or r with two_sided.
  at::Tensor key_bias_BHT = {};  // double
  std::vector<double> slope_H = {};
  bool two_sided = false;
  // Of distance first_distance on; undefined: none.
  at::Tensor distances_HN = {};
  std::int64_t first_distance = 0;
  // As PiecewiseLinear has them: double, all or none. No knot has a gradient.
  at::Tensor psi_T = {}, row_factor_T = {}, knots_K = {}, slope_HS = {}, intercept_HS = {};
  std::shared_ptr<const RotationNumbers> rotation = nullptr;
};

// Of the instruction set that LibTorch takes, so that one name in a run's record stands for both.
Result<const AttentionKernel*> KernelOfMachine();

// o_BHTD, of q's type, whose memory lies as (B, T, H, D). Throws c10::Error for what the kernel refuses.
at::Tensor KernelAttention(const KernelAttentionCall& call);

}  // namespace longrun
