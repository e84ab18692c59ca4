#include "client/tables/estimate.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "base/check.h"
#include "base/student_t.h"
#include "base/wilson.h"

namespace longrun::client {
namespace {

struct Moments {
  double mean = 0.0;
  double variance = 0.0;  // of the mean; 0 for one value
};

template <typename Values, typename Projection>
Moments MomentsOf(const Values& values, Projection x_of) {
  const auto count = static_cast<double>(values.size());
  Moments moments;
  for (const auto& value : values) moments.mean += x_of(value) / count;
  if (values.size() < 2) return moments;
  double squares = 0.0;
  for (const auto& value : values) {
    squares += (x_of(value) - moments.mean) * (x_of(value) - moments.mean);
  }
  moments.variance = squares / (count - 1.0) / count;
  return moments;
}

double DfOf(double n) { return n - 1.0; }

// Of independent variances of means with their degrees of freedom (Satterthwaite 1946):
// (a + b)^2 / (a^2 / df_a + b^2 / df_b), by shares, so that no square overflows.
double SatterthwaiteDf(double a, double df_a, double b, double df_b) {
  if (!std::isfinite(a + b)) return std::min(df_a, df_b);
  if (a + b == 0.0) return std::numeric_limits<double>::infinity();
  const double share = a / (a + b);
  const double below = share * share / df_a + (1.0 - share) * (1.0 - share) / df_b;
  return below > 0.0 ? 1.0 / below : std::numeric_limits<double>::infinity();
}

// The smallest of the readings' blocks.
double BlocksDf(const std::vector<const Reading*>& readings) {
  double df = std::numeric_limits<double>::infinity();
  for (const Reading* reading : readings) df = std::min(df, reading->blocks.df);
  return df;
}

bool HaveSameBlocks(const std::vector<const Reading*>& readings) {
  const BlockParts& first = readings.front()->blocks;
  return first.parts.size() > 1 && std::ranges::all_of(readings, [&](const Reading* reading) {
           return reading->blocks.begin == first.begin && reading->blocks.text == first.text;
         });
}

// The mean over readings, block by block.
std::vector<double> MeanParts(const std::vector<const Reading*>& readings) {
  std::vector<double> parts(readings.front()->blocks.parts.size());
  for (const Reading* reading : readings) {
    for (std::size_t b = 0; b < parts.size(); ++b) {
      parts[b] += reading->blocks.parts[b] / static_cast<double>(readings.size());
    }
  }
  return parts;
}

// The mean of the readings' own errors.
ErrorPart MeanText(const std::vector<const Reading*>& readings) {
  ErrorPart text{.se = 0.0};
  for (const Reading* reading : readings) {
    if (!reading->se) return {};
    *text.se += *reading->se / static_cast<double>(readings.size());
    text.df = std::min(text.df, reading->df);
  }
  return text;
}

// Wilson's interval of the mean of shares, with its width in deviations of a normal distribution as
// the error; nothing if a reading is not a share with a number of answers.
std::optional<ErrorPart> WilsonText(double mean, const std::vector<const Reading*>& readings) {
  double n = std::numeric_limits<double>::infinity();
  for (const Reading* reading : readings) {
    if (!reading->n_answers) return std::nullopt;
    n = std::min(n, *reading->n_answers);
  }
  constexpr double kDeviations = 2 * 1.959963984540054;  // across 95 % of a normal distribution
  const auto ends = Wilson95(mean, n);
  return ErrorPart{.se = (ends.second - ends.first) / kDeviations, .ends95 = ends};
}

std::vector<const Reading*> Pointers(const std::vector<Reading>& readings) {
  std::vector<const Reading*> pointers;
  pointers.reserve(readings.size());
  for (const Reading& reading : readings) pointers.push_back(&reading);
  return pointers;
}

std::vector<const Reading*> Pointers(const std::vector<SeedReading>& readings) {
  std::vector<const Reading*> pointers;
  pointers.reserve(readings.size());
  for (const SeedReading& reading : readings) pointers.push_back(&reading.reading);
  return pointers;
}

// The seeds' part of a difference of means over different seeds. A side with one seed has the
// variance of the other.
ErrorPart WelchPart(const std::vector<SeedReading>& a, const std::vector<SeedReading>& b) {
  const auto x_of = [](const SeedReading& one) { return one.reading.x; };
  const auto n_a = static_cast<double>(a.size()), n_b = static_cast<double>(b.size());
  double variance_a = MomentsOf(a, x_of).variance, variance_b = MomentsOf(b, x_of).variance;
  if (a.size() < 2 && b.size() < 2) return {};
  if (a.size() < 2) return {.se = std::sqrt(variance_b * (n_b + 1.0)), .df = DfOf(n_b)};
  if (b.size() < 2) return {.se = std::sqrt(variance_a * (n_a + 1.0)), .df = DfOf(n_a)};
  return {.se = std::sqrt(variance_a + variance_b),
          .df = SatterthwaiteDf(variance_a, DfOf(n_a), variance_b, DfOf(n_b))};
}

// The readings of one side whose seeds the other side has, in the order of `a`.
std::vector<std::pair<const Reading*, const Reading*>> Matched(const std::vector<SeedReading>& a,
                                                               const std::vector<SeedReading>& b) {
  std::vector<std::pair<const Reading*, const Reading*>> pairs;
  for (const SeedReading& one : a) {
    const auto other = std::ranges::find(b, one.seed, &SeedReading::seed);
    if (other != b.end()) pairs.emplace_back(&one.reading, &other->reading);
  }
  return pairs;
}

// The text's part of B - A.
ErrorPart TextPart(const std::vector<const Reading*>& a, const std::vector<const Reading*>& b,
                   PairedDifference& out) {
  std::vector<const Reading*> all = a;
  all.insert(all.end(), b.begin(), b.end());
  out.is_text_paired = HaveSameBlocks(all);
  if (out.is_text_paired) {
    std::vector<double> parts = MeanParts(b);
    const std::vector<double> minus = MeanParts(a);
    for (std::size_t i = 0; i < parts.size(); ++i) parts[i] -= minus[i];
    out.of_blocks = std::move(parts);
    return {.se = BlocksError(out.of_blocks), .df = BlocksDf(all)};
  }
  const ErrorPart of_a = MeanText(a), of_b = MeanText(b);
  if (!of_a.se || !of_b.se) return {};
  return {.se = std::hypot(*of_a.se, *of_b.se), .df = std::min(of_a.df, of_b.df)};
}

// The p at which x is as far as sqrt((t_s(p) seeds)^2 + (t_t(p) text)^2), each t of its own degrees
// of freedom. Satterthwaite's approximation takes these from the estimated variances: where few
// seeds happen to agree, it forgets how little they say, and a small p would be far too small.
double CautiousP(double x, const ErrorPart& seeds, const ErrorPart& text) {
  constexpr double kLeast = 1e-12, kTolerance = 1e-7;
  const auto is_beyond = [&](double p) {
    const double s = *seeds.se * StudentQuantile(1.0 - p, seeds.df);
    const double t = *text.se * StudentQuantile(1.0 - p, text.df);
    return std::abs(x) > std::hypot(s, t);
  };
  if (x == 0.0) return 1.0;
  if (is_beyond(kLeast)) return kLeast;
  double low = std::log(kLeast), high = 0.0;  // |x| is beyond at high, and not at low
  while (high - low > kTolerance) {
    const double middle = 0.5 * (low + high);
    (is_beyond(std::exp(middle)) ? high : low) = middle;
  }
  return std::exp(high);
}

}  // namespace

std::optional<double> ErrorPart::half95() const {
  if (ends95) return (ends95->second - ends95->first) / 2.0;
  if (!se) return std::nullopt;
  return *se == 0.0 ? 0.0 : HalfInterval95(*se, df);
}

ShownError Estimate::shown(bool is_difference) const {
  const std::optional<double> over_seeds = seeds.half95(), over_text = text.half95();
  if (is_difference && over_seeds > 0.0 && over_text > 0.0) {
    return {.part = both(), .source = ErrorSource::kBoth};
  }
  const bool is_over_seeds = over_seeds && (!over_text || *over_seeds >= *over_text);
  if (is_over_seeds) return {.part = seeds, .source = ErrorSource::kSeeds};
  return {.part = text, .source = ErrorSource::kText};
}

ErrorPart Estimate::both() const {
  if (!seeds.se || !text.se) return seeds.se ? seeds : text;
  const double a = *seeds.se * *seeds.se, b = *text.se * *text.se;
  return {.se = std::sqrt(a + b), .df = SatterthwaiteDf(a, seeds.df, b, text.df)};
}

std::optional<PValues> Estimate::p() const {
  const ErrorPart error = both();
  if (!error.se) return std::nullopt;
  double p = 0.0;
  if (*error.se == 0.0) {
    p = x == 0.0 ? 1.0 : 0.0;
  } else {
    p = StudentTwoSidedP(x / *error.se, error.df);
  }
  const bool has_two = seeds.se && text.se && *seeds.se > 0.0 && *text.se > 0.0;
  return PValues{.p = p, .cautious = has_two ? std::max(p, CautiousP(x, seeds, text)) : p};
}

Estimate MeanOf(const std::vector<Reading>& readings) {
  LR_CHECK(!readings.empty());
  const Moments moments = MomentsOf(readings, [](const Reading& reading) { return reading.x; });
  Estimate estimate{.x = moments.mean};
  if (readings.size() > 1) {
    estimate.seeds = {.se = std::sqrt(moments.variance),
                      .df = DfOf(static_cast<double>(readings.size()))};
  }
  const std::vector<const Reading*> all = Pointers(readings);
  const bool are_differences =
      std::ranges::all_of(readings, [](const Reading& reading) { return reading.is_difference; });
  if (are_differences && HaveSameBlocks(all)) {
    estimate.text = {.se = BlocksError(MeanParts(all)), .df = BlocksDf(all)};
  } else if (const auto wilson = WilsonText(moments.mean, all)) {
    estimate.text = *wilson;
  } else {
    estimate.text = MeanText(all);
  }
  return estimate;
}

PairedDifference Compare(const std::vector<SeedReading>& a, const std::vector<SeedReading>& b) {
  LR_CHECK(!a.empty() && !b.empty());
  const auto pairs = Matched(a, b);
  PairedDifference out{.n_seeds_matched = pairs.size()};
  for (const auto& [one, other] : pairs) out.of_seeds.push_back(other->x - one->x);
  const bool pairs_seeds = pairs.size() > 1 || (a.size() == 1 && b.size() == 1);
  if (pairs.size() > 1) {
    std::vector<const Reading*> of_a, of_b;
    for (const auto& [one, other] : pairs) {
      of_a.push_back(one);
      of_b.push_back(other);
    }
    const Moments moments = MomentsOf(out.of_seeds, [](double difference) { return difference; });
    out.estimate.x = moments.mean;
    out.estimate.seeds = {.se = std::sqrt(moments.variance),
                          .df = DfOf(static_cast<double>(pairs.size()))};
    out.estimate.text = TextPart(of_a, of_b, out);
    return out;
  }
  const auto x_of = [](const SeedReading& one) { return one.reading.x; };
  out.estimate.x = MomentsOf(b, x_of).mean - MomentsOf(a, x_of).mean;
  if (!pairs_seeds) out.estimate.seeds = WelchPart(a, b);
  out.estimate.text = TextPart(Pointers(a), Pointers(b), out);
  return out;
}

std::vector<std::optional<double>> Holm(const std::vector<std::optional<double>>& p,
                                        std::size_t n_tests) {
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < p.size(); ++i) {
    if (p[i]) order.push_back(i);
  }
  std::ranges::stable_sort(order, {}, [&](std::size_t i) { return *p[i]; });
  std::vector<std::optional<double>> corrected(p.size());
  double largest = 0.0;
  for (std::size_t rank = 0; rank < order.size(); ++rank) {
    const auto n_left = static_cast<double>(std::max(n_tests, order.size()) - rank);
    largest = std::max(largest, std::min(1.0, n_left * *p[order[rank]]));
    corrected[order[rank]] = largest;
  }
  return corrected;
}

