#include "model/net/recorded_passes.h"

#include <ATen/ops/empty.h>

#include <utility>

#include "base/check.h"
#include "model/net/gradient.h"

namespace longrun {
namespace {

// Copies numbers to the tensor, which keeps its address.
void Place(const at::Tensor& numbers, at::Tensor& to) {
  if (!numbers.defined()) return;
  if (!to.defined()) to = at::empty(numbers.sizes(), numbers.options());
  to.copy_(numbers);
}

}  // namespace

RecordedPasses::RecordedPasses(Net& net, std::shared_ptr<Recorder> recorder)
    : net_(net), recorder_(std::move(recorder)) {}

bool RecordedPasses::Add(const Samples& samples, double weight, bool is_first) {
  const bool is_plain = !samples.position_ids_BT.defined();
  const Shape shape = {.n_sequence = samples.ids_BT.size(0),
                       .n_token = samples.ids_BT.size(1),
                       .n_positions = is_plain ? 0 : samples.n_positions,
                       .weight = weight};
  LR_CHECK(!last_ || (last_->n_token == shape.n_token && last_->n_positions == shape.n_positions));
  if (is_first) {
    in_step_ = false;
    const bool comes_again = last_ == shape;
    last_ = shape;
    if (recorded_ != shape) {
      if (!comes_again) return false;
      Forget();
      last_ = recorded_ = shape;
    }
    in_step_ = true;
  } else if (!in_step_) {
    return false;
  }
  LR_CHECK(recorded_->weight == weight);
  Inputs& inputs = inputs_[shape.n_sequence];
  PlaceInputs(samples, inputs);
  std::unique_ptr<Recording>& recording = is_first ? first_ : later_[shape.n_sequence];
  if (!recording) recording = Record(inputs, is_first);
  recording->Replay();
  // A pass in between that was not a replay may have put its own in their place.
  std::size_t i = 0;
  for (const auto& [name, parameter] : net_.parameters()) {
    const_cast<at::Tensor&>(parameter).mutable_grad() = gradients_[i++];
  }
  return true;
}

void RecordedPasses::PlaceInputs(const Samples& samples, Inputs& inputs) {
  Place(samples.ids_BT, inputs.ids_BT);
  Place(samples.targets_BT, inputs.targets_BT);
  Place(samples.position_ids_BT, inputs.position_ids_BT);
  if (!nll_sum_.defined()) nll_sum_ = at::empty({}, inputs.ids_BT.options().dtype(at::kDouble));
}

std::unique_ptr<Recording> RecordedPasses::Record(const Inputs& inputs, bool is_first) {
  std::unique_ptr<Recording> recording = recorder_->Record([&] {
    if (is_first) ClearGradients(net_);
    const Batch batch = {.ids_BT = inputs.ids_BT,
                         .position_ids_BT = inputs.position_ids_BT,
                         .n_positions = recorded_->n_positions};
    const at::Tensor sum =
        AddGradients(net_, batch, inputs.targets_BT, recorded_->weight).sum(at::kDouble);
    is_first ? nll_sum_.copy_(sum) : nll_sum_.add_(sum);
  });
  if (is_first) {
    gradients_.clear();
    for (const auto& [name, parameter] : net_.parameters()) gradients_.push_back(parameter.grad());
  }
  return recording;
}

void RecordedPasses::Forget() {
  first_.reset();
  later_.clear();
  gradients_.clear();
  inputs_.clear();
  last_.reset();
  recorded_.reset();
  in_step_ = false;
}

}  // namespace longrun
