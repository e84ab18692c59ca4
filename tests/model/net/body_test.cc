// Decoder bodies beside GPT-2's. That they compute what transformers' models do is in
// transformer_test.cc (the golden cases); here is what else each must do.
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/max.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "base/files.h"
#include "model/extension/extension.h"
#include "model/net/checkpoint.h"
#include "model/net/decoder.h"
#include "model/net/gradient.h"
#include "model/net/model_folder.h"
#include "model/tokens_per_read.h"
#include "tests/model/net/golden.h"
#include "tests/model/net/small_model.h"

namespace longrun {
namespace {

double MaxDifference(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

at::Tensor Logits(Transformer& net, const at::Tensor& ids_BT) {
  const at::NoGradGuard no_grad;
  return HeadLogits(net.Hidden(ids_BT).flatten(0, 1), net.head(), net.compute())
      .view({ids_BT.size(0), ids_BT.size(1), -1});
}

TEST(MakeNetTest, EveryArchitectureHasANet) {
  for (const Architecture* architecture : Architectures()) {
    EXPECT_TRUE(HasNet(architecture->name)) << architecture->name;
  }
  EXPECT_FALSE(HasNet("gpt5"));
}

NetConfig Config(const std::string& architecture, const Json& position) {
  NetConfig config = SmallConfig(position);
  config.model.n_head = 6;
  config.model.d_model = 24;
  return WithBody(config, architecture);
}

class BodyTest : public testing::TestWithParam<std::string> {};

// fp64: only the order of sums differs. Each kind of position term in each body.
TEST_P(BodyTest, CachedLogitsAreThoseOfTheWholeSequenceReadAnew) {
  for (const char* method : {"rope", "alibi", "cable"}) {
    Transformer net = SmallNet(Config(GetParam(), method), "fp64");
    const at::Tensor ids_BT = SmallTokens(3, 17);
    const at::Tensor anew_BTV = Logits(net, ids_BT);
    for (const std::int64_t n_prompt : {1, 7}) {
      Decoder decoder = Decoder::Make(net, 3, 17).value();
      at::Tensor logits_BV = decoder.Feed(ids_BT.narrow(1, 0, n_prompt));
      for (std::int64_t t = n_prompt; t <= 17; ++t) {
        EXPECT_LT(MaxDifference(logits_BV, anew_BTV.select(1, t - 1)), 1e-12)
            << method << ", token " << t;
        if (t < 17) logits_BV = decoder.Feed(ids_BT.narrow(1, t, 1));
      }
    }
  }
}

// Two texts side by side are read at once, one of more than TokensPerRead tokens in parts. fp32, in
// which products of other numbers of rows may round otherwise.
TEST_P(BodyTest, ALongTextInPartsHasTheNumbersOfTheTextAtOnce) {
  const at::NoGradGuard no_grad;
  for (const char* method : {"rope", "cable"}) {
    NetConfig config = SmallConfig(method);
    config.model.d_model = 16;  // the fused attention has heads of 8, 16, ... channels
    Transformer net = SmallNet(WithBody(config, GetParam()), "fp32", 7, AttentionBackend::kFused);
    const at::Tensor ids_1T = SmallTokens(1, TokensPerRead(DeviceKind::kCpu) + 77);
    const at::Tensor at_once = net.Hidden(at::cat({ids_1T, ids_1T}, 0)).narrow(0, 0, 1);
    const double size = at_once.abs().max().item<double>();
    EXPECT_LT(MaxDifference(net.Hidden(ids_1T), at_once), 1e-5 * size) << method;
  }
}

TEST_P(BodyTest, ACheckpointIsReadBackAsTheSameModel) {
  TempFolder folder;
  const NetConfig config = Config(GetParam(), "cable");
  Transformer net = SmallNet(config, "fp32");
  const std::string path = JoinPath(folder.path(), "checkpoint");
  ASSERT_TRUE(WriteCheckpoint(path, {.config = config,
                                     .parameters = net.parameters(),
                                     .optimizer = {},
                                     .state = Json::object()})
                  .ok());
  const auto loaded = LoadModelFolder(path);
  ASSERT_TRUE(loaded.ok()) << loaded.status().message();
  EXPECT_EQ(ModelConfigJson(loaded->config), ModelConfigJson(config));
  Transformer again = Transformer::Make(loaded->config, loaded->parameters,
                                        AttentionBackend::kReference, net.compute())
                          .value();
  EXPECT_EQ(MaxDifference(Logits(again, SmallTokens(2, 9)), Logits(net, SmallTokens(2, 9))), 0.0);
}

// transformers' _init_weights: N(0, initializer_range^2), biases 0, norms 1; GPT-2 alone starts its
// residual projections lower.
TEST_P(BodyTest, InitialisationIsThatOfTransformers) {
  NetConfig config = Config(GetParam(), "rope");
  config.model.init_std = 0.02;
  const bool gpt2 = config.model.architecture == "gpt2";
  const std::vector<ParameterSpec> specs = ParametersOf(config.model).value();
  std::int64_t n_elements = 0;
  for (const ParameterSpec& spec : specs) {
    std::int64_t n = 1;
    for (const std::int64_t d : spec.shape) n *= d;
    n_elements += n;
    const bool residual = spec.name.ends_with("c_proj.weight");
    const double matrix = gpt2 && residual ? 0.02 / 2.0 : 0.02;  // 1 / sqrt(2 * 2 layers)
    EXPECT_NEAR(spec.init_std, spec.shape.size() == 2 ? matrix : 0.0, 1e-15) << spec.name;
    const bool norm = spec.shape.size() == 1 && spec.name.ends_with("weight");
    EXPECT_EQ(spec.init_mean, norm ? 1.0 : 0.0) << spec.name;
  }
  EXPECT_EQ(n_elements, config.model.ParameterCount());
}

TEST_P(BodyTest, EveryParameterHasAGradient) {
  Transformer net = SmallNet(Config(GetParam(), "rope"), "fp64");
  const at::Tensor tokens = SmallTokens(2, 10);
  ClearGradients(net);
  AddGradients(net, tokens.narrow(1, 0, 9), tokens.narrow(1, 1, 9), 1.0);
  for (const auto& [name, parameter] : net.parameters()) {
    const double largest = GradientOf(parameter).abs().max().item<double>();
    // A bias of all keys alike moves no softmax: only rounding is left, but for rotary positions.
    EXPECT_GT(largest, 1e-9) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Architectures, BodyTest, testing::ValuesIn(ArchitectureNames()),
                         [](const auto& given) { return given.param; });

// ---- longer texts than the model's -------------------------------------------------------------

NetConfig Extended(const Json& extension) {
  NetConfig config = Config("llama", "rope");
  config.extension = ResolveExtension(extension).value();
  return config;
}

// Of a text within original_length those by length turn nothing anew; beyond it they have no cache.
TEST(ExtendedBodyTest, CachedLogitsAreThoseOfTheWholeSequenceReadAnew) {
  const at::Tensor ids_BT = SmallTokens(2, 17);
  for (const char* method : {"pi", "ntk", "yarn", "llama3", "dynamic_ntk"}) {
    const bool by_length = method == std::string("dynamic_ntk");
    Transformer net = SmallNet(
        Extended({{"method", method}, {"factor", 4}, {"original_length", by_length ? 17 : 8}}),
        "fp64");
    if (by_length) {
      const at::NoGradGuard no_grad;
      net.Hidden(SmallTokens(1, 40));  // leaves no other rotation behind
    }
    Decoder decoder = Decoder::Make(net, 2, 17).value();
    at::Tensor logits_BV = decoder.Feed(ids_BT.narrow(1, 0, 5));
    for (std::int64_t t = 5; t < 17; ++t) {
      logits_BV = decoder.Feed(ids_BT.narrow(1, t, 1));
      EXPECT_LT(MaxDifference(logits_BV, Logits(net, ids_BT.narrow(1, 0, t + 1)).select(1, t)),
                1e-12)
          << method << ", token " << t;
    }
    EXPECT_EQ(Decoder::Make(net, 2, 18).status().code(),
              by_length ? Code::kUnimplemented : Code::kOk);
  }
}

TEST(ExtendedBodyTest, AnExtensionNeedsRotaryPositions) {
  NetConfig config = Config("llama", "alibi");
  config.extension = ResolveExtension({{"method", "pi"}, {"factor", 4}}).value();
  const std::vector<ParameterSpec> specs = ParametersOf(config.model).value();
  const auto made =
      Transformer::Make(config, InitialParameters(specs, 1), AttentionBackend::kReference,
                        OpenCompute("cpu", "fp32").value());
  EXPECT_EQ(made.status().message(),
            "extend.method: the model's position method is \"alibi\"; an extension needs \"rope\"");
}

TEST(ExtendedBodyTest, AScalingIsReadBackAsItWasWritten) {
  for (const char* name : {"llama_linear", "llama_dynamic", "llama_yarn", "llama_llama3",
                           "llama_longrope", "gpt_neox_yarn"}) {
    const NetConfig config = GoldenConfig(std::string("bodies/") + name);
    const auto again = ParseModelConfig(ModelConfigJson(config));
    ASSERT_TRUE(again.ok()) << again.status().message();
    EXPECT_FALSE(again->extension.is_null());
    EXPECT_EQ(again->extension, config.extension) << name;
  }
}

TEST(ExtendedBodyTest, WhatAScalingAsksForIsHonouredOrRefusedByName) {
  const auto message = [](const Json& scaling) {
    return ParseModelConfig({{"model_type", "llama"}, {"rope_scaling", scaling}})
        .status()
        .message();
  };
  const auto has = [](const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
  };
  EXPECT_EQ(message({{"rope_type", "default"}}), "");
  EXPECT_EQ(message({{"type", "linear"}, {"factor", 2}}), "");
  EXPECT_TRUE(has(message({{"type", "su"}, {"factor", 2}}), "rope_scaling.rope_type \"su\""));
  EXPECT_TRUE(has(message({{"type", "linear"}}), "rope_scaling.factor: must be given"));
  EXPECT_TRUE(has(message({{"type", "linear"}, {"factor", 2}, {"offset", 1}}),
                  "rope_scaling.offset is not supported"));
  EXPECT_TRUE(has(message({{"rope_type", "linear"}, {"factor", 2}, {"mscale", 1.0}}),
                  "rope_scaling.mscale is not supported"));
  EXPECT_EQ(message({{"rope_type", "yarn"}, {"factor", 2}, {"finetuned", true}}), "");
  EXPECT_TRUE(has(message({{"rope_type", "llama3"}, {"factor", 2}}),
                  "original_max_position_embeddings is missing"));
  EXPECT_TRUE(has(
      message({{"rope_type", "dynamic"}, {"factor", 2}, {"original_max_position_embeddings", 77}}),
      "original_max_position_embeddings 77 is not supported"));
  EXPECT_TRUE(has(message({{"rope_type", "linear"}, {"type", "yarn"}, {"factor", 2}}),
                  "contradicts rope_type"));
  EXPECT_TRUE(has(message(3), "rope_scaling: expected a map"));
}

// transformers' get_mscale(8, 0.707) / get_mscale(8, 1), as DeepSeek's yarn;
// only where both are given.
TEST(ExtendedBodyTest, TheTwoMscalesOfYarnMakeItsAttentionFactor) {
  const auto factor = [](Json scaling) {
    scaling.update({{"rope_type", "yarn"}, {"factor", 8}});
    const Json config = {{"model_type", "llama"}, {"rope_scaling", scaling}};
    return ParseModelConfig(config)->extension.at("attention_factor").get<double>();
  };
  EXPECT_NEAR(factor({{"mscale", 0.707}, {"mscale_all_dim", 1.0}}),
              (0.0707 * std::log(8.0) + 1) / (0.1 * std::log(8.0) + 1), 1e-15);
  EXPECT_NEAR(factor({{"mscale", 0.707}}), 0.1 * std::log(8.0) + 1, 1e-15);
  EXPECT_NEAR(factor({{"mscale", 0.707}, {"mscale_all_dim", 0}}), 0.1 * std::log(8.0) + 1, 1e-15);
  EXPECT_EQ(factor({{"mscale", 2}, {"mscale_all_dim", 1}, {"attention_factor", 1.5}}), 1.5);
}

// Phi-3's place for the length that a model was trained at.
TEST(ExtendedBodyTest, TheOriginalLengthMayStandBesideLongrope) {
  const auto read = [](const Json& changes) {
    Json config = {{"model_type", "llama"}, {"head_dim", 4}, {"max_position_embeddings", 64}};
    config["original_max_position_embeddings"] = 16;
    config["rope_scaling"] = {
        {"type", "longrope"}, {"short_factor", {1, 1}}, {"long_factor", {2, 2}}};
    config["rope_scaling"].update(changes);
    return ParseModelConfig(config);
  };
  const Json extension = read(Json::object())->extension;
  EXPECT_EQ(extension.at("original_length"), 16);
  EXPECT_EQ(extension.at("factor"), 4);
  EXPECT_NEAR(extension.at("attention_factor").get<double>(),
              std::sqrt(1 + std::log(4.0) / std::log(16.0)), 1e-15);
  EXPECT_TRUE(read({{"factor", 4}}).ok());
  const auto has = [](const auto& result, const char* part) {
    return result.status().message().find(part) != std::string::npos;
  };
  EXPECT_TRUE(has(read({{"factor", 8}}), "rope_scaling.factor 8 contradicts"));
  EXPECT_TRUE(read({{"factor", 8}, {"attention_factor", 1.5}}).ok());
  EXPECT_TRUE(has(read({{"original_max_position_embeddings", 8}}), "versions of transformers"));
  // In it alone: transformers 4 passes over it in rope_scaling, and does not know rope_parameters.
  const Json scaling = {{"rope_type", "longrope"},
                        {"short_factor", {1, 1}},
                        {"long_factor", {2, 2}},
                        {"original_max_position_embeddings", 16}};
  Json config = {{"model_type", "llama"}, {"head_dim", 4}, {"max_position_embeddings", 64}};
  config["rope_parameters"] = scaling;
  EXPECT_EQ(ParseModelConfig(config)->extension.at("original_length"), 16);
  config.erase("rope_parameters");
  config["rope_scaling"] = scaling;
  EXPECT_TRUE(has(ParseModelConfig(config), "give both the same value"));
  config["original_max_position_embeddings"] = 16;
  EXPECT_EQ(ParseModelConfig(config)->extension.at("original_length"), 16);
}

// ---- weights in several files ------------------------------------------------------------------

constexpr const char* kIndex = "model.safetensors.index.json";

class ShardsTest : public testing::Test {
 protected:
  ShardsTest() {
    for (const char* name : {"config.json", kIndex, "model-00001-of-00002.safetensors",
                             "model-00002-of-00002.safetensors"}) {
      const std::string bytes = ReadFile(JoinPath(GoldenFolder("bodies/sharded"), name)).value();
      EXPECT_TRUE(WriteFileAtomic(JoinPath(folder_.path(), name), bytes).ok());
    }
  }
  Json Index() const {
    return ParseJson(ReadFile(JoinPath(folder_.path(), kIndex)).value()).value();
  }
  void WriteIndex(const Json& index) const {
    ASSERT_TRUE(WriteFileAtomic(JoinPath(folder_.path(), kIndex), index.dump()).ok());
  }
  std::string Error() const { return LoadModelFolder(folder_.path()).status().message(); }
  void ExpectError(const std::string& part) const {
    EXPECT_NE(Error().find(part), std::string::npos) << Error();
  }

  TempFolder folder_;
};

TEST_F(ShardsTest, TheyAreReadAsOneModel) {
  const auto folder = LoadModelFolder(folder_.path());
  ASSERT_TRUE(folder.ok()) << folder.status().message();
  Transformer net =
      Transformer::Make(folder->config, folder->parameters, AttentionBackend::kReference,
                        OpenCompute("cpu", "fp64").value())
          .value();
  EXPECT_LT(MaxDifference(Logits(net, GoldenTensor("bodies/sharded", "tokens")),
                          GoldenTensor("bodies/sharded", "logits")),
            1e-8);
}

TEST_F(ShardsTest, WhatDoesNotFitTogetherIsNamed) {
  const Json whole = Index();
  Json index = whole;
  index["weight_map"]["model.norm.weight"] = "../elsewhere.safetensors";
  WriteIndex(index);
  ExpectError("weight_map: tensor \"model.norm.weight\": expected the name of a file");
  index["weight_map"]["model.norm.weight"] = "model-00003-of-00003.safetensors";
  WriteIndex(index);
  ExpectError("model-00003-of-00003.safetensors is missing");
  index = whole;
  index["weight_map"]["model.extra.weight"] = "model-00001-of-00002.safetensors";
  WriteIndex(index);
  ExpectError("tensor \"model.extra.weight\" is not in it");
  index = whole;
  index["weight_map"].erase("model.norm.weight");
  WriteIndex(index);
  ExpectError("tensor \"model.norm.weight\" is in the files, but not in weight_map");
  WriteIndex({{"metadata", Json::object()}});
  ExpectError("expected a map \"weight_map\"");
  WriteIndex(whole);
  EXPECT_EQ(Error(), "");
}

}  // namespace
}  // namespace longrun
