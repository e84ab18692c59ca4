#include "model/net/position_bias.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/flip.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/log1p.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/sort.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include "base/check.h"

namespace longrun {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

at::Tensor OnCpu(const at::Tensor& x) { return x.detach().to(at::kCPU, at::kDouble).contiguous(); }

std::vector<at::Tensor> AllOnCpu(at::TensorList tensors) {
  std::vector<at::Tensor> values;
  values.reserve(tensors.size());
  for (const at::Tensor& tensor : tensors) values.push_back(OnCpu(tensor));
  return values;
}

template <typename T>
std::vector<std::span<T>> Views(const std::vector<at::Tensor>& tensors) {
  std::vector<std::span<T>> views;
  views.reserve(tensors.size());
  for (const at::Tensor& tensor : tensors) {
    views.push_back({tensor.data_ptr<double>(), static_cast<std::size_t>(tensor.numel())});
  }
  return views;
}

// Keeps a method's functions alive until the backward pass.
struct Held : torch::CustomClassHolder {
  explicit Held(DistanceBias the_bias) : bias(std::move(the_bias)) {}
  DistanceBias bias;
};

// The method's own function and gradient as a node of LibTorch's graph.
class DistanceFunction : public torch::autograd::Function<DistanceFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, at::TensorList learned,
                            const DistanceBias& bias, std::int64_t n_head, std::int64_t begin,
                            std::int64_t n) {
    context->save_for_backward(learned.vec());
    context->saved_data["bias"] = c10::IValue::make_capsule(c10::make_intrusive<Held>(bias));
    context->saved_data["begin"] = begin;
    const std::vector<at::Tensor> values = AllOnCpu(learned);
    at::Tensor row_HN = at::empty({n_head, n}, at::kDouble);
    bias.forward(Views<const double>(values), begin, Views<double>({row_HN}).front());
    return row_HN;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const c10::intrusive_ptr<torch::CustomClassHolder> kept =
        context->saved_data["bias"].toCapsule();
    const DistanceBias& bias = static_cast<const Held*>(kept.get())->bias;
    const variable_list learned = context->get_saved_variables();
    const std::vector<at::Tensor> values = AllOnCpu(learned);
    std::vector<at::Tensor> d_values;
    d_values.reserve(values.size());
    for (const at::Tensor& value : values) d_values.push_back(at::zeros_like(value));
    const at::Tensor d_row_HN = OnCpu(gradients[0]);
    bias.backward(Views<const double>(values), context->saved_data["begin"].toInt(),
                  Views<const double>({d_row_HN}).front(), Views<double>(d_values));
    variable_list result(values.size() + 4);  // the other four arguments have no gradient
    for (std::size_t i = 0; i < values.size(); ++i) {
      result[i] = d_values[i].to(learned[i].device(), learned[i].scalar_type());
    }
    return result;
  }
};

struct Block {
  std::int64_t q_begin = 0, n_query = 0, k_begin = 0, n_key = 0;
};

// `learned`: w1, b1, w2, b2, c, lambda.
at::Tensor NetworkBias(at::TensorList learned, double length, const Block& block) {
  const at::Tensor &w1 = learned[0], &b1 = learned[1], &w2 = learned[2], &b2 = learned[3];
  const at::Tensor &c = learned[4], &lambda = learned[5];
  const auto options = w1.options().requires_grad(false);
  const at::Tensor i = at::arange(block.q_begin, block.q_begin + block.n_query, options);
  const at::Tensor j = at::arange(block.k_begin, block.k_begin + block.n_key, options);
  const at::Tensor distance_QK = at::abs(i.unsqueeze(1) - j.unsqueeze(0));
  const at::Tensor reach_Q = i.maximum(at::abs(lambda * length));
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
    context->saved_data["block"] =
        std::vector<std::int64_t>{block.q_begin, block.n_query, block.k_begin, block.n_key};
    return NetworkBias(learned, length, block);
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    variable_list learned;
    for (const at::Tensor& saved : context->get_saved_variables()) {
      learned.push_back(saved.detach().requires_grad_(true));
    }
    const std::vector<std::int64_t> at = context->saved_data["block"].toIntVector();
    const Block block = {.q_begin = at[0], .n_query = at[1], .k_begin = at[2], .n_key = at[3]};
    const at::AutoGradMode recorded(true);
    const at::Tensor bias = NetworkBias(learned, context->saved_data["length"].toDouble(), block);
    variable_list result = torch::autograd::grad({bias}, learned, {gradients[0]});
    result.resize(learned.size() + 2);  // the other two arguments have no gradient
    return result;
  }
};

}  // namespace

