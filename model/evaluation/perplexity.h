// Perplexity at a context length: the mean NLL that a model gives to held-out text, cut into
// windows. Perplexity itself, exp(nll_sum / n), and bits per byte, nll_sum / (ln 2 * bytes), are
// derived by who shows them, never averaged.
#pragma once

#include <cstdint>
#include <vector>

#include "base/status.h"
#include "model/evaluation/evaluation.h"
#include "model/evaluation/window.h"

namespace longrun {

struct NonOverlapPlan {
  std::int64_t n_tokens = 0;
  std::int64_t context_length = 0;
  // Tokens 1 .. score_tokens are scored; 0: every full window's.
  std::int64_t score_tokens = 0;
};

// Windows side by side (evaluation.md 1.1). Window k is fed tokens [k L, k L + L) and scored on
// [k L + 1, k L + L + 1); token 0 is never scored.
//   score_tokens = 0  floor((N - 1) / L) windows; the tail is dropped, so *different lengths score
//                     different tokens*
//   score_tokens = S  every length scores exactly tokens 1 .. S: lengths that divide S tile them,
//                     for others the last window is cut short at S
// kInvalidArgument when not even one full window fits.
Result<std::vector<Window>> PlanNonOverlap(const NonOverlapPlan& plan);

// The tokens that a split is scored on where the user does not say: n_tokens - 1 with all but its four
// leading binary digits cleared, so at least 8/9 of the split. A power of two up to a sixteenth of
// the split tiles it exactly. It depends on the split alone, so that lengths are compared on the same
// tokens *and* a length added later is a cell of its own, whatever the others are.
std::int64_t CommonScoreTokens(std::int64_t n_tokens);

// The clusters over which the standard error is taken: documents when at least 10 have scored
// tokens, else windows. (evaluation.md takes documents wherever they are known; over the one to
// three of a small corpus an estimate of spread says nothing.)
inline constexpr std::size_t kDocumentClustersMin = 10;

extern const Evaluation kPerplexity;

}  // namespace longrun
