// The canonical run.
#include "sweeps/run.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/check.h"
#include "base/hash.h"
#include "base/str.h"
#include "base/subnormals.h"
#include "model/config_errors.h"
#include "model/position/method.h"
#include "model/train_config_errors.h"
#include "sweeps/fields.h"
#include "sweeps/run_errors.h"

namespace longrun {
namespace {

constexpr std::string_view kMembers[] = {"dataset",  "init", "model",     "numerics", "parent",
                                         "position", "seed", "tokenizer", "train"};

// Reads {"digest": "64 hex digits"}.
Result<std::string> ParseDigest(const Json& json, std::string_view member, std::string_view path) {
  std::string digest;
  JsonFields fields(json, path);
  fields.String(member, digest);
  RETURN_IF_ERROR(fields.Done());
  if (!IsSha256Hex(digest)) {
    return Status(Code::kInvalidArgument, Str(path, ".", member, ": expected 64 digits of 0-9a-f, ",
                                              "found \"", digest, "\""));
  }
  return digest;
}

Result<RunInit> ParseInit(const Json& json) {
  RunInit init;
  JsonFields fields(json, "run.init");
  if (json.is_object() && json.contains("run")) {
    fields.String("run", init.run);
    const bool has_table = json.contains("n_positions");
    if (has_table) fields.Int("n_positions", init.n_positions);
    RETURN_IF_ERROR(fields.Done());
    if (IsSha256Hex(init.run) && (!has_table || init.n_positions > 0)) return init;
    return Status(Code::kInvalidArgument,
                  Str("run.init: expected a run of 64 digits of 0-9a-f, and n_positions only if it "
                      "is 1 or more, found ",
                      CanonicalJson(json)));
  }
  fields.Int("n_positions", init.n_positions).String("sha256", init.sha256);
  RETURN_IF_ERROR(fields.Done());
  if (IsSha256Hex(init.sha256) && init.n_positions >= 0) return init;
  return Status(Code::kInvalidArgument,
                Str("run.init: expected a sha256 of 64 digits of 0-9a-f and n_positions of 0 or "
                    "more, found ",
                    CanonicalJson(json)));
}

bool IsOrIsBelow(std::string_view path, std::string_view other) {
  return path == other ||
         (path.size() > other.size() && path.starts_with(other) && path[other.size()] == '.');
}

// Adds only new errors: a key that could not be read was checked with its default,
// and has its error. Unknown words were reported again.
void AddNew(const KeyErrors& checked, KeyErrors& found) {
  KeyErrors read;
  for (const KeyError& error : found.all()) {
    const bool is_again = error.is_word && std::ranges::any_of(checked.all(), [&](const auto& one) {
                            return one.key == error.key;
                          });
    if (!is_again) read.Add(error.key, error.status, error.others);
  }
  found = read;
  for (const KeyError& error : checked.all()) {
    const bool is_known = std::ranges::any_of(read.all(), [&](const KeyError& other) {
      return IsOrIsBelow(error.key, other.key) || IsOrIsBelow(other.key, error.key);
    });
    if (!is_known) found.Add(error.key, error.status, error.others);
  }
}

// Reads a training recipe, or just a train_length. Returns false if there were errors.
bool ReadTrainOf(const Json& json, bool starts_from, Run& run, KeyErrors& errors) {
  KeyErrors own;
  if (json.is_object() && json.size() == 1 && json.contains("train_length")) {
    own.Take("run.train.train_length", GetInt(json, "train_length", "run.train"),
             run.train.train_length);
  } else {
    run.train = ReadTrain(json, own);
    KeyErrors checked;
    CheckTrain(run.train, checked, own);
    AddNew(checked, own);
  }
  if (own.empty() && !run.trains() && (!starts_from || run.train.train_length < 1)) {
    own.Add("run.train", Status(Code::kInvalidArgument,
                                "run.train: without training, a run needs a run.init to measure, "
                                "and a train_length of 1 or more"));
  }
  return errors.AddAll(own);
}

// Expects run.init, and what could be read of run.train. Returns false if there were errors.
bool ReadModelOf(const Json& model, const Json& position, Run& run, KeyErrors& errors) {
  KeyErrors own, checked;
  run.model = ReadModel(model, position, own);
  const Result<const PositionMethod*> method = FindPositionMethod(run.model.position.method);
  if (method.ok() && (*method)->has_position_table) {
    // A learned table has exactly one row per position of a training sequence; an imported one
    // keeps its own length. If the train_length is invalid,
    // 1 avoids a second error about the table.
    run.model.n_positions =
        run.init ? run.init->n_positions : std::max<std::int64_t>(run.train.train_length, 1);
  }
  CheckModel(run.model, checked, own);
  AddNew(checked, own);
  return errors.AddAll(own);
}

}  // namespace

Json RunInit::ToJson() const {
  if (is_imported()) return {{"n_positions", n_positions}, {"sha256", sha256}};
  Json json = {{"run", run}};
  if (n_positions > 0) json["n_positions"] = n_positions;
  return json;
}

Json Run::ToJson() const {
  Json json = {{"dataset", {{"digest", dataset_digest}}},
               {"model", model.ToJson()},
               {"numerics", numerics},
               {"position", model.position.ToJson()},
               {"seed", seed},
               {"tokenizer", {{"fingerprint", tokenizer_fingerprint}}},
               {"train", trains() ? train.ToJson() : Json{{"train_length", train.train_length}}}};
  if (!parent.empty()) json["parent"] = parent;
  if (init) json["init"] = init->ToJson();
  return json;
}

Run ReadRun(const Json& json, KeyErrors& errors) {
  constexpr std::string_view kPath = "run";
  Run run;
  if (!errors.Add(kPath, JsonFields(json, kPath).status())) return run;
  Json dataset, model, position, tokenizer, train;
  std::int64_t numerics = 0;
  const bool has_dataset = errors.Take("run.dataset", GetMember(json, "dataset", kPath), dataset);
  const bool has_model = errors.Take("run.model", GetMember(json, "model", kPath), model);
  const bool has_numerics = errors.Take("run.numerics", GetInt(json, "numerics", kPath), numerics);
  const bool has_position =
      errors.Take("run.position", GetMember(json, "position", kPath), position);
  errors.Take("run.seed", GetInt(json, "seed", kPath), run.seed);
  const bool has_tokenizer =
      errors.Take("run.tokenizer", GetMember(json, "tokenizer", kPath), tokenizer);
  const bool has_train = errors.Take("run.train", GetMember(json, "train", kPath), train);
  const bool continues = json.contains("parent") &&
                         errors.Take("run.parent", GetString(json, "parent", kPath), run.parent);
  const bool starts_from = json.contains("init");
  for (const auto& [key, value] : json.items()) {
    if (std::ranges::find(kMembers, key) != std::end(kMembers)) continue;
    const std::string unknown = Str(kPath, ".", key);
    errors.Add(unknown, Status(Code::kInvalidArgument, Str(unknown, ": unknown member")));
  }
  if (has_numerics && (numerics < 1 || numerics > std::numeric_limits<int>::max())) {
    errors.Add("run.numerics", Status(Code::kInvalidArgument,
                                      Str("run.numerics: expected 1 or more, found ", numerics)));
  }
  run.numerics = static_cast<int>(numerics);
  if (continues && !IsSha256Hex(run.parent)) {
    errors.Add("run.parent",
               Status(Code::kInvalidArgument,
                      Str("run.parent: expected 64 digits of 0-9a-f, found \"", run.parent, "\"")));
  }
  if (starts_from) {
    if (RunInit init; errors.Take("run.init", ParseInit(json["init"]), init))
      run.init = std::move(init);
  }
  if (has_dataset)
    errors.Take("run.dataset.digest", ParseDigest(dataset, "digest", "run.dataset"),
                run.dataset_digest);
  if (has_tokenizer) {
    errors.Take("run.tokenizer.fingerprint", ParseDigest(tokenizer, "fingerprint", "run.tokenizer"),
                run.tokenizer_fingerprint);
  }
  const bool is_train = has_train && ReadTrainOf(train, starts_from, run, errors);
  // Without a position, the model is checked with "none", which goes with everything.
  if (!has_position) position = "none";
  const bool is_model = has_model ? ReadModelOf(model, position, run, errors)
                                  : CheckGivenPosition(position, errors) && false;
  if (is_train && is_model && run.trains()) CheckModelAndTrain(run.model, run.train, errors);
  if (is_train && !run.trains() && run.init && !run.init->is_imported()) {
    errors.Add("run.train",
               Status(Code::kInvalidArgument,
                      "run.train: a run that starts from the weights of another run must train"));
  }
  return run;
}

Result<Run> Run::FromJson(const Json& json) {
  KeyErrors errors;
  Run run = ReadRun(json, errors);
  RETURN_IF_ERROR(errors.First());
  return run;
}

std::string Run::Key() const { return Sha256Hex(CanonicalJson(ToJson())); }

Json Execution::ToJson() const {
  Json paths{{"attention", attention},
             {"linear", linear},
             {"operators", operators ? EnumName(*operators) : ""},
             {"simd", simd},
             {"subnormals", subnormals ? SubnormalsName(*subnormals) : ""}};
  if (!bf16.empty()) paths["bf16"] = bf16;
  if (head != HeadChunks::kByLogits) paths["head"] = head;
  return Json{{"device", {{"kind", device_kind}, {"name", device_name}}},
              {"micro_batch", micro_batch},
              {"paths", std::move(paths)},
              {"threads", threads}};
}

Result<Execution> Execution::FromJson(const Json& json) {
  Execution execution;
  Json device, paths;
  JsonFields fields(json, "execution");
  fields.Member("device", device).Int("micro_batch", execution.micro_batch);
  fields.Member("paths", paths).Int("threads", execution.threads);
  RETURN_IF_ERROR(fields.Done());
  JsonFields device_fields(device, "execution.device");
  std::string device_kind;
  device_fields.String("kind", device_kind).String("name", execution.device_name);
  RETURN_IF_ERROR(device_fields.Done());
  JsonFields path_fields(paths, "execution.paths");
  std::string attention, operators(EnumName(OperatorSet::kAten)),
      subnormals(SubnormalsName(Subnormals::kKept)), head(EnumName(HeadChunks::kByLogits));
  path_fields.String("attention", attention).String("linear", execution.linear);
  if (paths.contains("operators")) path_fields.String("operators", operators);
  path_fields.String("simd", execution.simd);
  if (paths.contains("subnormals")) path_fields.String("subnormals", subnormals);
  if (paths.contains("bf16")) path_fields.String("bf16", execution.bf16);
  if (paths.contains("head")) path_fields.String("head", head);
  RETURN_IF_ERROR(path_fields.Done());
  const auto known_kind = FindEnum<DeviceKind>(device_kind);
  if (!known_kind) {
    return Status(Code::kInvalidArgument,
                  Str("execution.device.kind: expected cpu or gpu, found \"", device_kind, "\""));
  }
  execution.device_kind = *known_kind;
  const auto known_attention = FindEnum<AttentionBackend>(attention);
  if (!known_attention) {
    return Status(Code::kInvalidArgument,
                  Str("execution.paths.attention: expected reference, torch or fused, found \"",
                      attention, "\""));
  }
  execution.attention = *known_attention;
  execution.operators = FindEnum<OperatorSet>(operators);
  if (!execution.operators && !operators.empty()) {
    return Status(
        Code::kInvalidArgument,
        Str("execution.paths.operators: expected longrun or aten, found \"", operators, "\""));
  }
  execution.subnormals = FindSubnormals(subnormals);
  if (!execution.subnormals && !subnormals.empty()) {
    return Status(
        Code::kInvalidArgument,
        Str("execution.paths.subnormals: expected kept or flushed, found \"", subnormals, "\""));
  }
  const auto known_head = FindEnum<HeadChunks>(head);
  if (!known_head) {
    return Status(Code::kInvalidArgument,
                  Str("execution.paths.head: expected logits or width, found \"", head, "\""));
  }
  execution.head = *known_head;
  if (execution.threads < 1 || execution.micro_batch < 1) {
    return Status(
        Code::kInvalidArgument,
        Str("execution: expected at least 1 thread and a micro_batch of at least 1, found ",
            execution.threads, " and ", execution.micro_batch));
  }
  return execution;
}

void ClearTraining(Execution& execution) {
  execution.bf16.clear();
  execution.head = HeadChunks::kByLogits;
}

void CheckValidation(const TrainConfig& train, KeyErrors& errors) {
  const ValidateConfig& validate = train.validate;
  // If only one of the two is set, that is reported elsewhere.
  const bool validates = validate.every > 0 && validate.tokens > 0;
  const std::int64_t length = train.validation_length();
  if (!validates || validate.tokens >= length) return;
  errors.Add("train.validate.tokens",
             Status(Code::kInvalidArgument,
                    Str("train.validate.tokens: ", validate.tokens, " is less than one window of ",
                        validate.length > 0 ? "length " : "train_length ", length,
                        "; give at least ", length)),
             {"train.validate.length", "train.train_length"});
}

bool KeepsImportedExtension(const Run& run) {
  return run.train.extension.is_null() && run.model.position.method == "rope";
}

OperatorSet OperatorsFor(DeviceKind device_kind, bool gpu_has_kernels) {
  switch (device_kind) {
    case DeviceKind::kCpu:
      return OperatorSet::kLongrun;
    case DeviceKind::kGpu:
      return gpu_has_kernels ? OperatorSet::kLongrun : OperatorSet::kAten;
  }
  LR_CHECK(false);
}

// Subnormals cost nothing on a GPU, and LibTorch's kernels there keep them.
Subnormals SubnormalsFor(DeviceKind device_kind) {
  return device_kind == DeviceKind::kCpu ? DefaultSubnormals() : Subnormals::kKept;
}

}  // namespace longrun
