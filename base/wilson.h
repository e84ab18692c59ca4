// Wilson's interval of a share. Wilson 1927, "Probable inference, the law of succession, and
// statistical inference": unlike share ± error, it stays within [0, 1], and is not empty for a
// share of 0 or 1.
//
//   (p + z^2 / 2n ± z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n),   z = 1.96 for 95 %
#pragma once

#include <utility>

namespace longrun {

// The 95 % interval of `share` of `n` answers; n > 0.
std::pair<double, double> Wilson95(double share, double n);

}  // namespace longrun
