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

// The first step is slow because it is the first. A rate that kept a part of it would be wrong for
// ten more.
TEST(TokenRateTest, TheFirstMeasurementIsForgottenOnceThereIsAnother) {
  TokenRate rate;
  rate.Add(1000, 10'000);
  EXPECT_DOUBLE_EQ(rate.tokens_per_s(), 100.0);
  rate.Add(1000, 1000);
  EXPECT_DOUBLE_EQ(rate.tokens_per_s(), 1000.0);
  EXPECT_DOUBLE_EQ(rate.ms_per_step(), 1000.0);
}

TEST(TokenRateTest, LongStepsAreAveragedAndThenSmoothed) {
  TokenRate rate;
  rate.Add(1000, 500);
  rate.Add(1000, 1000);
  rate.Add(1000, 3000);
  EXPECT_DOUBLE_EQ(rate.ms_per_step(), 2000.0);
  EXPECT_DOUBLE_EQ(rate.tokens_per_s(), 500.0);
  for (int i = 0; i < 1000; ++i) rate.Add(1000, 2000);
  EXPECT_NEAR(rate.ms_per_step(), 2000.0, 1e-6);
  rate.Add(1000, 1000);
  EXPECT_NEAR(rate.ms_per_step(), 1900.0, 1e-6);
}

// What a line says of a training: steps left * time of a step = tokens left / rate.
TEST(TokenRateTest, TheTimeOfAStepFitsTheRate) {
  TokenRate rate;
  for (int i = 1; i <= 50; ++i) rate.Add(900 + i, 100 + 37 * (i % 7));
  EXPECT_GT(rate.ms_per_step(), 100);
  EXPECT_LT(rate.ms_per_step(), 322);
  EXPECT_NEAR(rate.tokens_per_s() * rate.ms_per_step() / 1e3, 925, 25);
}

TEST(TokenRateTest, ValidationsThatAreLeftAreThoseAfterEachPartAndAtTheEnd) {
  TrainConfig train;
  train.tokens = 1000;
  train.batch_tokens = 100;
  const auto left = [&](std::int64_t every, std::int64_t step) {
    train.validate.every = every;
    return ValidationsLeft(train, step);
  };
  EXPECT_EQ(left(0, 3), 0);
  EXPECT_EQ(left(300, 0), 4);  // after the steps 3, 6, 9 and 10
  EXPECT_EQ(left(300, 3), 3);
  EXPECT_EQ(left(300, 9), 1);
  EXPECT_EQ(left(500, 4), 2);
  EXPECT_EQ(left(500, 5), 1);
  EXPECT_EQ(left(50, 8), 2);
  EXPECT_EQ(left(300, 10), 0);
}

}  // namespace
}  // namespace longrun::trainer
