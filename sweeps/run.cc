// The canonical run, and the formulas of its cost.
//
// Memory of one training step (TrainMemoryBytes), with the plain attention that keeps its
// probabilities; B = micro_batch sequences, T = train_length, C = d_model, H heads, P parameters,
// w = 2, or 3 for a gated MLP:
//
//   16 P                                     fp32 weights, gradients, two moments of AdamW
//   + B T (n_layer + 1) (e (10 C + w d_ff)   what a block keeps for its backward pass; e bytes an
//                        + 4 * 3 H T)        element: 4, or 2 in bf16; logits, bias, probabilities
//   + B T 4 * 3 vocab_size                   logits, log-softmax and their gradient
//
// The one layer more stands for the temporaries of the backward pass. With activation checkpointing the
// inputs of the blocks are kept and two layers of the above are alive, the one that is computed again and
// the temporaries:
//
//   + B T (n_layer 4 C + 2 (e (10 C + w d_ff) + 4 * 3 H T))
//
// FLOPs (TrainFlops): 6 P a token for the matrix products, 12 n_layer C T for the two products of
// attention (forward 4 C T a layer and token, backward twice that). Evaluation (EvaluateFlops) has the
// forward pass only: 2 P + 4 n_layer C L a token.
//
// Memory of one window of evaluation (EvaluateMemoryBytes), L = context_length: 4 P of weights, one
// block's activations 4 L (10 C + w d_ff), three copies of a block of attention's rows (128 queries,
// fewer where H L 128 scores are more than 2^25, never fewer than 16), logits and log-softmax, 8 bytes
// each, of a chunk of rows: 2^23 logits, or a row of more, or all L vocab of fewer (model/net/head.cc).
#include "sweeps/run.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "base/hash.h"
#include "base/str.h"
#include "base/subnormals.h"
#include "model/config_errors.h"
#include "model/position/method.h"
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
  fields.Int("n_positions", init.n_positions).String("sha256", init.sha256);
  RETURN_IF_ERROR(fields.Done());
  if (IsSha256Hex(init.sha256) && init.n_positions >= 0) return init;
  return Status(Code::kInvalidArgument,
                Str("run.init: expected a sha256 of 64 digits of 0-9a-f and n_positions of 0 or "
                    "more, found ",
                    CanonicalJson(json)));
}

std::string_view PathOf(const Status& error) {
  const std::string_view message = error.message();
  return message.substr(0, message.find(':'));
}

bool IsOrIsBelow(std::string_view path, std::string_view other) {
  return path == other ||
         (path.size() > other.size() && path.starts_with(other) && path[other.size()] == '.');
}

// What was checked is what could be read, and a default where it could not: of that, and of what rests
// on it, the error is there already.
void AddUntold(const ErrorList& checked, ErrorList& told) {
  const ErrorList read = told;
  for (const Status& error : checked.all()) {
    const bool is_told = std::ranges::any_of(read.all(), [&](const Status& other) {
      return IsOrIsBelow(PathOf(error), PathOf(other)) || IsOrIsBelow(PathOf(other), PathOf(error));
    });
    if (!is_told) told.Add(error);
  }
}

// A recipe, or the length alone. False: there were errors.
bool ReadTrainOf(const Json& json, bool starts_from, Run& run, ErrorList& errors) {
  ErrorList own;
  if (json.is_object() && json.size() == 1 && json.contains("train_length")) {
    own.Take(GetInt(json, "train_length", "run.train"), run.train.train_length);
  } else {
    run.train = ReadTrain(json, own);
    ErrorList checked;
    CheckTrain(run.train, checked);
    AddUntold(checked, own);
  }
  if (own.empty() && !run.trains() && (!starts_from || run.train.train_length < 1)) {
    own.Add(Status(Code::kInvalidArgument,
                   "run.train: nothing is trained: expected a run.init to measure, and a "
                   "train_length of 1 or more"));
  }
  return errors.AddAll(own);
}

// `run` has its init, and of its train what could be read. False: there were errors.
bool ReadModelOf(const Json& model, const Json& position, Run& run, ErrorList& errors) {
  ErrorList own, checked;
  run.model = ReadModel(model, position, own);
  const Result<const PositionMethod*> method = FindPositionMethod(run.model.position.method);
  if (method.ok() && (*method)->has_position_table) {
    // A learned table has a row for each position of a training sequence, and no more; one that was
    // imported keeps its own. Of a table whose length is wrong nothing more is said.
    run.model.n_positions =
        run.init ? run.init->n_positions : std::max<std::int64_t>(run.train.train_length, 1);
  }
  CheckModel(run.model, checked);
  AddUntold(checked, own);
  return errors.AddAll(own);
}

// Capped at what fits into an int64: nothing of that size fits a machine.
std::int64_t Bytes(double bytes) {
  constexpr double kLimit = 9.2e18;
  return bytes < kLimit ? static_cast<std::int64_t>(bytes)
                        : std::numeric_limits<std::int64_t>::max();
}

