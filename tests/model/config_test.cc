#include "model/config.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/str.h"
#include "model/config_errors.h"
#include "model/position/method.h"
#include "model/position_schedule/schedule.h"
#include "model/train_config_errors.h"

namespace longrun {
namespace {

ModelConfig Tiny(const Json& position = "none") {
  ModelConfig config = ModelConfig::Preset("tiny").value();
  config.vocab_size = 50304;
  config.position = ResolvePosition(position).value();
  return config;
}

TrainConfig Recipe() {
  return {.train_length = 64,
          .tokens = 600'000,
          .batch_tokens = 1024,
          .schedule = {.warmup_tokens = 60'000}};
}

// ---- model -------------------------------------------------------------------------------------

// V C + 2 C + L (12 C^2 + 13 C), and for cable L H (C + 1): 50304 rows, (L, H, C) = (6, 8, 512) and
// (24, 16, 1024).
TEST(ModelConfigTest, TinyHasTheParametersOfThePaper) {
  EXPECT_EQ(Tiny().ParameterCount(), 44'670'976);
  EXPECT_EQ(Tiny("alibi").ParameterCount(), 44'670'976);
  EXPECT_EQ(Tiny("rope").ParameterCount(), 44'670'976);
}

TEST(ModelConfigTest, MediumWithCableHasTheParametersOfThePaper) {
  ModelConfig config = ModelConfig::Preset("medium").value();
  config.vocab_size = 50304;
  config.position = ResolvePosition("cable").value();
  EXPECT_EQ(config.ParameterCount(), 354'216'320);
}

TEST(ModelConfigTest, CableAddsALinearToEachLayer) {
  EXPECT_EQ(Tiny("cable").ParameterCount() - Tiny().ParameterCount(), 6 * (8 * 512 + 8));
}

TEST(ModelConfigTest, LearnedAddsATable) {
  ModelConfig config = Tiny("learned");
  config.n_positions = 1024;
  ASSERT_TRUE(config.Check().ok());
  EXPECT_EQ(config.ParameterCount() - Tiny().ParameterCount(), 1024 * 512);
}

TEST(ModelConfigTest, AnUntiedHeadCountsTwice) {
  ModelConfig config = Tiny();
  config.tie_embeddings = false;
  EXPECT_EQ(config.ParameterCount() - Tiny().ParameterCount(), 50304 * 512);
}

TEST(ModelConfigTest, EveryPresetIsValidWithEveryCausalMethod) {
  for (const std::string& size : ModelConfig::PresetNames()) {
    for (const std::string& method : PositionMethodNames()) {
      ModelConfig config = ModelConfig::Preset(size).value();
      config.vocab_size = 256;
      config.position = ResolvePosition(method).value();
      config.n_positions = method == "learned" ? 64 : 0;
      const Status status = config.Check();
      EXPECT_TRUE(status.ok()) << size << " " << method << ": " << status.message();
      EXPECT_EQ(config.d_ff, 4 * config.d_model);
    }
  }
}

TEST(ModelConfigTest, AnUnknownPresetIsAnsweredWithTheNearest) {
  EXPECT_EQ(
      ModelConfig::Preset("smal").status().message(),
      "model.size: expected one of micro, tiny, small, medium, large, found \"smal\"; did you "
      "mean \"small\"?");
}

TEST(ModelConfigTest, JsonRestoresTheConfig) {
  ModelConfig config = Tiny({{"method", "cable"}, {"variant", "scaled"}});
  config.activation = MlpActivation::kRelu;
  const auto restored = ModelConfig::FromJson(config.ToJson(), config.position.ToJson());
  ASSERT_TRUE(restored.ok()) << restored.status().message();
  EXPECT_EQ(CanonicalJson(restored->ToJson()), CanonicalJson(config.ToJson()));
  EXPECT_EQ(CanonicalJson(restored->position.ToJson()), R"({"method":"cable","variant":"scaled"})");
}

// A run of gpt2 is as old as its run key; the others say what may differ in their bodies.
TEST(ModelConfigTest, TheBodyStandsInTheJsonOfOtherArchitecturesThanGpt2) {
  ModelConfig config = Tiny("rope");
  EXPECT_EQ(config.ToJson().size(), 11U);
  ASSERT_TRUE(config.SetArchitecture("mistral").ok());
  config.body.n_kv_head = 2;
  config.body.head_dim = 32;
  config.body.window = 77;
  ASSERT_TRUE(config.Check().ok()) << config.Check().message();
  EXPECT_EQ(config.ToJson().size(), 17U);
  EXPECT_EQ(config.d_ff, 1536);  // 8/3 * 512 = 1365.3, up to a multiple of 256
  const auto restored = ModelConfig::FromJson(config.ToJson(), config.position.ToJson());
  ASSERT_TRUE(restored.ok()) << restored.status().message();
  EXPECT_EQ(CanonicalJson(restored->ToJson()), CanonicalJson(config.ToJson()));
  EXPECT_EQ(restored->ParameterCount(), config.ParameterCount());
  Json json = config.ToJson();
  json.erase("sliding_window");
  EXPECT_NE(ModelConfig::FromJson(json, "rope").status().message().find("model.sliding_window"),
            std::string::npos);
  json = Tiny().ToJson();
  json["sliding_window"] = 0;
  EXPECT_NE(ModelConfig::FromJson(json, "rope").status().message().find("unknown key"),
            std::string::npos);
}

TEST(ModelConfigTest, JsonIsReadStrictly) {
  const auto message = [](const std::function<void(Json&)>& spoil) {
    Json json = Tiny().ToJson();
    spoil(json);
    return ModelConfig::FromJson(json, "none").status().message();
  };
  EXPECT_EQ(message([](Json& json) { json["n_layers"] = 3; }),
            "model.n_layers: unknown key; did you mean \"n_layer\"?");
  EXPECT_NE(message([](Json& json) { json.erase("n_head"); }).find("model.n_head"),
            std::string::npos);
  EXPECT_NE(message([](Json& json) { json["d_model"] = "wide"; }).find("model.d_model"),
            std::string::npos);
  EXPECT_NE(message([](Json& json) { json["causal"] = 1; }).find("model.causal"),
            std::string::npos);
  EXPECT_EQ(message([](Json& json) { json = 3; }), "model: expected a map");
  EXPECT_EQ(message([](Json& json) { json["activation"] = "gelu_neww"; }),
            "model.activation: expected one of gelu_new, gelu, relu, silu, tanh, quick_gelu, found "
            "\"gelu_neww\"; did you mean \"gelu_new\"?");
  Json imported = Tiny().ToJson();
  imported["activation"] = "quick_gelu";  // no sweep file may have it, but a model may
  EXPECT_EQ(ModelConfig::FromJson(imported, "none")->activation, MlpActivation::kQuickGelu);

  ModelConfig llama = Tiny();
  ASSERT_TRUE(llama.SetArchitecture("llama").ok());
  Json json = llama.ToJson();
  EXPECT_EQ(json.at("block"), "sequential");
  json["block"] = "serial";
  EXPECT_EQ(ModelConfig::FromJson(json, "none").status().message(),
            "model.block: expected one of sequential, parallel, parallel_shared_norm, found "
            "\"serial\"");
}

TEST(ModelConfigTest, CheckNamesWhatIsOutOfRange) {
  const auto message = [](const std::function<void(ModelConfig&)>& spoil) {
    ModelConfig config = Tiny();
    spoil(config);
    return config.Check().message();
  };
  using Config = ModelConfig;
  EXPECT_EQ(message([](Config& c) { c.n_layer = 0; }),
            "model.n_layer: expected 1 to 1000, found 0");
  EXPECT_EQ(message([](Config& c) { c.n_layer = -3; }),
            "model.n_layer: expected 1 to 1000, found -3");
  EXPECT_EQ(message([](Config& c) { c.d_model = std::numeric_limits<std::int64_t>::max(); }),
            "model.d_model: expected 1 to 131072, found 9223372036854775807");
  EXPECT_EQ(
      message([](Config& c) { c.n_head = 7; }),
      "model.d_model: 512 is not divisible by model.n_head 7; choose a multiple of 7, such as 518");
  // The nearest even multiple, 132,000, would be refused: the largest width is 131,072.
  EXPECT_EQ(message([](Config& c) {
              c.n_head = 1000;
              c.d_model = 131'072;
            }),
            "model.d_model: 131072 is not divisible by model.n_head 1000; choose a multiple of "
            "1000, such as 130000");
  EXPECT_EQ(message([](Config& c) { c.vocab_size = 0; }),
            "model.vocab_size: expected 2 to 16777216, found 0");
  EXPECT_EQ(message([](Config& c) { c.architecture = "lama"; }),
            "model.architecture: expected one of gpt2, gptj, gpt_neox, llama, mistral, qwen2, "
            "baichuan, jaketae, found "
            "\"lama\"; did you mean \"llama\"?");
  EXPECT_EQ(message([](Config& c) { c.layer_norm_epsilon = std::nan(""); }),
            "model.layer_norm_epsilon: expected 1e-12 to 1, found nan");
}

TEST(ModelConfigTest, OnlyALearnedTableHasPositions) {
  ModelConfig config = Tiny("learned");
  EXPECT_EQ(config.Check().message(), "n_positions: expected 1 to 67108864, found 0");
  config = Tiny("rope");
  config.n_positions = 64;
  EXPECT_EQ(config.Check().message(),
            "n_positions: expected 0, since method \"rope\" has no position table, found 64");
}

TEST(ModelConfigTest, CheckAsksThePositionMethod) {
  ModelConfig config = Tiny("alibi");
  config.causal = false;
  EXPECT_EQ(config.Check().message(),
            "position.variant: \"press\" of method \"alibi\" needs model.causal: true; choose "
            "\"symmetric\" for a model without a causal mask");
  config = Tiny("rope");
  config.position.params.erase("base");
  EXPECT_EQ(config.Check().message(),
            "position: method \"rope\" lacks parameters; expected "
            R"({"base":10000,"layout":"half","partial":1}, found {"layout":"half","partial":1})");
}

// ---- train -------------------------------------------------------------------------------------

TEST(TrainConfigTest, WhatHidesNothingHasNoWordOfIt) {
  TrainConfig config = Recipe();
  EXPECT_FALSE(config.ToJson().contains("objective"));
  EXPECT_FALSE(config.ToJson().contains("mask"));
  config.objective = Objective::kMaskedLm;
  config.mask = {.probability = 0.3, .token = 320};
  const Json json = config.ToJson();
  EXPECT_EQ(json.at("mask"), (Json{{"probability", 0.3},
                                   {"mask_replace_prob", 0.8},
                                   {"random_replace_prob", 0.1},
                                   {"token", 320}}));
  EXPECT_EQ(TrainConfig::FromJson(json).value().ToJson(), json);

  // One run has one form.
  Json causal = Recipe().ToJson();
  causal["objective"] = "causal_lm";
  EXPECT_FALSE(TrainConfig::FromJson(causal).ok());
  causal["mask"] = json.at("mask");
  EXPECT_EQ(TrainConfig::FromJson(causal).status().message(),
            "train.objective: expected one of masked_lm, found \"causal_lm\"");
  Json without = json;
  without.erase("mask");
  EXPECT_FALSE(TrainConfig::FromJson(without).ok());
}

std::string KeysOf(const KeyErrors& errors) {
  std::vector<std::string> keys;
  for (const KeyError& error : errors.all()) {
    keys.push_back(error.others.empty() ? error.key
                                        : Str(error.key, " (", Join(error.others, ", "), ")"));
  }
  return Join(keys, "; ");
}

TEST(TrainConfigTest, PositionsArePresentOnlyIfTheyAreNotPlain) {
  TrainConfig config = Recipe();
  EXPECT_FALSE(config.ToJson().contains("positions"));
  Json json = config.ToJson();
  json["positions"] = {{"method", "pose"}, {"target_length", 4096}};
  const Result<TrainConfig> given = TrainConfig::FromJson(json);
  ASSERT_TRUE(given.ok()) << given.status().message();
  EXPECT_TRUE(given->Check().ok()) << given->Check().message();
  const Json whole = {{"method", "pose"},
                      {"target_length", 4096},
                      {"chunks", 2},
                      {"content", "random"},
                      {"text_length", 5 * config.train_length}};
  EXPECT_EQ(given->ToJson().at("positions"), whole);
  EXPECT_EQ(TrainConfig::FromJson(given->ToJson())->ToJson(), given->ToJson());

  // One run has one form.
  json["positions"] = "plain";
  EXPECT_EQ(TrainConfig::FromJson(json).status().message(),
            "train.positions: expected a map with the key \"method\"");
  json["positions"] = {{"method", "pose"}, {"target_length", "4K"}, {"chunk", 2}};
  KeyErrors errors;
  ReadTrain(json, errors);
  EXPECT_EQ(KeysOf(errors), "train.positions.chunk; train.positions.target_length");
}

TEST(TrainConfigTest, SamplesArePresentOnlyIfTheyAreNotWindows) {
  TrainConfig config = Recipe();
  EXPECT_FALSE(config.ToJson().contains("samples"));
  config.samples = SampleKind::kDocuments;
  const Json json = config.ToJson();
  EXPECT_EQ(json.at("samples"), "documents");
  const Result<TrainConfig> read = TrainConfig::FromJson(json);
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read->samples, SampleKind::kDocuments);
  EXPECT_TRUE(read->Check().ok()) << read->Check().message();
  Json wrong = json;
  wrong["samples"] = "document";
  EXPECT_EQ(TrainConfig::FromJson(wrong).status().message(),
            "train.samples: expected one of windows, documents, documents_with_bos, found "
            "\"document\"; did you mean "
            "\"documents\"?");

  config.train_length = 1;
  EXPECT_EQ(config.Check().message(),
            "train.samples: documents of train_length 1 have no token to predict, since the last "
            "token of a document has no target: choose a train_length of 2 or more");
  config = Recipe();
  config.samples = SampleKind::kDocuments;
  config.objective = Objective::kMaskedLm;
  config.mask.token = 5;
  EXPECT_EQ(config.Check().message(),
            "train.samples: documents is for objective causal_lm, found masked_lm: leave out "
            "samples");
}

TEST(TrainConfigTest, PositionsThatDoNotFitTheRecipeOrTheModelAreRefused) {
  TrainConfig train = Recipe();
  train.positions = *ResolvePositionSchedule({{"method", "randpos"}, {"target_length", 65536}},
                                             train.train_length);
  const auto error = [&](const char* position) {
    ModelConfig model = Tiny(position);
    if (model.position.method == "learned") model.n_positions = train.train_length;
    KeyErrors errors;
    CheckTrain(train, errors);
    CheckModelAndTrain(model, train, errors);
    return Str(KeysOf(errors), errors.empty() ? "" : ": ", errors.First().message());
  };
  EXPECT_EQ(error("rope"), "");
  EXPECT_EQ(error("xpos"), "");
  EXPECT_EQ(error("alibi"),
            "train.positions.method (position.method): train.positions.method: randpos gives "
            "tokens positions of their own, but position method \"alibi\" cannot use them; "
            "choose a method that only rotates, such as rope");
  train.positions["target_length"] = train.train_length;
  EXPECT_TRUE(error("rope").starts_with("train.positions.target_length: ")) << error("rope");
  train.positions["target_length"] = 65536;
  train.objective = Objective::kMaskedLm;
  train.mask.token = 5;
  EXPECT_EQ(train.Check().message(),
            "train.positions.method: randpos is for objective causal_lm, found masked_lm: leave "
            "out positions");
}

TEST(TrainConfigTest, ABoundForSkippedKeysIsPresentOnlyIfItIsNotZero) {
  TrainConfig config = Recipe();
  const Json plain = config.ToJson();
  EXPECT_FALSE(plain.contains("skip_epsilon"));
  config.skip_epsilon = 0x1p-24;
  Json json = config.ToJson();
  EXPECT_EQ(json.at("skip_epsilon"), 0x1p-24);
  const Result<TrainConfig> read = TrainConfig::FromJson(json);
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read->skip_epsilon, 0x1p-24);
  EXPECT_TRUE(read->Check().ok()) << read->Check().message();
  json["skip_epsilon"] = 0.0;  // one run has one form
  EXPECT_EQ(TrainConfig::FromJson(json)->ToJson(), plain);

  json["skip_epsilon"] = "2^-24";
  EXPECT_EQ(TrainConfig::FromJson(json).status().message(),
            "train.skip_epsilon: expected a number, found \"2^-24\"");
  for (const auto& [wrong, shown] :
       std::vector<std::pair<double, const char*>>{{-1e-9, "-1e-09"}, {2e-3, "0.002"}}) {
    config.skip_epsilon = wrong;
    EXPECT_EQ(config.Check().message(),
              Str("train.skip_epsilon: expected 0 to 0.001, found ", shown));
  }
}

TEST(TrainConfigTest, KeysAreSkippedOnlyByAOneSidedBias) {
  TrainConfig train = Recipe();
  const auto error = [&](const Json& position, bool causal = true) {
    ModelConfig model = Tiny("none");
    model.causal = causal;
    model.position = ResolvePosition(position).value();
    if (model.position.method == "learned") model.n_positions = train.train_length;
    KeyErrors errors;
    CheckModelAndTrain(model, train, errors);
    return Str(KeysOf(errors), errors.empty() ? "" : ": ", errors.First().message());
  };
  const std::set<std::string> skipping = {"alibi", "cable", "fox", "kerple", "t5"};
  for (const std::string& method : PositionMethodNames()) {
    train.skip_epsilon = 0.0;
    EXPECT_EQ(error(method), "");
    train.skip_epsilon = 0x1p-24;
    EXPECT_EQ(error(method),
              skipping.contains(method)
                  ? ""
                  : Str("train.skip_epsilon (position): train.skip_epsilon: attention cannot skip "
                        "keys with position method \"",
                        method,
                        "\"; leave out skip_epsilon, or choose a method with a one-sided bias by "
                        "key or by distance, such as alibi or cable"));
  }
  train.objective = Objective::kMaskedLm;
  train.mask.token = 5;
  for (const Json& position :
       {Json("t5"), Json{{"method", "cable"}, {"variant", "bidirectional"}}}) {
    EXPECT_EQ(error(position, false),
              "train.skip_epsilon (model.causal): train.skip_epsilon: only attention with a causal "
              "mask skips keys in training, found model.causal: false; leave out skip_epsilon");
  }
}

TEST(TrainConfigTest, SharesOfAMaskAreShares) {
  TrainConfig config = Recipe();
  config.objective = Objective::kMaskedLm;
  config.mask.token = 320;
  EXPECT_TRUE(config.Check().ok()) << config.Check().message();
  config.mask.mask_replace_prob = 0.9;
  EXPECT_TRUE(config.Check().ok());  // 0.9 + 0.1: none stays
  config.mask.random_replace_prob = 0.2;
  EXPECT_EQ(
      config.Check().message(),
      "train.mask.random_replace_prob: 0.2 and mask_replace_prob 0.9 add up to more than 1; their "
      "sum must be at most 1, and the remaining share of the chosen tokens stays unchanged");
  config.mask = {.probability = 0.0, .token = 320};
  EXPECT_EQ(config.Check().message(), "train.mask.probability: expected 1e-06 to 1, found 0");
  config.mask = {};
  EXPECT_EQ(config.Check().message(), "train.mask.token: expected 0 to 16777215, found -1");
}

TEST(ConfigErrorsTest, CarryTheirKeys) {
  KeyErrors of_train;
  TrainConfig train = Recipe();
  train.batch_tokens = train.train_length + 1;
  train.optimizer.beta1 = 2.0;
  train.validate = {.every = 1000, .tokens = 0};
  CheckTrain(train, of_train);
  EXPECT_EQ(KeysOf(of_train),
            "train.optimizer.betas; train.batch_tokens (train.train_length); "
            "train.validate (train.validate.every, train.validate.tokens)");

  KeyErrors of_model;
  ModelConfig model = Tiny("cope");
  model.causal = false;
  CheckModel(model, of_model);
  EXPECT_EQ(KeysOf(of_model), "position.method (model.causal)");

  KeyErrors of_position;
  EXPECT_FALSE(CheckGivenPosition({{"method", "rope"}, {"bass", 1}, {"partial", 9}}, of_position));
  EXPECT_EQ(KeysOf(of_position), "position.bass; position.partial");
}

TEST(TrainConfigTest, AModelThatSeesTheAnswerIsNotTrainedOnIt) {
  ModelConfig model = Tiny("rope");
  TrainConfig train = Recipe();
  const auto error = [&] {
    KeyErrors errors;
    CheckModelAndTrain(model, train, errors);
    return errors.First().message();
  };
  EXPECT_EQ(error(), "");
  model.causal = false;
  EXPECT_EQ(error(),
            "train.objective: causal_lm needs model.causal: true, since without the causal mask a "
            "token sees the next one, which it is to predict; set it, or use masked_lm");
  train.objective = Objective::kMaskedLm;
  train.mask.token = model.vocab_size - 1;
  EXPECT_EQ(error(), "");
  train.mask.token = model.vocab_size;
  EXPECT_EQ(error().substr(0, 56), "train.mask.token: expected one of the ids 0 to 50303 of ");
  model.causal = true;
  EXPECT_EQ(error(),
            "train.objective: masked_lm needs model.causal: false, since a hidden token is guessed "
            "from both sides; set it, or use causal_lm");
}

TEST(TrainConfigTest, StepsAreRoundedUp) {
  EXPECT_EQ(Recipe().steps(), 586);  // 600,000 / 1024 = 585.9
  EXPECT_EQ(Recipe().batch_sequences(), 16);
}

TEST(TrainConfigTest, JsonRestoresTheConfig) {
  TrainConfig config = Recipe();
  config.optimizer.beta2 = 0.999;
  config.validate = {.every = 100, .tokens = 10};
  const auto restored = TrainConfig::FromJson(config.ToJson());
  ASSERT_TRUE(restored.ok()) << restored.status().message();
  EXPECT_TRUE(restored->Check().ok());
  EXPECT_EQ(CanonicalJson(restored->ToJson()), CanonicalJson(config.ToJson()));
  EXPECT_EQ(restored->optimizer.beta2, 0.999);
}

TEST(TrainConfigTest, JsonIsReadStrictly) {
  const auto message = [](const std::function<void(Json&)>& spoil) {
    Json json = Recipe().ToJson();
    spoil(json);
    return TrainConfig::FromJson(json).status().message();
  };
  EXPECT_EQ(message([](Json& json) { json["token"] = 3; }),
            "train.token: unknown key; did you mean \"tokens\"?");
  EXPECT_EQ(message([](Json& json) { json["optimizer"]["beta"] = 3; }),
            "train.optimizer.beta: unknown key; did you mean \"betas\"?");
  EXPECT_EQ(message([](Json& json) { json["optimizer"]["betas"] = Json::array({0.9}); }),
            "train.optimizer.betas: expected a list of two numbers, found a list of 1");
  EXPECT_EQ(message([](Json& json) { json["schedule"]["warmup"] = 3; }),
            "train.schedule.warmup: unknown key; did you mean \"warmup_tokens\"?");
  EXPECT_EQ(message([](Json& json) { json["validate"] = 3; }), "train.validate: expected a map");
  EXPECT_EQ(message([](Json& json) { json["precision"] = "fp16"; }),
            "train.precision: expected one of fp32, bf16, found \"fp16\"; did you mean \"fp32\"?");
  EXPECT_EQ(message([](Json& json) { json["order"] = "sorted"; }),
            "train.order: expected one of random, shuffled, stream, found \"sorted\"");
  EXPECT_EQ(message([](Json& json) { json["optimizer"]["name"] = "sgd"; }),
            "train.optimizer.name: expected one of adamw, found \"sgd\"");
  EXPECT_EQ(message([](Json& json) { json["schedule"]["name"] = "consine"; }),
            "train.schedule.name: expected one of cosine, constant, linear, found \"consine\"; did "
            "you mean \"cosine\"?");
  EXPECT_EQ(message([](Json& json) { json["precision"] = 16; }),
            "train.precision: expected a string, found 16");
}

TEST(TrainConfigTest, AnUnknownWordHasItsPlaceAmongTheErrorsOfOtherValues) {
  Json json = Recipe().ToJson();
  json["tokens"] = 0;
  json["precision"] = "fp16";
  json["optimizer"]["lr"] = 100;
  json["order"] = 3;
  KeyErrors read, checked;
  const TrainConfig config = ReadTrain(json, read);
  CheckTrain(config, checked, read);
  const auto keys = [](const KeyErrors& errors) {
    std::vector<std::string> out;
    for (const KeyError& error : errors.all()) out.push_back(error.key);
    return out;
  };
  EXPECT_EQ(keys(read), (std::vector<std::string>{"train.precision", "train.order"}));
  EXPECT_EQ(keys(checked),
            (std::vector<std::string>{"train.tokens", "train.precision", "train.optimizer.lr"}));
}

TEST(TrainConfigTest, CheckNamesWhatIsOutOfRange) {
  const auto message = [](const std::function<void(TrainConfig&)>& spoil) {
    TrainConfig config = Recipe();
    spoil(config);
    return config.Check().message();
  };
  using Config = TrainConfig;
  EXPECT_EQ(message([](Config&) {}), "");
  EXPECT_EQ(message([](Config& c) { c.train_length = 0; }),
            "train.train_length: expected 1 to 67108864, found 0");
  EXPECT_EQ(message([](Config& c) { c.tokens = -1; }),
            "train.tokens: expected 1 to 1000000000000000, found -1");
  EXPECT_EQ(
      message([](Config& c) { c.batch_tokens = 1000; }),
      "train.batch_tokens: 1000 is not a multiple of train_length 64; the nearest are 960 and "
      "1024");
  EXPECT_EQ(message([](Config& c) { c.batch_tokens = 10; }),
            "train.batch_tokens: 10 is not a multiple of train_length 64; the nearest is 64");
  EXPECT_EQ(message([](Config& c) { c.optimizer.lr = 0; }),
            "train.optimizer.lr: expected 1e-12 to 10, found 0");
  EXPECT_EQ(message([](Config& c) { c.optimizer.min_lr = 1; }),
            "train.optimizer.min_lr: expected 0 to 6e-04, found 1");
  EXPECT_EQ(message([](Config& c) { c.schedule.warmup_tokens = 700'000; }),
            "train.schedule.warmup_tokens: 700000 is more than all tokens of the training "
            "(train.tokens 600000): shorten the warm-up, or train on more tokens");
  EXPECT_EQ(message([](Config& c) { c.validate.every = 100; }),
            "train.validate: \"every\" is 100 and \"tokens\" is 0; set both, or neither");
}

}  // namespace
}  // namespace longrun
