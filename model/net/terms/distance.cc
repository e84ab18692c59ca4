// A bias by distance (DistanceBias): bias[i][j] = f_h(i - j). The method's own function and its
// gradient, both in double on the CPU, are a node of LibTorch's graph.
//
// Legend, besides that of term.h: N distances.
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/flip.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "model/net/kernel_attention.h"
#include "model/net/terms/term.h"

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

class Distance final : public AttentionTerm {
 public:
  Distance(const TermSpec& spec, const AttentionShape& shape, const Compute& compute)
      : AttentionTerm({.is_shareable = true}),
        bias_(*spec.distance_bias),
        places_(PlacesOf(spec, bias_.learned)),
        n_head_(shape.n_head),
        causal_(shape.causal),
        compute_(compute) {}

  // f_h(d) for the distances d from First() to that of the last query from the first key: (H, N).
  Tensors Prepare(const TermCall& call) const override {
    const Tensors learned = LearnedAt(places_, call);
    LR_CHECK(learned.empty() || bias_.backward);
    const std::int64_t first = First(call.n_positions), n = call.n_positions - first;
    return {DistanceFunction::apply(at::TensorList(learned), bias_, n_head_, first, n)
                .to(at::TensorOptions().dtype(compute_.dtype).device(compute_.device))};
  }

  // bias[h][r][m] = row[h][q_begin - k_begin + r - m - First()]: (H, Q, K).
  void AddTo(const Tensors& prepared, ScoreBlock& block) override {
    const at::Tensor& row_HN = prepared[0];
    const std::int64_t n_query = block.scores_BHQK.size(2), n_key = block.scores_BHQK.size(3);
    // Row r reads distances q_begin - k_begin + r - (K - 1) .. q_begin - k_begin + r,
    // the farthest key first turned to last.
    const std::int64_t lowest =
        block.q_begin - block.k_begin - (n_key - 1) - First(block.n_positions);
    LR_CHECK(lowest >= 0 && lowest + n_query + n_key - 1 <= row_HN.size(1));
    const at::Tensor part = row_HN.narrow(1, lowest, n_query + n_key - 1);
    block.scores_BHQK.add_(at::flip(part.unfold(1, n_key, 1), {2}));
  }

  void Fill(Tensors prepared, KernelAttentionCall& kernel) const override {
    kernel.distances_HN = prepared[0];
    kernel.first_distance = First(kernel.k_BHTD.size(2));
  }

 private:
  // A causal mask hides keys ahead, but a block still reads a bias for them.
  std::int64_t First(std::int64_t n_positions) const {
    return 1 - (causal_ ? std::min(n_positions, kBlockQueries) : n_positions);
  }

  DistanceBias bias_;
  LearnedPlaces places_;
  std::int64_t n_head_;
  bool causal_;
  Compute compute_;
};

}  // namespace

std::unique_ptr<AttentionTerm> MakeDistance(const TermSpec& spec, const AttentionShape& shape,
                                            const Compute& compute) {
  return spec.distance_bias ? std::make_unique<Distance>(spec, shape, compute) : nullptr;
}

}  // namespace longrun
