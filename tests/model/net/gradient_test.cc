#include "model/net/gradient.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/max.h>
#include <gtest/gtest.h>

#include <cmath>

#include "model/net/head.h"
#include "model/net/memory_meter.h"
#include "tests/model/net/small_model.h"

namespace longrun {
namespace {

double MeanNll(Transformer& net, const at::Tensor& ids, const at::Tensor& targets) {
  const at::NoGradGuard no_grad;
  return HeadNll(net.Hidden(ids).flatten(0, 1), net.head(), targets.flatten(), net.compute())
      .mean()
      .item<double>();
}

class GradientTest : public testing::TestWithParam<const char*> {};

TEST_P(GradientTest, AgreesWithCentralDifferences) {
  Transformer net =
      SmallNet(SmallConfig(GetParam(), std::string(GetParam()) == "learned" ? 6 : 0), "fp64");
  const at::Tensor tokens = SmallTokens(2, 7);
  const at::Tensor ids = tokens.narrow(1, 0, 6), targets = tokens.narrow(1, 1, 6);
  ClearGradients(net);
  AddGradients(net, ids, targets, 1.0 / 12.0);

  constexpr double kStep = 1e-5;
  for (const auto& [name, parameter] : net.parameters()) {
    const at::Tensor gradient = GradientOf(parameter).flatten();
    double* value = parameter.data_ptr<double>();
    for (const std::int64_t i : {std::int64_t{0}, parameter.numel() / 2, parameter.numel() - 1}) {
      const double kept = value[i];
      value[i] = kept + kStep;
      const double above = MeanNll(net, ids, targets);
      value[i] = kept - kStep;
      const double below = MeanNll(net, ids, targets);
      value[i] = kept;
      // The error of the difference is of order step^2; the loss is of order 1.
      EXPECT_NEAR(gradient[i].item<double>(), (above - below) / (2 * kStep), 1e-8) << name << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Methods, GradientTest,
                         testing::Values("none", "learned", "sinusoidal", "rope", "alibi",
                                         "cable"));

// As torch.nn.Embedding with a padding_idx: the row is read, and learns nothing there.
TEST(GradientPaddingTest, TheEmbeddingOfPaddingHasNoGradient) {
  NetConfig config = SmallConfig("none");
  config.model.tie_embeddings = false;
  const at::Tensor tokens = SmallTokens(2, 7);
  const auto gradient = [&](std::int64_t padding_id) {
    config.padding_id = padding_id;
    Transformer net = SmallNet(config, "fp64");
    ClearGradients(net);
    AddGradients(net, tokens.narrow(1, 0, 6), tokens.narrow(1, 1, 6), 1.0);
    return GradientOf(net.parameters().at("transformer.wte.weight")).clone();
  };
  const std::int64_t id = tokens[0][2].item<std::int64_t>();
  at::Tensor expected = gradient(-1);
  EXPECT_GT(expected.select(0, id).abs().max().item<double>(), 0.0);
  expected.select(0, id).zero_();
  EXPECT_EQ((gradient(id) - expected).abs().max().item<double>(), 0.0);
}

// Bytes that a step over 256 tokens holds at its highest.
std::int64_t PeakOfAStep(const char* method, std::int64_t n_layer) {
  NetConfig config = SmallConfig(method);
  config.model.n_layer = n_layer;
  Transformer net = SmallNet(config, "fp32");
  const at::Tensor tokens = SmallTokens(1, 257);
  MemoryMeter meter(at::kCPU);
  ClearGradients(net);
  meter.ResetPeak();
  const std::int64_t before = meter.AllocatedBytes();
  AddGradients(net, tokens.narrow(1, 0, 256), tokens.narrow(1, 1, 256), 1.0);
  return meter.PeakAllocatedBytes() - before;
}

// 32 hidden units for each of a layer's 128 * 128 + 128 * 256 distances are 6 MiB.
TEST(GradientMemoryTest, TheHiddenUnitsOfADistanceNetworkAreNotHeldForTheWayBack) {
  const std::int64_t fire = PeakOfAStep("fire", 9) - PeakOfAStep("fire", 1);
  const std::int64_t kerple = PeakOfAStep("kerple", 9) - PeakOfAStep("kerple", 1);
  EXPECT_LT(fire - kerple, 8 * (std::int64_t{1} << 20));
}

TEST(GradientSumTest, PassesOverPartsOfABatchAddUpToTheWhole) {
  const at::Tensor tokens = SmallTokens(8, 17);
  Transformer whole = SmallNet(SmallConfig("cable"), "fp32");
  Transformer parts = SmallNet(SmallConfig("cable"), "fp32");
  const double weight = 1.0 / (8 * 16);

  ClearGradients(whole);
  AddGradients(whole, tokens.narrow(1, 0, 16), tokens.narrow(1, 1, 16), weight);
  ClearGradients(parts);
  for (std::int64_t row = 0; row < 8; row += 2) {
    const at::Tensor part = tokens.narrow(0, row, 2);
    AddGradients(parts, part.narrow(1, 0, 16), part.narrow(1, 1, 16), weight);
  }

  for (const auto& [name, parameter] : whole.parameters()) {
    const at::Tensor a = GradientOf(parameter), b = GradientOf(parts.parameters().at(name));
    const double size = a.abs().max().item<double>();
    EXPECT_LE((a - b).abs().max().item<double>(), 1e-6 * size + 1e-9) << name;
  }
}

// Of (B, T) tokens: sequence b hides every (b + 2)-th,
// so that sequences hide unequal numbers of them.
std::vector<MaskedSequence> Hidden(const at::Tensor& tokens_BT) {
  std::vector<MaskedSequence> sequences;
  const auto tokens = tokens_BT.accessor<std::int64_t, 2>();
  for (std::int64_t b = 0; b < tokens_BT.size(0); ++b) {
    MaskedSequence& sequence = sequences.emplace_back();
    for (std::int64_t t = 0; t < tokens_BT.size(1); ++t) {
      const auto token = static_cast<std::int32_t>(tokens[b][t]);
      const bool hides = t % (b + 2) == 1;
      sequence.tokens.push_back(hides ? 12 : token);
      if (!hides) continue;
      sequence.positions.push_back(t);
      sequence.targets.push_back(token);
    }
  }
  return sequences;
}

TEST(MaskedGradientTest, AgreesWithCentralDifferences) {
  Transformer net = SmallNet(SmallEncoder({{"method", "alibi"}, {"variant", "symmetric"}}), "fp64");
  const std::vector<MaskedSequence> sequences = Hidden(SmallTokens(2, 7));
  const MaskedBatch batch = ToBatch(sequences);
  const auto n = static_cast<double>(batch.targets_N.numel());
  const auto mean = [&] {
    const at::NoGradGuard no_grad;
    const at::Tensor hidden = net.Hidden(batch.ids_BT).flatten(0, 1).index_select(0, batch.rows_N);
    return HeadNll(hidden, net.head(), batch.targets_N, net.compute()).mean().item<double>();
  };
  ClearGradients(net);
  const at::Tensor nll = AddMaskedGradients(net, batch, 1.0 / n);
  EXPECT_NEAR(nll.mean().item<double>(), mean(), 1e-12);
  constexpr double kStep = 1e-5;
  for (const auto& [name, parameter] : net.parameters()) {
    const at::Tensor gradient = GradientOf(parameter).flatten();
    double* value = parameter.data_ptr<double>();
    for (const std::int64_t i : {std::int64_t{0}, parameter.numel() / 2, parameter.numel() - 1}) {
      const double kept = value[i];
      value[i] = kept + kStep;
      const double above = mean();
      value[i] = kept - kStep;
      const double below = mean();
      value[i] = kept;
      EXPECT_NEAR(gradient[i].item<double>(), (above - below) / (2 * kStep), 1e-8) << name << i;
    }
  }
}

// The parts hide unequal numbers of tokens, and one hides none.
TEST(MaskedGradientTest, PassesOverPartsOfABatchAddUpToTheWhole) {
  std::vector<MaskedSequence> sequences = Hidden(SmallTokens(6, 17));
  sequences[3] = {.tokens = sequences[3].tokens, .positions = {}, .targets = {}};
  Transformer whole = SmallNet(SmallEncoder("rope"), "fp32");
  Transformer parts = SmallNet(SmallEncoder("rope"), "fp32");
  const MaskedBatch all = ToBatch(sequences);
  const double weight = 1.0 / static_cast<double>(all.targets_N.numel());
  ClearGradients(whole);
  AddMaskedGradients(whole, all, weight);
  ClearGradients(parts);
  for (const MaskedSequence& sequence : sequences) {
    AddMaskedGradients(parts, ToBatch({&sequence, 1}), weight);
  }
  for (const auto& [name, parameter] : whole.parameters()) {
    const at::Tensor a = GradientOf(parameter), b = GradientOf(parts.parameters().at(name));
    const double size = a.abs().max().item<double>();
    EXPECT_LE((a - b).abs().max().item<double>(), 1e-6 * size + 1e-9) << name;
  }
}

TEST(GradientSumTest, ClearingForgetsEarlierPasses) {
  const at::Tensor tokens = SmallTokens(2, 9);
  Transformer net = SmallNet(SmallConfig("alibi"), "fp64");
  ClearGradients(net);
  AddGradients(net, tokens.narrow(1, 0, 8), tokens.narrow(1, 1, 8), 1.0);
  const at::Tensor once = GradientOf(net.head().weight_VC).clone();
  ClearGradients(net);
  AddGradients(net, tokens.narrow(1, 0, 8), tokens.narrow(1, 1, 8), 1.0);
  EXPECT_TRUE(once.equal(GradientOf(net.head().weight_VC)));
}

TEST(HeadTest, TheLossOfChunksIsTheLossOfTheWhole) {
  // 2^23 / 100000 rows a chunk: 83 of them, so 200 rows take three chunks.
  const Compute compute = OpenCompute("cpu", "fp64").value();
  const at::Tensor hidden = (at::arange(200 * 4, at::kDouble) * 0.37).sin().view({200, 4});
  const at::Tensor head = (at::arange(100000 * 4, at::kDouble) * 0.53).sin().view({100000, 4});
  const at::Tensor targets = at::arange(200, at::kLong) * 499;
  const at::Tensor z = HeadLogits(hidden, {head}, compute);
  const at::Tensor expected = z.logsumexp({1}) - z.gather(1, targets.unsqueeze(1)).squeeze(1);

  const at::Tensor nll = HeadNll(hidden, {head}, targets, compute);

  EXPECT_LT((nll - expected).abs().max().item<double>(), 1e-12);
}

}  // namespace
}  // namespace longrun
