#include "base/wilson.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace longrun {

std::pair<double, double> Wilson95(double share, double n) {
  LR_CHECK(n > 0.0);
  constexpr double kZ = 1.959963984540054;  // the normal distribution's 97.5th percentile
  const double z2n = kZ * kZ / n;
  const double middle = share + z2n / 2.0;
  const double half = kZ * std::sqrt(share * (1.0 - share) / n + z2n / (4.0 * n));
  return {std::max(0.0, (middle - half) / (1.0 + z2n)),
          std::min(1.0, (middle + half) / (1.0 + z2n))};
}

}  // namespace longrun
