#include "worker/trainer/standalone.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

#include "base/check.h"
#include "base/clock.h"
#include "base/cpu.h"
#include "base/error_list.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/random.h"
#include "base/str.h"
#include "base/version.h"
#include "kernels/cuda_attention.h"
#include "model/architecture/parameters.h"
#include "model/attention_path.h"
#include "model/data/dataset.h"
#include "model/evaluation/evaluation.h"
#include "model/evaluation/input_file.h"
#include "model/evaluation/params.h"
#include "model/extension/extension.h"
#include "model/hugging_face/config_file.h"
#include "model/hugging_face/content.h"
#include "model/hugging_face/finite.h"
#include "model/net/attention.h"
#include "model/net/checkpoint.h"
#include "model/net/device.h"
#include "model/position/method.h"
#include "sweeps/cost.h"
#include "sweeps/event.h"
#include "sweeps/extended.h"
#include "sweeps/run_errors.h"
#include "sweeps/task.h"
#include "worker/trainer/gpu.h"
#include "worker/trainer/machine.h"
#include "worker/trainer/task.h"
#include "worker/trainer/training_view.h"

namespace longrun::trainer {
namespace {

// On a CPU, so that a run's bits do not depend on the machine's memory.
constexpr std::int64_t kCpuMemoryBytes = std::int64_t{4} << 30;
constexpr std::size_t kJsonBytesMax = std::size_t{1} << 20;
// Stands in for the digest of an unreadable input, so that its absence causes no further errors.
const std::string kNoDigest(64, '0');
const Json kUnknownInit = {{"n_positions", 1}, {"sha256", kNoDigest}};

// A Hugging Face folder that a run starts from.
struct InitFolder {
  std::string path;  // absolute
  Json config;
  std::int64_t trained_length = 0;  // 0: unknown
  ModelConfig model;
  FolderContent content;
};

Result<InitFolder> OpenInit(const std::string& given) {
  InitFolder init;
  ASSIGN_OR_RETURN(init.path, AbsolutePath(given));
  ASSIGN_OR_RETURN(init.config, ReadConfigFile(init.path));
  ASSIGN_OR_RETURN(init.trained_length, FolderTrainedLength(init.path, init.config));
  ASSIGN_OR_RETURN(const WeightFolder opened, OpenWeightFolder(init.path));
  RETURN_IF_ERROR(CheckFinite(opened));
  init.model = opened.config.model;
  ASSIGN_OR_RETURN(init.content, ReadFolderContent(init.path, opened));
  return init;
}

struct FoundCheckpoint {
  CheckpointRef ref;
  std::optional<AttentionBackend> attention = {};  // what its run computes with, if known
  bool is_of_gpu = false;
  // As in all runs that do not specify them.
  OperatorSet operators = OperatorSet::kAten;
  Subnormals subnormals = Subnormals::kKept;
  HeadChunks head = HeadChunks::kByLogits;
};

// The inputs that the arguments name; an input with an error is absent.
struct Inputs {
  std::optional<Dataset> dataset = {};
  std::optional<InitFolder> init = {};
  std::optional<FoundCheckpoint> checkpoint = {};
};

// The number of rows of the folder's position table that the run uses;
// 0 for methods without a table.
Result<std::int64_t> PositionRows(const InitFolder& init, const Json& run) {
  ASSIGN_OR_RETURN(const PositionConfig position, ResolvePosition(run["position"]));
  ASSIGN_OR_RETURN(const PositionMethod* const method, FindPositionMethod(position.method));
  if (!method->has_position_table) return 0;
  if (position.method == init.model.position.method) return init.model.n_positions;
  return GetInt(run["train"], "train_length", "run.train");
}

// Fills in from the folder what the run's file leaves out.
void AddInit(const InitFolder& init, Json& run, ErrorList& errors) {
  run.emplace("seed", 1);
  run.emplace("model", init.model.ToJson());
  run.emplace("position", init.model.position.ToJson());
  if (!run.contains("train")) {
    const std::int64_t length = init.trained_length;
    if (length == 0) {
      errors.Add(Status(Code::kInvalidArgument,
                        Str(init.path,
                            ": config.json does not say for which length the model was made: "
                            "give the length in --run: {\"train\": {\"train_length\": N}}")));
    }
    run["train"] = {{"train_length", std::max<std::int64_t>(length, 1)}};
  }
  if (run["train"].is_object() && run["train"].contains("extend")) {
    // It extends the length that the folder's model was made for.
    Json& extension = run["train"]["extend"];
    extension = WithOriginalLength(std::move(extension), init.trained_length);
  }
  const Result<std::int64_t> n_positions = PositionRows(init, run);
  // The checks of the run report the reason.
  if (!n_positions.ok()) {
    run.emplace("init", kUnknownInit);
    return;
  }
  const Json found = {{"n_positions", *n_positions}, {"sha256", init.content.digest}};
  const Json given = *run.emplace("init", found).first;
  if (given == found) return;
  errors.Add(Status(
      Code::kInvalidArgument,
      Str("run.init is ", CanonicalJson(given), ", but --init ", init.path, " names a model with ",
          CanonicalJson(found), ": pass the model of run.init, or leave run.init out")));
}

// Stands in for a missing folder, so that its absence causes no further errors.
void AddUnknownInit(Json& run) {
  run.emplace("seed", 1);
  run.emplace("init", kUnknownInit);
  run.emplace("position", "none");
  run.emplace("train", Json{{"train_length", 1}});
  if (run.contains("model")) return;
  ModelConfig model = *ModelConfig::Preset("micro");
  model.vocab_size = 2;
  run["model"] = model.ToJson();
}

// The error for text that is not JSON. An object with a syntax error gets the parser's
// message with its place.
Status NoRunFile(const std::string& path, std::string_view text, const Status& error) {
  const std::size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin != std::string_view::npos && text[begin] == '{') {
    return Status(error.code(), Str(path, ": ", error.message()));
  }
  return Status(
      error.code(),
      Str(path,
          ": not a run's file: expected JSON with every number written out, {\"model\": {...}, "
          "\"position\": ..., \"seed\": 1, \"train\": {...}}, like the member \"run\" of "
          "`longrun get RUN -o json`; for a sweep file, use `longrun run`"));
}

// Reads the run's file; {} if none is given.
Result<Json> ReadRunFile(const std::string& path) {
  if (path.empty()) return Json::object();
  Result<std::string> text = ReadFile(path, kJsonBytesMax);
  if (!text.ok()) return std::move(text).status().In("--run");
  Result<Json> json = ParseJson(*text);
  if (!json.ok()) return NoRunFile(path, *text, json.status());
  return json;
}

// Fills in what only the dataset, the model and this build know, if the file leaves it out.
void Complete(const Inputs& inputs, bool has_init, Json& json, ErrorList& errors) {
  if (!json.is_object()) return;
  // For an unreadable dataset, stand-in digests avoid further errors.
  const std::optional<Dataset>& dataset = inputs.dataset;
  json.emplace("dataset", Json{{"digest", dataset ? dataset->digest() : kNoDigest}});
  json.emplace("tokenizer",
               Json{{"fingerprint", dataset ? dataset->tokenizer_fingerprint() : kNoDigest}});
  json.emplace("numerics", kNumericsVersion);
  if (inputs.init) return AddInit(*inputs.init, json, errors);
  if (!has_init && !json.contains("init")) return;
  const bool is_of_run = !has_init && json["init"].is_object() && json["init"].contains("run");
  if (is_of_run && !inputs.checkpoint) {
    errors.Add(Status(Code::kInvalidArgument,
                      Str("the run starts from the weights of run ", json["init"]["run"].dump(),
                          ": its training begins in a sweep; here it can be resumed or evaluated "
                          "from a checkpoint of its own")));
  }
  if (is_of_run) return;
  if (!has_init) {
    errors.Add(
        Status(Code::kInvalidArgument,
               "the run starts from an imported model: use --init to give the model's folder"));
  }
  AddUnknownInit(json);
}

Run LoadRun(const std::string& path, const Inputs& inputs, bool has_init, ErrorList& errors) {
  const std::string name = path.empty() ? "without --run" : path;
  Json json;
  if (!errors.Take(ReadRunFile(path), json)) return Run();
  ErrorList own;
  Complete(inputs, has_init, json, own);
  KeyErrors of_keys;
  Run run = ReadRun(json, of_keys);
  if (own.empty() && of_keys.empty()) CheckValidation(run.train, of_keys);
  for (const KeyError& error : of_keys.all()) own.Add(error.status);
  if (own.empty() && !run.trains() && inputs.init) {
    const std::vector<std::string> untrained = NewPositionTensors(inputs.init->model, run.model);
    if (!untrained.empty()) {
      own.Add(
          Status(Code::kInvalidArgument,
                 Str("position method ", run.model.position.method, " learns ", untrained[0],
                     ", which ", inputs.init->path,
                     " does not have, and nothing is trained: choose another method, or train")));
    }
  }
  // A missing member is reported like any other error of the file, not as a missing file.
  for (const Status& error : own.all()) {
    errors.Add(Status(Code::kInvalidArgument, Str(name, ": ", error.message())));
  }
  return run;
}

// Links the folder's files and their manifest into `folder`, in the form that the trainer verifies.
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

template <typename T, typename Member>
bool TakeKnown(const std::optional<T>& known, Member& member) {
  if (known) member = *known;
  return known.has_value();
}

// A choice of its run that a checkpoint names, unless an older release wrote it.
struct PathOfCheckpoint {
  std::string_view key, expected;
  bool (*take)(std::string_view name, FoundCheckpoint& found);  // false: the name is unknown
};
constexpr PathOfCheckpoint kPathsOfCheckpoint[] = {
    {"attention", "reference, torch or fused",
     [](std::string_view name, FoundCheckpoint& found) {
       return TakeKnown(FindEnum<AttentionBackend>(name), found.attention);
     }},
    {"operators", "longrun or aten",
     [](std::string_view name, FoundCheckpoint& found) {
       return TakeKnown(FindEnum<OperatorSet>(name), found.operators);
     }},
    {"subnormals", "kept or flushed",
     [](std::string_view name, FoundCheckpoint& found) {
       return TakeKnown(FindSubnormals(name), found.subnormals);
     }},
    {"head", "logits or width",
     [](std::string_view name, FoundCheckpoint& found) {
       return TakeKnown(FindEnum<HeadChunks>(name), found.head);
     }},
};

Result<FoundCheckpoint> FindCheckpoint(const std::string& folder) {
  if (!IsFolder(folder)) {
    return Status(Code::kNotFound,
                  Str("there is no checkpoint folder \"", folder,
                      "\": training writes checkpoints to checkpoints/ in its --output folder"));
  }
  ASSIGN_OR_RETURN(const LoadedCheckpoint loaded, LoadCheckpoint(folder, ""));
  ASSIGN_OR_RETURN(const CheckpointSummary summary, VerifyCheckpointFolder(folder, ""));
  ASSIGN_OR_RETURN(const std::int64_t step, GetInt(loaded.state, "step", "state.json"));
  SeededRandom random(EntropySeed());
  ASSIGN_OR_RETURN(std::string absolute, AbsolutePath(folder));
  const Json paths = loaded.state.value("paths", Json::object());
  FoundCheckpoint found{.ref = {.attempt = MakeUlid(WallMs(), random),
                                .checkpoint = std::move(absolute),
                                .sha256 = summary.sha256,
                                .step = step}};
  if (paths.contains("linear")) {
    ASSIGN_OR_RETURN(const std::string name, GetString(paths, "linear", "state.json: paths"));
    found.is_of_gpu = name == LinearName({.device = c10::DeviceType::CUDA});
  }
  for (const PathOfCheckpoint& path : kPathsOfCheckpoint) {
    if (!paths.contains(path.key)) continue;
    ASSIGN_OR_RETURN(const std::string name, GetString(paths, path.key, "state.json: paths"));
    if (!path.take(name, found)) {
      return Status(Code::kInvalidArgument, Str("state.json: paths.", path.key, ": expected ",
                                                path.expected, ", found \"", name, "\""));
    }
  }
  return found;
}

// Checks where the task gets its weights: from a checkpoint,
// or from the folder that the run starts from.
Status CheckCheckpoint(const StandaloneOptions& options, TaskKind kind, const Run& run) {
  if (!run.trains() && kind == TaskKind::kTrain) {
    return Status(Code::kInvalidArgument,
                  "this run does no training: its `train` section has only train_length");
  }
  if (!run.trains() && !options.checkpoint.empty()) {
    return Status(
        Code::kInvalidArgument,
        "--checkpoint: the run does no training, so it has no checkpoint; leave the option out");
  }
  if (run.trains() && kind == TaskKind::kEvaluate && options.checkpoint.empty()) {
    return Status(Code::kInvalidArgument,
                  "--checkpoint is required: this run trains a model, and an evaluation needs a "
                  "checkpoint of it");
  }
  return Status();
}

// An attempt's folder is used only once, so that no journal is overwritten.
Status CheckOutput(const std::string& folder, TaskKind kind) {
  if (!PathExists(JoinPath(folder, kJournalName))) return Status();
  return Status(Code::kAlreadyExists,
                Str("--output ", folder, ": an attempt was written there already (", kJournalName,
                    "): give another folder, or remove this one",
                    kind == TaskKind::kTrain
                        ? "; to continue it, give another folder and --resume LAST_CHECKPOINT"
                        : ""));
}

// Checks arguments about this machine. Looks for the GPU early,
// so that its error is reported with the others.
void CheckMachine(const StandaloneOptions& options, ErrorList& errors) {
  const auto device = FindEnum<DeviceKind>(options.device);
  if (device == DeviceKind::kGpu) {
    const Ending ending = RunGuarded([] {
      RETURN_IF_ERROR(OpenCompute("cuda:0", "fp32").status());
      return DescribeGpu(0).status();
    });
    if (!ending.status.ok()) errors.Add(Status(ending.status).In("--device gpu"));
  } else if (!device) {
    errors.Add(Status(Code::kInvalidArgument,
                      Str("--device: expected cpu or gpu, found \"", options.device, "\"")));
  }
  if (options.attention != "auto") {
    errors.Add(ParseAttentionBackend(options.attention).status().In("--attention"));
  }
}

// Datasets have names in sweeps; here they are folders.
Result<Dataset> OpenDataset(const std::string& folder) {
  if (!PathExists(folder)) {
    return Status(Code::kNotFound,
                  Str("--dataset: there is no folder \"", folder,
                      "\": give the dataset's folder, not its name; `longrun data ls` shows it"));
  }
  Result<Dataset> dataset = Dataset::Open(folder);
  if (!dataset.ok()) return std::move(dataset).status().In("--dataset");
  return dataset;
}

template <typename T>
void Open(Result<T> opened, std::optional<T>& out, ErrorList& errors) {
  if (errors.Add(opened.status())) out = std::move(opened).value();
}

Inputs OpenInputs(const StandaloneOptions& options, ErrorList& errors) {
  Inputs inputs;
  Open(OpenDataset(options.dataset), inputs.dataset, errors);
  if (!options.init.empty()) Open(OpenInit(options.init), inputs.init, errors);
  if (!options.checkpoint.empty()) {
    Open(FindCheckpoint(options.checkpoint), inputs.checkpoint, errors);
  }
  return inputs;
}

// Checks the run and the arguments that it requires.
Run CheckRun(const StandaloneOptions& options, TaskKind kind, const Inputs& inputs,
             ErrorList& errors) {
  const bool has_init = !options.init.empty();
  if (options.run.empty() && !has_init) {
    errors.Add(
        Status(Code::kInvalidArgument,
               "--run is required; to evaluate a model without training, give --init instead"));
    return Run();
  }
  ErrorList own;
  Run run = LoadRun(options.run, inputs, has_init, own);
  if (errors.AddAll(own)) errors.Add(CheckCheckpoint(options, kind, run));
  return run;
}

// The parts of a task.
struct Parts {
  Inputs inputs;
  Run run;
  bool has_run = false;  // without errors
};

// Reports all errors of the arguments and of the files that they name at once.
Parts CheckParts(const StandaloneOptions& options, TaskKind kind, ErrorList& errors) {
  errors.Add(CheckOutput(options.output, kind));
  CheckMachine(options, errors);
  ErrorList own;
  Parts parts = {.inputs = OpenInputs(options, own), .run = {}};
  parts.run = CheckRun(options, kind, parts.inputs, own);
  parts.has_run = errors.AddAll(own);
  return parts;
}

// The attention that was asked for, or that of the training; nullopt: neither decides. A GPU need
// not have the fused attention that a CPU had.
std::optional<AttentionBackend> GivenAttention(const StandaloneOptions& options,
                                               const std::optional<FoundCheckpoint>& found) {
  const auto asked = FindEnum<AttentionBackend>(options.attention);  // or "auto"
  if (asked || !found) return asked;
  const bool is_here = found->attention != AttentionBackend::kFused ||
                       options.device == EnumName(DeviceKind::kCpu) || found->is_of_gpu;
  return is_here ? found->attention : std::nullopt;
}

// Makes the task of arguments that have no errors; writes nothing.
Result<TaskFile> MakeTask(const StandaloneOptions& options, TaskKind kind, const Parts& parts) {
  SeededRandom random(EntropySeed());
  TaskFile task;
  task.run = parts.run;
  task.attempt = MakeUlid(WallMs(), random);
  task.run_key = task.run.Key();
  task.task = Sha256Hex(Str(task.run_key, EnumName(kind)));
  task.epoch = 1;
  task.kind = kind;
  ASSIGN_OR_RETURN(task.dataset_path, AbsolutePath(options.dataset));
  task.dataset_name = BaseName(task.dataset_path);
  const auto device = FindEnum<DeviceKind>(options.device);
  LR_CHECK(device.has_value());  // by CheckMachine
  task.execution.device_kind = *device;
  task.execution.threads = options.threads;
  task.execution.micro_batch = options.micro_batch;
  if (!options.matrix.empty()) {
    task.execution.linear = Str(options.matrix, "/", IdentifyCpu().vendor);
  }
  task.execution.operators = FindEnum<OperatorSet>(options.operators);
  task.execution.subnormals = FindSubnormals(options.subnormals);
  task.activation_checkpointing = options.activation_checkpointing;
  ASSIGN_OR_RETURN(task.attempt_dir, AbsolutePath(options.output));
  task.cache_dir = task.attempt_dir;
  task.checkpoint_every_ms = options.checkpoint_every_ms;
  // For a GPU, DecideHere decides what is still open.
  task.execution.attention = GivenAttention(options, parts.inputs.checkpoint)
                                 .value_or(AttentionPathFor(task.run.model, *device));
  if (kind == TaskKind::kTrain) {
    const bool goes_on = parts.inputs.checkpoint.has_value() && device == DeviceKind::kCpu;
    task.execution.head =
        goes_on ? parts.inputs.checkpoint->head : HeadChunksFor(task.run.model, *device);
  }
  if (parts.inputs.checkpoint) {
    const FoundCheckpoint& found = *parts.inputs.checkpoint;
    // A GPU always keeps subnormals, whatever the checkpoint was trained on.
    if (options.subnormals.empty() && device == DeviceKind::kCpu) {
      task.execution.subnormals = found.subnormals;
    }
    // The other kind of device has other kernels, if any.
    if (options.operators.empty() && found.is_of_gpu == (device == DeviceKind::kGpu)) {
      task.execution.operators = found.operators;
    }
    (kind == TaskKind::kTrain ? task.resume : task.init) = found.ref;
  }
  return task;
}

// Checks that this machine can run the task: its device, its paths, the attention of its model.
// Writes what the arguments left open into the task, and so into each of its checkpoints.
Status DecideHere(const StandaloneOptions& options, const Inputs& inputs, TaskFile& task) {
  ASSIGN_OR_RETURN(const Machine machine, OpenMachine(task));
  task.execution = Completed(std::move(task.execution), machine);
  const ModelConfig& model = task.run.model;
  const c10::Device& device = machine.compute.device;
  if (device.is_cuda() && !GivenAttention(options, inputs.checkpoint)) {
    task.execution.attention = AttentionPathFor(model, DeviceKind::kGpu,
                                                CudaHeadDimMaxOf(CudaPluginPath(), device.index()));
  }
  if (task.execution.micro_batch == 0) {
    const bool is_gpu = machine.device_kind == DeviceKind::kGpu;
    task.execution.micro_batch =
        AutoMicroBatch(model, task.run.train, is_gpu ? machine.memory_bytes : kCpuMemoryBytes,
                       {.device_kind = machine.device_kind,
                        .attention = task.execution.attention,
                        .activation_checkpointing = task.activation_checkpointing,
                        .head = task.execution.head});
  }
  ASSIGN_OR_RETURN(const TermSpec terms, TermsOf(model));
  return Attention::Make(terms, model.position.method, model.attention_shape(),
                         task.execution.attention, machine.compute)
      .status();
}

// Creates the output folder only when nothing else can fail,
// so that a refused task leaves no folder.
Status TakeOutput(const StandaloneOptions& options, const Parts& parts, TaskFile& task) {
  const Ending decided = RunGuarded([&] { return DecideHere(options, parts.inputs, task); });
  RETURN_IF_ERROR(decided.status);
  RETURN_IF_ERROR(MakeFolders(task.attempt_dir));
  if (!parts.inputs.init || parts.inputs.checkpoint) return Status();
  ASSIGN_OR_RETURN(task.init, LinkInit(*parts.inputs.init, JoinPath(task.attempt_dir, "init")));
  return Status();
}

Ending RunWritten(const TaskFile& task, RecordWatcher watcher = {}) {
  const std::string path = JoinPath(task.attempt_dir, "task.json");
  if (Status status = WriteFileAtomic(path, CanonicalJson(task.ToJson())); !status.ok()) {
    return EndingOf(std::move(status));
  }
  return RunTask(path, std::move(watcher));
}

void Write(const std::string& text) {
  if (text.empty()) return;
  std::fputs(text.c_str(), stderr);
  std::fflush(stderr);
}

// An nll is shown as its perplexity and a pseudo_nll as its pseudo_perplexity; other metrics are
// shown unchanged.
bool IsNll(std::string_view metric) { return metric.ends_with("nll"); }

std::string ShownMetric(const std::string& metric) {
  return IsNll(metric) ? Str(metric.substr(0, metric.size() - 3), "perplexity") : metric;
}

std::string ShownValue(const ResultRecord& row) {
  if (!row.value) return "-";
  char text[64];
  std::snprintf(text, sizeof text, "%.4f", IsNll(row.metric) ? std::exp(*row.value) : *row.value);
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
      const auto* const row = line.record.As<ResultRecord>();
      if (row == nullptr) continue;
      std::printf("%10lld %-18s %-12s %14s %10s %10lld %s\n",
                  static_cast<long long>(row->context_length.value_or(0)),
                  ShownMetric(row->metric).c_str(), row->variant.value_or("").c_str(),
                  ShownValue(*row).c_str(), row->se ? Str(*row->se).substr(0, 9).c_str() : "-",
                  static_cast<long long>(row->n.value_or(0)), row->status.c_str());
    }
  }
}

