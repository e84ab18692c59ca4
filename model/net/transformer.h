// A decoder, written as functions over named parameters; its body is data (BodyConfig). GPT-2's
// (Radford et al. 2019):
//
//   x = multiplier * wte[token] + E[t]                             E: the position method's, or 0
//   x = x + c_proj(attention(c_attn(ln_1(x))))                     for each layer
//   x = x + c_proj(gelu(c_fc(ln_2(x))))
//   hidden = ln_f(x),   logits = hidden wte^T
//
// Others have the same parts in other places: BodyConfig::norm, mlp, block.
//
// Legend: B batch, T positions, C d_model, V vocabulary.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "model/architecture/architecture.h"
#include "model/config.h"
#include "model/extension/extension.h"
#include "model/net/attention.h"
#include "model/net/device.h"
#include "model/net/head.h"
#include "model/net/parameters.h"
#include "model/net/row_operators.h"

namespace longrun {

class Transformer {
 public:
  // Takes the parameters, as they are named, moved to the device and type of `compute`; they must
  // be those of ParametersOf(config.model), in any floating type (a caller's promise: LR_CHECK).
  // kUnimplemented when the back-end lacks a term of the position method; kInvalidArgument when
  // config.extension is nothing for it.
  static Result<Transformer> Make(const NetConfig& config, ParameterMap parameters,
                                  AttentionBackend backend, const Compute& compute);

  const NetConfig& config() const { return config_; }
  const Compute& compute() const { return compute_; }
  // Leaves; with RequireGradients(true), Hidden() records.
  const ParameterMap& parameters() const { return parameters_; }
  void RequireGradients(bool required);
  // What a block computed is computed again in the backward pass instead of kept (recompute.h): the same
  // bits, less memory. Between Hidden() and the backward pass this must not move.
  void SetActivationCheckpointing(bool on) { recomputes_ = on; }

  // kOutOfRange when a sequence of n_tokens does not fit the model's position table.
  Status CheckLength(std::int64_t n_tokens) const;
  // The longest text that can be written token by token: 0 for any. An extension by length turns all
  // tokens of a longer one anew (model/extension/).
  std::int64_t CachedLengthMax() const;
  // ids (int64, on the device, within [0, V), of a length that CheckLength passed).
  at::Tensor Hidden(const at::Tensor& ids_BT);
  // The same of tokens that stand behind those in the caches, one for each layer, to which they are
  // added (Attention::ForwardBehind); the whole sequence is of a length that CheckLength passed.
  at::Tensor HiddenBehind(const at::Tensor& ids_BT, std::span<AttentionCache> caches);
  // The first n_layers of them as Hidden runs them, without gradients. `before(l, observer)` is called
  // before layer l: it gives the observer of its attention (left empty: none looks), or says stop.
  // False when it said so.
  bool Observe(const at::Tensor& ids_BT, std::int64_t n_layers,
               const std::function<bool(std::int64_t layer, AttentionObserver&)>& before);
  bool has_gate() const { return terms_.key_bias_gate.has_value(); }
  AttentionBackend backend() const { return attention_.backend(); }
  // The head's weight is the embedding when tied.
  const Head& head() const { return head_; }
  // Memory for the product that is added to the gradient of head().weight_VC, of its size at most: kept as
  // that gradient is, because as new pages it would cost each pass time.
  at::Tensor* head_room() { return &head_room_; }

 private:
  using Tensors = std::vector<at::Tensor>;
  // As they are stored; undefined where the body has none.
  struct Weights {
    at::Tensor weight, bias;
  };
  struct Layer {
    Weights norm_1, norm_2;
    Weights qkv, q, k, v;  // qkv, or the three apart
    Weights attn_out;
    Weights mlp_gate, mlp_up, mlp_down;
    Tensors learned;  // by the position method, as TermSpec::learned lists it
    double scale = 0.0;
    bool sees_all = false;  // without the body's window
  };

  Transformer(const NetConfig& config, TermSpec terms, Attention attention,
              std::optional<Attention> full_attention, const Compute& compute);
  void Bind(ParameterMap&& parameters);
  void ProjectLearned();
  Status Extend();
  void TurnFor(std::int64_t n_tokens);
  at::Tensor InputAddition(std::int64_t begin, std::int64_t n);
  at::Tensor Embedded(const at::Tensor& ids_BT, std::int64_t begin);
  Tensors SharedPositions(std::int64_t n_positions) const;
  at::Tensor Block(const Layer& layer, const at::Tensor& x_BTC, const Tensors& shared,
                   AttentionCache* cache, const AttentionObserver* observer = nullptr);
  at::Tensor RecomputedBlock(const Layer& layer, const at::Tensor& x_BTC, const Tensors& shared);
  Tensors Projections(const Layer& layer, const at::Tensor& normed_BTC) const;
  at::Tensor AttentionPart(const Layer& layer, const at::Tensor& normed_BTC, const Tensors& shared,
                           AttentionCache* cache, const AttentionObserver* observer);
  at::Tensor MlpPart(const Layer& layer, const at::Tensor& normed_BTC) const;
  at::Tensor Linear(const at::Tensor& x, const Weights& product) const;
  NormWeights Of(const Weights& norm) const;
  c10::ScalarType TypeFor(bool one_product) const;
  at::Tensor FinalNorm(const at::Tensor& x) const;

  NetConfig config_;
  const Extension* extension_ = nullptr;
  RopeShape rope_ = {};
  TermSpec terms_;
  Attention attention_;
  std::optional<Attention> full_attention_;  // of the layers without the window
  Compute compute_;
  ParameterMap parameters_;
  bool inputs_first_ = false;  // the layout of the products' weights
  bool heads_first_ = false;   // of a fused qkv's outputs
  bool keys_first_ = false;
  at::Tensor wte_VC_, wpe_PC_;
  Weights final_norm_;  // undefined where the body has none
  Head head_;
  at::Tensor head_room_;
  std::vector<Layer> layers_;
  bool recomputes_ = false;
  at::Tensor filled_TC_;  // a closed-form E[t]; grows
};

}  // namespace longrun
