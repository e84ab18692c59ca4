#include "worker/trainer/standalone.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/error_list.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/random.h"
#include "base/str.h"
#include "base/version.h"
#include "model/architecture/parameters.h"
#include "model/attention_path.h"
#include "model/data/dataset.h"
#include "model/evaluation/evaluation.h"
#include "model/evaluation/input_file.h"
#include "model/hugging_face/config_file.h"
#include "model/hugging_face/content.h"
#include "model/hugging_face/finite.h"
#include "model/net/attention.h"
#include "model/net/checkpoint.h"
#include "model/position/method.h"
#include "sweeps/event.h"
#include "sweeps/run_errors.h"
#include "sweeps/task.h"
#include "worker/trainer/task.h"

namespace longrun {
namespace {

constexpr std::int64_t kMemoryBytes = std::int64_t{4} << 30;
constexpr std::size_t kJsonBytesMax = std::size_t{1} << 20;
constexpr std::string_view kJournalName = "journal.jsonl";

// A Hugging Face folder that a run starts from.
struct InitFolder {
  std::string path;  // absolute
  Json config;
  ModelConfig model;
  FolderContent content;
};

Result<InitFolder> OpenInit(const std::string& given) {
  InitFolder init;
  ASSIGN_OR_RETURN(init.path, AbsolutePath(given));
  ASSIGN_OR_RETURN(init.config, ReadConfigFile(init.path));
  ASSIGN_OR_RETURN(const WeightFolder opened, OpenWeightFolder(init.path));
  RETURN_IF_ERROR(CheckFinite(opened));
  init.model = opened.config.model;
  ASSIGN_OR_RETURN(init.content, ReadFolderContent(init.path, opened));
  return init;
}

// What the folder says of the run, where the run's file does not.
Status AddInit(const InitFolder& init, Json& run) {
  run.emplace("seed", 1);
  run.emplace("model", init.model.ToJson());
  run.emplace("position", init.model.position.ToJson());
  if (!run.contains("train")) {
    const std::int64_t length = TrainedLength(init.config);
    if (length == 0) {
      return Status(Code::kInvalidArgument,
                    Str(init.path,
                        ": config.json does not say for which length the model was made: "
                        "give it as {\"train\": {\"train_length\": N}} of --run"));
    }
    run["train"] = {{"train_length", length}};
  }
  ASSIGN_OR_RETURN(const PositionConfig position, ResolvePosition(run["position"]));
  ASSIGN_OR_RETURN(const PositionMethod* const method, FindPositionMethod(position.method));
  std::int64_t n_positions = 0;
  if (method->has_position_table) {
    n_positions = init.model.n_positions;
    if (position.method != init.model.position.method) {
      ASSIGN_OR_RETURN(n_positions, GetInt(run["train"], "train_length", "run.train"));
    }
  }
  const Json found = {{"n_positions", n_positions}, {"sha256", init.content.digest}};
  const Json given = *run.emplace("init", found).first;
  if (given == found) return Status();
  return Status(Code::kInvalidArgument, Str("run.init is ", CanonicalJson(given), ", but --init ",
                                            init.path, " is ", CanonicalJson(found)));
}

// The run's file; {} where none is given.
Result<Json> ReadRunFile(const std::string& path) {
  if (path.empty()) return Json::object();
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kJsonBytesMax));
  Result<Json> json = ParseJson(text);
  if (!json.ok()) return std::move(json).status().In(path);
  return json;
}

// What only the dataset, the model and this build can say is written in when the file leaves it out.
Status Complete(const std::optional<Dataset>& dataset, const std::optional<InitFolder>& init,
                Json& json) {
  if (!json.is_object()) return Status();
  // The digests of a dataset that cannot be read change no other error.
  const std::string none(64, '0');
  json.emplace("dataset", Json{{"digest", dataset ? dataset->digest() : none}});
  json.emplace("tokenizer",
               Json{{"fingerprint", dataset ? dataset->tokenizer_fingerprint() : none}});
  json.emplace("numerics", kNumericsVersion);
  if (init) return AddInit(*init, json);
  if (!json.contains("init")) return Status();
  return Status(Code::kInvalidArgument,
                "the run starts from an imported model: give its folder by --init");
}

