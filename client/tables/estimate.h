// Combines the rows of several seeds into a mean or a difference, with the two sources of its
// error. Seeds: another training seed would give another model. Text: another text of the same kind
// would give other losses. All seeds read the same text, so the error over seeds does not contain
// the text's error, and both are reported.
//
// Differences B - A are paired. Two rows that score the same blocks of the same text are compared
// block by block, which removes what the two have in common (the text is easy here and hard there).
// Seeds that both sides have are compared seed by seed. Let r be the mean of a row, and m_b the
// mean over the n_b tokens of its block b. The block's part in the ratio estimator is
// y_b = n_b (m_b - r) / mean n. Then:
//
//   x        mean over seeds of (r of B - r of A)
//   seeds    sd of the differences of the k seeds that match / sqrt(k), Student's t with k - 1; if
//            fewer than two seeds match, Welch (1947) over the seeds of both sides
//   text     d_b = mean over seeds of y_b of B, minus the same of A;
//            sqrt(sum d_b^2 / (q (q - 1))) over q blocks, Student's t with q - 1 (Ibragimov and
//            Mueller 2010)
//   both     sqrt(seeds^2 + text^2), Student's t with Satterthwaite's (1946) degrees of freedom
#pragma once

#include <cstddef>
#include <limits>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "client/tables/metric.h"

namespace longrun::client {

struct ErrorPart {
  std::optional<double> se = {};  // nullopt: not known
  double df = std::numeric_limits<double>::infinity();
  // The ends of the 95 % interval if they are not x ± half95(): Wilson's interval of a share.
  std::optional<std::pair<double, double>> ends95 = {};

  // Half of the 95 % interval: half the distance of `ends95`, or else by Student's t.
  std::optional<double> half95() const;
};

// The probability of a number this far from its expectation by chance.
struct PValues {
  double p = 1.0;         // right for a single test at 5 %
  double cautious = 1.0;  // never too small: for the correction of many tests
};
inline std::optional<double> OnlyP(const std::optional<PValues>& test) {
  return test ? std::optional(test->p) : std::nullopt;
}

enum class ErrorSource { kSeeds, kText, kBoth };
inline std::string_view ErrorSourceName(ErrorSource source) {
  if (source == ErrorSource::kBoth) return "both";
  return source == ErrorSource::kSeeds ? "seeds" : "text";
}
struct ShownError {
  ErrorPart part = {};
  ErrorSource source = ErrorSource::kText;
};

struct Estimate {
  double x = 0.0;  // on the metric's scale of averaging
  ErrorPart seeds = {};
  ErrorPart text = {};

  ErrorPart both() const;
  // What a table with room for one error shows. Of a number, this is the part with the wider
  // interval. Of a difference, it is both(), so that the interval agrees with p.
  ShownError shown(bool is_difference) const;
  // The probability of an |x| this large if the true x is 0; nullopt if no error is known. `p` is
  // computed from both(). With two or three seeds, small values of `p` are much too small, and a
  // correction for many tests depends on exactly these small values. If there are errors over seeds
  // and over the text, `cautious` is the p at which
  // |x| = sqrt((t_seeds(p) seeds)^2 + (t_text(p) text)^2), or `p` if that is larger.
  std::optional<PValues> p() const;
};

struct SeedReading {
  Json seed = {};
  Reading reading = {};
};

// The mean over seeds; needs at least one reading. The text's error is the mean of the readings'
// errors over the text. That is an upper bound for readings of one text, and close to the truth
// since seeds err alike. For readings that are differences, the error is instead taken block by
// block. For shares, it is Wilson's interval of the mean: the seeds answer the same questions, so
// their mean answer varies over the questions no more than a single seed's answers, which are 0 or
// 1.
Estimate MeanOf(const std::vector<Reading>& readings);

// B - A. Both have at least one reading.
struct PairedDifference {
  Estimate estimate = {};
  std::size_t n_seeds_matched = 0;
  bool is_text_paired = false;  // else the text's error is computed as if the two were independent
  // The sources: each matched seed's difference; each block's part, if the text is paired.
  std::vector<double> of_seeds = {};
  std::vector<double> of_blocks = {};
};
PairedDifference Compare(const std::vector<SeedReading>& a, const std::vector<SeedReading>& b);

// Holm (1979): p-values corrected for their number, in the same order. Empty ones stay empty.
// `n_tests`: the number of all tests, if the given ones were selected from them by their results.
// The correction is then for all tests, and takes the p-values of the others to be larger.
std::vector<std::optional<double>> Holm(const std::vector<std::optional<double>>& p,
                                        std::size_t n_tests = 0);
// The p-values of tests made together: Holm's correction of the cautious ones. A single test keeps
// its p.
std::vector<double> CorrectForNumber(const std::vector<PValues>& tests);

// The level of the tests that tables mark.
inline constexpr double kTestLevel = 0.05;

// The seeds because of which a test finds no difference.
struct FewSeeds {
  std::size_t n_seeds = 0;   // that both sides have; at least 2
  std::size_t n_tests = 1;   // for which kTestLevel is corrected: those without a difference
  std::size_t n_differ = 0;  // further tests, which found one: Holm's correction is not for them
  // Of a single test, which joins both errors (Estimate::p): the error over the text, in standard
  // errors over seeds, and its degrees of freedom. 0: the seeds' error decides alone.
  double text = 0.0;
  double text_df = std::numeric_limits<double>::infinity();

  // Of Student's t: those of the seeds, or of both errors together (Satterthwaite).
  double df() const;
  // The number of standard errors over seeds that a difference must exceed: Student's t.
  double errors_needed() const;
  // The smallest number of seeds with which a few standard errors may be enough.
  FewSeeds Enough() const;
};
// Returns nullopt if the seeds are many enough, or if the error over the text alone hides the
// difference: then more seeds do not help.
std::optional<FewSeeds> HiddenByFewSeeds(const Estimate& difference, std::size_t n_seeds,
                                         std::size_t n_tests);

}  // namespace longrun::client
