// Activation checkpointing: what a block computed is not kept for its backward pass but computed again
// there, from the block's input (Chen et al. 2016, arXiv:1604.06174). The second time the same operators
// meet the same numbers, so losses and gradients have the same bits; memory holds the activations of one
// block and the inputs of the others, and time grows by one forward pass of the blocks.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

namespace longrun {

// What a block computes from its input and from tensors that other blocks read as well, whose gradients
// are added up outside. What else needs a gradient are leaves.
using BlockFunction =
    std::function<at::Tensor(const at::Tensor& x, const std::vector<at::Tensor>& shared)>;

// block(x, shared), with gradients for x, `shared` and `leaves`. The block is called now and once more
// in the backward pass, up to which it and what it refers to must stay as they are.
at::Tensor Recomputed(const BlockFunction& block, const at::Tensor& x,
                      const std::vector<at::Tensor>& shared, const std::vector<at::Tensor>& leaves);

}  // namespace longrun
