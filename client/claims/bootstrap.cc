#include "client/claims/bootstrap.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "base/random.h"
#include "base/student_t.h"
#include "client/claims/draw.h"

namespace longrun::client {
namespace {

constexpr std::uint64_t kSeed = 0x636c61696d73;  // any constant: the same answer every time
constexpr double kReplicatesBeyond = 250.0;
constexpr double kReplicatesMost = 1e6;

double MeanOf(const std::vector<double>& values) {
  double sum = 0.0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

double StandardError(const std::vector<double>& values) {
  const double mean = MeanOf(values);
  double squares = 0.0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  const auto n = static_cast<double>(values.size());
  return std::sqrt(squares / (n * (n - 1.0)));
}

// Draws the deviation of a mean of as many values from the mean of all.
class Resampled {
 public:
  explicit Resampled(const std::vector<double>& values)
      : values_(values), mean_(values.empty() ? 0.0 : MeanOf(values)) {}

  double operator()(SeededRandom& random) const {
    double sum = 0.0;
    for (std::size_t i = 0; i < values_.size(); ++i) {
      sum += values_[static_cast<std::size_t>(random.Below(values_.size()))];
    }
    return sum / static_cast<double>(values_.size()) - mean_;
  }

 private:
  const std::vector<double>& values_;
  double mean_;
};

double Expansion(std::size_t n, double level) {
  const double df = static_cast<double>(n) - 1.0;
  const double normal = StudentQuantile(level, std::numeric_limits<double>::infinity());
  return StudentQuantile(level, df) / normal * std::sqrt(static_cast<double>(n) / df);
}

// The value below which the part `p` of the values lies, between two of them by their distances.
// Reorders the values.
double Quantile(std::vector<double>& values, double p) {
  const double at = p * static_cast<double>(values.size() - 1);
  const auto below = values.begin() + static_cast<std::ptrdiff_t>(at);
  std::nth_element(values.begin(), below, values.end());
  const auto above = below + 1 == values.end() ? below : std::min_element(below + 1, values.end());
  return *below + (at - std::floor(at)) * (*above - *below);
}

}  // namespace

std::size_t ReplicatesFor(double level) {
  const double wanted = std::ceil(2.0 * kReplicatesBeyond / (1.0 - level));
  return static_cast<std::size_t>(std::min(wanted, kReplicatesMost));
}

std::pair<double, double> BootstrapInterval(const BootstrapSample& sample, double level,
                                            std::size_t n_replicates) {
  LR_CHECK(n_replicates > 0 && level > 0.0 && level < 1.0);
  const std::size_t n_seeds = sample.seeds.size(), n_blocks = sample.blocks.size();
  const double over_seeds = n_seeds > 1 ? StandardError(sample.seeds) : 0.0;
  const bool has_blocks = n_blocks > 1;
  if (!has_blocks && sample.unpaired_text == 0.0) {
    const double half =
        over_seeds > 0.0 ? over_seeds * StudentQuantile(level, static_cast<double>(n_seeds) - 1.0)
                         : 0.0;
    return {sample.effect - half, sample.effect + half};
  }
  const Resampled of_blocks(sample.blocks);
  const double expansion = has_blocks ? Expansion(n_blocks, level) : 0.0;
  SeededRandom random(kSeed);
  std::vector<double> replicates(n_replicates, sample.effect);
  for (double& replicate : replicates) {
    replicate +=
        has_blocks ? expansion * of_blocks(random) : sample.unpaired_text * DrawNormal(random);
    if (over_seeds > 0.0) replicate += over_seeds * DrawStudent(n_seeds - 1, random);
  }
  const double low = Quantile(replicates, (1.0 - level) / 2);
  return {low, Quantile(replicates, (1.0 + level) / 2)};
}

}  // namespace longrun::client