Run LoadRun(const std::string& path, const std::optional<Dataset>& dataset,
            const std::optional<InitFolder>& init, ErrorList& errors) {
  const std::string name = path.empty() ? "without --run" : path;
  const auto add = [&](Status status) { return errors.Add(std::move(status).In(name)); };
  Json json;
  if (!errors.Take(ReadRunFile(path), json)) return Run();
  // Without what the folder says, half of the run would be called missing.
  if (Status status = Complete(dataset, init, json); !status.ok()) {
    add(std::move(status));
    return Run();
  }
  ErrorList own;
  Run run = ReadRun(json, own);
  for (const Status& error : own.all()) add(error);
  if (own.empty() && !run.trains() && init) {
    const std::vector<std::string> untrained = NewPositionTensors(init->model, run.model);
    if (!untrained.empty()) {
      add(Status(
          Code::kInvalidArgument,
          Str("position method ", run.model.position.method, " learns ", untrained[0], ", which ",
              init->path, " does not have, and nothing is trained: choose another, or train")));
    }
  }
  return run;
}

// The folder as the trainer verifies one: its files, with their manifest beside them, in `folder`.
Result<CheckpointRef> LinkInit(const InitFolder& init, const std::string& folder) {
  RETURN_IF_ERROR(RemoveAll(folder));
  RETURN_IF_ERROR(MakeFolders(folder));
  for (const FolderFile& file : init.content.files) {
    const std::string link = JoinPath(folder, file.name);
    std::error_code error;
    std::filesystem::create_symlink(JoinPath(init.path, file.name), link, error);
    if (error) return Status(Code::kUnavailable, Str("cannot make ", link, ": ", error.message()));
  }
  RETURN_IF_ERROR(WriteFileAtomic(JoinPath(folder, kFolderManifestName), init.content.manifest));
  return CheckpointRef{
      .attempt = {}, .checkpoint = folder, .sha256 = init.content.digest, .step = 0};
}

struct FoundCheckpoint {
  CheckpointRef ref;
  std::string attention;  // what its run computes with; "": it does not say
};

Result<FoundCheckpoint> FindCheckpoint(const std::string& folder) {
  if (!IsFolder(folder)) {
    return Status(Code::kNotFound, Str("there is no checkpoint folder ", folder,
                                       ": checkpoints/ in the --output of a training has them"));
  }
  ASSIGN_OR_RETURN(const LoadedCheckpoint loaded, LoadCheckpoint(folder, ""));
  ASSIGN_OR_RETURN(const CheckpointSummary summary, VerifyCheckpointFolder(folder, ""));
  ASSIGN_OR_RETURN(const std::int64_t step, GetInt(loaded.state, "step", "state.json"));
  SeededRandom random(EntropySeed());
  ASSIGN_OR_RETURN(std::string absolute, AbsolutePath(folder));
  const Json paths = loaded.state.value("paths", Json::object());
  std::string attention;
  if (paths.contains("attention")) {
    ASSIGN_OR_RETURN(attention, GetString(paths, "attention", "state.json: paths"));
  }
  return FoundCheckpoint{.ref = {.attempt = MakeUlid(WallMs(), random),
                                 .checkpoint = std::move(absolute),
                                 .sha256 = summary.sha256,
                                 .step = step},
                         .attention = std::move(attention)};
}

// Whose weights a task has: those of a checkpoint, or those of the folder that the run starts from.
Status CheckCheckpoint(const StandaloneOptions& options, TaskKind kind, const Run& run) {
  if (!run.trains() && kind == TaskKind::kTrain) {
    return Status(Code::kInvalidArgument,
                  "the run trains nothing: its train has a train_length alone");
  }
  if (!run.trains() && !options.checkpoint.empty()) {
    return Status(
        Code::kInvalidArgument,
        "--checkpoint: the run trains nothing, so that it has no checkpoint; leave it out");
  }
  if (run.trains() && kind == TaskKind::kEvaluate && options.checkpoint.empty()) {
    return Status(Code::kInvalidArgument,
                  "--checkpoint is required: the run is trained, and its checkpoint is scored");
  }
  return Status();
}

