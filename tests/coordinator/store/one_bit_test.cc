#include "coordinator/store/one_bit.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <string>

namespace longrun::coordinator {
namespace {

StoredRow Sample() {
  StoredRow row{.values = {std::string("01BX5ZZKBKACTAV9WEVGEMMVRZ"), std::int64_t{7},
                           std::monostate(), 2.25, std::string()}};
  row.sum = RowSum(row.values);
  return row;
}

void ExpectMended(const StoredRow& damaged, const StoredRow& row) {
  const auto found = OneBitAway(damaged);
  ASSERT_TRUE(found.has_value());
  EXPECT_TRUE(found->values == row.values);
  EXPECT_EQ(found->sum, row.sum);
}

TEST(OneBitTest, EveryBitOfEveryValueIsFound) {
  const StoredRow row = Sample();
  EXPECT_TRUE(row.Holds());
  for (std::size_t at = 0; at < std::get<std::string>(row.values[0]).size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      StoredRow damaged = row;
      std::get<std::string>(damaged.values[0])[at] ^= static_cast<char>(1 << bit);
      ExpectMended(damaged, row);
    }
  }
  for (int bit = 0; bit < 64; ++bit) {
    const std::uint64_t one = std::uint64_t{1} << bit;
    StoredRow damaged = row;
    damaged.values[1] = std::bit_cast<std::int64_t>(std::uint64_t{7} ^ one);
    ExpectMended(damaged, row);
    damaged = row;
    damaged.values[3] = std::bit_cast<double>(std::bit_cast<std::uint64_t>(2.25) ^ one);
    ExpectMended(damaged, row);
  }
}

// The sum is a number of four bytes with a sign when its highest bit flips in the file.
TEST(OneBitTest, NumbersAreOneBitAwayAsTheFileStoresThem) {
  const StoredRow row = Sample();
  for (int bit = 0; bit < 32; ++bit) {
    StoredRow damaged = row;
    damaged.sum ^= std::int64_t{1} << bit;
    if (damaged.sum == row.sum + kDamagedSumAdded) continue;
    ExpectMended(damaged, row);
  }
  StoredRow damaged = row;
  damaged.values[1] = std::int64_t{7 - 128};  // 0x07 -> 0x87
  ExpectMended(damaged, row);
  damaged.values[1] = std::int64_t{7 - 32768};
  ExpectMended(damaged, row);
}

TEST(OneBitTest, TwoBitsAreNotTakenForOne) {
  const StoredRow row = Sample();
  const std::string& text = std::get<std::string>(row.values[0]);
  for (std::size_t first = 0; first < 8 * text.size(); ++first) {
    for (std::size_t second = first + 1; second < 8 * text.size(); second += 7) {
      StoredRow damaged = row;
      std::string& changed = std::get<std::string>(damaged.values[0]);
      for (const std::size_t bit : {first, second}) {
        changed[bit / 8] ^= static_cast<char>(1 << bit % 8);
      }
      ASSERT_FALSE(OneBitAway(damaged).has_value()) << first << ", " << second;
    }
  }
}

TEST(OneBitTest, AMarkIsNotTheSumOfOtherValues) {
  StoredRow row = Sample();
  row.values[1] = std::int64_t{6};  // changed by somebody who found the row damaged
  row.sum = kDamagedSum;
  EXPECT_FALSE(OneBitAway(row).has_value());
  row.sum = RowSum(row.values) + kDamagedSumAdded;
  EXPECT_FALSE(OneBitAway(row).has_value());
}

TEST(OneBitTest, LongRowsOnlyWhereTheyAreAskedFor) {
  StoredRow row{.values = {std::string(kShortRowBytes + 1, 'x')}};
  row.sum = RowSum(row.values);
  StoredRow damaged = row;
  std::get<std::string>(damaged.values[0])[100] = 'y';
  EXPECT_FALSE(OneBitAway(damaged).has_value());
  const auto found = OneBitAway(damaged, 1024);
  ASSERT_TRUE(found.has_value());
  EXPECT_TRUE(found->values == row.values);
}

}  // namespace
}  // namespace longrun::coordinator
