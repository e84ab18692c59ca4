// Sweeps and journals for tests of the scheduler, made without YAML and without a trainer.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/hash.h"
#include "base/str.h"
#include "sweeps/event.h"
#include "sweeps/sweep.h"

namespace longrun::coordinator {

inline Run SampleRun(std::int64_t seed) {
  Run run;
  run.model = ModelConfig::Preset("micro").value();
  run.model.vocab_size = 256;
  run.model.position.method = "none";
  run.train.train_length = 64;
  run.train.tokens = 64'000;
  run.train.batch_tokens = 512;
  run.dataset_digest = Sha256Hex("dataset");
  run.tokenizer_fingerprint = Sha256Hex("tokenizer");
  run.seed = seed;
  run.numerics = 1;
  return run;
}

struct SampleSweep {
  std::vector<std::int64_t> seeds = {1};                  // one run each
  std::vector<std::int64_t> context_lengths = {64, 128};  // none: no evaluation
  std::int64_t priority = 0;
  DeviceChoice device_kind = DeviceChoice::kAny;
  RetryPolicy retry = {};
  std::vector<std::string> variants = {""};  // rows that each cell owes
  bool goes_on = false;  // each run from the one of its seed, to twice the tokens
  // After each run one that starts from its final weights; or, as a sweep of its own, only that.
  bool tunes = false, only_tunes = false;
  bool has_large_vocabularies = false;  // each other run: it trains with HeadChunks::kByWidth
};

inline Sweep MakeSweep(const SampleSweep& sample) {
  Sweep sweep;
  sweep.name = "sample";
  sweep.priority = sample.priority;
  sweep.device_kind = sample.device_kind;
  sweep.retry = sample.retry;
  const auto add = [&](std::int64_t seed, bool is_tuned) {
    PlannedRun planned;
    planned.run = SampleRun(seed);
    if (sample.has_large_vocabularies && seed % 2 == 0) planned.run.model.vocab_size = 1 << 18;
    planned.run_key = Sha256Hex(Str("run ", seed));
    if (sample.goes_on) {
      planned.run.parent = std::exchange(planned.run_key, Sha256Hex(Str("run ", seed, " goes on")));
      planned.run.train.tokens *= 2;
    }
    if (is_tuned) {
      planned.run.init =
          RunInit{.run = std::exchange(planned.run_key, Sha256Hex(Str("run ", seed, " tuned")))};
    }
    planned.dataset_name = "novels";
    PlannedEvaluation evaluation;
    evaluation.evaluation = {{"perplexity", {{"split", "validation"}}}};
    evaluation.text = evaluation.evaluation;
    for (const std::int64_t length : sample.context_lengths) {
      for (const std::string& variant : sample.variants) {
        evaluation.cells.push_back({.cell = CellKey(planned.run_key, evaluation.text, length),
                                    .metric = "nll",
                                    .context_length = length,
                                    .variant = variant});
      }
    }
    if (!evaluation.cells.empty()) planned.evaluations.push_back(std::move(evaluation));
    sweep.runs.push_back(std::move(planned));
  };
  for (const std::int64_t seed : sample.seeds) {
    if (!sample.only_tunes) add(seed, /*is_tuned=*/false);
    if (sample.tunes || sample.only_tunes) add(seed, /*is_tuned=*/true);
  }
  return sweep;
}

inline std::map<std::string, std::string> SampleDatasets() { return {{"novels", "data/novels"}}; }

// What a trainer appends; its `final` is honest.
class SampleJournal {
 public:
  struct Entry {
    JournalRecord record;
    std::string line;
  };

  const Entry& Append(RecordKind kind, Json body) {
    const auto seq = static_cast<std::int64_t>(entries.size()) + 1;
    std::string line =
        Str("{\"body\":", body.dump(), ",\"kind\":\"", EnumName(kind), "\",\"seq\":", seq, "}");
    tally_.Add(kind, line);
    entries.push_back({.record = {.seq = seq,
                                  .kind = kind,
                                  .t_ms = t_ms,
                                  .step = {},
                                  .body = ParseRecordBody(kind, std::nullopt, std::move(body))},
                       .line = std::move(line)});
    return entries.back();
  }
  const Entry& Result(const ExpectedCell& cell, double value) {
    Json body = {
        {"cell", cell.cell},  {"metric", cell.metric}, {"context_length", cell.context_length},
        {"variant", nullptr}, {"value", value},        {"status", "ok"}};
    if (cell.depth) body["depth"] = *cell.depth;
    return Append(RecordKind::kResult, std::move(body));
  }
  const Entry& Checkpoint(const std::string& sha256, std::int64_t step, bool final,
                          bool best = false) {
    const Json file = {{"name", "manifest.json"}, {"sha256", sha256}, {"bytes", 8}};
    return Append(RecordKind::kCheckpoint, {{"sha256", sha256},
                                            {"step", step},
                                            {"files", Json::array({file})},
                                            {"final", final},
                                            {"best", best}});
  }
  const Entry& Final() { return Append(RecordKind::kFinal, tally_.Final().ToJson()); }

  std::vector<Entry> entries;
  std::int64_t t_ms = 0;  // the trainer's wall clock: of what is appended next

 private:
  JournalTally tally_;
};

}  // namespace longrun::coordinator
