#include "client/tables/plain_window.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>

#include "base/equal_shares.h"
#include "base/student_t.h"

namespace longrun::client {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// One seed's readings.
struct Pair {
  const Reading* window = nullptr;
  const Reading* extended = nullptr;
};

std::vector<Pair> PairsOf(const std::vector<SeedReading>& window,
                          const std::vector<SeedReading>& extended) {
  std::vector<Pair> pairs;
  for (const SeedReading& one : extended) {
    const auto same = std::ranges::find(window, one.seed, &SeedReading::seed);
    if (same == window.end()) continue;
    pairs.push_back({.window = &same->reading, .extended = &one.reading});
  }
  return pairs;
}

std::optional<double> PairedP(const std::vector<Pair>& pairs) {
  const std::size_t n = pairs.front().window->scores.size();
  std::vector<std::int64_t> differences(n, 0);
  for (const Pair& pair : pairs) {
    const std::string &window = pair.window->scores, &extended = pair.extended->scores;
    if (n == 0 || window.size() != n || extended.size() != n) return std::nullopt;
    for (std::size_t i = 0; i < n; ++i) differences[i] += extended[i] - window[i];
  }
  return SignFlipP(differences);
}

std::optional<double> UnpairedP(const std::vector<Pair>& pairs) {
  double n = kInfinity, window = 0.0, extended = 0.0;
  for (const Pair& pair : pairs) {
    if (!pair.window->n_answers || !pair.extended->n_answers) return std::nullopt;
    n = std::min({n, *pair.window->n_answers, *pair.extended->n_answers});
    window += pair.window->x / static_cast<double>(pairs.size());
    extended += pair.extended->x / static_cast<double>(pairs.size());
  }
  // A share times its number of answers is whole but for rounding.
  constexpr double kRounding = 1e-6;
  const double low = std::ceil(std::min(window, extended) * n - kRounding);
  const double high = std::floor(std::max(window, extended) * n + kRounding);
  if (low >= high) return 1.0;
  const auto whole = [](double x) { return static_cast<std::int64_t>(x); };
  return FisherP(whole(low), whole(n), whole(high), whole(n));
}

}  // namespace

std::optional<PValues> DiffersFromWindow(const std::vector<SeedReading>& window,
                                         const std::vector<SeedReading>& extended) {
  const std::vector<Pair> pairs = PairsOf(window, extended);
  if (pairs.empty()) return std::nullopt;
  std::optional<double> p = PairedP(pairs);
  if (!p) p = UnpairedP(pairs);
  if (!p) return std::nullopt;
  if (pairs.size() == 1) return PValues{.p = *p, .cautious = *p};
  const PairedDifference compared = Compare(window, extended);
  if (*p >= 1.0 || compared.estimate.x == 0.0) return PValues{};
  // Beyond this, the quantile would be infinite.
  constexpr double kLeast = 1e-12;
  const double z = StudentQuantile(1.0 - std::max(*p, kLeast), kInfinity);
  Estimate estimate{.x = compared.estimate.x, .seeds = compared.estimate.seeds};
  estimate.text = {.se = std::abs(estimate.x) / z};
  return estimate.p();
}

}  // namespace longrun::client