// The evaluation that the options ask for.
struct Resolved {
  const Evaluation* evaluation = nullptr;
  Json params;
  std::vector<std::int64_t> lengths;
  std::map<std::string, std::optional<InputFile>> files = {};  // by the parameter that names it
  Json extension = {};
};

// --params, merged with parameters that have options of their own.
Result<Json> GivenParams(const StandaloneOptions& options) {
  Result<Json> given = ParseJson(options.params);
  if (!given) return std::move(given).status().In("--params");
  if (!given->is_object()) {
    return Status(Code::kInvalidArgument,
                  Str("--params: expected a JSON object, such as {\"score_tokens\": 0}, found ",
                      options.params));
  }
  if (!options.lengths.empty()) (*given)["context_lengths"] = options.lengths;
  if (!options.split.empty()) (*given)["split"] = options.split;
  return given;
}

// Checks that the dataset can serve the evaluation, and fits its parameters to it.
Status Fit(const StandaloneOptions& options, const Dataset& dataset, Resolved& resolved) {
  const std::string name = BaseName(options.dataset);
  DatasetShape shape = {.name = name, .split_tokens = {}};
  for (const std::string& split : dataset.split_names()) {
    ASSIGN_OR_RETURN(const TokenSplit* const tokens, dataset.Split(split));
    shape.split_tokens[split] = tokens->n_tokens();
  }
  shape.documents = [&](const std::string& split, std::int64_t n) -> Result<std::vector<TextSpan>> {
    ASSIGN_OR_RETURN(const TokenSplit* const tokens, dataset.Split(split));
    return TextOfDocuments(*tokens, dataset.eot_id(), n);
  };
  const bool gives_tokens = resolved.params.value("score_tokens", std::int64_t{0}) != 0 ||
                            resolved.params.value("text_tokens", std::int64_t{0}) != 0;
  Json fitted = resolved.params;
  if (const auto error = resolved.evaluation->fit(shape, fitted); error) {
    return Status(Code::kInvalidArgument,
                  Str(resolved.evaluation->name, ".", error->key, ": ", error->message));
  }
  // A sweep also takes the default of what depends on the dataset; here score_tokens 0 stays, and
  // means every full window of each length.
  if (gives_tokens) resolved.params = std::move(fitted);
  return Status();
}

