#include "base/student_t.h"

#include <cmath>
#include <initializer_list>
#include <limits>
#include <numbers>

#include "base/check.h"

namespace longrun {
namespace {

// The continued fraction of the incomplete beta function (Abramowitz and Stegun 26.5.8), by Lentz's
// method. It converges fast where x < (a + 1) / (a + b + 2).
double BetaFraction(double a, double b, double x) {
  constexpr double kTiny = 1e-300;
  constexpr int kStepsMax = 10'000;
  const auto not_zero = [](double value) { return std::abs(value) < kTiny ? kTiny : value; };
  double c = 1.0, d = 1.0 / not_zero(1.0 - (a + b) * x / (a + 1.0)), fraction = d;
  for (int m = 1; m <= kStepsMax; ++m) {
    const double even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
    const double odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
    double factor = 1.0;
    for (const double term : {even, odd}) {
      d = 1.0 / not_zero(1.0 + term * d);
      c = not_zero(1.0 + term / c);
      factor = c * d;
      fraction *= factor;
    }
    if (std::abs(factor - 1.0) < std::numeric_limits<double>::epsilon()) break;
  }
  return fraction;
}

// I_x(a, b), with y = 1 - x given apart so that it keeps its digits.
double RegularizedBeta(double a, double b, double x, double y) {
  if (x <= 0.0) return 0.0;
  if (y <= 0.0) return 1.0;
  const double log_front =
      std::lgamma(a + b) - std::lgamma(a) - std::lgamma(b) + a * std::log(x) + b * std::log(y);
  if (x < (a + 1.0) / (a + b + 2.0)) return std::exp(log_front) * BetaFraction(a, b, x) / a;
  return 1.0 - std::exp(log_front) * BetaFraction(b, a, y) / b;
}

// From here on the two distributions agree to 1e-7, and differences of lgamma lose digits.
constexpr double kNormalFrom = 1e7;

double Density(double t, double df) {
  if (df >= kNormalFrom) return std::exp(-0.5 * t * t) / std::sqrt(2.0 * std::numbers::pi);
  return std::exp(std::lgamma(0.5 * (df + 1.0)) - std::lgamma(0.5 * df) -
                  0.5 * (df + 1.0) * std::log1p(t * t / df)) /
         std::sqrt(df * std::numbers::pi);
}

}  // namespace

double StudentTwoSidedP(double t, double df) {
  LR_CHECK(df > 0.0);
  if (std::isinf(t)) return 0.0;
  if (df >= kNormalFrom) return std::erfc(std::abs(t) / std::numbers::sqrt2);
  const double sum = df + t * t;
  return RegularizedBeta(0.5 * df, 0.5, df / sum, t * t / sum);
}

double StudentQuantile(double level, double df) {
  LR_CHECK(level > 0.0 && level < 1.0);
  // P falls and is convex, so Newton's steps from below stay below.
  double t = 0.0;
  for (int step = 0; step < 200; ++step) {
    const double excess = StudentTwoSidedP(t, df) - (1.0 - level);
    const double next = t + excess / (2.0 * Density(t, df));
    if (!(next > t * (1.0 + 1e-14))) break;
    t = next;
  }
  return t;
}

double HalfInterval95(double se, double df) { return se * StudentQuantile(0.95, df); }

}  // namespace longrun
