// One optimiser step of a network, as work that is queued on its device. On a GPU the host waits
// for none of it: samples are copied while earlier passes compute, and whether the step's numbers
// are finite is decided where they are.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "model/net/adamw.h"
#include "model/net/masked_batch.h"
#include "model/net/net.h"
#include "model/net/recorded_passes.h"
#include "model/net/sample_copies.h"
#include "model/net/samples.h"

namespace longrun {

// Used once: any number of passes, then Finish.
class TrainStep {
 public:
  // The loss is the sum of all targets' nll times `weight`. `copies` is of the network's device and
  // serves all steps, so that the samples of a step arrive while the step before computes. If
  // `recorded` is not null, passes of samples are taken from there where they are recorded.
  TrainStep(Net& net, SampleCopies& copies, double weight, RecordedPasses* recorded = nullptr)
      : net_(net), copies_(copies), weight_(weight), recorded_(recorded) {}

  // Adds a pass of samples of the host, which may change as soon as it returns.
  void Add(const Samples& samples);
  void Add(const MaskedBatch& samples);

  // Updates the weights, unless the loss or the norm of the gradients is not finite.
  // Returns both, in this order, as doubles on the device.
  at::Tensor Finish(AdamW& optimizer, double lr);

 private:
  // Before a pass that is not a replay.
  void BeginPass();
  void AddLosses(const at::Tensor& nll_N);

  Net& net_;
  SampleCopies& copies_;
  double weight_;
  RecordedPasses* recorded_;
  std::int64_t n_pass_ = 0;
  at::Tensor nll_sum_;  // of the passes so far, a double
};

}  // namespace longrun
