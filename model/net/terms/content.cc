// Positions that count by content (ContentPosition): <q_i, e[p]>, where p counts the keys between
// i and j whose scores, with all other terms, open a gate.
#include <ATen/TensorOperators.h>
#include <ATen/ops/_index_put_impl.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/flip.h>
#include <ATen/ops/gather.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cstdint>
#include <vector>

#include "base/check.h"
#include "model/net/linear.h"
#include "model/net/terms/term.h"

namespace longrun {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// z.gather(3, index) on a GPU, where LibTorch's gradient of it, scatter_add, adds in any order.
// index_put sorts what it adds by its place, so that the gradient has the same bits each time.
class OrderedGatherFunction : public torch::autograd::Function<OrderedGatherFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& z_BHQP,
                            const at::Tensor& index_BHQK) {
    context->save_for_backward({index_BHQK});
    context->saved_data["n_columns"] = z_BHQP.size(3);
    return z_BHQP.gather(3, index_BHQK);
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const at::Tensor index_BHQK = context->get_saved_variables()[0];
    const std::int64_t n_columns = context->saved_data["n_columns"].toInt();
    const std::int64_t n_rows = index_BHQK.numel() / index_BHQK.size(3);
    const at::Tensor begin_N1 = at::arange(n_rows, index_BHQK.options()).mul_(n_columns);
    const at::Tensor place_NK =
        index_BHQK.reshape({n_rows, index_BHQK.size(3)}) + begin_N1.unsqueeze(1);
    at::Tensor sums = at::zeros({n_rows * n_columns}, gradients[0].options());
    // Unsafe: without a check of the places, for which the host might wait. The forward pass has
    // checked them.
    at::_index_put_impl_(sums, {place_NK.reshape({-1})}, gradients[0].reshape({-1}),
                         /*accumulate=*/true, /*unsafe=*/true);
    std::vector<std::int64_t> shape = index_BHQK.sizes().vec();
    shape.back() = n_columns;
    return {sums.view(shape), {}};
  }
};

at::Tensor Gather(const at::Tensor& z_BHQP, const at::Tensor& index_BHQK) {
  if (z_BHQP.is_cpu()) return z_BHQP.gather(3, index_BHQK);  // its gradient adds in order
  return OrderedGatherFunction::apply(z_BHQP, index_BHQK);
}

// (B, H, Q, K), from unscaled queries and scores with -inf where a key is not visible; P rows of
// the table.
at::Tensor ContentBias(const at::Tensor& q_BHQD, const at::Tensor& scores_BHQK,
                       const at::Tensor& table_DP) {
  const at::Tensor gate = at::sigmoid(scores_BHQK);  // 0 where a key is not visible
  const at::Tensor counted = at::flip(at::flip(gate, {3}).cumsum(3), {3});
  const at::Tensor p = counted.clamp_max(static_cast<double>(table_DP.size(1) - 1));
  const at::Tensor below = p.detach().floor();
  const at::Tensor weight = p - below;
  const at::Tensor z_BHQP =
      BatchedProduct(q_BHQD, table_DP.to(q_BHQD.scalar_type())).to(p.scalar_type());
  const at::Tensor z_below = Gather(z_BHQP, below.to(at::kLong));
  const at::Tensor z_above = Gather(z_BHQP, p.detach().ceil().to(at::kLong));
  return weight * z_above + (1.0 - weight) * z_below;
}

class Content final : public AttentionTerm {
 public:
  explicit Content(const TermSpec& spec)
      : AttentionTerm(Traits()), places_(PlacesOf(spec, {spec.content_position->table})) {}

  Tensors Prepare(const TermCall& call) const override { return LearnedAt(places_, call); }

  void AddTo(const Tensors& prepared, ScoreBlock& block) override {
    block.scores_BHQK =
        block.scores_BHQK + ContentBias(block.q_BHQD, block.scores_BHQK, prepared[0]);
  }

  // The fused kernel has no such term: CheckFusedAttention refuses the method.
  void Fill(Tensors, KernelAttentionCall&) const override { LR_CHECK(false); }

 private:
  LearnedPlaces places_;
};

}  // namespace

std::unique_ptr<AttentionTerm> MakeContent(const TermSpec& spec, const AttentionShape&,
                                           const Compute&) {
  return spec.content_position ? std::make_unique<Content>(spec) : nullptr;
}

}  // namespace longrun
