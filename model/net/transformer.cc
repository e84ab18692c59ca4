#include "model/net/transformer.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/alias.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <span>
#include <utility>

#include "base/str.h"
#include "model/extension/extension.h"
#include "model/net/linear.h"
#include "model/net/packed_heads.h"
#include "model/net/recompute.h"

namespace longrun {
namespace {

// The last entry along a dimension, which stays.
at::Tensor LastOf(const at::Tensor& x, std::int64_t dim) {
  return x.narrow(dim, x.size(dim) - 1, 1);
}

}  // namespace

Transformer::Transformer(const NetConfig& config, TermSpec terms, Attention attention,
                         std::optional<Attention> full_attention, const Compute& compute)
    : config_(config),
      terms_(std::move(terms)),
      attention_(std::move(attention)),
      full_attention_(std::move(full_attention)),
      compute_(compute) {}

Result<Transformer> Transformer::Make(const NetConfig& config, ParameterMap parameters,
                                      AttentionBackend backend, const Compute& compute) {
  const ModelConfig& model = config.model;
  ASSIGN_OR_RETURN(const TermSpec terms, TermsOf(model));
  ASSIGN_OR_RETURN(Attention attention, Attention::Make(terms, model.position.method,
                                                        model.attention_shape(), backend, compute));
  std::optional<Attention> full_attention;
  if (!config.full_layers.empty()) {
    AttentionShape shape = model.attention_shape();
    shape.window = 0;
    ASSIGN_OR_RETURN(full_attention,
                     Attention::Make(terms, model.position.method, shape, backend, compute));
  }
  ASSIGN_OR_RETURN(const std::vector<ParameterSpec> specs, ParametersOf(model));
  LR_CHECK(specs.size() == parameters.size());
  for (const ParameterSpec& spec : specs) {
    const auto it = parameters.find(spec.name);
    LR_CHECK(it != parameters.end() && it->second.sizes() == at::IntArrayRef(spec.shape));
  }
  Transformer net(config, terms, std::move(attention), std::move(full_attention), compute);
  net.Bind(std::move(parameters));
  RETURN_IF_ERROR(net.Extend());
  return net;
}

Status Transformer::Extend() {
  if (config_.extension.is_null()) return Status();
  ASSIGN_OR_RETURN(extension_, FindExtension(config_.extension.at("method").get<std::string>()));
  if (const auto error = WhyNotExtended(config_.extension, config_.model)) {
    return Status(error->code, ShowErrors("extend", std::span(&*error, 1)));
  }
  if (extension_->read != nullptr && attention_.backend() == AttentionBackend::kTorch) {
    return Status(
        Code::kUnimplemented,
        Str("attention back-end \"torch\" supports only one position for each key, but extension ",
            extension_->name,
            " moves keys: use the back-end \"auto\", \"fused\" or \"reference\""));
  }
  rope_ = RopeShapeOf(config_.model);
  if (extension_->read != nullptr) {
    reading_ = std::make_unique<ReadingPlanner>(*extension_, config_.extension);
  }
  return Status();
}

// Sets the rotation for a text of n_tokens; Extend() has checked its parameters.
void Transformer::SetRotationFor(std::int64_t n_tokens) {
  if (extension_ == nullptr || extension_->rotation == nullptr) return;
  const ParamResult<ExtendedRotation> rotation =
      extension_->rotation(config_.extension, rope_, n_tokens);
  LR_CHECK(rotation.ok());
  attention_.SetRotation(rotation->frequency, rotation->magnitude);
  if (full_attention_) full_attention_->SetRotation(rotation->frequency, rotation->magnitude);
}

std::int64_t Transformer::CachedLengthMax() const {
  const bool by_length = extension_ != nullptr && extension_->by_length != nullptr &&
                         extension_->by_length(config_.extension);
  if (!by_length) return 0;
  return config_.extension.at("original_length").get<std::int64_t>();
}

bool Transformer::SharesPrefixes(std::int64_t n_tokens) const {
  const std::int64_t longest_cached = CachedLengthMax();
  // A rotation with growth counts from the middle of the cache: its rounding depends on the text.
  const bool has_growth = terms_.rotation && !terms_.rotation->growth.empty();
  return config_.model.causal && !has_growth && (longest_cached == 0 || n_tokens <= longest_cached);
}

void Transformer::Bind(ParameterMap&& parameters) {
  for (auto& [name, tensor] : parameters) {
    // Released one by one, so that weights that change type do not exist twice.
    const at::Tensor given = std::move(tensor);
    parameters_[name] = given.detach().to(compute_.device, compute_.dtype).contiguous();
  }
  const auto get = [&](const std::string& name) {
    const auto it = parameters_.find(name);
    return it == parameters_.end() ? at::Tensor() : it->second;
  };
  const auto both = [&](const std::string& at, std::string_view name) -> Weights {
    if (name.empty()) return {};
    return {.weight = get(Str(at, name, ".weight")), .bias = get(Str(at, name, ".bias"))};
  };
  const auto architecture = FindArchitecture(config_.model.architecture);
  LR_CHECK(architecture.ok());
  const TensorNames& names = (*architecture)->names;
  inputs_first_ = names.inputs_first;
  heads_first_ = names.heads_first;
  keys_first_ = names.keys_first;
  wte_VC_ = get(Str(names.embedding, ".weight"));
  wpe_PC_ = get("transformer.wpe.weight");
  final_norm_ = both("", names.final_norm);
  head_ = {.weight_VC = config_.model.tie_embeddings ? wte_VC_ : get(Str(names.head, ".weight")),
           .bias_V = get(Str(names.head, ".bias"))};
  for (std::int64_t l = 0; l < config_.model.n_layer; ++l) {
    const std::string at = Str(names.layer, l, ".");
    Layer layer = {.norm_1 = both(at, names.norm_1),
                   .norm_2 = both(at, names.norm_2),
                   .qkv = both(at, names.qkv),
                   .q = both(at, names.q),
                   .k = both(at, names.k),
                   .v = both(at, names.v),
                   .attn_out = both(at, names.out),
                   .mlp_gate = both(at, names.gate),
                   .mlp_up = both(at, names.up),
                   .mlp_down = both(at, names.down),
                   .learned = {},
                   .scale = config_.scale_attn_weights ? terms_.scale : 1.0};
    if (config_.scale_attn_by_inverse_layer_idx) layer.scale /= static_cast<double>(l + 1);
    const std::string of_layer = Str("transformer.h.", l, ".attn.position.");
    for (const LearnedTensor& learned : terms_.learned) {
      layer.learned.push_back(
          get((terms_.share_layers ? "transformer.position." : of_layer) + learned.name));
    }
    layers_.push_back(std::move(layer));
  }
  for (const std::int64_t l : config_.full_layers) {
    layers_[static_cast<std::size_t>(l)].sees_all = true;
  }
}

void Transformer::RequireGradients(bool required) {
  for (auto& [name, tensor] : parameters_) tensor.requires_grad_(required);
}

std::optional<std::int64_t> Transformer::length_max() const {
  const bool ends_with_table =
      wpe_PC_.defined() && terms_.input_add->beyond == InputAdd::Beyond::kRefuse;
  if (!ends_with_table) return terms_.length_max;
  return std::min(wpe_PC_.size(0), terms_.length_max.value_or(wpe_PC_.size(0)));
}

Status Transformer::CheckLength(std::int64_t n_tokens) const {
  if (!config_.extension.is_null()) {
    if (const auto error = WhyTooLong(config_.extension, n_tokens)) {
      return Status(Code::kOutOfRange,
                    Str("extension \"", config_.extension.at("method").get<std::string>(),
                        "\": ", error->key, ": ", error->message));
    }
  }
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

Status Transformer::CheckGradients() const {
  if (config_.extension.is_null()) return Status();
  const auto method = config_.extension.at("method").get<std::string>();
  if ((*FindExtension(method))->read == nullptr) return Status();
  return Status(Code::kUnimplemented,
                Str("extension \"", method,
                    "\" moves or hides keys, and works only in evaluation: it gives no gradients"));
}

// Clamps the parameters themselves, as the official code of such methods does: before
// each forward pass, visible to the optimiser but not to the gradient.
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
    // Double the table, so that generating token by token does not make a new one each time.
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

at::Tensor Transformer::Linear(const at::Tensor& x, const Weights& product) const {
  const at::Tensor rows = x.reshape({-1, x.size(-1)}).to(compute_.product);
  // Transposed in every call: a view of a leaf must be taken while gradients are recorded.
  const at::Tensor weight_IO = inputs_first_ ? product.weight : product.weight.t();
  const at::Tensor bias = product.bias.defined() ? product.bias.to(compute_.product) : at::Tensor();
  const at::Tensor y = longrun::Linear(rows, weight_IO.to(compute_.product), bias, compute_.path);
  std::vector<std::int64_t> shape(x.sizes().begin(), x.sizes().end());
  shape.back() = weight_IO.size(1);
  return y.view(shape);
}

NormWeights Transformer::Of(const Weights& norm) const {
  return {.weight_C = norm.weight,
          .bias_C = norm.bias,
          .centred = config_.model.body.norm == NormKind::kLayerNorm,
          .epsilon = config_.model.layer_norm_epsilon};
}

at::Tensor Transformer::FinalNorm(const at::Tensor& x) const {
  return final_norm_.weight.defined() ? Norm(x, Of(final_norm_), compute_.dtype, compute_) : x;
}

// q, k, v as (B, H, T, D), k and v with their own number of heads. Fused attention reads them where
// the products wrote them; other back-ends need dense ones.
Transformer::Tensors Transformer::Projections(const Layer& layer,
                                              const at::Tensor& normed_BTC) const {
  const bool in_place = backend() == AttentionBackend::kFused;
  Tensors parts;
  parts.reserve(3);
  if (layer.qkv.weight.defined()) {
    const at::Tensor qkv = Linear(normed_BTC, layer.qkv);
    for (const at::Tensor& part : UnpackHeads(qkv, config_.model.n_head, heads_first_)) {
      parts.push_back(in_place ? part : part.contiguous());
    }
    if (keys_first_) std::swap(parts[0], parts[1]);
    return parts;
  }
  const std::int64_t b = normed_BTC.size(0), t = normed_BTC.size(1);
  for (const Weights* product : {&layer.q, &layer.k, &layer.v}) {
    const at::Tensor part =
        Linear(normed_BTC, *product).view({b, t, -1, config_.model.head_dim()}).transpose(1, 2);
    parts.push_back(in_place ? part : part.contiguous());
  }
  return parts;
}

at::Tensor Transformer::AttentionPart(const Layer& layer, const at::Tensor& normed_BTC,
                                      const BlockCall& given) {
  const Tensors qkv_BHTD = Projections(layer, normed_BTC);
  const at::Tensor& q_BHTD = qkv_BHTD[0];
  Attention::Call call = {.q_BHTD = given.only_last ? LastOf(q_BHTD, 2) : q_BHTD,
                          .k_BHTD = qkv_BHTD[1],
                          .v_BHTD = qkv_BHTD[2],
                          .x_BTC = normed_BTC,
                          .learned = layer.learned,
                          .scale = layer.scale,
                          .position_ids_BT = given.position_ids_BT,
                          .n_positions = given.n_positions,
                          .reading = given.reading,
                          .n_to_come = given.n_to_come,
                          .layer = given.layer,
                          .observer = given.observer};
  if (const Tensors& shared = given.shared; !shared.empty()) {
    const auto n = static_cast<std::ptrdiff_t>(layer.learned.size());
    call.learned.assign(shared.begin(), shared.begin() + n);
    call.shared.assign(shared.begin() + n, shared.end());
    call.n_shared = given.n_shared;
  }
  Attention& attention = layer.sees_all ? *full_attention_ : attention_;
  const at::Tensor o_BHTD = given.cache == nullptr ? attention.Forward(call)
                                                   : attention.ForwardBehind(call, *given.cache);
  const at::Tensor o_BTHD = o_BHTD.transpose(1, 2);
  const at::Tensor heads_BTC = o_BTHD.reshape({o_BTHD.size(0), o_BTHD.size(1), -1});
  return layer.attn_out.weight.defined() ? Linear(heads_BTC, layer.attn_out) : heads_BTC;
}

at::Tensor Transformer::MlpPart(const Layer& layer, const at::Tensor& normed_BTC) const {
  const MlpActivation activation = config_.model.activation;
  if (layer.mlp_gate.weight.defined()) {
    const at::Tensor gate = Linear(normed_BTC, layer.mlp_gate);
    const at::Tensor up = Linear(normed_BTC, layer.mlp_up);
    return Linear(ActivateGate(activation, gate, up, compute_), layer.mlp_down);
  }
  if (!ActivateTakesBias(activation, compute_)) {
    const at::Tensor up = Linear(normed_BTC, layer.mlp_up);
    return Linear(Activate(activation, up, {}, compute_), layer.mlp_down);
  }
  const at::Tensor up = Linear(normed_BTC, {.weight = layer.mlp_up.weight, .bias = {}});
  return Linear(Activate(activation, up, layer.mlp_up.bias, compute_), layer.mlp_down);
}

// The type of a norm's output. If only one product reads it, it is rounded to the product's type at
// once; with several readers, the gradients are added up before rounding.
c10::ScalarType Transformer::TypeFor(bool one_product) const {
  return one_product ? compute_.product : compute_.dtype;
}

at::Tensor Transformer::Block(const Layer& layer, const at::Tensor& all_BTC,
                              const BlockCall& given) {
  const bool sequential = config_.model.body.block == BlockKind::kSequential;
  const bool one_norm = !layer.norm_2.weight.defined();
  const bool attention_alone =
      layer.qkv.weight.defined() && !attention_.reads_input() && (sequential || !one_norm);
  at::Tensor normed_BTC = Norm(all_BTC, Of(layer.norm_1), TypeFor(attention_alone), compute_);
  const at::Tensor attended_BTC = AttentionPart(layer, normed_BTC, given);
  at::Tensor x_BTC = all_BTC;
  if (given.only_last) {
    x_BTC = LastOf(x_BTC, 1);
    normed_BTC = LastOf(normed_BTC, 1);
  }
  const c10::ScalarType mlp_type = TypeFor(!layer.mlp_gate.weight.defined());
  if (sequential) {
    const AddedNorm between = AddNorm(x_BTC, attended_BTC, Of(layer.norm_2), mlp_type, compute_);
    return between.sum + MlpPart(layer, between.normed);
  }
  return x_BTC + attended_BTC +
         MlpPart(layer, one_norm ? normed_BTC : Norm(x_BTC, Of(layer.norm_2), mlp_type, compute_));
}

at::Tensor Transformer::Embedded(const at::Tensor& ids_BT, std::int64_t begin) {
  ProjectLearned();
  at::Tensor x_BTC = Embed(wte_VC_, ids_BT, config_.padding_id, compute_);
  if (terms_.input_add) {
    if (terms_.input_add->multiplier != 1.0) x_BTC = x_BTC * terms_.input_add->multiplier;
    x_BTC = x_BTC + InputAddition(begin, ids_BT.size(1));
  }
  return x_BTC;
}

// What the position methods of all layers share, computed once: the learned tensors, then what the
// terms compute from them. Empty if each layer has its own.
Transformer::Tensors Transformer::SharedPositions(std::int64_t n_positions) const {
  if (!terms_.share_layers) return {};
  Tensors shared = layers_.front().learned;
  for (at::Tensor& tensor : attention_.Shared(shared, n_positions)) {
    shared.push_back(std::move(tensor));
  }
  return shared;
}

at::Tensor Transformer::RecomputedBlock(const Layer& layer, const at::Tensor& x_BTC,
                                        const BlockCall& given) {
  Tensors leaves;
  for (const Weights* of : {&layer.norm_1, &layer.norm_2, &layer.qkv, &layer.q, &layer.k, &layer.v,
                            &layer.attn_out, &layer.mlp_gate, &layer.mlp_up, &layer.mlp_down}) {
    if (of->weight.defined()) leaves.push_back(of->weight);
    if (of->bias.defined()) leaves.push_back(of->bias);
  }
  if (given.shared.empty()) {
    leaves.insert(leaves.end(), layer.learned.begin(), layer.learned.end());
  }
  return Recomputed(
      [this, &layer, n_shared = given.n_shared, ids = given.position_ids_BT, n = given.n_positions](
          const at::Tensor& x, const Tensors& of_all) {
        return Block(
            layer, x,
            {.shared = of_all, .n_shared = n_shared, .position_ids_BT = ids, .n_positions = n});
      },
      x_BTC, given.shared, leaves);
}

Status Transformer::CheckPositionIds() const {
  const bool only_rotates = terms_.rotation && !terms_.input_add && !terms_.key_bias_slope &&
                            !terms_.key_bias_gate && !terms_.distance_bias &&
                            !terms_.distance_network && !terms_.content_position;
  if (only_rotates) return Status();
  return Status(Code::kUnimplemented,
                Str("position method \"", config_.model.position.method,
                    "\" uses each token's place in its sequence, and cannot take other positions: "
                    "use a method that only rotates, such as rope"));
}

at::Tensor Transformer::Hidden(const Batch& batch) {
  const std::int64_t n_tokens = batch.ids_BT.size(1);
  const bool has_ids = batch.position_ids_BT.defined();
  LR_CHECK(!has_ids || CheckPositionIds().ok());
  SetRotationFor(has_ids ? batch.n_positions : n_tokens);
  at::Tensor x_BTC = Embedded(batch.ids_BT, 0);
  BlockCall given = {.shared = SharedPositions(n_tokens),
                     .n_shared = n_tokens,
                     .position_ids_BT = batch.position_ids_BT,
                     .n_positions = batch.n_positions,
                     .reading = reading_.get()};
  LR_CHECK(!has_ids || given.reading == nullptr);
  const Tensors shared = given.shared;
  for (const Layer& layer : layers_) {
    if (recomputes_ && at::GradMode::is_enabled()) {
      given.shared = shared;
      x_BTC = RecomputedBlock(layer, x_BTC, given);
      continue;
    }
    // Aliases per layer: a layer's parts of a gradient are added up before those of the layers, in
    // the same order with and without activation checkpointing.
    given.shared.clear();
    for (const at::Tensor& tensor : shared) given.shared.push_back(at::alias(tensor));
    x_BTC = Block(layer, x_BTC, given);
    ++given.layer;
  }
  return FinalNorm(x_BTC);
}

bool Transformer::Observe(
    const at::Tensor& ids_BT, std::int64_t n_layers,
    const std::function<bool(std::int64_t layer, AttentionObserver&)>& before) {
  const at::NoGradGuard no_grad;
  SetRotationFor(ids_BT.size(1));
  at::Tensor x_BTC = Embedded(ids_BT, 0);
  const Tensors shared = SharedPositions(ids_BT.size(1));
  for (std::int64_t l = 0; l < n_layers; ++l) {
    AttentionObserver observer;
    if (!before(l, observer)) return false;
    const Layer& layer = layers_[static_cast<std::size_t>(l)];
    x_BTC = Block(layer, x_BTC,
                  {.layer = l,
                   .shared = shared,
                   .n_shared = ids_BT.size(1),
                   .cache = nullptr,
                   .observer = observer ? &observer : nullptr,
                   .reading = reading_.get()});
  }
  return true;
}

std::unique_ptr<NetState> Transformer::NewState(std::int64_t batch, std::int64_t capacity) const {
  std::vector<AttentionCache> caches;
  caches.reserve(layers_.size());
  for (std::size_t l = 0; l < layers_.size(); ++l) {
    const Attention& attention = layers_[l].sees_all ? *full_attention_ : attention_;
    caches.push_back(attention.MakeCache(batch, capacity, reading_.get()));
  }
  return std::make_unique<TransformerState>(std::move(caches));
}

at::Tensor Transformer::BlocksBehind(const at::Tensor& ids_BT, NetState& state,
                                     std::int64_t n_to_come, bool only_last) {
  auto* const of_transformer = dynamic_cast<TransformerState*>(&state);
  LR_CHECK(of_transformer != nullptr);
  std::vector<AttentionCache>& caches = of_transformer->caches();
  LR_CHECK(caches.size() == layers_.size());
  const at::NoGradGuard no_grad;
  const std::int64_t n_tokens = ids_BT.size(1), n_positions = caches.front().n + n_tokens;
  SetRotationFor(n_positions);
  at::Tensor x_BTC = Embedded(ids_BT, caches.front().n);
  // Layers that hold fewer keys than the others make their own.
  std::int64_t n_shared = 0;
  for (const AttentionCache& cache : caches) {
    n_shared = std::max(n_shared, cache.n_held() + n_tokens);
  }
  const Tensors shared = SharedPositions(n_shared);
  for (std::size_t l = 0; l < layers_.size(); ++l) {
    x_BTC = Block(layers_[l], x_BTC,
                  {.layer = static_cast<std::int64_t>(l),
                   .shared = shared,
                   .n_shared = n_shared,
                   .cache = &caches[l],
                   .reading = reading_.get(),
                   .n_to_come = n_to_come,
                   .only_last = only_last && l + 1 == layers_.size()});
  }
  return FinalNorm(x_BTC);
}

at::Tensor Transformer::Read(const at::Tensor& ids_BT, NetState& state, std::int64_t n_to_come) {
  return BlocksBehind(ids_BT, state, n_to_come, false);
}

at::Tensor Transformer::ReadLast(const at::Tensor& ids_BT, NetState& state,
                                 std::int64_t n_to_come) {
  return BlocksBehind(ids_BT, state, n_to_come, true);
}

}  // namespace longrun
