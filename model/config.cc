#include "model/config.h"

#include <algorithm>
#include <array>
#include <limits>

#include "base/str.h"
#include "model/architecture/architecture.h"
#include "model/config_errors.h"
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

// False: it is no object, and nothing can be read of it.
bool RefuseUnknownKeys(const Json& object, std::string_view path,
                       const std::vector<std::string>& known, ErrorList& errors) {
  if (!object.is_object()) return errors.Add(Invalid(Str(path, ": expected a map")));
  for (const auto& [key, value] : object.items()) {
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    errors.Add(Invalid(Str(path, ".", key, ": unknown key", DidYouMean(key, known))));
  }
  return true;
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

// False: there were errors.
bool CheckShapeOf(const ModelConfig& model, ErrorList& errors) {
  ErrorList own;
  own.Add(InRange<std::int64_t>("model.n_layer", model.n_layer, 1, kLayersMax));
  const bool has_heads = own.Add(InRange<std::int64_t>("model.n_head", model.n_head, 1, kHeadsMax));
  const bool has_width =
      own.Add(InRange<std::int64_t>("model.d_model", model.d_model, 1, kWidthMax));
  if (model.body.head_dim != 0) {
    own.Add(InRange<std::int64_t>("model.head_dim", model.body.head_dim, 1, kWidthMax));
  } else if (has_heads && has_width && model.d_model % model.n_head != 0) {
    own.Add(Invalid(Str("model.d_model: ", model.d_model, " is not divisible by model.n_head ",
                        model.n_head, "; choose a multiple")));
  }
  return errors.AddAll(own);
}

// For a model that has its architecture, n_layer, n_head and d_model.
void ReadBody(const Json& json, ModelConfig& model, ErrorList& errors) {
  std::int64_t head_dim = 0;
  if (!errors.Take(GetInt(json, "head_dim", "model"), head_dim)) return;
  model.body.head_dim = head_dim;
  if (!CheckShapeOf(model, errors) || !errors.Add(model.SetArchitecture(model.architecture)))
    return;
  BodyConfig& body = model.body;
  body.head_dim = head_dim;
  errors.Take(GetInt(json, "n_kv_head", "model"), body.n_kv_head);
  errors.Take(GetString(json, "block", "model"), body.block);
  if (bool qkv_bias = false; errors.Take(GetBool(json, "qkv_bias", "model"), qkv_bias)) {
    model.SetAttentionBias(qkv_bias);
  }
  errors.Take(GetBool(json, "mlp_bias", "model"), body.mlp_bias);
  errors.Take(GetInt(json, "sliding_window", "model"), body.window);
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

void CheckBody(const ModelConfig& model, const Architecture& architecture, ErrorList& errors) {
  const BodyConfig& body = model.body;
  const BodyFreedom& free = architecture.freedom;
  ModelConfig reference = model;
  architecture.set_body(reference);
  const BodyConfig& own = reference.body;
  errors.Add(Own("model.norm", body.norm, own.norm, architecture));
  errors.Add(Own("model.mlp", body.mlp, own.mlp, architecture));
  if (!free.parallel || body.block != "sequential") {
    errors.Add(Own("model.block", body.block, own.block, architecture));
  }
  const bool has_kv_heads =
      errors.Add(InRange<std::int64_t>("model.n_kv_head", model.n_kv_head(), 1, model.n_head));
  if (has_kv_heads && model.n_head % model.n_kv_head() != 0) {
    errors.Add(Invalid(Str("model.n_kv_head: ", model.n_kv_head(), " does not divide model.n_head ",
                           model.n_head, "; choose a divisor")));
  } else if (has_kv_heads && !free.n_kv_head) {
    errors.Add(Own("model.n_kv_head", model.n_kv_head(), model.n_head, architecture));
  }
  if (!free.head_dim) {
    errors.Add(Own("model.head_dim", model.head_dim(), model.d_model / model.n_head, architecture));
  }
  // Where they may differ, the two are one switch.
  errors.Add(Own("model.out_bias", body.out_bias,
                 free.attention_bias ? body.qkv_bias : own.out_bias, architecture));
  if (!free.attention_bias) {
    errors.Add(Own("model.qkv_bias", body.qkv_bias, own.qkv_bias, architecture));
  }
  if (!free.mlp_bias) {
    errors.Add(Own("model.mlp_bias", body.mlp_bias, own.mlp_bias, architecture));
  }
  errors.Add(Own("model.head_bias", body.head_bias, own.head_bias, architecture));
  errors.Add(Own("model.out_projection", body.out_projection, own.out_projection, architecture));
  errors.Add(Own("model.final_norm", body.final_norm, own.final_norm, architecture));
  errors.Add(InRange<std::int64_t>("model.sliding_window", body.window, 0, kLengthMax));
  if (!free.window) {
    errors.Add(Own("model.sliding_window", body.window, own.window, architecture));
  }
  if (body.window > 0 && !model.causal) {
    errors.Add(Invalid(Str("model.sliding_window: ", body.window,
                           " needs model.causal true; set sliding_window to 0")));
  }
}

// A number that cannot be read passes no check, and what rests on it is not told.
void TakeDouble(const Json& json, std::string_view key, std::string_view path, double& out,
                ErrorList& errors) {
  if (errors.Take(GetDouble(json, key, path), out)) return;
  out = std::numeric_limits<double>::quiet_NaN();
}

OptimizerConfig ReadOptimizer(const Json& json, ErrorList& errors) {
  constexpr std::string_view kPath = "train.optimizer";
  OptimizerConfig optimizer;
  if (!RefuseUnknownKeys(json, kPath,
                         {"name", "lr", "min_lr", "betas", "eps", "weight_decay", "grad_clip"},
                         errors)) {
    return optimizer;
  }
  errors.Take(GetString(json, "name", kPath), optimizer.name);
  TakeDouble(json, "lr", kPath, optimizer.lr, errors);
  TakeDouble(json, "min_lr", kPath, optimizer.min_lr, errors);
  Json betas;
  if (errors.Take(GetMember(json, "betas", kPath), betas)) {
    if (betas.is_array() && betas.size() == 2 && betas[0].is_number() && betas[1].is_number()) {
      optimizer.beta1 = betas[0].get<double>();
      optimizer.beta2 = betas[1].get<double>();
    } else {
      errors.Add(Invalid("train.optimizer.betas: expected a list of two numbers"));
    }
  }
  TakeDouble(json, "eps", kPath, optimizer.eps, errors);
  TakeDouble(json, "weight_decay", kPath, optimizer.weight_decay, errors);
  TakeDouble(json, "grad_clip", kPath, optimizer.grad_clip, errors);
  return optimizer;
}

MaskConfig ReadMask(const Json& json, ErrorList& errors) {
  constexpr std::string_view kPath = "train.mask";
  MaskConfig mask;
  if (!RefuseUnknownKeys(json, kPath,
                         {"probability", "mask_replace_prob", "random_replace_prob", "token"},
                         errors)) {
    return mask;
  }
  TakeDouble(json, "probability", kPath, mask.probability, errors);
  TakeDouble(json, "mask_replace_prob", kPath, mask.mask_replace_prob, errors);
  TakeDouble(json, "random_replace_prob", kPath, mask.random_replace_prob, errors);
  errors.Take(GetInt(json, "token", kPath), mask.token);
  return mask;
}

void CheckMask(const MaskConfig& mask, ErrorList& errors) {
  errors.Add(InRange("train.mask.probability", mask.probability, 1e-6, 1.0));
  errors.Add(InRange("train.mask.mask_replace_prob", mask.mask_replace_prob, 0.0, 1.0));
  errors.Add(InRange("train.mask.random_replace_prob", mask.random_replace_prob, 0.0, 1.0));
  // 0.8 + 0.2 may pass 1 by a rounding.
  if (mask.mask_replace_prob <= 1.0 && mask.random_replace_prob <= 1.0 &&
      mask.mask_replace_prob + mask.random_replace_prob > 1.0 + 1e-12) {
    errors.Add(Invalid(Str("train.mask.random_replace_prob: ", mask.random_replace_prob,
                           " and mask_replace_prob ", mask.mask_replace_prob,
                           " add up to more than 1; what they leave of 1 is kept as it is")));
  }
  errors.Add(InRange<std::int64_t>("train.mask.token", mask.token, 0, kVocabMax - 1));
}

void CheckOptimizer(const OptimizerConfig& optimizer, ErrorList& errors) {
  errors.Add(OneOf("train.optimizer.name", optimizer.name, {"adamw"}));
  if (errors.Add(InRange("train.optimizer.lr", optimizer.lr, 1e-12, 10.0))) {
    errors.Add(InRange("train.optimizer.min_lr", optimizer.min_lr, 0.0, optimizer.lr));
  }
  errors.Add(InRange("train.optimizer.betas[0]", optimizer.beta1, 0.0, 0.9999999));
  errors.Add(InRange("train.optimizer.betas[1]", optimizer.beta2, 0.0, 0.9999999));
  errors.Add(InRange("train.optimizer.eps", optimizer.eps, 1e-30, 1.0));
  errors.Add(InRange("train.optimizer.weight_decay", optimizer.weight_decay, 0.0, 100.0));
  errors.Add(InRange("train.optimizer.grad_clip", optimizer.grad_clip, 0.0, 1e9));
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

ModelConfig ReadModel(const Json& model, const Json& position, ErrorList& errors) {
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
  ModelConfig config;
  if (RefuseUnknownKeys(model, "model", keys, errors)) {
    // The body is read by what the architecture makes of the shape.
    bool has_shape = errors.Take(GetString(model, "architecture", "model"), config.architecture);
    has_shape &= errors.Take(GetInt(model, "n_layer", "model"), config.n_layer);
    has_shape &= errors.Take(GetInt(model, "n_head", "model"), config.n_head);
    has_shape &= errors.Take(GetInt(model, "d_model", "model"), config.d_model);
    if (has_body && has_shape) ReadBody(model, config, errors);
    errors.Take(GetInt(model, "d_ff", "model"), config.d_ff);
    errors.Take(GetInt(model, "vocab_size", "model"), config.vocab_size);
    errors.Take(GetString(model, "activation", "model"), config.activation);
    TakeDouble(model, "layer_norm_epsilon", "model", config.layer_norm_epsilon, errors);
    errors.Take(GetBool(model, "tie_embeddings", "model"), config.tie_embeddings);
    errors.Take(GetBool(model, "causal", "model"), config.causal);
    TakeDouble(model, "init_std", "model", config.init_std, errors);
  }
  errors.Take(ResolvePosition(position), config.position);
  return config;
}

Result<ModelConfig> ModelConfig::FromJson(const Json& model, const Json& position) {
  ErrorList errors;
  ModelConfig config = ReadModel(model, position, errors);
  RETURN_IF_ERROR(errors.First());
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
  ErrorList errors;
  CheckShapeOf(*this, errors);
  return errors.First();
}

void CheckModel(const ModelConfig& model, ErrorList& errors) {
  const Architecture* architecture = nullptr;
  const bool is_known = errors.Take(FindArchitecture(model.architecture), architecture);
  const bool has_shape = CheckShapeOf(model, errors);
  errors.Add(InRange<std::int64_t>("model.d_ff", model.d_ff, 1, 4 * kWidthMax));
  errors.Add(InRange<std::int64_t>("model.vocab_size", model.vocab_size, 2, kVocabMax));
  if (is_known && has_shape) CheckBody(model, *architecture, errors);
  errors.Add(OneOf("model.activation", model.activation,
                   {"gelu_new", "gelu", "relu", "silu", "tanh", "quick_gelu"}));
  errors.Add(InRange("model.layer_norm_epsilon", model.layer_norm_epsilon, 1e-12, 1.0));
  errors.Add(InRange("model.init_std", model.init_std, 1e-6, 10.0));
  if (is_known && has_shape) errors.Add(CheckPosition(model));
}

Status ModelConfig::Check() const {
  ErrorList errors;
  CheckModel(*this, errors);
  return errors.First();
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

TrainConfig ReadTrain(const Json& train, ErrorList& errors) {
  TrainConfig config;
  if (!RefuseUnknownKeys(train, "train",
                         {"train_length", "tokens", "batch_tokens", "precision", "order",
                          "optimizer", "schedule", "validate", "objective", "mask"},
                         errors)) {
    return config;
  }
  if (train.contains("objective") || train.contains("mask")) {
    if (errors.Take(GetString(train, "objective", "train"), config.objective)) {
      errors.Add(OneOf("train.objective", config.objective, {"masked_lm"}));
    }
    Json mask;
    if (errors.Take(GetMember(train, "mask", "train"), mask)) config.mask = ReadMask(mask, errors);
  }
  errors.Take(GetInt(train, "train_length", "train"), config.train_length);
  errors.Take(GetInt(train, "tokens", "train"), config.tokens);
  errors.Take(GetInt(train, "batch_tokens", "train"), config.batch_tokens);
  errors.Take(GetString(train, "precision", "train"), config.precision);
  errors.Take(GetString(train, "order", "train"), config.order);
  Json member;
  if (errors.Take(GetMember(train, "optimizer", "train"), member)) {
    config.optimizer = ReadOptimizer(member, errors);
  }
  if (errors.Take(GetMember(train, "schedule", "train"), member) &&
      RefuseUnknownKeys(member, "train.schedule", {"name", "warmup_tokens"}, errors)) {
    errors.Take(GetString(member, "name", "train.schedule"), config.schedule.name);
    errors.Take(GetInt(member, "warmup_tokens", "train.schedule"), config.schedule.warmup_tokens);
  }
  if (errors.Take(GetMember(train, "validate", "train"), member) &&
      RefuseUnknownKeys(member, "train.validate", {"every", "tokens"}, errors)) {
    errors.Take(GetInt(member, "every", "train.validate"), config.validate.every);
    errors.Take(GetInt(member, "tokens", "train.validate"), config.validate.tokens);
  }
  return config;
}

Result<TrainConfig> TrainConfig::FromJson(const Json& train) {
  ErrorList errors;
  TrainConfig config = ReadTrain(train, errors);
  RETURN_IF_ERROR(errors.First());
  return config;
}

void CheckTrain(const TrainConfig& train, ErrorList& errors) {
  const std::int64_t train_length = train.train_length, tokens = train.tokens;
  const std::int64_t batch_tokens = train.batch_tokens;
  const bool has_length =
      errors.Add(InRange<std::int64_t>("train.train_length", train_length, 1, kLengthMax));
  const bool has_tokens = errors.Add(InRange<std::int64_t>("train.tokens", tokens, 1, kTokensMax));
  const bool has_batch =
      errors.Add(InRange<std::int64_t>("train.batch_tokens", batch_tokens, 1, kTokensMax));
  if (has_length && has_batch && batch_tokens % train_length != 0) {
    const std::int64_t below = batch_tokens / train_length * train_length;
    const std::string nearest =
        below == 0 ? Str("is ", train_length) : Str("are ", below, " and ", below + train_length);
    errors.Add(
        Invalid(Str("train.batch_tokens: ", batch_tokens, " is not a multiple of train_length ",
                    train_length, "; the nearest ", nearest)));
  }
  errors.Add(OneOf("train.precision", train.precision, {"fp32", "bf16"}));
  errors.Add(OneOf("train.order", train.order, {"random", "shuffled", "stream"}));
  CheckOptimizer(train.optimizer, errors);
  errors.Add(OneOf("train.schedule.name", train.schedule.name, {"cosine", "constant"}));
  if (has_tokens) {
    errors.Add(InRange<std::int64_t>("train.schedule.warmup_tokens", train.schedule.warmup_tokens,
                                     0, tokens));
  }
  const ValidateConfig& validate = train.validate;
  errors.Add(InRange<std::int64_t>("train.validate.every", validate.every, 0, kTokensMax));
  errors.Add(InRange<std::int64_t>("train.validate.tokens", validate.tokens, 0, kTokensMax));
  if ((validate.every == 0) != (validate.tokens == 0)) {
    errors.Add(Invalid(Str("train.validate: every ", validate.every, " and tokens ",
                           validate.tokens, "; expected both, or neither")));
  }
  errors.Add(OneOf("train.objective", train.objective, {"causal_lm", "masked_lm"}));
  if (train.is_masked()) CheckMask(train.mask, errors);
}

Status TrainConfig::Check() const {
  ErrorList errors;
  CheckTrain(*this, errors);
  return errors.First();
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
