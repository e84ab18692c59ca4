#include "client/claims/draw.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

namespace longrun::client {
namespace {

// -ln of a number that is uniform in (0, 1].
double DrawExponential(SeededRandom& random) { return -std::log1p(-random.Uniform()); }

}  // namespace

double DrawNormal(SeededRandom& random) {
  const double radius = std::sqrt(2.0 * DrawExponential(random));
  return radius * std::cos(2.0 * std::numbers::pi * random.Uniform());
}

// Two squares of normal numbers are twice an exponential number.
double DrawChiSquared(std::size_t df, SeededRandom& random) {
  double squares = 0.0;
  for (std::size_t i = 0; i + 1 < df; i += 2) squares += 2.0 * DrawExponential(random);
  if (df % 2 == 1) {
    const double last = DrawNormal(random);
    squares += last * last;
  }
  return squares;
}

double DrawStudent(std::size_t df, SeededRandom& random) {
  const double normal = DrawNormal(random);
  // The smallest sums would divide by 0: such a number is beyond every quantile.
  const double squares = std::max(DrawChiSquared(df, random), std::numeric_limits<double>::min());
  return normal / std::sqrt(squares / static_cast<double>(df));
}

}  // namespace longrun::client
