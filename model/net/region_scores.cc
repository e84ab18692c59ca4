#include "model/net/region_scores.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>

#include <algorithm>
#include <limits>

#include "base/check.h"

namespace longrun {

at::Tensor Scores(const at::Tensor& q_BHQD, const at::Tensor& k_BGKD) {
  const at::Tensor k_BGDK = k_BGKD.transpose(2, 3);
  const std::int64_t h = q_BHQD.size(1), g = k_BGKD.size(1), n_query = q_BHQD.size(2);
  if (h == g) return at::matmul(q_BHQD, k_BGDK);
  const at::Tensor q_BGRD = q_BHQD.reshape({-1, g, h / g * n_query, q_BHQD.size(3)});
  return at::matmul(q_BGRD, k_BGDK).view({-1, h, n_query, k_BGKD.size(2)});
}

at::Tensor WithFactors(const at::Tensor& q_BHQD, const std::vector<double>& factors,
                       c10::ScalarType compute) {
  if (factors.empty()) return q_BHQD;
  const at::Tensor factor_Q1 =
      at::tensor(factors, at::TensorOptions().dtype(at::kDouble)).to(q_BHQD.device()).unsqueeze(1);
  return (q_BHQD.to(compute) * factor_Q1.to(compute)).to(q_BHQD.scalar_type());
}

RegionScorer::RegionScorer(const at::Tensor& q_BHQD, const at::Tensor& k_BHKD,
                           const PlannedReading& plan, Rotator& rotator)
    : plan_(plan) {
  LR_CHECK(plan.keys_from == 0);
  for (std::size_t r = 0; r < plan.reading.regions.size(); ++r) {
    q_BHQD_.push_back(rotator.Queries(q_BHQD, plan, r));
  }
  for (std::size_t s = 0; s < plan.reading.key_sets.size(); ++s) {
    k_BHKD_.push_back(rotator.Keys(k_BHKD, plan, s));
  }
}

at::Tensor RegionScorer::Of(std::int64_t q_begin, std::int64_t n_query, std::int64_t n_key) const {
  const Reading& reading = plan_.reading;
  const std::int64_t offset = q_begin - plan_.stretch.q_begin;
  const auto ints = at::TensorOptions().dtype(at::kLong).device(q_BHQD_.front().device());
  const at::Tensor key_K = at::arange(n_key, ints);
  at::Tensor scores_BHQK;
  // From the oldest keys on: each region covers those from its key_begin.
  for (std::size_t r = reading.regions.size(); r-- > 0;) {
    const at::Tensor of_region = Scores(q_BHQD_[r].narrow(2, offset, n_query),
                                        k_BHKD_[reading.regions[r].key_set].narrow(2, 0, n_key));
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

std::vector<VisibleKeys> VisibleKeysOfLast(const PlannedReading& plan) {
  const Reading& reading = plan.reading;
  LR_CHECK(plan.stretch.n_query == 1);
  const std::int64_t n = plan.stretch.n_key();
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