// Tensors of width d_ff that a block has alive.
double MlpWidths(const ModelConfig& model) { return model.body.mlp == "gated" ? 3.0 : 2.0; }

}  // namespace

Json Run::ToJson() const {
  Json json = {{"dataset", {{"digest", dataset_digest}}},
               {"model", model.ToJson()},
               {"numerics", numerics},
               {"position", model.position.ToJson()},
               {"seed", seed},
               {"tokenizer", {{"fingerprint", tokenizer_fingerprint}}},
               {"train", trains() ? train.ToJson() : Json{{"train_length", train.train_length}}}};
  if (!parent.empty()) json["parent"] = parent;
  if (init) json["init"] = {{"n_positions", init->n_positions}, {"sha256", init->sha256}};
  return json;
}

Run ReadRun(const Json& json, ErrorList& errors) {
  constexpr std::string_view kPath = "run";
  Run run;
  if (!errors.Add(JsonFields(json, kPath).status())) return run;
  Json dataset, model, position, tokenizer, train;
  std::int64_t numerics = 0;
  const bool has_dataset = errors.Take(GetMember(json, "dataset", kPath), dataset);
  const bool has_model = errors.Take(GetMember(json, "model", kPath), model);
  const bool has_numerics = errors.Take(GetInt(json, "numerics", kPath), numerics);
  const bool has_position = errors.Take(GetMember(json, "position", kPath), position);
  errors.Take(GetInt(json, "seed", kPath), run.seed);
  const bool has_tokenizer = errors.Take(GetMember(json, "tokenizer", kPath), tokenizer);
  const bool has_train = errors.Take(GetMember(json, "train", kPath), train);
  const bool continues =
      json.contains("parent") && errors.Take(GetString(json, "parent", kPath), run.parent);
  const bool starts_from = json.contains("init");
  for (const auto& [key, value] : json.items()) {
    if (std::ranges::find(kMembers, key) != std::end(kMembers)) continue;
    errors.Add(Status(Code::kInvalidArgument, Str(kPath, ".", key, ": unknown member")));
  }
  if (has_numerics && (numerics < 1 || numerics > std::numeric_limits<int>::max())) {
    errors.Add(
        Status(Code::kInvalidArgument, Str("run.numerics: expected 1 or more, found ", numerics)));
  }
  run.numerics = static_cast<int>(numerics);
  if (continues && !IsSha256Hex(run.parent)) {
    errors.Add(Status(Code::kInvalidArgument,
                      Str("run.parent: expected 64 digits of 0-9a-f, found \"", run.parent, "\"")));
  }
  if (starts_from) {
    if (RunInit init; errors.Take(ParseInit(json["init"]), init)) run.init = std::move(init);
  }
  if (has_dataset) errors.Take(ParseDigest(dataset, "digest", "run.dataset"), run.dataset_digest);
  if (has_tokenizer) {
    errors.Take(ParseDigest(tokenizer, "fingerprint", "run.tokenizer"), run.tokenizer_fingerprint);
  }
  const bool is_train = has_train && ReadTrainOf(train, starts_from, run, errors);
  // Without the one, the other is looked at beside what goes with everything.
  if (!has_position) position = "none";
  const bool is_model = has_model ? ReadModelOf(model, position, run, errors)
                                  : errors.Add(ResolvePosition(position).status()) && false;
  if (is_train && is_model && run.trains()) errors.Add(CheckObjective(run.model, run.train));
  return run;
}

Result<Run> Run::FromJson(const Json& json) {
  ErrorList errors;
  Run run = ReadRun(json, errors);
  RETURN_IF_ERROR(errors.First());
  return run;
}

std::string Run::Key() const { return Sha256Hex(CanonicalJson(ToJson())); }

