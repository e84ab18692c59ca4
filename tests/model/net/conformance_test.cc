// What every registered position method must do in every registered architecture's body: a new one
// of either is tested by being listed.
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/all.h>
#include <ATen/ops/argmax.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/max.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <optional>

#include "base/files.h"
#include "base/str.h"
#include "model/architecture/architecture.h"
#include "model/net/checkpoint.h"
#include "model/net/decoder.h"
#include "model/net/generate.h"
#include "model/net/gradient.h"
#include "model/net/head.h"
#include "tests/model/net/small_model.h"

namespace longrun {
namespace {

constexpr std::int64_t kTrainLength = 12;

double MaxDifference(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

at::Tensor Logits(Transformer& net, const at::Tensor& ids_BT) {
  const at::NoGradGuard no_grad;
  return HeadLogits(net.Hidden(ids_BT).flatten(0, 1), net.head(), net.compute())
      .view({ids_BT.size(0), ids_BT.size(1), -1});
}

struct Pair {
  std::string architecture, method;
};

void PrintTo(const Pair& given, std::ostream* out) {
  *out << given.architecture << " with " << given.method;
}

std::vector<Pair> AllPairs() {
  std::vector<Pair> pairs;
  for (const std::string& architecture : ArchitectureNames()) {
    for (const std::string& method : PositionMethodNames()) pairs.push_back({architecture, method});
  }
  return pairs;
}

class ConformanceTest : public testing::TestWithParam<Pair> {
 protected:
  const PositionMethod& Method() const { return *FindPositionMethod(GetParam().method).value(); }
  // `longest`: rows of a position table, for a method with one.
  NetConfig Config(std::int64_t longest = kTrainLength) const {
    return WithBody(SmallConfig(GetParam().method, Method().has_position_table ? longest : 0),
                    GetParam().architecture);
  }
  // Without the causal mask; a window needs it.
  NetConfig Unmasked() const {
    NetConfig config = Config();
    config.model.causal = false;
    config.model.body.window = 0;
    return config;
  }
  // The encoder's form: of the first choice of `variant` that serves one, else as it stands;
  // nothing where the method refuses every one.
  std::optional<NetConfig> Encoder() const {
    NetConfig config = Unmasked();
    if (TermsOf(config.model).ok()) return config;
    for (const ParamSpec& spec : Method().params) {
      if (spec.name != "variant") continue;
      for (const std::string& variant : spec.choices) {
        config.model.position =
            ResolvePosition({{"method", GetParam().method}, {"variant", variant}}).value();
        if (TermsOf(config.model).ok()) return config;
      }
    }
    return std::nullopt;
  }
  // What starts as zeros or small is made large enough to matter; upwards, away from the bounds
  // below that some have.
  static Transformer Stirred(const NetConfig& config, const std::string& precision) {
    const std::vector<ParameterSpec> specs = ParametersOf(config.model).value();
    ParameterMap parameters = InitialParameters(specs, 7);
    for (auto& [name, tensor] : parameters) {
      if (name.find("position") == std::string::npos) continue;
      const std::vector<double> normals = PhiloxNormals(8, name, tensor.numel());
      float* value = tensor.data_ptr<float>();
      for (std::size_t i = 0; i < normals.size(); ++i) {
        value[i] += 0.2F * static_cast<float>(std::abs(normals[i]));
      }
    }
    return Transformer::Make(config, std::move(parameters), AttentionBackend::kReference,
                             OpenCompute("cpu", precision).value())
        .value();
  }
};

TEST_P(ConformanceTest, ParametersHaveTheDeclaredNamesShapesAndCount) {
  const NetConfig config = Config();
  const TermSpec terms = TermsOf(config.model).value();
  Transformer net = SmallNet(config, "fp32");
  for (const LearnedTensor& learned : terms.learned) {
    for (std::int64_t l = 0; l < config.model.n_layer; ++l) {
      const std::string prefix = terms.share_layers ? "transformer.position."
                                                    : Str("transformer.h.", l, ".attn.position.");
      const auto found = net.parameters().find(prefix + learned.name);
      ASSERT_NE(found, net.parameters().end()) << prefix << learned.name;
      EXPECT_EQ(found->second.sizes(), at::IntArrayRef(learned.shape));
    }
  }
  std::int64_t n = 0;
  for (const auto& [name, tensor] : net.parameters()) n += tensor.numel();
  EXPECT_EQ(n, config.model.ParameterCount());
}

TEST_P(ConformanceTest, ALaterTokenChangesNothingBeforeIt) {
  Transformer net = Stirred(Config(), "fp64");
  const at::Tensor ids = SmallTokens(2, kTrainLength);
  const at::Tensor before = Logits(net, ids);
  for (const std::int64_t t : {std::int64_t{1}, kTrainLength - 1}) {
    at::Tensor changed = ids.clone();
    changed.select(1, t).add_(1).remainder_(13);
    const at::Tensor after = Logits(net, changed);
    EXPECT_TRUE(at::equal(after.narrow(1, 0, t), before.narrow(1, 0, t)));
    EXPECT_GT(MaxDifference(after.select(1, t), before.select(1, t)), 1e-6);
  }
}

// Of all that a method learns, given the loss that leaves its gradients in the network.
void ExpectCentralDifferences(Transformer& net, const std::function<double()>& loss) {
  loss();
  std::map<std::string, at::Tensor> gradients;
  for (const auto& [name, tensor] : net.parameters()) {
    if (name.find("position.") != std::string::npos) gradients[name] = GradientOf(tensor).clone();
  }
  for (const auto& [name, gradient] : gradients) {
    double* value = net.parameters().at(name).data_ptr<double>();
    const std::int64_t stride = std::max<std::int64_t>(1, gradient.numel() / 9);
    for (std::int64_t i = 0; i < gradient.numel(); i += stride) {
      constexpr double kStep = 1e-5;
      const double kept = value[i];
      value[i] = kept + kStep;
      const double above = loss();
      value[i] = kept - kStep;
      const double below = loss();
      value[i] = kept;
      EXPECT_NEAR(gradient.reshape({-1}).select(0, i).item<double>(), (above - below) / (2 * kStep),
                  1e-6)
          << name << " element " << i;
    }
  }
}

TEST_P(ConformanceTest, GradientsOfWhatItLearnsMatchCentralDifferences) {
  Transformer net = Stirred(Config(), "fp64");
  const at::Tensor ids = SmallTokens(1, kTrainLength);
  const at::Tensor inputs = ids.narrow(1, 0, kTrainLength - 1);
  const at::Tensor targets = ids.narrow(1, 1, kTrainLength - 1);
  ExpectCentralDifferences(net, [&] {
    ClearGradients(net);
    return AddGradients(net, inputs, targets, 1.0).sum().item<double>();
  });
}

// Cope, xpos and fox have no meaning for keys ahead of a query, and say so;
// the others serve an encoder.
TEST_P(ConformanceTest, AnEncoderIsServedOrRefusedByName) {
  const std::string& method = GetParam().method;
  const bool is_causal_alone = method == "cope" || method == "xpos" || method == "fox";
  EXPECT_EQ(Encoder().has_value(), !is_causal_alone);
  const Status status = Unmasked().model.Check();
  if (status.ok()) return;
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_NE(status.message().find('"' + GetParam().method + '"'), std::string::npos)
      << status.message();
  EXPECT_NE(status.message().find("needs model.causal: true"), std::string::npos)
      << status.message();
}

TEST_P(ConformanceTest, AnEncodersTokensSeeBothSides) {
  const std::optional<NetConfig> config = Encoder();
  if (!config) return;
  Transformer net = Stirred(*config, "fp64");
  const at::Tensor ids = SmallTokens(2, kTrainLength);
  const at::Tensor before = Logits(net, ids);
  EXPECT_EQ(before.sizes(), at::IntArrayRef({2, kTrainLength, 13}));
  at::Tensor changed = ids.clone();
  changed.select(1, kTrainLength - 1).add_(1).remainder_(13);
  EXPECT_GT(MaxDifference(Logits(net, changed).select(1, 0), before.select(1, 0)), 1e-9);
  // Exchanging two other tokens is seen, but by the method that has no order (`none`).
  at::Tensor swapped = ids.clone();
  swapped.select(1, 3).copy_(ids.select(1, 7));
  swapped.select(1, 7).copy_(ids.select(1, 3));
  ASSERT_FALSE(at::equal(swapped, ids));
  const double seen = MaxDifference(Logits(net, swapped).select(1, 0), before.select(1, 0));
  if (GetParam().method == "none") {
    EXPECT_LT(seen, 1e-12);
  } else {
    EXPECT_GT(seen, 1e-9);
  }
}

TEST_P(ConformanceTest, AnEncodersGradientsMatchCentralDifferences) {
  const std::optional<NetConfig> config = Encoder();
  if (!config) return;
  Transformer net = Stirred(*config, "fp64");
  const at::Tensor ids = SmallTokens(1, kTrainLength);
  MaskedSequence sequence;
  for (std::int64_t t = 0; t < kTrainLength; ++t) {
    const auto token = static_cast<std::int32_t>(ids[0][t].item<std::int64_t>());
    sequence.tokens.push_back(t % 3 == 1 ? 12 : token);
    if (t % 3 != 1) continue;
    sequence.positions.push_back(t);
    sequence.targets.push_back(token);
  }
  const MaskedBatch batch = ToBatch({&sequence, 1});
  ExpectCentralDifferences(net, [&] {
    ClearGradients(net);
    return AddMaskedGradients(net, batch, 1.0).sum().item<double>();
  });
}

TEST_P(ConformanceTest, AnEncoderReadsLongerTextsOrRefusesThemByName) {
  const std::optional<NetConfig> config = Encoder();
  if (!config) return;
  Transformer net = Stirred(*config, "fp32");
  const std::int64_t n = 16 * kTrainLength;
  const Status status = net.CheckLength(n);
  if (!status.ok()) {
    EXPECT_EQ(status.code(), Code::kOutOfRange);
    EXPECT_NE(status.message().find('"' + GetParam().method + '"'), std::string::npos);
    EXPECT_TRUE(net.CheckLength(kTrainLength).ok());
    return;
  }
  // 192 tokens are two blocks of queries; in fp64 they are those of fp32.
  const at::Tensor ids = SmallTokens(1, n);
  const at::Tensor logits = Logits(net, ids);
  EXPECT_TRUE(at::isfinite(logits).all().item<bool>());
  Transformer exact = Stirred(*config, "fp64");
  EXPECT_LT(MaxDifference(logits, Logits(exact, ids)), 1e-4);
}

TEST_P(ConformanceTest, LongerTextsAreReadOrRefusedByName) {
  Transformer net = Stirred(Config(), "fp32");
  const std::int64_t n = 16 * kTrainLength;
  const Status status = net.CheckLength(n);
  if (!status.ok()) {
    EXPECT_EQ(status.code(), Code::kOutOfRange);
    EXPECT_NE(status.message().find('"' + GetParam().method + '"'), std::string::npos);
    EXPECT_TRUE(net.CheckLength(kTrainLength).ok());
    return;
  }
  const at::Tensor logits = Logits(net, SmallTokens(1, n));
  EXPECT_TRUE(at::isfinite(logits).all().item<bool>());
  // What was read within the train length stays as it was.
  const at::Tensor alone = Logits(net, SmallTokens(1, n).narrow(1, 0, kTrainLength));
  EXPECT_LT(MaxDifference(logits.narrow(1, 0, kTrainLength), alone), 1e-4);
}

TEST_P(ConformanceTest, CachedWritingGivesTheLogitsOfReadingAnew) {
  Transformer net = Stirred(Config(), "fp64");
  const std::int64_t n = Method().has_position_table ? kTrainLength : 3 * kTrainLength;
  const at::Tensor ids = SmallTokens(3, n);
  const at::Tensor expected = Logits(net, ids);
  for (const std::int64_t n_prompt : {std::int64_t{1}, std::int64_t{7}}) {
    Decoder decoder = Decoder::Make(net, 3, n + 5).ok() ? Decoder::Make(net, 3, n + 5).value()
                                                        : Decoder::Make(net, 3, n).value();
    EXPECT_LT(
        MaxDifference(decoder.Feed(ids.narrow(1, 0, n_prompt)), expected.select(1, n_prompt - 1)),
        1e-10);
    for (std::int64_t t = n_prompt; t < n; ++t) {
      EXPECT_LT(MaxDifference(decoder.Feed(ids.narrow(1, t, 1)), expected.select(1, t)), 1e-10)
          << "token " << t;
    }
  }
}

TEST_P(ConformanceTest, APromptReadInAnyCutsGivesTheLogitsOfReadingItAtOnce) {
  Transformer net = Stirred(Config(), "fp64");
  const std::int64_t n = Method().has_position_table ? kTrainLength : 3 * kTrainLength;
  const at::Tensor ids = SmallTokens(3, n);
  const at::Tensor expected = Logits(net, ids);
  for (const std::int64_t cut : {std::int64_t{2}, std::int64_t{5}, n - 3}) {
    Decoder decoder = Decoder::Make(net, 3, n).value();
    for (std::int64_t begin = 0; begin < n; begin += cut) {
      const std::int64_t n_fed = std::min(cut, n - begin);
      EXPECT_LT(MaxDifference(decoder.Feed(ids.narrow(1, begin, n_fed)),
                              expected.select(1, begin + n_fed - 1)),
                1e-10)
          << "cuts of " << cut << ", from token " << begin;
    }
  }
}

// fp32: logits of size 1 to 10 through sums in another order.
TEST_P(ConformanceTest, WrittenTextsHaveTheLogitsOfReadingThem) {
  constexpr std::int64_t kNew = 6;
  Transformer net = Stirred(Config(2 * kTrainLength + kNew - 1), "fp32");
  for (const std::int64_t batch : {1, 3}) {
    for (const std::int64_t n_prompt : {std::int64_t{1}, std::int64_t{7}, 2 * kTrainLength}) {
      const std::string at = Str("batch ", batch, ", prompt ", n_prompt);
      const at::Tensor prompt_BT = SmallTokens(batch, n_prompt);
      const auto written = Generate(net, prompt_BT, {.new_tokens = kNew});
      ASSERT_TRUE(written.ok()) << at << ": " << written.status().message();

      const at::Tensor text_BT = written->tokens_BT;
      ASSERT_EQ(text_BT.size(1), n_prompt + kNew) << at;
      EXPECT_TRUE(at::equal(text_BT.narrow(1, 0, n_prompt), prompt_BT)) << at;
      const at::Tensor read_BNV =
          Logits(net, text_BT.narrow(1, 0, n_prompt + kNew - 1)).narrow(1, n_prompt - 1, kNew);
      EXPECT_LE(MaxDifference(written->logits_BNV, read_BNV), 1e-5) << at;
      const at::Tensor chosen_BN1 = text_BT.narrow(1, n_prompt, kNew).unsqueeze(2);
      EXPECT_TRUE(at::equal(chosen_BN1, at::argmax(read_BNV, 2, true))) << at;
    }
  }
}

TEST_P(ConformanceTest, ASavedModelIsTheSameModel) {
  Transformer net = Stirred(Config(), "fp32");
  const TempFolder folder;
  const std::string path = JoinPath(folder.path(), "checkpoint");
  const at::Tensor before = Logits(net, SmallTokens(2, kTrainLength));
  ASSERT_TRUE(WriteCheckpoint(path, {.config = net.config(),
                                     .parameters = net.parameters(),
                                     .optimizer = {},
                                     .state = {{"step", 0}}})
                  .ok());
  LoadedCheckpoint loaded = LoadCheckpoint(path, "").value();
  EXPECT_EQ(loaded.model.config.model.position.ToJson(), net.config().model.position.ToJson());
  Transformer again =
      Transformer::Make(loaded.model.config, std::move(loaded.model.parameters),
                        AttentionBackend::kReference, OpenCompute("cpu", "fp32").value())
          .value();
  EXPECT_TRUE(at::equal(Logits(again, SmallTokens(2, kTrainLength)), before));
}

INSTANTIATE_TEST_SUITE_P(Bodies, ConformanceTest, testing::ValuesIn(AllPairs()),
                         [](const auto& given) {
                           return given.param.architecture + "_" + given.param.method;
                         });

}  // namespace
}  // namespace longrun
