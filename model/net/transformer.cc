#include "model/net/transformer.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/tanh.h>

#include <algorithm>
#include <span>
#include <utility>

#include "base/str.h"
#include "model/net/linear.h"

namespace longrun {
namespace {

at::Tensor Activate(const std::string& name, const at::Tensor& h) {
  if (name == "gelu_new") return at::gelu(h, "tanh");
  if (name == "gelu") return at::gelu(h, "none");
  if (name == "relu") return at::relu(h);
  if (name == "silu") return at::silu(h);
  if (name == "tanh") return at::tanh(h);
  LR_CHECK(name == "quick_gelu");
  return h * at::sigmoid(h * 1.702);
}

}  // namespace

Transformer::Transformer(const NetConfig& config, TermSpec terms, Attention attention,
                         const Compute& compute)
    : config_(config),
      terms_(std::move(terms)),
      attention_(std::move(attention)),
      compute_(compute) {}

Result<Transformer> Transformer::Make(const NetConfig& config, ParameterMap parameters,
                                      AttentionBackend backend, const Compute& compute) {
  const ModelConfig& model = config.model;
  ASSIGN_OR_RETURN(const TermSpec terms, TermsOf(model));
  const AttentionShape shape = {.n_head = model.n_head,
                                .head_dim = model.head_dim(),
                                .d_model = model.d_model,
                                .causal = model.causal};
  ASSIGN_OR_RETURN(Attention attention,
                   Attention::Make(terms, model.position.method, shape, backend, compute));
  ASSIGN_OR_RETURN(const std::vector<ParameterSpec> specs, ParametersOf(model));
  LR_CHECK(specs.size() == parameters.size());
  for (const ParameterSpec& spec : specs) {
    const auto it = parameters.find(spec.name);
    LR_CHECK(it != parameters.end() && it->second.sizes() == at::IntArrayRef(spec.shape));
  }
  Transformer net(config, terms, std::move(attention), compute);
  net.Bind(std::move(parameters));
  return net;
}

void Transformer::Bind(ParameterMap&& parameters) {
  for (auto& [name, tensor] : parameters) {
    // Let go of one by one, so that weights that change their type are not there twice.
    const at::Tensor given = std::move(tensor);
    parameters_[name] = given.detach().to(compute_.device, compute_.dtype).contiguous();
  }
  const auto get = [&](const std::string& name) {
    const auto it = parameters_.find(name);
    return it == parameters_.end() ? at::Tensor() : it->second;
  };
  wte_VC_ = get("transformer.wte.weight");
  wpe_PC_ = get("transformer.wpe.weight");
  ln_f_weight_ = get("transformer.ln_f.weight");
  ln_f_bias_ = get("transformer.ln_f.bias");
  head_VC_ = config_.model.tie_embeddings ? wte_VC_ : get("lm_head.weight");
  for (std::int64_t l = 0; l < config_.model.n_layer; ++l) {
    const std::string at = Str("transformer.h.", l, ".");
    Layer layer = {.ln_1_weight = get(at + "ln_1.weight"),
                   .ln_1_bias = get(at + "ln_1.bias"),
                   .c_attn_weight = get(at + "attn.c_attn.weight"),
                   .c_attn_bias = get(at + "attn.c_attn.bias"),
                   .attn_proj_weight = get(at + "attn.c_proj.weight"),
                   .attn_proj_bias = get(at + "attn.c_proj.bias"),
                   .learned = {},
                   .ln_2_weight = get(at + "ln_2.weight"),
                   .ln_2_bias = get(at + "ln_2.bias"),
                   .c_fc_weight = get(at + "mlp.c_fc.weight"),
                   .c_fc_bias = get(at + "mlp.c_fc.bias"),
                   .mlp_proj_weight = get(at + "mlp.c_proj.weight"),
                   .mlp_proj_bias = get(at + "mlp.c_proj.bias"),
                   .scale = config_.scale_attn_weights ? terms_.scale : 1.0};
    if (config_.scale_attn_by_inverse_layer_idx) layer.scale /= static_cast<double>(l + 1);
    const std::string of_layer = at + "attn.position.";
    for (const LearnedTensor& learned : terms_.learned) {
      layer.learned.push_back(
          get((terms_.share_layers ? "transformer.position." : of_layer) + learned.name));
    }
    layers_.push_back(std::move(layer));
  }
}

void Transformer::RequireGradients(bool required) {
  for (auto& [name, tensor] : parameters_) tensor.requires_grad_(required);
}

Status Transformer::CheckLength(std::int64_t n_tokens) const {
  if (terms_.length_max && n_tokens > *terms_.length_max) {
    return Status(Code::kOutOfRange,
                  Str("a sequence of ", n_tokens, " tokens exceeds the ", *terms_.length_max,
                      " that method \"", config_.model.position.method,
                      "\" can compute with its parameters: choose another method, or a shorter "
                      "length"));
  }
  if (!wpe_PC_.defined() || n_tokens <= wpe_PC_.size(0) ||
      terms_.input_add->beyond != InputAdd::Beyond::kRefuse) {
    return Status();
  }
  return Status(Code::kOutOfRange,
                Str("a sequence of ", n_tokens, " tokens exceeds the ", wpe_PC_.size(0),
                    " positions of method \"", config_.model.position.method,
                    "\": choose another method, or a shorter length"));
}

// The parameters themselves are moved into their range, as the sources that have one do it: before
// each forward pass, seen by the optimiser, not by the gradient.
void Transformer::ProjectLearned() {
  const at::NoGradGuard no_grad;
  const std::size_t n_layers = terms_.share_layers ? 1 : layers_.size();
  for (std::size_t m = 0; m < terms_.learned.size(); ++m) {
    const LearnedTensor& learned = terms_.learned[m];
    for (std::size_t l = 0; l < n_layers; ++l) {
      if (learned.min) layers_[l].learned[m].clamp_min_(*learned.min);
      if (learned.max) layers_[l].learned[m].clamp_max_(*learned.max);
    }
  }
}

// E[t] for t = begin .. begin + n - 1, (T, C).
at::Tensor Transformer::InputAddition(std::int64_t begin, std::int64_t n) {
  const InputAdd& add = *terms_.input_add;
  const std::int64_t n_positions = begin + n;
  if (add.fill == nullptr) {
    const std::int64_t n_rows = wpe_PC_.size(0);
    if (n_positions <= n_rows) return wpe_PC_.narrow(0, begin, n);
    at::Tensor row =
        at::arange(begin, n_positions, wpe_PC_.options().dtype(at::kLong).requires_grad(false));
    row = add.beyond == InputAdd::Beyond::kWrap ? row.remainder(n_rows) : row.clamp_max(n_rows - 1);
    return at::embedding(wpe_PC_, row);
  }
  if (!filled_TC_.defined() || filled_TC_.size(0) < n_positions) {
    const std::int64_t c = config_.model.d_model;
    // Twice what there was: a token at a time must not make a table each time.
    const std::int64_t n_rows = begin > 0 && filled_TC_.defined()
                                    ? std::max(n_positions, 2 * filled_TC_.size(0))
                                    : n_positions;
    const at::Tensor table = at::empty({n_rows, c}, at::kDouble);
    double* values = table.data_ptr<double>();
    for (std::int64_t t = 0; t < n_rows; ++t) {
      add.fill(t, std::span<double>(values + t * c, static_cast<std::size_t>(c)));
    }
    filled_TC_ = table.to(compute_.device, compute_.dtype);
  }
  return filled_TC_.narrow(0, begin, n);
}

at::Tensor Transformer::Linear(const at::Tensor& x, const at::Tensor& weight,
                               const at::Tensor& bias) const {
  const at::Tensor rows = x.reshape({-1, x.size(-1)}).to(compute_.product);
  const at::Tensor y =
      longrun::Linear(rows, weight.to(compute_.product), bias.to(compute_.product), compute_.path);
  std::vector<std::int64_t> shape(x.sizes().begin(), x.sizes().end());
  shape.back() = weight.size(1);
  return y.view(shape);
}

at::Tensor Transformer::Norm(const at::Tensor& x, const at::Tensor& weight,
                             const at::Tensor& bias) const {
  return at::layer_norm(x, {x.size(-1)}, weight, bias, config_.model.layer_norm_epsilon);
}

at::Tensor Transformer::AttentionPart(const Layer& layer, const at::Tensor& x_BTC,
                                      AttentionCache* cache) {
  const std::int64_t b = x_BTC.size(0), t = x_BTC.size(1), c = x_BTC.size(2);
  const std::int64_t h = config_.model.n_head, d = config_.model.head_dim();
  const at::Tensor normed_BTC = Norm(x_BTC, layer.ln_1_weight, layer.ln_1_bias);
  const at::Tensor qkv = Linear(normed_BTC, layer.c_attn_weight, layer.c_attn_bias);
  const std::vector<at::Tensor> qkv_BHTD =
      qkv.view({b, t, 3, h, d}).permute({2, 0, 3, 1, 4}).contiguous().unbind(0);
  const Attention::Call call = {.q_BHTD = qkv_BHTD[0],
                                .k_BHTD = qkv_BHTD[1],
                                .v_BHTD = qkv_BHTD[2],
                                .x_BTC = normed_BTC,
                                .learned = layer.learned,
                                .scale = layer.scale};
  const at::Tensor o_BHTD =
      cache == nullptr ? attention_.Forward(call) : attention_.ForwardBehind(call, *cache);
  return Linear(o_BHTD.transpose(1, 2).reshape({b, t, c}), layer.attn_proj_weight,
                layer.attn_proj_bias);
}

at::Tensor Transformer::MlpPart(const Layer& layer, const at::Tensor& x_BTC) {
  const at::Tensor h =
      Linear(Norm(x_BTC, layer.ln_2_weight, layer.ln_2_bias), layer.c_fc_weight, layer.c_fc_bias);
  return Linear(Activate(config_.model.activation, h), layer.mlp_proj_weight, layer.mlp_proj_bias);
}

at::Tensor Transformer::Embedded(const at::Tensor& ids_BT, std::int64_t begin) {
  ProjectLearned();
  at::Tensor x_BTC = at::embedding(wte_VC_, ids_BT);
  if (terms_.input_add) {
    if (terms_.input_add->multiplier != 1.0) x_BTC = x_BTC * terms_.input_add->multiplier;
    x_BTC = x_BTC + InputAddition(begin, ids_BT.size(1));
  }
  return x_BTC;
}

at::Tensor Transformer::Hidden(const at::Tensor& ids_BT) {
  at::Tensor x_BTC = Embedded(ids_BT, 0);
  for (const Layer& layer : layers_) {
    x_BTC = x_BTC + AttentionPart(layer, x_BTC, nullptr);
    x_BTC = x_BTC + MlpPart(layer, x_BTC);
  }
  return Norm(x_BTC, ln_f_weight_, ln_f_bias_);
}

at::Tensor Transformer::HiddenBehind(const at::Tensor& ids_BT, std::span<AttentionCache> caches) {
  LR_CHECK(caches.size() == layers_.size());
  at::Tensor x_BTC = Embedded(ids_BT, caches.front().n);
  for (std::size_t l = 0; l < layers_.size(); ++l) {
    x_BTC = x_BTC + AttentionPart(layers_[l], x_BTC, &caches[l]);
    x_BTC = x_BTC + MlpPart(layers_[l], x_BTC);
  }
  return Norm(x_BTC, ln_f_weight_, ln_f_bias_);
}

}  // namespace longrun
