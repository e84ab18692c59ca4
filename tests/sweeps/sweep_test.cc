// The sweep language. Files beside this one are tests as data: NAME.yaml gives NAME.expected, which
// is the errors or a summary of the runs. Lines `# --set path=value` at a file's top are overrides.
// LONGRUN_UPDATE=1 rewrites the expected files, and sweep.schema.json and reference.md with
// them.
#include "sweeps/sweep.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <map>

#include "base/clock.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/str.h"
#include "base/utf8.h"
#include "base/version.h"
#include "sweeps/evaluated_dataset.h"
#include "sweeps/evaluation_name.h"
#include "sweeps/limits.h"
#include "sweeps/schema.h"
#include "sweeps/yaml_tree.h"
#include "tests/deadline.h"
#include "tests/sweeps/overrides.h"

namespace longrun {
namespace {

std::string SourcePath(std::string_view path) { return JoinPath(LONGRUN_SOURCE_DIR, path); }

bool Updates() { return std::getenv("LONGRUN_UPDATE") != nullptr; }

// austen: 256 ids, 4 M and 20,000 tokens; tiny: too short for most things, and without validation;
// books: for evaluations, of more documents; words: of another tokenizer.
DatasetCatalogue TestDatasets() {
  const auto find = [](const std::string& name) -> std::optional<DatasetInfo> {
    DatasetInfo info = {.name = name,
                        .digest = Sha256Hex("digest of " + name),
                        .tokenizer_fingerprint = Sha256Hex("bytes"),
                        .vocab_size = 256,
                        .split_tokens = {}};
    if (name == "austen") {
      info.split_tokens = {{"train", 4'000'000}, {"validation", 20'000}};
      info.split_documents = {{"validation", 2}};
      info.documents = [](const std::string&, std::int64_t) -> Result<std::vector<TextSpan>> {
        return std::vector<TextSpan>{{0, 9999}, {10'000, 19'999}};
      };
    } else if (name == "tiny") {
      info.split_tokens = {{"train", 100}};
      info.split_documents = {{"train", 1}};
    } else if (name == "books") {
      info.split_tokens = {{"train", 50'000}, {"test", 9'000}};
      info.split_documents = {{"train", 40}, {"test", 3}};
      info.documents = [](const std::string&, std::int64_t) -> Result<std::vector<TextSpan>> {
        return std::vector<TextSpan>{{0, 2999}, {3000, 5999}, {6000, 8999}};
      };
    } else if (name == "words") {
      info.split_tokens = {{"train", 50'000}, {"test", 9'000}};
      info.tokenizer_fingerprint = Sha256Hex("words");
    } else {
      return std::nullopt;
    }
    return info;
  };
  return {.find = find, .names = {"austen", "tiny"}};
}

Result<Sweep> Parse(std::string_view yaml, const Overrides& overrides = {}) {
  return ParseSweep(yaml, "sweep.yaml", overrides, TestDatasets());
}

// A sweep of two runs, into which `spec` goes as a further line below spec.
std::string SmallSweep(std::string_view spec = "", std::string_view metadata = "{name: small}") {
  return Str("apiVersion: longrun/v1\nkind: Sweep\nmetadata: ", metadata,
             "\nspec:\n"
             "  model: {size: micro}\n"
             "  matrix: {position: [alibi, rope], train_length: [64], dataset: [austen]}\n"
             "  train: {tokens: 614400, batch_tokens: 1024}\n",
             spec.empty() ? "" : Str("  ", spec, "\n"));
}

std::string ErrorOf(const Result<Sweep>& sweep) { return sweep.status().message(); }

// 960 and 1024 fit 64, and no other train length.
TEST(SweepTest, ABatchIsSuggestedThatFitsAllTrainLengths) {
  std::string yaml = SmallSweep();
  const auto replace = [&](std::string_view before, std::string_view after) {
    yaml.replace(yaml.find(before), before.size(), after);
  };
  replace("batch_tokens: 1024", "batch_tokens: 1000");
  const std::string nearest =
      "train.batch_tokens: 1000 is not a multiple of train_length 64; the nearest are 960 and 1024";
  EXPECT_TRUE(ErrorOf(Parse(yaml)).ends_with(nearest)) << ErrorOf(Parse(yaml));
  replace("train_length: [64]", "train_length: [64, 96, 200]");
  const std::string error = ErrorOf(Parse(yaml));
  EXPECT_NE(error.find(Str(nearest,
                           "; of all train lengths (64, 96, 200), the nearest multiple is "
                           "4800")),
            std::string::npos)
      << error;
  replace("[64, 96, 200]", "[64, 96]");
  EXPECT_NE(ErrorOf(Parse(yaml))
                .find("of all train lengths (64, 96), the nearest multiples are "
                      "960 and 1152"),
            std::string::npos)
      << ErrorOf(Parse(yaml));
}

// The only run of a small sweep with these evaluations.
PlannedRun RunWith(std::string_view evaluate) {
  const Result<Sweep> sweep = Parse(SmallSweep(Str("evaluate: [", evaluate, "]")));
  EXPECT_TRUE(sweep.ok()) << ErrorOf(sweep);
  return sweep->runs[0];
}

std::string Summary(const Sweep& sweep) {
  std::string out = Str("sweep ", sweep.name, ": ", sweep.runs.size(), " runs over ",
                        Join(sweep.axes, ", "), "\n");
  for (const auto& [key, value] : sweep.labels) out += Str("label ", key, " = ", value, "\n");
  out += Str("devices ", sweep.devices, " ", EnumName(sweep.device_kind), ", failures_max ",
             sweep.retry.failures_max, ", losses_max ", sweep.retry.losses_max, ", priority ",
             sweep.priority, ", checkpoint every ", sweep.checkpoint_every_ms, " ms, keep ",
             sweep.checkpoint_keep,
             sweep.activation_checkpointing ? ", activation checkpointing\n" : "\n");
  for (const PlannedRun& run : sweep.runs) {
    out += Str("run ", run.run_key.substr(0, 12), " ", CanonicalJson(run.axes), "\n");
    for (const PlannedEvaluation& evaluation : run.evaluations) {
      out += Str("  ", CanonicalJson(evaluation.evaluation), "\n");
      for (const ExpectedCell& cell : evaluation.cells) {
        out += Str("    ", cell.metric, " ", cell.context_length, " ", cell.variant, "\n");
      }
    }
  }
  if (!sweep.runs.empty()) out += Str(CanonicalJson(sweep.runs[0].run.ToJson()), "\n");
  return out;
}

void ExpectFile(const std::string& path, const std::string& bytes) {
  if (Updates()) {
    ASSERT_TRUE(WriteFileAtomic(path, bytes).ok());
    return;
  }
  const Result<std::string> expected = ReadFile(path);
  ASSERT_TRUE(expected.ok()) << expected.status().message() << "; LONGRUN_UPDATE=1 writes it";
  EXPECT_EQ(*expected, bytes) << path << "; LONGRUN_UPDATE=1 rewrites it";
}

TEST(SweepFilesTest, EveryFileGivesTheExpectedTextBesideIt) {
  const std::string folder = SourcePath("tests/sweeps");
  int n_files = 0;
  const std::vector<std::string> names = *ListFolder(folder);
  for (const std::string& name : names) {
    if (!name.ends_with(".yaml")) continue;
    ++n_files;
    const std::string yaml = *ReadFile(JoinPath(folder, name));
    const Result<Sweep> sweep = ParseSweep(yaml, name, OverridesOf(yaml), TestDatasets());
    const std::string stem = name.substr(0, name.size() - 5);
    ExpectFile(JoinPath(folder, stem + ".expected"),
               sweep.ok() ? Summary(*sweep) : ErrorOf(sweep) + "\n");
  }
  EXPECT_GE(n_files, 20);
}

// Not a file beside this one: editors and git may change its line ends.
TEST(SweepFilesTest, LinesThatEndInCarriageReturnsAloneAreNamedWithTheRemedy) {
  std::string yaml = *ReadFile(SourcePath("tests/sweeps/full.yaml"));
  std::ranges::replace(yaml, '\n', '\r');
  const Result<Sweep> sweep = ParseSweep(yaml, "old.yaml", {}, TestDatasets());
  ASSERT_FALSE(sweep.ok());
  EXPECT_EQ(ErrorOf(sweep),
            "old.yaml:1:1: the lines of this file end only in carriage returns, as on old Macs: "
            "convert them, as with `tr '\\r' '\\n' < OLD.yaml > NEW.yaml`");
}

// The six novels as `./dev quickstart` imports them: Persuasion has 466,854 bytes and its end of
// text.
DatasetCatalogue Novels() {
  const auto find = [](const std::string& name) -> std::optional<DatasetInfo> {
    if (name != "austen") return std::nullopt;
    return DatasetInfo{.name = name,
                       .digest = Sha256Hex("digest of " + name),
                       .tokenizer_fingerprint = Sha256Hex("bytes"),
                       .vocab_size = 320,
                       .split_tokens = {{"train", 3'558'180}, {"validation", 466'855}}};
  };
  return {.find = find, .names = {"austen"}};
}

TEST(SweepFilesTest, QuickStartTrainsFourMethodsAndReadsSixteenTimesTheTrainLength) {
  const std::string yaml = *ReadFile(SourcePath("sweeps/quickstart.yaml"));
  const Result<Sweep> sweep = ParseSweep(yaml, "quickstart.yaml", {}, Novels());
  ASSERT_TRUE(sweep.ok()) << ErrorOf(sweep);
  EXPECT_EQ(sweep->name, "quickstart");
  std::vector<std::string> methods;
  for (const PlannedRun& run : sweep->runs) {
    methods.push_back(run.run.model.position.method);
    ASSERT_EQ(run.evaluations.size(), 1u);
    EXPECT_EQ(run.evaluations[0].cells.back().context_length, 16 * run.run.train.train_length);
  }
  EXPECT_EQ(methods, (std::vector<std::string>{"cable", "alibi", "rope", "sinusoidal"}));
}

TEST(SweepFilesTest, TheShippedSchemaAndReferenceAreThoseOfTheTable) {
  ExpectFile(SourcePath("sweeps/sweep.schema.json"), SweepJsonSchema().dump(2) + "\n");
  ExpectFile(SourcePath("sweeps/reference.md"), SweepReference());
}

// ---- identity -----------------------------------------------------------------------------------

TEST(SweepIdentityTest, RunKeyOfTheSmallSweepIsGolden) {
  // SHA-256 of the canonical run below, computed with Python's hashlib. It changes with
  // kNumericsVersion and with nothing else.
  const Result<Sweep> sweep = Parse(SmallSweep());
  ASSERT_TRUE(sweep.ok()) << ErrorOf(sweep);
  const std::string digest = Sha256Hex("digest of austen");
  const std::string canonical = Str(
      R"({"dataset":{"digest":")", digest,
      R"("},"model":{"activation":"gelu_new","architecture":"gpt2","causal":true,"d_ff":384,)",
      R"("d_model":96,"init_std":0.02,"layer_norm_epsilon":1e-05,"n_head":4,"n_layer":3,)",
      R"("tie_embeddings":true,"vocab_size":256},"numerics":1,"position":{"method":"alibi",)",
      R"("slopes":"nearest_power","variant":"press"},"seed":1,"tokenizer":{"fingerprint":")",
      Sha256Hex("bytes"), R"("},"train":{"batch_tokens":1024,"optimizer":{"betas":[0.9,0.95],)",
      R"("eps":1e-08,"grad_clip":1,"lr":6e-04,"min_lr":6e-05,"name":"adamw","weight_decay":0.1},)",
      R"("order":"random","precision":"fp32","schedule":{"name":"cosine","warmup_tokens":0},)",
      R"("tokens":614400,"train_length":64,"validate":{"every":0,"tokens":0}}})");
  EXPECT_EQ(CanonicalJson(sweep->runs[0].run.ToJson()), canonical);
  EXPECT_EQ(sweep->runs[0].run_key,
            "2cc3ad4f2566c97879ed3c778d17dc47f4a294884ad538ab5776354a18c23877");
}

TEST(SweepIdentityTest, OrderOfKeysDoesNotChangeARun) {
  const Result<Sweep> sweep = Parse(
      "spec:\n"
      "  train: {batch_tokens: 1024, tokens: 614400}\n"
      "  matrix: {dataset: [austen], train_length: [64], position: [alibi, rope]}\n"
      "  model: {size: micro}\n"
      "kind: Sweep\nmetadata: {name: small}\napiVersion: longrun/v1\n");
  ASSERT_TRUE(sweep.ok()) << ErrorOf(sweep);
  const Result<Sweep> small = Parse(SmallSweep());
  EXPECT_EQ(sweep->runs[0].run_key, small->runs[0].run_key);
  EXPECT_EQ(sweep->runs[1].run_key, small->runs[1].run_key);
}

TEST(SweepIdentityTest, NamesLabelsPriorityRetriesAndCheckpointsDoNotChangeARun) {
  const Result<Sweep> small = Parse(SmallSweep());
  const Result<Sweep> other =
      Parse(SmallSweep("priority: 7\n  retry: {failures_max: 9}\n  resources: {kind: cpu}",
                       "{name: other, labels: {paper: cable}}"),
            {{"train.checkpoint.every", "1min"}});
  ASSERT_TRUE(other.ok()) << ErrorOf(other);
  EXPECT_EQ(other->priority, 7);
  EXPECT_EQ(other->checkpoint_every_ms, 60'000);
  EXPECT_EQ(other->runs[0].run_key, small->runs[0].run_key);
}

TEST(SweepIdentityTest, WhatIsWrittenAsTheDefaultIsTheDefault) {
  const Result<Sweep> small = Parse(SmallSweep());
  const Result<Sweep> spelled =
      Parse(SmallSweep(), {{"model.d_ff", "384"},
                           {"model.n_layer", "3"},
                           {"train.precision", "fp32"},
                           {"train.optimizer.lr", "6.0e-4"},
                           {"train.tokens", "614.4K"},
                           {"seed", "1"},
                           {"position", "{method: alibi, variant: press}"}});
  ASSERT_TRUE(spelled.ok()) << ErrorOf(spelled);
  EXPECT_EQ(spelled->runs[0].run_key, small->runs[0].run_key);
}

TEST(SweepIdentityTest, ABoundForSkippedKeysChangesTheRunUnlessItIsZero) {
  const auto key = [](const std::string& value) {
    Overrides overrides = {{"position", "alibi"}};
    if (!value.empty()) overrides.emplace_back("train.skip_epsilon", value);
    const Result<Sweep> sweep = Parse(SmallSweep(), overrides);
    EXPECT_TRUE(sweep.ok()) << ErrorOf(sweep);
    return sweep->runs.at(0).run_key;
  };
  const std::string plain = key("");
  EXPECT_EQ(key("0"), plain);
  EXPECT_EQ(key("0.0"), plain);
  EXPECT_NE(key("5.96e-8"), plain);
  EXPECT_NE(key("1e-6"), key("5.96e-8"));
  EXPECT_EQ(key("0.001"), key("1e-3"));
}

TEST(SweepIdentityTest, ALengthAddedBelowTheLongestChangesNoCellAndNoScoreTokens) {
  const auto cells = [](std::string_view lengths) {
    const Result<Sweep> sweep =
        Parse(SmallSweep(Str("evaluate: [{perplexity: {context_lengths: ", lengths, "}}]")));
    std::map<std::int64_t, std::string> by_length;
    for (const ExpectedCell& cell : sweep->runs[0].evaluations[0].cells) {
      by_length[cell.context_length] = cell.cell;
    }
    return by_length;
  };
  const auto one = cells("[1024]");
  const auto three = cells("[1024, 64, 256]");
  EXPECT_EQ(three.size(), 3u);
  EXPECT_EQ(one.at(1024), three.at(1024));
}

TEST(SweepIdentityTest, LeaveToScoreTheTrainSplitIsNoPartOfACell) {
  const auto sweep = [](std::string_view params) {
    const std::string yaml =
        Str("apiVersion: longrun/v1\nkind: Sweep\nmetadata: {name: a}\nspec:\n"
            "  model: {size: micro}\n"
            "  matrix: {position: [alibi], train_length: [64], dataset: [austen]}\n"
            "  train: {tokens: 1M, batch_tokens: 1024}\n"
            "  evaluate: [perplexity: {context_lengths: [64], ",
            params, "}]\n");
    return *ParseSweep(yaml, "a.yaml", {}, TestDatasets());
  };
  const Json plain = sweep("split: validation").runs[0].evaluations[0].evaluation;
  const Json allowed =
      sweep("split: validation, allow_train_overlap: true").runs[0].evaluations[0].evaluation;
  EXPECT_EQ(plain, allowed);
  EXPECT_EQ(sweep("split: train, allow_train_overlap: true")
                .runs[0]
                .evaluations[0]
                .evaluation["perplexity"]["split"],
            "train");
}

TEST(SweepIdentityTest, TaskAndCellKeysAreTheDigestsOfTheirCanonicalJson) {
  const std::string run_key = Sha256Hex("run");
  const Json evaluation = {{"perplexity", {{"split", "validation"}}}};
  EXPECT_EQ(TrainTaskKey(run_key),
            Sha256Hex(Str(R"({"kind":"train","run_key":")", run_key, R"("})")));
  const std::string cell = CellKey(run_key, evaluation, 64);
  EXPECT_EQ(cell,
            Sha256Hex(Str(R"({"context_length":64,"evaluation":{"perplexity":{"split":)",
                          R"("validation"}},"extension":"none","run_key":")", run_key, R"("})")));
  const std::vector<ExpectedCell> cells = {
      {.cell = cell, .metric = "nll", .context_length = 64, .variant = ""},
      {.cell = cell, .metric = "nll", .context_length = 64, .variant = "unigram"}};
  EXPECT_EQ(EvaluateTaskKey(run_key, evaluation, cells),
            Sha256Hex(Str(R"({"cells":[")", cell, R"("],"evaluation":{"perplexity":{"split":)",
                          R"("validation"}},"extension":"none","kind":"evaluate","run_key":")",
                          run_key, R"("})")));
}

// The parts of the keys are written by hand, as above.
TEST(SweepIdentityTest, TheDigestOfAnEvaluatedDatasetIsPartOfItsKeysButItsNameIsNot) {
  const std::string run_key = Sha256Hex("run"), digest = Sha256Hex("text");
  const Json plain = {{"perplexity", {{"split", "test"}}}};
  const Json books = WithEvaluatedDataset(plain, {.name = "books", .digest = digest});
  const Json renamed = WithEvaluatedDataset(plain, {.name = "novels", .digest = digest});
  const Json other =
      WithEvaluatedDataset(plain, {.name = "books", .digest = Sha256Hex("another text")});
  const std::string cell = CellKey(run_key, books, 64);
  const std::string evaluation =
      Str(R"({"perplexity":{"dataset":")", digest, R"(","split":"test"}})");
  EXPECT_EQ(cell, Sha256Hex(Str(R"({"context_length":64,"evaluation":)", evaluation,
                                R"(,"extension":"none","run_key":")", run_key, R"("})")));
  EXPECT_EQ(CellKey(run_key, renamed, 64), cell);
  EXPECT_NE(CellKey(run_key, other, 64), cell);
  EXPECT_NE(CellKey(run_key, plain, 64), cell);
  const std::vector<ExpectedCell> cells = {
      {.cell = cell, .metric = "nll", .context_length = 64, .variant = ""}};
  EXPECT_EQ(
      EvaluateTaskKey(run_key, books, cells),
      Sha256Hex(Str(R"({"cells":[")", cell, R"("],"evaluation":)", evaluation,
                    R"(,"extension":"none","kind":"evaluate","run_key":")", run_key, R"("})")));
  EXPECT_EQ(EvaluateTaskKey(run_key, renamed, cells), EvaluateTaskKey(run_key, books, cells));
  EXPECT_EQ(WithoutEvaluatedDataset(books), plain);
  EXPECT_EQ(EvaluatedDatasetOf(plain), std::nullopt);
}

TEST(SweepIdentityTest, AnEvaluationThatNamesTheDatasetOfItsRunIsTheSameAsOneThatNamesNone) {
  const PlannedRun plain = RunWith("perplexity: {context_lengths: [64, 128]}");
  const PlannedRun named = RunWith("perplexity: {context_lengths: [64, 128], dataset: austen}");
  EXPECT_EQ(named.run_key, plain.run_key);
  ASSERT_EQ(named.evaluations.size(), 1u);
  EXPECT_EQ(named.evaluations[0].evaluation, plain.evaluations[0].evaluation);
  EXPECT_EQ(named.evaluations[0].cells, plain.evaluations[0].cells);
  // Only for the runs of that dataset are the two the same: their lengths come together.
  const PlannedRun both = RunWith(
      "perplexity: {context_lengths: [128]}, "
      "{perplexity: {context_lengths: [64], dataset: austen}}");
  ASSERT_EQ(both.evaluations.size(), 1u);
  EXPECT_EQ(both.evaluations[0].cells, plain.evaluations[0].cells);
}

TEST(SweepIdentityTest, AnEvaluationInBf16IsAnotherOneAndInFp32TheSame) {
  const PlannedRun plain = RunWith("perplexity: {context_lengths: [64, 128]}");
  const PlannedRun fp32 = RunWith("perplexity: {context_lengths: [64, 128], precision: fp32}");
  EXPECT_EQ(fp32.evaluations[0].evaluation, plain.evaluations[0].evaluation);
  EXPECT_EQ(fp32.evaluations[0].cells, plain.evaluations[0].cells);
  const PlannedRun both = RunWith(
      "perplexity: {context_lengths: [64, 128]}, "
      "{perplexity: {context_lengths: [64, 128], precision: bf16}}");
  EXPECT_EQ(both.run_key, plain.run_key);
  ASSERT_EQ(both.evaluations.size(), 2u);
  EXPECT_EQ(both.evaluations[0].cells, plain.evaluations[0].cells);
  const Json& bf16 = both.evaluations[1].evaluation;
  EXPECT_EQ(bf16["perplexity"]["precision"], "bf16");
  EXPECT_EQ(EvaluationName(bf16, /*whole=*/false), "nonoverlap(precision=bf16)");
  for (const ExpectedCell& cell : both.evaluations[1].cells) {
    EXPECT_EQ(std::ranges::count(plain.evaluations[0].cells, cell.cell, &ExpectedCell::cell), 0);
  }
}

TEST(SweepIdentityTest, DefaultsAndRangesAreThoseOfTheEvaluatedDataset) {
  const auto tokens = [](std::string_view params) {
    const PlannedRun run = RunWith(Str("perplexity: {context_lengths: [64], ", params, "}"));
    return run.evaluations[0].evaluation["perplexity"]["score_tokens"].get<int>();
  };
  // A multiple of 64 windows of at least 8/9 of the split's 8,999 and 19,999 predictions.
  EXPECT_GT(tokens("split: validation"), 9'000);
  EXPECT_GE(tokens("split: test, dataset: books"), 8'000);
  EXPECT_LT(tokens("split: test, dataset: books"), 9'000);
  EXPECT_EQ(tokens("split: test, dataset: books, score_tokens: 8192"), 8'192);
  EXPECT_NE(ErrorOf(Parse(SmallSweep("evaluate: [perplexity: {context_lengths: [64], split: test, "
                                     "dataset: books, score_tokens: 9000}]")))
                .find("dataset \"books\""),
            std::string::npos);
}

// ---- matrix and overrides -----------------------------------------------------------------------

// 8 windows of 64 and of 128 tokens.
TEST(SweepIdentityTest, ARunWhoseFileCountsValidationInWindowsIsTheRunOfAsManyTokens) {
  const auto keys = [](const Overrides& more) {
    Overrides overrides = {{"train_length", "[64, 128]"}, {"train.validate.every", "102400"}};
    overrides.insert(overrides.end(), more.begin(), more.end());
    const Sweep sweep = *Parse(SmallSweep(), overrides);
    std::map<std::int64_t, std::string> key_of_length;
    for (const PlannedRun& planned : sweep.runs) {
      key_of_length[planned.run.train.train_length] = planned.run_key;
    }
    return key_of_length;
  };
  const auto windows = keys({{"train.validate.windows", "8"}});
  EXPECT_EQ(windows.at(64), keys({{"train.validate.tokens", "512"}}).at(64));
  EXPECT_EQ(windows.at(128), keys({{"train.validate.tokens", "1024"}}).at(128));
  // Of the length that the validation reads, if it has its own.
  const auto longer = keys({{"train.validate.windows", "8"}, {"train.validate.length", "256"}});
  EXPECT_EQ(longer.at(64),
            keys({{"train.validate.tokens", "2048"}, {"train.validate.length", "256"}}).at(64));
  const std::string error = ErrorOf(Parse(SmallSweep(), {{"train.validate.every", "102400"},
                                                         {"train.validate.tokens", "512"},
                                                         {"train.validate.windows", "8"}}));
  EXPECT_NE(error.find("say the same in two ways; leave one of them out"), std::string::npos)
      << error;
  EXPECT_NE(error.find("train.validate.windows"), std::string::npos) << error;
}

TEST(SweepMatrixTest, TheFirstAxisOfTheFileIsTheSlowest) {
  const Result<Sweep> sweep = Parse(SmallSweep(), {{"matrix.seed", "[1, 2]"}});
  ASSERT_TRUE(sweep.ok()) << ErrorOf(sweep);
  EXPECT_EQ(sweep->axes, (std::vector<std::string>{"position", "train_length", "dataset", "seed"}));
  ASSERT_EQ(sweep->runs.size(), 4u);
  EXPECT_EQ(sweep->runs[1].axes["position"], "alibi");
  EXPECT_EQ(sweep->runs[1].axes["seed"], 2);
  EXPECT_EQ(sweep->runs[2].axes["position"], "rope");
}

TEST(SweepMatrixTest, AnOverriddenAxisBecomesThatValue) {
  const Result<Sweep> sweep = Parse(SmallSweep(), {{"position", "cable"}, {"train_length", "128"}});
  ASSERT_TRUE(sweep.ok()) << ErrorOf(sweep);
  ASSERT_EQ(sweep->runs.size(), 1u);
  EXPECT_EQ(sweep->runs[0].run.model.position.method, "cable");
  EXPECT_EQ(sweep->runs[0].run.train.train_length, 128);
  EXPECT_EQ(sweep->overrides.size(), 2u);
}

TEST(SweepMatrixTest, LearnedPositionsHaveARowForEachTokenOfTheTrainLength) {
  const Result<Sweep> sweep = Parse(SmallSweep(), {{"position", "[learned, alibi]"}});
  ASSERT_TRUE(sweep.ok()) << ErrorOf(sweep);
  EXPECT_EQ(sweep->runs[0].run.model.n_positions, 64);
  EXPECT_EQ(sweep->runs[1].run.model.n_positions, 0);
}

TEST(SweepMatrixTest, AnOverrideOfTheMatrixMayAddAnAxis) {
  const Result<Sweep> sweep = Parse(SmallSweep(), {{"matrix.model.n_layer", "[1, 2]"}});
  ASSERT_TRUE(sweep.ok()) << ErrorOf(sweep);
  EXPECT_EQ(sweep->runs.size(), 4u);
  EXPECT_EQ(sweep->runs[1].run.model.n_layer, 2);
}

TEST(SweepMatrixTest, SeveralValuesOfAKeyThatTheFileHasAreAnAxisInItsPlace) {
  for (const char* const path : {"train.tokens", "spec.train.tokens", "matrix.train.tokens"}) {
    const Result<Sweep> sweep = Parse(SmallSweep(), {{path, "[20480, 40960]"}});
    ASSERT_TRUE(sweep.ok()) << path << ": " << ErrorOf(sweep);
    ASSERT_EQ(sweep->runs.size(), 4u) << path;
    EXPECT_EQ(sweep->runs[0].run.train.tokens, 20480);
    EXPECT_EQ(sweep->runs[1].run.train.tokens, 40960);
    EXPECT_EQ(std::ranges::count(sweep->axes, "train.tokens"), 1);
  }
  // The last word counts.
  const Result<Sweep> one =
      Parse(SmallSweep(), {{"train.tokens", "[20480, 40960]"}, {"train.tokens", "40960"}});
  ASSERT_TRUE(one.ok()) << ErrorOf(one);
  EXPECT_EQ(one->runs.size(), 2u);
  EXPECT_EQ(one->runs[0].run.train.tokens, 40960);
}

TEST(SweepMatrixTest, AnExcludedMethodIsExcludedWithAnyParameters) {
  const Overrides positions = {
      {"position", "[alibi, {method: rope, base: 500}, {method: rope, base: 700}]"}};
  const auto count = [&](std::string_view exclude) {
    const Result<Sweep> sweep = Parse(SmallSweep(Str("exclude: [", exclude, "]")), positions);
    EXPECT_TRUE(sweep.ok()) << ErrorOf(sweep);
    return sweep->runs.size();
  };
  EXPECT_EQ(count("{position: rope}"), 1u);
  EXPECT_EQ(count("{position: {method: rope, base: 700}}"), 2u);
  EXPECT_EQ(count("{position: rope, train_length: 64}"), 1u);
  // With --set, an axis may lack what the file leaves out.
  EXPECT_EQ(count("{position: {method: rope, base: 900}}"), 3u);
}

// As a comparison of each entry with each point says it.
TEST(SweepMatrixTest, EntriesOfExcludeLeaveOutWhatTheySay) {
  const std::string positions =
      "[alibi, {method: rope, base: 500}, {method: rope, base: 700},"
      " {method: rope, base: 700, partial: 0.5}]";
  const auto axes_of = [&](std::string_view exclude) {
    const Result<Sweep> sweep = Parse(SmallSweep(Str("exclude: [", exclude, "]")),
                                      {{"position", positions},
                                       {"seed", "[1, 2, 3]"},
                                       {"matrix.train.optimizer.lr", "[1, 2.5]"}});
    EXPECT_TRUE(sweep.ok()) << ErrorOf(sweep);
    std::vector<std::string> axes;
    if (!sweep.ok()) return axes;
    for (const PlannedRun& run : sweep->runs) {
      axes.push_back(Str(CanonicalJson(run.axes["position"]), " ", CanonicalJson(run.axes["seed"]),
                         " ", CanonicalJson(run.axes["train.optimizer.lr"])));
    }
    return axes;
  };
  const std::vector<std::string> all = axes_of("");
  ASSERT_EQ(all.size(), 24u);
  const auto expect_without = [&](std::string_view exclude, const auto& is_out) {
    std::vector<std::string> kept;
    std::ranges::copy_if(all, std::back_inserter(kept),
                         [&](const std::string& one) { return !is_out(one); });
    EXPECT_LT(kept.size(), all.size()) << exclude;
    EXPECT_EQ(axes_of(exclude), kept) << exclude;
  };
  const auto has = [](const std::string& one, std::string_view part) {
    return one.find(part) != std::string::npos;
  };
  expect_without("{seed: 2}", [&](const auto& one) { return has(one, " 2 "); });
  // Whole numbers are numbers, too.
  expect_without("{train.optimizer.lr: 1.0}", [&](const auto& one) { return one.ends_with(" 1"); });
  expect_without("{position: {method: rope, base: 700}}",
                 [&](const auto& one) { return has(one, "700"); });
  expect_without("{position: {method: rope, partial: 0.5}}",
                 [&](const auto& one) { return has(one, "partial"); });
  expect_without("{position: alibi}", [&](const auto& one) { return has(one, "alibi"); });
  expect_without(
      "{position: {method: rope, base: 500}, seed: 3}, {seed: 1, "
      "train.optimizer.lr: 2.5}, {position: rope, train.optimizer.lr: 1}",
      [&](const auto& one) {
        return (has(one, "500") && has(one, " 3 ")) || one.ends_with(" 1 2.5") ||
               (has(one, "rope") && one.ends_with(" 1"));
      });
}

TEST(SweepMatrixTest, AnIncludedPointThatIsThereAddsNothing) {
  const Result<Sweep> sweep =
      Parse(SmallSweep("include: [{position: rope, train_length: 64, dataset: austen},"
                       " {position: rope, train_length: 64, dataset: austen, seed: 2}]"));
  ASSERT_TRUE(sweep.ok()) << ErrorOf(sweep);
  ASSERT_EQ(sweep->runs.size(), 3u);
  EXPECT_EQ(sweep->runs[2].run.seed, 2);
}

// ---- limits -------------------------------------------------------------------------------------

TEST(SweepLimitsTest, RefusesTextThatIsTooLong) {
  const std::string yaml = SmallSweep() + "#" + std::string(kSweepBytesMax, 'x');
  EXPECT_EQ(ErrorOf(Parse(yaml)),
            Str("sweep.yaml:1:1: the text has ", yaml.size(), " bytes; at most 1048576 are read"));
}

TEST(SweepLimitsTest, RefusesTextThatIsNestedTooDeep) {
  const std::string nested = std::string(65, '[') + std::string(65, ']');
  EXPECT_EQ(ErrorOf(Parse("a: " + nested)), "sweep.yaml:1:67: nested more than 64 levels deep");
  EXPECT_NE(ErrorOf(Parse(std::string(100'000, '['))).find("nested more than 64 levels deep"),
            std::string::npos);
}

TEST(SweepLimitsTest, RefusesTooManyNodes) {
  std::string yaml = "a: [";
  for (int i = 0; i < kYamlNodesMax; ++i) yaml += "1,";
  // The map, its key and the list are 3, so the list can have 99,997 values. "a: [" has 4 columns,
  // and each value 2.
  EXPECT_EQ(
      ErrorOf(Parse(yaml + "]")),
      "sweep.yaml:1:199999: the file has more than 100000 keys and values: shorten its lists, "
      "or divide it into several files");
}

TEST(SweepLimitsTest, AFileThatIsOnlyATextWithADashBelowIsNoSweep) {
  const Result<Sweep> sweep = ParseSweep("x\n - y\n", "file.yaml", {}, {});
  EXPECT_EQ(sweep.status().code(), Code::kInvalidArgument);
}

// A text without quotes that fills the file, with a dash in its first continued line and another
// one, which is an entry of the list, in its last.
TEST(SweepLimitsTest, ALongTextWithDashesIsReadInOnePass) {
  std::string yaml = "a:\n- x\n  aaaaaaaaaaa - b\n";
  int n_lines = 3;
  for (; yaml.size() < kSweepBytesMax - 40; ++n_lines) {
    yaml += Str("  aaaaaaaaaaa", 100'000 + n_lines, "\n");
  }
  std::vector<Problem> problems;
  EXPECT_TRUE(ParseYaml(yaml, 0, problems));
  EXPECT_EQ(problems, std::vector<Problem>());

  EXPECT_FALSE(ParseYaml(yaml + " - late\n", 0, problems));
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_EQ(problems[0].place, (Place{.source = 0, .line = n_lines + 1, .column = 2}));
  EXPECT_EQ(problems[0].message.substr(0, 9), "this dash");
}

// A line may have a million bytes, and what is wrong with it is found in one pass, and said in a
// few hundred.
TEST(SweepLimitsTest, WhatIsNoYamlIsQuotedInShort) {
  const std::string word(300'000, 'x');
  const std::int64_t begun_ms = BootMs();
  for (const std::string& yaml :
       {Str(word, " y"), Str(word, ":{y: 1}"), Str("a ", word), Str("a:[", word), Str("a:", word),
        Str("a: b: ", word), Str(word, ": ", word, ": c"), Str("a: {b: 1 ", word, ": 2}"),
        Str("a: [b \"", word, "\"]"), Str("a: {", word, " [b]}"), Str("a: \"b\" ", word),
        Str("-", word, ": 1"), Str("a:\n- ", word, ": 1\n-", word), Str(word, "\n  a: 1\n  b: 2"),
        Str("a: ", word, "\n  b: 1\n  c: 2"), Str("a:\n    b: 1\n  ", word, ": 1")}) {
    const std::string error = ErrorOf(Parse(yaml));
    EXPECT_NE(error, "") << yaml.substr(0, 20);
    EXPECT_LT(error.size(), 700u) << yaml.substr(0, 20) << "..." << error.substr(0, 300);
  }
  EXPECT_LT(BootMs() - begun_ms, DeadlineMs(60'000));
}

TEST(SweepLimitsTest, RefusesBytesThatAreNoText) {
  EXPECT_EQ(ErrorOf(Parse("a: 1\nb: \xff\n")),
            "sweep.yaml:2:1: this line is not UTF-8 text: save the file as UTF-8");
  EXPECT_EQ(ErrorOf(Parse(std::string("a: 1\nb: \0\n", 10))),
            "sweep.yaml:2:4: there is a NUL byte here: remove it, or save the file as UTF-8");
}

TEST(SweepLimitsTest, RefusesKeysThatNoMessageCouldShow) {
  EXPECT_NE(
      ErrorOf(Parse("\"\": 1\n")).find("sweep.yaml:1:1: a key is empty: name it, or remove it"),
      std::string::npos);
  EXPECT_NE(ErrorOf(Parse("\"a\\nb\": 1\n")).find("sweep.yaml:1:1: \"a\\x0ab\" cannot be a key: "),
            std::string::npos);
  const std::string error = ErrorOf(Parse(std::string(1'000, 'k') + ": 1\n"));
  EXPECT_NE(error.find("k\u2026\" cannot be a key: keys have at most 256 bytes"),
            std::string::npos);
}

TEST(SweepLimitsTest, AnAliasBombCostsNothing) {
  std::string yaml = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 30; ++i) {
    const std::string alias = Str("*a", i - 1);
    yaml += Str("a", i, ": &a", i, " [", alias, ", ", alias, ", ", alias, "]\n");
  }
  const std::string error = ErrorOf(Parse(yaml));
  EXPECT_NE(error.find("anchors (&name) are refused"), std::string::npos);
  EXPECT_NE(error.find("aliases are refused"), std::string::npos);
}

TEST(SweepLimitsTest, RefusesTooManyExcludes) {
  std::string entries;
  for (std::size_t i = 0; i <= kExcludesMax; ++i) entries += "{seed: 9},";
  const Result<Sweep> sweep = Parse(SmallSweep(Str("exclude: [", entries, "]")));
  EXPECT_EQ(ErrorOf(sweep), "sweep.yaml:8:12: spec.exclude: 1001 entries; at most 1000");
}

// 898 entries and 49,000 values of an axis.
TEST(SweepLimitsTest, ManyExcludesOfManyValuesTakeNoLonger) {
  constexpr int kEntries = 898, kValues = 49'000;
  std::string seeds, entries, slips;
  for (int i = 0; i < kValues; ++i) seeds += Str(i == 0 ? "" : ", ", i);
  for (int i = 0; i < kEntries; ++i) {
    entries += Str("{seed: ", kValues - 1 - i, ", position: alibi},");
    slips += Str("{seed: ", kValues + i, "},");
  }
  const std::string sweep =
      "apiVersion: longrun/v1\nkind: Sweep\nmetadata: {name: many}\nspec:\n"
      "  model: {architecture: gpt2, size: micro}\n"
      "  matrix: {position: [alibi], train_length: [64], dataset: [austen], seed: [";
  const std::string rest = "]}\n  train: {tokens: 20480, batch_tokens: 1024}\n  evaluate: []\n";
  // Of the processor, since other programs may run beside this one.
  const auto seconds_of = [&](const std::string& exclude, Result<Sweep>& parsed) {
    const std::clock_t begun = std::clock();
    parsed = Parse(Str(sweep, seeds, rest, "  exclude: [", exclude, "]\n"));
    return static_cast<double>(std::clock() - begun) / CLOCKS_PER_SEC;
  };
  Result<Sweep> without = Status(Code::kInternal, ""), with = without, wrong = without;
  const double without_s = seconds_of("{seed: 0}", without);
  const double with_s = seconds_of(entries, with);
  ASSERT_TRUE(with.ok() && without.ok()) << ErrorOf(with);
  EXPECT_EQ(with->runs.size(), static_cast<std::size_t>(kValues - kEntries));
  EXPECT_LT(with_s, 2 * without_s + 1) << "without: " << without_s << " s";

  const double wrong_s = seconds_of(slips, wrong);
  EXPECT_LT(wrong_s, 2 * without_s + 1) << "without: " << without_s << " s";
  const std::string error = ErrorOf(wrong);
  EXPECT_NE(
      error.find("\"49000\" excludes nothing, since the matrix has only these values of seed: "
                 "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, and "
                 "48980 more"),
      std::string::npos)
      << error.substr(0, 1000);
}

TEST(SweepLimitsTest, ALongOverrideIsNotCutInsideACharacter) {
  for (int n = 50; n < 62; ++n) {
    const std::string error =
        ErrorOf(Parse(SmallSweep(), {{"train.tokens", std::string(n, 'x') + "\u00e9\u20ac"}}));
    EXPECT_TRUE(CheckUtf8(error, "the error", "").ok()) << error;
  }
}

// "first, first + 1, ": n of them.
std::string Numbers(std::int64_t first, std::int64_t n) {
  std::string numbers;
  for (std::int64_t at = first; at < first + n; ++at) numbers += Str(at, ", ");
  return numbers;
}

// Each length of a needle has a row for each depth, and their mean.
constexpr int kDepths = 100;
constexpr std::int64_t kNeedleLengthsMax = kTaskResultsMax / (kDepths + 1);
std::string NeedleOf(std::int64_t n_lengths) {
  return Str("{needle: {context_lengths: [", Numbers(1000, n_lengths), "], depths: ", kDepths,
             ", baseline: none}}");
}

TEST(SweepLimitsTest, RefusesTooManyResults) {
  const auto parse = [&](std::int64_t n_seeds) {
    std::string yaml = SmallSweep(Str("evaluate: [", NeedleOf(kNeedleLengthsMax), "]"));
    const std::string axis = "dataset: [austen]";
    return Parse(yaml.replace(yaml.find(axis), axis.size(),
                              Str(axis, ", seed: [", Numbers(1, n_seeds), "]")));
  };
  const std::int64_t n_of_seed = 2 * kNeedleLengthsMax * (kDepths + 1);  // for both positions
  EXPECT_EQ(ErrorOf(parse(kResultsMax / n_of_seed + 1)),
            "sweep.yaml:8:13: spec.evaluate: this sweep asks for more than 2000000 results (runs x "
            "extensions x context lengths x rows of each length), which is the most that a sweep "
            "may have; measure fewer context lengths or depths, or split the sweep into several");
  EXPECT_TRUE(parse(2).ok());
}

TEST(SweepLimitsTest, RefusesTooManyResultsOfATask) {
  const auto parse = [](std::string_view evaluate) {
    return Parse(SmallSweep(Str("evaluate: [", evaluate, "]")));
  };
  EXPECT_EQ(ErrorOf(parse(NeedleOf(kNeedleLengthsMax + 1))),
            "sweep.yaml:8:41: spec.evaluate[0].needle: 298 context lengths with 101 results each "
            "are 30098 results; one evaluation of a run may have at most 30000: measure fewer "
            "context lengths or depths, or divide the context lengths among several sweeps");
  EXPECT_TRUE(parse(NeedleOf(kNeedleLengthsMax)).ok());
  // Each length has the model's number and that of the baseline.
  const auto perplexity = [](std::int64_t n_lengths) {
    return Str(
        "{perplexity: {context_lengths: [", Numbers(2, n_lengths),
        "], split: validation, protocol: nonoverlap, score_tokens: 16384, baseline: unigram}}");
  };
  EXPECT_EQ(ErrorOf(parse(perplexity(kTaskResultsMax / 2 + 1))),
            "sweep.yaml:8:45: spec.evaluate[0].perplexity: 15001 context lengths with 2 results "
            "each are 30002 results; one evaluation of a run may have at most 30000: measure fewer "
            "context lengths or depths, or divide the context lengths among several sweeps");
  EXPECT_TRUE(parse(perplexity(kTaskResultsMax / 2)).ok());
}

// The buckets of a length are one result: one line of the journal has all of them, in some 50 KB
// (model/evaluation/perplexity.cc) of the 1 MiB that a line may have.
TEST(SweepLimitsTest, ALengthOfPerPositionIsOneResultHoweverManyBucketsItHas) {
  const std::string evaluation =
      Str("evaluate: [{perplexity: {context_lengths: [", Numbers(300, 8192),
          "], split: validation, protocol: per_position, buckets: 256, score_tokens: 16384}}]");
  const Result<Sweep> sweep = Parse(SmallSweep(evaluation));
  ASSERT_TRUE(sweep.ok()) << sweep.status().message();
  EXPECT_EQ(sweep->runs.at(0).evaluations.at(0).cells.size(), 8192U);
}

TEST(SweepLimitsTest, ShowsTheFirstFiftyErrors) {
  std::string yaml = SmallSweep();
  for (int i = 0; i < 80; ++i) yaml += Str("  key", i, ": 1\n");
  const std::vector<std::string> lines = Split(ErrorOf(Parse(yaml)), '\n');
  EXPECT_EQ(lines.size(), kErrorsMax + 1);
}

TEST(SweepLimitsTest, ACutFileNeverBreaksTheParser) {
  const std::string yaml = *ReadFile(SourcePath("sweeps/quickstart.yaml"));
  for (std::size_t n = 0; n < yaml.size(); n += 3) {
    const Result<Sweep> sweep = Parse(yaml.substr(0, n));
    EXPECT_TRUE(sweep.ok() || sweep.status().code() == Code::kInvalidArgument);
  }
}

}  // namespace
}  // namespace longrun
