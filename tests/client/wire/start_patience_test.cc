#include "client/wire/start_patience.h"

#include <gtest/gtest.h>

namespace longrun::client {
namespace {

TEST(StartPatienceTest, AProcessThatWorksIsWaitedForAsLongAsItDoes) {
  StartPatience patience(1'000);
  for (std::uint64_t ticks = 0; ticks < 100; ++ticks) {
    EXPECT_TRUE(patience.Lasts(1'000 + 29'000 * static_cast<std::int64_t>(ticks), ticks, false));
  }
}

TEST(StartPatienceTest, OneThatDoesNothingIsGivenUpAfterHalfAMinute) {
  StartPatience patience(1'000);
  EXPECT_TRUE(patience.Lasts(20'000, 7, false));
  EXPECT_TRUE(patience.Lasts(49'999, 7, false));
  EXPECT_FALSE(patience.Lasts(50'000, 7, false));
}

TEST(StartPatienceTest, SoIsOneOfWhichNothingIsKnown) {
  StartPatience patience(1'000);
  EXPECT_TRUE(patience.Lasts(30'999, std::nullopt, false));
  EXPECT_FALSE(patience.Lasts(31'000, std::nullopt, false));
}

// It sleeps until a command has ended, and so does no work.
TEST(StartPatienceTest, AProcessThatWaitsForAnotherOneIsWaitedForAsLongAsThat) {
  constexpr std::uint64_t kTicks = 7;
  StartPatience patience(1'000);
  std::int64_t now_ms = 1'000;
  for (int look = 0; look < 100; ++look) {
    now_ms += 29'000;
    patience.NoteWork(now_ms);
    EXPECT_TRUE(patience.Lasts(now_ms, kTicks, false)) << look;
  }
  EXPECT_TRUE(patience.Lasts(now_ms + 29'999, kTicks, false));
  EXPECT_FALSE(patience.Lasts(now_ms + 30'000, kTicks, false));
}

// A coordinator that answers at an address which its clients cannot reach works on, for ever.
TEST(StartPatienceTest, OneThatHasStartedHasAMinuteToAnswerAlsoIfItWorks) {
  StartPatience patience(1'000);
  std::uint64_t ticks = 0;
  EXPECT_TRUE(patience.Lasts(1'000, ++ticks, false));
  EXPECT_TRUE(patience.Lasts(500'000, ++ticks, false));
  EXPECT_TRUE(patience.Lasts(510'000, ++ticks, true));
  EXPECT_TRUE(patience.Lasts(569'999, ++ticks, true));
  EXPECT_FALSE(patience.StartedLongAgo(569'999));
  EXPECT_FALSE(patience.Lasts(570'000, ++ticks, true));
  EXPECT_TRUE(patience.StartedLongAgo(570'000));
}

TEST(StartPatienceTest, OneThatHasStartedAndIsIdleHasStillHalfAMinute) {
  StartPatience patience(1'000);
  EXPECT_TRUE(patience.Lasts(1'000, 7, true));
  EXPECT_FALSE(patience.Lasts(31'000, 7, true));
  EXPECT_FALSE(patience.StartedLongAgo(31'000));
}

TEST(StartPatienceTest, AnotherOneThatFollowsHasAMinuteOfItsOwn) {
  StartPatience patience(1'000);
  std::uint64_t ticks = 0;
  EXPECT_TRUE(patience.Lasts(1'000, ++ticks, true));
  EXPECT_TRUE(patience.Lasts(31'000, ++ticks, false));
  EXPECT_TRUE(patience.Lasts(61'000, ++ticks, true));
}

// The machine was suspended for an hour between two looks.
TEST(StartPatienceTest, ATimeWithoutAnyLookDoesNotCountIfTheWaitIsNotedFirst) {
  StartPatience patience(1'000);
  EXPECT_TRUE(patience.Lasts(2'000, 7, false));
  patience.NoteWork(3'602'000);
  EXPECT_TRUE(patience.Lasts(3'602'000, 7, false));
}

TEST(StartPatienceTest, ItIsToldOnce) {
  StartPatience patience(1'000);
  EXPECT_FALSE(patience.IsToBeTold(5'999, true));
  EXPECT_TRUE(patience.IsToBeTold(6'000, true));
  EXPECT_FALSE(patience.IsToBeTold(60'000, true));
}

TEST(StartPatienceTest, ASlowStartWithoutAReasonIsToldLater) {
  StartPatience patience(1'000);
  EXPECT_FALSE(patience.IsToBeTold(15'999, false));
  EXPECT_TRUE(patience.IsToBeTold(16'000, false));
  EXPECT_FALSE(patience.LooksForReason(22'000));
}

TEST(StartPatienceTest, AReasonIsLookedForOnceASecondUntilItIsTold) {
  StartPatience patience(1'000);
  EXPECT_FALSE(patience.LooksForReason(5'999));
  EXPECT_TRUE(patience.LooksForReason(6'000));
  EXPECT_FALSE(patience.LooksForReason(6'999));
  EXPECT_TRUE(patience.LooksForReason(7'000));
  EXPECT_TRUE(patience.IsToBeTold(7'000, true));
  EXPECT_FALSE(patience.LooksForReason(9'000));
}

}  // namespace
}  // namespace longrun::client
