// The table of keys. Defaults of the recipe are those of model/config.h.
#include "sweeps/schema.h"

#include <algorithm>
#include <array>

#include "base/str.h"
#include "model/architecture/architecture.h"
#include "model/config.h"
#include "model/evaluation/evaluation.h"
#include "sweeps/sweep.h"

namespace longrun {
namespace {

using Type = ParamSpec::Type;
using Kind = KeyRow::Kind;

constexpr double kTokensMax = 1e15;
constexpr double kLengthMax = 1 << 26;

std::vector<KeyRow> MakeKeys() {
  const ModelConfig model;
  const TrainConfig train;
  const Sweep sweep;
  const bool on_axis = true;
  return {
      {.path = "apiVersion",
       .spec = {.type = Type::kChoice,
                .choices = {"longrun/v1"},
                .meaning = "version of this language"},
       .required = true},
      {.path = "kind",
       .spec = {.type = Type::kChoice, .choices = {"Sweep"}, .meaning = "what the file is"},
       .required = true},
      {.path = "metadata",
       .kind = Kind::kMap,
       .spec = {.meaning = "for people: no part of a run's identity"},
       .required = true},
      {.path = "metadata.name",
       .spec = {.type = Type::kName, .meaning = "name of the sweep"},
       .required = true},
      {.path = "metadata.labels",
       .kind = Kind::kLabels,
       .spec = {.meaning = "text to find the sweep by"}},
      {.path = "metadata.export",
       .spec = {.type = Type::kChoice,
                .default_value = sweep.export_to,
                .choices = {"none", std::string(kExportPrometheus)},
                .meaning = "prometheus: /metrics shows the sweep's perplexities"}},
      {.path = "spec", .kind = Kind::kMap, .spec = {.meaning = "what is run"}, .required = true},

      {.path = "spec.model",
       .kind = Kind::kMap,
       .spec =
           {.meaning =
                "the model: a size, and what differs from it (with the axis model.init_from may "
                "be left out)"},
       .required = true},
      {.path = "spec.model.architecture",
       .spec = {.type = Type::kChoice,
                .default_value = model.architecture,
                .choices = ArchitectureNames(),
                .meaning = "body of the decoder: norm, MLP, biases, tied head; names and layout of "
                           "its weights"},
       .axis = on_axis},
      {.path = "spec.model.size",
       .spec = {.type = Type::kChoice,
                .choices = ModelConfig::PresetNames(),
                .meaning =
                    "preset of n_layer, n_head and d_model; without it all three must be given"},
       .axis = on_axis},
      {.path = "spec.model.n_layer",
       .spec =
           {.type = Type::kInt, .min = 1, .max = 1000, .meaning = "blocks (default: of the size)"},
       .axis = on_axis},
      {.path = "spec.model.n_head",
       .spec = {.type = Type::kInt,
                .min = 1,
                .max = 1024,
                .meaning = "attention heads (default: of the size)"},
       .axis = on_axis},
      {.path = "spec.model.d_model",
       .spec = {.type = Type::kCount,
                .min = 1,
                .max = 1 << 17,
                .meaning = "width (default: of the size)"},
       .axis = on_axis},
      {.path = "spec.model.d_ff",
       .spec = {.type = Type::kCount,
                .min = 1,
                .max = 1 << 19,
                .meaning = "width of the MLP (default: 4 d_model; of Llama's body 8/3 d_model, "
                           "rounded up to a "
                           "multiple of 256)"},
       .axis = on_axis},
      {.path = "spec.model.n_kv_head",
       .spec = {.type = Type::kInt,
                .min = 1,
                .max = 1024,
                .meaning = "heads of keys and values, a divisor of n_head (default: n_head)"},
       .axis = on_axis},
      {.path = "spec.model.head_dim",
       .spec = {.type = Type::kInt,
                .min = 1,
                .max = 1 << 17,
                .meaning = "width of a head (default: d_model / n_head)"},
       .axis = on_axis},
      {.path = "spec.model.block",
       .spec = {.type = Type::kChoice,
                .choices = {"sequential", "parallel", "parallel_shared_norm"},
                .meaning = "attention and MLP one after the other or side by side (default: of the "
                           "architecture)"},
       .axis = on_axis},
      {.path = "spec.model.qkv_bias",
       .spec = {.type = Type::kBool,
                .meaning =
                    "biases of queries, keys and values, and of attention's output where the "
                    "architecture has one switch (default: of the architecture)"},
       .axis = on_axis},
      {.path = "spec.model.mlp_bias",
       .spec = {.type = Type::kBool, .meaning = "biases of the MLP (default: of the architecture)"},
       .axis = on_axis},
      {.path = "spec.model.sliding_window",
       .spec =
           {.type = Type::kCount,
            .min = 0,
            .max = 1 << 26,
            .meaning =
                "a token sees so many tokens, with itself; 0: all (default: of the architecture)"},
       .axis = on_axis},
      {.path = "spec.model.vocab_size",
       .spec = {.type = Type::kCount,
                .min = 2,
                .max = 1 << 24,
                .meaning = "rows of the embedding (default: the dataset's)"},
       .axis = on_axis},
      {.path = "spec.model.activation",
       .spec = {.type = Type::kChoice,
                .choices = {"gelu_new", "gelu", "relu", "silu"},
                .meaning = "of the MLP; gelu_new is the tanh form (default: of the architecture)"},
       .axis = on_axis},
      {.path = "spec.model.layer_norm_epsilon",
       .spec = {.type = Type::kNumber,
                .min = 1e-12,
                .max = 1,
                .meaning = "added to the variance (default: of the architecture)"},
       .axis = on_axis},
      {.path = "spec.model.tie_embeddings",
       .spec = {.type = Type::kBool,
                .meaning = "one matrix for embedding and head (default: of the architecture)"},
       .axis = on_axis},
      {.path = "spec.model.causal",
       .spec =
           {.type = Type::kBool,
            .default_value = model.causal,
            .meaning =
                "a token sees no later token; false: an encoder, trained with objective masked_lm"},
       .axis = on_axis},
      {.path = "spec.model.init_std",
       .spec = {.type = Type::kNumber,
                .default_value = model.init_std,
                .min = 1e-6,
                .max = 10,
                .meaning = "standard deviation of the first weights"},
       .axis = on_axis},
      {.path = "spec.model.init_from",
       .spec =
           {.type = Type::kName,
            .meaning =
                "start from an imported model (longrun import), whose config.json gives the other "
                "keys of model: they may be left out, and must agree where they are given"},
       .axis = on_axis},

      {.path = "spec.matrix",
       .kind = Kind::kMap,
       .spec = {.meaning = "axis to list of values; the cross product, the first axis slowest"},
       .required = true},
      {.path = "spec.matrix.position",
       .kind = Kind::kPosition,
       .spec = {.meaning =
                    "position methods (with model.init_from may be left out: the model's own)"},
       .required = true,
       .axis = on_axis},
      {.path = "spec.matrix.train_length",
       .spec = {.type = Type::kCount,
                .min = 1,
                .max = kLengthMax,
                .meaning = "tokens in a training sequence (with train: none may be left out)"},
       .required = true,
       .axis = on_axis},
      {.path = "spec.matrix.dataset",
       .spec = {.type = Type::kName, .meaning = "registered datasets"},
       .required = true,
       .axis = on_axis},
      {.path = "spec.matrix.seed",
       .spec = {.type = Type::kInt,
                .default_value = 1,
                .min = 0,
                .max = 9e15,
                .meaning = "of weights and data order"},
       .axis = on_axis},
      {.path = "spec.exclude",
       .kind = Kind::kPoints,
       .spec = {.default_value = Json::array(),
                .meaning = "points left out: those that have every value given"}},
      {.path = "spec.include",
       .kind = Kind::kPoints,
       .spec = {.default_value = Json::array(),
                .meaning = "further points, each giving every axis"}},

      {.path = "spec.train",
       .kind = Kind::kMap,
       .spec = {.meaning = "the recipe; none: model.init_from is measured as it is"},
       .required = true},
      {.path = "spec.train.tokens",
       .spec = {.type = Type::kCount,
                .min = 1,
                .max = kTokensMax,
                .meaning = "tokens trained on; the last step is a whole one"},
       .required = true,
       .axis = on_axis},
      {.path = "spec.train.batch_tokens",
       .spec = {.type = Type::kCount,
                .min = 1,
                .max = kTokensMax,
                .meaning = "tokens in an optimiser step, a multiple of train_length"},
       .required = true,
       .axis = on_axis},
      {.path = "spec.train.precision",
       .spec = {.type = Type::kChoice,
                .default_value = train.precision,
                .choices = {"fp32", "bf16"},
                .meaning = "bf16: autocast, with fp32 weights"},
       .axis = on_axis},
      {.path = "spec.train.order",
       .spec = {.type = Type::kChoice,
                .default_value = train.order,
                .choices = {"random", "shuffled", "stream"},
                .meaning = "of the data: random starts, slices in shuffled or in file order"},
       .axis = on_axis},
      {.path = "spec.train.objective",
       .spec = {.type = Type::kChoice,
                .default_value = train.objective,
                .choices = {"causal_lm", "masked_lm"},
                .meaning = "what is learned: the next token, or hidden tokens from both sides "
                           "(model.causal false)"},
       .axis = on_axis},
      {.path = "spec.train.mask",
       .kind = Kind::kMap,
       .spec = {.meaning = "with objective masked_lm: which tokens are to be guessed, and what "
                           "stands in their "
                           "places (BERT's 80/10/10)"}},
      {.path = "spec.train.mask.probability",
       .spec = {.type = Type::kNumber,
                .default_value = train.mask.probability,
                .min = 1e-6,
                .max = 1,
                .meaning = "that a token is to be guessed"},
       .axis = on_axis},
      {.path = "spec.train.mask.mask_replace_prob",
       .spec = {.type = Type::kNumber,
                .default_value = train.mask.mask_replace_prob,
                .min = 0,
                .max = 1,
                .meaning = "that such a token is replaced by the mask token"},
       .axis = on_axis},
      {.path = "spec.train.mask.random_replace_prob",
       .spec = {.type = Type::kNumber,
                .default_value = train.mask.random_replace_prob,
                .min = 0,
                .max = 1,
                .meaning = "that it is replaced by a random token instead; else it stays as it is"},
       .axis = on_axis},
      {.path = "spec.train.mask.token",
       .spec = {.type = Type::kCount,
                .min = 0,
                .max = (1 << 24) - 1,
                .meaning = "id of the mask token (default: the imported model's; that of the "
                           "dataset's tokenizer; "
                           "one id more than the dataset's, and so one row more of the embedding)"},
       .axis = on_axis},
      {.path = "spec.train.continue_from",
       .spec =
           {.type = Type::kName,
            .meaning =
                "a finished run (8 digits or more) to go on from, to more tokens: with schedule "
                "constant the same as one long run, with cosine not, since that depends on tokens"},
       .axis = on_axis},
      {.path = "spec.train.positions",
       .kind = Kind::kUnbuilt,
       .spec = {.meaning = "position schedule of training"}},
      {.path = "spec.train.optimizer", .kind = Kind::kMap, .spec = {.meaning = "how weights move"}},
      {.path = "spec.train.optimizer.name",
       .spec = {.type = Type::kChoice,
                .default_value = train.optimizer.name,
                .choices = {"adamw"},
                .meaning = "the optimiser"}},
      {.path = "spec.train.optimizer.lr",
       .spec = {.type = Type::kNumber,
                .default_value = train.optimizer.lr,
                .min = 1e-12,
                .max = 10,
                .meaning = "largest learning rate"},
       .axis = on_axis},
      {.path = "spec.train.optimizer.min_lr",
       .spec = {.type = Type::kNumber,
                .min = 0,
                .max = 10,
                .meaning = "last learning rate (default: lr / 10)"},
       .axis = on_axis},
      {.path = "spec.train.optimizer.betas",
       .spec = {.type = Type::kNumberPair,
                .default_value = {train.optimizer.beta1, train.optimizer.beta2},
                .min = 0,
                .max = 0.9999999,
                .meaning = "decay of the two moments"},
       .axis = on_axis},
      {.path = "spec.train.optimizer.eps",
       .spec = {.type = Type::kNumber,
                .default_value = train.optimizer.eps,
                .min = 1e-30,
                .max = 1,
                .meaning = "added to the root of the second moment"},
       .axis = on_axis},
      {.path = "spec.train.optimizer.weight_decay",
       .spec = {.type = Type::kNumber,
                .default_value = train.optimizer.weight_decay,
                .min = 0,
                .max = 100,
                .meaning = "of tensors with two or more dimensions"},
       .axis = on_axis},
      {.path = "spec.train.optimizer.grad_clip",
       .spec = {.type = Type::kNumber,
                .default_value = train.optimizer.grad_clip,
                .min = 0,
                .max = 1e9,
                .meaning = "largest gradient norm; 0: not clipped"},
       .axis = on_axis},
      {.path = "spec.train.schedule",
       .kind = Kind::kMap,
       .spec = {.meaning = "learning rate over time, after a linear warm-up"}},
      {.path = "spec.train.schedule.name",
       .spec = {.type = Type::kChoice,
                .default_value = train.schedule.name,
                .choices = {"cosine", "constant"},
                .meaning = "cosine: from lr down to min_lr"},
       .axis = on_axis},
      {.path = "spec.train.schedule.warmup_tokens",
       .spec = {.type = Type::kCount,
                .default_value = train.schedule.warmup_tokens,
                .min = 0,
                .max = kTokensMax,
                .meaning = "tokens of warm-up"},
       .axis = on_axis},
      {.path = "spec.train.validate",
       .kind = Kind::kMap,
       .spec = {.meaning = "a validation curve while training"}},
      {.path = "spec.train.validate.every",
       .spec = {.type = Type::kCount,
                .default_value = train.validate.every,
                .min = 0,
                .max = kTokensMax,
                .meaning = "tokens trained between two validations; 0: never"},
       .axis = on_axis},
      {.path = "spec.train.validate.tokens",
       .spec = {.type = Type::kCount,
                .default_value = train.validate.tokens,
                .min = 0,
                .max = kTokensMax,
                .meaning = "tokens scored each time"},
       .axis = on_axis},
      {.path = "spec.train.activation_checkpointing",
       .spec = {.type = Type::kBool,
                .default_value = sweep.activation_checkpointing,
                .meaning = "each block is computed again in the backward pass instead of kept: "
                           "less memory, about "
                           "a third more time, the same numbers: no part of a run's identity"}},
      {.path = "spec.train.checkpoint",
       .kind = Kind::kMap,
       .spec = {.meaning = "what a lost machine can cost: no part of a run's identity"}},
      {.path = "spec.train.checkpoint.every",
       .spec = {.type = Type::kDuration,
                .default_value = sweep.checkpoint_every_ms,
                .min = 1000,
                .max = 86'400'000.0 * 30,
                .meaning = "time between two checkpoints"}},
      {.path = "spec.train.checkpoint.keep",
       .spec = {.type = Type::kInt,
                .default_value = sweep.checkpoint_keep,
                .min = 1,
                .max = 1000,
                .meaning = "last checkpoints kept"}},

      {.path = "spec.evaluate",
       .kind = Kind::kEvaluations,
       .spec = {.default_value = Json::array(),
                .meaning = "what is measured of each trained model"}},
      {.path = "spec.extend",
       .kind = Kind::kUnbuilt,
       .spec = {.meaning = "inference-time extensions"}},
      {.path = "spec.claims",
       .kind = Kind::kUnbuilt,
       .spec = {.meaning = "statements that the service checks"}},
      {.path = "spec.resources", .kind = Kind::kMap, .spec = {.meaning = "what a run needs"}},
      {.path = "spec.resources.devices",
       .spec = {.type = Type::kInt,
                .default_value = sweep.devices,
                .min = 1,
                .max = 1024,
                .meaning = "devices of one run; more than 1 is not built yet"}},
      {.path = "spec.resources.kind",
       .spec = {.type = Type::kChoice,
                .default_value = sweep.device_kind,
                .choices = {"any", "gpu", "cpu"},
                .meaning = "of the devices"}},
      {.path = "spec.retry",
       .kind = Kind::kMap,
       .spec = {.meaning = "how often a task may end badly"}},
      {.path = "spec.retry.failures_max",
       .spec = {.type = Type::kInt,
                .default_value = sweep.retry.failures_max,
                .min = 0,
                .max = 100,
                .meaning = "retries after failures of the task's own"}},
      {.path = "spec.retry.losses_max",
       .spec = {.type = Type::kInt,
                .default_value = sweep.retry.losses_max,
                .min = 0,
                .max = 1000,
                .meaning = "retries after losses of a machine"}},
      {.path = "spec.priority",
       .spec = {.type = Type::kInt,
                .default_value = sweep.priority,
                .min = -1000,
                .max = 1000,
                .meaning = "a higher one goes first"}},
  };
}

constexpr std::array<std::string_view, 3> kUnbuiltMethods = {"sandwich", "randpos", "pose"};
constexpr std::array<std::string_view, 6> kUnbuiltEvaluations = {
    "passkey", "needle", "longbench", "leval", "retrieval", "memory"};

}  // namespace

std::span<const KeyRow> SweepKeys() {
  static const std::vector<KeyRow> keys = MakeKeys();
  return keys;
}

const KeyRow& TrainOverlapKey() {
  static const KeyRow row = {
      .path = "allow_train_overlap",
      .spec = {.type = Type::kBool,
               .default_value = false,
               .meaning = "true: split train may be scored, though the models were trained on it"}};
  return row;
}

bool NamesASplit(const Evaluation& evaluation) {
  return std::ranges::find(evaluation.params, "split", &ParamSpec::name) != evaluation.params.end();
}

const KeyRow* FindKey(std::string_view path) {
  const auto row = std::ranges::find(SweepKeys(), path, &KeyRow::path);
  return row == SweepKeys().end() ? nullptr : &*row;
}

std::vector<std::string> NamesBelow(std::string_view path) {
  const std::string prefix = path.empty() ? "" : Str(path, ".");
  std::vector<std::string> names;
  for (const KeyRow& row : SweepKeys()) {
    if (!row.path.starts_with(prefix) || row.kind == KeyRow::Kind::kUnbuilt) continue;
    const std::string_view rest = std::string_view(row.path).substr(prefix.size());
    if (rest.find('.') == std::string_view::npos) names.emplace_back(rest);
  }
  return names;
}

std::vector<std::string> PathsOfName(std::string_view name, std::string_view below) {
  const std::string prefix = below.empty() ? "" : Str(below, ".");
  const std::string end = Str(".", name);
  std::vector<std::string> paths;
  std::ptrdiff_t depth_least = 0;
  for (const KeyRow& row : SweepKeys()) {
    const bool has_name = row.path == name || row.path.ends_with(end);
    if (!has_name || row.kind == KeyRow::Kind::kUnbuilt || !row.path.starts_with(prefix)) continue;
    const std::ptrdiff_t depth = std::ranges::count(row.path, '.');
    if (!paths.empty() && depth > depth_least) continue;
    if (depth < depth_least) paths.clear();
    depth_least = depth;
    paths.emplace_back(row.path);
  }
  return paths;
}

std::vector<std::string> AxisNames() {
  std::vector<std::string> names = NamesBelow("spec.matrix");
  for (const KeyRow& row : SweepKeys()) {
    if (row.axis && !row.path.starts_with("spec.matrix.")) {
      names.emplace_back(row.path.substr(std::string_view("spec.").size()));
    }
  }
  return names;
}

const KeyRow* FindAxis(std::string_view axis) {
  const KeyRow* row = FindKey(Str("spec.matrix.", axis));
  if (row == nullptr) row = FindKey(Str("spec.", axis));
  return row != nullptr && row->axis ? row : nullptr;
}

bool IsUnbuiltMethod(std::string_view method) {
  return std::ranges::find(kUnbuiltMethods, method) != kUnbuiltMethods.end();
}

bool IsUnbuiltEvaluation(std::string_view evaluation) {
  return std::ranges::find(kUnbuiltEvaluations, evaluation) != kUnbuiltEvaluations.end();
}

}  // namespace longrun
