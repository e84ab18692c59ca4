// Perplexity at a context length: the mean NLL that a model gives to held-out text, cut into
// windows. Perplexity itself, exp(nll_sum / n), and bits per byte, nll_sum / (ln 2 * bytes), are
// derived where they are shown, never averaged.
#pragma once

#include <cstdint>

#include "model/evaluation/evaluation.h"
#include "model/evaluation/protocol.h"
#include "model/evaluation/window.h"

namespace longrun {

// The default number of scored tokens of a split: n_tokens - 1 with all but its four leading binary
// digits cleared, so at least 8/9 of the split. Every power of two up to a sixteenth of the split
// divides it. It depends only on the split, so that all lengths are compared on the same tokens
// *and* a length added later is a cell of its own, whatever the other lengths are.
std::int64_t CommonScoreTokens(std::int64_t n_tokens);

const Evaluation& PerplexityEvaluation();

}  // namespace longrun
