#include "model/net/train_step.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/stack.h>

#include "model/net/gradient.h"

namespace longrun {

void TrainStep::BeginPass() {
  if (n_pass_++ == 0) ClearGradients(net_);
}

void TrainStep::Add(const Samples& samples) {
  const Samples here = copies_.Bring(samples);
  if (recorded_ != nullptr && recorded_->Add(here, weight_, n_pass_ == 0)) {
    ++n_pass_;
    nll_sum_ = recorded_->nll_sum();
    return;
  }
  BeginPass();
  const Batch batch = {.ids_BT = here.ids_BT,
                       .position_ids_BT = here.position_ids_BT,
                       .n_positions = here.n_positions};
  AddLosses(AddGradients(net_, batch, here.targets_BT, weight_));
}

void TrainStep::Add(const MaskedBatch& samples) {
  const MaskedBatch here = copies_.Bring(samples);
  BeginPass();
  AddLosses(AddMaskedGradients(net_, here, weight_));
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
