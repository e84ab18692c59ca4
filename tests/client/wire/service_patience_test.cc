#include "client/wire/service_patience.h"

#include <gtest/gtest.h>

namespace longrun::client {
namespace {

constexpr int kCommand = 10;
constexpr std::int64_t kHourMs = 3'600'000;

TEST(ServicePatienceTest, OneCommandIsWaitedForHoweverLongItTakes) {
  ServicePatience patience(0);
  for (std::int64_t ms = 0; ms <= kHourMs; ms += 1'000) {
    EXPECT_TRUE(patience.Lasts(ms, kCommand)) << ms;
  }
  EXPECT_TRUE(patience.Lasts(kHourMs + ServicePatience::kOthersMsMax - 1, 0));
}

TEST(ServicePatienceTest, AllCommandsThatFollowHaveOneMinuteTogether) {
  ServicePatience patience(0);
  EXPECT_TRUE(patience.Lasts(kHourMs, kCommand));
  for (std::int64_t ms = 1'000; ms < ServicePatience::kOthersMsMax; ms += 1'000) {
    const int follower = kCommand + static_cast<int>(ms / 1'000);
    EXPECT_TRUE(patience.Lasts(kHourMs + ms, ms % 2'000 == 0 ? 0 : follower)) << ms;
  }
  EXPECT_FALSE(patience.Lasts(kHourMs + ServicePatience::kOthersMsMax, kCommand + 99));
}

TEST(ServicePatienceTest, WithoutACommandTheTimeBeginsAtOnce) {
  ServicePatience patience(1'000);
  EXPECT_TRUE(patience.Lasts(1'000 + ServicePatience::kOthersMsMax - 1, 0));
  EXPECT_FALSE(patience.Lasts(1'000 + ServicePatience::kOthersMsMax, 0));
}

}  // namespace
}  // namespace longrun::client
