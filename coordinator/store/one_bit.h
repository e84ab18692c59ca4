// Recovers a row in which one bit flipped, from its checksum.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "coordinator/store/row_sum.h"

namespace longrun::coordinator {

struct StoredRow {
  std::vector<StoredValue> values;  // the columns without `sum`
  std::int64_t sum = 0;

  bool Holds() const { return sum == RowSum(values); }
};

// Two different texts of up to this length with the same checksum differ in at least six bits
// (Koopman 2002, CRC-32C), so two to four flipped bits are never taken for one. Longer texts differ
// in at least four bits.
inline constexpr std::size_t kShortRowBytes = 655;

// The number of bytes that the row's checksum covers.
std::size_t SummedBytes(const StoredRow& row);

// Returns the valid row that differs from `damaged` in one bit, of a value or of the sum; there is
// at most one. Returns `damaged` itself if its values, as given, match the sum: then the bit was in
// a value's type. Returns nullopt if the checksum covers more than `bytes_max` bytes, or if the row
// was changed or got its sum while it was damaged: its sum is then a mark (row_sum.h).
std::optional<StoredRow> OneBitAway(const StoredRow& damaged,
                                    std::size_t bytes_max = kShortRowBytes);

// Whether two texts differ in exactly one bit.
bool IsOneBitOff(std::string_view a, std::string_view b);

}  // namespace longrun::coordinator
