// The layers of a body, one after the other, with their attention and their caches. A network
// consists of one stack (transformer.h) or of several, and has what lies around them: embedding,
// final norm, head. The formulas of a layer are in transformer.h.
//
// Legend: B batch, T positions, C d_model.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "model/architecture/architecture.h"
#include "model/config.h"
#include "model/extension/extension.h"
#include "model/net/attention.h"
#include "model/net/attention_observer.h"
#include "model/net/device.h"
#include "model/net/host_keys.h"
#include "model/net/keys_place.h"
#include "model/net/parameters.h"
#include "model/net/planned_reading.h"
#include "model/net/row_operators.h"
#include "model/net/weight_copies.h"

namespace longrun {

// In their stored layout; undefined if the body has none.
struct StoredWeights {
  at::Tensor weight, bias;
};
// Undefined if there is none.
at::Tensor FindTensor(const ParameterMap& parameters, const std::string& name);
// Those called `at` + `name`; undefined if the name is empty.
StoredWeights FindWeights(const ParameterMap& parameters, const std::string& at,
                          std::string_view name);
NormWeights NormOf(const ModelConfig& model, const StoredWeights& norm);

struct StackCaches {
  std::vector<AttentionCache> of_layers;
  // Holds the keys and values between the passes, except those of layers with a window; null: the
  // caches do.
  std::unique_ptr<HostKeys> in_host = nullptr;

  // Makes room for texts as long as the capacity in those that hold their keys themselves.
  void Reserve();
  // AttentionCache::Rows of each layer. Not with in_host.
  StackCaches Rows(const at::Tensor& rows_R) const;
};

class Stack {
 public:
  // kUnimplemented if the back-end lacks a term.
  static Result<Stack> Make(const NetConfig& config, const TermSpec& terms,
                            AttentionBackend backend, const Compute& compute);
  // Takes the layers' tensors from those of a whole network. Call it once.
  void Bind(const ParameterMap& parameters);

  AttentionBackend backend() const { return attention_.backend(); }
  void SetActivationCheckpointing(bool on) { recomputes_ = on; }
  void SetSkipEpsilon(double skip_epsilon);
  // As Net's.
  void KeepWeightCopies();
  const std::shared_ptr<WeightCopies>& weight_copies() const { return copies_; }
  // From the next call on; for a method that rotates.
  void SetRotation(const ExtendedRotation& rotation);
  // Call it before each pass: clamps learned tensors of the position method to their ranges.
  void ProjectLearned();

  // What is the same for all layers.
  struct Pass {
    at::Tensor position_ids_BT = {};  // with n_positions, as in Attention::Call
    std::int64_t n_positions = 0;
    ReadingPlanner* reading = nullptr;
  };
  // x (B, T, C) after all layers; the last addition is left to the norm behind them. By value: the
  // caller's tensor need not outlive the first layer. Without gradients, a text of more than
  // TokensPerRead tokens is read in parts of so many rows where the attention does not need all of
  // them; x is then written over.
  PendingSum Forward(at::Tensor x_BTC, const Pass& pass);
  // The first n_layers layers, without gradients, as Net::Observe says.
  bool Observe(at::Tensor x_BTC, std::int64_t n_layers,
               const std::function<bool(std::int64_t layer, AttentionObserver&)>& before,
               ReadingPlanner* reading);
  // `reading` is that of the passes.
  StackCaches NewCaches(std::int64_t batch, std::int64_t capacity, const ReadingPlanner* reading,
                        KeysPlace place) const;
  struct PassBehind {
    ReadingPlanner* reading = nullptr;
    std::int64_t n_to_come = 0;  // as in Net::Read
    bool only_last = false;      // the result is that of the last token, (B, 1, C)
  };
  // x of tokens that follow those in the caches, without gradients. Several parts give what calls
  // for one after the other give, to the bit, but each layer reads all parts before the next does.
  // With a reading there may be only one, since the plan of a part is kept for all layers.
  std::vector<PendingSum> ForwardBehind(std::vector<PendingSum> parts_BTC, StackCaches& caches,
                                        const PassBehind& pass);

 private:
  using Tensors = std::vector<at::Tensor>;
  struct Layer {
    StoredWeights norm_1, norm_2;
    StoredWeights qkv, q, k, v;  // either qkv, or q, k and v
    StoredWeights attn_out;
    StoredWeights mlp_gate, mlp_up, mlp_down;
    Tensors learned;  // of the position method, in the order of TermSpec::learned
    double scale = 0.0;
    bool sees_all = false;  // without the body's window
  };
  // What a block is given besides its input.
  struct BlockCall {
    std::int64_t layer = 0;
    Tensors shared = {};
    std::int64_t n_shared = 0;  // positions that `shared` is for
    AttentionCache* cache = nullptr;
    const AttentionObserver* observer = nullptr;
    at::Tensor position_ids_BT = {};
    std::int64_t n_positions = 0;
    ReadingPlanner* reading = nullptr;
    std::int64_t n_to_come = 0;
    // Only with a cache: the block returns the last token, (B, 1, C).
    bool only_last = false;
  };

  Stack(const NetConfig& config, const TermSpec& terms, Attention attention,
        std::optional<Attention> full_attention, const Compute& compute);
  Tensors SharedPositions(std::int64_t n_positions) const;
  // By value, so that nothing of the input outlives its last use.
  PendingSum Block(const Layer& layer, PendingSum x_BTC, const BlockCall& given);
  at::Tensor RecomputedBlock(const Layer& layer, const at::Tensor& x_BTC, const BlockCall& given);
  Tensors Projections(const Layer& layer, const at::Tensor& normed_BTC) const;
  at::Tensor BlockInParts(const Layer& layer, at::Tensor x_BTC, const BlockCall& given);
  at::Tensor Attended(const Layer& layer, Tensors qkv_BHTD, const at::Tensor& normed_BTC,
                      const BlockCall& given);
  at::Tensor AttentionOutput(const Layer& layer, const at::Tensor& heads_BTC) const;
  PendingSum BehindAttention(const Layer& layer, const at::Tensor& x_BTC,
                             const at::Tensor& normed_BTC, const at::Tensor& attended_BTC) const;
  bool IsSequential() const;
  bool NeedsNormedInput(const Layer& layer) const;
  c10::ScalarType InputType(const Layer& layer) const;
  at::Tensor MlpPart(const Layer& layer, const at::Tensor& normed_BTC) const;
  at::Tensor Rounded(const at::Tensor& weight) const;
  at::Tensor Linear(const at::Tensor& x, const StoredWeights& product) const;
  NormWeights Of(const StoredWeights& norm) const { return NormOf(config_.model, norm); }
  c10::ScalarType TypeFor(bool one_product) const;

  NetConfig config_;
  TermSpec terms_;
  Attention attention_;
  std::optional<Attention> full_attention_;  // for the layers without the window
  Compute compute_;
  bool inputs_first_ = false;  // the layout of the products' weights
  bool heads_first_ = false;   // of a fused qkv's outputs
  bool keys_first_ = false;
  std::vector<Layer> layers_;
  bool recomputes_ = false;
  std::shared_ptr<WeightCopies> copies_;  // shared with the optimizer that writes them
};

}  // namespace longrun
