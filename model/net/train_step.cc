#include "model/net/train_step.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/stack.h>

#include "model/net/gradient.h"
#include "model/net/to_device.h"

namespace longrun {

void TrainStep::BeginPass() {
  if (n_pass_++ == 0) ClearGradients(net_);
}

void TrainStep::Add(const Samples& samples) {
  if (recorded_ != nullptr && recorded_->Add(samples, weight_, n_pass_ == 0)) {
    ++n_pass_;
    nll_sum_ = recorded_->nll_sum();
    return;
  }
  BeginPass();
  const c10::Device device = net_.compute().device;
  Batch batch = {.ids_BT = ToDevice(samples.ids_BT, device)};
  if (samples.position_ids_BT.defined()) {
    batch.position_ids_BT = ToDevice(samples.position_ids_BT, device);
    batch.n_positions = samples.n_positions;
  }
  AddLosses(AddGradients(net_, batch, ToDevice(samples.targets_BT, device), weight_));
}

void TrainStep::Add(const MaskedBatch& samples) {
  BeginPass();
  AddLosses(AddMaskedGradients(net_, samples, weight_));
}

void TrainStep::AddLosses(const at::Tensor& nll_N) {
  const at::Tensor sum = nll_N.sum(at::kDouble);
  nll_sum_.defined() ? nll_sum_.add_(sum) : nll_sum_ = sum;
}

at::Tensor TrainStep::Finish(AdamW& optimizer, double lr) {
  const at::Tensor results = at::stack({nll_sum_ * weight_, optimizer.ClipGradients()});
  optimizer.Step(lr, results);
  return results;
}

}  // namespace longrun
