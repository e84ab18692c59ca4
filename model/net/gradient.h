// Gradients of a summed loss of tokens, accumulated over passes: the sum over passes of
// weight * d(sum of nll) / d parameter. The head is taken in chunks by hand (head.h), the body by
// autograd.
#pragma once

#include <ATen/core/Tensor.h>

#include "model/net/masked_batch.h"
#include "model/net/transformer.h"

namespace longrun {

// Asks the network for gradients, and starts a sum from nothing.
void ClearGradients(Transformer& net);

// Adds one pass; gives the nll of each target, (B * N), of type compute.dtype. targets_BN belong to
// the first N <= T positions (a network without a causal mask sees all T).
at::Tensor AddGradients(Transformer& net, const at::Tensor& ids_BT, const at::Tensor& targets_BN,
                        double weight);

// The same of the hidden tokens of masked sequences.
at::Tensor AddMaskedGradients(Transformer& net, const MaskedBatch& batch, double weight);

// The sum of a parameter; zeros where no pass reached it.
at::Tensor GradientOf(const at::Tensor& parameter);

}  // namespace longrun
