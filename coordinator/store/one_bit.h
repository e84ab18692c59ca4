// What a row was before one of its bits flipped: its checksum tells.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "coordinator/store/row_sum.h"

namespace longrun {

struct StoredRow {
  std::vector<StoredValue> values;  // of the columns without `sum`
  std::int64_t sum = 0;

  bool Holds() const { return sum == RowSum(values); }
};

// Texts of so many bytes under one checksum differ in six bits or more from each other (Koopman 2002,
// CRC-32C): up to four flipped bits of texts are not taken for one. Longer ones differ in four or more.
inline constexpr std::size_t kShortRowBytes = 655;

// How many bytes of the row its checksum covers.
std::size_t SummedBytes(const StoredRow& row);

// The row that holds and is one flipped bit away from `damaged`, in a value or in the sum; there is only
// one. `damaged` itself where its values hold as they are given: their type had flipped. Nothing for a row
// of which the checksum covers more than `bytes_max` bytes, and for one that was changed or given its sum
// while it was damaged: that sum is a mark (row_sum.h).
std::optional<StoredRow> OneBitAway(const StoredRow& damaged,
                                    std::size_t bytes_max = kShortRowBytes);

}  // namespace longrun
