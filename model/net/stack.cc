#include "model/net/stack.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/alias.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/str.h"
#include "model/net/packed_heads.h"
#include "model/net/recompute.h"
#include "model/tokens_per_read.h"

namespace longrun {
namespace {

// The last entry along a dimension, which stays.
at::Tensor LastOf(const at::Tensor& x, std::int64_t dim) {
  return x.narrow(dim, x.size(dim) - 1, 1);
}

}  // namespace

at::Tensor FindTensor(const ParameterMap& parameters, const std::string& name) {
  const auto it = parameters.find(name);
  return it == parameters.end() ? at::Tensor() : it->second;
}

StoredWeights FindWeights(const ParameterMap& parameters, const std::string& at,
                          std::string_view name) {
  if (name.empty()) return {};
  return {.weight = FindTensor(parameters, Str(at, name, ".weight")),
          .bias = FindTensor(parameters, Str(at, name, ".bias"))};
}

NormWeights NormOf(const ModelConfig& model, const StoredWeights& norm) {
  return {.weight_C = norm.weight,
          .bias_C = norm.bias,
          .centred = model.body.norm == NormKind::kLayerNorm,
          .epsilon = model.layer_norm_epsilon};
}

Stack::Stack(const NetConfig& config, const TermSpec& terms, Attention attention,
             std::optional<Attention> full_attention, const Compute& compute)
    : config_(config),
      terms_(terms),
      attention_(std::move(attention)),
      full_attention_(std::move(full_attention)),
      compute_(compute) {}

Result<Stack> Stack::Make(const NetConfig& config, const TermSpec& terms, AttentionBackend backend,
                          const Compute& compute) {
  const ModelConfig& model = config.model;
  ASSIGN_OR_RETURN(Attention attention, Attention::Make(terms, model.position.method,
                                                        model.attention_shape(), backend, compute));
  std::optional<Attention> full_attention;
  if (!config.full_layers.empty()) {
    AttentionShape shape = model.attention_shape();
    shape.window = 0;
    ASSIGN_OR_RETURN(full_attention,
                     Attention::Make(terms, model.position.method, shape, backend, compute));
  }
  return Stack(config, terms, std::move(attention), std::move(full_attention), compute);
}

void Stack::Bind(const ParameterMap& parameters) {
  const auto architecture = FindArchitecture(config_.model.architecture);
  LR_CHECK(architecture.ok() && layers_.empty());
  const TensorNames& names = (*architecture)->names;
  inputs_first_ = names.inputs_first;
  heads_first_ = names.heads_first;
  keys_first_ = names.keys_first;
  for (std::int64_t l = 0; l < config_.model.n_layer; ++l) {
    const std::string at = Str(names.layer, l, ".");
    Layer layer = {.norm_1 = FindWeights(parameters, at, names.norm_1),
                   .norm_2 = FindWeights(parameters, at, names.norm_2),
                   .qkv = FindWeights(parameters, at, names.qkv),
                   .q = FindWeights(parameters, at, names.q),
                   .k = FindWeights(parameters, at, names.k),
                   .v = FindWeights(parameters, at, names.v),
                   .attn_out = FindWeights(parameters, at, names.out),
                   .mlp_gate = FindWeights(parameters, at, names.gate),
                   .mlp_up = FindWeights(parameters, at, names.up),
                   .mlp_down = FindWeights(parameters, at, names.down),
                   .learned = {},
                   .scale = config_.scale_attn_weights ? terms_.scale : 1.0};
    if (config_.scale_attn_by_inverse_layer_idx) layer.scale /= static_cast<double>(l + 1);
    const std::string of_layer = Str("transformer.h.", l, ".attn.position.");
    for (const LearnedTensor& learned : terms_.learned) {
      layer.learned.push_back(FindTensor(
          parameters, (terms_.share_layers ? "transformer.position." : of_layer) + learned.name));
    }
    layers_.push_back(std::move(layer));
  }
  for (const std::int64_t l : config_.full_layers) {
    layers_[static_cast<std::size_t>(l)].sees_all = true;
  }
}

void Stack::KeepWeightCopies() {
  if (compute_.product == at::kBFloat16 && !copies_) copies_ = std::make_shared<WeightCopies>();
}

void Stack::SetSkipEpsilon(double skip_epsilon) {
  attention_.SetSkipEpsilon(skip_epsilon);
  if (full_attention_) full_attention_->SetSkipEpsilon(skip_epsilon);
}

void Stack::SetRotation(const ExtendedRotation& rotation) {
  attention_.SetRotation(rotation.frequency, rotation.magnitude);
  if (full_attention_) full_attention_->SetRotation(rotation.frequency, rotation.magnitude);
}

// Clamps the parameters themselves, as the official code of such methods does: before
// each forward pass, visible to the optimiser but not to the gradient.
void Stack::ProjectLearned() {
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

// In the type of products.
at::Tensor Stack::Rounded(const at::Tensor& weight) const {
  return copies_ ? copies_->Rounded(weight) : weight.to(compute_.product);
}

at::Tensor Stack::Linear(const at::Tensor& x, const StoredWeights& product) const {
  const at::Tensor rows = x.reshape({-1, x.size(-1)}).to(compute_.product);
  ProductWeight weight = {.weight = {}, .inputs_first = inputs_first_};
  if (TakesStoredWeight(rows, product.weight, compute_)) {
    const at::NoGradGuard no_grad;
    weight.weight = Rounded(product.weight);
    weight.stored = product.weight;
  } else {
    weight.weight = Rounded(product.weight);
  }
  const at::Tensor y = BiasedLinear(rows, weight, product.bias, compute_);
  std::vector<std::int64_t> shape(x.sizes().begin(), x.sizes().end());
  shape.back() = y.size(1);
  return y.view(shape);
}

// q, k, v as (B, H, T, D), k and v with their own number of heads. Fused attention reads them where
// the products wrote them; other back-ends need dense ones.
Stack::Tensors Stack::Projections(const Layer& layer, const at::Tensor& normed_BTC) const {
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
  for (const StoredWeights* product : {&layer.q, &layer.k, &layer.v}) {
    const at::Tensor part =
        Linear(normed_BTC, *product).view({b, t, -1, config_.model.head_dim()}).transpose(1, 2);
    parts.push_back(in_place ? part : part.contiguous());
  }
  return parts;
}

// The outputs of all heads side by side.
at::Tensor Stack::Attended(const Layer& layer, Tensors qkv_BHTD, const at::Tensor& normed_BTC,
                           const BlockCall& given) {
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
  return o_BTHD.reshape({o_BTHD.size(0), o_BTHD.size(1), -1});
}

at::Tensor Stack::AttentionOutput(const Layer& layer, const at::Tensor& heads_BTC) const {
  return layer.attn_out.weight.defined() ? Linear(heads_BTC, layer.attn_out) : heads_BTC;
}

at::Tensor Stack::MlpPart(const Layer& layer, const at::Tensor& normed_BTC) const {
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
c10::ScalarType Stack::TypeFor(bool one_product) const {
  return one_product ? compute_.product : compute_.dtype;
}

// Of the first norm's output.
c10::ScalarType Stack::InputType(const Layer& layer) const {
  const bool attention_alone = IsSequential() || layer.norm_2.weight.defined();
  return TypeFor(layer.qkv.weight.defined() && !attention_.reads_input() && attention_alone);
}

PendingSum Stack::Block(const Layer& layer, PendingSum input_BTC, const BlockCall& given) {
  auto [x_BTC, normed_BTC] = AddNorm(input_BTC, Of(layer.norm_1), InputType(layer), compute_);
  input_BTC = {};
  const at::Tensor attended_BTC =
      AttentionOutput(layer, Attended(layer, Projections(layer, normed_BTC), normed_BTC, given));
  if (given.only_last) {
    x_BTC = LastOf(x_BTC, 1);
    normed_BTC = LastOf(normed_BTC, 1);
  }
  return BehindAttention(layer, x_BTC, normed_BTC, attended_BTC);
}

// All else is a function of single rows, so only the attention has all of them at once.
at::Tensor Stack::BlockInParts(const Layer& layer, at::Tensor x_BTC, const BlockCall& given) {
  const std::int64_t n = x_BTC.size(1), n_part = TokensPerRead(compute_.device_kind());
  const auto normed_part = [&](std::int64_t begin, std::int64_t n_rows) {
    return Norm(x_BTC.narrow(1, begin, n_rows), Of(layer.norm_1), InputType(layer), compute_);
  };
  Tensors qkv_BHTD(3);
  at::Tensor normed_BTC;
  const auto keep = [&](const at::Tensor& part, std::int64_t dim, std::int64_t begin,
                        at::Tensor& all) {
    if (!all.defined()) {
      std::vector<std::int64_t> shape = part.sizes().vec();
      shape[static_cast<std::size_t>(dim)] = n;
      all = at::empty(shape, part.options());
    }
    all.narrow(dim, begin, part.size(dim)).copy_(part);
  };
  for (std::int64_t begin = 0; begin < n; begin += n_part) {
    const at::Tensor normed = normed_part(begin, std::min(n_part, n - begin));
    const Tensors parts = Projections(layer, normed);
    for (std::size_t i = 0; i < parts.size(); ++i) keep(parts[i], 2, begin, qkv_BHTD[i]);
    if (attention_.reads_input()) keep(normed, 1, begin, normed_BTC);
  }
  const at::Tensor heads_BTC = Attended(layer, std::move(qkv_BHTD), normed_BTC, given);
  normed_BTC.reset();
  for (std::int64_t begin = 0; begin < n; begin += n_part) {
    const std::int64_t n_rows = std::min(n_part, n - begin);
    const at::Tensor x = x_BTC.narrow(1, begin, n_rows);
    const at::Tensor attended = AttentionOutput(layer, heads_BTC.narrow(1, begin, n_rows));
    const at::Tensor normed = NeedsNormedInput(layer) ? normed_part(begin, n_rows) : at::Tensor();
    x.copy_(BehindAttention(layer, x, normed, attended).Value());
  }
  return x_BTC;
}

bool Stack::IsSequential() const { return config_.model.body.block == BlockKind::kSequential; }

// Whether the MLP reads what the attention does.
bool Stack::NeedsNormedInput(const Layer& layer) const {
  return !IsSequential() && !layer.norm_2.weight.defined();
}

// What follows the attention in a block.
PendingSum Stack::BehindAttention(const Layer& layer, const at::Tensor& x_BTC,
                                  const at::Tensor& normed_BTC,
                                  const at::Tensor& attended_BTC) const {
  const c10::ScalarType mlp_type = TypeFor(!layer.mlp_gate.weight.defined());
  if (IsSequential()) {
    const AddedNorm between =
        AddNorm({.x = x_BTC, .addend = attended_BTC}, Of(layer.norm_2), mlp_type, compute_);
    return {.x = between.sum, .addend = MlpPart(layer, between.normed)};
  }
  return {.x = x_BTC + attended_BTC,
          .addend = MlpPart(layer, NeedsNormedInput(layer)
                                       ? normed_BTC
                                       : Norm(x_BTC, Of(layer.norm_2), mlp_type, compute_))};
}

// What the position methods of all layers share, computed once: the learned tensors, then what the
// terms compute from them. Empty if each layer has its own.
Stack::Tensors Stack::SharedPositions(std::int64_t n_positions) const {
  if (!terms_.share_layers) return {};
  Tensors shared = layers_.front().learned;
  for (at::Tensor& tensor : attention_.Shared(shared, n_positions)) {
    shared.push_back(std::move(tensor));
  }
  return shared;
}

at::Tensor Stack::RecomputedBlock(const Layer& layer, const at::Tensor& x_BTC,
                                  const BlockCall& given) {
  Tensors leaves;
  for (const StoredWeights* of :
       {&layer.norm_1, &layer.norm_2, &layer.qkv, &layer.q, &layer.k, &layer.v, &layer.attn_out,
        &layer.mlp_gate, &layer.mlp_up, &layer.mlp_down}) {
    if (of->weight.defined()) leaves.push_back(of->weight);
    if (of->bias.defined()) leaves.push_back(of->bias);
  }
  if (given.shared.empty()) {
    leaves.insert(leaves.end(), layer.learned.begin(), layer.learned.end());
  }
  return Recomputed(
      [this, &layer, n_shared = given.n_shared, ids = given.position_ids_BT, n = given.n_positions](
          const at::Tensor& x, const Tensors& of_all) {
        return Block(layer, {.x = x},
                     {.shared = of_all,
                      .n_shared = n_shared,
                      .position_ids_BT = ids,
                      .n_positions = n})
            .Value();
      },
      x_BTC, given.shared, leaves);
}

PendingSum Stack::Forward(at::Tensor x_BTC, const Pass& pass) {
  const std::int64_t n_tokens = x_BTC.size(1);
  PendingSum sum_BTC = {.x = std::move(x_BTC)};
  BlockCall given = {.shared = SharedPositions(n_tokens),
                     .n_shared = n_tokens,
                     .position_ids_BT = pass.position_ids_BT,
                     .n_positions = pass.n_positions,
                     .reading = pass.reading};
  const Tensors shared = given.shared;
  const bool in_parts = !at::GradMode::is_enabled() && sum_BTC.x.size(0) == 1 &&
                        n_tokens > TokensPerRead(compute_.device_kind());
  for (const Layer& layer : layers_) {
    if (recomputes_ && at::GradMode::is_enabled()) {
      given.shared = shared;
      sum_BTC = {.x = RecomputedBlock(layer, sum_BTC.Value(), given)};
      continue;
    }
    if (in_parts) {
      sum_BTC = {.x = BlockInParts(layer, sum_BTC.Value(), given)};
      ++given.layer;
      continue;
    }
    // Aliases per layer: a layer's parts of a gradient are added up before those of the layers, in
    // the same order with and without activation checkpointing.
    given.shared.clear();
    for (const at::Tensor& tensor : shared) given.shared.push_back(at::alias(tensor));
    sum_BTC = Block(layer, std::move(sum_BTC), given);
    ++given.layer;
  }
  return sum_BTC;
}

bool Stack::Observe(at::Tensor x_BTC, std::int64_t n_layers,
                    const std::function<bool(std::int64_t layer, AttentionObserver&)>& before,
                    ReadingPlanner* reading) {
  const at::NoGradGuard no_grad;
  const std::int64_t n_tokens = x_BTC.size(1);
  const Tensors shared = SharedPositions(n_tokens);
  PendingSum sum_BTC = {.x = std::move(x_BTC)};
  for (std::int64_t l = 0; l < n_layers; ++l) {
    AttentionObserver observer;
    if (!before(l, observer)) return false;
    const Layer& layer = layers_[static_cast<std::size_t>(l)];
    sum_BTC = Block(layer, std::move(sum_BTC),
                    {.layer = l,
                     .shared = shared,
                     .n_shared = n_tokens,
                     .cache = nullptr,
                     .observer = observer ? &observer : nullptr,
                     .reading = reading});
  }
  return true;
}

void StackCaches::Reserve() {
  for (AttentionCache& cache : of_layers) {
    if (in_host == nullptr || cache.seen.window > 0) cache.Reserve();
  }
}

StackCaches StackCaches::Rows(const at::Tensor& rows_R) const {
  LR_CHECK(in_host == nullptr);
  StackCaches rows;
  rows.of_layers.reserve(of_layers.size());
  for (const AttentionCache& cache : of_layers) {
    rows.of_layers.push_back(cache.Rows(rows_R));
  }
  return rows;
}

StackCaches Stack::NewCaches(std::int64_t batch, std::int64_t capacity,
                             const ReadingPlanner* reading, KeysPlace place) const {
  StackCaches caches;
  caches.of_layers.reserve(layers_.size());
  for (const Layer& layer : layers_) {
    const Attention& attention = layer.sees_all ? *full_attention_ : attention_;
    caches.of_layers.push_back(attention.MakeCache(batch, capacity, reading));
  }
  if (place == KeysPlace::kHost && !compute_.device.is_cpu()) {
    caches.in_host = std::make_unique<HostKeys>(compute_.device, caches.of_layers);
  }
  return caches;
}

std::vector<PendingSum> Stack::ForwardBehind(std::vector<PendingSum> parts_BTC, StackCaches& caches,
                                             const PassBehind& pass) {
  LR_CHECK(parts_BTC.size() == 1 || pass.reading == nullptr);
  LR_CHECK(caches.of_layers.size() == layers_.size());
  const at::NoGradGuard no_grad;
  // Layers that hold fewer keys than the others make their own.
  std::int64_t n_held = 0;
  for (const AttentionCache& cache : caches.of_layers) n_held = std::max(n_held, cache.n_held());
  std::int64_t n_tokens = 0;
  std::vector<BlockCall> calls;
  for (const PendingSum& part_BTC : parts_BTC) {
    n_tokens += part_BTC.x.size(1);
    calls.push_back({.shared = SharedPositions(n_held + n_tokens),
                     .n_shared = n_held + n_tokens,
                     .reading = pass.reading,
                     .n_to_come = pass.n_to_come});
  }
  for (std::size_t l = 0; l < layers_.size(); ++l) {
    if (caches.in_host) caches.in_host->Bring(caches.of_layers, l, n_tokens);
    for (std::size_t p = 0; p < calls.size(); ++p) {
      calls[p].layer = static_cast<std::int64_t>(l);
      calls[p].cache = &caches.of_layers[l];
      calls[p].only_last = pass.only_last && l + 1 == layers_.size();
      parts_BTC[p] = Block(layers_[l], std::move(parts_BTC[p]), calls[p]);
    }
    if (caches.in_host) caches.in_host->TakeBack(caches.of_layers, l);
  }
  return parts_BTC;
}

}  // namespace longrun