// An attempt's folder is used once: its journal is never written over.
Status CheckOutput(const std::string& folder, TaskKind kind) {
  if (!PathExists(JoinPath(folder, kJournalName))) return Status();
  return Status(Code::kAlreadyExists,
                Str("--output ", folder, ": an attempt was written there already (", kJournalName,
                    "): give another folder, or remove this one",
                    kind == TaskKind::kTrain
                        ? "; to go on with it, another folder and --resume with its last checkpoint"
                        : ""));
}

void CheckMachine(const StandaloneOptions& options, ErrorList& errors) {
  if (options.device != "cpu" && options.device != "gpu") {
    errors.Add(Status(Code::kInvalidArgument,
                      Str("--device: expected cpu or gpu, found \"", options.device, "\"")));
  }
  if (options.attention != "auto") {
    errors.Add(ParseAttentionBackend(options.attention).status().In("--attention"));
  }
}

// The files that the arguments name; without those that have an error.
struct Inputs {
  std::optional<Dataset> dataset = {};
  std::optional<InitFolder> init = {};
  std::optional<FoundCheckpoint> checkpoint = {};
};

template <typename T>
void Open(Result<T> opened, std::optional<T>& out, ErrorList& errors) {
  if (errors.Add(opened.status())) out = std::move(opened).value();
}

Inputs OpenInputs(const StandaloneOptions& options, ErrorList& errors) {
  Inputs inputs;
  Open(Dataset::Open(options.dataset), inputs.dataset, errors);
  if (!options.init.empty()) Open(OpenInit(options.init), inputs.init, errors);
  if (!options.checkpoint.empty()) {
    Open(FindCheckpoint(options.checkpoint), inputs.checkpoint, errors);
  }
  return inputs;
}

// The run, and what it demands of the arguments.
Run CheckRun(const StandaloneOptions& options, TaskKind kind, const Inputs& inputs,
             ErrorList& errors) {
  const bool has_init = !options.init.empty();
  if (options.run.empty() && (!has_init || kind == TaskKind::kTrain)) {
    errors.Add(Status(
        Code::kInvalidArgument,
        has_init ? "--run is required: it says how to train, as {\"train\": {...}}"
                 : "--run is required; of a model that is measured as it is, --init instead"));
    return Run();
  }
  // What the run says rests on the model that it starts from.
  if (has_init && !inputs.init) return Run();
  ErrorList own;
  Run run = LoadRun(options.run, inputs.dataset, inputs.init, own);
  if (errors.AddAll(own)) errors.Add(CheckCheckpoint(options, kind, run));
  return run;
}

// What a task is made of.
struct Parts {
  Inputs inputs;
  Run run;
};

// Every error of the arguments and of the files that they name, at once.
Parts CheckParts(const StandaloneOptions& options, TaskKind kind, ErrorList& errors) {
  errors.Add(CheckOutput(options.output, kind));
  CheckMachine(options, errors);
  Parts parts = {.inputs = OpenInputs(options, errors), .run = {}};
  parts.run = CheckRun(options, kind, parts.inputs, errors);
  return parts;
}

