// Forecasts: rates whose quantiles are known by hand.
#include "coordinator/forecast.h"

#include <gtest/gtest.h>

namespace longrun::coordinator {
namespace {

longrun::Run RunOf(const std::string& method, std::int64_t train_length) {
  longrun::Run run;
  run.model = *ModelConfig::Preset("micro");
  run.model.vocab_size = 320;
  run.model.position.method = method;
  run.train.train_length = train_length;
  return run;
}

MeasuredTask Trained(const longrun::Run& run, double flops, double seconds,
                     const std::string& device = "cpu, 1 thread") {
  return {.kind = TaskKind::kTrain,
          .device = device,
          .position = run.model.position.method,
          .shape = ShapeOf(run),
          .flops = flops,
          .seconds = seconds};
}

TEST(Forecast, KnowsNothingOfWhatWasNeverMeasured) {
  const longrun::Run run = RunOf("cable", 64);
  EXPECT_FALSE(Forecast({}).Of(TaskKind::kTrain, run, 1e9));
  EXPECT_FALSE(Forecast({Trained(run, 1e9, 10)}).Of(TaskKind::kEvaluate, run, 1e9));
}

TEST(Forecast, OneMeasuredTaskOfTheSameShapeGivesItsRate) {
  const longrun::Run run = RunOf("cable", 64);
  // 1e9 FLOPs in 10 s; three times the FLOPs take 30 s, within 1.25 both ways.
  const auto estimate = Forecast({Trained(run, 1e9, 10)}).Of(TaskKind::kTrain, run, 3e9);
  ASSERT_TRUE(estimate);
  EXPECT_DOUBLE_EQ(estimate->likely_s, 30);
  EXPECT_DOUBLE_EQ(estimate->low_s, 24);
  EXPECT_DOUBLE_EQ(estimate->high_s, 37.5);
  EXPECT_EQ(estimate->n, 1U);
  EXPECT_EQ(estimate->basis, "same shape");
}

TEST(Forecast, TheRangeIsThatOfTheMiddleEightyPercent) {
  const longrun::Run run = RunOf("cable", 64);
  std::vector<MeasuredTask> measured;
  // Rates 100, 200, ... 1100: 10th percentile 200, median 600, 90th percentile 1000.
  for (int i = 1; i <= 11; ++i) measured.push_back(Trained(run, 100.0 * i, 1));
  const auto estimate = Forecast(measured).Of(TaskKind::kTrain, run, 6000);
  ASSERT_TRUE(estimate);
  EXPECT_DOUBLE_EQ(estimate->likely_s, 10);
  EXPECT_DOUBLE_EQ(estimate->low_s, 6 / 1.25);
  EXPECT_DOUBLE_EQ(estimate->high_s, 30 * 1.25);
}

TEST(Forecast, TheNarrowestGroupThatThereIsSpeaks) {
  const longrun::Run asked = RunOf("cable", 64);
  const MeasuredTask other_method = Trained(RunOf("rope", 128), 100, 1);
  const MeasuredTask same_method = Trained(RunOf("cable", 128), 200, 1);
  const MeasuredTask same_shape = Trained(RunOf("alibi", 64), 400, 1);
  const auto basis_of = [&](const std::vector<MeasuredTask>& measured) {
    return Forecast(measured).Of(TaskKind::kTrain, asked, 400)->basis;
  };
  EXPECT_EQ(basis_of({other_method}), "same kind");
  EXPECT_EQ(basis_of({other_method, same_method}), "same method");
  EXPECT_EQ(basis_of({other_method, same_method, same_shape}), "same shape");
}

TEST(Forecast, RatesOfAnotherDeviceDoNotMix) {
  const longrun::Run run = RunOf("cable", 64);
  const Forecast forecast(
      {Trained(run, 1e9, 1, "a GPU"), Trained(run, 100, 1), Trained(run, 100, 1)});
  EXPECT_EQ(forecast.device(), "cpu, 1 thread");
  EXPECT_DOUBLE_EQ(forecast.Of(TaskKind::kTrain, run, 500)->likely_s, 5);
}

// Of three starts, the middle one; of two kinds.
TEST(Forecast, EachTaskFirstStartsAProcess) {
  const longrun::Run run = RunOf("cable", 64);
  std::vector<MeasuredTask> measured(3, Trained(run, 1e9, 10));
  measured[0].start_s = 1;
  measured[1].start_s = 3;
  measured[2].start_s = 2;
  measured[2].kind = TaskKind::kEvaluate;
  const auto estimate = Forecast(measured).Of(TaskKind::kTrain, run, 3e9);
  ASSERT_TRUE(estimate);
  EXPECT_DOUBLE_EQ(estimate->likely_s, 30 + 2);
  EXPECT_DOUBLE_EQ(estimate->low_s, 24 + 1.2);
  EXPECT_DOUBLE_EQ(estimate->high_s, 37.5 + 2.8);
}

TEST(Forecast, AnAttemptThatTookNoTimeIsNoMeasurement) {
  const longrun::Run run = RunOf("cable", 64);
  EXPECT_FALSE(Forecast({Trained(run, 1e9, 0)}).Of(TaskKind::kTrain, run, 1e9));
}

}  // namespace
}  // namespace longrun::coordinator
