// Evaluations in the sweep language: which cells they become, and that the examples of
// docs/evaluation.md and docs/extensions.md are right.
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "base/files.h"
#include "base/hash.h"
#include "base/str.h"
#include "model/position_schedule/schedule.h"
#include "sweeps/named_files.h"
#include "sweeps/sweep.h"

namespace longrun {
namespace {

DatasetCatalogue Austen() {
  const auto find = [](const std::string& name) -> std::optional<DatasetInfo> {
    if (name != "austen" && name != "wikitext") return std::nullopt;
    return DatasetInfo{.name = name,
                       .digest = Sha256Hex("digest of " + name),
                       .tokenizer_fingerprint = Sha256Hex("bytes"),
                       .vocab_size = 256,
                       .split_tokens = {{"train", 4'000'000},
                                        {name == "austen" ? "validation" : "test", 466'855}}};
  };
  return {.find = find, .names = {"austen"}};
}

std::string Yaml(const std::string& lines_below_spec) {
  return Str(
      "apiVersion: longrun/v1\nkind: Sweep\nmetadata: {name: small}\nspec:\n"
      "  model: {size: micro}\n"
      "  matrix: {position: [alibi], train_length: [64], dataset: [austen]}\n"
      "  train: {tokens: 614400, batch_tokens: 1024}\n",
      lines_below_spec);
}

Result<Sweep> SweepWith(const std::string& lines_below_spec) {
  return ParseSweep(Yaml(lines_below_spec), "sweep.yaml", {}, Austen());
}

// The evaluation of the quick start, of a run whose key is golden elsewhere. Both from Python:
// hashlib.sha256 over the canonical JSON. A protocol's parameters never enter another's cells.
TEST(EvaluationCellTest, TheQuickStartsCellIsGolden) {
  const Json quickstart = {{"perplexity",
                            {{"baseline", "unigram"},
                             {"protocol", "nonoverlap"},
                             {"score_tokens", 65536},
                             {"split", "validation"}}}};
  EXPECT_EQ(
      CellKey("2cc3ad4f2566c97879ed3c778d17dc47f4a294884ad538ab5776354a18c23877", quickstart, 64),
      "f364a822af6ab634860e308379db3b75df6a607f7f623d5cbb6481a29020aaec");
  const Result<Sweep> sweep = SweepWith(
      "  evaluate:\n    - perplexity: {context_lengths: [64, 128], split: validation, protocol: "
      "nonoverlap, score_tokens: 65536, baseline: unigram}\n");
  ASSERT_TRUE(sweep.ok()) << sweep.status().message();
  const PlannedEvaluation& planned = sweep->runs[0].evaluations[0];
  EXPECT_EQ(CanonicalJson(planned.evaluation), CanonicalJson(quickstart));
  ASSERT_EQ(planned.cells.size(), 4u);
  EXPECT_EQ(planned.cells[1].metric, "nll");
  EXPECT_EQ(planned.cells[1].variant, "unigram");
  EXPECT_EQ(planned.cells[0].cell, planned.cells[1].cell);
}

// The row of a plain window adds cells of its own. Those of the model are what they were before
// there was such a row; the key is from Python: hashlib.sha256 over the canonical JSON.
TEST(EvaluationCellTest, TheBaselineOfRetrievalChangesNoCell) {
  const auto planned = [](const char* more) {
    const Result<Sweep> sweep = ParseSweep(
        Yaml(Str("  evaluate:\n    - passkey: {context_lengths: [32, 128], protocol: fitted", more,
                 "}\n")),
        "sweep.yaml", {{"position", "rope"}}, Austen());
    EXPECT_TRUE(sweep.ok()) << sweep.status().message();
    return sweep->runs.at(0);
  };
  const PlannedRun with = planned(""), without = planned(", baseline: none");
  ASSERT_EQ(with.evaluations.size(), 2u);
  ASSERT_EQ(without.evaluations.size(), 1u);
  EXPECT_EQ(with.evaluations[0].cells, without.evaluations[0].cells);
  const Json passkey = {
      {"passkey", {{"bos", true}, {"protocol", "fitted"}, {"seed", 42}, {"trials", 50}}}};
  EXPECT_EQ(CanonicalJson(with.evaluations[0].evaluation), CanonicalJson(passkey));
  EXPECT_EQ(CellKey(std::string(64, 'a'), passkey, 128),
            "ef0a11e1ce895d02eb913ecf69b1a7725de936900ef79389e3e666fd5c39d3e8");
  EXPECT_EQ(with.evaluations[0].cells[1].cell, CellKey(with.run_key, passkey, 128));
  // Only beyond the train length of 64.
  ASSERT_EQ(with.evaluations[1].cells.size(), 1u);
  EXPECT_EQ(with.evaluations[1].cells[0].context_length, 128);
  EXPECT_EQ(CanonicalJson(with.evaluations[1].evaluation["passkey"]["extension"]),
            CanonicalJson({{"method", "window"}, {"original_length", 64}, {"window", 64}}));
}

// Of the questions a cell knows the content alone: a file by two names is the same cell,
// changed it is another one.
TEST(EvaluationCellTest, AFileIsItsContent) {
  const TempFolder folder;
  const auto cell_of = [&](const std::string& file, const std::string& text) {
    const std::string path = JoinPath(folder.path(), file);
    EXPECT_TRUE(MakeFolders(FolderOf(path)).ok());
    EXPECT_TRUE(WriteFileAtomic(path, text).ok());
    const std::string yaml = Yaml(
        Str("  evaluate:\n    - multiple_choice: {context_lengths: [64], file: ", file, "}\n"));
    const NamedFiles named = ReadNamedFiles(yaml, "sweep.yaml", folder.path(), {});
    EXPECT_TRUE(named.problems.ok()) << named.problems.message();
    EXPECT_EQ(named.files.at(0).bytes, text);
    const Result<Sweep> sweep = ParseSweep(yaml, "sweep.yaml", named.overrides, Austen());
    EXPECT_TRUE(sweep.ok()) << sweep.status().message();
    const PlannedEvaluation& planned = sweep->runs[0].evaluations[0];
    EXPECT_EQ(planned.cells.size(), 2u);
    EXPECT_EQ(planned.cells[0].cell, planned.cells[1].cell);
    EXPECT_EQ(planned.evaluation["multiple_choice"]["file"], Str("sha256:", Sha256Hex(text)));
    return planned.cells[0].cell;
  };
  const std::string text = R"({"context": "a", "choices": ["b", "c"], "answer": 0})";
  const std::string other = R"({"context": "a", "choices": ["b", "c"], "answer": 1})";
  EXPECT_EQ(cell_of("a.jsonl", text), cell_of("folder/b.jsonl", text));
  EXPECT_NE(cell_of("a.jsonl", text), cell_of("a.jsonl", other));
}

// A question of both files could be its own shot, and the answer would be known.
TEST(EvaluationCellTest, ExamplesWithTheContentOfTheQuestionsAreRefused) {
  const TempFolder folder;
  const std::string line = R"({"context": "a", "choices": ["b", "c"], "answer": 0})";
  for (const auto& [name, n_lines] :
       {std::pair("a.jsonl", 2), std::pair("copy.jsonl", 2), std::pair("b.jsonl", 3)}) {
    std::string text;
    for (int i = 0; i < n_lines; ++i) text += Str(line, "\n");
    ASSERT_TRUE(WriteFileAtomic(JoinPath(folder.path(), name), text).ok());
  }
  const auto error_of = [&](const std::string& examples) {
    const std::string yaml = Yaml(
        Str("  evaluate:\n    - multiple_choice: {context_lengths: [64], file: a.jsonl, shots: 1, "
            "examples: ",
            examples, "}\n"));
    const NamedFiles named = ReadNamedFiles(yaml, "sweep.yaml", folder.path(), {});
    if (!named.problems.ok()) return named.problems.message();
    return ParseSweep(yaml, "sweep.yaml", named.overrides, Austen()).status().message();
  };
  for (const char* const same : {"a.jsonl", "copy.jsonl"}) {
    EXPECT_TRUE(error_of(same).starts_with(
        "sweep.yaml:9:83: spec.evaluate[0].multiple_choice.examples: has the same content as "
        "`file`, so a question could be its own shot: leave `examples` out"))
        << error_of(same);
  }
  EXPECT_EQ(error_of("b.jsonl"), "");
  // A submission with the digests themselves is refused as well.
  const Result<Sweep> by_digest =
      SweepWith(Str("  evaluate:\n    - multiple_choice: {context_lengths: [64], shots: 1, file: ",
                    "sha256:", Sha256Hex("a"), ", examples: sha256:", Sha256Hex("a"), "}\n"));
  EXPECT_NE(by_digest.status().message().find("has the same content as `file`"), std::string::npos)
      << by_digest.status().message();
}

TEST(EvaluationCellTest, AFileThatWasNotReadIsRefused) {
  const Result<Sweep> sweep =
      SweepWith("  evaluate:\n    - multiple_choice: {context_lengths: [64], file: a.jsonl}\n");
  ASSERT_FALSE(sweep.ok());
  EXPECT_NE(sweep.status().message().find(
                "sweep.yaml:9:54: spec.evaluate[0].multiple_choice.file: no files are read here"),
            std::string::npos)
      << sweep.status().message();
}

using Overrides = std::vector<std::pair<std::string, std::string>>;

// Each ```yaml block is what stands below spec; of pseudo-perplexity, of an encoder's.
TEST(EvaluationDocsTest, EachExampleIsAnEvaluationOfASweep) {
  const std::string page = ReadFile(LONGRUN_SOURCE_DIR "/docs/evaluation.md").value();
  int n_blocks = 0;
  std::string block;
  bool inside = false;
  for (const std::string& line : Split(page, '\n')) {
    if (line == "```yaml") {
      inside = true;
      block.clear();
    } else if (inside && line == "```") {
      inside = false;
      n_blocks += 1;
      // Who submits it puts the content of a file in its path's place.
      for (const std::string file : {"hellaswag_val.jsonl", "hellaswag_train.jsonl"}) {
        const std::string id = "sha256:" + Sha256Hex(file);
        for (std::size_t at = block.find(file); at != std::string::npos;
             at = block.find(file, at)) {
          block.replace(at, file.size(), id);
        }
      }
      const bool of_encoder = block.find("pseudo_perplexity") != std::string::npos;
      const Overrides encoder = {
          {"model.causal", "false"}, {"train.objective", "masked_lm"}, {"position", "rope"}};
      const Result<Sweep> sweep =
          ParseSweep(Yaml(block), "sweep.yaml", of_encoder ? encoder : Overrides(), Austen());
      ASSERT_TRUE(sweep.ok()) << block << sweep.status().message();
      EXPECT_FALSE(sweep->runs[0].evaluations.empty()) << block;
    } else if (inside) {
      block += Str("  ", line, "\n");
    }
  }
  EXPECT_GE(n_blocks, 5);
}

TEST(EvaluationDocsTest, TheExamplesOfExtensionsAreSweeps) {
  const std::string page = ReadFile(LONGRUN_SOURCE_DIR "/docs/extensions.md").value();
  std::vector<Sweep> sweeps;
  for (std::size_t at = page.find("```yaml\n"); at != std::string::npos;
       at = page.find("```yaml\n", at)) {
    at += 8;
    const std::string spec = page.substr(at, page.find("```", at) - at);
    const bool has_model = spec.find("  model:") != std::string::npos;
    Result<Sweep> sweep =
        ParseSweep(Str("apiVersion: longrun/v1\nkind: Sweep\nmetadata: {name: small}\n", spec,
                       has_model ? "" : "  model: {architecture: llama, size: micro}\n",
                       "  train: {tokens: 614400, batch_tokens: 1024}\n"),
                   "sweep.yaml", {}, Austen());
    ASSERT_TRUE(sweep.ok()) << spec << sweep.status().message();
    sweeps.push_back(std::move(sweep).value());
  }
  ASSERT_EQ(sweeps.size(), 4u);
  ASSERT_EQ(sweeps[0].runs.size(), 1u);
  EXPECT_EQ(sweeps[0].runs[0].evaluations.size(), 4u);
  ASSERT_EQ(sweeps[1].runs.size(), 3u);
  EXPECT_EQ(NumberOfPositions(sweeps[1].runs[1].run.train.positions), 1024);
  ASSERT_EQ(sweeps[2].runs.size(), 2u);
  EXPECT_EQ(sweeps[2].runs[1].run.train.samples, SampleKind::kDocuments);
  ASSERT_EQ(sweeps[3].runs.size(), 3u);
  EXPECT_EQ(sweeps[3].runs[2].run.BaseKey(), sweeps[3].runs[0].run_key);
}

}  // namespace
}  // namespace longrun
