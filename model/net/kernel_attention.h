// The fused attention of kernels/ as a node of LibTorch's graph. q, k, v and the learned parameters
// of the attention terms are tensors with gradients. Neither forward nor backward forms a T x T
// tensor.
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
#include "model/net/device.h"

namespace longrun {

struct PlannedReading;

// Angles in double, a row for each position; calls of several lengths share them.
struct RotationAngles {
  std::vector<double> cos = {}, sin = {};  // as in RotationTable
};

// The rotation of a call in double, for positions from 0, or for those of a plan or of a batch.
struct RotationNumbers {
  std::shared_ptr<const RotationAngles> angles = nullptr;  // the first n_angle are of this call
  std::int64_t n_angle = 0;
  std::vector<double> growth = {};  // as in RotationTable
  std::int64_t n_rotary = 0;
  RotationTable::Layout layout = RotationTable::Layout::kHalf;
  // On a GPU, copies of the n_angle first cosines and sines, and of growth, in its memory.
  at::Tensor device_cos = {}, device_sin = {}, device_growth = {};
};

struct KernelAttentionCall {
  const AttentionKernel* kernel = nullptr;  // KernelFor(), of the device of all tensors here
  at::Tensor q_BHTD, k_BHTD, v_BHTD;        // fp32, bf16 or fp16
  double scale = 0.0;
  bool causal = true;
  std::int64_t q_offset = 0;  // the position of query 0; keys are at positions 0, 1, ...
  std::int64_t n_before = 0;  // tokens of the text before position 0
  std::int64_t window = 0;    // 0: none
  // The key bias (KeyBias): at most one of key_bias_BHT and slope_H is set. It gives r if
  // two_sided, else c.
  at::Tensor key_bias_BHT = {}, slope_H = {};  // double
  bool two_sided = false;
  // The biases from distance first_distance on; undefined: none.
  at::Tensor distances_HN = {};
  std::int64_t first_distance = 0;
  // As in PiecewiseLinear, in double; either all are defined or none. Knots have no gradient.
  at::Tensor psi_T = {}, row_factor_T = {}, knots_K = {}, slope_HS = {}, intercept_HS = {};
  std::shared_ptr<const RotationNumbers> rotation = nullptr;
  at::Tensor rotation_rows_BT = {};  // int32, as in RotationTable::row; undefined: none
  // The plan that sets regions, window (instead of `window`) and sinks; `rotation` then has the
  // positions of PlannedReading::position. Null: no plan. Only for inference.
  std::shared_ptr<const PlannedReading> reading = nullptr;
  // As in AttentionKernelOptions, for a call with gradients, whose backward pass visits the keys
  // that forward visited. A call without gradients skips by kInferenceSkipEpsilon instead.
  double skip_epsilon = 0.0;
};

// At inference, keys that provably contribute less than fp32's rounding of a row are left out.
inline constexpr double kInferenceSkipEpsilon = 0x1p-24;

// On a CPU, the kernel of the instruction set that LibTorch uses, so that one name in a run's
// record covers both; on a GPU, that of the plug-in (kernels/cuda_attention.h).
Result<const AttentionKernel*> KernelFor(const Compute& compute);

// Returns o_BHTD, of q's type, with memory layout (B, T, H, D).
// Throws c10::Error for what the kernel refuses.
at::Tensor KernelAttention(const KernelAttentionCall& call);

}  // namespace longrun
