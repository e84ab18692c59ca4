// Loss by position: a row of the protocol per_position holds a mean for each bucket of context; here each
// bucket becomes a row of its own, so that tables and plots have its position as an axis.
//
//   metric             "nll_by_position"
//   tokens_of_context  {"from": 4, "to": 7}: of the targets with 4 to 7 tokens of context
//   n, nll_sum, value  of these targets only
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace longrun {

// The axis of such rows, and the `metric` that they have.
inline constexpr std::string_view kPositionAxis = "tokens_of_context";
inline constexpr std::string_view kNllByPosition = "nll_by_position";

// Whether a row of this metric and protocol holds buckets.
bool HasBuckets(const Json& metric, const Json& protocol);

// Answers of GetResults with a row for each bucket in place of their rows. Neighbouring buckets are merged
// where there are more than `buckets_max` (0: never), at the borders that the protocol itself would choose
// for so many. A row without a number, or not measured yet, has the same buckets with its status.
std::vector<Json> ByPosition(const std::vector<Json>& results, std::int64_t buckets_max);

// Whether a value on an axis is such a bucket; where it lies on a scale: the geometric mean of its ends.
bool IsPositionRange(const Json& value);
double MiddleOf(const Json& range);
bool Holds(const Json& range, std::int64_t tokens);

}  // namespace longrun
