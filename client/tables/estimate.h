// What the rows of several seeds say together: a mean or a difference, with the two sources of its
// error. Seeds: another training seed would give another model. Text: another text of the same kind
// would give other losses. All seeds read the same text, so the error over seeds does not contain
// the text's, and both are reported.
//
// Differences are paired. Two rows that score the same blocks of the same text are compared block
// by block, which removes what the two have in common (the text is easy here and hard there), and
// seeds that both sides have are compared seed by seed. With r the mean of a row and y_b = n_b
// (m_b - r) / mean n the part of block b (mean m_b over n_b tokens) in the ratio estimator:
//
//   x        mean over seeds of r_b - r_a
//   seeds    sd of the seeds' differences / sqrt(k), Student's t with k - 1; if fewer than two
//            seeds match, Welch (1947) over the seeds of both sides
//   text     d_b = mean over seeds of y_b of B - that of A; sqrt(sum d_b^2 / (q (q - 1))) over q
//            blocks, Student's t with q - 1 (Ibragimov and Mueller 2010)
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
  std::optional<double> se = {};  // nothing: not known
  double df = std::numeric_limits<double>::infinity();
  // The ends of the 95 % interval, if it is not x ± half95(): Wilson's, of a share.
  std::optional<std::pair<double, double>> ends95 = {};

  std::optional<double> half95() const;  // half of the 95 % interval, by Student's t or of its ends
};

// The probability of a number this far from its expectation by chance.
struct PValues {
  double p = 1.0;         // right about one test at 5 %
  double cautious = 1.0;  // never too small: for the correction of many tests
};
inline std::optional<double> OnlyP(const std::optional<PValues>& test) {
  return test ? std::optional(test->p) : std::nullopt;
}

struct Estimate {
  double x = 0.0;  // on the metric's scale of averaging
  ErrorPart seeds = {};
  ErrorPart text = {};

  // The part with the wider interval: what a table with room for one error shows.
  bool is_wider_over_seeds() const;
  const ErrorPart& wider() const { return is_wider_over_seeds() ? seeds : text; }
  ErrorPart both() const;
  // The probability of an |x| this large if the true one is 0; nothing without any error. `p` is
  // that of both(). Of two or three seeds it is much too small where it is small, which is where a
  // correction for many tests looks. `cautious`, of seeds and text, is the p at which
  // |x| = sqrt((t_seeds(p) seeds)^2 + (t_text(p) text)^2).
  std::optional<PValues> p() const;
};

struct SeedReading {
  Json seed = {};
  Reading reading = {};
};

// The mean over seeds. At least one reading. Errors of readings of one text add up linearly at
// most, so the text's is the mean of theirs (an upper bound, close since seeds err alike); of
// readings that are differences it is taken block by block. Of shares it is Wilson's interval of
// the mean: the seeds answer the same questions, and the mean of answers that are 0 or 1 varies
// over the questions at most like a single one.
Estimate MeanOf(const std::vector<Reading>& readings);

// B - A. Both have at least one reading.
struct PairedDifference {
  Estimate estimate = {};
  std::size_t n_seeds_matched = 0;
  bool is_text_paired = false;  // otherwise the text's error is as if the two were independent
  // The sources: each matched seed's difference; each block's part, if the text is paired.
  std::vector<double> of_seeds = {};
  std::vector<double> of_blocks = {};
};
PairedDifference Compare(const std::vector<SeedReading>& a, const std::vector<SeedReading>& b);

// Holm (1979): p-values corrected for their number, in the same order. Nothing stays nothing. With
// `n_tests`, those given were chosen of so many by their numbers: they are corrected for all of
// them, as if the others were larger.
std::vector<std::optional<double>> Holm(const std::vector<std::optional<double>>& p,
                                        std::size_t n_tests = 0);
// The p-values of tests made together: Holm's of the cautious ones, or, of one test, its p.
std::vector<double> CorrectForNumber(const std::vector<PValues>& tests);

// The level of the tests that tables mark.
inline constexpr double kTestLevel = 0.05;

}  // namespace longrun::client
