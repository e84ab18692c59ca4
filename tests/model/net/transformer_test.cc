#include "model/net/transformer.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/max.h>
#include <gtest/gtest.h>

#include "model/net/gradient.h"
#include "model/net/head.h"
#include "tests/model/net/golden.h"

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

}  // namespace
}  // namespace longrun
