// The places of a split's documents, without the end-of-text tokens between them.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "base/status.h"

namespace longrun {

class TokenSplit;  // dataset.h

// Tokens [begin, end) of a split.
struct TextSpan {
  std::int64_t begin = 0;
  std::int64_t end = 0;

  bool operator==(const TextSpan&) const = default;
};

// The documents in order, without end-of-text tokens at their ends, until they have `enough` tokens
// together. Empty documents are left out. `eot_id` is the dataset's (-1: there are no such tokens).
// Errors are those of TokenSplit::Read.
Result<std::vector<TextSpan>> TextOfDocuments(
    const TokenSplit& split, std::int32_t eot_id,
    std::int64_t enough = std::numeric_limits<std::int64_t>::max());

}  // namespace longrun
