// The sweep file: YAML in; runs, tasks and cells out.
//
// The parser, the defaults, the JSON Schema and the docs are derived from one table of keys
// (schema.cc). Errors have file, line, column, key path, the expected value, and the nearest valid
// key; all errors of a file are reported together, one per line:
//
//   cable.yaml:9:17: spec.matrix.position[3].bucket: unknown key; did you mean "buckets"?
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "model/config.h"
#include "model/data/documents.h"
#include "sweeps/device_choice.h"
#include "sweeps/run.h"
#include "sweeps/task.h"

namespace longrun {

// The facts about a registered dataset that a sweep needs.
struct DatasetInfo {
  std::string name;
  std::string digest;
  std::string tokenizer_fingerprint;
  std::int64_t vocab_size = 0;  // rows of an embedding
  std::map<std::string, std::int64_t> split_tokens;
  std::map<std::string, std::int64_t> split_documents =
      {};  // of those splits for which it is known
  // Like DatasetShape::documents (model/evaluation/evaluation.h).
  std::function<Result<std::vector<TextSpan>>(const std::string& split, std::int64_t n)> documents =
      {};
  std::int64_t n_tokens = 0;     // ids of the tokenizer; further rows are padding; 0: unknown
  std::int64_t mask_token = -1;  // of the tokenizer; -1: it has none, or it is unknown

  // Every id of the dataset is smaller.
  std::int64_t n_ids() const { return n_tokens > 0 ? n_tokens : vocab_size; }
};
// The facts about an imported model that a sweep needs; expand.cc also describes a run by them.
struct ModelInfo {
  std::string name;
  std::string digest;               // of its manifest; "": of a run
  ModelConfig model = {};           // of its config.json, checked
  Json extension = {};              // the one that config.json asks for, as in NetConfig; or null
  std::int64_t trained_length = 0;  // according to config.json; 0: it does not say
  std::int64_t mask_token = -1;     // of an encoder, according to config.json; -1: it does not say
};
// A finished run, which another can continue or start from.
struct KnownRun {
  std::string key;
  Run run;
  // The extension of the imported model from which its weights come (as in ModelInfo), if it is
  // still in force; null: there is none, or a training run had another (run.train.extension).
  Json extension = {};
  // Digests of the datasets on which its weights were trained before this run.
  std::set<std::string> trained_before = {};
};
// `find` returns nullopt for an unknown name; `names` lists the known ones for the message.
struct DatasetCatalogue {
  std::function<std::optional<DatasetInfo>(const std::string& name)> find;
  std::vector<std::string> names;
  // Finds a finished run by its key or the beginning of the key. The error says why there is none.
  // Not set: there are none.
  std::function<Result<KnownRun>(const std::string& run)> find_run = {};
  // Imported models, like datasets.
  std::function<std::optional<ModelInfo>(const std::string& name)> find_model = {};
  std::vector<std::string> model_names = {};
};

struct RetryPolicy {
  std::int64_t failures_max = 1;
  std::int64_t losses_max = 5;
};

// What the keys of tasks and cells have of an evaluation, which may have its extension in it
// (extended.h): canonical JSON.
struct EvaluationText {
  EvaluationText() = default;
  // Implicit: a single key can be made of the evaluation itself.
  EvaluationText(const Json& evaluation);  // NOLINT(google-explicit-constructor)
  std::string evaluation;                  // without the extension
  std::string extension;
};

// One evaluation block, resolved for one run.
struct PlannedEvaluation {
  Json evaluation;                  // {"perplexity": {params, score_tokens explicit, no lengths}}
  std::vector<ExpectedCell> cells;  // for all its context lengths
  EvaluationText text = {};         // of `evaluation`, made once for all keys
};

struct PlannedRun {
  Run run;
  std::string run_key;
  std::string dataset_name;
  // Digests of the datasets on which its weights were trained before this run.
  std::set<std::string> trained_before = {};
  Json axes;  // axis path -> value as shown: {"position": "cable", ...}
  std::vector<PlannedEvaluation> evaluations;
};

struct Sweep {
  std::string name;
  std::map<std::string, std::string> labels;
  std::string export_to = "none";  // none | prometheus
  std::string yaml;                // the original bytes
  std::string file_name;
  std::vector<std::pair<std::string, std::string>> overrides;  // --set path=value, in order
  std::vector<std::string> axes;                               // axis paths in matrix order
  // In matrix order, without the points of `exclude`; then the points of `include`.
  std::vector<PlannedRun> runs;
  std::int64_t devices = 1;
  DeviceChoice device_kind = DeviceChoice::kAny;
  RetryPolicy retry;
  std::int64_t priority = 0;
  std::int64_t checkpoint_every_ms = 600'000;
  std::int64_t checkpoint_keep = 2;
  bool activation_checkpointing = false;
  // What the user should know about the file, though it is valid: "FILE:LINE:COLUMN: ...".
  std::vector<std::string> notes = {};
};

// overrides: {"train.optimizer.lr", "1e-3"}: paths below spec (or "metadata.name"), values in YAML.
// An overridden axis of the matrix has only that value.
Result<Sweep> ParseSweep(std::string_view yaml, std::string_view file_name,
                         const std::vector<std::pair<std::string, std::string>>& overrides,
                         const DatasetCatalogue& datasets);

// metadata.export of a sweep file that was accepted before, with its overrides. Does not need the
// datasets that the rest of the file needs.
std::string SweepExport(std::string_view yaml,
                        const std::vector<std::pair<std::string, std::string>>& overrides);
inline constexpr std::string_view kExportPrometheus = "prometheus";

// The task keys of a run: SHA-256 over canonical JSON of kind, run key and the kind's own members.
std::string TrainTaskKey(const std::string& run_key);
// `cells` are the cells that the task must fill (those missing at submission).
std::string EvaluateTaskKey(const std::string& run_key, const EvaluationText& text,
                            const std::vector<ExpectedCell>& cells);
std::string CellKey(const std::string& run_key, const EvaluationText& text,
                    std::int64_t context_length);

// JSON Schema (2020-12) of the sweep file, from the same table as the parser.
Json SweepJsonSchema();

}  // namespace longrun
