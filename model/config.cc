#include "model/config.h"

#include <algorithm>
#include <array>
#include <span>
#include <utility>

#include "base/str.h"
#include "model/architecture/architecture.h"
#include "model/config_errors.h"
#include "model/field_visitors.h"
#include "model/fields.h"
#include "model/position/method.h"

namespace longrun {
namespace {

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

void AddParamErrors(std::string_view path, std::span<const ParamError> wrong, KeyErrors& errors) {
  for (const ParamError& error : wrong) {
    errors.Add(error.key.empty() ? std::string(path) : Str(path, ".", error.key),
               Status(error.code, ShowErrors(path, std::span(&error, 1))), error.others);
  }
}

// Checks the requirements of the method, and those of its position table.
void CheckPosition(const ModelConfig& model, KeyErrors& errors) {
  const Json given = model.position.ToJson();
  if (!CheckGivenPosition(given, errors)) return;
  const PositionConfig complete = *ResolvePosition(given);
  if (complete.params != model.position.params) {
    errors.Add("position",
               Invalid(Str("position: method \"", model.position.method,
                           "\" lacks parameters; expected ", CanonicalJson(complete.params),
                           ", found ", CanonicalJson(model.position.params))));
    return;
  }
  const PositionMethod& method = **FindPositionMethod(model.position.method);
  const ParamResult<TermSpec> terms = method.terms(complete.params, model.attention_shape());
  if (!terms.ok()) {
    AddParamErrors("position", std::span(&terms.error(), 1), errors);
  } else if (method.has_position_table) {
    errors.Add("n_positions",
               InRange<std::int64_t>("n_positions", model.n_positions, 1, kLengthMax));
  } else if (model.n_positions != 0) {
    errors.Add("n_positions",
               Invalid(Str("n_positions: expected 0, since method \"", model.position.method,
                           "\" has no position table, found ", model.n_positions)));
  }
}

// Vectors of d_model that a norm learns.
std::int64_t VectorsOf(NormKind norm) {
  switch (norm) {
    case NormKind::kLayerNorm:
      return 2;
    case NormKind::kRmsNorm:
      return 1;
  }
  LR_CHECK(false);
}

// Products from d_model to d_ff.
std::int64_t UpProductsOf(MlpKind mlp) {
  switch (mlp) {
    case MlpKind::kPlain:
      return 1;
    case MlpKind::kGated:
      return 2;
  }
  LR_CHECK(false);
}

// Norms in a block.
std::int64_t NormsOf(BlockKind block) {
  switch (block) {
    case BlockKind::kSequential:
    case BlockKind::kParallel:
      return 2;
    case BlockKind::kParallelSharedNorm:
      return 1;
  }
  LR_CHECK(false);
}

// Whether the JSON has body settings. That of the bodyless architecture lists none.
bool HasBody(const ModelConfig& model) { return model.architecture != kBodyless; }

// Returns false if there were errors.
bool CheckShapeOf(const ModelConfig& model, KeyErrors& errors) {
  KeyErrors own;
  FieldChecker checker("model", own, FieldChecker::Part::kShape);
  Fields(model, checker);
  const bool may_divide =
      model.body.head_dim == 0 && checker.AreRight({"model.n_head", "model.d_model"});
  if (may_divide && model.d_model % model.n_head != 0) {
    // Rotation needs heads of an even number of channels.
    const std::int64_t step = 2 * model.n_head;
    const std::int64_t near =
        std::clamp((model.d_model + model.n_head) / step * step, step, kWidthMax / step * step);
    own.Add("model.d_model",
            Invalid(Str("model.d_model: ", model.d_model, " is not divisible by model.n_head ",
                        model.n_head, "; choose a multiple of ", model.n_head, ", such as ", near)),
            {"model.n_head"});
  }
  return errors.AddAll(own);
}

// Checks a part of the body that the architecture fixes.
template <typename Value>
Status Own(std::string_view path, const Value& found, const Value& own,
           const Architecture& architecture) {
  if (found == own) return Status();
  return Invalid(Str(path, ": architecture \"", architecture.name, "\" has ", Json(own).dump(),
                     ", found ", Json(found).dump(),
                     "; choose another architecture, or leave this key out"));
}

void CheckBody(const ModelConfig& model, const Architecture& architecture, KeyErrors& errors) {
  const BodyConfig& body = model.body;
  const BodyFreedom& free = architecture.freedom;
  ModelConfig reference = model;
  architecture.set_body(reference);
  const BodyConfig& own = reference.body;
  const auto check = [&](std::string_view key, const auto& found, const auto& wanted) {
    errors.Add(key, Own(key, found, wanted, architecture));
  };
  check("model.norm", body.norm, own.norm);
  check("model.mlp", body.mlp, own.mlp);
  if (!free.parallel || body.block != BlockKind::kSequential) {
    check("model.block", body.block, own.block);
  }
  const bool has_kv_heads =
      errors.Add("model.n_kv_head",
                 InRange<std::int64_t>("model.n_kv_head", model.n_kv_head(), 1, model.n_head));
  if (has_kv_heads && model.n_head % model.n_kv_head() != 0) {
    errors.Add("model.n_kv_head",
               Invalid(Str("model.n_kv_head: ", model.n_kv_head(), " does not divide model.n_head ",
                           model.n_head, "; choose a divisor")),
               {"model.n_head"});
  } else if (has_kv_heads && !free.n_kv_head) {
    check("model.n_kv_head", model.n_kv_head(), model.n_head);
  }
  if (!free.head_dim) check("model.head_dim", model.head_dim(), model.d_model / model.n_head);
  // If they are not fixed, both biases are one setting.
  check("model.out_bias", body.out_bias, free.attention_bias ? body.qkv_bias : own.out_bias);
  if (!free.attention_bias) check("model.qkv_bias", body.qkv_bias, own.qkv_bias);
  if (!free.mlp_bias) check("model.mlp_bias", body.mlp_bias, own.mlp_bias);
  check("model.head_bias", body.head_bias, own.head_bias);
  check("model.out_projection", body.out_projection, own.out_projection);
  check("model.final_norm", body.final_norm, own.final_norm);
  if (!free.window) check("model.sliding_window", body.window, own.window);
  if (body.window > 0 && !model.causal) {
    errors.Add("model.sliding_window",
               Invalid(Str("model.sliding_window: ", body.window,
                           " needs model.causal: true; set sliding_window to 0")),
               {"model.causal"});
  }
}

}  // namespace

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
  Json json;
  FieldWriter writer(json, HasBody(*this));
  Fields(*this, writer);
  return json;
}

