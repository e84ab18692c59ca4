#include "model/config.h"

#include <algorithm>
#include <array>

#include "base/str.h"
#include "model/architecture/architecture.h"
#include "model/position/method.h"

namespace longrun {
namespace {

// Limits of what is accepted, far beyond what is sensible: they keep every product below 2^63.
constexpr std::int64_t kLayersMax = 1000;
constexpr std::int64_t kHeadsMax = 1024;
constexpr std::int64_t kWidthMax = 1 << 17;
constexpr std::int64_t kVocabMax = 1 << 24;
constexpr std::int64_t kLengthMax = 1 << 26;
constexpr std::int64_t kTokensMax = 1'000'000'000'000'000;

// Its runs are older than the body's keys, and its body is always the same.
constexpr std::string_view kBodyless = "gpt2";

struct Preset {
  std::string_view name;
  std::int64_t n_layer, n_head, d_model;
};
constexpr std::array<Preset, 5> kPresets = {{
    {"micro", 3, 4, 96},
    {"tiny", 6, 8, 512},
    {"small", 12, 12, 768},
    {"medium", 24, 16, 1024},
    {"large", 36, 20, 1280},
}};

Status Invalid(std::string_view message) { return Status(Code::kInvalidArgument, message); }

std::string DidYouMean(std::string_view word, const std::vector<std::string>& candidates) {
  const std::string nearest = Nearest(word, candidates);
  return nearest.empty() ? "" : Str("; did you mean \"", nearest, "\"?");
}

Status OneOf(std::string_view path, const std::string& value,
             const std::vector<std::string>& choices) {
  if (std::find(choices.begin(), choices.end(), value) != choices.end()) return Status();
  return Invalid(Str(path, ": expected one of ", Join(choices, ", "), ", found \"", value, "\"",
                     DidYouMean(value, choices)));
}

template <typename Number>
Status InRange(std::string_view path, Number value, Number min, Number max) {
  if (value >= min && value <= max) return Status();  // false for NaN
  return Invalid(Str(path, ": expected ", min, " to ", max, ", found ", value));
}

Status RefuseUnknownKeys(const Json& object, std::string_view path,
                         const std::vector<std::string>& known) {
  if (!object.is_object()) return Invalid(Str(path, ": expected a map"));
  for (const auto& [key, value] : object.items()) {
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    return Invalid(Str(path, ".", key, ": unknown key", DidYouMean(key, known)));
  }
  return Status();
}

// The method's own demands, and the table's.
Status CheckPosition(const ModelConfig& model) {
  ASSIGN_OR_RETURN(const PositionConfig complete, ResolvePosition(model.position.ToJson()));
  if (complete.params != model.position.params) {
    return Invalid(Str("position: method \"", model.position.method,
                       "\" lacks parameters; expected ", CanonicalJson(complete.params), ", found ",
                       CanonicalJson(model.position.params)));
  }
  ASSIGN_OR_RETURN(const PositionMethod* const method, FindPositionMethod(model.position.method));
  RETURN_IF_ERROR(method->terms(complete.params, model.attention_shape()).status());
  if (method->has_position_table) {
    return InRange<std::int64_t>("n_positions", model.n_positions, 1, kLengthMax);
  }
  if (model.n_positions != 0) {
    return Invalid(Str("n_positions: expected 0, since method \"", model.position.method,
                       "\" has no position table, found ", model.n_positions));
  }
  return Status();
}

// What may differ between bodies of one architecture; the rest is said by its name.
Json BodyJson(const ModelConfig& model) {
  return {{"n_kv_head", model.n_kv_head()},  {"head_dim", model.head_dim()},
          {"block", model.body.block},       {"qkv_bias", model.body.qkv_bias},
          {"mlp_bias", model.body.mlp_bias}, {"sliding_window", model.body.window}};
}

// For a model that has its architecture, n_layer, n_head and d_model.
Status BodyFromJson(const Json& json, ModelConfig& model) {
  ASSIGN_OR_RETURN(const std::int64_t head_dim, GetInt(json, "head_dim", "model"));
  model.body.head_dim = head_dim;
  RETURN_IF_ERROR(model.CheckShape());
  RETURN_IF_ERROR(model.SetArchitecture(model.architecture));
  BodyConfig& body = model.body;
  body.head_dim = head_dim;
  ASSIGN_OR_RETURN(body.n_kv_head, GetInt(json, "n_kv_head", "model"));
  ASSIGN_OR_RETURN(body.block, GetString(json, "block", "model"));
  ASSIGN_OR_RETURN(const bool qkv_bias, GetBool(json, "qkv_bias", "model"));
  model.SetAttentionBias(qkv_bias);
  ASSIGN_OR_RETURN(body.mlp_bias, GetBool(json, "mlp_bias", "model"));
  ASSIGN_OR_RETURN(body.window, GetInt(json, "sliding_window", "model"));
  return Status();
}

// A part of the body that is the architecture's own.
template <typename Value>
Status Own(std::string_view path, const Value& found, const Value& own,
           const Architecture& architecture) {
  if (found == own) return Status();
  return Invalid(Str(path, ": architecture \"", architecture.name, "\" has ", Json(own).dump(),
                     ", found ", Json(found).dump(),
                     "; choose another architecture, or leave it out"));
}

Status CheckBody(const ModelConfig& model, const Architecture& architecture) {
  const BodyConfig& body = model.body;
  const BodyFreedom& free = architecture.freedom;
  ModelConfig reference = model;
  architecture.set_body(reference);
  const BodyConfig& own = reference.body;
  RETURN_IF_ERROR(Own("model.norm", body.norm, own.norm, architecture));
  RETURN_IF_ERROR(Own("model.mlp", body.mlp, own.mlp, architecture));
  if (!free.parallel || body.block != "sequential") {
    RETURN_IF_ERROR(Own("model.block", body.block, own.block, architecture));
  }
  RETURN_IF_ERROR(InRange<std::int64_t>("model.n_kv_head", model.n_kv_head(), 1, model.n_head));
  if (model.n_head % model.n_kv_head() != 0) {
    return Invalid(Str("model.n_kv_head: ", model.n_kv_head(), " does not divide model.n_head ",
                       model.n_head, "; choose a divisor"));
  }
  if (!free.n_kv_head) {
    RETURN_IF_ERROR(Own("model.n_kv_head", model.n_kv_head(), model.n_head, architecture));
  }
  if (!free.head_dim) {
    RETURN_IF_ERROR(
        Own("model.head_dim", model.head_dim(), model.d_model / model.n_head, architecture));
  }
  // Where they may differ, the two are one switch.
  RETURN_IF_ERROR(Own("model.out_bias", body.out_bias,
                      free.attention_bias ? body.qkv_bias : own.out_bias, architecture));
  if (!free.attention_bias) {
    RETURN_IF_ERROR(Own("model.qkv_bias", body.qkv_bias, own.qkv_bias, architecture));
  }
  if (!free.mlp_bias) {
    RETURN_IF_ERROR(Own("model.mlp_bias", body.mlp_bias, own.mlp_bias, architecture));
  }
  RETURN_IF_ERROR(Own("model.head_bias", body.head_bias, own.head_bias, architecture));
  RETURN_IF_ERROR(
      Own("model.out_projection", body.out_projection, own.out_projection, architecture));
  RETURN_IF_ERROR(Own("model.final_norm", body.final_norm, own.final_norm, architecture));
  RETURN_IF_ERROR(InRange<std::int64_t>("model.sliding_window", body.window, 0, kLengthMax));
  if (!free.window)
    RETURN_IF_ERROR(Own("model.sliding_window", body.window, own.window, architecture));
  if (body.window > 0 && !model.causal) {
    return Invalid(Str("model.sliding_window: ", body.window,
                       " needs model.causal true; set sliding_window to 0"));
  }
  return Status();
}

Result<OptimizerConfig> OptimizerFromJson(const Json& json) {
  constexpr std::string_view kPath = "train.optimizer";
  RETURN_IF_ERROR(RefuseUnknownKeys(
      json, kPath, {"name", "lr", "min_lr", "betas", "eps", "weight_decay", "grad_clip"}));
  OptimizerConfig optimizer;
  ASSIGN_OR_RETURN(optimizer.name, GetString(json, "name", kPath));
  ASSIGN_OR_RETURN(optimizer.lr, GetDouble(json, "lr", kPath));
  ASSIGN_OR_RETURN(optimizer.min_lr, GetDouble(json, "min_lr", kPath));
  ASSIGN_OR_RETURN(const Json betas, GetMember(json, "betas", kPath));
  if (!betas.is_array() || betas.size() != 2 || !betas[0].is_number() || !betas[1].is_number()) {
    return Invalid("train.optimizer.betas: expected a list of two numbers");
  }
  optimizer.beta1 = betas[0].get<double>();
  optimizer.beta2 = betas[1].get<double>();
  ASSIGN_OR_RETURN(optimizer.eps, GetDouble(json, "eps", kPath));
  ASSIGN_OR_RETURN(optimizer.weight_decay, GetDouble(json, "weight_decay", kPath));
  ASSIGN_OR_RETURN(optimizer.grad_clip, GetDouble(json, "grad_clip", kPath));
  return optimizer;
}

Result<MaskConfig> MaskFromJson(const Json& json) {
  constexpr std::string_view kPath = "train.mask";
  RETURN_IF_ERROR(RefuseUnknownKeys(
      json, kPath, {"probability", "mask_replace_prob", "random_replace_prob", "token"}));
  MaskConfig mask;
  ASSIGN_OR_RETURN(mask.probability, GetDouble(json, "probability", kPath));
  ASSIGN_OR_RETURN(mask.mask_replace_prob, GetDouble(json, "mask_replace_prob", kPath));
  ASSIGN_OR_RETURN(mask.random_replace_prob, GetDouble(json, "random_replace_prob", kPath));
  ASSIGN_OR_RETURN(mask.token, GetInt(json, "token", kPath));
  return mask;
}

Status CheckMask(const MaskConfig& mask) {
  RETURN_IF_ERROR(InRange("train.mask.probability", mask.probability, 1e-6, 1.0));
  RETURN_IF_ERROR(InRange("train.mask.mask_replace_prob", mask.mask_replace_prob, 0.0, 1.0));
  RETURN_IF_ERROR(InRange("train.mask.random_replace_prob", mask.random_replace_prob, 0.0, 1.0));
  // 0.8 + 0.2 may pass 1 by a rounding.
  if (mask.mask_replace_prob + mask.random_replace_prob > 1.0 + 1e-12) {
    return Invalid(Str("train.mask.random_replace_prob: ", mask.random_replace_prob,
                       " and mask_replace_prob ", mask.mask_replace_prob,
                       " add up to more than 1; what they leave of 1 is kept as it is"));
  }
  return InRange<std::int64_t>("train.mask.token", mask.token, 0, kVocabMax - 1);
}

Status CheckOptimizer(const OptimizerConfig& optimizer) {
  RETURN_IF_ERROR(OneOf("train.optimizer.name", optimizer.name, {"adamw"}));
  RETURN_IF_ERROR(InRange("train.optimizer.lr", optimizer.lr, 1e-12, 10.0));
  RETURN_IF_ERROR(InRange("train.optimizer.min_lr", optimizer.min_lr, 0.0, optimizer.lr));
  RETURN_IF_ERROR(InRange("train.optimizer.betas[0]", optimizer.beta1, 0.0, 0.9999999));
  RETURN_IF_ERROR(InRange("train.optimizer.betas[1]", optimizer.beta2, 0.0, 0.9999999));
  RETURN_IF_ERROR(InRange("train.optimizer.eps", optimizer.eps, 1e-30, 1.0));
  RETURN_IF_ERROR(InRange("train.optimizer.weight_decay", optimizer.weight_decay, 0.0, 100.0));
  return InRange("train.optimizer.grad_clip", optimizer.grad_clip, 0.0, 1e9);
}

}  // namespace

Json PositionConfig::ToJson() const {
  Json json = params;
  json["method"] = method;
  return json;
}

std::int64_t ModelConfig::EvenHeadDim() const {
  return n_head > 0 && d_model % n_head == 0 ? d_model / n_head : 0;
}

AttentionShape ModelConfig::attention_shape() const {
  return {.n_head = n_head,
          .head_dim = head_dim(),
          .d_model = d_model,
          .causal = causal,
          .n_kv_head = n_kv_head(),
          .window = body.window};
}

Json ModelConfig::ToJson() const {
  Json json = {{"architecture", architecture},
               {"n_layer", n_layer},
               {"n_head", n_head},
               {"d_model", d_model},
               {"d_ff", d_ff},
               {"vocab_size", vocab_size},
               {"activation", activation},
               {"layer_norm_epsilon", layer_norm_epsilon},
               {"tie_embeddings", tie_embeddings},
               {"causal", causal},
               {"init_std", init_std}};
  if (architecture != kBodyless) json.update(BodyJson(*this));
  return json;
}

Result<ModelConfig> ModelConfig::FromJson(const Json& model, const Json& position) {
  std::vector<std::string> keys = {
      "architecture",   "n_layer",    "n_head",     "d_model",
      "d_ff",           "vocab_size", "activation", "layer_norm_epsilon",
      "tie_embeddings", "causal",     "init_std"};
  const bool has_body =
      model.is_object() && model.contains("architecture") && model["architecture"] != kBodyless;
  if (has_body) {
    for (const char* key :
         {"n_kv_head", "head_dim", "block", "qkv_bias", "mlp_bias", "sliding_window"}) {
      keys.emplace_back(key);
    }
  }
  RETURN_IF_ERROR(RefuseUnknownKeys(model, "model", keys));
  ModelConfig config;
  ASSIGN_OR_RETURN(config.architecture, GetString(model, "architecture", "model"));
  ASSIGN_OR_RETURN(config.n_layer, GetInt(model, "n_layer", "model"));
  ASSIGN_OR_RETURN(config.n_head, GetInt(model, "n_head", "model"));
  ASSIGN_OR_RETURN(config.d_model, GetInt(model, "d_model", "model"));
  if (has_body) RETURN_IF_ERROR(BodyFromJson(model, config));
  ASSIGN_OR_RETURN(config.d_ff, GetInt(model, "d_ff", "model"));
  ASSIGN_OR_RETURN(config.vocab_size, GetInt(model, "vocab_size", "model"));
  ASSIGN_OR_RETURN(config.activation, GetString(model, "activation", "model"));
  ASSIGN_OR_RETURN(config.layer_norm_epsilon, GetDouble(model, "layer_norm_epsilon", "model"));
  ASSIGN_OR_RETURN(config.tie_embeddings, GetBool(model, "tie_embeddings", "model"));
  ASSIGN_OR_RETURN(config.causal, GetBool(model, "causal", "model"));
  ASSIGN_OR_RETURN(config.init_std, GetDouble(model, "init_std", "model"));
  ASSIGN_OR_RETURN(config.position, ResolvePosition(position));
  return config;
}

Result<ModelConfig> ModelConfig::Preset(std::string_view size) {
  for (const auto& preset : kPresets) {
    if (preset.name != size) continue;
    ModelConfig config;
    config.n_layer = preset.n_layer;
    config.n_head = preset.n_head;
    config.d_model = preset.d_model;
    config.d_ff = 4 * preset.d_model;
    return config;
  }
  return OneOf("model.size", std::string(size), PresetNames());
}

std::vector<std::string> ModelConfig::PresetNames() {
  std::vector<std::string> names;
  names.reserve(std::size(kPresets));
  for (const auto& preset : kPresets) names.emplace_back(preset.name);
  return names;
}

Status ModelConfig::SetArchitecture(const std::string& name) {
  ASSIGN_OR_RETURN(const Architecture* const found, FindArchitecture(name));
  architecture = name;
  found->set_body(*this);
  return Status();
}

void ModelConfig::SetAttentionBias(bool qkv_bias) {
  body.qkv_bias = qkv_bias;
  const auto found = FindArchitecture(architecture);
  if (found.ok() && (*found)->freedom.attention_bias) body.out_bias = qkv_bias;
}

Status ModelConfig::CheckShape() const {
  RETURN_IF_ERROR(InRange<std::int64_t>("model.n_layer", n_layer, 1, kLayersMax));
  RETURN_IF_ERROR(InRange<std::int64_t>("model.n_head", n_head, 1, kHeadsMax));
  RETURN_IF_ERROR(InRange<std::int64_t>("model.d_model", d_model, 1, kWidthMax));
  if (body.head_dim != 0) {
    return InRange<std::int64_t>("model.head_dim", body.head_dim, 1, kWidthMax);
  }
  if (d_model % n_head == 0) return Status();
  return Invalid(Str("model.d_model: ", d_model, " is not divisible by model.n_head ", n_head,
                     "; choose a multiple"));
}

Status ModelConfig::Check() const {
  ASSIGN_OR_RETURN(const Architecture* const found, FindArchitecture(architecture));
  RETURN_IF_ERROR(CheckShape());
  RETURN_IF_ERROR(InRange<std::int64_t>("model.d_ff", d_ff, 1, 4 * kWidthMax));
  RETURN_IF_ERROR(InRange<std::int64_t>("model.vocab_size", vocab_size, 2, kVocabMax));
  RETURN_IF_ERROR(CheckBody(*this, *found));
  RETURN_IF_ERROR(OneOf("model.activation", activation,
                        {"gelu_new", "gelu", "relu", "silu", "tanh", "quick_gelu"}));
  RETURN_IF_ERROR(InRange("model.layer_norm_epsilon", layer_norm_epsilon, 1e-12, 1.0));
  RETURN_IF_ERROR(InRange("model.init_std", init_std, 1e-6, 10.0));
  return CheckPosition(*this);
}

std::int64_t ModelConfig::ParameterCount() const {
  const std::int64_t q = n_head * head_dim(), kv = 2 * n_kv_head() * head_dim();
  const std::int64_t attention = d_model * ((body.out_projection ? 2 : 1) * q + kv) +
                                 (body.qkv_bias ? q + kv : 0) + (body.out_bias ? d_model : 0);
  const std::int64_t n_up = body.mlp == "gated" ? 2 : 1;
  const std::int64_t mlp =
      (n_up + 1) * d_model * d_ff + (body.mlp_bias ? n_up * d_ff + d_model : 0);
  const std::int64_t norm = (body.norm == "rms_norm" ? 1 : 2) * d_model;
  const std::int64_t n_norm = body.block == "parallel_shared_norm" ? 1 : 2;
  std::int64_t learned = 0;  // by the position method, in one layer or for all
  const auto method = FindPositionMethod(position.method);
  LR_CHECK(method.ok());
  const auto terms = (*method)->terms(position.params, attention_shape());
  LR_CHECK(terms.ok());
  for (const LearnedTensor& tensor : terms->learned) {
    std::int64_t elements = 1;
    for (const std::int64_t n : tensor.shape) elements *= n;
    learned += elements;
  }
  const std::int64_t embedding =
      vocab_size * d_model * (tie_embeddings ? 1 : 2) + (body.head_bias ? vocab_size : 0);
  return embedding + n_positions * d_model + (body.final_norm ? norm : 0) +
         n_layer * (attention + mlp + n_norm * norm) +
         (terms->share_layers ? 1 : n_layer) * learned;
}

Json TrainConfig::ToJson() const {
  Json json = {{"train_length", train_length},
               {"tokens", tokens},
               {"batch_tokens", batch_tokens},
               {"precision", precision},
               {"order", order},
               {"optimizer",
                {{"name", optimizer.name},
                 {"lr", optimizer.lr},
                 {"min_lr", optimizer.min_lr},
                 {"betas", Json::array({optimizer.beta1, optimizer.beta2})},
                 {"eps", optimizer.eps},
                 {"weight_decay", optimizer.weight_decay},
                 {"grad_clip", optimizer.grad_clip}}},
               {"schedule", {{"name", schedule.name}, {"warmup_tokens", schedule.warmup_tokens}}},
               {"validate", {{"every", validate.every}, {"tokens", validate.tokens}}}};
  if (is_masked()) {
    json["objective"] = objective;
    json["mask"] = {{"probability", mask.probability},
                    {"mask_replace_prob", mask.mask_replace_prob},
                    {"random_replace_prob", mask.random_replace_prob},
                    {"token", mask.token}};
  }
  return json;
}

Result<TrainConfig> TrainConfig::FromJson(const Json& train) {
  RETURN_IF_ERROR(RefuseUnknownKeys(train, "train",
                                    {"train_length", "tokens", "batch_tokens", "precision", "order",
                                     "optimizer", "schedule", "validate", "objective", "mask"}));
  TrainConfig config;
  if (train.contains("objective") || train.contains("mask")) {
    ASSIGN_OR_RETURN(config.objective, GetString(train, "objective", "train"));
    RETURN_IF_ERROR(OneOf("train.objective", config.objective, {"masked_lm"}));
    ASSIGN_OR_RETURN(const Json mask, GetMember(train, "mask", "train"));
    ASSIGN_OR_RETURN(config.mask, MaskFromJson(mask));
  }
  ASSIGN_OR_RETURN(config.train_length, GetInt(train, "train_length", "train"));
  ASSIGN_OR_RETURN(config.tokens, GetInt(train, "tokens", "train"));
  ASSIGN_OR_RETURN(config.batch_tokens, GetInt(train, "batch_tokens", "train"));
  ASSIGN_OR_RETURN(config.precision, GetString(train, "precision", "train"));
  ASSIGN_OR_RETURN(config.order, GetString(train, "order", "train"));
  ASSIGN_OR_RETURN(const Json optimizer, GetMember(train, "optimizer", "train"));
  ASSIGN_OR_RETURN(config.optimizer, OptimizerFromJson(optimizer));

  ASSIGN_OR_RETURN(const Json schedule, GetMember(train, "schedule", "train"));
  RETURN_IF_ERROR(RefuseUnknownKeys(schedule, "train.schedule", {"name", "warmup_tokens"}));
  ASSIGN_OR_RETURN(config.schedule.name, GetString(schedule, "name", "train.schedule"));
  ASSIGN_OR_RETURN(config.schedule.warmup_tokens,
                   GetInt(schedule, "warmup_tokens", "train.schedule"));

  ASSIGN_OR_RETURN(const Json validate, GetMember(train, "validate", "train"));
  RETURN_IF_ERROR(RefuseUnknownKeys(validate, "train.validate", {"every", "tokens"}));
  ASSIGN_OR_RETURN(config.validate.every, GetInt(validate, "every", "train.validate"));
  ASSIGN_OR_RETURN(config.validate.tokens, GetInt(validate, "tokens", "train.validate"));
  return config;
}

Status TrainConfig::Check() const {
  RETURN_IF_ERROR(InRange<std::int64_t>("train.train_length", train_length, 1, kLengthMax));
  RETURN_IF_ERROR(InRange<std::int64_t>("train.tokens", tokens, 1, kTokensMax));
  RETURN_IF_ERROR(InRange<std::int64_t>("train.batch_tokens", batch_tokens, 1, kTokensMax));
  if (batch_tokens % train_length != 0) {
    const std::int64_t below = batch_tokens / train_length * train_length;
    const std::string nearest =
        below == 0 ? Str("is ", train_length) : Str("are ", below, " and ", below + train_length);
    return Invalid(Str("train.batch_tokens: ", batch_tokens, " is not a multiple of train_length ",
                       train_length, "; the nearest ", nearest));
  }
  RETURN_IF_ERROR(OneOf("train.precision", precision, {"fp32", "bf16"}));
  RETURN_IF_ERROR(OneOf("train.order", order, {"random", "shuffled", "stream"}));
  RETURN_IF_ERROR(CheckOptimizer(optimizer));
  RETURN_IF_ERROR(OneOf("train.schedule.name", schedule.name, {"cosine", "constant"}));
  RETURN_IF_ERROR(
      InRange<std::int64_t>("train.schedule.warmup_tokens", schedule.warmup_tokens, 0, tokens));
  RETURN_IF_ERROR(InRange<std::int64_t>("train.validate.every", validate.every, 0, kTokensMax));
  RETURN_IF_ERROR(InRange<std::int64_t>("train.validate.tokens", validate.tokens, 0, kTokensMax));
  if ((validate.every == 0) != (validate.tokens == 0)) {
    return Invalid(Str("train.validate: every ", validate.every, " and tokens ", validate.tokens,
                       "; expected both, or neither"));
  }
  RETURN_IF_ERROR(OneOf("train.objective", objective, {"causal_lm", "masked_lm"}));
  return is_masked() ? CheckMask(mask) : Status();
}

Status CheckObjective(const ModelConfig& model, const TrainConfig& train) {
  if (!train.is_masked()) {
    if (model.causal) return Status();
    return Invalid(
        "train.objective: causal_lm needs model.causal true: without the causal mask a token sees "
        "the "
        "next one, which it is to predict; choose masked_lm");
  }
  if (model.causal) {
    return Invalid(
        "train.objective: masked_lm needs model.causal false: a hidden token is guessed from both "
        "sides; set it, or choose causal_lm");
  }
  if (train.mask.token < model.vocab_size) return Status();
  return Invalid(Str("train.mask.token: expected one of the ids 0 to ", model.vocab_size - 1,
                     " of model.vocab_size ", model.vocab_size, ", found ", train.mask.token,
                     "; leave out vocab_size to have a row for it"));
}

}  // namespace longrun