Result<InputFile> ReadNamed(const FileParam& param, const Json& params) {
  const auto path = params.at(std::string(param.name)).get<std::string>();
  ASSIGN_OR_RETURN(InputFile file, ReadInputFile(path));
  RETURN_IF_ERROR(param.check(path, file.bytes, params));
  return file;
}

Resolved ResolveEvaluation(const StandaloneOptions& options, const Inputs& inputs,
                           ErrorList& errors) {
  Resolved resolved;
  Json given;
  const bool is_known = errors.Add(FindEvaluation(options.evaluation).status().In("--evaluation"));
  if (!errors.Take(GivenParams(options), given) || !is_known) return resolved;
  resolved.evaluation = *FindEvaluation(options.evaluation);
  const Evaluation& evaluation = *resolved.evaluation;
  const std::vector<ParamError> wrong = CheckParams(evaluation.params, given);
  for (const ParamError& error : wrong) {
    errors.Add(
        Status(Code::kInvalidArgument, Str(evaluation.name, ".", error.key, ": ", error.message)));
  }
  if (!wrong.empty()) return resolved;
  if (!errors.Take(ResolveParams(evaluation.params, given, evaluation.name), resolved.params)) {
    return resolved;
  }
  if (evaluation.writes) {
    if (given.value(kBaselineParam, "") == kWindowBaseline) {
      errors.Add(Status(Code::kInvalidArgument,
                        Str(evaluation.name, ".", kBaselineParam,
                            ": only a sweep adds the plain window; here, measure it separately, "
                            "with --extend '{\"method\": \"window\"}'")));
    }
    resolved.params.erase(kBaselineParam);
  }
  Json& lengths = resolved.params["context_lengths"];
  std::sort(lengths.begin(), lengths.end());
  resolved.lengths = lengths.get<std::vector<std::int64_t>>();
  if (inputs.dataset) errors.Add(Fit(options, *inputs.dataset, resolved));
  for (const FileParam& file : evaluation.files) {
    const std::string name(file.name);
    if (resolved.params.contains(name)) {
      Open(ReadNamed(file, resolved.params), resolved.files[name], errors);
    }
  }
  return resolved;
}

