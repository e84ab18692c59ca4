// The task file in JSON.
#include "sweeps/task.h"

#include <charconv>
#include <limits>
#include <utility>

#include "base/check.h"
#include "base/hash.h"
#include "base/random.h"
#include "base/str.h"
#include "model/extension/extension.h"
#include "sweeps/evaluated_dataset.h"
#include "sweeps/extended.h"
#include "sweeps/fields.h"

namespace longrun {
namespace {

constexpr std::int64_t kTaskFormat = 1;

// 64-bit numbers that can exceed 2^53 are strings in JSON.
Result<std::uint64_t> ParseEpoch(std::string_view text) {
  std::uint64_t epoch = 0;
  const char* const end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, epoch);
  if (text.empty() || parsed.ec != std::errc() || parsed.ptr != end) {
    return Status(Code::kInvalidArgument,
                  Str("task.epoch: expected a decimal number as a string, found \"", text, "\""));
  }
  return epoch;
}

Result<TaskKind> ParseTaskKind(std::string_view name) {
  if (name == "train") return TaskKind::kTrain;
  if (name == "evaluate") return TaskKind::kEvaluate;
  return Status(Code::kInvalidArgument,
                Str("task.kind: expected train or evaluate, found \"", name, "\""));
}

Status ExpectHex(std::string_view name, std::string_view text) {
  if (IsSha256Hex(text)) return Status();
  return Status(Code::kInvalidArgument,
                Str(name, ": expected 64 digits of 0-9a-f, found \"", text, "\""));
}

Status ExpectUlid(std::string_view name, std::string_view text) {
  if (IsUlid(text)) return Status();
  return Status(Code::kInvalidArgument, Str(name, ": expected a ULID, found \"", text, "\""));
}

template <typename T>
Json ToJsonOrNull(const std::optional<T>& value) {
  return value ? value->ToJson() : Json();
}

Status CheckTask(const TaskFile& task) {
  RETURN_IF_ERROR(ExpectUlid("task.attempt", task.attempt));
  RETURN_IF_ERROR(ExpectHex("task.task", task.task));
  if (task.run.Key() != task.run_key) {
    return Status(Code::kInvalidArgument, Str("task.run: its key is ", task.run.Key(),
                                              ", but task.run_key says ", task.run_key));
  }
  const bool evaluates = task.kind == TaskKind::kEvaluate;
  const bool has_init = evaluates || (task.run.init.has_value() && !task.resume);
  if (evaluates != task.evaluation.is_object() || has_init != task.init.has_value() ||
      evaluates == task.expected_cells.empty() || (evaluates && task.resume)) {
    return Status(Code::kInvalidArgument,
                  Str("task of kind ", EnumName(task.kind),
                      ": a task of kind evaluate has evaluation, init and expected_cells; a task "
                      "of kind train has no evaluation and no expected_cells, has init only if its "
                      "run starts from an imported checkpoint or from another run, and may have "
                      "resume instead"));
  }
  if (!evaluates && !task.run.trains()) {
    return Status(Code::kInvalidArgument, "task of kind train: its run does no training");
  }
  if (task.checkpoint_every_ms < 0 || task.checkpoint_keep < 1 || task.grace_ms < 0) {
    return Status(
        Code::kInvalidArgument,
        Str("task: checkpoint_every_ms ", task.checkpoint_every_ms, ", checkpoint_keep ",
            task.checkpoint_keep, " and grace_ms ", task.grace_ms, " must be at least 0, 1 and 0"));
  }
  return Status();
}

// Takes the dataset that an evaluation reads instead of the run's own.
Status ReadEvaluatedDataset(const Json& json, TaskFile& task) {
  if (!task.evaluation.is_object() || task.evaluation.size() != 1) {
    return Status(Code::kInvalidArgument, "task.evaluated_dataset: belongs to an evaluation");
  }
  EvaluatedDataset dataset;
  JsonFields fields(json, "task.evaluated_dataset");
  fields.String("name", dataset.name).String("digest", dataset.digest);
  fields.String("path", dataset.path);
  RETURN_IF_ERROR(fields.Done());
  RETURN_IF_ERROR(ExpectHex("task.evaluated_dataset.digest", dataset.digest));
  task.evaluation = WithEvaluatedDataset(std::move(task.evaluation), dataset);
  return Status();
}

}  // namespace

Json ExpectedCell::ToJson() const {
  Json json{{"cell", cell},
            {"metric", metric},
            {"context_length", context_length},
            {"variant", variant.empty() ? Json() : Json(variant)}};
  if (depth) json["depth"] = *depth;
  return json;
}

