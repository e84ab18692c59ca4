// Activation checkpointing: the intermediate results of a block are not kept for its backward pass
// but computed again there, from the block's input (Chen et al. 2016, arXiv:1604.06174). The second
// time the same operators get the same numbers, so losses and gradients have the same bits. Memory
// holds the activations of one block and the inputs of the others, and the time grows by one
// forward pass of the blocks.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

namespace longrun {

// The computation of a block from its input and from tensors that other blocks read as well. The
// gradients of these shared tensors are added up outside. All other tensors that need a gradient
// are leaves.
using BlockFunction =
    std::function<at::Tensor(const at::Tensor& x, const std::vector<at::Tensor>& shared)>;

// block(x, shared), with gradients for x, `shared` and `leaves`. The block is called now and again
// in the backward pass; until then it and everything that it refers to must not change.
at::Tensor Recomputed(const BlockFunction& block, const at::Tensor& x,
                      const std::vector<at::Tensor>& shared, const std::vector<at::Tensor>& leaves);

}  // namespace longrun
