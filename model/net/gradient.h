// Gradients of a summed loss over tokens, accumulated over passes: the sum over passes of
// weight * d(sum of nll) / d parameter. The head is differentiated by hand in chunks (head.h), the
// body by autograd.
#pragma once

#include <ATen/core/Tensor.h>

#include "model/net/masked_batch.h"
#include "model/net/net.h"

namespace longrun {

// Makes the network record gradients, and starts a new sum.
void ClearGradients(Net& net);

// Adds one pass; returns the nll of each target, (B * N), of type compute.dtype. targets_BN belong
// to the first N <= T positions (a network without a causal mask sees all T).
at::Tensor AddGradients(Net& net, const Batch& batch, const at::Tensor& targets_BN, double weight);
inline at::Tensor AddGradients(Net& net, const at::Tensor& ids_BT, const at::Tensor& targets_BN,
                               double weight) {
  return AddGradients(net, Batch{.ids_BT = ids_BT}, targets_BN, weight);
}

// The same for the hidden tokens of masked sequences, which are on the network's device.
at::Tensor AddMaskedGradients(Net& net, const MaskedBatch& batch, double weight);

// The accumulated gradient of a parameter; zeros if no pass reached it.
at::Tensor GradientOf(const at::Tensor& parameter);

}  // namespace longrun
