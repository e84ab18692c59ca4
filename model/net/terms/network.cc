// A bias by a small network of the distance (DistanceNetwork):
//   bias[i][j] = W2 relu(W1 u + b1) + b2,   u = psi[|i - j|] row_factor[i]
//
// The fused kernel takes it as a piecewise linear function of u: a ReLU of one number bends where
// its unit switches on, at -b1 / w1.
//
// Legend, besides that of term.h: W width, K knots, S = K + 1 segments.
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/log1p.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/sort.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <limits>

#include "kernels/cuda_attention.h"
#include "model/net/kernel_attention.h"
#include "model/net/terms/term.h"

namespace longrun {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct Block {
  std::int64_t q_begin = 0, n_query = 0, k_begin = 0, n_key = 0;
  std::int64_t n_before = 0;  // as in ScoreBlock
};

// `learned`: w1, b1, w2, b2, c, lambda.
at::Tensor NetworkBias(at::TensorList learned, double length, const Block& block) {
  const at::Tensor &w1 = learned[0], &b1 = learned[1], &w2 = learned[2], &b2 = learned[3];
  const at::Tensor &c = learned[4], &lambda = learned[5];
  const auto options = w1.options().requires_grad(false);
  const at::Tensor i = at::arange(block.q_begin, block.q_begin + block.n_query, options);
  const at::Tensor j = at::arange(block.k_begin, block.k_begin + block.n_key, options);
  const at::Tensor distance_QK = at::abs(i.unsqueeze(1) - j.unsqueeze(0));
  const at::Tensor reach_Q = (i + block.n_before).maximum(at::abs(lambda * length));
  const at::Tensor normaliser_Q = at::log1p(at::abs(c * reach_Q)) + 1e-6;
  const at::Tensor u_QK = at::log1p(at::abs(c * distance_QK)) / normaliser_Q.unsqueeze(1);
  const at::Tensor hidden_QKW = at::relu(u_QK.unsqueeze(2) * w1.view(-1) + b1);
  return at::linear(hidden_QKW, w2, b2).permute({2, 0, 1});
}

// NetworkBias, recomputed in the backward pass: its hidden units take `width` times the memory of
// the distances, and would be kept for every block of every layer.
class NetworkFunction : public torch::autograd::Function<NetworkFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, at::TensorList learned, double length,
                            const Block& block) {
    context->save_for_backward(learned.vec());
    context->saved_data["length"] = length;
    context->saved_data["block"] = std::vector<std::int64_t>{
        block.q_begin, block.n_query, block.k_begin, block.n_key, block.n_before};
    return NetworkBias(learned, length, block);
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    variable_list learned;
    for (const at::Tensor& saved : context->get_saved_variables()) {
      learned.push_back(saved.detach().requires_grad_(true));
    }
    const std::vector<std::int64_t> at = context->saved_data["block"].toIntVector();
    const Block block = {
        .q_begin = at[0], .n_query = at[1], .k_begin = at[2], .n_key = at[3], .n_before = at[4]};
    const at::AutoGradMode recorded(true);
    const at::Tensor bias = NetworkBias(learned, context->saved_data["length"].toDouble(), block);
    variable_list result = torch::autograd::grad({bias}, learned, {gradients[0]});
    result.resize(learned.size() + 2);  // the other two arguments have no gradient
    return result;
  }
};

class Network final : public AttentionTerm {
 public:
  Network(const TermSpec& spec, const Compute& compute)
      : AttentionTerm({.n_per_pair = WidthOf(spec)}),
        length_(spec.distance_network->length),
        places_(AllPlaces(spec)),
        keeps_all_knots_(!compute.device.is_cpu() && WidthOf(spec) <= kCudaKnotsMax) {}

  // w1, b1, w2, b2, c, lambda.
  Tensors Prepare(const TermCall& call) const override { return LearnedAt(places_, call); }

