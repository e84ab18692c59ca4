// Perplexity at a context length: the mean NLL that a model gives to held-out text, cut into
// windows. Perplexity itself, exp(nll_sum / n), and bits per byte, nll_sum / (ln 2 * bytes), are
// derived by who shows them, never averaged.
#pragma once

#include <cstdint>

#include "model/evaluation/evaluation.h"
#include "model/evaluation/protocol.h"
#include "model/evaluation/window.h"

namespace longrun {

// The tokens that a split is scored on where the user does not say: n_tokens - 1 with all but its four
// leading binary digits cleared, so at least 8/9 of the split. A power of two up to a sixteenth of
// the split tiles it exactly. It depends on the split alone, so that lengths are compared on the same
// tokens *and* a length added later is a cell of its own, whatever the others are.
std::int64_t CommonScoreTokens(std::int64_t n_tokens);

extern const Evaluation kPerplexity;

}  // namespace longrun
