// Judges the claims of a sweep (sweeps/claim.h) from its results.
//
// A claim is one or more comparisons, each with limits between which the true value is said to lie.
// A comparison is paired by seeds and, if its rows have blocks of the text, by these (estimate.h),
// on the scale on which its metric is compared: the logarithm of a ratio, or a difference. Its
// bootstrap interval (bootstrap.h) decides:
//
//   supported  the intervals of all comparisons lie within the limits, each at the claim's level:
//              accepting all at once needs no correction (intersection-union test, Berger 1982)
//   refuted    the interval of at least one lies outside of its limits, even at the level corrected
//              for the number of comparisons (Bonferroni)
//   undecided  neither, or there is no number, or only one seed: nothing is known about others
//
// A limit of "below" and "above" does not count as within: equal numbers refute both.
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
  // Why it cannot be decided at all: "cable at 256 has no number: missing".
  std::string reason = {};
  bool is_unasked = false;  // the reason is that the sweep does not ask for one of the numbers
  // Nothing if there is a reason, but the effect of a single seed.
  std::optional<double> effect = {};
  std::optional<std::pair<double, double>> interval = {};  // of the claim's level
  std::size_t n_seeds = 0;                                 // that both sides have
  std::size_t n_blocks = 0;                                // of the text; 0: not paired by blocks
  // The text's error is as if the two had read different texts: an upper bound, as of accuracies
  // over the same questions.
  bool is_text_unpaired = false;
  // What was judged, on the scale of the comparison; nothing if there is a reason.
  std::optional<PairedDifference> difference = {};
  Limits limits = {};
  // What would decide it if the effect stays as it is: "about 4 seeds in all".
  std::string needed = {};
};

struct JudgedClaim {
  Claim claim;
  std::string statement;  // "cable below alibi at 256, 1024 (perplexity)"
  Verdict verdict = Verdict::kUndecided;
  std::vector<ClaimComparison> comparisons = {};
  // Why it could not be judged, with its number: it names what the results do not have (a metric,
  // an axis, a value), or `where` leaves several tables, for instance of two datasets. Undecided.
  std::string error = {};
};

// One for each claim, in their order.
std::vector<JudgedClaim> JudgeClaims(const std::vector<Claim>& claims,
                                     const std::vector<SweepResults>& results);

}  // namespace longrun::client
