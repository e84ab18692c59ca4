// The head and its loss, over chunks of rows, so that no (N, V) tensor of a large
// vocabulary exists:
//
//   z = hidden W^T + b,   nll[n] = log sum_v exp(z[n][v]) - z[n][target[n]]
//   dz = softmax(z) - onehot(target),   d hidden = dz W,   dW = dz^T hidden,
//       db = sum of dz's rows
//
// The softmax is taken in the network's own type (fp32, or fp64), over all rows of the vocabulary.
// A target of -100 (kIgnoredTarget) is ignored: its nll and its gradient are 0. Any other target
// outside of [0, V) is a bug of the caller.
//
// Legend: N rows (B * T), C d_model, V vocabulary.
#pragma once

#include <ATen/core/Tensor.h>

#include "model/net/device.h"
#include "model/net/linear.h"

namespace longrun {

// The weights of the last product, or the sums of their gradients.
struct Head {
  at::Tensor weight_VC;
  at::Tensor bias_V = {};  // undefined if there is none
  // The weight in the type of products; undefined: HeadNll and HeadNllBackward round it.
  at::Tensor rounded_VC = {};
};

// (N, V), of type compute.dtype.
at::Tensor HeadLogits(const at::Tensor& hidden_NC, const Head& head, const Compute& compute);

// (N), of type compute.dtype, without gradients.
at::Tensor HeadNll(const at::Tensor& hidden_NC, const Head& head, const at::Tensor& targets_N,
                   const Compute& compute);

struct HeadGradient {
  at::Tensor nll_N;
  at::Tensor hidden_NC;  // weight * d(sum of nll) / d hidden
};

// Adds weight * d(sum of nll) / d head to *head_gradient, whose weight is undefined if it is zero
// (AddWeightGradient); its bias is defined if the head has one.
HeadGradient HeadNllBackward(const at::Tensor& hidden_NC, const Head& head,
                             const at::Tensor& targets_N, double weight, const Compute& compute,
                             Head* head_gradient, GradientRoom* room);

}  // namespace longrun
