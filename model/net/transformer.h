// A decoder, as functions over named parameters; its body is data (BodyConfig). GPT-2's body
// (Radford et al. 2019):
//
//   x = multiplier * wte[token] + E[t]                             E: the position method's, or 0
//   x = x + c_proj(attention(c_attn(ln_1(x))))                     for each layer
//   x = x + c_proj(gelu(c_fc(ln_2(x))))
//   hidden = ln_f(x),   logits = hidden wte^T
//
// Other bodies arrange the same parts differently: BodyConfig::norm, mlp, block.
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
#include "model/net/planned_reading.h"
#include "model/net/row_operators.h"

namespace longrun {

// What a network reads.
struct Batch {
  at::Tensor ids_BT;  // int64, on the device, within [0, V), of a length that passed CheckLength
  // (B, T), int32, on the device: the position to which the query and the key of each token are
  // rotated, from 0 to n_positions - 1; undefined: its place in the sequence. Only for a network
  // that passed CheckPositionIds.
  at::Tensor position_ids_BT = {};
  std::int64_t n_positions = 0;
};

class Transformer {
 public:
  // Takes the named parameters and moves them to the device and type of `compute`. They must be
  // those of ParametersOf(config.model), in any floating-point type (the caller guarantees it:
  // LR_CHECK). kUnimplemented if the back-end lacks a term of the position method; kInvalidArgument
  // if config.extension does not fit it.
  static Result<Transformer> Make(const NetConfig& config, ParameterMap parameters,
                                  AttentionBackend backend, const Compute& compute);

  const NetConfig& config() const { return config_; }
  const Compute& compute() const { return compute_; }
  // Leaves of the graph; with RequireGradients(true), Hidden() records gradients.
  const ParameterMap& parameters() const { return parameters_; }
  void RequireGradients(bool required);
  // If on, the backward pass computes a block's intermediate results again instead of keeping them
  // (recompute.h): the same bits, less memory. This object must not move between Hidden() and the
  // backward pass.
  void SetActivationCheckpointing(bool on) { recomputes_ = on; }

  // kOutOfRange if a sequence of n_tokens does not fit the model's position table.
  Status CheckLength(std::int64_t n_tokens) const;
  // The longest text that can be generated with a cache; 0: any. An extension that depends on the
  // length reads all tokens of a longer text again (model/extension/).
  std::int64_t CachedLengthMax() const;
  // Whether a text may be read in any cuts: false under an extension that reads in pieces of its
  // own (Extension::piece).
  bool ReadsInAnyCuts() const { return extension_ == nullptr || extension_->piece == nullptr; }
  // Whether the hidden state of a token is the same, to the bit, in every text of at most n_tokens
  // that begins with the tokens up to it, if the texts are read in the same parts by HiddenBehind.
  bool SharesPrefixes(std::int64_t n_tokens) const;
  // The most tokens that fit the model's position table; nullopt: any number.
  std::optional<std::int64_t> length_max() const;
  // kUnimplemented under an extension that places keys (Extension::read).
  Status CheckGradients() const;
  // kUnimplemented unless a rotation is all that tells this network a token's position.
  Status CheckPositionIds() const;
  // (B, T, C), after the final norm.
  at::Tensor Hidden(const Batch& batch);
  at::Tensor Hidden(const at::Tensor& ids_BT) { return Hidden(Batch{.ids_BT = ids_BT}); }
  // The same for tokens that follow those in the caches (one per layer). They are added to the
  // caches (Attention::ForwardBehind). The length of the whole sequence must have passed
  // CheckLength.
  at::Tensor HiddenBehind(const at::Tensor& ids_BT, std::span<AttentionCache> caches,
                          std::int64_t n_to_come = 0);
  // The same for the last of these tokens only, (B, 1, C). Of the last layer it computes, besides
  // keys and values, only what this token needs.
  at::Tensor LastHiddenBehind(const at::Tensor& ids_BT, std::span<AttentionCache> caches,
                              std::int64_t n_to_come = 0);
  // Runs the first n_layers layers like Hidden, without gradients. `before(l, observer)` is called
  // before layer l: it sets the observer of the layer's attention (empty: none), or returns false
  // to stop. Returns false if `before` stopped it.
  bool Observe(const at::Tensor& ids_BT, std::int64_t n_layers,
               const std::function<bool(std::int64_t layer, AttentionObserver&)>& before);
  // Empty caches, one per layer, with room for `capacity` tokens.
  std::vector<AttentionCache> MakeCaches(std::int64_t batch, std::int64_t capacity) const;
  AttentionBackend backend() const { return attention_.backend(); }
  // If the embeddings are tied, the head's weight is the embedding.
  const Head& head() const { return head_; }
  // Memory for the product that is added to the gradient of head().weight_VC, at most of its size.
  // It is kept between passes, since allocating new pages would cost time in each pass.
  at::Tensor* head_room() { return &head_room_; }

