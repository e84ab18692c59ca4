// Forecasts whether a sweep that has not run yet can decide its claims. The variances come from a
// pilot: results of the same runs with other or fewer seeds.
//
// The power of a comparison is the probability that a new sweep decides it, as supported or as
// refuted, if the pilot's effect and variances are the true ones. New sweeps are simulated, and
// judged by the rules of judge.h. Let s be the deviation of one seed's difference, n the number of
// seeds, e the error of the text (over q blocks; df = q - 1), each Z a normal random number, and s'
// and e' the estimates of s and e from such a sample:
//
//   effect  pilot's + e Z + s Z / sqrt(n)
//   half    sqrt((t(n - 1) s' / sqrt(n))^2 + (t(df) e')^2)
//
// The judge's own interval is a little narrower where both sources count (bootstrap.h), so a
// forecast is on the safe side.
#pragma once

#include <cstddef>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "client/claims/judge.h"
#include "client/claims/limits.h"

namespace longrun::client {

// A pilot's comparison, on the comparison's scale.
struct Spread {
  double effect = 0.0;
  double of_seed = 0.0;    // deviation of one seed's difference
  double over_text = 0.0;  // standard error
  double df_text = std::numeric_limits<double>::infinity();
};

// Both functions use the same random draws every time. They need at least two seeds.
double PowerOf(const Spread& spread, const Limits& limits, double level, double corrected_level,
               std::size_t n_seeds);
// The smallest distance of a true value from a limit, on the claimed side, at which the comparison
// is supported with the probability kUsualPower. For a window between two limits: half the width of
// the narrowest window whose centre, as the true value, is supported with that probability.
double SmallestDecided(const Spread& spread, bool is_window, double level, std::size_t n_seeds);

inline constexpr double kUsualPower = 0.8;

struct ComparisonForecast {
  std::string what;                   // "cable / alibi at 256"
  std::string reason;                 // why there is no forecast; ""
  std::optional<double> effect = {};  // the pilot's
  std::optional<double> power = {};
  // SmallestDecided() on the value's scale: for a ratio, 0.02 is 2 % more or less than a limit; for
  // a difference, 0.02 is the distance itself.
  std::optional<double> smallest = {};
};

struct ClaimForecast {
  std::string statement;
  std::string error;  // JudgedClaim::error
  std::vector<ComparisonForecast> comparisons = {};
};

// `pilot`: the sweep's claims, judged from the pilot's results. At least two seeds.
std::vector<ClaimForecast> ForecastClaims(const std::vector<JudgedClaim>& pilot,
                                          std::size_t n_seeds);

}  // namespace longrun::client
