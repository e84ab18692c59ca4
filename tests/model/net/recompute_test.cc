// Activation checkpointing changes memory alone: bits of losses,
// gradients and weights are compared.
#include "model/net/recompute.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/equal.h>
#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "model/architecture/architecture.h"
#include "model/net/adamw.h"
#include "model/net/gradient.h"
#include "model/net/memory_meter.h"
#include "tests/model/net/small_model.h"

namespace longrun {
namespace {

// More than attention's block of 128 queries, so that a block's parts of a gradient are several.
constexpr std::int64_t kLength = 150;

// With a bound, attention is fused, and skips keys.
struct How {
  std::string precision = "fp32";
  bool checkpointing = false;
  double skip_epsilon = 0.0;
};

// Two steps of two passes each: the losses and the weights after them.
struct Trained {
  std::vector<at::Tensor> nll;
  ParameterMap parameters;
};

Trained Train(const NetConfig& config, const How& how, std::int64_t length = kLength) {
  Transformer net =
      SmallNet(config, how.precision, 7,
               how.skip_epsilon > 0.0 ? AttentionBackend::kFused : AttentionBackend::kReference);
  net.SetActivationCheckpointing(how.checkpointing);
  net.SetSkipEpsilon(how.skip_epsilon);
  AdamW optimizer(OptimizerConfig(), net.parameters());
  Trained trained;
  for (int step = 0; step < 2; ++step) {
    ClearGradients(net);
    for (int pass = 0; pass < 2; ++pass) {
      const at::Tensor ids_BT = (SmallTokens(2, length + 1) + step * 5 + pass).remainder(13);
      trained.nll.push_back(AddGradients(net, ids_BT.narrow(1, 0, length),
                                         ids_BT.narrow(1, 1, length),
                                         1.0 / static_cast<double>(4 * length)));
    }
    optimizer.ClipGradients();
    optimizer.Step(1e-2);
  }
  trained.parameters = net.parameters();
  return trained;
}

void ExpectTheSameBits(const Trained& kept, const Trained& recomputed) {
  for (std::size_t i = 0; i < kept.nll.size(); ++i) {
    EXPECT_TRUE(at::equal(kept.nll[i], recomputed.nll[i])) << "pass " << i;
  }
  for (const auto& [name, parameter] : kept.parameters) {
    EXPECT_TRUE(at::equal(parameter, recomputed.parameters.at(name))) << name;
  }
}

void ExpectTheSameBits(const NetConfig& config, const std::string& precision) {
  ExpectTheSameBits(Train(config, {.precision = precision}),
                    Train(config, {.precision = precision, .checkpointing = true}));
}

// Every registered method, and those whose layers can share what they learn in that form as well.
std::vector<Json> Positions() {
  std::vector<Json> positions;
  for (const PositionMethod* method : PositionMethods()) {
    positions.push_back({{"method", method->name}});
    for (const PositionParam& param : method->params) {
      if (param.name != "share_layers") continue;
      const bool other = !param.default_value.get<bool>();
      positions.push_back({{"method", method->name}, {"share_layers", other}});
    }
  }
  return positions;
}

class RecomputeTest : public testing::TestWithParam<Json> {};

TEST_P(RecomputeTest, LossesAndWeightsHaveTheSameBitsForEachMethod) {
  const bool has_table = GetParam().at("method") == "learned";
  for (const char* precision : {"fp32", "bf16"}) {
    SCOPED_TRACE(precision);
    ExpectTheSameBits(SmallConfig(GetParam(), has_table ? kLength : 0), precision);
  }
}

INSTANTIATE_TEST_SUITE_P(Positions, RecomputeTest, testing::ValuesIn(Positions()),
                         [](const auto& given) {
                           const Json share = given.param.value("share_layers", Json());
                           return given.param.at("method").template get<std::string>() +
                                  (share.is_null()     ? ""
                                   : share.get<bool>() ? "_shared"
                                                       : "_apart");
                         });

TEST(RecomputeBodyTest, LossesAndWeightsHaveTheSameBitsInEachBody) {
  for (const std::string& architecture : ArchitectureNames()) {
    SCOPED_TRACE(architecture);
    ExpectTheSameBits(WithBody(SmallConfig("cable"), architecture), "fp32");
  }
}

// The scores are small, so that the bound is tight. ALiBi falls by 1/16 for each token: so slowly
// that another bound gives other bits.
TEST(RecomputeSkippingTest, TheSameKeysAreSkippedAgain) {
  constexpr std::int64_t kLong = 600;
  for (const char* method : {"alibi", "cable", "fox"}) {
    SCOPED_TRACE(method);
    NetConfig config = SmallConfig(method);
    config.model.d_model = 16;  // two heads of 8
    config.model.init_std = 0.05;
    const Trained kept = Train(config, {.skip_epsilon = 1e-3}, kLong);
    ExpectTheSameBits(kept, Train(config, {.checkpointing = true, .skip_epsilon = 1e-3}, kLong));
    if (std::string(method) != "alibi") continue;
    EXPECT_FALSE(at::equal(kept.nll[0], Train(config, {.skip_epsilon = 1e-12}, kLong).nll[0]));
  }
}

// Six layers keep the activations of one and six inputs: less than half.
TEST(RecomputeMemoryTest, TheMostMemoryIsLess) {
  NetConfig config = SmallConfig("rope");
  config.model.n_layer = 6;
  config.model.d_model = 32;
  config.model.d_ff = 128;
  MemoryMeter meter{c10::Device(c10::DeviceType::CPU)};
  const auto peak = [&](bool checkpointing) {
    Transformer net = SmallNet(config, "fp32");
    net.SetActivationCheckpointing(checkpointing);
    const at::Tensor ids_BT = SmallTokens(8, 129);
    ClearGradients(net);
    const std::int64_t before = meter.AllocatedBytes();
    meter.ResetPeak();
    AddGradients(net, ids_BT.narrow(1, 0, 128), ids_BT.narrow(1, 1, 128), 1.0);
    return meter.PeakAllocatedBytes() - before;
  };
  const std::int64_t kept = peak(false), recomputed = peak(true);
  EXPECT_LT(2 * recomputed, kept);
  EXPECT_GT(recomputed, 6 * 8 * 128 * 32 * 4);  // the inputs of six blocks
}

// Weights that change between the two computations of a block would give another
// gradient in silence.
TEST(RecomputeRefusalTest, WeightsThatChangeBeforeTheBackwardPassAreFound) {
  Transformer net = SmallNet(SmallConfig("rope"), "fp32");
  net.SetActivationCheckpointing(true);
  ClearGradients(net);
  const at::Tensor hidden_BTC = net.Hidden(SmallTokens(1, 8));
  for (const auto& [name, parameter] : net.parameters()) {
    const at::NoGradGuard no_grad;
    at::Tensor(parameter).mul_(2.0);
  }
  EXPECT_THROW(hidden_BTC.sum().backward(), c10::Error);
}

}  // namespace
}  // namespace longrun
