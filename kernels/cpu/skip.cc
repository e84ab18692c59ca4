#include "kernels/cpu/skip.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace longrun {
namespace {

// Norms and scores are rounded, so the bound gets some slack to stay a bound.
constexpr double kRoundingSlack = 1.0 + 1e-5;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

}  // namespace

bool SkipBounds::Applies(const AttentionTerms& terms, double epsilon) {
  const bool two_sided = terms.key_bias && terms.key_bias->two_sided;
  const bool grows = terms.rotation && !terms.rotation->growth.empty();
  return epsilon > 0.0 && !two_sided && !terms.piecewise && !grows;
}

SkipBounds::SkipBounds(const AttentionPlan& plan, double epsilon, const float* norms)
    : plan_(&plan), log2_epsilon_(std::log2(epsilon)) {
  const std::int64_t n_tile = plan.n_key_tile;
  norm_max_.reserve(static_cast<std::size_t>(plan.batch * plan.n_kv_head * n_tile));
  for (std::int64_t at = 0; at < plan.batch * plan.n_kv_head * n_tile; ++at) {
    const float before = at % n_tile == 0 ? 0.0F : norm_max_.back();
    norm_max_.push_back(std::max(before, norms[at]));
  }
  if (plan.terms.key_bias) {
    bias_max_.reserve(static_cast<std::size_t>(plan.batch * plan.n_head * n_tile));
    for (std::int64_t head = 0; head < plan.batch * plan.n_head; ++head) {
      double largest = -kInfinity;
      for (std::int64_t tile = 0; tile < n_tile; ++tile) {
        const std::int64_t end = std::min(plan.n_key, (tile + 1) * kKeyTile);
        for (std::int64_t j = tile * kKeyTile; j < end; ++j) {
          const double bias = plan.KeyBiasAt(head, j);
          largest = std::isnan(bias) ? kInfinity : std::max(largest, bias);
        }
        bias_max_.push_back(largest);
      }
    }
  }
  distance_max_ = plan.distances;
  for (std::size_t at = 1; at < distance_max_.size(); ++at) {
    if (at % static_cast<std::size_t>(plan.n_reversed) == 0) continue;
    distance_max_[at] = std::max(distance_max_[at], distance_max_[at - 1]);
  }
}

bool SkipBounds::MayStop(const At& at) const {
  const AttentionPlan& plan = *plan_;
  const std::int64_t n_tile = plan.n_key_tile;
  const std::int64_t left = at.tile - 1;  // the newest tile still to be visited
  const std::int64_t key_begin = at.tile * kKeyTile;
  const auto norm_at =
      static_cast<std::size_t>((at.b * plan.n_kv_head + at.h / plan.group) * n_tile + left);
  const double norm = static_cast<double>(norm_max_[norm_at]) * kRoundingSlack;
  double bias = 0.0;
  if (!bias_max_.empty()) {
    const auto bias_at = static_cast<std::size_t>((at.b * plan.n_head + at.h) * n_tile + left);
    bias += (bias_max_[bias_at] - at.anchor) * kLog2E;
  }
  if (!distance_max_.empty()) {
    // The closest pair: the first row and the newest key not yet visited.
    const std::int64_t reversed = key_begin - 1 - at.first_distance + plan.reversed_zero;
    bias += static_cast<double>(
        distance_max_[static_cast<std::size_t>(at.h * plan.n_reversed + reversed)]);
  }
  for (std::size_t r = 0; r < at.ranges.size(); ++r) {
    const KeyRange& row = at.ranges[r];
    const auto n_left = static_cast<double>(std::min<std::int64_t>(row.end, key_begin) - row.begin);
    if (n_left <= 0.0) continue;
    const auto largest = static_cast<double>(at.largest[r]);
    if (std::isinf(largest)) return false;
    const double bound =
        std::log2(n_left) + static_cast<double>(at.norms[r]) * norm + bias - largest;
    // A NaN in the bound compares false, and then nothing is skipped.
    if (!(bound <= log2_epsilon_)) return false;
  }
  return true;
}

}  // namespace longrun
