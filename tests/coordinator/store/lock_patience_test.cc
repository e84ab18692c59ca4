#include "coordinator/store/lock_patience.h"

#include <gtest/gtest.h>

namespace longrun::coordinator {
namespace {

constexpr CoordinatorHolder kCommand = {.pid = 10, .is_momentary = true};
constexpr CoordinatorHolder kService = {.pid = 11, .is_momentary = false};
constexpr std::int64_t kTenMinutesMs = 600'000;

TEST(LockPatienceTest, ACommandIsWaitedForAsLongAsItRuns) {
  LockPatience patience;
  for (std::int64_t ms = 1'000; ms <= kTenMinutesMs; ms += 1'000) {
    EXPECT_TRUE(patience.Lasts(ms, kCommand)) << ms;
  }
}

TEST(LockPatienceTest, AServiceIsNotWaitedFor) {
  LockPatience patience;
  EXPECT_FALSE(patience.Lasts(1'000, kService));
}

TEST(LockPatienceTest, AHolderWithoutANameIsWaitedForForASecond) {
  LockPatience patience;
  EXPECT_TRUE(patience.Lasts(5'000, std::nullopt));
  EXPECT_TRUE(patience.Lasts(5'999, std::nullopt));
  EXPECT_FALSE(patience.Lasts(6'000, std::nullopt));
}

// A momentary coordinator removes its name a moment before it releases the lock.
TEST(LockPatienceTest, TheSecondBeginsWhenTheHolderHasLostItsName) {
  LockPatience patience;
  EXPECT_TRUE(patience.Lasts(0, kCommand));
  EXPECT_TRUE(patience.Lasts(kTenMinutesMs - 1, kCommand));
  EXPECT_TRUE(patience.Lasts(kTenMinutesMs, std::nullopt));
  EXPECT_TRUE(patience.Lasts(kTenMinutesMs + 999, std::nullopt));
  EXPECT_FALSE(patience.Lasts(kTenMinutesMs + 1'000, std::nullopt));
}

TEST(LockPatienceTest, EachHolderWithANameStartsTheSecondAgain) {
  LockPatience patience;
  EXPECT_TRUE(patience.Lasts(0, std::nullopt));
  EXPECT_TRUE(patience.Lasts(900, kCommand));
  EXPECT_TRUE(patience.Lasts(1'800, std::nullopt));
  EXPECT_TRUE(patience.Lasts(2'799, std::nullopt));
  EXPECT_FALSE(patience.Lasts(2'800, std::nullopt));
}

}  // namespace
}  // namespace longrun::coordinator
