// One optimiser step of a network, as work that is queued on its device. On a GPU the host waits
// for none of it: samples are copied through pinned memory, and whether the step's numbers are
// finite is decided where they are.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "model/net/adamw.h"
#include "model/net/masked_batch.h"
#include "model/net/net.h"

namespace longrun {

// Sequences of a step with their targets, on the host.
struct Samples {
  at::Tensor ids_BT, targets_BT;    // int64
  at::Tensor position_ids_BT = {};  // int32; undefined: plain positions
  std::int64_t n_positions = 0;     // as in Batch
};

// Used once: any number of passes, then Finish.
class TrainStep {
 public:
  // The loss is the sum of all targets' nll times `weight`.
  TrainStep(Net& net, double weight);

  // Adds a pass. The samples may change as soon as it returns.
  void Add(const Samples& samples);
  void Add(const MaskedBatch& samples);

  // Updates the weights, unless the loss or the norm of the gradients is not finite.
  // Returns both, in this order, as doubles on the device.
  at::Tensor Finish(AdamW& optimizer, double lr);

 private:
  void AddLosses(const at::Tensor& nll_N);

  Net& net_;
  double weight_;
  at::Tensor nll_sum_;
};

}  // namespace longrun
