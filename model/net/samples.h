// Sequences of a training step with their targets.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace longrun {

struct Samples {
  at::Tensor ids_BT, targets_BT;    // int64
  at::Tensor position_ids_BT = {};  // int32; undefined: plain positions
  std::int64_t n_positions = 0;     // as in Batch
};

}  // namespace longrun