ModelConfig ReadModel(const Json& model, const Json& position, KeyErrors& errors) {
  const bool has_body =
      model.is_object() && model.contains("architecture") && model["architecture"] != kBodyless;
  ModelConfig config;
  if (RefuseUnknownFields<ModelConfig>(model, "model", has_body, errors)) {
    // The shape is read first: with it, the architecture determines the body's defaults.
    KeyErrors shape;
    FieldReader shape_reader(model, "model", shape, FieldReader::Part::kShape, has_body);
    Fields(config, shape_reader);
    bool with_body = errors.AddAll(shape) && has_body && CheckShapeOf(config, errors);
    if (with_body) {
      const std::int64_t head_dim = config.body.head_dim;
      with_body = errors.Add("model.architecture", config.SetArchitecture(config.architecture));
      config.body.head_dim = head_dim;
    }
    FieldReader reader(model, "model", errors, FieldReader::Part::kButShape, with_body);
    Fields(config, reader);
    if (with_body) config.SetAttentionBias(config.body.qkv_bias);
  }
  // A wrong position becomes "none" here, so that it is reported only once.
  const bool is_position = CheckGivenPosition(position, errors);
  config.position = *ResolvePosition(is_position ? position : Json("none"));
  return config;
}

bool CheckGivenPosition(const Json& given, KeyErrors& errors) {
  const std::vector<ParamError> wrong = PositionErrors(given);
  AddParamErrors("position", wrong, errors);
  return wrong.empty();
}

Result<ModelConfig> ModelConfig::FromJson(const Json& model, const Json& position) {
  KeyErrors errors;
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
  KeyErrors errors;
  CheckShapeOf(*this, errors);
  return errors.First();
}

void CheckModel(const ModelConfig& model, KeyErrors& errors, const KeyErrors& read) {
  const Architecture* architecture = nullptr;
  const bool is_known =
      errors.Take("model.architecture", FindArchitecture(model.architecture), architecture);
  const bool has_shape = CheckShapeOf(model, errors);
  FieldChecker checker("model", errors, FieldChecker::Part::kAll, read);
  Fields(model, checker);
  if (!is_known || !has_shape) return;
  CheckBody(model, *architecture, errors);
  CheckPosition(model, errors);
}

Status ModelConfig::Check() const {
  KeyErrors errors;
  CheckModel(*this, errors);
  return errors.First();
}

std::int64_t ModelConfig::ParameterCount() const {
  const std::int64_t q = n_head * head_dim(), kv = 2 * n_kv_head() * head_dim();
  const std::int64_t attention = d_model * ((body.out_projection ? 2 : 1) * q + kv) +
                                 (body.qkv_bias ? q + kv : 0) + (body.out_bias ? d_model : 0);
  const std::int64_t n_up = UpProductsOf(body.mlp);
  const std::int64_t mlp =
      (n_up + 1) * d_model * d_ff + (body.mlp_bias ? n_up * d_ff + d_model : 0);
  const std::int64_t norm = VectorsOf(body.norm) * d_model;
  std::int64_t learned = 0;  // parameters of the position method, in one layer or for all
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
         n_layer * (attention + mlp + NormsOf(body.block) * norm) +
         (terms->share_layers ? 1 : n_layer) * learned;
}

}  // namespace longrun
