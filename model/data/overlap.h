// How much of a text occurs in another text, word for word.
//
// A stretch is a row of at least kOverlapTokens tokens that both texts have, at any place in
// either. Every token of the text in a stretch counts; document ends are tokens like others.
//
// Exact, in one pass over the searched text: the text is cut into blocks of kOverlapTokens / 2
// tokens, and a rolling hash finds each block wherever the searched text has it. Any stretch
// contains such a block whole, and reaches at most one block further than the whole blocks in it,
// so that tokens are compared only that far. Texts that repeat the same few tokens endlessly would
// need too many comparisons: the search of such texts ends early, and has found less than there is.
#pragma once

#include <cstdint>
#include <span>

#include "base/status.h"
#include "model/data/dataset.h"

namespace longrun {

inline constexpr std::int64_t kOverlapTokens = 64;

struct TextOverlap {
  std::int64_t n_tokens = 0;  // of the text
  std::int64_t n_shared = 0;  // of these, tokens in a stretch
  bool is_exact = true;       // false: the search ended early, and n_shared may be too small
};

// Searches the first n_searched tokens of a split. kDataLoss: the split's.
Result<TextOverlap> FindOverlap(std::span<const std::int32_t> text, const TokenSplit& searched,
                                std::int64_t n_searched);

}  // namespace longrun
