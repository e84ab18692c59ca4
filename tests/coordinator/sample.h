// A small sweep, a worker, and journals as trainers write them, for the coordinator's tests.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "base/files.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/str.h"
#include "coordinator/scheduler/scheduler.h"
#include "sweeps/event.h"
#include "sweeps/sweep.h"

namespace longrun::coordinator {

// One train task and one evaluate task of two lengths a position.
inline constexpr const char* kSampleYaml = R"(apiVersion: longrun/v1
kind: Sweep
metadata: {name: sample}
spec:
  model: {architecture: gpt2, size: micro}
  matrix:
    position: [alibi, rope]
    train_length: [64]
    dataset: [toy]
    seed: [1]
  train: {tokens: 65536, batch_tokens: 1024, precision: fp32}
  evaluate:
    - perplexity: {context_lengths: [64, 128], split: validation, protocol: nonoverlap}
)";

inline DatasetInfo SampleDataset() {
  return {.name = "toy",
          .digest = Sha256Hex("toy"),
          .tokenizer_fingerprint = Sha256Hex("bytes"),
          .vocab_size = 320,
          .split_tokens = {{"train", 100'000}, {"validation", 50'000}}};
}

inline Sweep SampleSweep(const std::string& yaml = kSampleYaml) {
  const DatasetCatalogue datasets = {.find =
                                         [](const std::string& name) {
                                           return name == "toy" ? std::optional(SampleDataset())
                                                                : std::nullopt;
                                         },
                                     .names = {"toy"}};
  auto sweep = ParseSweep(yaml, "sample.yaml", {}, datasets);
  EXPECT_TRUE(sweep.ok()) << sweep.status().message();
  return std::move(sweep).value();
}

inline SweepSubmitted SampleSubmission(const std::string& sweep_id) {
  SweepSubmitted event;
  event.sweep_id = sweep_id;
  event.sweep = SampleSweep();
  event.dataset_paths["toy"] = "/data/toy";
  return event;
}

inline Worker SampleWorker(int n_slots = 2) {
  Worker worker;
  worker.id = "worker-1";
  worker.incarnation = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
  worker.host = "machine";
  worker.version = "0.1.0";
  for (int i = 0; i < n_slots; ++i) {
    worker.slots.push_back({.index = i,
                            .kind = DeviceKind::kCpu,
                            .name = "EPYC",
                            .memory_bytes = std::int64_t{8} << 30,
                            .threads = 1,
                            .simd = "avx2",
                            .linear = "aten/AuthenticAMD"});
  }
  return worker;
}

inline Json SampleResult(const ExpectedCell& cell) {
  return {{"cell", cell.cell},
          {"metric", cell.metric},
          {"context_length", cell.context_length},
          {"split", "validation"},
          {"protocol", "nonoverlap"},
          {"averaging", "token"},
          {"depth", cell.depth ? Json(*cell.depth) : Json()},
          {"variant", cell.variant.empty() ? Json() : Json(cell.variant)},
          {"value", 2.5},
          {"se", 0.01},
          {"n", 1000},
          {"nll_sum", 2500.0},
          {"bytes", 1000},
          {"status", "ok"},
          {"extra", Json::object()}};
}

// The whole journal of an attempt that succeeds: for training four points of loss and the final
// checkpoint, for an evaluation its results.
inline std::vector<BatchRecord> SampleJournal(const TaskFile& task) {
  const TempFolder folder;
  const std::string path = JoinPath(folder.path(), "journal.jsonl");
  auto writer = JournalWriter::Create(path);
  EXPECT_TRUE(writer.ok());
  const auto append = [&](RecordKind kind, const Json& body,
                          std::optional<std::int64_t> step = std::nullopt) {
    EXPECT_TRUE(writer->Append(kind, body, step).ok());
  };
  append(RecordKind::kAttempt, {{"format", 1}, {"attempt", task.attempt}, {"task", task.task}});
  append(RecordKind::kStarted, {{"version", "0.1.0"}, {"steps", 64}});
  if (task.kind == TaskKind::kTrain) {
    for (std::int64_t step = 1; step <= 4; ++step) {
      append(RecordKind::kSeries, {{"loss", 4.0 - static_cast<double>(step)}, {"lr", nullptr}},
             step);
    }
    append(
        RecordKind::kCheckpoint,
        {{"path", "checkpoints/64"},
         {"step", 64},
         {"sha256", Sha256Hex("manifest")},
         {"files", {{{"name", "manifest.json"}, {"sha256", Sha256Hex("manifest")}, {"bytes", 8}}}},
         {"final", true},
         {"best", true}},
        64);
  }
  for (const ExpectedCell& cell : task.expected_cells)
    append(RecordKind::kResult, SampleResult(cell));
  EXPECT_TRUE(writer->Finish().ok());
  JournalReader reader(path);
  auto lines = reader.Next(1000, 1 << 20);
  EXPECT_TRUE(lines.ok());
  std::vector<BatchRecord> records;
  for (auto& line : *lines) {
    records.push_back({.record = std::move(line.record), .line = std::move(line.bytes)});
  }
  return records;
}

inline AttemptFinished SampleEnd(const TaskFile& task, std::int64_t last_seq) {
  AttemptFinished event;
  event.attempt = task.attempt;
  event.epoch = task.epoch;
  event.last_seq = last_seq;
  event.evidence.exit_known = true;
  event.evidence.exit_code = 0;
  return event;
}

}  // namespace longrun::coordinator
