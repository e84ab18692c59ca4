#include "model/net/region_scores.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <limits>
#include <span>

#include "base/check.h"
#include "model/extension/score_noise.h"
#include "model/net/linear.h"
#include "model/net/parallel.h"

namespace longrun {
namespace {

at::Tensor InBf16(const std::vector<float>& numbers, std::int64_t begin, std::int64_t n,
                  const c10::Device& device) {
  return at::tensor(numbers, at::TensorOptions().dtype(at::kFloat))
      .narrow(0, begin, n)
      .to(device, at::kBFloat16);
}

// r of PairBlend, (Q, K).
at::Tensor PairWeights(const PairBlend& blend, const PlannedReading& plan, const ScoreSpan& span,
                       const c10::Device& device) {
  const at::Tensor query_Q1 =
      InBf16(blend.query, span.q_begin - plan.stretch.q_place(), span.n_query, device).unsqueeze(1);
  const at::Tensor apart_QK = (query_Q1 - InBf16(blend.key, 0, span.n_key, device)).to(at::kFloat);
  return apart_QK - apart_QK.floor();
}

// Where the only region's blend has a weight that is not 0, (Q, K) or (K).
at::Tensor HasPart(const PlannedReading& plan, const ScoreSpan& span, const c10::Device& device) {
  const ReadingRegion& region = plan.reading.regions.front();
  if (region.pair_blend) return PairWeights(*region.pair_blend, plan, span, device).ne(0.0);
  const std::vector<double>& weights = plan.reading.key_sets[region.key_set].blended_weight;
  return at::tensor(weights, at::TensorOptions().dtype(at::kDouble))
      .narrow(0, 0, span.n_key)
      .to(device)
      .ne(0.0);
}

// The noise without the factor max[i], 0 for later keys; row r is that of query r % n_query in head
// r / n_query.
template <typename T>
void FillNoise(const ReadingNoise& noise, std::int64_t layer, const ScoreSpan& span,
               const at::Tensor& noise_HQK) {
  T* const out = noise_HQK.data_ptr<T>();
  const double std_per_token = noise.std / static_cast<double>(noise.n_text);
  const std::int64_t n_rows = noise_HQK.size(0) * span.n_query;
  OnTorchThreads(1)(n_rows, [&](std::int64_t begin, std::int64_t end) {
    std::vector<double> drawn(static_cast<std::size_t>(span.n_key));
    for (std::int64_t row = begin; row < end; ++row) {
      const std::int64_t i = span.q_begin + row % span.n_query;
      const std::int64_t n_earlier = std::min(i, span.n_key);
      DrawNoise(noise, {.layer = layer, .head = row / span.n_query, .i = i},
                std::span(drawn).first(static_cast<std::size_t>(n_earlier)));
      for (std::int64_t j = 0; j < n_earlier; ++j) {
        const double distance = static_cast<double>(i - j);
        out[row * span.n_key + j] =
            static_cast<T>(drawn[static_cast<std::size_t>(j)] * std_per_token * distance);
      }
    }
  });
}

// (H, Q, K), like the scores, on the CPU.
at::Tensor NoiseWithoutMax(const ReadingNoise& noise, std::int64_t layer, const ScoreSpan& span,
                           const at::Tensor& scores_BHQK) {
  const at::Tensor noise_HQK = at::zeros({scores_BHQK.size(1), span.n_query, span.n_key},
                                         at::TensorOptions().dtype(scores_BHQK.scalar_type()));
  if (scores_BHQK.scalar_type() == at::kDouble) {
    FillNoise<double>(noise, layer, span, noise_HQK);
  } else {
    FillNoise<float>(noise, layer, span, noise_HQK);
  }
  return noise_HQK;
}

}  // namespace

at::Tensor Scores(const at::Tensor& q_BHQD, const at::Tensor& k_BGKD) {
  const at::Tensor k_BGDK = k_BGKD.transpose(2, 3);
  const std::int64_t h = q_BHQD.size(1), g = k_BGKD.size(1), n_query = q_BHQD.size(2);
  if (h == g) return BatchedProduct(q_BHQD, k_BGDK);
  const at::Tensor q_BGRD = q_BHQD.reshape({-1, g, h / g * n_query, q_BHQD.size(3)});
  return BatchedProduct(q_BGRD, k_BGDK).view({-1, h, n_query, k_BGKD.size(2)});
}

at::Tensor WithFactors(const at::Tensor& q_BHQD, const std::vector<double>& factors,
                       c10::ScalarType compute) {
  if (factors.empty()) return q_BHQD;
  const at::Tensor factor_Q1 =
      at::tensor(factors, at::TensorOptions().dtype(at::kDouble)).to(q_BHQD.device()).unsqueeze(1);
  return (q_BHQD.to(compute) * factor_Q1.to(compute)).to(q_BHQD.scalar_type());
}

at::Tensor BlendPairs(const at::Tensor& of_set_BHQK, const at::Tensor& of_other_BHQK,
                      const PlannedReading& plan, std::size_t region, const ScoreSpan& span,
                      c10::ScalarType compute) {
  const at::Tensor r_QK =
      PairWeights(*plan.reading.regions[region].pair_blend, plan, span, of_set_BHQK.device())
          .to(compute);
  return (1.0 - r_QK) * of_set_BHQK.to(compute) + r_QK * of_other_BHQK.to(compute);
}

at::Tensor WithNoise(const at::Tensor& scores_BHQK, const PlannedReading& plan, std::int64_t layer,
                     const ScoreSpan& span) {
  if (!plan.reading.noise) return scores_BHQK;
  const ReadingNoise& noise = *plan.reading.noise;
  const at::Tensor drawn_HQK =
      NoiseWithoutMax(noise, layer, span, scores_BHQK).to(scores_BHQK.device());
  const at::Tensor part_QK = HasPart(plan, span, scores_BHQK.device());
  if (noise.kind == ReadingNoise::Kind::kGaussian) {
    return scores_BHQK + drawn_HQK.masked_fill(part_QK.logical_not(), 0.0);
  }
  const auto ints = at::TensorOptions().dtype(at::kLong).device(scores_BHQK.device());
  const at::Tensor later_QK =
      at::arange(span.n_key, ints)
          .gt(at::arange(span.q_begin, span.q_begin + span.n_query, ints).unsqueeze(1));
  const at::Tensor max_BHQ1 =
      scores_BHQK.masked_fill(later_QK, -std::numeric_limits<double>::infinity())
          .amax({-1}, /*keepdim=*/true);
  return scores_BHQK + (drawn_HQK * max_BHQ1).masked_fill(part_QK.logical_not(), 0.0);
}

RegionScorer::RegionScorer(const at::Tensor& q_BHQD, const at::Tensor& k_BHKD,
                           const PlannedReading& plan, Rotator& rotator, std::int64_t layer,
                           c10::ScalarType compute)
    : plan_(plan), layer_(layer), compute_(compute), k_BHKD_(plan.reading.key_sets.size()) {
  LR_CHECK(plan.keys_from == 0);
  const auto rotate = [&](std::size_t set) {
    if (!k_BHKD_[set].defined()) k_BHKD_[set] = rotator.Keys(k_BHKD, plan, set);
  };
  for (std::size_t r = 0; r < plan.reading.regions.size(); ++r) {
    const ReadingRegion& region = plan.reading.regions[r];
    q_BHQD_.push_back(rotator.Queries(q_BHQD, plan, r));
    rotate(region.key_set);
    if (region.pair_blend) rotate(region.pair_blend->other_set);
  }
}

at::Tensor RegionScorer::OfRegion(std::size_t region, const ScoreSpan& span) const {
  const std::int64_t offset = span.q_begin - plan_.stretch.q_place();
  const auto of_set = [&](std::size_t set) {
    return Scores(q_BHQD_[region].narrow(2, offset, span.n_query),
                  k_BHKD_[set].narrow(2, 0, span.n_key));
  };
  const ReadingRegion& its = plan_.reading.regions[region];
  if (!its.pair_blend) return of_set(its.key_set);
  return BlendPairs(of_set(its.key_set), of_set(its.pair_blend->other_set), plan_, region, span,
                    compute_);
}

at::Tensor RegionScorer::Products(const ScoreSpan& span) const {
  const Reading& reading = plan_.reading;
  const auto [q_begin, n_query, n_key] = span;
  const std::int64_t offset = q_begin - plan_.stretch.q_place();
  const auto ints = at::TensorOptions().dtype(at::kLong).device(q_BHQD_.front().device());
  const at::Tensor key_K = at::arange(n_key, ints);
  at::Tensor scores_BHQK;
  // From the oldest keys on: each region covers those from its key_begin.
  for (std::size_t r = reading.regions.size(); r-- > 0;) {
    const at::Tensor of_region = OfRegion(r, span);
    if (!scores_BHQK.defined()) {
      scores_BHQK = of_region;
      continue;
    }
    const auto& begins = reading.regions[r].key_begin;
    const std::vector<std::int64_t> begin(begins.begin() + offset,
                                          begins.begin() + offset + n_query);
    const at::Tensor begin_Q1 =
        at::tensor(begin, ints.device(at::kCPU)).to(ints.device()).unsqueeze(1);
    scores_BHQK = at::where(key_K.ge(begin_Q1), of_region, scores_BHQK);
  }
  if (reading.window == 0) return scores_BHQK;
  const at::Tensor query_Q1 = at::arange(q_begin, q_begin + n_query, ints).unsqueeze(1);
  const at::Tensor hidden_QK =
      (query_Q1 - key_K).ge(reading.window).logical_and(key_K.ge(reading.n_sink));
  return scores_BHQK.masked_fill(hidden_QK, -std::numeric_limits<double>::infinity());
}

at::Tensor RegionScorer::Of(const ScoreSpan& span, double scale) const {
  return WithNoise(Products(span).to(compute_) * scale, plan_, layer_, span);
}

std::vector<VisibleKeys> VisibleKeysOfLast(const PlannedReading& plan) {
  const Reading& reading = plan.reading;
  LR_CHECK(plan.stretch.n_query == 1);
  const std::int64_t n = plan.stretch.n_held();
  // A window that begins within the sinks hides nothing.
  const std::int64_t window_begin =
      reading.window == 0 ? 0 : std::max<std::int64_t>(0, n - reading.window);
  const std::int64_t sink_end = std::min(reading.n_sink, window_begin);
  std::vector<VisibleKeys> visible;
  std::int64_t end = n;
  for (std::size_t r = 0; r < reading.regions.size() && end > 0; ++r) {
    const auto& begins = reading.regions[r].key_begin;
    const std::int64_t begin = begins.empty() ? 0 : std::min<std::int64_t>(begins.front(), end);
    const VisibleKeys near = {.region = r, .begin = std::max(begin, window_begin), .end = end};
    const VisibleKeys sinks = {.region = r, .begin = begin, .end = std::min(end, sink_end)};
    for (const VisibleKeys& part : {near, sinks}) {
      if (part.begin < part.end) visible.push_back(part);
    }
    end = begin;
  }
  std::ranges::reverse(visible);
  return visible;
}

}  // namespace longrun
