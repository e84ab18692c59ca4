// Rates of steps that take less time than the clock can tell.
#include "worker/trainer/token_rate.h"

#include <gtest/gtest.h>

namespace longrun::trainer {
namespace {

TEST(TokenRateTest, AFirstStepThatTakesNoTimeHasNoRate) {
  TokenRate rate;
  rate.Add(8192, 0);
  EXPECT_EQ(rate.tokens_per_s(), 0.0);
  rate.Add(8192, 1);
  EXPECT_EQ(rate.tokens_per_s(), 0.0);
  rate.Add(8192, 31);  // three steps in 32 ms
  EXPECT_DOUBLE_EQ(rate.tokens_per_s(), 768'000.0);
}

TEST(TokenRateTest, ShortStepsHaveTheRateOfTheirSum) {
  TokenRate rate;
  for (int i = 0; i < 1000; ++i) rate.Add(100, i % 2);  // 100 tokens in half a millisecond
  // A measurement ends with a step of 1 ms: 40 steps in 20 ms.
  EXPECT_DOUBLE_EQ(rate.tokens_per_s(), 200'000.0);
}

TEST(TokenRateTest, LongStepsAreSmoothed) {
  TokenRate rate;
  rate.Add(1000, 1000);
  EXPECT_DOUBLE_EQ(rate.tokens_per_s(), 1000.0);
  rate.Add(2000, 1000);
  EXPECT_DOUBLE_EQ(rate.tokens_per_s(), 1100.0);
}

}  // namespace
}  // namespace longrun::trainer
