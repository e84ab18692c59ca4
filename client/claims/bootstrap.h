// The bootstrap interval of a paired difference.
//
// Its error has two sources. The text's blocks are resampled, each with its part in the difference.
// A percentile interval over few units is too narrow: their resampled spread is smaller by
// sqrt((n - 1) / n), and normal where Student's t would be right. So the deviations are widened by
//
//   t(level, n - 1) / z(level) * sqrt(n / (n - 1))
//
// which is the expanded percentile interval of Hesterberg (2015, "What teachers should know about
// the bootstrap", section 4.1.2). Two or three seeds are too few to resample: their means take only
// a handful of values. The seeds' part of a replicate is drawn from Student's t with n - 1 degrees
// of freedom, times their standard error (a parametric bootstrap). With only seeds the interval is
// Student's, and is computed without drawing. A text's error that is known without blocks, as
// that of an accuracy, is drawn from the normal distribution.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace longrun::client {

struct BootstrapSample {
  double effect = 0.0;
  std::vector<double> seeds = {};   // of each seed its difference; below two: no such source
  std::vector<double> blocks = {};  // of each block its part, about 0; below two: no such source
  // In place of blocks: the text's standard error of a difference that is not paired by them.
  double unpaired_text = 0.0;
};

// So many that 250 replicates lie beyond each end, at most a million.
std::size_t ReplicatesFor(double level);

// The ends of the interval; equal if the sample has no source. They depend only on the arguments.
std::pair<double, double> BootstrapInterval(const BootstrapSample& sample, double level,
                                            std::size_t n_replicates);

}  // namespace longrun::client
