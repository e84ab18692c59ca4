// Networks that are told the position of each token (Batch::position_ids_BT).
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/max.h>
#include <ATen/ops/stack.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "base/str.h"
#include "model/net/gradient.h"
#include "model/net/transformer.h"
#include "tests/model/net/small_model.h"

namespace longrun {
namespace {

constexpr std::int64_t kTokens = 150, kPositions = 600;

double MaxDifference(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

Batch At(const at::Tensor& ids_BT, const at::Tensor& positions_T, std::int64_t n_positions) {
  return {.ids_BT = ids_BT,
          .position_ids_BT = positions_T.expand_as(ids_BT).to(at::kInt).contiguous(),
          .n_positions = n_positions};
}

at::Tensor Read(Transformer& net, const Batch& batch) {
  const at::NoGradGuard no_grad;
  return net.Hidden(batch);
}

NetConfig RotatingConfig(const std::string& architecture, const Json& position) {
  NetConfig config = SmallConfig(position);
  config.model.d_model = 32;  // the fused attention has heads of 8, 16, ... channels
  if (architecture != "gpt2") config = WithBody(config, architecture);
  return config;
}

class PositionIdsTest : public testing::TestWithParam<const char*> {};

TEST_P(PositionIdsTest, PlacesAsPositionsChangeNoBit) {
  for (const Json& position : {Json("rope"), Json("xpos")}) {
    const NetConfig config = RotatingConfig(GetParam(), position);
    const at::Tensor ids = SmallTokens(3, kTokens);
    const Batch places = At(ids, at::arange(kTokens), kTokens);
    Transformer exact = SmallNet(config, "fp64");
    EXPECT_TRUE(at::equal(Read(exact, places), Read(exact, {.ids_BT = ids})));
    Transformer fused = SmallNet(config, "fp32", 7, AttentionBackend::kFused);
    EXPECT_TRUE(at::equal(Read(fused, places), Read(fused, {.ids_BT = ids})));
  }
}

// A rotation knows only distances, and its growth too.
TEST_P(PositionIdsTest, AllPositionsMayMoveTogether) {
  for (const Json& position : {Json("rope"), Json("xpos")}) {
    Transformer net = SmallNet(RotatingConfig(GetParam(), position), "fp64");
    const at::Tensor ids = SmallTokens(3, kTokens);
    const Batch moved = At(ids, at::arange(kTokens) + 77, kPositions);
    EXPECT_LT(MaxDifference(Read(net, moved), Read(net, {.ids_BT = ids})), 1e-11);
    const Batch apart = At(ids, at::arange(kTokens) * 3, kPositions);
    EXPECT_GT(MaxDifference(Read(net, apart), Read(net, {.ids_BT = ids})), 1e-3);
  }
}

// In one batch as by itself, and with activation checkpointing the same bits.
TEST_P(PositionIdsTest, EachSequenceHasItsOwnAndGradientsHaveThemToo) {
  const NetConfig config = RotatingConfig(GetParam(), "rope");
  const at::Tensor ids = SmallTokens(2, kTokens), t = at::arange(kTokens);
  const std::vector<at::Tensor> positions = {t + (t >= 40) * 300, t * 2 + (t >= 99) * 150};
  const Batch both = {.ids_BT = ids,
                      .position_ids_BT = at::stack(positions).to(at::kInt),
                      .n_positions = kPositions};
  Transformer exact = SmallNet(config, "fp64");
  const at::Tensor hidden = Read(exact, both);
  for (std::int64_t b = 0; b < 2; ++b) {
    const Batch alone = At(ids.narrow(0, b, 1), positions[static_cast<std::size_t>(b)], kPositions);
    EXPECT_LT(MaxDifference(Read(exact, alone), hidden.narrow(0, b, 1)), 1e-12);
  }
  const auto gradients = [&](const char* precision, AttentionBackend backend, bool recomputes) {
    Transformer net = SmallNet(config, precision, 7, backend);
    net.SetActivationCheckpointing(recomputes);
    net.RequireGradients(true);
    const at::Tensor weights = at::arange(hidden.numel(), at::kDouble).mul(0.7).sin();
    (net.Hidden(both) * weights.view(hidden.sizes()).to(net.compute().dtype)).sum().backward();
    std::vector<at::Tensor> found;
    for (const auto& [name, parameter] : net.parameters()) found.push_back(GradientOf(parameter));
    return found;
  };
  const auto expected = gradients("fp64", AttentionBackend::kReference, false);
  const auto kept = gradients("fp32", AttentionBackend::kFused, false);
  const auto recomputed = gradients("fp32", AttentionBackend::kFused, true);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double size = std::max(1.0, expected[i].abs().max().item<double>());
    EXPECT_LT(MaxDifference(kept[i], expected[i]), 1e-4 * size) << "parameter " << i;
    EXPECT_TRUE(at::equal(recomputed[i], kept[i])) << "parameter " << i;
  }
}

// The gradients that a training adds up, along one direction through all parameters.
TEST_P(PositionIdsTest, GradientsOfTheLossMatchCentralDifferences) {
  Transformer net = SmallNet(RotatingConfig(GetParam(), "rope"), "fp64");
  const at::Tensor tokens = SmallTokens(2, 21), t = at::arange(20);
  const Batch batch = {.ids_BT = tokens.narrow(1, 0, 20),
                       .position_ids_BT = at::stack({t + (t >= 7) * 300, t * 5}).to(at::kInt),
                       .n_positions = kPositions};
  const at::Tensor targets = tokens.narrow(1, 1, 20);
  const auto loss = [&] {
    ClearGradients(net);
    return AddGradients(net, batch, targets, 1.0).sum().item<double>();
  };
  const auto direction = [](const at::Tensor& parameter) {
    return at::arange(parameter.numel(), at::kDouble).mul(0.9).cos().view(parameter.sizes());
  };
  const auto move = [&](double step) {
    const at::NoGradGuard no_grad;
    for (const auto& [name, parameter] : net.parameters()) {
      const_cast<at::Tensor&>(parameter).add_(direction(parameter), step);
    }
  };
  const double at_positions = loss();
  double slope = 0.0;
  for (const auto& [name, parameter] : net.parameters()) {
    slope += (GradientOf(parameter) * direction(parameter)).sum().item<double>();
  }
  constexpr double kStep = 1e-5;
  move(kStep);
  const double above = loss();
  move(-2 * kStep);
  const double below = loss();
  // The error of central differences is of the order of kStep^2.
  EXPECT_NEAR((above - below) / (2 * kStep) / slope, 1.0, 1e-6);
  // Plain positions are another function.
  move(kStep);
  ClearGradients(net);
  const double plain = AddGradients(net, batch.ids_BT, targets, 1.0).sum().item<double>();
  EXPECT_GT(std::abs(plain - at_positions), 1e-3);
}

INSTANTIATE_TEST_SUITE_P(Bodies, PositionIdsTest, testing::Values("gpt2", "llama", "qwen2"),
                         [](const auto& given) { return std::string(given.param); });

TEST(PositionIdsRefusalTest, MethodsThatKnowMoreThanARotationAreRefusedByName) {
  for (const char* method : {"alibi", "cable", "t5", "fire", "cope", "sinusoidal", "none"}) {
    const Status status = SmallNet(SmallConfig(method), "fp32").CheckPositionIds();
    EXPECT_EQ(status.code(), Code::kUnimplemented) << method;
    EXPECT_NE(status.message().find(Str('"', method, '"')), std::string::npos) << status.message();
  }
  EXPECT_TRUE(SmallNet(SmallConfig("rope"), "fp32").CheckPositionIds().ok());
}

}  // namespace
}  // namespace longrun
