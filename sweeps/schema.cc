// The table of keys, and what is made from it. Defaults of the recipe are those of model/config.h.
#include "sweeps/schema.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <utility>

#include "base/check.h"
#include "base/files.h"
#include "base/str.h"
#include "base/units.h"
#include "model/architecture/architecture.h"
#include "model/config.h"
#include "model/evaluation/evaluation.h"
#include "model/position/method.h"
#include "sweeps/explain.h"
#include "sweeps/limits.h"
#include "sweeps/sweep.h"

namespace longrun {
namespace {

using Type = KeyRow::Type;

constexpr double kTokensMax = 1e15;
constexpr double kLengthMax = 1 << 26;

std::vector<KeyRow> MakeKeys() {
  const ModelConfig model;
  const TrainConfig train;
  const Sweep sweep;
  const bool on_axis = true;
  return {
      {.path = "apiVersion",
       .type = Type::kChoice,
       .required = true,
       .choices = {"longrun/v1"},
       .meaning = "version of this language"},
      {.path = "kind",
       .type = Type::kChoice,
       .required = true,
       .choices = {"Sweep"},
       .meaning = "what the file is"},
      {.path = "metadata", .required = true, .meaning = "for people: no part of a run's identity"},
      {.path = "metadata.name",
       .type = Type::kName,
       .required = true,
       .meaning = "name of the sweep"},
      {.path = "metadata.labels", .type = Type::kLabels, .meaning = "text to find the sweep by"},
      {.path = "metadata.export",
       .type = Type::kChoice,
       .default_value = sweep.export_to,
       .choices = {"none", std::string(kExportPrometheus)},
       .meaning = "prometheus: /metrics shows the sweep's perplexities"},
      {.path = "spec", .required = true, .meaning = "what is run"},

      {.path = "spec.model",
       .required = true,
       .meaning = "the model: a size, and what differs from it (with the axis model.init_from may "
                  "be left out)"},
      {.path = "spec.model.architecture",
       .type = Type::kChoice,
       .default_value = model.architecture,
       .choices = ArchitectureNames(),
       .meaning =
           "body of the decoder: norm, MLP, biases, tied head; names and layout of its weights",
       .axis = on_axis},
      {.path = "spec.model.size",
       .type = Type::kChoice,
       .choices = ModelConfig::PresetNames(),
       .meaning = "preset of n_layer, n_head and d_model; without it all three must be given",
       .axis = on_axis},
      {.path = "spec.model.n_layer",
       .type = Type::kInt,
       .min = 1,
       .max = 1000,
       .meaning = "blocks (default: of the size)",
       .axis = on_axis},
      {.path = "spec.model.n_head",
       .type = Type::kInt,
       .min = 1,
       .max = 1024,
       .meaning = "attention heads (default: of the size)",
       .axis = on_axis},
      {.path = "spec.model.d_model",
       .type = Type::kCount,
       .min = 1,
       .max = 1 << 17,
       .meaning = "width (default: of the size)",
       .axis = on_axis},
      {.path = "spec.model.d_ff",
       .type = Type::kCount,
       .min = 1,
       .max = 1 << 19,
       .meaning =
           "width of the MLP (default: 4 d_model; of Llama's body 8/3 d_model, rounded up to a "
           "multiple of 256)",
       .axis = on_axis},
      {.path = "spec.model.n_kv_head",
       .type = Type::kInt,
       .min = 1,
       .max = 1024,
       .meaning = "heads of keys and values, a divisor of n_head (default: n_head)",
       .axis = on_axis},
      {.path = "spec.model.head_dim",
       .type = Type::kInt,
       .min = 1,
       .max = 1 << 17,
       .meaning = "width of a head (default: d_model / n_head)",
       .axis = on_axis},
      {.path = "spec.model.block",
       .type = Type::kChoice,
       .choices = {"sequential", "parallel", "parallel_shared_norm"},
       .meaning = "attention and MLP one after the other or side by side (default: of the "
                  "architecture)",
       .axis = on_axis},
      {.path = "spec.model.qkv_bias",
       .type = Type::kBool,
       .meaning = "biases of queries, keys and values, and of attention's output where the "
                  "architecture has one switch (default: of the architecture)",
       .axis = on_axis},
      {.path = "spec.model.mlp_bias",
       .type = Type::kBool,
       .meaning = "biases of the MLP (default: of the architecture)",
       .axis = on_axis},
      {.path = "spec.model.sliding_window",
       .type = Type::kCount,
       .min = 0,
       .max = 1 << 26,
       .meaning = "a token sees so many tokens, with itself; 0: all (default: of the architecture)",
       .axis = on_axis},
      {.path = "spec.model.vocab_size",
       .type = Type::kCount,
       .min = 2,
       .max = 1 << 24,
       .meaning = "rows of the embedding (default: the dataset's)",
       .axis = on_axis},
      {.path = "spec.model.activation",
       .type = Type::kChoice,
       .choices = {"gelu_new", "gelu", "relu", "silu"},
       .meaning = "of the MLP; gelu_new is the tanh form (default: of the architecture)",
       .axis = on_axis},
      {.path = "spec.model.layer_norm_epsilon",
       .type = Type::kNumber,
       .min = 1e-12,
       .max = 1,
       .meaning = "added to the variance (default: of the architecture)",
       .axis = on_axis},
      {.path = "spec.model.tie_embeddings",
       .type = Type::kBool,
       .meaning = "one matrix for embedding and head (default: of the architecture)",
       .axis = on_axis},
      {.path = "spec.model.causal",
       .type = Type::kBool,
       .default_value = model.causal,
       .meaning =
           "a token sees no later token; false: an encoder, trained with objective masked_lm",
       .axis = on_axis},
      {.path = "spec.model.init_std",
       .type = Type::kNumber,
       .default_value = model.init_std,
       .min = 1e-6,
       .max = 10,
       .meaning = "standard deviation of the first weights",
       .axis = on_axis},
      {.path = "spec.model.init_from",
       .type = Type::kName,
       .meaning =
           "start from an imported model (longrun import), whose config.json gives the other "
           "keys of model: they may be left out, and must agree where they are given",
       .axis = on_axis},

      {.path = "spec.matrix",
       .required = true,
       .meaning = "axis to list of values; the cross product, the first axis slowest"},
      {.path = "spec.matrix.position",
       .type = Type::kPosition,
       .required = true,
       .meaning = "position methods (with model.init_from may be left out: the model's own)",
       .axis = on_axis},
      {.path = "spec.matrix.train_length",
       .type = Type::kCount,
       .required = true,
       .min = 1,
       .max = kLengthMax,
       .meaning = "tokens in a training sequence (with train: none may be left out)",
       .axis = on_axis},
      {.path = "spec.matrix.dataset",
       .type = Type::kName,
       .required = true,
       .meaning = "registered datasets",
       .axis = on_axis},
      {.path = "spec.matrix.seed",
       .type = Type::kInt,
       .default_value = 1,
       .min = 0,
       .max = 9e15,
       .meaning = "of weights and data order",
       .axis = on_axis},
      {.path = "spec.exclude",
       .type = Type::kPoints,
       .default_value = Json::array(),
       .meaning = "points left out: those that have every value given"},
      {.path = "spec.include",
       .type = Type::kPoints,
       .default_value = Json::array(),
       .meaning = "further points, each giving every axis"},

      {.path = "spec.train",
       .required = true,
       .meaning = "the recipe; none: model.init_from is measured as it is"},
      {.path = "spec.train.tokens",
       .type = Type::kCount,
       .required = true,
       .min = 1,
       .max = kTokensMax,
       .meaning = "tokens trained on; the last step is a whole one",
       .axis = on_axis},
      {.path = "spec.train.batch_tokens",
       .type = Type::kCount,
       .required = true,
       .min = 1,
       .max = kTokensMax,
       .meaning = "tokens in an optimiser step, a multiple of train_length",
       .axis = on_axis},
      {.path = "spec.train.precision",
       .type = Type::kChoice,
       .default_value = train.precision,
       .choices = {"fp32", "bf16"},
       .meaning = "bf16: autocast, with fp32 weights",
       .axis = on_axis},
      {.path = "spec.train.order",
       .type = Type::kChoice,
       .default_value = train.order,
       .choices = {"random", "shuffled", "stream"},
       .meaning = "of the data: random starts, slices in shuffled or in file order",
       .axis = on_axis},
      {.path = "spec.train.objective",
       .type = Type::kChoice,
       .default_value = train.objective,
       .choices = {"causal_lm", "masked_lm"},
       .meaning =
           "what is learned: the next token, or hidden tokens from both sides (model.causal false)",
       .axis = on_axis},
      {.path = "spec.train.mask",
       .meaning =
           "with objective masked_lm: which tokens are to be guessed, and what stands in their "
           "places (BERT's 80/10/10)"},
      {.path = "spec.train.mask.probability",
       .type = Type::kNumber,
       .default_value = train.mask.probability,
       .min = 1e-6,
       .max = 1,
       .meaning = "that a token is to be guessed",
       .axis = on_axis},
      {.path = "spec.train.mask.mask_replace_prob",
       .type = Type::kNumber,
       .default_value = train.mask.mask_replace_prob,
       .min = 0,
       .max = 1,
       .meaning = "that such a token is replaced by the mask token",
       .axis = on_axis},
      {.path = "spec.train.mask.random_replace_prob",
       .type = Type::kNumber,
       .default_value = train.mask.random_replace_prob,
       .min = 0,
       .max = 1,
       .meaning = "that it is replaced by a random token instead; else it stays as it is",
       .axis = on_axis},
      {.path = "spec.train.mask.token",
       .type = Type::kCount,
       .min = 0,
       .max = (1 << 24) - 1,
       .meaning =
           "id of the mask token (default: the imported model's; that of the dataset's tokenizer; "
           "one id more than the dataset's, and so one row more of the embedding)",
       .axis = on_axis},
      {.path = "spec.train.continue_from",
       .type = Type::kName,
       .meaning =
           "a finished run (8 digits or more) to go on from, to more tokens: with schedule "
           "constant the same as one long run, with cosine not, since that depends on tokens",
       .axis = on_axis},
      {.path = "spec.train.positions",
       .type = Type::kUnbuilt,
       .meaning = "position schedule of training"},
      {.path = "spec.train.optimizer", .meaning = "how weights move"},
      {.path = "spec.train.optimizer.name",
       .type = Type::kChoice,
       .default_value = train.optimizer.name,
       .choices = {"adamw"},
       .meaning = "the optimiser"},
      {.path = "spec.train.optimizer.lr",
       .type = Type::kNumber,
       .default_value = train.optimizer.lr,
       .min = 1e-12,
       .max = 10,
       .meaning = "largest learning rate",
       .axis = on_axis},
      {.path = "spec.train.optimizer.min_lr",
       .type = Type::kNumber,
       .min = 0,
       .max = 10,
       .meaning = "last learning rate (default: lr / 10)",
       .axis = on_axis},
      {.path = "spec.train.optimizer.betas",
       .type = Type::kNumberPair,
       .default_value = {train.optimizer.beta1, train.optimizer.beta2},
       .min = 0,
       .max = 0.9999999,
       .meaning = "decay of the two moments",
       .axis = on_axis},
      {.path = "spec.train.optimizer.eps",
       .type = Type::kNumber,
       .default_value = train.optimizer.eps,
       .min = 1e-30,
       .max = 1,
       .meaning = "added to the root of the second moment",
       .axis = on_axis},
      {.path = "spec.train.optimizer.weight_decay",
       .type = Type::kNumber,
       .default_value = train.optimizer.weight_decay,
       .min = 0,
       .max = 100,
       .meaning = "of tensors with two or more dimensions",
       .axis = on_axis},
      {.path = "spec.train.optimizer.grad_clip",
       .type = Type::kNumber,
       .default_value = train.optimizer.grad_clip,
       .min = 0,
       .max = 1e9,
       .meaning = "largest gradient norm; 0: not clipped",
       .axis = on_axis},
      {.path = "spec.train.schedule", .meaning = "learning rate over time, after a linear warm-up"},
      {.path = "spec.train.schedule.name",
       .type = Type::kChoice,
       .default_value = train.schedule.name,
       .choices = {"cosine", "constant"},
       .meaning = "cosine: from lr down to min_lr",
       .axis = on_axis},
      {.path = "spec.train.schedule.warmup_tokens",
       .type = Type::kCount,
       .default_value = train.schedule.warmup_tokens,
       .min = 0,
       .max = kTokensMax,
       .meaning = "tokens of warm-up",
       .axis = on_axis},
      {.path = "spec.train.validate", .meaning = "a validation curve while training"},
      {.path = "spec.train.validate.every",
       .type = Type::kCount,
       .default_value = train.validate.every,
       .min = 0,
       .max = kTokensMax,
       .meaning = "tokens trained between two validations; 0: never",
       .axis = on_axis},
      {.path = "spec.train.validate.tokens",
       .type = Type::kCount,
       .default_value = train.validate.tokens,
       .min = 0,
       .max = kTokensMax,
       .meaning = "tokens scored each time",
       .axis = on_axis},
      {.path = "spec.train.activation_checkpointing",
       .type = Type::kBool,
       .default_value = sweep.activation_checkpointing,
       .meaning =
           "each block is computed again in the backward pass instead of kept: less memory, about "
           "a third more time, the same numbers: no part of a run's identity"},
      {.path = "spec.train.checkpoint",
       .meaning = "what a lost machine can cost: no part of a run's identity"},
      {.path = "spec.train.checkpoint.every",
       .type = Type::kDuration,
       .default_value = sweep.checkpoint_every_ms,
       .min = 1000,
       .max = 86'400'000.0 * 30,
       .meaning = "time between two checkpoints"},
      {.path = "spec.train.checkpoint.keep",
       .type = Type::kInt,
       .default_value = sweep.checkpoint_keep,
       .min = 1,
       .max = 1000,
       .meaning = "last checkpoints kept"},

      {.path = "spec.evaluate",
       .type = Type::kEvaluations,
       .default_value = Json::array(),
       .meaning = "what is measured of each trained model"},
      {.path = "spec.extend", .type = Type::kUnbuilt, .meaning = "inference-time extensions"},
      {.path = "spec.claims",
       .type = Type::kUnbuilt,
       .meaning = "statements that the service checks"},
      {.path = "spec.resources", .meaning = "what a run needs"},
      {.path = "spec.resources.devices",
       .type = Type::kInt,
       .default_value = sweep.devices,
       .min = 1,
       .max = 1024,
       .meaning = "devices of one run; more than 1 is not built yet"},
      {.path = "spec.resources.kind",
       .type = Type::kChoice,
       .default_value = sweep.device_kind,
       .choices = {"any", "gpu", "cpu"},
       .meaning = "of the devices"},
      {.path = "spec.retry", .meaning = "how often a task may end badly"},
      {.path = "spec.retry.failures_max",
       .type = Type::kInt,
       .default_value = sweep.retry.failures_max,
       .min = 0,
       .max = 100,
       .meaning = "retries after failures of the task's own"},
      {.path = "spec.retry.losses_max",
       .type = Type::kInt,
       .default_value = sweep.retry.losses_max,
       .min = 0,
       .max = 1000,
       .meaning = "retries after losses of a machine"},
      {.path = "spec.priority",
       .type = Type::kInt,
       .default_value = sweep.priority,
       .min = -1000,
       .max = 1000,
       .meaning = "a higher one goes first"},
  };
}

// ---- values ------------------------------------------------------------------------------------

std::string ShowNumber(double number) {
  const bool is_whole = number == std::floor(number) && std::abs(number) < 1e16;
  return is_whole ? Str(static_cast<std::int64_t>(number)) : Str(number);
}

std::string Expected(const KeyRow& row) {
  const std::string range = Str(" from ", ShowNumber(row.min), " to ", ShowNumber(row.max));
  switch (row.type) {
    case Type::kMap:
      return "a map";
    case Type::kText:
      return Str("text of at most ", kTextBytesMax, " bytes");
    case Type::kName:
      return "a name of 1 to 128 letters, digits, '.', '_' or '-' that does not start with '.'";
    case Type::kChoice:
      return row.choices.size() == 1 ? row.choices[0] : Str("one of ", Join(row.choices, ", "));
    case Type::kInt:
      return Str("an integer", range);
    case Type::kCount:
      return Str("a count", range, " (4096, 64K, 200M, 8Ki)");
    case Type::kNumber:
      return Str("a number", range);
    case Type::kBool:
      return "true or false";
    case Type::kDuration:
      return Str("a duration from ", FormatDurationMs(static_cast<std::int64_t>(row.min)), " to ",
                 FormatDurationMs(static_cast<std::int64_t>(row.max)), " (30s, 10min, 1h)");
    case Type::kNumberPair:
      return Str("a list of two numbers", range);
    case Type::kLabels:
      return "a map of text";
    case Type::kPosition:
      return "a position method: its name, or {method: NAME, its parameters}";
    case Type::kPoints:
      return "a list of maps from axis to value";
    case Type::kEvaluations:
      return "a list of maps with one key, the name of an evaluation";
    case Type::kUnbuilt:
      return "nothing";
  }
  LR_CHECK(false);
}

Result<Json> TypePlain(const KeyRow& row, const YamlNode& node);

// "; write 1000" and its like, for what stands in the place of a row's value.
std::string Remedy(const KeyRow& row, const YamlNode& node) {
  constexpr std::string_view kSpec = "spec.";
  const bool is_list = node.kind == YamlNode::Kind::kList;
  const bool is_single = row.type != Type::kNumberPair;
  if (is_list && is_single && row.axis && row.path.starts_with("spec.train.")) {
    return Str("; several values stand in spec.matrix, as ", row.path.substr(kSpec.size()),
               ": [...]");
  }
  if (node.kind != YamlNode::Kind::kScalar) return "";
  const bool is_plain = row.type == Type::kInt || row.type == Type::kCount ||
                        row.type == Type::kNumber || row.type == Type::kDuration ||
                        row.type == Type::kBool;
  if (is_plain && node.quoted) {
    YamlNode bare = node;
    bare.quoted = false;
    if (TypePlain(row, bare).ok()) return "; in quotes it is text: remove them";
  }
  YamlNode meant;
  meant.kind = YamlNode::Kind::kScalar;
  if (row.type == Type::kCount && !ParseCount(node.text).ok()) meant.text = NearestCount(node.text);
  if (row.type == Type::kBool && node.text != "true" && node.text != "false") {
    meant.text = NearestBool(node.text);
  }
  return !meant.text.empty() && TypePlain(row, meant).ok() ? Str("; write ", meant.text) : "";
}

Status Mismatch(const KeyRow& row, const YamlNode& node, std::string_view why = "") {
  std::string message = Str("expected ", Expected(row), ", found ", ShowNode(node));
  if (!why.empty()) message += Str(" (", why, ")");
  message += Remedy(row, node);
  if (row.choices.size() > 1 && node.kind == YamlNode::Kind::kScalar) {
    if (const std::string nearest = Nearest(node.text, row.choices); !nearest.empty()) {
      message += Str("; did you mean \"", nearest, "\"?");
    }
  }
  return Status(Code::kInvalidArgument, std::move(message));
}

template <typename Number>
bool IsInRange(const KeyRow& row, Number number) {
  return static_cast<double>(number) >= row.min && static_cast<double>(number) <= row.max;
}

// Decimal digits with an optional minus: 012 is twelve, 0x10 and 1e3 are no integers.
std::optional<std::int64_t> ParseInteger(std::string_view text) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

// 0.5, 1e-3, -2; neither inf nor nan, and nothing that a double cannot hold.
std::optional<double> ParseNumber(std::string_view text) {
  if (text.find_first_not_of("0123456789.eE+-") != std::string_view::npos) return std::nullopt;
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

Result<Json> TypeNumberPair(const KeyRow& row, const YamlNode& node) {
  if (node.kind != YamlNode::Kind::kList || node.items.size() != 2) return Mismatch(row, node);
  Json pair = Json::array();
  for (const YamlNode& item : node.items) {
    const bool plain = item.kind == YamlNode::Kind::kScalar && !item.quoted;
    const std::optional<double> number = plain ? ParseNumber(item.text) : std::nullopt;
    if (!plain && ParseNumber(item.text)) {
      return Status(Code::kInvalidArgument,
                    Str(Mismatch(row, item).message(), "; in quotes it is text: remove them"));
    }
    if (!number || !IsInRange(row, *number)) return Mismatch(row, item);
    pair.push_back(*number);
  }
  return pair;
}

Result<Json> TypePlain(const KeyRow& row, const YamlNode& node) {
  switch (row.type) {
    case Type::kInt: {
      const std::optional<std::int64_t> number = ParseInteger(node.text);
      if (!number || !IsInRange(row, *number)) return Mismatch(row, node);
      return Json(*number);
    }
    case Type::kCount: {
      const Result<std::int64_t> count = ParseCount(node.text);
      if (!count.ok() || !IsInRange(row, *count)) return Mismatch(row, node);
      return Json(*count);
    }
    case Type::kNumber: {
      const std::optional<double> number = ParseNumber(node.text);
      if (!number || !IsInRange(row, *number)) return Mismatch(row, node);
      return Json(*number);
    }
    case Type::kBool:
      if (node.text != "true" && node.text != "false") return Mismatch(row, node);
      return Json(node.text == "true");
    case Type::kDuration: {
      const Result<std::int64_t> duration_ms = ParseDurationMs(node.text);
      if (!duration_ms.ok() || !IsInRange(row, *duration_ms)) return Mismatch(row, node);
      return Json(*duration_ms);
    }
    default:
      return Mismatch(row, node);
  }
}

// ---- JSON Schema -------------------------------------------------------------------------------

constexpr std::string_view kCountPattern = "^[0-9]+(\\.[0-9]+)?(K|M|G|B|Ki|Mi|Gi)?$";
constexpr std::string_view kDurationPattern = "^[0-9]+(\\.[0-9]+)?(ms|s|min|h|d)$";
constexpr std::string_view kNamePattern = "^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$";

Json Bound(double bound) {
  const bool is_whole = bound == std::floor(bound) && std::abs(bound) < 1e16;
  return is_whole ? Json(static_cast<std::int64_t>(bound)) : Json(bound);
}

Json Ranged(std::string_view type, double min, double max) {
  return Json{{"type", type}, {"minimum", Bound(min)}, {"maximum", Bound(max)}};
}

Json CountSchema(double min, double max) {
  return Json{
      {"anyOf", {Ranged("integer", min, max), {{"type", "string"}, {"pattern", kCountPattern}}}}};
}

Json ParamSchema(const ParamSpec& spec) {
  Json schema;
  switch (spec.type) {
    case ParamSpec::Type::kInt:
      schema = CountSchema(spec.min, spec.max);
      break;
    case ParamSpec::Type::kDouble:
      schema = Ranged("number", spec.min, spec.max);
      break;
    case ParamSpec::Type::kBool:
      schema = Json{{"type", "boolean"}};
      break;
    case ParamSpec::Type::kChoice:
      schema = spec.choices.empty() ? Json{{"type", "string"}} : Json{{"enum", spec.choices}};
      break;
    case ParamSpec::Type::kChoiceList:
      schema = Json{{"type", "array"},
                    {"items", {{"enum", spec.choices}}},
                    {"minItems", 1},
                    {"uniqueItems", true}};
      break;
    case ParamSpec::Type::kIntList:
      schema = Json{{"type", "array"},
                    {"items", CountSchema(spec.min, spec.max)},
                    {"minItems", 1},
                    {"uniqueItems", true}};
      if (!spec.choices.empty()) schema = Json{{"anyOf", {{{"enum", spec.choices}}, schema}}};
      break;
  }
  schema["description"] = ParamMeaning(spec);
  if (!spec.default_value.is_null()) schema["default"] = spec.default_value;
  return schema;
}

// A parameter that belongs to values of another one demands one of them, and is demanded by them
// where it has no default.
void AddCondition(const ParamSpec& spec, std::span<const ParamSpec> specs, Json& schema) {
  const ParamSpec::Condition& condition = *spec.only_with;
  const auto other = std::ranges::find(specs, condition.name, &ParamSpec::name);
  Json chosen = {{"properties", {{std::string(condition.name), {{"enum", condition.values}}}}}};
  const bool by_default =
      std::ranges::find(condition.values, other->default_value.get<std::string>()) !=
      condition.values.end();
  if (!by_default) chosen["required"] = {condition.name};
  if (spec.default_value.is_null()) {
    schema["allOf"].push_back(Json{{"if", chosen}, {"then", {{"required", {spec.name}}}}});
  }
  schema["dependentSchemas"][std::string(spec.name)] = std::move(chosen);
}

Json ParamsSchema(std::span<const ParamSpec> specs) {
  Json schema = {{"type", "object"},
                 {"properties", Json::object()},
                 {"required", Json::array()},
                 {"additionalProperties", false}};
  for (const ParamSpec& spec : specs) {
    schema["properties"][std::string(spec.name)] = ParamSchema(spec);
    if (spec.only_with) {
      AddCondition(spec, specs, schema);
    } else if (spec.default_value.is_null()) {
      schema["required"].push_back(spec.name);
    }
  }
  return schema;
}

Json PositionSchema() {
  Json forms = Json::array({Json{{"enum", PositionMethodNames()}}});
  for (const PositionMethod* const method : PositionMethods()) {
    Json form = ParamsSchema(method->params);
    form["properties"]["method"] = Json{{"const", method->name}};
    form["required"].push_back("method");
    form["description"] = method->source;
    forms.push_back(std::move(form));
  }
  return Json{{"anyOf", std::move(forms)}};
}

Json EvaluationsSchema() {
  Json forms = Json::array();
  for (const Evaluation* const evaluation : Evaluations()) {
    Json params = ParamsSchema(evaluation->params);
    params["description"] = evaluation->meaning;
    if (NamesASplit(*evaluation)) {
      const KeyRow& overlap = TrainOverlapKey();
      params["properties"][std::string(overlap.path)] = Json{{"type", "boolean"},
                                                             {"default", overlap.default_value},
                                                             {"description", overlap.meaning}};
    }
    forms.push_back(Json{{"type", "object"},
                         {"properties", {{std::string(evaluation->name), std::move(params)}}},
                         {"required", {evaluation->name}},
                         {"additionalProperties", false}});
  }
  return Json{{"type", "array"}, {"items", {{"anyOf", std::move(forms)}}}};
}

Json ValueSchema(const KeyRow& row) {
  switch (row.type) {
    case Type::kText:
      return Json{{"type", "string"}, {"maxLength", kTextBytesMax}};
    case Type::kName:
      return Json{{"type", "string"}, {"pattern", kNamePattern}};
    case Type::kChoice:
      return Json{{"enum", row.choices}};
    case Type::kInt:
      return Ranged("integer", row.min, row.max);
    case Type::kCount:
      return CountSchema(row.min, row.max);
    case Type::kNumber:
      return Ranged("number", row.min, row.max);
    case Type::kBool:
      return Json{{"type", "boolean"}};
    case Type::kDuration:
      return Json{{"type", "string"}, {"pattern", kDurationPattern}};
    case Type::kNumberPair:
      return Json{{"type", "array"},
                  {"items", Ranged("number", row.min, row.max)},
                  {"minItems", 2},
                  {"maxItems", 2}};
    case Type::kLabels:
      return Json{{"type", "object"},
                  {"maxProperties", kLabelsMax},
                  {"additionalProperties", {{"type", "string"}, {"maxLength", kTextBytesMax}}}};
    case Type::kPosition:
      return PositionSchema();
    case Type::kEvaluations:
      return EvaluationsSchema();
    case Type::kMap:
    case Type::kPoints:
    case Type::kUnbuilt:
      break;
  }
  LR_CHECK(false);
}

// {axis: a value of it}; with `lists`, {axis: a list of values}.
Json AxesSchema(bool lists) {
  Json properties = Json::object();
  for (const std::string& axis : AxisNames()) {
    const KeyRow& row = *FindAxis(axis);
    Json value = ValueSchema(row);
    if (lists) {
      value = Json{
          {"type", "array"}, {"items", std::move(value)}, {"minItems", 1}, {"uniqueItems", true}};
    }
    value["description"] = row.meaning;
    properties[axis] = std::move(value);
  }
  return Json{
      {"type", "object"}, {"properties", std::move(properties)}, {"additionalProperties", false}};
}

// An imported model says itself what the matrix may leave out.
Json AxesOrInit() {
  const auto with = [](const char* map, std::vector<std::string> keys) {
    return Json{{"properties", {{map, {{"required", std::move(keys)}}}}}};
  };
  Json forms = Json::array({with("matrix", {"position", "train_length"}),
                            with("model", {"init_from"}), with("matrix", {"model.init_from"})});
  for (const std::size_t with_model : {0, 1}) forms[with_model]["required"] = {"model"};
  return forms;
}

Json MapSchema(std::string_view path) {
  Json properties = Json::object();
  Json required = Json::array();
  for (const std::string& name : NamesBelow(path)) {
    const std::string below = path.empty() ? name : Str(path, ".", name);
    const KeyRow& row = *FindKey(below);
    Json schema;
    if (below == "spec.matrix") {
      schema = AxesSchema(/*lists=*/true);
      schema["required"] = Json::array();
      for (const std::string& axis : NamesBelow(below)) {
        const bool may_be_the_models = axis == "position" || axis == "train_length";
        if (FindKey(Str(below, ".", axis))->required && !may_be_the_models) {
          schema["required"].push_back(axis);
        }
      }
    } else if (row.type == Type::kPoints) {
      schema = Json{{"type", "array"}, {"items", AxesSchema(/*lists=*/false)}};
    } else {
      schema = row.type == Type::kMap ? MapSchema(below) : ValueSchema(row);
    }
    if (below == "spec.train") schema = Json{{"anyOf", {{{"const", "none"}}, std::move(schema)}}};
    schema["description"] = row.meaning;
    if (!row.default_value.is_null() && row.type != Type::kDuration) {
      schema["default"] = row.default_value;
    }
    // A key that the matrix can give need not stand in its own place.
    const bool may_be_an_axis = row.axis || below == "spec.model";
    if (row.required && !may_be_an_axis) required.push_back(name);
    properties[name] = std::move(schema);
  }
  Json schema = {{"type", "object"},
                 {"properties", std::move(properties)},
                 {"required", std::move(required)},
                 {"additionalProperties", false}};
  if (path == "spec") schema["anyOf"] = AxesOrInit();
  return schema;
}

// ---- reference ---------------------------------------------------------------------------------

std::string ShowDefault(const KeyRow& row) {
  if (row.required) return "must be given";
  if (row.default_value.is_null() || row.default_value == Json::array()) return "";
  if (row.type == Type::kDuration) return FormatDurationMs(row.default_value.get<std::int64_t>());
  return row.default_value.is_string() ? row.default_value.get<std::string>()
                                       : CanonicalJson(row.default_value);
}

std::string ParamRows(std::span<const ParamSpec> specs) {
  std::string out;
  for (const ParamSpec& spec : specs) {
    const bool is_list =
        spec.type == ParamSpec::Type::kIntList || spec.type == ParamSpec::Type::kChoiceList;
    const bool is_text = spec.type == ParamSpec::Type::kChoice && spec.choices.empty();
    std::string values = spec.type == ParamSpec::Type::kBool ? "true, false"
                         : is_text                           ? "text"
                         : !spec.choices.empty()
                             ? Join(MarkedChoices(spec), ", ")
                             : Str(ShowNumber(spec.min), " to ", ShowNumber(spec.max));
    if (is_list) values = Str("a list of ", values);
    if (spec.type == ParamSpec::Type::kIntList && !spec.choices.empty()) {
      values = Str(Join(spec.choices, ", "), ", or a list of ", ShowNumber(spec.min), " to ",
                   ShowNumber(spec.max));
    }
    const std::string default_value = spec.default_value.is_null() ? "must be given"
                                      : spec.default_value.is_string()
                                          ? spec.default_value.get<std::string>()
                                          : CanonicalJson(spec.default_value);
    out += Str("| `", spec.name, "` | ", values, " | ", default_value, " | ", ParamMeaning(spec),
               " |\n");
  }
  return out;
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
      .type = Type::kBool,
      .default_value = false,
      .meaning = "true: split train may be scored, though the models were trained on it"};
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
    if (!row.path.starts_with(prefix) || row.type == Type::kUnbuilt) continue;
    const std::string_view rest = row.path.substr(prefix.size());
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
    if (!has_name || row.type == Type::kUnbuilt || !row.path.starts_with(prefix)) continue;
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

std::string ExpectedValue(const KeyRow& row) { return Expected(row); }

std::string ParamMeaning(const ParamSpec& spec) {
  const std::string experimental =
      spec.experimental.empty() ? "" : Str("; experimental: ", Join(spec.experimental, ", "));
  if (!spec.only_with) return Str(spec.meaning, experimental);
  return Str("(", spec.only_with->name, " ", Join(spec.only_with->values, ", "), ") ", spec.meaning,
             experimental);
}

Result<Json> TypeValue(const KeyRow& row, const YamlNode& node) {
  if (row.type == Type::kNumberPair) return TypeNumberPair(row, node);
  if (node.kind != YamlNode::Kind::kScalar) return Mismatch(row, node);
  switch (row.type) {
    case Type::kText:
      if (node.text.size() > kTextBytesMax) return Mismatch(row, node);
      return Json(node.text);
    case Type::kName:
      if (!IsSafeName(node.text)) return Mismatch(row, node);
      return Json(node.text);
    case Type::kChoice:
      if (std::ranges::find(row.choices, node.text) == row.choices.end()) {
        return Mismatch(row, node);
      }
      return Json(node.text);
    default:
      return node.quoted ? Mismatch(row, node) : TypePlain(row, node);
  }
}

Json TypeParam(const ParamSpec& spec, const YamlNode& node) {
  if (node.kind == YamlNode::Kind::kNothing) return nullptr;
  if (node.kind == YamlNode::Kind::kList) {
    Json list = Json::array();
    for (const YamlNode& item : node.items) list.push_back(TypeParam(spec, item));
    return list;
  }
  if (node.kind == YamlNode::Kind::kMap) return Json::object();
  const bool is_choice =
      spec.type == ParamSpec::Type::kChoice || spec.type == ParamSpec::Type::kChoiceList;
  if (node.quoted || is_choice) return node.text;
  if (spec.type == ParamSpec::Type::kBool) {
    return node.text == "true" || node.text == "false" ? Json(node.text == "true")
                                                       : Json(node.text);
  }
  if (spec.type == ParamSpec::Type::kDouble) {
    const std::optional<double> number = ParseNumber(node.text);
    return number ? Json(*number) : Json(node.text);
  }
  const Result<std::int64_t> count = ParseCount(node.text);
  return count.ok() ? Json(*count) : Json(node.text);
}

std::string ShowNode(const YamlNode& node) {
  constexpr std::size_t kShownMax = 60;
  switch (node.kind) {
    case YamlNode::Kind::kNothing:
      return "nothing";
    case YamlNode::Kind::kList:
      return "a list";
    case YamlNode::Kind::kMap:
      return "a map";
    case YamlNode::Kind::kScalar:
      break;
  }
  const bool is_long = node.text.size() > kShownMax;
  std::string shown = ToUtf8(node.text.substr(0, kShownMax));
  std::ranges::replace_if(
      shown, [](char c) { return static_cast<unsigned char>(c) < ' '; }, ' ');
  return Str('"', shown, is_long ? "..." : "", '"');
}

std::string DidYouMean(std::string_view word, const std::vector<std::string>& names) {
  const std::string nearest = Nearest(word, names);
  if (!nearest.empty()) return Str("; did you mean \"", nearest, "\"?");
  return names.empty() ? "" : Str("; expected one of ", Join(names, ", "));
}

bool IsUnbuiltMethod(std::string_view method) {
  return std::ranges::find(kUnbuiltMethods, method) != kUnbuiltMethods.end();
}

bool IsUnbuiltEvaluation(std::string_view evaluation) {
  return std::ranges::find(kUnbuiltEvaluations, evaluation) != kUnbuiltEvaluations.end();
}

Json SweepJsonSchema() {
  Json schema = MapSchema("");
  schema["$schema"] = "https://json-schema.org/draft/2020-12/schema";
  schema["title"] = "longrun sweep";
  return schema;
}

std::string SweepReference() {
  std::string out =
      "# Keys of a sweep file\n\n"
      "Printed from the table in `sweeps/schema.cc`; the test `sweeps/sweep` keeps it equal\n"
      "(`LONGRUN_UPDATE=1` writes it anew). A key marked \"axis\" may stand in `spec.matrix` by "
      "its\n"
      "path below `spec`.\n\n"
      "| key | value | default | axis | meaning |\n|---|---|---|---|---|\n";
  for (const KeyRow& row : SweepKeys()) {
    const std::string value =
        row.type == Type::kUnbuilt ? std::string(kNotBuiltYet) : Expected(row);
    out += Str("| `", row.path, "` | ", value, " | ", ShowDefault(row), " | ",
               row.axis ? "axis" : "", " | ", row.meaning, " |\n");
  }
  constexpr std::string_view kParamHead =
      "| parameter | value | default | meaning |\n|---|---|---|---|\n";
  for (const PositionMethod* const method : PositionMethods()) {
    out += Str("\n## Position method `", method->name, "`\n\n", method->source, "\n");
    if (!method->params.empty()) out += Str("\n", kParamHead, ParamRows(method->params));
  }
  for (const Evaluation* const evaluation : Evaluations()) {
    out += Str("\n## Evaluation `", evaluation->name, "`\n\n", evaluation->meaning, " (",
               evaluation->source, ")\n\n", kParamHead, ParamRows(evaluation->params));
    if (NamesASplit(*evaluation)) {
      const KeyRow& overlap = TrainOverlapKey();
      out += Str("| `", overlap.path, "` | ", Expected(overlap), " | ", ShowDefault(overlap), " | ",
                 overlap.meaning, " |\n");
    }
  }
  return out;
}

}  // namespace longrun