std::vector<double> CorrectForNumber(const std::vector<PValues>& tests) {
  if (tests.size() == 1) return {tests.front().p};
  std::vector<std::optional<double>> p;
  p.reserve(tests.size());
  for (const PValues& test : tests) p.emplace_back(test.cautious);
  std::vector<double> corrected;
  for (const std::optional<double>& one : Holm(p)) corrected.push_back(*one);
  return corrected;
}

namespace {

// With more, a difference of a few standard errors is not told apart.
constexpr double kFewErrors = 5.0;

}  // namespace

double FewSeeds::df() const {
  return SatterthwaiteDf(1.0, static_cast<double>(n_seeds) - 1.0, text * text, text_df);
}

double FewSeeds::errors_needed() const {
  return StudentQuantile(1.0 - kTestLevel / static_cast<double>(n_tests), df()) *
         std::hypot(1.0, text);
}

FewSeeds FewSeeds::Enough() const {
  constexpr std::size_t kMost = 30;  // then Student's t is close to the normal distribution
  FewSeeds enough = *this;
  while (enough.n_seeds < kMost && enough.errors_needed() > kFewErrors) enough.n_seeds += 1;
  return enough;
}

std::optional<FewSeeds> HiddenByFewSeeds(const Estimate& difference, std::size_t n_seeds,
                                         std::size_t n_tests) {
  // Beyond so many standard errors there are hardly any differences.
  constexpr double kMany = 10.0;
  if (n_seeds < 2 || n_tests == 0 || difference.seeds.se.value_or(0.0) == 0.0) return std::nullopt;
  FewSeeds few{.n_seeds = n_seeds, .n_tests = n_tests};
  if (few.errors_needed() < kMany) return std::nullopt;
  const ErrorPart& text = difference.text;
  const double size = std::abs(difference.x), seeds_se = *difference.seeds.se;
  if (text.se && n_tests == 1) {
    few.text = *text.se / seeds_se;
    few.text_df = text.df;
  }
  const double needed = few.errors_needed();
  if (needed <= kFewErrors || size > needed * seeds_se) return std::nullopt;
  if (!text.se) return few;
  const double level = 1.0 - kTestLevel / static_cast<double>(n_tests);
  if (size <= StudentQuantile(level, text.df) * *text.se) return std::nullopt;
  return few;
}

}  // namespace longrun::client
