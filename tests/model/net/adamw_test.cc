#include "model/net/adamw.h"

#include <ATen/ops/full.h>
#include <gtest/gtest.h>

#include <cmath>

namespace longrun {
namespace {

at::Tensor Leaf(const std::vector<std::int64_t>& shape, double value) {
  return at::full(shape, value, at::kFloat).requires_grad_(true);
}

TEST(AdamWTest, AStepIsTheFormulaAndOnlyMatricesDecay) {
  const OptimizerConfig config = {.lr = 0.1, .weight_decay = 0.5, .grad_clip = 0.0};
  ParameterMap parameters = {{"matrix", Leaf({2, 2}, 2.0)}, {"vector", Leaf({3}, 2.0)}};
  AdamW optimizer(config, parameters);
  double m = 0.0, v = 0.0, matrix = 2.0, vector = 2.0;

  for (int t = 1; t <= 3; ++t) {
    const double g = 0.3 * t;
    for (auto& [name, parameter] : parameters) {
      parameter.mutable_grad() = at::full(parameter.sizes(), g, at::kFloat);
    }
    EXPECT_NEAR(optimizer.ClipGradients().item<double>(), g * std::sqrt(7.0), 1e-6);
    optimizer.Step(0.1);
    m = 0.9 * m + 0.1 * g;
    v = 0.95 * v + 0.05 * g * g;
    const double step =
        0.1 * (m / (1 - std::pow(0.9, t))) / (std::sqrt(v / (1 - std::pow(0.95, t))) + 1e-8);
    matrix = matrix - 0.1 * 0.5 * matrix - step;
    vector -= step;
  }

  EXPECT_NEAR(parameters["matrix"][1][1].item<double>(), matrix, 1e-6);
  EXPECT_NEAR(parameters["vector"][2].item<double>(), vector, 1e-6);
}

TEST(AdamWTest, GradientsAreClippedToTheGlobalNorm) {
  const OptimizerConfig config = {.grad_clip = 1.0};
  ParameterMap parameters = {{"a", Leaf({2, 2}, 0.0)}, {"b", Leaf({5}, 0.0)}};
  AdamW optimizer(config, parameters);
  for (auto& [name, parameter] : parameters) {
    parameter.mutable_grad() = at::full(parameter.sizes(), 2.0, at::kFloat);
  }
  EXPECT_NEAR(optimizer.ClipGradients().item<double>(), 6.0, 1e-6);  // sqrt(9 * 4)
  EXPECT_NEAR(parameters["b"].grad()[0].item<double>(), 2.0 / 6.0, 1e-6);
}

TEST(AdamWTest, RestoredStateContinuesWithTheSameBits) {
  const OptimizerConfig config = {.lr = 0.01};
  ParameterMap whole = {{"a", Leaf({2, 2}, 1.0)}};
  AdamW undisturbed(config, whole);
  const auto step = [](AdamW& optimizer, ParameterMap& parameters, double g) {
    parameters["a"].mutable_grad() = at::full({2, 2}, g, at::kFloat);
    optimizer.Step(0.01);
  };
  step(undisturbed, whole, 0.3);
  ParameterMap parts = {{"a", whole["a"].detach().clone().requires_grad_(true)}};
  AdamW continued(config, parts);
  ASSERT_TRUE(continued.Restore(undisturbed.State(), 1).ok());

  step(undisturbed, whole, -0.7);
  step(continued, parts, -0.7);

  EXPECT_TRUE(whole["a"].equal(parts["a"]));
  EXPECT_EQ(continued.Restore({}, 1).code(), Code::kDataLoss);
}

TEST(LearningRateTest, WarmsUpLinearlyAndEndsAtItsMinimum) {
  // axiomlab/Cable, src/train.py: from lr / 715 over 715 steps, then a cosine from 6e-4 to 6e-5.
  TrainConfig train = {.train_length = 512, .tokens = 19073LL * 524288, .batch_tokens = 524288};
  train.schedule.warmup_tokens = 715LL * 524288;
  EXPECT_DOUBLE_EQ(LearningRate(train, 1), 6e-4 / 715);
  EXPECT_DOUBLE_EQ(LearningRate(train, 715), 6e-4);
  EXPECT_NEAR(LearningRate(train, (715 + 19073) / 2), 3.3e-4, 1e-12);
  EXPECT_DOUBLE_EQ(LearningRate(train, 19073), 6e-5);
  train.schedule.name = ScheduleKind::kConstant;
  EXPECT_DOUBLE_EQ(LearningRate(train, 19073), 6e-4);
}

// DeepSpeed's WarmupDecayLR as PoSE's scripts use it: 10 steps of warm-up to 2e-5, then straight to
// 0 at step 1000; here also to a rate above 0.
TEST(LearningRateTest, FallsLinearlyToItsMinimum) {
  TrainConfig train = {.train_length = 2048, .tokens = 1000LL * 131072, .batch_tokens = 131072};
  train.schedule = {.name = ScheduleKind::kLinear, .warmup_tokens = 10LL * 131072};
  train.optimizer.lr = 2e-5;
  train.optimizer.min_lr = 0;
  EXPECT_DOUBLE_EQ(LearningRate(train, 5), 1e-5);
  EXPECT_DOUBLE_EQ(LearningRate(train, 10), 2e-5);
  EXPECT_DOUBLE_EQ(LearningRate(train, 11), 2e-5 * 989 / 990);
  EXPECT_DOUBLE_EQ(LearningRate(train, 505), 1e-5);
  EXPECT_DOUBLE_EQ(LearningRate(train, 1000), 0);
  train.optimizer.min_lr = 4e-6;
  EXPECT_DOUBLE_EQ(LearningRate(train, 505), 1.2e-5);
  EXPECT_DOUBLE_EQ(LearningRate(train, 1000), 4e-6);
}

}  // namespace
}  // namespace longrun
