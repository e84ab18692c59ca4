// The sweep file: YAML in; runs, tasks and cells out.
//
// One table of keys (schema.cc) gives the parser, the defaults, the JSON Schema and the docs. Errors
// carry file, line, column, key path, what was expected, and the nearest valid key; all of a file's
// errors come in one answer, one a line:
//
//   cable.yaml:9:17: spec.matrix.position[3].bucket: unknown key; did you mean "buckets"?
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "model/config.h"
#include "sweeps/run.h"
#include "sweeps/task.h"

namespace longrun {

// What a sweep must know of a registered dataset to be resolved.
struct DatasetInfo {
  std::string name;
  std::string digest;
  std::string tokenizer_fingerprint;
  std::int64_t vocab_size = 0;  // rows of an embedding
  std::map<std::string, std::int64_t> split_tokens;
  std::int64_t n_tokens =
      0;  // ids of the tokenizer, the rows behind them are padding; 0: not known
  std::int64_t mask_token = -1;  // of the tokenizer; -1: it has none, or it is not known

  // No id of the dataset is as large.
  std::int64_t n_ids() const { return n_tokens > 0 ? n_tokens : vocab_size; }
};
// What a sweep must know of an imported model.
struct ModelInfo {
  std::string name;
  std::string digest;               // of its manifest
  ModelConfig model = {};           // of its config.json, checked
  std::int64_t trained_length = 0;  // that config.json says it was made for; 0: it does not say
  std::int64_t mask_token = -1;     // of an encoder, as config.json says; -1: it does not say
};
// Nothing for an unknown name; `names` lists the known ones for the message.
struct DatasetCatalogue {
  std::function<std::optional<DatasetInfo>(const std::string& name)> find;
  std::vector<std::string> names;
  // A run that can be continued, with its key, by the key or a beginning of it; the error says why
  // there is none. Where it is not set, nothing can be continued.
  std::function<Result<std::pair<std::string, Run>>(const std::string& run)> find_run = {};
  // Imported models, as datasets.
  std::function<std::optional<ModelInfo>(const std::string& name)> find_model = {};
  std::vector<std::string> model_names = {};
};

struct RetryPolicy {
  std::int64_t failures_max = 1;
  std::int64_t losses_max = 5;
};

// One evaluation block, resolved for one run.
struct PlannedEvaluation {
  Json evaluation;                  // {"perplexity": {params, score_tokens explicit, no lengths}}
  std::vector<ExpectedCell> cells;  // of all its context lengths
};

struct PlannedRun {
  Run run;
  std::string run_key;
  std::string dataset_name;
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
  std::vector<PlannedRun> runs;  // in matrix order, `exclude`d ones left out, `include`d last
  std::int64_t devices = 1;
  std::string device_kind = "any";  // any | gpu | cpu
  RetryPolicy retry;
  std::int64_t priority = 0;
  std::int64_t checkpoint_every_ms = 600'000;
  std::int64_t checkpoint_keep = 2;
  bool activation_checkpointing = false;
};

// overrides: {"train.optimizer.lr", "1e-3"}: paths below spec (or "metadata.name"), values in YAML.
// An axis of the matrix that is overridden becomes that one value.
Result<Sweep> ParseSweep(std::string_view yaml, std::string_view file_name,
                         const std::vector<std::pair<std::string, std::string>>& overrides,
                         const DatasetCatalogue& datasets);

// metadata.export of a sweep file that was accepted once, with its overrides: read without the datasets
// that the rest of the file needs.
std::string SweepExport(std::string_view yaml,
                        const std::vector<std::pair<std::string, std::string>>& overrides);
inline constexpr std::string_view kExportPrometheus = "prometheus";

// The task keys of a run: SHA-256 over canonical JSON of kind, run key and what the kind adds.
std::string TrainTaskKey(const std::string& run_key);
// `cells` are those that the task owes (those missing at submission).
std::string EvaluateTaskKey(const std::string& run_key, const Json& evaluation,
                            const std::vector<ExpectedCell>& cells);
std::string CellKey(const std::string& run_key, const Json& evaluation,
                    std::int64_t context_length);

// JSON Schema (2020-12) of the sweep file, from the same table as the parser.
Json SweepJsonSchema();

}  // namespace longrun