Json ExpectedCell::ToStoredJson() const {
  Json json = ToJson();
  if (prompt_tokens > 0) json["prompt_tokens"] = prompt_tokens;
  return json;
}

Result<ExpectedCell> ExpectedCell::FromJson(const Json& json) {
  ExpectedCell cell;
  Json variant;
  JsonFields fields(json, "cell");
  fields.String("cell", cell.cell).String("metric", cell.metric);
  fields.Int("context_length", cell.context_length).Member("variant", variant);
  if (!variant.is_null()) fields.String("variant", cell.variant);
  if (json.is_object() && json.contains("depth")) fields.Double("depth", cell.depth.emplace());
  if (json.is_object() && json.contains("prompt_tokens")) {
    fields.Int("prompt_tokens", cell.prompt_tokens);
  }
  RETURN_IF_ERROR(fields.Done());
  RETURN_IF_ERROR(ExpectHex("cell.cell", cell.cell));
  if (cell.depth && !(*cell.depth >= 0 && *cell.depth <= 1)) {
    return Status(Code::kInvalidArgument,
                  Str("cell.depth: expected 0 to 1, found ", Json(*cell.depth).dump()));
  }
  if (cell.context_length < 1) {
    return Status(Code::kInvalidArgument,
                  Str("cell.context_length: expected 1 or more, found ", cell.context_length));
  }
  if (cell.prompt_tokens < 0) {
    return Status(Code::kInvalidArgument,
                  Str("cell.prompt_tokens: expected 0 or more, found ", cell.prompt_tokens));
  }
  return cell;
}

std::optional<double> DepthOf(const Json& row) {
  const auto depth = row.find("depth");
  if (depth == row.end() || !depth->is_number()) return std::nullopt;
  return depth->get<double>();
}

std::string DepthText(const std::optional<double>& depth) {
  return depth ? Str(" at depth ", Json(*depth).dump()) : std::string();
}

Json CheckpointRef::ToJson() const {
  return Json{{"attempt", attempt}, {"checkpoint", checkpoint}, {"sha256", sha256}, {"step", step}};
}

Result<CheckpointRef> CheckpointRef::FromJson(const Json& json) {
  CheckpointRef ref;
  JsonFields fields(json, "checkpoint");
  fields.String("attempt", ref.attempt).String("checkpoint", ref.checkpoint);
  fields.String("sha256", ref.sha256).Int("step", ref.step);
  RETURN_IF_ERROR(fields.Done());
  if (!ref.attempt.empty()) RETURN_IF_ERROR(ExpectUlid("checkpoint.attempt", ref.attempt));
  RETURN_IF_ERROR(ExpectHex("checkpoint.sha256", ref.sha256));
  if (ref.step < 0) {
    return Status(Code::kInvalidArgument,
                  Str("checkpoint.step: expected 0 or more, found ", ref.step));
  }
  return ref;
}

Json TaskFile::ToJson() const {
  Json cells = Json::array();
  for (const ExpectedCell& cell : expected_cells) cells.push_back(cell.ToJson());
  Json json = execution.ToJson();  // device, micro_batch, paths, threads: at the top level
  json.update(Json{
      {"format", kTaskFormat},
      {"attempt", attempt},
      {"task", task},
      {"run_key", run_key},
      {"epoch", Str(epoch)},
      {"kind", EnumName(kind)},
      {"run", run.ToJson()},
      {"evaluation", WithoutEvaluatedDataset(WithoutExtension(evaluation))},
      {"extension", ExtensionOf(evaluation)},
      {"init", ToJsonOrNull(init)},
      {"resume", ToJsonOrNull(resume)},
      {"dataset", {{"name", dataset_name}, {"digest", run.dataset_digest}, {"path", dataset_path}}},
      {"devices", devices},
      {"rank", 0},
      {"world", 1},
      {"rendezvous", nullptr},
      {"attempt_dir", attempt_dir},
      {"cache_dir", cache_dir},
      {"checkpoint_every_ms", checkpoint_every_ms},
      {"checkpoint_keep", checkpoint_keep},
      {"grace_ms", grace_ms},
      {"expected_cells", std::move(cells)}});
  if (activation_checkpointing) json["activation_checkpointing"] = true;
  for (const EarlierResults& results : earlier) json["earlier"].push_back(results.ToJson());
  if (const std::optional<EvaluatedDataset> read = EvaluatedDatasetOf(evaluation)) {
    json["evaluated_dataset"] = {
        {"name", read->name}, {"digest", read->digest}, {"path", read->path}};
  }
  return json;
}

