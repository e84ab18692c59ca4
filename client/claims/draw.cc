#include "client/claims/draw.h"

#include <cmath>
#include <numbers>

#include "base/check.h"

namespace longrun::client {
namespace {

// -ln of a number that is uniform in (0, 1].
double DrawExponential(SeededRandom& random) { return -std::log1p(-random.Uniform()); }

}  // namespace

double DrawNormal(SeededRandom& random) {
  const double radius = std::sqrt(2.0 * DrawExponential(random));
  return radius * std::cos(2.0 * std::numbers::pi * random.Uniform());
}

// Twice a gamma number of shape df / 2, by Marsaglia and Tsang (2000): shapes below 1 as a number
// of shape + 1 times a power of a uniform one.
double DrawChiSquared(double df, SeededRandom& random) {
  LR_CHECK(df > 0.0);
  const double shape = 0.5 * df;
  const bool is_small = shape < 1.0;
  const double d = (is_small ? shape + 1.0 : shape) - 1.0 / 3.0;
  const double c = 1.0 / std::sqrt(9.0 * d);
  const double power = is_small ? std::exp(-DrawExponential(random) / shape) : 1.0;
  while (true) {
    const double normal = DrawNormal(random);
    const double root = 1.0 + c * normal;
    if (root <= 0.0) continue;
    const double v = root * root * root;
    if (-DrawExponential(random) < 0.5 * normal * normal + d * (1.0 - v + std::log(v))) {
      return 2.0 * d * v * power;
    }
  }
}

}  // namespace longrun::client
