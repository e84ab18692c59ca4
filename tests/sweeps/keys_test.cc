// The identity of what sweep files ask for, as tests/sweeps/keys.golden holds it: a key that
// changes makes every stored result of that run or cell unknown. Each line is
//
//   CASE RUN_KEY CELLS CELL_KEYS      the run's key, its number of rows,
//                                     SHA-256 of its rows' cell keys
//
// LONGRUN_UPDATE=1 adds the lines of new cases. A line that is there is never rewritten: where a
// key must change (kNumericsVersion), remove the line by hand.
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/files.h"
#include "base/hash.h"
#include "base/str.h"
#include "model/architecture/architecture.h"
#include "model/position/method.h"
#include "sweeps/sweep.h"
#include "tests/sweeps/overrides.h"

namespace longrun {
namespace {

const std::string kGolden = LONGRUN_SOURCE_DIR "/tests/sweeps/keys.golden";

constexpr std::string_view kSmall = R"(apiVersion: longrun/v1
kind: Sweep
metadata: {name: small}
spec:
  model: {size: micro}
  matrix: {position: [rope], train_length: [64], dataset: [austen]}
  train: {tokens: 614400, batch_tokens: 1024}
  evaluate: [perplexity: {context_lengths: [64, 256]}]
)";

ModelInfo LlamaModel() {
  ModelInfo info = {.name = "llama", .digest = Sha256Hex("llama"), .trained_length = 96};
  ModelConfig& model = info.model;
  model.n_layer = 2;
  model.n_head = 4;
  model.d_model = 32;
  EXPECT_TRUE(model.SetArchitecture("llama").ok());
  model.body.n_kv_head = 2;
  model.vocab_size = 60000;
  model.position = ResolvePosition("rope").value();
  return info;
}

DatasetCatalogue AnyDataset() {
  DatasetCatalogue catalogue;
  catalogue.find = [](const std::string& name) {
    return std::optional(DatasetInfo{
        .name = name,
        .digest = Sha256Hex("digest of " + name),
        .tokenizer_fingerprint = Sha256Hex("bytes"),
        .vocab_size = 256,
        .split_tokens = {{"train", 4'000'000},
                         {"validation", name == "fineweb-10bt" ? 100'000'000 : 300'000},
                         {"test", 300'000}},
        .documents = [](const std::string&, std::int64_t) -> Result<std::vector<TextSpan>> {
          return std::vector<TextSpan>{{0, 299'999}};
        }});
  };
  catalogue.find_model = [](const std::string&) { return std::optional(LlamaModel()); };
  catalogue.model_names = {"llama"};
  return catalogue;
}

// The lines of a sweep; none where the language refuses it.
std::vector<std::string> LinesOf(const std::string& name, std::string_view yaml,
                                 const Overrides& overrides, const DatasetCatalogue& catalogue) {
  const Result<Sweep> sweep = ParseSweep(yaml, name, overrides, catalogue);
  std::vector<std::string> lines;
  if (!sweep.ok()) return lines;
  for (const PlannedRun& planned : sweep->runs) {
    std::string cells;
    std::size_t n_cells = 0;
    for (const PlannedEvaluation& evaluation : planned.evaluations) {
      for (const ExpectedCell& cell : evaluation.cells) {
        cells += Str(cell.cell, " ", cell.metric, " ", cell.variant, "\n");
        ++n_cells;
      }
    }
    lines.push_back(Str(name, " ", planned.run_key, " ", n_cells, " ", Sha256Hex(cells)));
  }
  return lines;
}

using Cases = std::map<std::string, std::vector<std::string>>;

void AddFolder(const std::string& folder, bool may_be_refused, Cases& cases) {
  const std::string path = JoinPath(LONGRUN_SOURCE_DIR, folder);
  const std::vector<std::string> names = ListFolder(path).value();
  for (const std::string& name : names) {
    if (!name.ends_with(".yaml")) continue;
    const std::string yaml = ReadFile(JoinPath(path, name)).value();
    const std::string key = Str(folder, "/", name);
    std::vector<std::string> lines = LinesOf(key, yaml, WithQuestions(yaml), AnyDataset());
    EXPECT_TRUE(may_be_refused || !lines.empty()) << key;
    if (!lines.empty()) cases[key] = std::move(lines);
  }
}

void AddSmall(const std::string& name, const Overrides& overrides, Cases& cases) {
  const DatasetCatalogue catalogue = AnyDataset();
  const Result<Sweep> sweep = ParseSweep(kSmall, name, overrides, catalogue);
  EXPECT_TRUE(sweep.ok()) << name << ": " << sweep.status().message();
  cases[name] = LinesOf(name, kSmall, overrides, catalogue);
}

// The small sweep's run, to more tokens.
void AddContinued(Cases& cases) {
  DatasetCatalogue catalogue = AnyDataset();
  const Run parent = ParseSweep(kSmall, "small", {}, catalogue).value().runs.at(0).run;
  catalogue.find_run = [&](const std::string&) -> Result<KnownRun> {
    return KnownRun{.key = parent.Key(), .run = parent};
  };
  const Overrides overrides = {{"train.continue_from", "01234567"},
                               {"train.tokens", "1M"},
                               {"train.optimizer.lr", "1e-4"},
                               {"train.schedule.name", "constant"}};
  cases["continued"] = LinesOf("continued", kSmall, overrides, catalogue);
  EXPECT_EQ(cases["continued"].size(), 1u);
}

Cases AllCases() {
  Cases cases;
  AddFolder("sweeps", /*may_be_refused=*/false, cases);
  AddFolder("sweeps/presets", /*may_be_refused=*/false, cases);
  AddFolder("tests/sweeps", /*may_be_refused=*/true, cases);
  for (const std::string& architecture : ArchitectureNames()) {
    AddSmall(Str("architecture:", architecture), {{"model.architecture", architecture}}, cases);
  }
  for (const std::string& method : PositionMethodNames()) {
    AddSmall(Str("position:", method), {{"position", method}}, cases);
  }
  AddSmall("body",
           {{"model.architecture", "llama"},
            {"model.n_kv_head", "2"},
            {"model.head_dim", "32"},
            {"model.qkv_bias", "true"},
            {"model.mlp_bias", "true"},
            {"model.layer_norm_epsilon", "1e-6"},
            {"model.tie_embeddings", "true"},
            {"model.activation", "gelu"},
            {"model.d_ff", "300"},
            {"model.init_std", "0.01"}},
           cases);
  AddSmall("window", {{"model.architecture", "mistral"}, {"model.sliding_window", "32"}}, cases);
  AddSmall("parallel", {{"model.architecture", "gpt_neox"}, {"model.block", "sequential"}}, cases);
  AddSmall("recipe",
           {{"train.optimizer.lr", "3e-3"},
            {"train.optimizer.min_lr", "1e-5"},
            {"train.optimizer.betas", "[0.8, 0.99]"},
            {"train.optimizer.eps", "1e-6"},
            {"train.optimizer.weight_decay", "0"},
            {"train.optimizer.grad_clip", "0"},
            {"train.schedule.name", "constant"},
            {"train.schedule.warmup_tokens", "10K"},
            {"train.validate.every", "100K"},
            {"train.validate.tokens", "8K"},
            {"train.precision", "bf16"},
            {"train.order", "stream"}},
           cases);
  AddSmall("imported", {{"model", "{init_from: llama}"}}, cases);
  AddSmall("imported-untrained",
           {{"model", "{init_from: llama}"}, {"train", "none"}, {"train_length", "64"}}, cases);
  AddContinued(cases);
  return cases;
}

TEST(KeysTest, EveryRunAndCellHasTheKeyThatItAlwaysHad) {
  const Cases cases = AllCases();
  const std::string golden = ReadFile(kGolden).ok() ? ReadFile(kGolden).value() : "";
  const std::vector<std::string> held_lines = Split(golden, '\n');
  const std::set<std::string> held(held_lines.begin(), held_lines.end());
  std::string added;
  for (const auto& [name, lines] : cases) {
    const bool is_new = golden.find(Str(name, " ")) == std::string::npos;
    for (const std::string& line : lines) {
      if (is_new && std::getenv("LONGRUN_UPDATE") != nullptr) {
        added += Str(line, "\n");
      } else {
        EXPECT_TRUE(held.contains(line)) << "not in keys.golden: " << line;
      }
    }
  }
  // What was held and is no longer asked for would be a key that changed as well.
  std::set<std::string> given;
  for (const auto& [name, lines] : cases) given.insert(lines.begin(), lines.end());
  for (const std::string& line : held) {
    EXPECT_TRUE(line.empty() || given.contains(line)) << "no case gives: " << line;
  }
  if (!added.empty()) {
    ASSERT_TRUE(WriteFileAtomic(kGolden, golden + added).ok());
  }
}

}  // namespace
}  // namespace longrun