at::Tensor DistanceRow(const DistanceBias& bias, const std::vector<at::Tensor>& learned,
                       std::int64_t n_head, std::int64_t begin, std::int64_t n,
                       const at::TensorOptions& like) {
  LR_CHECK(learned.empty() || bias.backward);
  return DistanceFunction::apply(at::TensorList(learned), bias, n_head, begin, n).to(like);
}

at::Tensor DistanceBlock(const at::Tensor& row_HN, std::int64_t first, std::int64_t q_ahead,
                         std::int64_t n_query, std::int64_t n_key) {
  // Row r reads distances q_ahead + r - (K - 1) .. q_ahead + r,
  // the farthest key first turned to last.
  const std::int64_t lowest = q_ahead - (n_key - 1) - first;
  LR_CHECK(lowest >= 0 && lowest + n_query + n_key - 1 <= row_HN.size(1));
  const at::Tensor part = row_HN.narrow(1, lowest, n_query + n_key - 1);
  return at::flip(part.unfold(1, n_key, 1), {2});
}

NetworkPieces PiecesOf(const DistanceNetwork& network, const std::vector<at::Tensor>& learned,
                       std::int64_t n_positions) {
  const at::Tensor w1_W = learned[0].to(at::kDouble).view(-1), b1_W = learned[1].to(at::kDouble);
  const at::Tensor w2_HW = learned[2].to(at::kDouble), b2_H = learned[3].to(at::kDouble);
  const at::Tensor c = learned[4].to(at::kDouble), lambda = learned[5].to(at::kDouble);
  const at::Tensor position_T = at::arange(n_positions, c.options().requires_grad(false));
  const at::Tensor reach_T = position_T.maximum(at::abs(lambda * network.length));

  // A unit is active beyond its knot (w1 > 0), before it (w1 < 0), or everywhere or nowhere.
  const at::Tensor w1 = w1_W.detach(), b1 = b1_W.detach(), knot_W = -b1 / w1;
  const at::Tensor bends_W = w1.ne(0.0).logical_and(knot_W.gt(0.0));
  const at::Tensor knots_K = std::get<0>(at::sort(knot_W.masked_select(bends_W)));
  // Which units are active in each segment, decided only by the order of the knots.
  const at::Tensor zero_1 = at::zeros({1}, w1.options());
  const at::Tensor begin_S = at::cat({zero_1, knots_K});
  const at::Tensor begins_after_SW = begin_S.unsqueeze(1).ge(knot_W.unsqueeze(0));
  const at::Tensor works_SW =
      at::where(bends_W, at::where(w1.gt(0.0), begins_after_SW, begins_after_SW.logical_not()),
                at::where(w1.eq(0.0), b1.gt(0.0), w1.gt(0.0)));
  const at::Tensor works_WS = works_SW.to(at::kDouble).t();
  return {.psi_T = at::log1p(at::abs(c * position_T)),
          .row_factor_T = 1.0 / (at::log1p(at::abs(c * reach_T)) + 1e-6),
          .knots_K = knots_K,
          .slope_HS = at::matmul(w2_HW * w1_W, works_WS),
          .intercept_HS = at::matmul(w2_HW * b1_W, works_WS) + b2_H.unsqueeze(1)};
}

at::Tensor NetworkBlock(const DistanceNetwork& network, const std::vector<at::Tensor>& learned,
                        std::int64_t q_begin, std::int64_t n_query, std::int64_t k_begin,
                        std::int64_t n_key) {
  return NetworkFunction::apply(
      at::TensorList(learned), network.length,
      Block{.q_begin = q_begin, .n_query = n_query, .k_begin = k_begin, .n_key = n_key});
}

at::Tensor ContentBlock(const at::Tensor& q_BHQD, const at::Tensor& scores_BHQK,
                        const at::Tensor& table_DP) {
  const at::Tensor gate = at::sigmoid(scores_BHQK);  // 0 where a key is not visible
  const at::Tensor counted = at::flip(at::flip(gate, {3}).cumsum(3), {3});
  const at::Tensor p = counted.clamp_max(static_cast<double>(table_DP.size(1) - 1));
  const at::Tensor below = p.detach().floor();
  const at::Tensor weight = p - below;
  const at::Tensor z_BHQP =
      at::matmul(q_BHQD, table_DP.to(q_BHQD.scalar_type())).to(p.scalar_type());
  const at::Tensor z_below = z_BHQP.gather(3, below.to(at::kLong));
  const at::Tensor z_above = z_BHQP.gather(3, p.detach().ceil().to(at::kLong));
  return weight * z_above + (1.0 - weight) * z_below;
}

}  // namespace longrun
