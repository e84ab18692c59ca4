// Runs that start from the weights of others: model.init_from: {run: ...}, and spec.stages.
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/hash.h"
#include "base/str.h"
#include "model/position/method.h"
#include "sweeps/extended.h"
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
    catalogue.find_run = [this](const std::string& wanted) -> Result<KnownRun> {
      if (wanted != "01234567") return Status(Code::kNotFound, Str("no run \"", wanted, "\""));
      return KnownRun{.key = known.Key(),
                      .run = known,
                      .extension = extension,
                      .trained_before = trained_before};
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
  // Of the known run.
  Json extension;
  std::set<std::string> trained_before;
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
            "{run: RUN}, where RUN is a finished run (8 digits or more of its id), found an empty "
            "map");
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
  for (const std::size_t first : {0u, 3u}) {
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
  whole.find_run = [this](const std::string& key) -> Result<KnownRun> {
    EXPECT_EQ(key, known.Key());
    return KnownRun{.key = key, .run = known};
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

// The extensions with which evaluations are made.
std::vector<Json> ExtensionsOfEvaluations(const PlannedRun& run) {
  std::vector<Json> extensions;
  for (const PlannedEvaluation& one : run.evaluations) {
    extensions.push_back(ExtensionName(one.evaluation, run.run.train.train_length));
  }
  return extensions;
}

TEST_F(StagesTest, AStageCanHaveExtensionsOfItsOwn) {
  const Result<Sweep> sweep = Parse({}, R"(
  extend: [none, dca, window]
  stages:
    - {name: all, train: {tokens: 8192}}
    - {name: few, train: {tokens: 4096}, extend: [{method: pi, factor: 2}]}
)");
  ASSERT_TRUE(sweep.ok()) << sweep.status().message();
  ASSERT_EQ(sweep->runs.size(), 3u);
  const std::vector<Json> of_sweep = {"none", "dca", "window"};
  EXPECT_EQ(ExtensionsOfEvaluations(sweep->runs[0]), of_sweep);
  EXPECT_EQ(ExtensionsOfEvaluations(sweep->runs[1]), of_sweep);
  EXPECT_EQ(ExtensionsOfEvaluations(sweep->runs[2]),
            (std::vector<Json>{{{"method", "pi"}, {"factor", 2.0}}}));

  const auto error = [&](const std::string& extend) {
    return std::string(
        Parse({}, Str("\n  stages: [{name: few, train: {tokens: 4096}, extend: ", extend, "}]\n"))
            .status()
            .message());
  };
  EXPECT_EQ(error("[{method: pi, factor: 0}]"),
            "a.yaml:10:77: spec.stages[0].extend[0].factor: expected a number from 1 to 1000000, "
            "found 0.0");
  EXPECT_EQ(error("dca"),
            "a.yaml:10:55: spec.stages[0].extend: expected a list of extensions: none, a name, or "
            "{method: NAME, its parameters}, found \"dca\"; write [dca]");
}

// Trained further on longer texts, a model is extended from the length that it was made for. Where
// its config.json does not say that, from the texts' length.
TEST_F(StagesTest, AnImportedModelIsExtendedFromItsOwnLength) {
  std::int64_t trained_length = 0;
  catalogue.find_model = [&](const std::string& name) {
    return std::optional(ModelInfo{.name = name,
                                   .digest = Sha256Hex(name),
                                   .model = known.model,
                                   .trained_length = trained_length});
  };
  const auto original = [&](const std::string& extend) {
    const longrun::Run run =
        Only(From("{init_from: llama}", "{train_length: [256], dataset: [one]}",
                  Str("{tokens: 8192, batch_tokens: 1024, extend: ", extend, "}")));
    return run.train.extension.value("original_length", 0);
  };
  EXPECT_EQ(original("{method: yarn, factor: 4}"), 256);
  trained_length = 64;
  EXPECT_EQ(original("{method: yarn, factor: 4}"), 64);
  EXPECT_EQ(original("{method: dynamic_ntk, factor: 4}"), 64);
  EXPECT_EQ(original("{method: llama3, factor: 4, original_length: 32}"), 32);
}

// ---- what weights keep of earlier training ------------------------------------------------------

// A model whose config.json extends it with yarn stays extended in every run that starts from it.
class ExtendedModelTest : public StagesTest {
 protected:
  ExtendedModelTest() {
    catalogue.find_model = [this](const std::string& name) {
      ModelInfo model = {.name = name,
                         .digest = Sha256Hex("yarned"),
                         .model = known.model,
                         .extension = yarn,
                         .trained_length = 256};
      return std::optional(std::move(model));
    };
    catalogue.model_names = {"yarned"};
  }
  Result<Sweep> Stages(const std::string& stage, const std::string& rest = "") const {
    return ParseSweep(Str(R"(apiVersion: longrun/v1
kind: Sweep
metadata: {name: a}
spec:
  model: {init_from: yarned}
  matrix: {train_length: [64], dataset: [one], seed: [1]}
  train: {tokens: 8192, batch_tokens: 1024}
  stages: [{name: more, )",
                          stage, "}]\n", rest),
                      "a.yaml", {}, catalogue);
  }

  const Json yarn = {{"method", "yarn"}, {"factor", 4.0}, {"original_length", 64}};
};

TEST_F(ExtendedModelTest, AStageCannotBeTrainedUnderAnother) {
  const Result<Sweep> plain = Stages("train: {tokens: 4096}");
  ASSERT_TRUE(plain.ok()) << plain.status().message();
  const Result<Sweep> sweep = Stages("train: {extend: {method: pi, factor: 2}}");
  ASSERT_FALSE(sweep.ok());
  EXPECT_NE(sweep.status().message().find(
                Str("train.extend.method: run ", plain->runs.at(0).run_key.substr(0, 8),
                    " began with an imported model that config.json already extends with yarn, and "
                    "training uses this extension; leave out train.extend")),
            std::string::npos)
      << sweep.status().message();
}

TEST_F(ExtendedModelTest, AStageCannotBeReadUnderAnotherAndHasNoWindowBaseline) {
  const std::string reads = "  evaluate: [{passkey: {context_lengths: [256], trials: 2}}]\n";
  const Result<Sweep> plain = Stages("train: {tokens: 4096}", reads);
  ASSERT_TRUE(plain.ok()) << plain.status().message();
  ASSERT_EQ(plain->runs.size(), 2u);
  for (const PlannedRun& run : plain->runs) EXPECT_EQ(run.evaluations.size(), 1u);

  const Result<Sweep> read = Stages("train: {tokens: 4096}", Str(reads, "  extend: [none, dca]\n"));
  ASSERT_FALSE(read.ok());
  EXPECT_NE(read.status().message().find("spec.extend[1] (dca): config.json of model "
                                         "\"yarned\" already extends the model with yarn"),
            std::string::npos)
      << read.status().message();
}

TEST_F(ExtendedModelTest, ARunThatStartsFromOneCannotBeReadUnderAnother) {
  extension = yarn;
  const auto from = [&](const std::string& train, const std::string& rest) {
    return From("{init_from: {run: 01234567}}", "{train_length: [64], dataset: [one]}",
                Str("{tokens: 8192, batch_tokens: 1024", train, "}\n", rest));
  };
  EXPECT_TRUE(from("", "").ok());
  const std::string name = Str("run ", known.Key().substr(0, 8));
  const Result<Sweep> trained = from(", extend: {method: pi, factor: 2}", "");
  ASSERT_FALSE(trained.ok());
  EXPECT_NE(trained.status().message().find(
                Str("train.extend.method: ", name, " began with an imported model")),
            std::string::npos)
      << trained.status().message();
  const Result<Sweep> read =
      from("", "  evaluate: [{perplexity: {context_lengths: [64]}}]\n  extend: [dca]\n");
  ASSERT_FALSE(read.ok());
  EXPECT_NE(read.status().message().find(
                Str("spec.extend[0] (dca): ", name, " began with an imported model")),
            std::string::npos)
      << read.status().message();
}

// The text of an earlier training of the weights is no held-out text.
TEST_F(StagesTest, TheTrainingTextOfABaseIsNotEvaluatedUnasked) {
  const auto yaml = [](const std::string& overlap) {
    return Str(R"(
  stages: [{name: two, dataset: two}]
  evaluate: [{perplexity: {context_lengths: [64], dataset: one, split: train)",
               overlap, "}}]\n");
  };
  const auto parse = [&](const std::string& overlap) {
    std::string text = Yaml(yaml(overlap));
    text.erase(text.find("  evaluate: [{perplexity: {context_lengths: [64, 128]}}]\n"),
               std::string("  evaluate: [{perplexity: {context_lengths: [64, 128]}}]\n").size());
    return ParseSweep(text, "a.yaml", {}, catalogue);
  };
  const Result<Sweep> refused = parse("");
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.status().message().find("spec.evaluate[0].perplexity.split: "),
            std::string::npos)
      << refused.status().message();
  const Result<Sweep> allowed = parse(", allow_train_overlap: true");
  ASSERT_TRUE(allowed.ok()) << allowed.status().message();
  EXPECT_EQ(allowed->runs.at(0).trained_before, std::set<std::string>());
  EXPECT_EQ(allowed->runs.at(1).trained_before, std::set<std::string>{Sha256Hex("one")});
}

TEST_F(StagesTest, TheTrainingTextOfEveryEarlierRunIsNotEvaluatedUnasked) {
  trained_before = {Sha256Hex("two")};
  const auto from = [&](const std::string& dataset, const std::string& overlap) {
    return From("{init_from: {run: 01234567}}", "{train_length: [64], dataset: [three]}",
                Str("{tokens: 8192, batch_tokens: 1024}\n  evaluate: [{perplexity: "
                    "{context_lengths: [64], split: train, dataset: ",
                    dataset, overlap, "}}]"));
  };
  catalogue.names = {"one", "two", "three", "four"};
  for (const char* const earlier : {"one", "two"}) {
    EXPECT_FALSE(from(earlier, "").ok()) << earlier;
    EXPECT_TRUE(from(earlier, ", allow_train_overlap: true").ok()) << earlier;
  }
  const Result<Sweep> sweep = from("four", "");
  ASSERT_TRUE(sweep.ok()) << sweep.status().message();
  EXPECT_EQ(sweep->runs.at(0).trained_before,
            (std::set<std::string>{Sha256Hex("one"), Sha256Hex("two")}));
}

}  // namespace
}  // namespace longrun
