// See one_bit.h.
#include "coordinator/store/one_bit.h"

#include <bit>
#include <cstddef>
#include <string>
#include <variant>

namespace longrun::coordinator {
namespace {

// The number of bytes that the checksum covers: a tag, and a number or a text with its length.
std::size_t BytesOf(const StoredValue& value) {
  if (std::holds_alternative<std::monostate>(value)) return 1;
  const auto* const text = std::get_if<std::string>(&value);
  return 1 + sizeof(std::int64_t) + (text != nullptr ? text->size() : 0);
}

// Numbers that differ by one bit as SQLite stores them: in as few bytes as possible, with the
// highest bit as the sign.
std::vector<std::int64_t> NumbersNear(std::int64_t number) {
  std::vector<std::int64_t> near;
  const auto as_bits = static_cast<std::uint64_t>(number);
  for (int bit = 0; bit < 64; ++bit) {
    near.push_back(static_cast<std::int64_t>(as_bits ^ (std::uint64_t{1} << bit)));
  }
  for (const int n_bits : {8, 16, 24, 32, 48}) {
    const std::int64_t half = std::int64_t{1} << (n_bits - 1);
    if (number < 0 && number >= -half) near.push_back(number + half);
    if (number >= 0 && number < half) near.push_back(number - half);
  }
  return near;
}

// Whether some value that differs from `value` by one bit makes the checksum hold;
// sets `value` to it.
bool MendValue(StoredRow& row, StoredValue& value) {
  if (auto* const text = std::get_if<std::string>(&value)) {
    for (char& c : *text) {
      for (int bit = 0; bit < 8; ++bit) {
        const char as_it_was = c;
        c = static_cast<char>(c ^ (1 << bit));
        if (row.Holds()) return true;
        c = as_it_was;
      }
    }
  } else if (auto* const number = std::get_if<std::int64_t>(&value)) {
    const std::int64_t as_it_was = *number;
    for (const std::int64_t near : NumbersNear(as_it_was)) {
      *number = near;
      if (row.Holds()) return true;
    }
    *number = as_it_was;
  } else if (auto* const real = std::get_if<double>(&value)) {
    const auto as_it_was = std::bit_cast<std::uint64_t>(*real);
    for (int bit = 0; bit < 64; ++bit) {
      *real = std::bit_cast<double>(as_it_was ^ (std::uint64_t{1} << bit));
      if (row.Holds()) return true;
    }
    *real = std::bit_cast<double>(as_it_was);
  }
  return false;
}

}  // namespace

std::size_t SummedBytes(const StoredRow& row) {
  std::size_t n_bytes = 0;
  for (const StoredValue& value : row.values) n_bytes += BytesOf(value);
  return n_bytes;
}

std::optional<StoredRow> OneBitAway(const StoredRow& damaged, std::size_t bytes_max) {
  if (SummedBytes(damaged) > bytes_max) return std::nullopt;
  StoredRow row = damaged;
  const std::int64_t sum = RowSum(row.values);
  if (damaged.sum == sum) return row;
  if (damaged.sum == kDamagedSum || damaged.sum == sum + kDamagedSumAdded) return std::nullopt;
  for (const std::int64_t near : NumbersNear(damaged.sum)) {
    if (near != sum) continue;
    row.sum = sum;
    return row;
  }
  for (StoredValue& value : row.values) {
    if (MendValue(row, value)) return row;
  }
  return std::nullopt;
}

bool IsOneBitOff(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  int n_bits = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    n_bits += std::popcount(static_cast<unsigned char>(a[i] ^ b[i]));
  }
  return n_bits == 1;
}

}  // namespace longrun::coordinator
