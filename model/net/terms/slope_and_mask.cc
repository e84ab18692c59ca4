// The part of the bias that depends only on i - j and is not learned: slopes (KeyBiasSlope), and
// -inf for hidden keys (AttentionShape). One table has both, so that they cost one sum.
#include <ATen/TensorOperators.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/isneginf.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <limits>
#include <optional>

#include "model/net/kernel_attention.h"
#include "model/net/terms/term.h"

namespace longrun {
namespace {

constexpr double kHidden = -std::numeric_limits<double>::infinity();

class SlopeAndMask final : public AttentionTerm {
 public:
  SlopeAndMask(const TermSpec& spec, const AttentionShape& shape, const Compute& compute)
      : AttentionTerm({.is_bias = spec.key_bias_slope.has_value()}),
        slope_(spec.key_bias_slope),
        grows_(spec.rotation && !spec.rotation->growth.empty()),
        causal_(shape.causal),
        window_(shape.window),
        compute_(compute) {
    if (!slope_) return;
    const auto doubles = at::TensorOptions().dtype(at::kDouble);
    slope_H_ = at::tensor(slope_->slope, doubles).to(compute_.device);
  }

  void AddTo(const Tensors&, ScoreBlock& block) override {
    const at::Tensor bias = Bias(block);
    // For a key ahead, a rotation's growth may make the score infinite,
    // which would give NaN with its bias of -inf.
    if (grows_) block.scores_BHQK = block.scores_BHQK.masked_fill(at::isneginf(bias), kHidden);
    block.scores_BHQK.add_(bias);
  }

  // No key is hidden. The slopes are computed for this query: a table for all queries would be made
  // again for each token.
  void AddToLast(const Tensors&, ScoreBlock& block) override {
    if (!slope_) return;
    const at::Tensor slope = Slope();
    const std::int64_t last = block.scores_BHQK.size(3) - 1;
    const at::Tensor behind = at::arange(last + 1, slope.options()) - last;
    block.scores_BHQK = block.scores_BHQK + (slope * behind).to(compute_.dtype);
  }

  void Fill(Tensors, KernelAttentionCall& kernel) const override {
    if (!slope_) return;
    kernel.two_sided = slope_->two_sided;
    // For two-sided -slope |i - j|, the kernel needs r = -slope t.
    kernel.slope_H = slope_->two_sided ? -slope_H_ : slope_H_;
  }

 private:
  // (H, 1, 1), in double.
  at::Tensor Slope() const { return slope_H_.view({-1, 1, 1}); }

  // A view of one table for all blocks,
  //   table[h][r][m] = bias at distance i - j = r + (P - Q) - m,   key j = m + q_begin - (P - Q)
  // where P is n_positions rounded up to whole blocks of Q queries.
  at::Tensor Bias(const ScoreBlock& block) {
    // After a cache, blocks of queries need not begin at a multiple of Q.
    const bool fits =
        n_positions_ >= block.n_positions && Behind(n_query_, n_positions_) >= block.q_begin;
    if (n_query_ != block.n_whole || !fits) {
      n_query_ = block.n_whole;
      n_positions_ = std::max(block.n_positions, block.q_begin + block.n_whole);
      table_HQW_ = Table(n_query_, n_positions_);
    }
    const std::int64_t begin = Behind(n_query_, n_positions_) - block.q_begin + block.k_begin;
    return table_HQW_.narrow(1, 0, block.scores_BHQK.size(2))
        .narrow(2, begin, block.scores_BHQK.size(3));
  }

  // P - Q.
  static std::int64_t Behind(std::int64_t n_query, std::int64_t n_positions) {
    return (n_positions + n_query - 1) / n_query * n_query - n_query;
  }

  at::Tensor Table(std::int64_t n_query, std::int64_t n_positions) const {
    const std::int64_t behind = Behind(n_query, n_positions);
    const std::int64_t width = behind + (causal_ ? n_query : n_positions);
    const auto ints = at::TensorOptions().dtype(at::kLong).device(compute_.device);
    const at::Tensor ahead =  // j - i
        (at::arange(width, ints) - behind).unsqueeze(0) - at::arange(n_query, ints).unsqueeze(1);
    at::Tensor bias = at::zeros({1, n_query, width}, ints.dtype(at::kDouble));
    if (slope_) {
      const at::Tensor distance = slope_->two_sided ? -at::abs(ahead) : ahead;
      bias = Slope() * distance.to(at::kDouble).unsqueeze(0);
    }
    if (causal_) {
      at::Tensor hidden = ahead.gt(0);
      if (window_ > 0) hidden = hidden.logical_or(ahead.le(-window_));
      bias = bias.masked_fill(hidden.unsqueeze(0), kHidden);
    }
    return bias.to(compute_.dtype);
  }

  std::optional<KeyBiasSlope> slope_;
  at::Tensor slope_H_;  // copied to a GPU once: each copy would make the host wait
  bool grows_, causal_;
  std::int64_t window_;
  Compute compute_;

  // Kept between calls; H is 1 without slopes.
  at::Tensor table_HQW_;
  std::int64_t n_query_ = 0, n_positions_ = 0;
};

}  // namespace

std::unique_ptr<AttentionTerm> MakeSlopeAndMask(const TermSpec& spec, const AttentionShape& shape,
                                                const Compute& compute) {
  if (!shape.causal && !spec.key_bias_slope) return nullptr;
  return std::make_unique<SlopeAndMask>(spec, shape, compute);
}

}  // namespace longrun
