#include "model/net/adamw.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "model/net/device.h"
#include "tests/model/net/fake_gpu.h"

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

// 30 numbers without a pattern, the first parameter's and another's.
std::vector<at::Tensor> SomeGradients(const at::TensorOptions& options) {
  const at::Tensor n = at::arange(30, at::kDouble);
  const at::Tensor x = at::sin(n * n).to(at::kFloat).to(options.dtype()).to(options.device());
  return {x.narrow(0, 0, 25).view({5, 5}).clone(), x.narrow(0, 25, 5).clone()};
}

// The factor of the whole gradient is rounded once, from a quotient in double.
TEST(AdamWTest, ClippedGradientsAreTheProductsWithOneRoundedFactor) {
  for (const c10::ScalarType type : {at::kFloat, at::kDouble}) {
    for (const c10::Device device : {c10::Device(at::kCPU), testing::FakeGpu()}) {
      for (const double grad_clip : {0.0, 0.3, 0.7, 0.9, 1.0, 1.1, 1.3, 1.7, 100.0}) {
        const at::TensorOptions options = at::TensorOptions().dtype(type).device(device);
        std::vector<at::Tensor> expected = SomeGradients(options);
        ParameterMap parameters;
        for (const char* name : {"a", "b"}) {
          const at::Tensor& gradient = expected[parameters.size()];
          parameters[name] = at::zeros_like(gradient).requires_grad_(true);
          parameters[name].mutable_grad() = gradient.clone();
        }
        AdamW optimizer({.grad_clip = grad_clip}, parameters);

        const double norm = optimizer.ClipGradients().item<double>();

        if (grad_clip > 0.0 && norm > grad_clip) {
          at::_foreach_mul_(expected, at::Scalar(grad_clip / norm));
        }
        EXPECT_TRUE(at::equal(parameters["a"].grad(), expected[0])) << type << " " << grad_clip;
        EXPECT_TRUE(at::equal(parameters["b"].grad(), expected[1])) << type << " " << grad_clip;
      }
    }
  }
}

// With our kernels, with LibTorch's operators, and on a GPU.
TEST(AdamWTest, AStepChangesNothingIfALossOrAGradientIsNotFinite) {
  struct Way {
    c10::Device device;
    std::optional<Simd> kernels;
  };
  const std::vector<Way> ways = {{at::kCPU, OpenCompute("cpu", "fp32").value().kernels},
                                 {at::kCPU, std::nullopt},
                                 {testing::FakeGpu(), std::nullopt}};
  for (std::size_t way = 0; way < ways.size(); ++way) {
    const at::TensorOptions options =
        at::TensorOptions().dtype(at::kFloat).device(ways[way].device);
    ParameterMap parameters = {{"a", at::ones({5, 5}, options).requires_grad_(true)},
                               {"b", at::ones({5}, options).requires_grad_(true)}};
    AdamW optimizer({.lr = 0.1}, parameters, ways[way].kernels);
    const auto all = [&, &parameters = parameters] {
      std::vector<at::Tensor> tensors;
      for (const auto& [name, tensor] : parameters) tensors.push_back(tensor.detach().clone());
      for (const auto& [name, tensor] : optimizer.State()) tensors.push_back(tensor.clone());
      return tensors;
    };
    // Whether a step with this loss, and this number among the gradients, changes anything.
    const auto changes = [&](double loss, float of_gradient) {
      std::vector<at::Tensor> gradients = SomeGradients(options);
      gradients[1][2] = of_gradient;
      parameters["a"].mutable_grad() = gradients[0];
      parameters["b"].mutable_grad() = gradients[1];
      const std::vector<at::Tensor> before = all();
      const at::Tensor norm = optimizer.ClipGradients();
      optimizer.Step(0.1, at::stack({at::full_like(norm, loss), norm}));
      const std::vector<at::Tensor> after = all();
      return !std::ranges::equal(
          before, after, [](const at::Tensor& x, const at::Tensor& y) { return at::equal(x, y); });
    };
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
    EXPECT_TRUE(changes(2.0, 0.5f)) << way;
    EXPECT_FALSE(changes(std::nan(""), 0.5f)) << way;
    EXPECT_FALSE(changes(kInfinity, 0.5f)) << way;
    EXPECT_FALSE(changes(-kInfinity, 0.5f)) << way;
    EXPECT_FALSE(changes(2.0, kNan)) << way;
    EXPECT_FALSE(changes(2.0, std::numeric_limits<float>::infinity())) << way;
    EXPECT_TRUE(changes(2.0, 0.5f)) << way;
  }
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
