// A run, its sweep file, and the same run again.
#include "sweeps/reproduce.h"

#include <gtest/gtest.h>

#include <set>

#include "base/hash.h"
#include "base/str.h"
#include "base/version.h"
#include "sweeps/limits.h"
#include "sweeps/schema.h"
#include "sweeps/stored_sweep.h"
#include "sweeps/sweep.h"

namespace longrun {
namespace {

// Each with 99 tokens and an end of text.
Result<std::vector<TextSpan>> DocumentsOf100Tokens(const std::string&, std::int64_t n) {
  std::vector<TextSpan> documents;
  for (std::int64_t begin = 0; begin < 100'000 && n > 0; begin += 100, n -= 99) {
    documents.push_back({begin, begin + 99});
  }
  return documents;
}

DatasetCatalogue OneDataset(const std::string& wanted) {
  return {.find =
              [wanted](const std::string& name) {
                return name == wanted
                           ? std::optional(DatasetInfo{
                                 .name = name,
                                 .digest = Sha256Hex("text"),
                                 .tokenizer_fingerprint = Sha256Hex("bytes"),
                                 .vocab_size = 320,
                                 .split_tokens = {{"train", 1'000'000}, {"validation", 100'000}},
                                 .documents = &DocumentsOf100Tokens})
                           : std::nullopt;
              },
          .names = {wanted}};
}

// The blocks of evaluations with their lengths, as a client reads them from the tasks.
std::vector<Json> EvaluationsOf(const PlannedRun& planned) {
  std::vector<Json> blocks;
  for (const PlannedEvaluation& one : planned.evaluations) {
    Json block = one.evaluation;
    std::set<std::int64_t> lengths;
    for (const ExpectedCell& cell : one.cells) {
      if (cell.variant.empty()) lengths.insert(cell.context_length);
    }
    block.begin().value()["context_lengths"] = lengths;
    blocks.push_back(std::move(block));
  }
  return blocks;
}

// Each run of the file, written out and read again: the same key, the same cells.
void ExpectTheSameRuns(const std::string& yaml, const std::string& dataset = "toy") {
  const auto sweep = ParseSweep(yaml, "a.yaml", {}, OneDataset(dataset));
  ASSERT_TRUE(sweep.ok()) << sweep.status().message();
  for (const PlannedRun& planned : sweep->runs) {
    const auto text = SweepYaml({.run = planned.run,
                                 .sweep_name = "again",
                                 .dataset_name = dataset,
                                 .evaluations = EvaluationsOf(planned),
                                 .notes = {"a note: with [all] {sorts} of #signs"}});
    ASSERT_TRUE(text.ok()) << text.status().message();
    const auto again = ParseSweep(*text, "again.yaml", {}, OneDataset(dataset));
    ASSERT_TRUE(again.ok()) << again.status().message() << "\n" << *text;
    ASSERT_EQ(again->runs.size(), 1u);
    EXPECT_EQ(again->runs[0].run_key, planned.run_key) << *text;
    ASSERT_EQ(again->runs[0].evaluations.size(), planned.evaluations.size());
    for (std::size_t e = 0; e < planned.evaluations.size(); ++e) {
      EXPECT_EQ(again->runs[0].evaluations[e].cells, planned.evaluations[e].cells) << *text;
    }
  }
}

TEST(ReproduceTest, APlainRunComesBack) {
  ExpectTheSameRuns(R"(apiVersion: longrun/v1
kind: Sweep
metadata: {name: a}
spec:
  model: {architecture: gpt2, size: micro}
  matrix: {position: [cable], train_length: [64], dataset: [toy]}
  train: {tokens: 65536, batch_tokens: 1024}
)");
}

TEST(ReproduceTest, ARunWithMoreResultsThanThisReleaseAcceptsComesBackWithANote) {
  std::string lengths;
  for (std::int64_t i = 0; i <= kTaskResultsMax; ++i) lengths += Str(i == 0 ? "" : ", ", 64 + i);
  const auto sweep = ParseStoredSweep(Str(R"(apiVersion: longrun/v1
kind: Sweep
metadata: {name: a}
spec:
  model: {architecture: gpt2, size: micro}
  matrix: {position: [cable], train_length: [64], dataset: [toy]}
  train: {tokens: 65536, batch_tokens: 1024}
  evaluate:
    - perplexity: {context_lengths: [)",
                                          lengths,
                                          "], split: validation, protocol: nonoverlap, "
                                          "score_tokens: 40000, baseline: none}\n"),
                                      "a.yaml", {}, OneDataset("toy"));
  ASSERT_TRUE(sweep.ok()) << sweep.status().message();
  const PlannedRun& planned = sweep->runs.at(0);

  const auto text = SweepYaml({.run = planned.run,
                               .sweep_name = "again",
                               .dataset_name = "toy",
                               .evaluations = EvaluationsOf(planned)});

  ASSERT_TRUE(text.ok()) << text.status().message();
  EXPECT_TRUE(
      text->starts_with("# perplexity has 30001 results, but this release accepts at most "
                        "30000 of one evaluation of a run: divide"))
      << text->substr(0, 200);
  EXPECT_EQ(ParseSweep(*text, "again.yaml", {}, OneDataset("toy")).status().code(),
            Code::kInvalidArgument);
  const auto again = ParseStoredSweep(*text, "again.yaml", {}, OneDataset("toy"));
  ASSERT_TRUE(again.ok()) << again.status().message();
  EXPECT_EQ(again->runs.at(0).evaluations.at(0).cells, planned.evaluations.at(0).cells);
}

TEST(ReproduceTest, EveryMethodWithParametersComesBack) {
  ExpectTheSameRuns(R"(apiVersion: longrun/v1
kind: Sweep
metadata: {name: a}
spec:
  model: {architecture: gpt2, size: tiny}
  matrix:
    position: [none, learned, sinusoidal, rope, alibi, cable, {method: rope, base: 512.3, layout: interleaved, partial: 0.5}]
    train_length: [64, 128]
    dataset: [toy]
    seed: [0, 9000000000000000]
  train: {tokens: 100000, batch_tokens: 1024, optimizer: {lr: 0.0003}}
  evaluate:
    - perplexity: {context_lengths: [256, 64], split: validation, protocol: nonoverlap}
    - perplexity: {context_lengths: [64], split: train, protocol: nonoverlap, score_tokens: 4096, allow_train_overlap: true}
)");
}

TEST(ReproduceTest, EvaluationsOfOtherDatasetsComeBack) {
  const auto find = [](const std::string& name) {
    std::optional<DatasetInfo> info = OneDataset(name).find(name);
    info->digest = Sha256Hex(name == "toy" ? "text" : "text of " + name);
    return info;
  };
  const DatasetCatalogue catalogue = {.find = find, .names = {"toy", "books"}};
  const auto sweep = ParseSweep(R"(apiVersion: longrun/v1
kind: Sweep
metadata: {name: a}
spec:
  model: {architecture: gpt2, size: micro}
  matrix: {position: [rope], train_length: [64], dataset: [toy]}
  train: {tokens: 65536, batch_tokens: 1024}
  evaluate:
    - perplexity: {context_lengths: [64, 128]}
    - perplexity: {context_lengths: [64], split: train, dataset: books}
  extend: [none, {method: pi, factor: 2}]
)",
                                "a.yaml", {}, catalogue);
  ASSERT_TRUE(sweep.ok()) << sweep.status().message();
  const PlannedRun& planned = sweep->runs[0];
  const auto text = SweepYaml({.run = planned.run,
                               .sweep_name = "again",
                               .dataset_name = "toy",
                               .evaluations = EvaluationsOf(planned)});
  ASSERT_TRUE(text.ok()) << text.status().message();
  EXPECT_NE(text->find("dataset: \"books\""), std::string::npos) << *text;
  EXPECT_EQ(text->find("allow_train_overlap"), std::string::npos) << *text;
  const auto again = ParseSweep(*text, "again.yaml", {}, catalogue);
  ASSERT_TRUE(again.ok()) << again.status().message() << "\n" << *text;
  ASSERT_EQ(again->runs[0].evaluations.size(), planned.evaluations.size());
  for (std::size_t e = 0; e < planned.evaluations.size(); ++e) {
    EXPECT_EQ(again->runs[0].evaluations[e].cells, planned.evaluations[e].cells) << *text;
  }
}

TEST(ReproduceTest, ExtensionsComeBack) {
  ExpectTheSameRuns(R"(apiVersion: longrun/v1
kind: Sweep
metadata: {name: a}
spec:
  model: {architecture: llama, size: micro}
  matrix: {position: [rope], train_length: [64, 128], dataset: [toy]}
  train: {tokens: 65536, batch_tokens: 1024}
  evaluate:
    - perplexity: {context_lengths: [64, 256]}
    - perplexity: {context_lengths: [64], protocol: last_k, k: 16}
  extend: [none, {method: pi, factor: 4}, {method: yarn, factor: 8, original_length: 32}]
)");
  ExpectTheSameRuns(R"(apiVersion: longrun/v1
kind: Sweep
metadata: {name: a}
spec:
  model: {architecture: llama, size: micro}
  matrix: {position: [rope], train_length: [64], dataset: [toy]}
  train: {tokens: 65536, batch_tokens: 1024}
  evaluate:
    - perplexity: {context_lengths: [64, 256]}
  extend: [{method: dynamic_ntk, factor: 1}]
)");
}

// One file cannot ask for an extension at some lengths only: what the longest does not allow is
// left out, and the file says so.
TEST(ReproduceTest, AnExtensionOfShorterContextsIsLeftOutWithANote) {
  const auto planned = [](const std::string& lengths, const std::string& extend) {
    const auto sweep = ParseSweep(Str(R"(apiVersion: longrun/v1
kind: Sweep
metadata: {name: a}
spec:
  model: {architecture: llama, size: micro}
  matrix: {position: [rope], train_length: [64], dataset: [toy]}
  train: {tokens: 65536, batch_tokens: 1024}
  evaluate: [perplexity: {context_lengths: )",
                                      lengths, "}]\n  extend: ", extend, "\n"),
                                  "a.yaml", {}, OneDataset("toy"));
    EXPECT_TRUE(sweep.ok()) << sweep.status().message();
    return sweep->runs[0];
  };
  const PlannedRun plain = planned("[64, 512]", "[none]");
  const PlannedRun extended =
      planned("[64]", "[{method: self_extend, group: 4, window: 16}, streaming]");
  std::vector<Json> evaluations = EvaluationsOf(plain);
  std::ranges::copy(EvaluationsOf(extended), std::back_inserter(evaluations));
  const auto text = SweepYaml(
      {.run = plain.run, .sweep_name = "again", .dataset_name = "toy", .evaluations = evaluations});
  ASSERT_TRUE(text.ok()) << text.status().message();
  EXPECT_NE(text->find("# extension self_extend(group=4,window=16) is left out: it was "
                       "measured only at shorter context lengths, and cannot read 512 tokens; "),
            std::string::npos)
      << *text;
  EXPECT_NE(text->find("extend: [\"none\", \"streaming\"]"), std::string::npos) << *text;
}

// Cells of last_k and of windows in documents have the tokens of the text where the file has those
// that are scored.
TEST(ReproduceTest, EveryProtocolComesBackWithItsTokens) {
  ExpectTheSameRuns(R"(apiVersion: longrun/v1
kind: Sweep
metadata: {name: a}
spec:
  model: {architecture: gpt2, size: micro}
  matrix: {position: [alibi], train_length: [64], dataset: [toy]}
  train: {tokens: 65536, batch_tokens: 1024}
  evaluate:
    - perplexity: {context_lengths: [64, 256], protocol: last_k, k: 16}
    - perplexity: {context_lengths: [64, 256], protocol: last_k, k: 16, every: 256}
    - perplexity: {context_lengths: [64, 256], protocol: last_k, k: 16, every: 256, score_tokens: 1024}
    - perplexity: {context_lengths: [64, 256], protocol: last_k, k: 16, every: 256, text_tokens: 1024}
    - perplexity: {context_lengths: [64, 256], protocol: sliding_bos, stride: 32, score_tokens: 999}
    - perplexity: {context_lengths: [64, 256], protocol: rolling, over: documents}
    - perplexity: {context_lengths: [64, 256], protocol: per_position, buckets: 8}
)");
}

// Numbers that binary fractions cannot hold, a name that YAML would take for a number.
TEST(ReproduceTest, EveryKeyAwayFromItsDefaultComesBack) {
  const std::string yaml = R"(apiVersion: longrun/v1
kind: Sweep
metadata: {name: a, labels: {who: me}}
spec:
  model:
    architecture: gpt2
    n_layer: 2
    n_head: 3
    d_model: 48
    d_ff: 100
    vocab_size: 512
    activation: relu
    layer_norm_epsilon: 3.0e-6
    tie_embeddings: false
    causal: false
    init_std: 0.017
  matrix:
    position: [sinusoidal]
    train_length: [32]
    dataset: ["1e3"]
    seed: [17]
  train:
    tokens: 70000
    batch_tokens: 96
    precision: bf16
    order: shuffled
    objective: masked_lm
    mask: {probability: 0.21, mask_replace_prob: 0.7, random_replace_prob: 0.13, token: 300}
    optimizer:
      name: adamw
      lr: 0.1
      min_lr: 3.3e-7
      betas: [0.89, 0.951]
      eps: 1.0e-9
      weight_decay: 0.07
      grad_clip: 0.3
    schedule: {name: constant, warmup_tokens: 960}
    validate: {every: 9600, tokens: 320}
    checkpoint: {every: 30s, keep: 3}
  resources: {kind: cpu}
  retry: {failures_max: 3, losses_max: 2}
  priority: 5
)";
  // None is forgotten: each key that changes a run stands in the file above, or in the one below.
  const std::set<std::string> of_bodies = {"model.n_kv_head", "model.head_dim",
                                           "model.block",     "model.qkv_bias",
                                           "model.mlp_bias",  "model.sliding_window"};
  for (const std::string& axis : AxisNames()) {
    if (of_bodies.contains(axis)) continue;
    const std::string name = axis.substr(axis.rfind('.') + 1);
    if (axis == "model.size") continue;  // the other way to say n_layer, n_head and d_model
    if (axis == "train.continue_from") continue;                        // in the test below
    if (axis == "model.init_from") continue;                            // tests/sweeps/init_test.cc
    if (axis == "train.positions" || axis == "train.extend") continue;  // below, with rope
    if (axis == "train.samples") continue;                              // the same, causal
    if (axis == "train.skip_epsilon") continue;                         // causal, with a bias
    if (axis == "train.validate.windows") continue;  // another way to say train.validate.tokens
    EXPECT_NE(yaml.find(name + ":"), std::string::npos) << axis;
  }
  ExpectTheSameRuns(yaml, "1e3");
}

TEST(ReproduceTest, WhatARunWasTrainedUnderComesBack) {
  ExpectTheSameRuns(R"(apiVersion: longrun/v1
kind: Sweep
metadata: {name: a}
spec:
  model: {architecture: llama, size: micro}
  matrix:
    position: [rope]
    train_length: [64, 128]
    dataset: [toy]
    train.extend: [none, {method: ntk, factor: 4}, {method: yarn, factor: 8, original_length: 32}]
  train: {tokens: 65536, batch_tokens: 1024}
)");
}

// With the rows of a plain window, without them, and where the file asks for them itself.
TEST(ReproduceTest, RetrievalComesBackWithItsBaseline) {
  const std::string pi = "{method: pi, factor: 4}", window = "{method: window, window: 16}";
  for (const std::string& more :
       {std::string("position: [rope, alibi]}"), std::string("position: [rope]}\n  extend: [none]"),
        Str("position: [rope]}\n  extend: [none, ", pi, "]"),
        Str("position: [rope]}\n  extend: [", pi, "]"),
        std::string("position: [rope]}\n  extend: [none, window]"),
        Str("position: [rope]}\n  extend: [none, ", window, "]")}) {
    ExpectTheSameRuns(Str(R"(apiVersion: longrun/v1
kind: Sweep
metadata: {name: a}
spec:
  matrix: {train_length: [64, 512], dataset: [toy], )",
                          more, R"(
  model: {architecture: llama, size: micro}
  train: {tokens: 65536, batch_tokens: 1024}
  evaluate:
    - perplexity: {context_lengths: [64, 256]}
    - passkey: {context_lengths: [64, 256], protocol: fitted}
    - needle: {context_lengths: [256], depths: 3, baseline: none}
)"));
  }
}

TEST(ReproduceTest, PositionsAndSamplesComeBack) {
  ExpectTheSameRuns(R"(apiVersion: longrun/v1
kind: Sweep
metadata: {name: a}
spec:
  model: {architecture: llama, size: micro}
  matrix:
    position: [rope]
    train_length: [64, 128]
    dataset: [toy]
    train.positions: [plain, {method: pose, target_length: 1K}, {method: randpos, target_length: 512},
                      {method: pose, target_length: 512, chunks: 3, content: aligned}]
    train.samples: [windows, documents]
  train: {tokens: 65536, batch_tokens: 1024}
)");
}

TEST(ReproduceTest, BoundsForSkippedKeysComeBack) {
  ExpectTheSameRuns(R"(apiVersion: longrun/v1
kind: Sweep
metadata: {name: a}
spec:
  model: {size: micro}
  matrix:
    position: [alibi, cable]
    train_length: [64, 1024]
    dataset: [toy]
    train.skip_epsilon: [0, 5.96e-8, 0.0001, 3.3e-10]
  train: {tokens: 65536, batch_tokens: 1024}
)");
}

// What differs from an architecture's own body, and what does not.
TEST(ReproduceTest, BodiesComeBack) {
  for (const char* model :
       {"{architecture: llama, size: micro}",
        "{architecture: llama, size: micro, n_kv_head: 2, head_dim: 10, qkv_bias: true, "
        "mlp_bias: true, tie_embeddings: true}",
        "{architecture: mistral, size: micro, sliding_window: 7, activation: gelu}",
        "{architecture: gpt_neox, size: micro, block: sequential, qkv_bias: false}",
        "{architecture: gptj, size: micro}",
        "{architecture: qwen2, size: micro, n_kv_head: 1, d_ff: 100}"}) {
    ExpectTheSameRuns(
        Str("apiVersion: longrun/v1\nkind: Sweep\nmetadata: {name: a}\nspec:\n  model: ", model, R"(
  matrix:
    position: [rope, cable]
    train_length: [64]
    dataset: [toy]
    seed: [1]
  train: {tokens: 100000, batch_tokens: 1024, optimizer: {lr: 0.0003}}
)"));
  }
}

TEST(ReproduceTest, ARunThatGoesOnNamesItsParent) {
  const std::string key = Sha256Hex("the parent");
  DatasetCatalogue catalogue = OneDataset("toy");
  longrun::Run parent;
  catalogue.find_run = [&](const std::string&) -> Result<KnownRun> {
    return KnownRun{.key = key, .run = parent};
  };
  const auto yaml = [](std::string_view tokens, std::string_view more) {
    return Str(R"(apiVersion: longrun/v1
kind: Sweep
metadata: {name: a}
spec:
  model: {architecture: gpt2, size: micro}
  matrix: {position: [learned], train_length: [64], dataset: [toy]}
  train: {batch_tokens: 1024, tokens: )",
               tokens, more, "}\n");
  };
  const auto first = ParseSweep(yaml("65536", ""), "a.yaml", {}, catalogue);
  ASSERT_TRUE(first.ok()) << first.status().message();
  parent = first->runs[0].run;
  const auto second =
      ParseSweep(yaml("131072", ", continue_from: 01234567"), "a.yaml", {}, catalogue);
  ASSERT_TRUE(second.ok()) << second.status().message();

  const auto text = SweepYaml({.run = second->runs[0].run,
                               .sweep_name = "again",
                               .dataset_name = "toy",
                               .evaluations = {}});

  ASSERT_TRUE(text.ok()) << text.status().message();
  EXPECT_NE(text->find(Str("    continue_from: \"", key, "\"\n")), std::string::npos) << *text;
  const auto again = ParseSweep(*text, "again.yaml", {}, catalogue);
  ASSERT_TRUE(again.ok()) << again.status().message();
  EXPECT_EQ(again->runs[0].run_key, second->runs[0].run_key);
}

TEST(ReproduceTest, ARunOfOtherNumericsIsRefused) {
  auto sweep = ParseSweep(R"(apiVersion: longrun/v1
kind: Sweep
metadata: {name: a}
spec:
  model: {architecture: gpt2, size: micro}
  matrix: {position: [rope], train_length: [64], dataset: [toy]}
  train: {tokens: 65536, batch_tokens: 1024}
)",
                          "a.yaml", {}, OneDataset("toy"));
  ASSERT_TRUE(sweep.ok());
  longrun::Run run = sweep->runs[0].run;
  run.numerics = kNumericsVersion + 1;

  const auto text =
      SweepYaml({.run = run, .sweep_name = "again", .dataset_name = "toy", .evaluations = {}});

  EXPECT_EQ(text.status().code(), Code::kFailedPrecondition);
  EXPECT_NE(text.status().message().find(Str("numerics ", kNumericsVersion + 1)),
            std::string::npos);
}

}  // namespace
}  // namespace longrun