  void AddTo(const Tensors& learned, ScoreBlock& block) override {
    block.scores_BHQK.add_(NetworkFunction::apply(at::TensorList(learned), length_,
                                                  Block{.q_begin = block.q_begin,
                                                        .n_query = block.scores_BHQK.size(2),
                                                        .k_begin = block.k_begin,
                                                        .n_key = block.scores_BHQK.size(3),
                                                        .n_before = block.n_before}));
  }

  // All in double; knots are ascending and positive, since u is never less than 0, and have no
  // gradient.
  void Fill(Tensors learned, KernelAttentionCall& kernel) const override {
    const std::int64_t n_positions = kernel.k_BHTD.size(2);
    const at::Tensor w1_W = learned[0].to(at::kDouble).view(-1), b1_W = learned[1].to(at::kDouble);
    const at::Tensor w2_HW = learned[2].to(at::kDouble), b2_H = learned[3].to(at::kDouble);
    const at::Tensor c = learned[4].to(at::kDouble), lambda = learned[5].to(at::kDouble);
    const at::Tensor position_T = at::arange(n_positions, c.options().requires_grad(false));
    const at::Tensor reach_T = (position_T + kernel.n_before).maximum(at::abs(lambda * length_));

    // A unit is active beyond its knot (w1 > 0), before it (w1 < 0), or everywhere or nowhere.
    const at::Tensor w1 = w1_W.detach(), b1 = b1_W.detach(), knot_W = -b1 / w1;
    const at::Tensor bends_W = w1.ne(0.0).logical_and(knot_W.gt(0.0));
    const at::Tensor knots_K = KnotsOf(knot_W, bends_W);
    // Which units are active in each segment, decided only by the order of the knots.
    const at::Tensor zero_1 = at::zeros({1}, w1.options());
    const at::Tensor begin_S = at::cat({zero_1, knots_K});
    const at::Tensor begins_after_SW = begin_S.unsqueeze(1).ge(knot_W.unsqueeze(0));
    const at::Tensor works_SW =
        at::where(bends_W, at::where(w1.gt(0.0), begins_after_SW, begins_after_SW.logical_not()),
                  at::where(w1.eq(0.0), b1.gt(0.0), w1.gt(0.0)));
    const at::Tensor works_WS = works_SW.to(at::kDouble).t();
    kernel.psi_T = at::log1p(at::abs(c * position_T));
    kernel.row_factor_T = 1.0 / (at::log1p(at::abs(c * reach_T)) + 1e-6);
    kernel.knots_K = knots_K;
    kernel.slope_HS = at::matmul(w2_HW * w1_W, works_WS);
    kernel.intercept_HS = at::matmul(w2_HW * b1_W, works_WS) + b2_H.unsqueeze(1);
  }

 private:
  static LearnedPlaces AllPlaces(const TermSpec& spec) {
    const DistanceNetwork& net = *spec.distance_network;
    return PlacesOf(spec, {net.w1, net.b1, net.w2, net.b2, net.c, net.lambda});
  }
  // Ascending. A GPU's host would have to wait for their number, so a GPU also gets a knot at
  // infinity for each unit that does not bend: no distance lies beyond it. If these would be too
  // many for its kernel, the host waits.
  at::Tensor KnotsOf(const at::Tensor& knot_W, const at::Tensor& bends_W) const {
    const at::Tensor knots = keeps_all_knots_ ? knot_W.masked_fill(bends_W.logical_not(), kInfinity)
                                              : knot_W.masked_select(bends_W);
    return std::get<0>(at::sort(knots));
  }
  static std::int64_t WidthOf(const TermSpec& spec) {
    return spec.learned[PlacesOf(spec, {spec.distance_network->b1})[0]].shape[0];
  }

  double length_;
  LearnedPlaces places_;
  bool keeps_all_knots_;
};

}  // namespace

std::unique_ptr<AttentionTerm> MakeNetwork(const TermSpec& spec, const AttentionShape&,
                                           const Compute& compute) {
  return spec.distance_network ? std::make_unique<Network>(spec, compute) : nullptr;
}

}  // namespace longrun
