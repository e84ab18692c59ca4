// The task file: everything that a trainer is told, written once by the worker.
// Its paths are the worker's; the rest comes from the coordinator. The file also has members for
// features that this release lacks ("rank": 0, "world": 1), and other values of these are refused.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "base/enum_names.h"
#include "base/json.h"
#include "base/status.h"
#include "sweeps/earlier_results.h"
#include "sweeps/run.h"

namespace longrun {

// One number that an evaluate task must deliver: the row {metric, context_length, variant, depth}
// of a cell.
struct ExpectedCell {
  std::string cell = {};    // SHA-256 of run key, evaluation, extension, context length
  std::string metric = {};  // "nll"
  std::int64_t context_length = 0;
  std::string variant = {};  // "" (null in JSON): the model itself; "unigram": a baseline
  // Place in the context, 0 to 1. nullopt (absent in JSON): the row has no depth.
  std::optional<double> depth = {};
  // The tokens of the cell's longest prompt if they do not follow from the context length
  // (Evaluation::longest_prompt); 0: they do. It says what the cell costs and not what it asks for,
  // so cells with different ones are equal.
  std::int64_t prompt_tokens = 0;

  // What the cell asks for.
  auto Asked() const { return std::tie(cell, metric, context_length, variant, depth); }
  bool operator==(const ExpectedCell& other) const { return Asked() == other.Asked(); }
  auto operator<=>(const ExpectedCell& other) const { return Asked() <=> other.Asked(); }
  // What the cell asks for: in keys, and for trainers.
  Json ToJson() const;
  // With prompt_tokens: for the database.
  Json ToStoredJson() const;
  static Result<ExpectedCell> FromJson(const Json& json);
};
// The depth of a row: the body of a `result` record, or a row of an evaluation's output.
std::optional<double> DepthOf(const Json& row);
// " at depth 0.5", for messages; "": no depth.
std::string DepthText(const std::optional<double>& depth);

struct CheckpointRef {
  std::string attempt;     // ULID of the attempt that wrote it; "": imported
  std::string checkpoint;  // folder on the worker; "" on the wire
  std::string sha256;      // of its manifest.json
  std::int64_t step = 0;

  bool operator==(const CheckpointRef&) const = default;
  Json ToJson() const;
  static Result<CheckpointRef> FromJson(const Json& json);
};

enum class TaskKind { kTrain, kEvaluate };
template <>
struct EnumNames<TaskKind> {
  static constexpr std::array<std::string_view, 2> kNames = {"train", "evaluate"};
};

struct TaskFile {
  std::string attempt;  // ULID
  std::string task;     // task key, 64 hex digits
  std::string run_key;
  std::uint64_t epoch = 0;  // fencing token; a string in JSON
  TaskKind kind = TaskKind::kTrain;
  Run run;
  // {"perplexity": {params without context_lengths}} or null. Here it has its extension and its
  // dataset (extended.h, evaluated_dataset.h); in the JSON, these are separate members.
  Json evaluation;
  // evaluate: the weights; train: the imported checkpoint, or the final one of another run, from
  // which the run starts.
  std::optional<CheckpointRef> init;
  std::optional<CheckpointRef> resume;  // train: where an earlier attempt stopped
  std::string dataset_name;
  std::string dataset_path;
  Execution execution;
  std::vector<int> devices;  // GPU ordinals; empty on a CPU
  std::string attempt_dir;
  std::string cache_dir;
  std::int64_t checkpoint_every_ms = 600'000;
  std::int64_t checkpoint_keep = 2;
  // Compute blocks again in the backward pass. A choice of each attempt, since the bits are the
  // same. Present in the JSON only if true.
  bool activation_checkpointing = false;
  std::int64_t grace_ms = 20'000;
  std::vector<ExpectedCell> expected_cells;
  // Of earlier attempts, the newest first. Present in the JSON only if there are any: trainers of
  // earlier releases know no such member.
  std::vector<EarlierResults> earlier = {};

  Json ToJson() const;
  static Result<TaskFile> FromJson(const Json& json);
};

}  // namespace longrun
