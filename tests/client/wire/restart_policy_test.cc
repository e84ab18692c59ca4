#include "client/wire/restart_policy.h"

#include <gtest/gtest.h>

#include <vector>

namespace longrun::client {
namespace {

using End = RestartPolicy::End;

TEST(RestartPolicyTest, WhatIsKilledAgainAndAgainIsStartedEverMoreSlowly) {
  RestartPolicy policy;
  std::vector<std::int64_t> waits;
  std::int64_t now_ms = 1'000'000;
  for (int i = 0; i < 9; ++i) {
    policy.Started(now_ms);
    policy.Ended(End::kMayPass, now_ms);
    std::int64_t wait_ms = 0;
    while (!policy.IsDue(now_ms + wait_ms)) wait_ms += 100;
    waits.push_back(wait_ms);
    now_ms += wait_ms;
  }

  EXPECT_EQ(waits,
            (std::vector<std::int64_t>{200, 400, 800, 1600, 3200, 6400, 10'000, 10'000, 10'000}));
  EXPECT_FALSE(policy.gives_up());
}

TEST(RestartPolicyTest, WhatHasRunForAMinuteIsStartedAsIfForTheFirstTime) {
  RestartPolicy policy;
  for (int i = 0; i < 5; ++i) policy.Ended(End::kMayPass, 0);
  policy.Ended(End::kRefused, 0);
  policy.Started(100'000);

  policy.Ended(End::kRefused, 160'000);

  EXPECT_FALSE(policy.gives_up());
  EXPECT_TRUE(policy.IsDue(160'200));
}

TEST(RestartPolicyTest, WhatRefusesTwiceInARowIsGivenUp) {
  RestartPolicy policy;
  policy.Started(0);
  policy.Ended(End::kRefused, 50);
  EXPECT_FALSE(policy.gives_up());
  policy.Ended(End::kMayPass, 300);
  policy.Ended(End::kRefused, 900);
  EXPECT_FALSE(policy.gives_up());

  policy.Ended(End::kRefused, 2000);

  EXPECT_TRUE(policy.gives_up());
  EXPECT_FALSE(policy.IsDue(1'000'000));
}

TEST(RestartPolicyTest, WhatHasNothingLeftToRunOnIsNotStartedAgain) {
  RestartPolicy policy;
  policy.Ended(End::kForGood, 0);

  EXPECT_TRUE(policy.gives_up());
}

}  // namespace
}  // namespace longrun::client