// The extension of --extend, for contexts of these lengths; null: none. `run`: null if it has
// errors; only what needs no run is then checked. `lengths`: empty if they have errors.
Json ResolveExtend(const std::string& text, const Run* run,
                   const std::vector<std::int64_t>& lengths, ErrorList& errors) {
  if (text.empty()) return nullptr;
  Result<Json> parsed = ParseJson(text);
  if (!parsed.ok()) {
    errors.Add(std::move(parsed).status().In("--extend"));
    return nullptr;
  }
  if (run == nullptr) return nullptr;
  const Json given = WithOriginalLength(std::move(parsed).value(), run->train.train_length);
  std::vector<ParamError> wrong = ExtensionErrors(given);
  Json extension;
  if (wrong.empty()) {
    extension = ResolveExtension(given).value();
    std::optional<ParamError> why = WhyNotExtended(extension, run->model);
    if (!why && !lengths.empty()) why = WhyTooLong(extension, lengths.back());
    if (why) wrong.push_back(std::move(*why));
  }
  for (const ParamError& error : wrong) {
    errors.Add(Status(Code::kInvalidArgument, Str("--extend: ", error.key, ": ", error.message)));
  }
  return extension;
}

// Where the attempt keeps the files that parameters name.
std::string KeptFilesFolder(const TaskFile& task) { return JoinPath(task.attempt_dir, "files"); }

