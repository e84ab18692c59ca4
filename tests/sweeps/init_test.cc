// model.init_from: what an imported model gives a run, what the file may say beside it,
// and train: none.
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/hash.h"
#include "base/str.h"
#include "model/position/method.h"
#include "sweeps/reproduce.h"
#include "sweeps/sweep.h"

namespace longrun {
namespace {

// A gpt2 body of two layers, with the position method given.
ModelInfo Model(const std::string& name, const Json& position, std::int64_t n_positions = 0) {
  ModelInfo info = {.name = name, .digest = Sha256Hex(name), .trained_length = 96};
  ModelConfig& model = info.model;
  model.n_layer = 2;
  model.n_head = 2;
  model.d_model = 16;
  model.d_ff = 64;
  model.vocab_size = 300;
  model.n_positions = n_positions;
  model.position = ResolvePosition(position).value();
  return info;
}

class InitTest : public testing::Test {
 protected:
  InitTest() {
    catalogue.find = [](const std::string& name) {
      return std::optional(
          DatasetInfo{.name = name,
                      .digest = Sha256Hex(name),
                      .tokenizer_fingerprint = Sha256Hex("bytes"),
                      .vocab_size = name == "wide" ? 301 : 256,
                      .split_tokens = {{"train", 4'000'000}, {"validation", 20'000}},
                      .n_tokens = name == "padded" ? 250 : 0,
                      .mask_token = name == "padded" ? 249 : -1});
    };
    catalogue.names = {"one", "padded", "wide"};
    models = {Model("rotary", {{"method", "rope"}, {"base", 5000.0}, {"partial", 0.5}}),
              Model("table", "learned", 128), Model("gated", "cable")};
    models.push_back(models[0]);
    models.back().name = "again";  // the same content
    catalogue.find_model = [this](const std::string& name) {
      for (const ModelInfo& model : models) {
        if (model.name == name) return std::optional(model);
      }
      return std::optional<ModelInfo>();
    };
    catalogue.model_names = {"again", "gated", "rotary", "table"};
  }

  // Lines 5 to 7 of the file.
  Result<Sweep> Parse(const std::string& model, const std::string& matrix,
                      const std::string& train) const {
    return ParseSweep(Str("apiVersion: longrun/v1\nkind: Sweep\nmetadata: {name: a}\nspec:\n"
                          "  model: ",
                          model, "\n  matrix: ", matrix, "\n  train: ", train,
                          "\n  evaluate:\n    - perplexity: {context_lengths: [64]}\n"),
                      "a.yaml", {}, catalogue);
  }
  longrun::Run Only(const std::string& model, const std::string& matrix,
                    const std::string& train) const {
    const Result<Sweep> sweep = Parse(model, matrix, train);
    EXPECT_TRUE(sweep.ok()) << sweep.status().message();
    if (!sweep.ok() || sweep->runs.size() != 1) return {};
    return sweep->runs[0].run;
  }
  std::string Error(const std::string& model, const std::string& matrix,
                    const std::string& train) const {
    return Parse(model, matrix, train).status().message();
  }

  const std::string kTrain = "{tokens: 64Ki, batch_tokens: 1Ki}";
  DatasetCatalogue catalogue;
  std::vector<ModelInfo> models;
};

TEST_F(InitTest, ARunThatIsMeasuredAsItIsHasTheModelsShapePositionsAndLength) {
  const longrun::Run run = Only("{init_from: rotary}", "{dataset: [one]}", "none");

  EXPECT_FALSE(run.trains());
  EXPECT_EQ(run.init->sha256, Sha256Hex("rotary"));
  EXPECT_EQ(run.model.ToJson(), models[0].model.ToJson());
  EXPECT_EQ(run.model.position.ToJson(), models[0].model.position.ToJson());
  EXPECT_EQ(run.ToJson().at("train"), (Json{{"train_length", 96}}));
  const Result<longrun::Run> read = longrun::Run::FromJson(run.ToJson());
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read->Key(), run.Key());
  const Result<Sweep> sweep = Parse("{init_from: rotary}", "{dataset: [one]}", "none");
  EXPECT_EQ(sweep->runs[0].axes.at("position"), "rope");
  EXPECT_EQ(sweep->runs[0].axes.at("train_length"), 96);
}

TEST_F(InitTest, TheContentAndNotTheNameIsInTheKey) {
  const longrun::Run one = Only("{init_from: rotary}", "{dataset: [one]}", "none");
  EXPECT_EQ(Only("{init_from: again}", "{dataset: [one]}", "none").Key(), one.Key());
  models.back().digest = Sha256Hex("other content");
  EXPECT_NE(Only("{init_from: again}", "{dataset: [one]}", "none").Key(), one.Key());
}

TEST_F(InitTest, WhereTheModelIsAnAxisTheFileNeedsNoOther) {
  const std::string yaml =
      "apiVersion: longrun/v1\nkind: Sweep\nmetadata: {name: a}\nspec:\n"
      "  matrix: {model.init_from: [rotary], dataset: [one]}\n  train: none\n"
      "  evaluate:\n    - perplexity: {context_lengths: [64]}\n";
  const Result<Sweep> sweep = ParseSweep(yaml, "a.yaml", {}, catalogue);
  ASSERT_TRUE(sweep.ok()) << sweep.status().message();
  ASSERT_EQ(sweep->runs.size(), 1u);
  EXPECT_EQ(sweep->runs[0].run.Key(),
            Only("{}", "{model.init_from: [rotary], dataset: [one]}", "none").Key());
}

TEST_F(InitTest, TheModelMayBeAnAxis) {
  const Result<Sweep> sweep =
      Parse("{}", "{model.init_from: [rotary, gated], dataset: [one]}", "none");
  ASSERT_TRUE(sweep.ok()) << sweep.status().message();
  ASSERT_EQ(sweep->runs.size(), 2u);
  EXPECT_EQ(sweep->runs[1].run.model.position.method, "cable");
}

TEST_F(InitTest, OfItsOwnMethodTheModelGivesWhatTheFileDoesNot) {
  const std::string train = kTrain;
  const longrun::Run named =
      Only("{init_from: rotary}", "{position: [rope], train_length: [64], dataset: [one]}", train);
  EXPECT_EQ(named.model.position.params.at("base"), 5000.0);
  const longrun::Run longer =
      Only("{init_from: rotary}",
           "{position: [{method: rope, base: 80000}], train_length: [64], dataset: [one]}", train);
  EXPECT_EQ(longer.model.position.params.at("base"), 80000.0);
  EXPECT_EQ(longer.model.position.params.at("partial"), 0.5);
}

TEST_F(InitTest, ATableKeepsItsRowsAndANewOneHasThoseOfTheTrainLength) {
  const longrun::Run own =
      Only("{init_from: table}", "{train_length: [64], dataset: [one]}", kTrain);
  EXPECT_EQ(own.model.n_positions, 128);
  EXPECT_EQ(longrun::Run::FromJson(own.ToJson())->model.n_positions, 128);
  const longrun::Run anew = Only(
      "{init_from: rotary}", "{position: [learned], train_length: [64], dataset: [one]}", kTrain);
  EXPECT_EQ(anew.init->n_positions, 64);
  EXPECT_EQ(Error("{init_from: table}", "{train_length: [256], dataset: [one]}", kTrain),
            "a.yaml:6:27: spec.matrix.train_length: 256 is more than the 128 positions of model "
            "\"table\"; choose 128 or less, or another position method");
}

TEST_F(InitTest, WhatTheFileSaysMustBeWhatTheModelHas) {
  EXPECT_TRUE(
      Parse("{init_from: gated, n_layer: 2, d_model: 16}", "{dataset: [one]}", "none").ok());
  EXPECT_EQ(Error("{init_from: gated, n_layer: 3}", "{dataset: [one]}", "none"),
            "a.yaml:5:38: spec.model.n_layer: 3, but model \"gated\" has 2; leave it out");
  EXPECT_EQ(Error("{init_from: gated, architecture: llama}", "{dataset: [one]}", "none"),
            "a.yaml:5:43: spec.model.architecture: \"llama\", but model \"gated\" has \"gpt2\"; "
            "leave it out");
  EXPECT_EQ(Error("{init_from: gated, size: micro}", "{dataset: [one]}", "none").substr(0, 48),
            "a.yaml:5:35: spec.model.size: micro has 3 layers");
}

TEST_F(InitTest, WhatCannotBeIsRefusedWithItsPlace) {
  EXPECT_EQ(Error("{init_from: rotery}", "{dataset: [one]}", "none"),
            "a.yaml:5:22: spec.model.init_from: unknown model \"rotery\"; did you mean \"rotary\"? "
            "(`longrun import NAME FOLDER` imports a Hugging Face folder)");
  EXPECT_EQ(
      Error("{init_from: rotary}", "{dataset: [wide]}", "none"),
      "a.yaml:5:22: spec.model.init_from: model \"rotary\" has 300 ids, but dataset \"wide\" has "
      "301; import the text with the model's own tokenizer.json (`longrun data import "
      "--tokenizer`)");
  EXPECT_EQ(Error("{init_from: rotary}", "{position: [cable], dataset: [one]}", "none"),
            "a.yaml:6:23: spec.matrix.position: cable learns "
            "transformer.h.0.attn.position.weight, which model \"rotary\" does not have, and "
            "nothing is trained (train: none): choose a method that learns nothing, or train");
  EXPECT_TRUE(Parse("{init_from: rotary}", "{position: [none], dataset: [one]}", "none").ok());
  EXPECT_EQ(
      Error("{size: micro}", "{position: [rope], train_length: [64], dataset: [one]}", "none"),
      "a.yaml:7:10: spec.train: with \"none\" nothing is trained, so the sweep would measure "
      "random weights: give model.init_from (longrun import), or a training recipe");
  EXPECT_EQ(Error("{init_from: rotary}", "{dataset: [one], train.optimizer.lr: [1e-3]}", "none"),
            "a.yaml:6:28: spec.matrix.train.optimizer.lr: nothing is trained (train: none); leave "
            "it out");
  EXPECT_EQ(Error("{init_from: rotary}", "{dataset: [one]}", kTrain),
            "a.yaml:6:11: spec.matrix.train_length: must be given: tokens in a training sequence "
            "(optional with train: none)");
}

TEST_F(InitTest, RowsThatNoTokenHasAreNotAskedOfTheModel) {
  models[0].model.vocab_size = 250;
  EXPECT_TRUE(Parse("{init_from: rotary}", "{dataset: [padded]}", "none").ok());
  models[0].model.vocab_size = 249;
  EXPECT_EQ(Error("{init_from: rotary}", "{dataset: [padded]}", "none").substr(0, 91),
            "a.yaml:5:22: spec.model.init_from: model \"rotary\" has 249 ids, but dataset "
            "\"padded\" has 250");
}

TEST_F(InitTest, TheMaskTokenIsTheFilesElseTheModelsElseTheTokenizers) {
  models[0].model.causal = false;
  const auto parse = [&](const std::string& dataset, const std::string& mask) {
    return ParseSweep(Str("apiVersion: longrun/v1\nkind: Sweep\nmetadata: {name: a}\nspec:\n"
                          "  model: {init_from: rotary}\n  matrix: {train_length: [64], dataset: [",
                          dataset,
                          "]}\n  train: {tokens: 64Ki, batch_tokens: 1Ki, objective: "
                          "masked_lm",
                          mask,
                          "}\n  evaluate:\n    - pseudo_perplexity: {context_lengths: [64], "
                          "score_tokens: 100}\n"),
                      "a.yaml", {}, catalogue);
  };
  const auto token = [&](const std::string& dataset, const std::string& mask = "") {
    const Result<Sweep> sweep = parse(dataset, mask);
    EXPECT_TRUE(sweep.ok()) << sweep.status().message();
    return sweep.ok() ? sweep->runs.at(0).run.train.mask.token : -2;
  };
  EXPECT_EQ(
      parse("one", "").status().message(),
      "a.yaml:5:22: spec.train.mask.token: must be given: config.json of model \"rotary\" has "
      "no mask_token_id, and the tokenizer of dataset \"one\" has no mask token (<|mask|>, <mask>, "
      "[MASK])");
  EXPECT_EQ(token("padded"), 249);
  EXPECT_EQ(token("one", ", mask: {token: 7}"), 7);
  models[0].mask_token = 299;
  EXPECT_EQ(token("one"), 299);
  EXPECT_EQ(token("padded"), 299);
  EXPECT_EQ(token("padded", ", mask: {token: 7}"), 7);
}

TEST_F(InitTest, ARunIsGivenAgainByAFileThatNamesTheModel) {
  for (const char* train : {"none", "{tokens: 64Ki, batch_tokens: 1Ki}"}) {
    const longrun::Run run = Only("{init_from: rotary}",
                                  "{position: [alibi], train_length: [64], dataset: [one]}", train);
    const Result<std::string> yaml =
        SweepYaml({.run = run, .sweep_name = "again", .dataset_name = "one", .init = models[0]});
    ASSERT_TRUE(yaml.ok()) << yaml.status().message();
    EXPECT_NE(yaml->find("  model:\n    init_from: \"rotary\"\n"), std::string::npos) << *yaml;
    EXPECT_EQ(
        SweepYaml({.run = run, .sweep_name = "again", .dataset_name = "one"}).status().message(),
        Str("the run starts from an imported model with digest ", Sha256Hex("rotary"),
            ", but no model with this digest is registered here: import it again (`longrun "
            "import NAME FOLDER`)"));
  }
}

}  // namespace
}  // namespace longrun
