#include "model/net/parameters.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>

#include <cmath>
#include <numbers>

#include "base/hash.h"
#include "base/random.h"
#include "base/str.h"
#include "model/architecture/architecture.h"

namespace longrun {
namespace {

// Uniform in (0, 1) with 53 bits.
double Uniform53(std::uint32_t high, std::uint32_t low) {
  const std::uint64_t bits = ((std::uint64_t{high} << 32) | low) >> 11;
  return (static_cast<double>(bits) + 0.5) * 0x1p-53;
}

// The specs of a body's norms and products, under the names and layouts of its architecture.
class BodySpecs {
 public:
  BodySpecs(const ModelConfig& model, const TensorNames& names, std::vector<ParameterSpec>& specs)
      : model_(model), names_(names), specs_(specs) {}

  void Norm(const std::string& name) {
    specs_.push_back({name + ".weight", {model_.d_model}, 1.0, 0.0});
    if (model_.body.norm == "layer_norm") {
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

std::uint32_t Low(std::uint64_t x) { return static_cast<std::uint32_t>(x); }
std::uint32_t High(std::uint64_t x) { return static_cast<std::uint32_t>(x >> 32); }

void AddLearned(const TermSpec& terms, const std::string& prefix,
                std::vector<ParameterSpec>& specs) {
  for (const LearnedTensor& learned : terms.learned) {
    specs.push_back({.name = prefix + learned.name,
                     .shape = learned.shape,
                     .init_mean = learned.init.mean,
                     .init_std = learned.init.std,
                     .init_low = learned.init.low,
                     .init_high = learned.init.high});
  }
}

}  // namespace

Result<TermSpec> TermsOf(const ModelConfig& model) {
  ASSIGN_OR_RETURN(const PositionMethod* method, FindPositionMethod(model.position.method));
  return method->terms(model.position.params, model.attention_shape());
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
    specs.push_back({"transformer.wpe.weight", {model.n_positions, c}, 0.0, std});
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
    of_body.Product(Str(at, names.out), q, c, body.out_bias, residual_std);
    if (!terms.share_layers) AddLearned(terms, Str("transformer.h.", l, ".attn.position."), specs);
    if (!names.norm_2.empty()) of_body.Norm(Str(at, names.norm_2));
    if (body.mlp == "gated") of_body.Product(Str(at, names.gate), c, f, body.mlp_bias, std);
    of_body.Product(Str(at, names.up), c, f, body.mlp_bias, std);
    of_body.Product(Str(at, names.down), f, c, body.mlp_bias, residual_std);
  }
  of_body.Norm(std::string(names.final_norm));
  const std::string head(names.head);
  if (!model.tie_embeddings) specs.push_back({head + ".weight", {model.vocab_size, c}, 0.0, std});
  if (body.head_bias) specs.push_back({head + ".bias", {model.vocab_size}, 0.0, 0.0});
  return specs;
}

std::vector<double> PhiloxUniforms(std::uint64_t seed, std::string_view name, std::int64_t n) {
  const std::uint64_t stream = Fnv1a64(name);
  std::vector<double> numbers;
  numbers.reserve(static_cast<std::size_t>(n + 1));
  for (std::uint64_t block = 0; numbers.size() < static_cast<std::size_t>(n); ++block) {
    const auto words =
        Philox4x32({Low(block), High(block), Low(stream), High(stream)}, {Low(seed), High(seed)});
    numbers.push_back(Uniform53(words[0], words[1]));
    numbers.push_back(Uniform53(words[2], words[3]));
  }
  numbers.resize(static_cast<std::size_t>(n));
  return numbers;
}

std::vector<double> PhiloxNormals(std::uint64_t seed, std::string_view name, std::int64_t n) {
  std::vector<double> numbers = PhiloxUniforms(seed, name, n + n % 2);
  for (std::size_t i = 0; i < numbers.size(); i += 2) {
    const double radius = std::sqrt(-2.0 * std::log(numbers[i]));
    const double angle = 2.0 * std::numbers::pi * numbers[i + 1];
    numbers[i] = radius * std::cos(angle);
    numbers[i + 1] = radius * std::sin(angle);
  }
  numbers.resize(static_cast<std::size_t>(n));
  return numbers;
}

ParameterMap InitialParameters(const std::vector<ParameterSpec>& specs, std::uint64_t seed) {
  ParameterMap parameters;
  for (const ParameterSpec& spec : specs) {
    const bool uniform = spec.init_high > spec.init_low;
    if (!uniform && spec.init_std == 0.0) {
      parameters[spec.name] = at::full(spec.shape, spec.init_mean, at::kFloat);
      continue;
    }
    at::Tensor tensor = at::empty(spec.shape, at::kFloat);
    const std::vector<double> numbers = uniform ? PhiloxUniforms(seed, spec.name, tensor.numel())
                                                : PhiloxNormals(seed, spec.name, tensor.numel());
    const double begin = uniform ? spec.init_low : spec.init_mean;
    const double width = uniform ? spec.init_high - spec.init_low : spec.init_std;
    float* out = tensor.data_ptr<float>();
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      out[i] = static_cast<float>(begin + width * numbers[i]);
    }
    parameters[spec.name] = std::move(tensor);
  }
  return parameters;
}

std::string ParametersSha256(const ParameterMap& parameters) {
  Sha256 hash;
  for (const auto& [name, parameter] : parameters) {
    const at::Tensor stored = parameter.detach().to(at::kCPU, at::kFloat).contiguous();
    hash.Update(stored.data_ptr<float>(), stored.nbytes());
  }
  return hash.FinishHex();
}

}  // namespace longrun