 private:
  using Tensors = std::vector<at::Tensor>;
  // In their stored layout; undefined if the body has none.
  struct Weights {
    at::Tensor weight, bias;
  };
  struct Layer {
    Weights norm_1, norm_2;
    Weights qkv, q, k, v;  // either qkv, or q, k and v
    Weights attn_out;
    Weights mlp_gate, mlp_up, mlp_down;
    Tensors learned;  // of the position method, in the order of TermSpec::learned
    double scale = 0.0;
    bool sees_all = false;  // without the body's window
  };

  Transformer(const NetConfig& config, TermSpec terms, Attention attention,
              std::optional<Attention> full_attention, const Compute& compute);
  void Bind(ParameterMap&& parameters);
  void ProjectLearned();
  Status Extend();
  void SetRotationFor(std::int64_t n_tokens);
  at::Tensor InputAddition(std::int64_t begin, std::int64_t n);
  at::Tensor Embedded(const at::Tensor& ids_BT, std::int64_t begin);
  Tensors SharedPositions(std::int64_t n_positions) const;
  // What a block is given besides its input.
  struct BlockCall {
    std::int64_t layer = 0;
    Tensors shared = {};
    AttentionCache* cache = nullptr;
    const AttentionObserver* observer = nullptr;
    at::Tensor position_ids_BT = {};
    std::int64_t n_positions = 0;
    ReadingPlanner* reading = nullptr;
    std::int64_t n_to_come = 0;
    // Only with a cache: the block returns the last token, (B, 1, C).
    bool only_last = false;
  };
  at::Tensor Block(const Layer& layer, const at::Tensor& x_BTC, const BlockCall& given);
  at::Tensor BlocksBehind(const at::Tensor& ids_BT, std::span<AttentionCache> caches,
                          std::int64_t n_to_come, bool only_last);
  at::Tensor RecomputedBlock(const Layer& layer, const at::Tensor& x_BTC, const BlockCall& given);
  Tensors Projections(const Layer& layer, const at::Tensor& normed_BTC) const;
  at::Tensor AttentionPart(const Layer& layer, const at::Tensor& normed_BTC,
                           const BlockCall& given);
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
  std::optional<Attention> full_attention_;  // for the layers without the window
  Compute compute_;
  ParameterMap parameters_;
  bool inputs_first_ = false;  // the layout of the products' weights
  bool heads_first_ = false;   // of a fused qkv's outputs
  bool keys_first_ = false;
  at::Tensor wte_VC_, wpe_PC_;
  Weights final_norm_;  // undefined if the body has none
  Head head_;
  at::Tensor head_room_;
  std::vector<Layer> layers_;
  bool recomputes_ = false;
  at::Tensor filled_TC_;                     // a closed-form E[t]; grows
  std::unique_ptr<ReadingPlanner> reading_;  // null: keys are at their own positions
};

}  // namespace longrun
