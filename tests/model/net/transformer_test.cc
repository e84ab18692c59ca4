#include "model/net/transformer.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/max.h>
#include <gtest/gtest.h>

#include "model/net/gradient.h"
#include "model/net/head.h"
#include "tests/model/net/golden.h"
#include "tests/model/net/small_model.h"

namespace longrun {
namespace {

double MaxDifference(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

Transformer GoldenNet(const std::string& name, const std::string& precision) {
  const NetConfig config = GoldenConfig(name);
  return Transformer::Make(config, FormulaWeights(config.model), AttentionBackend::kReference,
                           OpenCompute("cpu", precision).value())
      .value();
}

at::Tensor Logits(Transformer& net, const at::Tensor& tokens_BT) {
  const at::NoGradGuard no_grad;
  const at::Tensor hidden_BTC = net.Hidden(tokens_BT);
  return HeadLogits(hidden_BTC.flatten(0, 1), net.head(), net.compute())
      .view({tokens_BT.size(0), tokens_BT.size(1), -1});
}

class GoldenTest : public testing::TestWithParam<const char*> {};

TEST_P(GoldenTest, LogitsAreThoseOfTheOracle) {
  const at::Tensor tokens = GoldenTensor(GetParam(), "tokens");
  const at::Tensor expected = GoldenTensor(GetParam(), "logits");
  Transformer exact = GoldenNet(GetParam(), "fp64");
  Transformer single = GoldenNet(GetParam(), "fp32");
  Transformer brain = GoldenNet(GetParam(), "bf16");
  Transformer half = GoldenNet(GetParam(), "fp16");

  EXPECT_LT(MaxDifference(Logits(exact, tokens), expected), 1e-8);  // softplus switches at 20
  EXPECT_LT(MaxDifference(Logits(single, tokens), expected), 1e-5);
  // bf16 keeps 8 bits: the logits are of size 1.
  EXPECT_LT(MaxDifference(Logits(brain, tokens), expected), 0.1);
  // fp16 keeps 11.
  EXPECT_LT(MaxDifference(Logits(half, tokens), expected), 0.1 / 8);
}

TEST_P(GoldenTest, GradientsAreThoseOfTheOracle) {
  const at::Tensor tokens = GoldenTensor(GetParam(), "tokens");
  Transformer net = GoldenNet(GetParam(), "fp64");
  const std::int64_t n = tokens.size(1) - 1;

  ClearGradients(net);
  AddGradients(net, tokens, tokens.narrow(1, 1, n), 1.0 / static_cast<double>(tokens.size(0) * n));

  const SafetensorsFile file =
      SafetensorsFile::Open(GoldenFolder(GetParam()) + "/expected.safetensors").value();
  int n_compared = 0;
  for (const auto& [name, stored] : file.tensors()) {
    if (!name.starts_with("grad.")) continue;
    const at::Tensor gradient = GradientOf(net.parameters().at(name.substr(5)));
    EXPECT_LT(MaxDifference(gradient, ToTensor(stored)), 1e-8) << name;
    n_compared += 1;
  }
  EXPECT_GE(n_compared, 4);
}

std::string LastPart(const testing::TestParamInfo<const char*>& given) {
  const std::string name = given.param;
  return name.substr(name.find('/') + 1);
}

INSTANTIATE_TEST_SUITE_P(Cases, GoldenTest, testing::ValuesIn(kGoldenCases), LastPart);
// Of transformers' own models: other norms, MLPs, blocks, biases, grouped heads, windows.
INSTANTIATE_TEST_SUITE_P(Bodies, GoldenTest, testing::ValuesIn(kBodyCases), LastPart);

// ---- keys that training skips ------------------------------------------------------------------

// A bias that falls by 0.13 for each token, since softplus(-2) = 0.127: so slowly that the keys
// which just may be skipped still move digits of fp32. Small scores, so that their bound is tight.
Transformer SkippingNet(NetConfig config) {
  config.model.d_model = 16;  // two heads of 8
  if (config.model.body.head_dim != 0) config.model.body.head_dim = 8;
  config.model.init_std = 0.05;
  Transformer net = SmallNet(config, "fp32", 7, AttentionBackend::kFused);
  for (const auto& [name, parameter] : net.parameters()) {
    if (name.ends_with(".attn.position.weight")) at::Tensor(parameter).zero_();
    if (name.ends_with(".attn.position.bias")) at::Tensor(parameter).fill_(-2.0);
  }
  return net;
}

// Token 12 begins the text and does not come again: with one layer, later tokens read it only as a
// key.
TEST(SkippingNetTest, WhatATrainingPassSkipsGetsNoGradientFromLaterTokens) {
  NetConfig config = SmallConfig("cable");
  config.model.n_layer = 1;
  Transformer net = SkippingNet(config);
  const at::Tensor ids_BT = SmallTokens(1, 384).remainder(12);
  ids_BT.narrow(1, 0, 32).fill_(12);
  const auto gradient_of_12 = [&](double skip_epsilon) {
    net.SetSkipEpsilon(skip_epsilon);
    ClearGradients(net);
    net.Hidden(ids_BT).narrow(1, 288, 96).pow(3).sum().backward();
    return GradientOf(net.parameters().at("transformer.wte.weight"))[12].abs().max().item<double>();
  };
  EXPECT_GT(gradient_of_12(0.0), 0.0);
  EXPECT_EQ(gradient_of_12(1e-3), 0.0);
}

TEST(SkippingNetTest, LossesStayNearThoseOfAllKeysAndEvaluationsStayTheSame) {
  constexpr std::int64_t kLength = 640;
  const at::Tensor ids_BT = SmallTokens(1, kLength + 1);
  const at::Tensor inputs = ids_BT.narrow(1, 0, kLength), targets = ids_BT.narrow(1, 1, kLength);
  Transformer net = SkippingNet(SmallConfig("cable"));
  const auto losses = [&](double skip_epsilon) {
    net.SetSkipEpsilon(skip_epsilon);
    ClearGradients(net);
    return AddGradients(net, inputs, targets, 1.0);
  };
  const auto hidden = [&](double skip_epsilon) {
    net.SetSkipEpsilon(skip_epsilon);
    return net.Hidden(inputs).detach();
  };
  const at::Tensor all = losses(0.0);
  // The logits are below 1, and of two layers each may be wrong by 2 epsilon of the values.
  EXPECT_LT(MaxDifference(losses(1e-3), all), 4e-3);
  EXPECT_LT(MaxDifference(losses(0x1p-24), all), 1e-5);
  EXPECT_FALSE(at::equal(hidden(1e-3), hidden(0.0)));

  const at::NoGradGuard no_grad;
  EXPECT_TRUE(at::equal(hidden(1e-3), hidden(0.0)));
}

// Layer 0 sees 5 tokens, of which none is skipped, so the difference comes from layer 1.
TEST(SkippingNetTest, LayersWithoutTheWindowSkipToo) {
  Transformer net = SkippingNet(WithBody(SmallConfig("cable"), "qwen2"));
  const at::Tensor ids_BT = SmallTokens(1, 640);
  ClearGradients(net);
  const at::Tensor all = net.Hidden(ids_BT).detach();
  net.SetSkipEpsilon(1e-3);
  EXPECT_FALSE(at::equal(net.Hidden(ids_BT), all));
}

}  // namespace
}  // namespace longrun
