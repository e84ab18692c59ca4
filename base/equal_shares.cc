#include "base/equal_shares.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>
#include <numbers>
#include <vector>

#include "base/check.h"

namespace longrun {
namespace {

double LogChoose(std::int64_t n, std::int64_t k) {
  const auto log_factorial = [](std::int64_t m) { return std::lgamma(static_cast<double>(m) + 1); };
  return log_factorial(n) - log_factorial(k) - log_factorial(n - k);
}

// The distribution of the sum of `n` signs, each +1 or -1: element k is that of 2 k - n.
std::vector<double> SumOfSigns(std::int64_t n) {
  std::vector<double> p;
  p.reserve(static_cast<std::size_t>(n) + 1);
  for (std::int64_t k = 0; k <= n; ++k) {
    p.push_back(std::exp(LogChoose(n, k) - static_cast<double>(n) * std::numbers::ln2));
  }
  return p;
}

}  // namespace

double FisherP(std::int64_t right_a, std::int64_t n_a, std::int64_t right_b, std::int64_t n_b) {
  LR_CHECK(0 <= right_a && right_a <= n_a && 0 <= right_b && right_b <= n_b);
  const std::int64_t right = right_a + right_b;
  const double log_all = LogChoose(n_a + n_b, right);
  const auto log_p = [&](std::int64_t a) {
    return LogChoose(n_a, a) + LogChoose(n_b, right - a) - log_all;
  };
  // Numbers that are equally probable differ by rounding.
  constexpr double kTolerance = 1e-7;
  const double observed = log_p(right_a) + kTolerance;
  double p = 0.0;
  for (std::int64_t a = std::max<std::int64_t>(0, right - n_b); a <= std::min(n_a, right); ++a) {
    if (log_p(a) <= observed) p += std::exp(log_p(a));
  }
  return std::min(p, 1.0);
}

double SignFlipP(std::span<const std::int64_t> differences) {
  std::int64_t sum = 0;
  std::map<std::int64_t, std::int64_t> n_of;  // by size
  for (const std::int64_t d : differences) {
    sum += d;
    if (d != 0) n_of[std::abs(d)] += 1;
  }
  std::vector<double> p = {1.0};  // element k is the probability of the sum k - reach
  std::int64_t reach = 0;
  for (const auto& [size, n] : n_of) {
    const std::vector<double> signs = SumOfSigns(n);
    std::vector<double> wider(p.size() + 2 * static_cast<std::size_t>(size * n), 0.0);
    for (std::size_t k = 0; k < signs.size(); ++k) {
      const std::size_t from = 2 * static_cast<std::size_t>(size) * k;
      for (std::size_t i = 0; i < p.size(); ++i) wider[from + i] += p[i] * signs[k];
    }
    p = std::move(wider);
    reach += size * n;
  }
  double beyond = 0.0;
  for (std::size_t k = 0; k < p.size(); ++k) {
    if (std::abs(static_cast<std::int64_t>(k) - reach) >= std::abs(sum)) beyond += p[k];
  }
  return std::min(beyond, 1.0);
}

}  // namespace longrun
