#include "model/net/gradient.h"

#include <ATen/ops/index_select.h>
#include <ATen/ops/zeros_like.h>

#include <utility>

#include "model/net/head.h"

namespace longrun {
namespace {

// Backward from the last hidden states, (.., C): the head by hand, the body by autograd.
at::Tensor Backward(Net& net, const at::Tensor& hidden, const at::Tensor& targets_N,
                    double weight) {
  const at::Tensor hidden_NC = hidden.detach().flatten(0, -2);
  const Head& weights = net.head();
  const bool biased = weights.bias_V.defined();
  Head detached = {.weight_VC = weights.weight_VC.detach(),
                   .bias_V = biased ? weights.bias_V.detach() : at::Tensor()};
  if (net.weight_copies()) {
    detached.rounded_VC = net.weight_copies()->Rounded(weights.weight_VC).detach();
  }
  Head sums = {.weight_VC = weights.weight_VC.grad(),
               .bias_V = biased ? weights.bias_V.grad() : at::Tensor()};
  const HeadGradient head = HeadNllBackward(hidden_NC, detached, targets_N, weight, net.compute(),
                                            &sums, net.head_room());
  weights.weight_VC.mutable_grad() = sums.weight_VC;
  hidden.backward(head.hidden_NC.view(hidden.sizes()));
  return head.nll_N;
}

}  // namespace

void ClearGradients(Net& net) {
  net.RequireGradients(true);
  // The head's gradients are added to in place and kept, unless the weight's is so large that the
  // first product of a step can take its memory: a small one would then lie between other tensors,
  // and keep the heap from shrinking. The others are taken over from autograd.
  for (const auto& [name, parameter] : net.parameters()) {
    at::Tensor& gradient = const_cast<at::Tensor&>(parameter).mutable_grad();
    const bool is_weight = parameter.is_same(net.head().weight_VC);
    if (is_weight && FillsNewPages(parameter)) {
      if (gradient.defined()) net.head_room()->sum = std::exchange(gradient, at::Tensor());
    } else if (!is_weight && !parameter.is_same(net.head().bias_V)) {
      gradient.reset();
    } else if (gradient.defined()) {
      gradient.zero_();
    } else {
      gradient = at::zeros_like(parameter.detach());
    }
  }
}

at::Tensor AddGradients(Net& net, const Batch& batch, const at::Tensor& targets_BN, double weight) {
  at::Tensor hidden_BNC = net.Hidden(batch);
  if (targets_BN.size(1) < batch.ids_BT.size(1))
    hidden_BNC = hidden_BNC.narrow(1, 0, targets_BN.size(1));
  return Backward(net, hidden_BNC, targets_BN.flatten(), weight);
}

at::Tensor AddMaskedGradients(Net& net, const MaskedBatch& batch, double weight) {
  const at::Tensor hidden_NC = net.Hidden(batch.ids_BT).flatten(0, 1).index_select(0, batch.rows_N);
  return Backward(net, hidden_NC, batch.targets_N, weight);
}

at::Tensor GradientOf(const at::Tensor& parameter) {
  const at::Tensor& gradient = parameter.grad();
  return gradient.defined() ? gradient : at::zeros_like(parameter.detach());
}

}  // namespace longrun
