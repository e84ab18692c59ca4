// Perplexity at a context length: the mean NLL that a model gives to held-out text, cut into
// windows. Perplexity itself, exp(nll_sum / n), and bits per byte, nll_sum / (ln 2 * bytes), are
// derived by who shows them, never averaged.
#pragma once

#include <cstdint>
#include <span>
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

// The common tail of lengths that are compared: S = L floor((n_tokens - 1) / L) for the largest L,
// the tokens that the largest length scores. The expansion of a sweep writes it into
// `score_tokens`, so that a cell says itself which tokens it is over. A larger length added to a
// sweep therefore gives other cells, unless the sweep states score_tokens. kInvalidArgument when
// the largest does not fit.
Result<std::int64_t> CommonScoreTokens(std::int64_t n_tokens,
                                       std::span<const std::int64_t> context_lengths);

// The clusters over which the standard error is taken: documents when at least 10 have scored
// tokens, else windows. (evaluation.md takes documents wherever they are known; over the one to
// three of a small corpus an estimate of spread says nothing.)
inline constexpr std::size_t kDocumentClustersMin = 10;

extern const Evaluation kPerplexity;

}  // namespace longrun