// Of arguments without an error.
Result<TaskFile> MakeTask(const StandaloneOptions& options, TaskKind kind, Parts parts) {
  RETURN_IF_ERROR(MakeFolders(options.output));
  SeededRandom random(EntropySeed());
  TaskFile task;
  task.run = std::move(parts.run);
  task.attempt = MakeUlid(WallMs(), random);
  task.run_key = task.run.Key();
  task.task = Sha256Hex(Str(task.run_key, TaskKindName(kind)));
  task.epoch = 1;
  task.kind = kind;
  ASSIGN_OR_RETURN(task.dataset_path, AbsolutePath(options.dataset));
  task.dataset_name = BaseName(task.dataset_path);
  task.execution.device_kind = options.device;
  task.execution.threads = options.threads;
  task.execution.micro_batch = options.micro_batch;
  if (!options.matrix.empty()) {
    task.execution.linear = Str(options.matrix, "/", IdentifyCpu().vendor);
  }
  task.execution.operators = options.operators;
  task.activation_checkpointing = options.activation_checkpointing;
  if (options.micro_batch == 0) {
    task.execution.micro_batch = AutoMicroBatch(task.run.model, task.run.train, kMemoryBytes,
                                                options.activation_checkpointing);
  }
  ASSIGN_OR_RETURN(task.attempt_dir, AbsolutePath(options.output));
  task.cache_dir = task.attempt_dir;
  task.checkpoint_every_ms = options.checkpoint_every_ms;
  task.execution.attention = options.attention == "auto"
                                 ? AttentionPathFor(task.run.model, options.device)
                                 : options.attention;
  if (parts.inputs.checkpoint) {
    FoundCheckpoint& found = *parts.inputs.checkpoint;
    // As it was trained: but the fused attention, a CPU's, is not there on a GPU.
    const bool is_here = found.attention != "fused" || options.device == "cpu";
    if (options.attention == "auto" && !found.attention.empty() && is_here) {
      task.execution.attention = std::move(found.attention);
    }
    (kind == TaskKind::kTrain ? task.resume : task.init) = std::move(found.ref);
  } else if (parts.inputs.init) {
    ASSIGN_OR_RETURN(task.init, LinkInit(*parts.inputs.init, JoinPath(task.attempt_dir, "init")));
  }
  return task;
}

Ending RunWritten(const TaskFile& task) {
  const std::string path = JoinPath(task.attempt_dir, "task.json");
  if (Status status = WriteFileAtomic(path, CanonicalJson(task.ToJson())); !status.ok()) {
    return EndingOf(std::move(status));
  }
  return RunTask(path);
}

// An nll is shown as the perplexity that it gives, a pseudo_nll as a pseudo_perplexity; other metrics as they
// are.
bool IsNll(std::string_view metric) { return metric.ends_with("nll"); }

std::string ShownMetric(const std::string& metric) {
  return IsNll(metric) ? Str(metric.substr(0, metric.size() - 3), "perplexity") : metric;
}

std::string ShownValue(const Json& row) {
  if (!row.at("value").is_number()) return "-";
  const double value = row.at("value").get<double>();
  char text[64];
  std::snprintf(text, sizeof text, "%.4f",
                IsNll(row.at("metric").get_ref<const std::string&>()) ? std::exp(value) : value);
  return text;
}

Status PrintRows(const std::string& attempt_dir) {
  JournalReader reader(JoinPath(attempt_dir, kJournalName));
  std::printf("%10s %-18s %-12s %14s %10s %10s %s\n", "length", "metric", "variant", "value",
              "se(nll)", "n", "status");
  while (true) {
    ASSIGN_OR_RETURN(const std::vector<JournalReader::Line> lines, reader.Next(256, 1 << 20));
    if (lines.empty()) return Status();
    for (const JournalReader::Line& line : lines) {
      if (line.record.kind != "result") continue;
      const Json& row = line.record.body;
      const std::string metric = row.at("metric").get<std::string>();
      const Json& variant = row.at("variant");
      std::printf(
          "%10lld %-18s %-12s %14s %10s %10lld %s\n",
          static_cast<long long>(row.at("context_length").get<std::int64_t>()),
          ShownMetric(metric).c_str(),
          variant.is_string() ? variant.get<std::string>().c_str() : "", ShownValue(row).c_str(),
          row.at("se").is_number() ? Str(row.at("se").get<double>()).substr(0, 9).c_str() : "-",
          static_cast<long long>(row.at("n").get<std::int64_t>()),
          row.at("status").get<std::string>().c_str());
    }
  }
}

// The evaluation that the options ask for; what this dataset cannot serve is refused by name.
struct Resolved {
  const Evaluation* evaluation = nullptr;
  Json params;
  std::vector<std::int64_t> lengths;
};

// The file that a parameter names is kept in `folder` under its content, and stands in the parameters
// by that path.
Status KeepFile(const Evaluation& evaluation, const std::string& folder, Json& params) {
  if (evaluation.file_param.empty()) return Status();
  Json& named = params.at(std::string(evaluation.file_param));
  const auto path = named.get<std::string>();
  ASSIGN_OR_RETURN(const InputFile file, ReadInputFile(path));
  RETURN_IF_ERROR(evaluation.check_file(path, file.bytes, params));
  RETURN_IF_ERROR(KeepInputFile(file, folder));
  named = KeptFilePath(file.id, folder);
  return Status();
}

