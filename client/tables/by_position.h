// Loss by position: a row of the protocol per_position has a mean for each bucket of context
// lengths. Here each bucket becomes its own row, so that the position can be an axis of
// tables and plots.
//
//   metric             "nll_by_position"
//   tokens_of_context  from 4 to 7: the targets with 4 to 7 tokens of context
//   n, nll_sum, value  for these targets only
//   se, blocks         the error of their mean over the text, and the blocks from which it is
//                      computed, as in other rows (model/evaluation/nll_row.h); rows of earlier
//                      releases have neither
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "client/tables/sweep_results.h"

namespace longrun::client {

// The axis and the `metric` of such rows.
inline constexpr std::string_view kPositionAxis = "tokens_of_context";
inline constexpr std::string_view kNllByPosition = "nll_by_position";

// Whether a row of this metric and protocol has buckets.
bool HasBuckets(std::string_view metric, const std::optional<std::string>& protocol);

// Replaces such rows by a row for each bucket. If there are more than
// `buckets_max` buckets (0: no limit), neighbours are merged, at the borders that the protocol
// itself would choose for that number of buckets. A row that has no number, or is not measured yet,
// becomes the same buckets, each with the row's status.
std::vector<SweepResults> ByPosition(const std::vector<SweepResults>& results,
                                     std::int64_t buckets_max);

}  // namespace longrun::client