// Touches no file: the paths in the parameters are those at which KeepFiles() stores the files.
void AddEvaluation(const Resolved& resolved, TaskFile& task) {
  Json params = resolved.params;
  for (const auto& [param, file] : resolved.files) {
    params[param] = KeptFilePath(file->id, KeptFilesFolder(task));
  }
  params.erase("context_lengths");
  task.evaluation =
      WithExtension({{std::string(resolved.evaluation->name), params}}, resolved.extension);
  for (const std::int64_t length : resolved.lengths) {
    const std::string cell = Sha256Hex(Str(task.run_key, CanonicalJson(task.evaluation), length));
    for (const RowName& row : resolved.evaluation->rows(params)) {
      task.expected_cells.push_back({.cell = cell,
                                     .metric = std::string(row.metric),
                                     .context_length = length,
                                     .variant = row.variant,
                                     .depth = row.depth});
    }
  }
}

Status KeepFiles(const Resolved& resolved, const TaskFile& task) {
  for (const auto& [param, file] : resolved.files) {
    RETURN_IF_ERROR(KeepInputFile(*file, KeptFilesFolder(task)));
  }
  return Status();
}

}  // namespace

Ending TrainStandalone(const StandaloneOptions& options) {
  ErrorList errors;
  const Parts parts = CheckParts(options, TaskKind::kTrain, errors);
  if (!errors.empty()) return EndingOf(errors);
  Result<TaskFile> task = MakeTask(options, TaskKind::kTrain, parts);
  if (!task) return EndingOf(task.status());
  if (Status status = TakeOutput(options, parts, *task); !status.ok()) {
    return EndingOf(std::move(status));
  }
  const TrainConfig& train = task->run.train;
  TrainingView view({.n_steps = train.steps(),
                     .batch_tokens = train.batch_tokens,
                     .batch_documents = train.takes_documents() ? train.batch_sequences() : 0,
                     .first_step = task->resume ? task->resume->step : 0,
                     .checkpoint_every_ms = options.checkpoint_every_ms,
                     .output = options.output,
                     .on_terminal = isatty(STDERR_FILENO) == 1});
  Write(view.Begin());
  Ending ending = RunWritten(*task, [&view](const RecordBody& body, std::int64_t step) {
    Write(view.Show(body, step, BootMs()));
  });
  Write(view.End());
  if (ending.status.ok()) {
    Write(Str("trained: its weights and the optimizer's state are in ", view.checkpoint(), "\n"));
  } else if (ending.failure_class == FailureClass::kPreempted && !view.checkpoint().empty()) {
    ending.status =
        Status(ending.status.code(), Str(ending.status.message(), "; --resume ", view.checkpoint(),
                                         " with another --output continues from it"));
  }
  // In a sweep the coordinator adds this advice; here we do.
  if (ending.failure_class == FailureClass::kNumerical && !ending.status.ok()) {
    ending.status = Status(ending.status.code(), Str(ending.status.message(), "; ",
                                                     FailureOf(FailureClass::kNumerical).advice));
  }
  return ending;
}

Ending EvaluateStandalone(const StandaloneOptions& options) {
  ErrorList errors;
  const Parts parts = CheckParts(options, TaskKind::kEvaluate, errors);
  const Run* const run = parts.has_run ? &parts.run : nullptr;
  Resolved resolved = ResolveEvaluation(options, parts.inputs, errors);
  resolved.extension = ResolveExtend(options.extend, run, resolved.lengths, errors);
  if (!errors.empty()) return EndingOf(errors);
  Result<TaskFile> task = MakeTask(options, TaskKind::kEvaluate, parts);
  if (!task) return EndingOf(task.status());
  AddEvaluation(resolved, *task);
  if (Status status = TakeOutput(options, parts, *task); !status.ok()) {
    return EndingOf(std::move(status));
  }
  if (Status status = KeepFiles(resolved, *task); !status.ok()) {
    return EndingOf(std::move(status));
  }
  Ending ending = RunWritten(*task);
  if (!ending.status.ok()) return ending;
  return EndingOf(PrintRows(task->attempt_dir));
}

}  // namespace longrun::trainer
