#include "model/architecture/parameters.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/str.h"
#include "model/architecture/architecture.h"

namespace longrun {
namespace {

// The specs of a body's norms and products, under the names and layouts of its architecture.
class BodySpecs {
 public:
  BodySpecs(const ModelConfig& model, const TensorNames& names, std::vector<ParameterSpec>& specs)
      : model_(model), names_(names), specs_(specs) {}

  void Norm(const std::string& name) {
    specs_.push_back({name + ".weight", {model_.d_model}, 1.0, 0.0});
    if (model_.body.norm == NormKind::kLayerNorm) {
      specs_.push_back({name + ".bias", {model_.d_model}, 0.0, 0.0});
    }
  }
  void Product(const std::string& name, std::int64_t n_in, std::int64_t n_out, bool bias,
               double std) {
    std::vector<std::int64_t> shape = {n_out, n_in};
    if (names_.inputs_first) shape = {n_in, n_out};
    specs_.push_back({name + ".weight", std::move(shape), 0.0, std});
    if (bias) specs_.push_back({name + ".bias", {n_out}, 0.0, 0.0});
  }

 private:
  const ModelConfig& model_;
  const TensorNames& names_;
  std::vector<ParameterSpec>& specs_;
};

void AddLearned(const TermSpec& terms, const std::string& prefix,
                std::vector<ParameterSpec>& specs) {
  for (const LearnedTensor& learned : terms.learned) {
    specs.push_back({.name = prefix + learned.name,
                     .shape = learned.shape,
                     .init_mean = learned.init.mean,
                     .init_std = learned.init.std,
                     .init_low = learned.init.low,
                     .init_high = learned.init.high,
                     .of_position = true});
  }
}

}  // namespace

Result<TermSpec> TermsOf(const ModelConfig& model) {
  ASSIGN_OR_RETURN(const PositionMethod* method, FindPositionMethod(model.position.method));
  ParamResult<TermSpec> terms = method->terms(model.position.params, model.attention_shape());
  if (!terms.ok()) return terms.status("position");
  return std::move(terms).value();
}

std::vector<std::string> NewPositionTensors(const ModelConfig& from, const ModelConfig& model) {
  const Result<std::vector<ParameterSpec>> before = ParametersOf(from), after = ParametersOf(model);
  LR_CHECK(before.ok() && after.ok());
  const bool same_method = from.position.method == model.position.method;
  std::vector<std::string> names;
  for (const ParameterSpec& spec : *after) {
    if (!spec.of_position) continue;
    const auto old = std::ranges::find(*before, spec.name, &ParameterSpec::name);
    if (same_method && old != before->end() && old->shape == spec.shape) continue;
    names.push_back(spec.name);
  }
  return names;
}

Result<std::vector<ParameterSpec>> ParametersOf(const ModelConfig& model) {
  ASSIGN_OR_RETURN(const TermSpec terms, TermsOf(model));
  ASSIGN_OR_RETURN(const Architecture* const architecture, FindArchitecture(model.architecture));
  const TensorNames& names = architecture->names;
  const BodyConfig& body = model.body;
  const std::int64_t c = model.d_model;
  const std::int64_t f = model.d_ff;
  const std::int64_t q = model.n_head * model.head_dim();
  const std::int64_t kv = model.n_kv_head() * model.head_dim();
  const double std = model.init_std;
  const double residual_std = architecture->scaled_residual_init
                                  ? std / std::sqrt(2.0 * static_cast<double>(model.n_layer))
                                  : std;

  std::vector<ParameterSpec> specs;
  BodySpecs of_body(model, names, specs);
  specs.push_back({Str(names.embedding, ".weight"), {model.vocab_size, c}, 0.0, std});
  if (terms.input_add && !terms.input_add->learned_table.empty()) {
    specs.push_back({.name = "transformer.wpe.weight",
                     .shape = {model.n_positions, c},
                     .init_std = std,
                     .of_position = true});
  }
  if (terms.share_layers) AddLearned(terms, "transformer.position.", specs);
  for (std::int64_t l = 0; l < model.n_layer; ++l) {
    const std::string at = Str(names.layer, l, ".");
    of_body.Norm(Str(at, names.norm_1));
    if (!names.qkv.empty()) {
      of_body.Product(Str(at, names.qkv), c, q + 2 * kv, body.qkv_bias, std);
    } else {
      of_body.Product(Str(at, names.q), c, q, body.qkv_bias, std);
      of_body.Product(Str(at, names.k), c, kv, body.qkv_bias, std);
      of_body.Product(Str(at, names.v), c, kv, body.qkv_bias, std);
    }
    if (!names.out.empty()) {
      of_body.Product(Str(at, names.out), q, c, body.out_bias, residual_std);
    }
    if (!terms.share_layers) AddLearned(terms, Str("transformer.h.", l, ".attn.position."), specs);
    if (!names.norm_2.empty()) of_body.Norm(Str(at, names.norm_2));
    if (body.mlp == MlpKind::kGated) of_body.Product(Str(at, names.gate), c, f, body.mlp_bias, std);
    of_body.Product(Str(at, names.up), c, f, body.mlp_bias, std);
    of_body.Product(Str(at, names.down), f, c, body.mlp_bias, residual_std);
  }
  if (!names.final_norm.empty()) of_body.Norm(std::string(names.final_norm));
  const std::string head(names.head);
  if (!model.tie_embeddings) specs.push_back({head + ".weight", {model.vocab_size, c}, 0.0, std});
  if (body.head_bias) specs.push_back({head + ".bias", {model.vocab_size}, 0.0, 0.0});
  return specs;
}

}  // namespace longrun
