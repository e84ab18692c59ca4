#include "client/wire/start_patience.h"

#include <gtest/gtest.h>

namespace longrun::client {
namespace {

TEST(StartPatienceTest, AProcessThatWorksIsWaitedForAsLongAsItDoes) {
  StartPatience patience(1'000);
  for (std::uint64_t ticks = 0; ticks < 100; ++ticks) {
    EXPECT_TRUE(patience.Lasts(1'000 + 29'000 * static_cast<std::int64_t>(ticks), ticks));
  }
}

TEST(StartPatienceTest, OneThatDoesNothingIsGivenUpAfterHalfAMinute) {
  StartPatience patience(1'000);
  EXPECT_TRUE(patience.Lasts(20'000, 7));
  EXPECT_TRUE(patience.Lasts(49'999, 7));
  EXPECT_FALSE(patience.Lasts(50'000, 7));
}

TEST(StartPatienceTest, SoIsOneOfWhichNothingIsKnown) {
  StartPatience patience(1'000);
  EXPECT_TRUE(patience.Lasts(30'999, std::nullopt));
  EXPECT_FALSE(patience.Lasts(31'000, std::nullopt));
}

TEST(StartPatienceTest, ItIsToldOnce) {
  StartPatience patience(1'000);
  EXPECT_FALSE(patience.IsToBeTold(5'999));
  EXPECT_TRUE(patience.IsToBeTold(6'000));
  EXPECT_FALSE(patience.IsToBeTold(60'000));
}

}  // namespace
}  // namespace longrun::client
