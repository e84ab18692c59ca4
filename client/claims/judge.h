// Judges the claims of a sweep (sweeps/claim.h) from its results.
//
// A claim is one or more comparisons, each with limits between which the true value is said to lie.
// A comparison is paired by seeds, and also by blocks of the text if its rows have them
// (estimate.h). Its scale depends on the metric: the logarithm of a ratio, or a difference. Its
// bootstrap interval (bootstrap.h) decides:
//
//   supported  the intervals of all comparisons lie within the limits, each at the claim's level:
//              accepting all at once needs no correction (intersection-union test, Berger 1982)
//   refuted    the interval of at least one lies outside of its limits, even at the level corrected
//              for the number of comparisons (Bonferroni)
//   undecided  neither of these; also if a number is missing, or if there is only one seed, which
//              says nothing about other seeds
//
// The limits of "below" and "above" are strict: if the two numbers are equal, both are refuted.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "client/claims/limits.h"
#include "client/tables/pivot.h"
#include "client/tables/sweep_results.h"
#include "sweeps/claim.h"

namespace longrun::client {

enum class Verdict { kSupported, kRefuted, kUndecided };
std::string_view VerdictWord(Verdict verdict);  // "supported", "refuted", "undecided"

struct ClaimComparison {
  std::string what;       // "cable / alibi at 256", "cable - alibi at 256"
  bool is_ratio = false;  // else a difference
  double low = 0.0;       // the limits, on the value's scale; infinite: no limit
  double high = 0.0;
  Verdict verdict = Verdict::kUndecided;
  // The reason why nothing can be decided: "cable at 256 has no number: missing".
  std::string reason = {};
  bool is_unasked = false;  // the reason is that the sweep does not ask for one of the numbers
  // Empty if the two numbers cannot be compared. It is given even if seeds or blocks are too few.
  std::optional<double> effect = {};
  // At the claim's level; empty if there is a reason.
  std::optional<std::pair<double, double>> interval = {};
  std::size_t n_seeds = 0;   // seeds that both sides have
  std::size_t n_blocks = 0;  // of the text; 0: not paired by blocks
  // True if the text's error was computed as if the two had read different texts. That makes it an
  // upper bound. Accuracies over the same questions are an example.
  bool is_text_unpaired = false;
  // The difference that was judged, on the scale of the comparison; empty if there is a reason.
  std::optional<PairedDifference> difference = {};
  Limits limits = {};
  // The data that would decide the comparison if the effect stays the same: "about 4 seeds in all".
  std::string needed = {};
};

struct JudgedClaim {
  Claim claim;
  std::string statement;  // "cable below alibi at 256, 1024 (perplexity)"
  Verdict verdict = Verdict::kUndecided;
  std::vector<ClaimComparison> comparisons = {};
  // The reason why the claim could not be judged, after its place in the file
  // ("spec.claims[1].below").
  // For example, the claim names something that the results lack (a metric, an axis, a value), or
  // its `where` leaves several tables, such as of two datasets. The verdict is then kUndecided.
  std::string error = {};
};

// One for each claim, in their order.
std::vector<JudgedClaim> JudgeClaims(const std::vector<Claim>& claims,
                                     const std::vector<SweepResults>& results);

}  // namespace longrun::client