Result<Resolved> ResolveEvaluation(const StandaloneOptions& options, const Dataset& dataset) {
  Resolved resolved;
  ASSIGN_OR_RETURN(resolved.evaluation, FindEvaluation(options.evaluation));
  const std::string path(resolved.evaluation->name);
  Result<Json> given = ParseJson(options.params);
  if (!given) return std::move(given).status().In("--params");
  if (given->is_object() && !options.lengths.empty()) (*given)["context_lengths"] = options.lengths;
  if (given->is_object() && !options.split.empty()) (*given)["split"] = options.split;
  ASSIGN_OR_RETURN(resolved.params, ResolveParams(resolved.evaluation->params, *given, path));
  Json& lengths = resolved.params["context_lengths"];
  std::sort(lengths.begin(), lengths.end());
  resolved.lengths = lengths.get<std::vector<std::int64_t>>();
  const std::string name = BaseName(options.dataset);
  DatasetShape shape = {.name = name, .split_tokens = {}};
  for (const std::string& split : dataset.split_names()) {
    ASSIGN_OR_RETURN(const TokenSplit* const tokens, dataset.Split(split));
    shape.split_tokens[split] = tokens->n_tokens();
  }
  // A sweep would also write in what depends on the dataset; here score_tokens 0 stays: every full
  // window of each length.
  Json fitted = resolved.params;
  if (const auto error = resolved.evaluation->fit(shape, fitted); error) {
    return Status(Code::kInvalidArgument, Str(path, ".", error->key, ": ", error->message));
  }
  return resolved;
}

Status AddEvaluation(Resolved resolved, TaskFile& task) {
  RETURN_IF_ERROR(
      KeepFile(*resolved.evaluation, JoinPath(task.attempt_dir, "files"), resolved.params));
  resolved.params.erase("context_lengths");
  task.evaluation = {{std::string(resolved.evaluation->name), resolved.params}};
  for (const std::int64_t length : resolved.lengths) {
    const std::string cell = Sha256Hex(Str(task.run_key, CanonicalJson(task.evaluation), length));
    for (const RowName& row : resolved.evaluation->rows(resolved.params)) {
      task.expected_cells.push_back({.cell = cell,
                                     .metric = std::string(row.metric),
                                     .context_length = length,
                                     .variant = row.variant});
    }
  }
  return Status();
}

}  // namespace

Ending TrainStandalone(const StandaloneOptions& options) {
  ErrorList errors;
  Parts parts = CheckParts(options, TaskKind::kTrain, errors);
  if (!errors.empty()) return EndingOf(errors);
  const Result<TaskFile> task = MakeTask(options, TaskKind::kTrain, std::move(parts));
  if (!task) return EndingOf(task.status());
  Ending ending = RunWritten(*task);
  // The coordinator says so itself.
  if (ending.failure_class == FailureClass::kNumerical && !ending.status.ok()) {
    ending.status = Status(ending.status.code(), Str(ending.status.message(), "; ",
                                                     FailureOf(FailureClass::kNumerical).advice));
  }
  return ending;
}

Ending EvaluateStandalone(const StandaloneOptions& options) {
  ErrorList errors;
  Parts parts = CheckParts(options, TaskKind::kEvaluate, errors);
  Resolved resolved;
  if (parts.inputs.dataset) {
    errors.Take(ResolveEvaluation(options, *parts.inputs.dataset), resolved);
  }
  if (!errors.empty()) return EndingOf(errors);
  Result<TaskFile> task = MakeTask(options, TaskKind::kEvaluate, std::move(parts));
  if (!task) return EndingOf(task.status());
  if (Status status = AddEvaluation(std::move(resolved), *task); !status.ok()) {
    return EndingOf(std::move(status));
  }
  Ending ending = RunWritten(*task);
  if (!ending.status.ok()) return ending;
  return EndingOf(PrintRows(task->attempt_dir));
}

}  // namespace longrun