Result<TaskFile> TaskFile::FromJson(const Json& json) {
  TaskFile task;
  std::int64_t format = 0, rank = 0, world = 0;
  std::string epoch, kind, digest;
  Json extension, rendezvous, dataset, devices, cells, device, micro_batch, paths, threads;
  Json earlier = Json::array();
  JsonFields fields(json, "task");
  fields.Int("format", format);
  RETURN_IF_ERROR(fields.status());
  // Checked first, since another format may write the rest differently.
  if (format != kTaskFormat) {
    return Status(Code::kInvalidArgument,
                  Str("task.format: this trainer reads format ", kTaskFormat, ", found ", format));
  }
  fields.String("attempt", task.attempt).String("task", task.task).String("run_key", task.run_key);
  fields.String("epoch", epoch).String("kind", kind).Object("run", task.run);
  fields.Member("evaluation", task.evaluation).Member("extension", extension);
  fields.Optional("init", task.init).Optional("resume", task.resume).Member("dataset", dataset);
  fields.Member("devices", devices).Int("rank", rank).Int("world", world);
  fields.Member("rendezvous", rendezvous).Member("device", device);
  fields.Member("micro_batch", micro_batch).Member("paths", paths).Member("threads", threads);
  fields.String("attempt_dir", task.attempt_dir).String("cache_dir", task.cache_dir);
  fields.Int("checkpoint_every_ms", task.checkpoint_every_ms);
  fields.Int("checkpoint_keep", task.checkpoint_keep).Int("grace_ms", task.grace_ms);
  fields.Member("expected_cells", cells);
  if (json.contains("activation_checkpointing")) {
    fields.Bool("activation_checkpointing", task.activation_checkpointing);
  }
  if (json.contains("earlier")) fields.Member("earlier", earlier);
  Json evaluated_dataset;
  if (json.contains("evaluated_dataset")) fields.Member("evaluated_dataset", evaluated_dataset);
  RETURN_IF_ERROR(fields.Done());

  if (rank != 0 || world != 1 || !rendezvous.is_null()) {
    return Status(Code::kUnimplemented,
                  "task: more than one device a task is not built yet in this release (expected "
                  "rank 0, world 1, rendezvous null)");
  }
  if (!extension.is_null()) {
    if (!task.evaluation.is_object() || task.evaluation.size() != 1) {
      return Status(Code::kInvalidArgument, "task.extension: belongs to an evaluation");
    }
    ASSIGN_OR_RETURN(const Json resolved, ResolveExtension(extension));
    task.evaluation = WithExtension(std::move(task.evaluation), resolved);
  }
  if (!evaluated_dataset.is_null()) RETURN_IF_ERROR(ReadEvaluatedDataset(evaluated_dataset, task));
  ASSIGN_OR_RETURN(task.epoch, ParseEpoch(epoch));
  ASSIGN_OR_RETURN(task.kind, ParseTaskKind(kind));
  ASSIGN_OR_RETURN(task.execution, Execution::FromJson(Json{{"device", device},
                                                            {"micro_batch", micro_batch},
                                                            {"paths", paths},
                                                            {"threads", threads}}));
  JsonFields dataset_fields(dataset, "task.dataset");
  dataset_fields.String("name", task.dataset_name).String("digest", digest);
  dataset_fields.String("path", task.dataset_path);
  RETURN_IF_ERROR(dataset_fields.Done());
  if (digest != task.run.dataset_digest) {
    return Status(Code::kInvalidArgument, Str("task.dataset.digest is ", digest,
                                              ", but the run was "
                                              "resolved with ",
                                              task.run.dataset_digest));
  }
  if (!devices.is_array() || !cells.is_array() || !earlier.is_array()) {
    return Status(Code::kInvalidArgument,
                  "task.devices, task.expected_cells and task.earlier: expected lists");
  }
  for (const Json& ordinal : devices) {
    if (!ordinal.is_number_integer() || ordinal < 0 || ordinal > 1023) {
      return Status(
          Code::kInvalidArgument,
          Str("task.devices: expected ordinals of 0 to 1023, found ", CanonicalJson(ordinal)));
    }
    task.devices.push_back(ordinal.get<int>());
  }
  for (const Json& cell : cells) {
    ASSIGN_OR_RETURN(task.expected_cells.emplace_back(), ExpectedCell::FromJson(cell));
  }
  for (const Json& results : earlier) {
    ASSIGN_OR_RETURN(task.earlier.emplace_back(), EarlierResults::FromJson(results));
  }
  RETURN_IF_ERROR(CheckTask(task));
  return task;
}

}  // namespace longrun
