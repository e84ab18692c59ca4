// The bootstrap interval of a paired difference.
//
// Its error has two sources, and a replicate is the sum of a deviation from each. The text's blocks
// are resampled, each with its part in the difference. A percentile interval over few units is too
// narrow: the resampled means spread too little, by the factor sqrt((n - 1) / n), and they follow a
// normal distribution instead of Student's t. So the deviations are widened by
//
//   t(level, df) / z(level) * sqrt(n / (n - 1))
//
// which is the expanded percentile interval of Hesterberg (2015, "What teachers should know about
// the bootstrap", section 4.1.2). Two or three seeds are too few to resample: their means take only
// a handful of values. The seeds' deviation is Student's t with n - 1 degrees of freedom, times
// their standard error (a parametric bootstrap). This deviation is not drawn at random: its whole
// distribution is added to each deviation of the blocks, so its tails have no noise. If a text's
// error is known without blocks, like that of an accuracy, it is taken as normal.
//
// At levels above kResampledLevel, too few resampled means lie beyond an end of the interval to
// locate this end. Half of the interval is then sqrt((t_seeds se_seeds)^2 + (t_text se_text)^2),
// each t with its own degrees of freedom.
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
  std::vector<double> seeds = {};   // each seed's difference; fewer than two are ignored
  std::vector<double> blocks = {};  // each block's part, around 0; fewer than two are ignored
  // Degrees of freedom of the blocks' error: n - 1, or fewer if some blocks hold little text.
  double df_blocks = std::numeric_limits<double>::infinity();
  // Instead of blocks: the text's standard error, if the difference is not paired by blocks.
  double unpaired_text = 0.0;
};

// The ends of the interval; equal if there is no source of error. They depend only on the
// arguments.
std::pair<double, double> BootstrapInterval(const BootstrapSample& sample, double level,
                                            std::size_t n_replicates = kReplicates);

}  // namespace longrun::client
