#include "client/claims/bootstrap.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

#include "base/check.h"
#include "base/random.h"
#include "base/student_t.h"

namespace longrun::client {
namespace {

constexpr std::uint64_t kSeed = 0x636c61696d73;  // any constant: the same answer every time
constexpr double kInfinity = std::numeric_limits<double>::infinity();

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

// Deviations of means of as many values from the mean of all.
std::vector<double> Resample(const std::vector<double>& values, std::size_t n_replicates) {
  const double mean = MeanOf(values);
  SeededRandom random(kSeed);
  std::vector<double> deviations(n_replicates);
  for (double& deviation : deviations) {
    double sum = 0.0;
    for (std::size_t i = 0; i < values.size(); ++i) {
      sum += values[static_cast<std::size_t>(random.Below(values.size()))];
    }
    deviation = sum / static_cast<double>(values.size()) - mean;
  }
  return deviations;
}

double Expansion(std::size_t n, double df, double level) {
  const double spread = static_cast<double>(n) / (static_cast<double>(n) - 1.0);
  return StudentQuantile(level, df) / StudentQuantile(level, kInfinity) * std::sqrt(spread);
}

// Quantiles of the normal distribution in the middles of parts that are equally probable.
const std::vector<double>& NormalGrid() {
  static const auto& grid = *new auto([] {
    constexpr std::size_t kHalf = 5000;
    std::vector<double> values;
    for (std::size_t i = 0; i < kHalf; ++i) {
      const double level = (static_cast<double>(i) + 0.5) / kHalf;
      const double value = StudentQuantile(level, kInfinity);
      values.insert(values.end(), {-value, value});
    }
    return values;
  }());
  return grid;
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

// P(T > t) of Student's t, from a table over t / (1 + |t|): for df of 1 and more, the error of
// linear interpolation is below 1e-5.
class StudentTail {
 public:
  explicit StudentTail(double df) {
    for (std::size_t i = 0; i < kSteps; ++i) {
      const double u = static_cast<double>(i) / kSteps;
      table_[i] = 0.5 * StudentTwoSidedP(u / (1.0 - u), df);
    }
    table_[kSteps] = 0.0;
  }

  double operator()(double t) const {
    const double size = std::abs(t);
    const double at = std::isinf(size) ? kSteps : kSteps * size / (1.0 + size);
    const auto below = std::min(static_cast<std::size_t>(at), kSteps - 1);
    const double part = at - static_cast<double>(below);
    const double beyond = (1.0 - part) * table_[below] + part * table_[below + 1];
    return t >= 0.0 ? beyond : 1.0 - beyond;
  }

 private:
  static constexpr std::size_t kSteps = 2048;
  std::array<double, kSteps + 1> table_;
};

// The distribution of a deviation, all of them equally probable, plus `error` times Student's t.
class Sum {
 public:
  Sum(const std::vector<double>& deviations, double error, double df)
      : deviations_(deviations), error_(error), tail_(df) {}

  // The x that is exceeded with the probability `p` (side 1), or not reached (side -1).
  double End(double p, double side, double quantile) const {
    const auto [least, most] = std::ranges::minmax(deviations_);
    // At these the kernel of the nearest, or of the farthest deviation has the probability p.
    double low = (side > 0.0 ? least : -most) + quantile * error_;
    double high = (side > 0.0 ? most : -least) + quantile * error_;
    const double close = kTolerance * (high - low + quantile * error_);
    while (high - low > close) {
      const double middle = 0.5 * (low + high);
      (Beyond(middle, side) > p ? low : high) = middle;
    }
    return side * 0.5 * (low + high);
  }

 private:
  static constexpr double kTolerance = 1e-6;

  double Beyond(double x, double side) const {
    double sum = 0.0;
    for (const double deviation : deviations_) sum += tail_((x - side * deviation) / error_);
    return sum / static_cast<double>(deviations_.size());
  }

  const std::vector<double>& deviations_;
  double error_;
  StudentTail tail_;
};

}  // namespace

std::pair<double, double> BootstrapInterval(const BootstrapSample& sample, double level,
                                            std::size_t n_replicates) {
  LR_CHECK(n_replicates > 0 && level > 0.0 && level < 1.0);
  const std::size_t n_seeds = sample.seeds.size(), n_blocks = sample.blocks.size();
  const double over_seeds = n_seeds > 1 ? StandardError(sample.seeds) : 0.0;
  const bool has_blocks = n_blocks > 1;
  const double df_blocks = std::min(sample.df_blocks, static_cast<double>(n_blocks) - 1.0);
  const double over_text = has_blocks ? StandardError(sample.blocks) : sample.unpaired_text;
  const double of_seeds =
      over_seeds > 0.0 ? StudentQuantile(level, static_cast<double>(n_seeds) - 1.0) : 0.0;
  if (over_text == 0.0 || level > kResampledLevel || (!has_blocks && over_seeds == 0.0)) {
    const double of_text =
        over_text > 0.0 ? StudentQuantile(level, has_blocks ? df_blocks : kInfinity) : 0.0;
    const double half = std::hypot(of_seeds * over_seeds, of_text * over_text);
    return {sample.effect - half, sample.effect + half};
  }
  std::vector<double> deviations =
      has_blocks ? Resample(sample.blocks, n_replicates) : NormalGrid();
  const double widen = has_blocks ? Expansion(n_blocks, df_blocks, level) : over_text;
  for (double& deviation : deviations) deviation *= widen;
  const double beyond = (1.0 - level) / 2;
  if (over_seeds == 0.0) {
    const double low = Quantile(deviations, beyond);
    return {sample.effect + low, sample.effect + Quantile(deviations, 1.0 - beyond)};
  }
  const Sum sum(deviations, over_seeds, static_cast<double>(n_seeds) - 1.0);
  return {sample.effect + sum.End(beyond, -1.0, of_seeds),
          sample.effect + sum.End(beyond, 1.0, of_seeds)};
}

}  // namespace longrun::client
