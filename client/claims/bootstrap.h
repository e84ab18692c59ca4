// The bootstrap interval of a paired difference.
//
// Its error has two sources, and a replicate is the sum of a deviation from each. The text's blocks
// are resampled, each with its part in the difference. A percentile interval over few units is too
// narrow: their resampled spread is smaller by sqrt((n - 1) / n), and normal where Student's t
// would be right. So the deviations are widened by
//
//   t(level, df) / z(level) * sqrt(n / (n - 1))
//
// which is the expanded percentile interval of Hesterberg (2015, "What teachers should know about
// the bootstrap", section 4.1.2). Two or three seeds are too few to resample: their means take only
// a handful of values. The seeds' deviation is Student's t with n - 1 degrees of freedom, times
// their standard error (a parametric bootstrap); it is not drawn, but added to each deviation of
// the blocks as a distribution, so its tails have no noise. A text's error that is known without
// blocks, as that of an accuracy, is normal.
//
// Beyond kResampledLevel too few of the resampled means lie beyond an end to place it. There half
// of the interval is sqrt((t_seeds se_seeds)^2 + (t_text se_text)^2), each t of its own degrees of
// freedom.
#pragma once

#include <cstddef>
#include <limits>
#include <utility>
#include <vector>

namespace longrun::client {

inline constexpr double kResampledLevel = 0.99;
inline constexpr std::size_t kReplicates = 10'000;

struct BootstrapSample {
  double effect = 0.0;
  std::vector<double> seeds = {};   // of each seed its difference; below two: no such source
  std::vector<double> blocks = {};  // of each block its part, about 0; below two: no such source
  // Of the blocks' error; fewer than their number less one where some hold little of the text.
  double df_blocks = std::numeric_limits<double>::infinity();
  // In place of blocks: the text's standard error of a difference that is not paired by them.
  double unpaired_text = 0.0;
};

// The ends of the interval; equal if the sample has no source. They depend only on the arguments.
std::pair<double, double> BootstrapInterval(const BootstrapSample& sample, double level,
                                            std::size_t n_replicates = kReplicates);

}  // namespace longrun::client
