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

// Texts up to this length with one checksum differ in at least six bits (Koopman 2002, CRC-32C), so
// that up to four flipped bits are not taken for one. Longer texts differ in at least four.
inline constexpr std::size_t kShortRowBytes = 655;

// How many bytes of the row its checksum covers.
std::size_t SummedBytes(const StoredRow& row);

// The valid row that is one flipped bit away from `damaged`, in a value or in the sum; there is
// only one. `damaged` itself if its values are valid as given: their type had flipped. Nothing for
// a row whose checksum covers more than `bytes_max` bytes, and for one that was changed or got its
// sum while it was damaged: that sum is a mark (row_sum.h).
std::optional<StoredRow> OneBitAway(const StoredRow& damaged,
                                    std::size_t bytes_max = kShortRowBytes);

// Whether two texts differ in exactly one bit.
bool IsOneBitOff(std::string_view a, std::string_view b);

}  // namespace longrun::coordinator
