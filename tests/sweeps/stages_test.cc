// Runs that start from the weights of others: model.init_from: {run: ...}, and spec.stages.
#include <gtest/gtest.h>

#include <algorithm>
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

using Overrides = std::vector<std::pair<std::string, std::string>>;

class StagesTest : public testing::Test {
 protected:
  StagesTest() {
    catalogue.find = [](const std::string& name) {
      return std::optional(
          DatasetInfo{.name = name,
                      .digest = Sha256Hex(name),
                      .tokenizer_fingerprint = Sha256Hex(name == "words" ? "words" : "bytes"),
                      .vocab_size = 256,
                      .split_tokens = {{"train", 4'000'000}, {"validation", 20'000}}});
    };
    catalogue.names = {"one", "two", "words"};
    catalogue.find_run =
        [this](const std::string& wanted) -> Result<std::pair<std::string, longrun::Run>> {
      if (wanted != "01234567") return Status(Code::kNotFound, Str("no run \"", wanted, "\""));
      return std::pair(known.Key(), known);
    };
    known = Only(Parse({}));
  }

  static std::string Yaml(const std::string& stages) {
    return Str(R"(apiVersion: longrun/v1
kind: Sweep
metadata: {name: a}
spec:
  model: {architecture: llama, size: micro}
  matrix: {position: [rope], train_length: [64], dataset: [one], seed: [1]}
  train: {tokens: 65536, batch_tokens: 1024, optimizer: {lr: 1.0e-3}, validate: {every: 8Ki, tokens: 1024}}
  evaluate: [{perplexity: {context_lengths: [64, 128]}}]
)",
               stages);
  }
  Result<Sweep> Parse(const Overrides& overrides, const std::string& stages = "") const {
    return ParseSweep(Yaml(stages), "a.yaml", overrides, catalogue);
  }
  // From the known run, with no word about the model.
  Result<Sweep> From(const std::string& model = "{init_from: {run: 01234567}}",
                     const std::string& matrix = "{train_length: [64], dataset: [one]}",
                     const std::string& train = "{tokens: 8192, batch_tokens: 1024}") const {
    return ParseSweep(Str("apiVersion: longrun/v1\nkind: Sweep\nmetadata: {name: a}\nspec:\n"
                          "  model: ",
                          model, "\n  matrix: ", matrix, "\n  train: ", train, "\n"),
                      "a.yaml", {}, catalogue);
  }
  static longrun::Run Only(const Result<Sweep>& sweep) {
    EXPECT_TRUE(sweep.ok()) << sweep.status().message();
    if (!sweep.ok() || sweep->runs.size() != 1) return {};
    return sweep->runs[0].run;
  }

  DatasetCatalogue catalogue;
  longrun::Run known;
};

// A point of `include` that the product has made already is the base of its stages all the same.
TEST_F(StagesTest, AnIncludedStageStartsFromTheBaseOfItsOwnPoint) {
  const Result<Sweep> sweep = Parse({{"seed", "[1, 2]"}}, R"(
  stages: [{name: long, train: {tokens: 8192}}]
  exclude: [{seed: 1, stage: long}]
  include: [{position: rope, train_length: 64, dataset: one, seed: 1}]
)");
  ASSERT_TRUE(sweep.ok()) << sweep.status().message();
  const auto run_of = [&](int seed, const std::string& stage) -> const PlannedRun& {
    const auto found = std::ranges::find_if(sweep->runs, [&](const PlannedRun& run) {
      return run.axes.at("seed") == seed && run.axes.at("stage") == stage;
    });
    EXPECT_NE(found, sweep->runs.end()) << seed << stage;
    return *found;
  };
  ASSERT_EQ(sweep->runs.size(), 4U);
  for (const int seed : {1, 2}) {
    EXPECT_EQ(run_of(seed, "long").run.init->run, run_of(seed, "base").run_key) << seed;
  }
}

TEST_F(StagesTest, ARunFromAnotherHasItsModelAndAFreshTraining) {
  const longrun::Run run = Only(From());
  EXPECT_EQ(run.model.ToJson(), known.model.ToJson());
  EXPECT_EQ(run.model.position.ToJson(), known.model.position.ToJson());
  EXPECT_EQ(run.train.tokens, 8192);
  EXPECT_EQ(run.parent, "");
  EXPECT_EQ(run.BaseKey(), known.Key());
  EXPECT_EQ(run.ToJson().at("init"), Json({{"run", known.Key()}}));
  EXPECT_EQ(longrun::Run::FromJson(run.ToJson())->Key(), run.Key());
}

TEST_F(StagesTest, LengthDatasetSeedRecipePositionsAndExtensionMayDiffer) {
  const longrun::Run run = Only(From(
      "{init_from: {run: 01234567}}", "{train_length: [128], dataset: [two], seed: [7]}",
      "{tokens: 8192, batch_tokens: 2048, positions: {method: pose, target_length: 512}, "
      "extend: {method: yarn, factor: 4}, order: stream, precision: bf16, optimizer: {lr: 1e-4}}"));
  EXPECT_EQ(run.train.train_length, 128);
  EXPECT_EQ(run.dataset_digest, Sha256Hex("two"));
  EXPECT_EQ(run.seed, 7);
  EXPECT_EQ(run.train.positions.at("target_length"), 512);
  // The base was made for 64 tokens, whatever the length is now.
  EXPECT_EQ(run.train.extension.at("original_length"), 64);
}

TEST_F(StagesTest, WhatTheFileSaysOfTheModelMustAgreeWithTheBase) {
  EXPECT_TRUE(From("{init_from: {run: 01234567}, architecture: llama, size: micro}",
                   "{position: [rope], train_length: [64], dataset: [one]}")
                  .ok());
  const std::string name = Str("run ", known.Key().substr(0, 8));
  EXPECT_EQ(From("{init_from: {run: 01234567}, n_layer: 5}").status().message(),
            Str("a.yaml:5:48: spec.model.n_layer: 5, but ", name, " has 3; leave it out"));
  EXPECT_EQ(From("{init_from: {run: 01234567}}",
                 "{position: [alibi], train_length: [64], dataset: [one]}")
                .status()
                .message(),
            Str("a.yaml:6:23: spec.matrix.position: ", name, " has ",
                CanonicalJson(known.model.position.ToJson()),
                ", and a run that starts from it has the same; leave position out"));
  EXPECT_EQ(
      From("{init_from: {run: 01234567}}", "{train_length: [64], dataset: [words]}")
          .status()
          .message(),
      Str("a.yaml:6:42: spec.matrix.dataset: dataset \"words\" has another tokenizer than the "
          "text of ",
          name, ", from whose weights this run starts; import the text with that tokenizer"));
}

TEST_F(StagesTest, WhatIsNoRunIsRefusedWithItsPlace) {
  EXPECT_EQ(From("{init_from: {run: 00000000}}").status().message(),
            "a.yaml:5:22: spec.model.init_from.run: no run \"00000000\"");
  EXPECT_EQ(From("{init_from: {runn: 01234567}}").status().message(),
            "a.yaml:5:23: spec.model.init_from.runn: unknown key; did you mean \"run\"?");
  EXPECT_EQ(From("{init_from: {}}").status().message(),
            "a.yaml:5:22: spec.model.init_from: expected the name of an imported model, or "
            "{run: RUN}, a finished run (8 digits or more), found an empty map");
  EXPECT_EQ(From("{init_from: {run: 01234567}}", "{train_length: [64], dataset: [one]}", "none")
                .status()
                .message()
                .substr(0, 91),
            "a.yaml:5:22: spec.model.init_from.run: a sweep with \"train: none\" can only measure "
            "imported");
}

TEST_F(StagesTest, ABaseThatWasTrainedUnderAnExtensionAsksForOne) {
  known.train.extension = {{"method", "pi"}, {"factor", 4.0}, {"original_length", 16}};
  EXPECT_EQ(
      From().status().message(),
      Str("a.yaml:5:22: spec.train.extend: must be given, since run ", known.Key().substr(0, 8),
          " was trained under pi: write that again, another extension, or {method: pi, "
          "factor: 1}, which changes nothing"));
  const longrun::Run run =
      Only(From("{init_from: {run: 01234567}}", "{train_length: [64], dataset: [one]}",
                "{tokens: 8192, batch_tokens: 1024, extend: {method: yarn, "
                "factor: 2}}"));
  EXPECT_EQ(run.train.extension.at("original_length"), 16);
}

TEST_F(StagesTest, EachStageStartsFromTheRunOfItsPoint) {
  const Result<Sweep> sweep = Parse({{"seed", "[1, 2]"}}, R"(  stages:
    - name: pose
      train: {tokens: 8192, positions: {method: pose, target_length: 512}, optimizer: {lr: 2e-4}}
    - name: full
      train_length: 128
      dataset: two
)");
  ASSERT_TRUE(sweep.ok()) << sweep.status().message();
  EXPECT_EQ(sweep->axes.back(), "stage");
  ASSERT_EQ(sweep->runs.size(), 6u);
  EXPECT_EQ(sweep->runs[0].run_key, known.Key());  // the base is the run without stages
  for (const std::size_t first : {0, 3}) {
    const PlannedRun& base = sweep->runs[first];
    const PlannedRun& pose = sweep->runs[first + 1];
    const PlannedRun& full = sweep->runs[first + 2];
    EXPECT_EQ(base.axes.at("stage"), "base");
    EXPECT_EQ(pose.axes.at("stage"), "pose");
    EXPECT_EQ(pose.run.BaseKey(), base.run_key);
    EXPECT_EQ(full.run.BaseKey(), base.run_key);
    EXPECT_EQ(pose.run.seed, base.run.seed);
    EXPECT_EQ(pose.run.train.tokens, 8192);
    EXPECT_EQ(pose.run.train.optimizer.lr, 2e-4);
    EXPECT_EQ(pose.run.train.optimizer.min_lr, 2e-5);  // of its own lr
    EXPECT_EQ(pose.run.train.validate.every, base.run.train.validate.every);
    EXPECT_EQ(full.run.train.tokens, base.run.train.tokens);
    EXPECT_EQ(full.run.train.train_length, 128);
    EXPECT_EQ(full.dataset_name, "two");
    EXPECT_EQ(full.axes.at("train_length"), 64);  // the point's, so that stages can be compared
    for (const PlannedRun* run : {&base, &pose, &full}) {
      ASSERT_EQ(run->evaluations.size(), 1u);
      EXPECT_EQ(run->evaluations[0].cells.size(), 2u);
    }
    EXPECT_NE(pose.evaluations[0].cells[0].cell, base.evaluations[0].cells[0].cell);
  }
}

TEST_F(StagesTest, AStageStartsFromAContinuedRunAndFromOneThatStartedElsewhere) {
  const std::string stages = "  stages: [{name: more, train: {tokens: 8192}}]\n";
  const Result<Sweep> continued =
      Parse({{"train.continue_from", "01234567"}, {"train.tokens", "131072"}}, stages);
  ASSERT_TRUE(continued.ok()) << continued.status().message();
  EXPECT_EQ(continued->runs.at(0).run.parent, known.Key());
  EXPECT_EQ(continued->runs.at(1).run.parent, "");
  EXPECT_EQ(continued->runs.at(1).run.BaseKey(), continued->runs.at(0).run_key);

  const Result<Sweep> tuned = Parse({{"model", "{init_from: {run: 01234567}}"}}, stages);
  ASSERT_TRUE(tuned.ok()) << tuned.status().message();
  EXPECT_EQ(tuned->runs.at(0).run.BaseKey(), known.Key());
  EXPECT_EQ(tuned->runs.at(1).run.BaseKey(), tuned->runs.at(0).run_key);
}

TEST_F(StagesTest, WithoutStagesThereIsNoAxis) {
  const Result<Sweep> sweep = Parse({});
  EXPECT_EQ(std::ranges::count(sweep->axes, "stage"), 0);
  EXPECT_FALSE(sweep->runs[0].axes.contains("stage"));
  EXPECT_EQ(Parse({{"exclude", "[{stage: base}]"}}).status().message().substr(0, 74),
            "--set exclude=[{stage: base}]: spec.exclude[0].stage: not an axis of this ");
}

TEST_F(StagesTest, AStageIsGivenAgainByAFileThatNamesItsBase) {
  const Result<Sweep> sweep = Parse({}, R"(  stages:
    - name: pose
      train:
        tokens: 8192
        positions: {method: pose, target_length: 512}
        extend: {method: pi, factor: 8}
        schedule: {name: linear, warmup_tokens: 1Ki}
        validate: {every: 4Ki, tokens: 1024, length: 512}
)");
  ASSERT_TRUE(sweep.ok()) << sweep.status().message();
  const PlannedRun& pose = sweep->runs.at(1);
  const Result<std::string> yaml =
      SweepYaml({.run = pose.run, .sweep_name = "again", .dataset_name = "one"});
  ASSERT_TRUE(yaml.ok()) << yaml.status().message();
  EXPECT_NE(yaml->find(Str("  model:\n    init_from: {run: \"", known.Key(), "\"}\n")),
            std::string::npos)
      << *yaml;
  // The coordinator finds runs by their whole keys as well.
  DatasetCatalogue whole = catalogue;
  whole.find_run = [this](const std::string& key) -> Result<std::pair<std::string, longrun::Run>> {
    EXPECT_EQ(key, known.Key());
    return std::pair(key, known);
  };
  const Result<Sweep> again = ParseSweep(*yaml, "again.yaml", {}, whole);
  ASSERT_TRUE(again.ok()) << again.status().message();
  EXPECT_EQ(again->runs.at(0).run_key, pose.run_key);
}

// A table of positions keeps its rows.
TEST_F(StagesTest, APositionTableKeepsItsLength) {
  known.model.position = ResolvePosition("learned").value();
  known.model.n_positions = 64;
  const longrun::Run run =
      Only(From("{init_from: {run: 01234567}}", "{train_length: [32], dataset: [one]}"));
  EXPECT_EQ(run.model.n_positions, 64);
  EXPECT_EQ(run.ToJson().at("init"), Json({{"run", known.Key()}, {"n_positions", 64}}));
  EXPECT_EQ(longrun::Run::FromJson(run.ToJson())->Key(), run.Key());
  EXPECT_EQ(From("{init_from: {run: 01234567}}", "{train_length: [128], dataset: [one]}")
                .status()
                .message(),
            Str("a.yaml:6:27: spec.matrix.train_length: 128 is more than the 64 positions of run ",
                known.Key().substr(0, 8), ", from whose weights this run starts"));
}

}  // namespace
}  // namespace longrun
