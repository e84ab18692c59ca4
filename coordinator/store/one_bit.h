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

// Rows of so many bytes that hold differ in six bits or more from each other (Koopman 2002, CRC-32C;
// up to 655 bytes): up to four flipped bits are not taken for one. Longer rows differ in four or more.
inline constexpr std::size_t kShortRowBytes = 512;

// The row that holds and is one flipped bit away from `damaged`, in a value or in the sum; there is only
// one. Nothing for a row of more than `bytes_max` bytes, and for one that was changed or given its sum
// while it was damaged: that sum is a mark (row_sum.h).
std::optional<StoredRow> OneBitAway(const StoredRow& damaged,
                                    std::size_t bytes_max = kShortRowBytes);

}  // namespace longrun
