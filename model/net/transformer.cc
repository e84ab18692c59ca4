#include "model/net/transformer.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <span>
#include <utility>

#include "base/str.h"
#include "model/extension/extension.h"
#include "model/net/to_device.h"

namespace longrun {

Transformer::Transformer(const NetConfig& config, TermSpec terms, Stack stack,
                         const Compute& compute)
    : config_(config), terms_(std::move(terms)), stack_(std::move(stack)), compute_(compute) {}

Result<Transformer> Transformer::Make(const NetConfig& config, ParameterMap parameters,
                                      AttentionBackend backend, const Compute& compute) {
  const ModelConfig& model = config.model;
  ASSIGN_OR_RETURN(const TermSpec terms, TermsOf(model));
  ASSIGN_OR_RETURN(Stack stack, Stack::Make(config, terms, backend, compute));
  ASSIGN_OR_RETURN(const std::vector<ParameterSpec> specs, ParametersOf(model));
  LR_CHECK(specs.size() == parameters.size());
  for (const ParameterSpec& spec : specs) {
    const auto it = parameters.find(spec.name);
    LR_CHECK(it != parameters.end() && it->second.sizes() == at::IntArrayRef(spec.shape));
  }
  Transformer net(config, terms, std::move(stack), compute);
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
  if (extension_->read != nullptr && stack_.backend() == AttentionBackend::kTorch) {
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
  stack_.SetRotation(*rotation);
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
  const auto get = [&](const std::string& name) { return FindTensor(parameters_, name); };
  const auto architecture = FindArchitecture(config_.model.architecture);
  LR_CHECK(architecture.ok());
  const TensorNames& names = (*architecture)->names;
  wte_VC_ = get(Str(names.embedding, ".weight"));
  wpe_PC_ = get("transformer.wpe.weight");
  final_norm_ = FindWeights(parameters_, "", names.final_norm);
  head_ = {.weight_VC = config_.model.tie_embeddings ? wte_VC_ : get(Str(names.head, ".weight")),
           .bias_V = get(Str(names.head, ".bias"))};
  stack_.Bind(parameters_);
}

void Transformer::RequireGradients(bool required) {
  for (auto& [name, tensor] : parameters_) tensor.requires_grad_(required);
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
    filled_TC_ = ToDevice(table.to(compute_.dtype), compute_.device);
  }
  return filled_TC_.narrow(0, begin, n);
}

at::Tensor Transformer::FinalNorm(const PendingSum& x) const {
  if (!final_norm_.weight.defined()) return x.Value();
  return AddNorm(x, NormOf(config_.model, final_norm_), compute_.dtype, compute_).normed;
}

at::Tensor Transformer::Embedded(const at::Tensor& ids_BT, std::int64_t begin) {
  stack_.ProjectLearned();
  at::Tensor x_BTC = Embed(wte_VC_, ids_BT, config_.padding_id, compute_);
  if (terms_.input_add) {
    if (terms_.input_add->multiplier != 1.0) x_BTC = x_BTC * terms_.input_add->multiplier;
    x_BTC = x_BTC + InputAddition(begin, ids_BT.size(1));
  }
  return x_BTC;
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
  LR_CHECK(!has_ids || reading_ == nullptr);
  return FinalNorm(
      stack_.Forward(Embedded(batch.ids_BT, 0), {.position_ids_BT = batch.position_ids_BT,
                                                 .n_positions = batch.n_positions,
                                                 .reading = reading_.get()}));
}

bool Transformer::Observe(
    const at::Tensor& ids_BT, std::int64_t n_layers,
    const std::function<bool(std::int64_t layer, AttentionObserver&)>& before) {
  const at::NoGradGuard no_grad;
  SetRotationFor(ids_BT.size(1));
  return stack_.Observe(Embedded(ids_BT, 0), n_layers, before, reading_.get());
}

std::unique_ptr<NetState> Transformer::NewState(std::int64_t batch, std::int64_t capacity,
                                                KeysPlace place) const {
  return std::make_unique<TransformerState>(
      stack_.NewCaches(batch, capacity, reading_.get(), place));
}

at::Tensor Transformer::ReadTokens(const at::Tensor& ids_BT, NetState& state, const Cut& cut) {
  auto* const of_transformer = dynamic_cast<TransformerState*>(&state);
  LR_CHECK(of_transformer != nullptr);
  const at::NoGradGuard no_grad;
  const std::int64_t n_read = state.n_read(), n = ids_BT.size(1);
  SetRotationFor(n_read + n);
  std::vector<PendingSum> parts_BTC;
  for (std::int64_t begin = 0; begin < n; begin += cut.n_part) {
    const std::int64_t n_part = std::min(cut.n_part, n - begin);
    parts_BTC.push_back({.x = Embedded(ids_BT.narrow(1, begin, n_part), n_read + begin)});
  }
  std::vector<at::Tensor> hidden_BTC;
  for (const PendingSum& part_BTC : stack_.ForwardBehind(
           std::move(parts_BTC), of_transformer->caches(),
           {.reading = reading_.get(), .n_to_come = cut.n_to_come, .only_last = cut.only_last})) {
    hidden_BTC.push_back(FinalNorm(part_BTC));
  }
  return hidden_BTC.size() == 1 ? hidden_BTC.front() : at::cat(hidden_BTC, 1);
}

at::Tensor Transformer::Read(const at::Tensor& ids_BT, NetState& state, std::int64_t n_to_come) {
  return ReadTokens(ids_BT, state, {.n_part = ids_BT.size(1), .n_to_come = n_to_come});
}

at::Tensor Transformer::ReadParts(const at::Tensor& ids_BT, NetState& state, std::int64_t n_part,
                                  std::int64_t n_to_come) {
  if (reading_ == nullptr) {
    return ReadTokens(ids_BT, state, {.n_part = n_part, .n_to_come = n_to_come});
  }
  const std::int64_t n = ids_BT.size(1);
  std::vector<at::Tensor> hidden_BTC;
  for (std::int64_t begin = 0; begin < n; begin += n_part) {
    const std::int64_t end = std::min(n, begin + n_part);
    hidden_BTC.push_back(Read(ids_BT.narrow(1, begin, end - begin), state, n_to_come + n - end));
  }
  return at::cat(hidden_BTC, 1);
}

at::Tensor Transformer::ReadLast(const at::Tensor& ids_BT, NetState& state,
                                 std::int64_t n_to_come) {
  return ReadTokens(ids_BT, state,
                    {.n_part = ids_BT.size(1), .n_to_come = n_to_come, .only_last = true});
}

}  // namespace longrun
