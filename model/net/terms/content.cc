// Positions that count by content (ContentPosition): <q_i, e[p]>, where p counts the keys between
// i and j whose scores, with all other terms, open a gate.
#include <ATen/TensorOperators.h>
#include <ATen/ops/flip.h>
#include <ATen/ops/sigmoid.h>

#include "base/check.h"
#include "model/net/linear.h"
#include "model/net/terms/term.h"

namespace longrun {
namespace {

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
  const at::Tensor z_below = z_BHQP.gather(3, below.to(at::kLong));
  const at::Tensor z_above = z_BHQP.gather(3, p.detach().ceil().to(at::kLong));
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
