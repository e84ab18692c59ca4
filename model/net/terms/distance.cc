// A bias by distance (DistanceBias): bias[i][j] = f_h(i - j). The method's own function and its
// gradient, both in double on the CPU, are a node of LibTorch's graph. On a GPU, a function that
// has a form (DistanceForm) is computed there, also in double: the host would have to wait for the
// learned numbers.
//
// Legend, besides that of term.h: N distances.
#include <ATen/TensorOperators.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/flip.h>
#include <ATen/ops/log.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "model/net/kernel_attention.h"
#include "model/net/row_operators.h"
#include "model/net/terms/term.h"
#include "model/net/to_device.h"

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
    if (bias_.form && !compute_.device.is_cpu()) {
      return {OnDevice(learned, first, n).to(compute_.dtype)};
    }
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

  // (H, N), in double.
  at::Tensor OnDevice(const Tensors& learned, std::int64_t first, std::int64_t n) const {
    const auto number_H1 = [&](std::size_t i) { return learned[i].to(at::kDouble).unsqueeze(1); };
    const auto distance_N = [&] {
      return at::abs(at::arange(first, first + n,
                                at::TensorOptions().dtype(at::kDouble).device(compute_.device)));
    };
    switch (bias_.form->kind) {
      case DistanceForm::Kind::kTable:
        // Its gradient has the same bits each time, unlike that of index_select.
        return Embed(learned[0].to(at::kDouble), Rows(first, n), /*padding_id=*/-1, compute_).t();
      case DistanceForm::Kind::kLog:
        return -number_H1(0) * at::log(1.0 + number_H1(1) * distance_N());
      case DistanceForm::Kind::kPower:
        return -number_H1(1) * at::pow(distance_N(), number_H1(0));
    }
    LR_CHECK(false);
  }

  const at::Tensor& Rows(std::int64_t first, std::int64_t n) const {
    if (!rows_N_.defined() || first_ != first || rows_N_.size(0) != n) {
      const at::Tensor rows_N = at::empty({n}, at::kLong);
      std::int64_t* const row = rows_N.data_ptr<std::int64_t>();
      for (std::int64_t k = 0; k < n; ++k) row[k] = bias_.form->row(first + k);
      rows_N_ = ToDevice(rows_N, compute_.device);
      first_ = first;
    }
    return rows_N_;
  }

  DistanceBias bias_;
  LearnedPlaces places_;
  std::int64_t n_head_;
  bool causal_;
  Compute compute_;
  // The rows of the table for the distances from first_ on, kept between calls.
  mutable at::Tensor rows_N_;
  mutable std::int64_t first_ = 0;
};

}  // namespace

std::unique_ptr<AttentionTerm> MakeDistance(const TermSpec& spec, const AttentionShape& shape,
                                            const Compute& compute) {
  return spec.distance_bias ? std::make_unique<Distance>(spec, shape, compute) : nullptr;
}

}  // namespace longrun
