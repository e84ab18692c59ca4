// The bootstrap interval of a paired difference.
//
// Resampled are the two sources of its error: the seeds' differences, and the blocks of the text
// with each block's part in the difference. A percentile interval over few units is too narrow:
// their resampled spread is smaller by sqrt((n - 1) / n), and normal where Student's t would be
// right. So each source's deviations are widened by
//
//   t(level, n - 1) / z(level) * sqrt(n / (n - 1))
//
// which is the expanded percentile interval of Hesterberg (2015, "What teachers should know about
// the bootstrap", section 4.1.2), here for each source by its own n.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace longrun::client {

struct BootstrapSample {
  double effect = 0.0;
  std::vector<double> seeds = {};  // of each seed its difference; fewer than two: no such source
  std::vector<double> blocks =
      {};  // of each block its part, about 0; fewer than two: no such source
};

inline constexpr std::size_t kReplicates = 9999;

// The ends of the interval; equal if the sample has no source. They depend only on the arguments.
// `is_expanded`: widened as above.
std::pair<double, double> BootstrapInterval(const BootstrapSample& sample, double level,
                                            std::size_t n_replicates = kReplicates,
                                            bool is_expanded = true);

}  // namespace longrun::client
