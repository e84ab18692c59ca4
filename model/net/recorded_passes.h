// The passes of training steps on a GPU, recorded once and then queued by one call each. A small
// model's pass is some hundred kernels, each of which runs for less time than the host needs to
// queue it. A replay queues the same kernels on the same numbers, so the results have the same
// bits.
//
// The first pass of a step and those after it are separate recordings, since the first one clears
// the gradients; and the last pass of a step, which may have fewer sequences, is one more. They are
// made when two steps in a row began with the same shape; steps that begin with another shape, and
// the first steps, are queued as usual. All passes have the same length and number of positions,
// since for others a network may replace tables that the recordings read.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "model/net/net.h"
#include "model/net/recorder.h"
#include "model/net/samples.h"

namespace longrun {

class RecordedPasses {
 public:
  // The network must outlive this object, and stay where it is.
  RecordedPasses(Net& net, std::shared_ptr<Recorder> recorder);

  // Adds a pass of the loss `weight` * sum of nll to the network's gradients, and its sum to
  // nll_sum(); the first pass of a step clears both before. The samples are on the device, and are
  // copied there to where the recording reads them. Returns false, and does nothing, if the pass is
  // not to be recorded, or if it is another one of a step whose first pass was not. All passes of a
  // step have the same weight.
  bool Add(const Samples& samples, double weight, bool is_first);
  // A double on the device, which the next step changes.
  const at::Tensor& nll_sum() const { return nll_sum_; }

  // To be called before the network reads anything else: it may then replace tables that the
  // recordings read.
  void Forget();

 private:
  // What the host's part of a pass depends on.
  struct Shape {
    std::int64_t n_sequence = 0, n_token = 0;
    std::int64_t n_positions = 0;  // 0: plain positions
    double weight = 0.0;

    bool operator==(const Shape&) const = default;
  };

  struct Inputs {
    at::Tensor ids_BT, targets_BT, position_ids_BT;
  };

  void PlaceInputs(const Samples& samples, Inputs& inputs);
  std::unique_ptr<Recording> Record(const Inputs& inputs, bool is_first);

  Net& net_;
  std::shared_ptr<Recorder> recorder_;
  std::optional<Shape> last_;      // of the last step's first pass
  std::optional<Shape> recorded_;  // of the first pass that is recorded
  bool in_step_ = false;           // the current step's first pass was a replay

  at::Tensor nll_sum_;
  std::vector<at::Tensor> gradients_;  // of the network's parameters, in their order
  std::unique_ptr<Recording> first_;
  std::map<std::int64_t, std::unique_ptr<Recording>> later_;  // by the number of sequences
  std::map<std::int64_t, Inputs> inputs_;                     // likewise
};

}  // namespace longrun