Json Execution::ToJson() const {
  return Json{{"device", {{"kind", device_kind}, {"name", device_name}}},
              {"micro_batch", micro_batch},
              {"paths",
               {{"attention", attention},
                {"linear", linear},
                {"operators", operators},
                {"simd", simd},
                {"subnormals", subnormals}}},
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
  device_fields.String("kind", execution.device_kind).String("name", execution.device_name);
  RETURN_IF_ERROR(device_fields.Done());
  JsonFields path_fields(paths, "execution.paths");
  path_fields.String("attention", execution.attention).String("linear", execution.linear);
  if (paths.contains("operators")) path_fields.String("operators", execution.operators);
  path_fields.String("simd", execution.simd);
  if (paths.contains("subnormals")) path_fields.String("subnormals", execution.subnormals);
  RETURN_IF_ERROR(path_fields.Done());
  if (execution.device_kind != "cpu" && execution.device_kind != "gpu") {
    return Status(
        Code::kInvalidArgument,
        Str("execution.device.kind: expected cpu or gpu, found \"", execution.device_kind, "\""));
  }
  constexpr std::string_view kAttentions[] = {"reference", "torch", "fused"};
  if (std::ranges::find(kAttentions, execution.attention) == std::end(kAttentions)) {
    return Status(Code::kInvalidArgument,
                  Str("execution.paths.attention: expected reference, torch or fused, found \"",
                      execution.attention, "\""));
  }
  constexpr std::string_view kOperators[] = {"", "aten", "longrun"};
  if (std::ranges::find(kOperators, execution.operators) == std::end(kOperators)) {
    return Status(Code::kInvalidArgument,
                  Str("execution.paths.operators: expected longrun or aten, found \"",
                      execution.operators, "\""));
  }
  if (!execution.subnormals.empty() && !FindSubnormals(execution.subnormals)) {
    return Status(Code::kInvalidArgument,
                  Str("execution.paths.subnormals: expected kept or flushed, found \"",
                      execution.subnormals, "\""));
  }
  if (execution.threads < 1 || execution.micro_batch < 1) {
    return Status(
        Code::kInvalidArgument,
        Str("execution: expected at least 1 thread and a micro_batch of at least 1, found ",
            execution.threads, " and ", execution.micro_batch));
  }
  return execution;
}

std::string OperatorsFor(std::string_view device_kind) {
  return device_kind == "cpu" ? "longrun" : "aten";
}

// A GPU pays nothing for them, and LibTorch's kernels there keep them.
std::string SubnormalsFor(std::string_view device_kind) {
  return std::string(
      SubnormalsName(device_kind == "cpu" ? DefaultSubnormals() : Subnormals::kKept));
}

std::int64_t TrainMemoryBytes(const ModelConfig& model, const TrainConfig& train,
                              std::int64_t micro_batch, bool activation_checkpointing) {
  // In double: exact below 2^53 bytes, and beyond that nothing fits anyway.
  const double element_bytes = train.precision == "bf16" ? 2.0 : 4.0;
  const auto n_layer = static_cast<double>(model.n_layer);
  const auto train_length = static_cast<double>(train.train_length);
  const auto d_model = static_cast<double>(model.d_model);
  const double block_bytes =
      element_bytes * (10.0 * d_model + MlpWidths(model) * static_cast<double>(model.d_ff)) +
      4.0 * 3.0 * static_cast<double>(model.n_head) * train_length;
  const double blocks_bytes = activation_checkpointing ? 4.0 * n_layer * d_model + 2.0 * block_bytes
                                                       : (n_layer + 1.0) * block_bytes;
  const double token_bytes = blocks_bytes + 4.0 * 3.0 * static_cast<double>(model.vocab_size);
  return Bytes(16.0 * static_cast<double>(model.ParameterCount()) +
               static_cast<double>(micro_batch) * train_length * token_bytes);
}

std::int64_t AutoMicroBatch(const ModelConfig& model, const TrainConfig& train,
                            std::int64_t memory_bytes, bool activation_checkpointing) {
  std::int64_t micro_batch = 1;
  if (train.tokens == 0) return micro_batch;
  while (train.batch_sequences() % (2 * micro_batch) == 0 &&
         TrainMemoryBytes(model, train, 2 * micro_batch, activation_checkpointing) <=
             memory_bytes) {
    micro_batch *= 2;
  }
  return micro_batch;
}

double EvaluateFlops(const ModelConfig& model, double n_tokens, std::int64_t context_length) {
  const double matrices = 2.0 * static_cast<double>(model.ParameterCount());
  const double attention = 4.0 * static_cast<double>(model.n_layer) *
                           static_cast<double>(model.d_model) * static_cast<double>(context_length);
  return (matrices + attention) * n_tokens;
}

std::int64_t EvaluateMemoryBytes(const ModelConfig& model, std::int64_t context_length) {
  constexpr double kScoresMax = 1 << 25, kChunkLogitsMax = 1 << 23;
  const auto length = static_cast<double>(context_length);
  const double row_scores = static_cast<double>(model.n_head) * length;
  const double scores = std::clamp(kScoresMax, 16.0 * row_scores, 128.0 * row_scores);
  const auto vocab = static_cast<double>(model.vocab_size);
  const double logits = std::min(length * vocab, std::max(kChunkLogitsMax, vocab));
  return Bytes(4.0 * static_cast<double>(model.ParameterCount()) +
               4.0 * length *
                   (10.0 * static_cast<double>(model.d_model) +
                    MlpWidths(model) * static_cast<double>(model.d_ff)) +
               4.0 * 3.0 * scores + 8.0 * logits);
}

std::int64_t CheckpointBytes(const ModelConfig& model) {
  return Bytes(12.0 * static_cast<double>(model.ParameterCount()));
}

double TrainFlops(const ModelConfig& model, const TrainConfig& train) {
  if (train.tokens == 0) return 0.0;
  const double tokens =
      static_cast<double>(train.steps()) * static_cast<double>(train.batch_tokens);
  const double matrices = 6.0 * static_cast<double>(model.ParameterCount());
  const double attention = 12.0 * static_cast<double>(model.n_layer) *
                           static_cast<double>(model.d_model) *
                           static_cast<double>(train.train_length);
  return (matrices + attention) * tokens;
}

}  // namespace longrun
