// A bucket of positions as a value on an axis: {"from": 4, "to": 7},
// the targets with 4 to 7 tokens of context.
#pragma once

#include <cstdint>

#include "base/json.h"

namespace longrun::client {

struct PositionRange {
  std::int64_t from = 0;
  std::int64_t to = 0;  // inclusive

  Json ToJson() const;
};

// Whether a value on an axis is such a bucket.
bool IsPositionRange(const Json& value);
// The place of a bucket on a scale: the geometric mean of its ends.
double MiddleOf(const Json& range);
bool Holds(const Json& range, std::int64_t tokens);

}  // namespace longrun::client
