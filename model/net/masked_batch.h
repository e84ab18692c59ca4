// Masked sequences as tensors.
//
// Legend: B sequences, T tokens each, N positions of all of them.
#pragma once

#include <ATen/core/Tensor.h>

#include <span>

#include "model/language_model.h"

namespace longrun {

struct MaskedBatch {
  at::Tensor ids_BT;     // the input
  at::Tensor rows_N;     // b * T + t of each position, ascending
  at::Tensor targets_N;  // all int64
};

// On the CPU. All sequences must have one length; at least one sequence.
MaskedBatch ToBatch(std::span<const MaskedSequence> sequences);

}  // namespace longrun
