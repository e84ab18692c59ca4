#include "client/claims/bootstrap.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "base/random.h"
#include "base/student_t.h"

namespace longrun::client {
namespace {

constexpr std::uint64_t kSeed = 0x636c61696d73;  // any constant: the same answer every time

double MeanOf(const std::vector<double>& values) {
  double sum = 0.0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

// The mean of as many draws as there are values, less the values' mean.
double ResampledDeviation(const std::vector<double>& values, double mean, SeededRandom& random) {
  double sum = 0.0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    sum += values[static_cast<std::size_t>(random.Below(values.size()))];
  }
  return sum / static_cast<double>(values.size()) - mean;
}

double Expansion(std::size_t n, double level) {
  const double df = static_cast<double>(n) - 1.0;
  const double normal = StudentQuantile(level, std::numeric_limits<double>::infinity());
  return StudentQuantile(level, df) / normal * std::sqrt(static_cast<double>(n) / df);
}

// The value below which the part `p` of the sorted values lies, between two of them by their
// distances.
double Quantile(const std::vector<double>& sorted, double p) {
  const double at = p * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (at - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

}  // namespace

std::pair<double, double> BootstrapInterval(const BootstrapSample& sample, double level,
                                            std::size_t n_replicates, bool is_expanded) {
  LR_CHECK(n_replicates > 0 && level > 0.0 && level < 1.0);
  struct Source {
    const std::vector<double>* values;
    double mean;
    double expansion;
  };
  std::vector<Source> sources;
  for (const std::vector<double>* values : {&sample.seeds, &sample.blocks}) {
    if (values->size() < 2) continue;
    sources.push_back({.values = values,
                       .mean = MeanOf(*values),
                       .expansion = is_expanded ? Expansion(values->size(), level) : 1.0});
  }
  SeededRandom random(kSeed);
  std::vector<double> replicates(n_replicates, sample.effect);
  for (double& replicate : replicates) {
    for (const Source& source : sources) {
      replicate += source.expansion * ResampledDeviation(*source.values, source.mean, random);
    }
  }
  std::ranges::sort(replicates);
  return {Quantile(replicates, (1.0 - level) / 2), Quantile(replicates, (1.0 + level) / 2)};
}

}  // namespace longrun::client
