#include "client/claims/power.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/check.h"
#include "base/random.h"
#include "base/student_t.h"
#include "client/claims/draw.h"

namespace longrun::client {
namespace {

constexpr std::uint64_t kSeed = 0x706f776572;  // any constant: the same answer every time
constexpr int kSweeps = 4000;                  // the error of a power of one half is 0.8 %

// One simulated sweep, with a true effect of 0: its deviation, and the squares of half an interval
// for quantiles of 1.
struct Draw {
  double deviation = 0.0;
  double seeds2 = 0.0;
  double text2 = 0.0;
};

std::vector<Draw> DrawSweeps(const Spread& spread, std::size_t n_seeds) {
  LR_CHECK(n_seeds > 1);
  SeededRandom random(kSeed);
  const double over_seeds = spread.of_seed / std::sqrt(static_cast<double>(n_seeds));
  std::vector<Draw> draws(kSweeps);
  for (Draw& draw : draws) {
    // An error that is known exactly has infinitely many degrees of freedom.
    const auto add = [&](double error, double df, double& square) {
      draw.deviation += error * DrawNormal(random);
      square = error * error;
      if (std::isfinite(df)) square *= DrawChiSquared(df, random) / df;
    };
    add(over_seeds, static_cast<double>(n_seeds) - 1.0, draw.seeds2);
    if (spread.over_text > 0.0) add(spread.over_text, spread.df_text, draw.text2);
  }
  return draws;
}

// Half of the intervals of simulated sweeps at a level.
class HalfIntervals {
 public:
  HalfIntervals(const Spread& spread, double level, std::size_t n_seeds)
      : of_seeds_(StudentQuantile(level, static_cast<double>(n_seeds) - 1.0)),
        of_text_(StudentQuantile(level, spread.df_text)) {}

  double Of(const Draw& draw) const {
    return std::sqrt(of_seeds_ * of_seeds_ * draw.seeds2 + of_text_ * of_text_ * draw.text2);
  }

 private:
  double of_seeds_, of_text_;
};

Spread SpreadOf(const PairedDifference& difference) {
  const Estimate& estimate = difference.estimate;
  const auto n_seeds = static_cast<double>(difference.of_seeds.size());
  const bool has_text = estimate.text.se && *estimate.text.se > 0.0;
  return {.effect = estimate.x,
          .of_seed = *estimate.seeds.se * std::sqrt(n_seeds),
          .over_text = has_text ? *estimate.text.se : 0.0,
          .df_text = estimate.text.df};
}

}  // namespace

double PowerOf(const Spread& spread, const Limits& limits, double level, double corrected_level,
               std::size_t n_seeds) {
  const HalfIntervals at_level(spread, level, n_seeds), corrected(spread, corrected_level, n_seeds);
  int n_decided = 0;
  for (const Draw& draw : DrawSweeps(spread, n_seeds)) {
    const double effect = spread.effect + draw.deviation;
    const double half = at_level.Of(draw), wider = corrected.Of(draw);
    const bool is_decided = limits.Hold({effect - half, effect + half}) ||
                            limits.AreMissedBy({effect - wider, effect + wider});
    n_decided += is_decided ? 1 : 0;
  }
  return static_cast<double>(n_decided) / kSweeps;
}

double SmallestDecided(const Spread& spread, bool is_window, double level, std::size_t n_seeds) {
  const HalfIntervals halves(spread, level, n_seeds);
  // A sweep decides in favour where its distance from the limit, d + deviation, exceeds half of its
  // interval: the wanted d is a quantile of half - deviation. Between two limits the deviation
  // leads towards one of them.
  std::vector<double> needed;
  for (const Draw& draw : DrawSweeps(spread, n_seeds)) {
    needed.push_back(halves.Of(draw) + (is_window ? std::abs(draw.deviation) : -draw.deviation));
  }
  const auto at = needed.begin() + static_cast<std::ptrdiff_t>(kUsualPower * kSweeps);
  std::nth_element(needed.begin(), at, needed.end());
  return *at;
}

std::vector<ClaimForecast> ForecastClaims(const std::vector<JudgedClaim>& pilot,
                                          std::size_t n_seeds) {
  std::vector<ClaimForecast> forecasts;
  for (const JudgedClaim& claim : pilot) {
    ClaimForecast& forecast =
        forecasts.emplace_back(ClaimForecast{.statement = claim.statement, .error = claim.error});
    const double level = claim.claim.params.at("level").get<double>();
    const double corrected = 1.0 - (1.0 - level) / static_cast<double>(std::max<std::size_t>(
                                                       claim.comparisons.size(), 1));
    for (const ClaimComparison& one : claim.comparisons) {
      ComparisonForecast& out = forecast.comparisons.emplace_back(
          ComparisonForecast{.what = one.what, .reason = one.reason, .effect = one.effect});
      if (!one.difference) continue;
      const Spread spread = SpreadOf(*one.difference);
      out.power = PowerOf(spread, one.limits, level, corrected, n_seeds);
      const bool has_low = std::isfinite(one.limits.low), has_high = std::isfinite(one.limits.high);
      const double smallest = SmallestDecided(spread, has_low && has_high, level, n_seeds);
      out.smallest = !one.is_ratio ? smallest
                     : has_low     ? std::expm1(smallest)
                                   : -std::expm1(-smallest);
    }
  }
  return forecasts;
}

}  // namespace longrun::client
