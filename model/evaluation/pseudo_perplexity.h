// Pseudo-perplexity of a masked language model: each token in turn is hidden and predicted from all
// other tokens of its window (Salazar et al. 2020, arXiv:1910.14659, section 2).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/evaluation/evaluation.h"

namespace longrun {

// The default number of scored tokens (a split with fewer is scored completely): each costs a pass
// over L tokens, and 4096 give a standard error of a few percent.
inline constexpr std::int64_t kPseudoScoreTokens = 4096;

// S tokens spread evenly over N: floor((2 i + 1) N / (2 S)), i = 0 .. S-1.
// The same at every length.
std::vector<std::int64_t> SpreadTokens(std::int64_t n_tokens, std::int64_t score_tokens);

// One pass: the window [begin, begin + L), with the tokens `hidden` hidden.
struct MaskedPass {
  std::int64_t begin = 0;
  std::vector<std::int64_t> hidden;  // tokens of the split, ascending

  bool operator==(const MaskedPass&) const = default;
};

// Windows are side by side, the last one moved back to [N - L, N), so that every target has the
// L - 1 other tokens of a full window. With `at_once` = 1 there is one pass per target. With a
// larger k, the n targets of a window are divided among ceil(n / k) passes. Target i is in pass
// i mod ceil(n / k), so that tokens hidden together are far apart. n_tokens >= context_length.
std::vector<MaskedPass> PlanMasked(std::int64_t n_tokens, std::int64_t context_length,
                                   std::span<const std::int64_t> targets, std::int64_t at_once);

const Evaluation& PseudoPerplexityEvaluation();

}  // namespace longrun
