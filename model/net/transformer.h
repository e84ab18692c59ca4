// A decoder, as functions over named parameters: a stack of layers (stack.h) between an embedding
// and a head. Its body is data (BodyConfig). GPT-2's body (Radford et al. 2019):
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
#include <utility>
#include <vector>

#include "base/status.h"
#include "model/architecture/architecture.h"
#include "model/config.h"
#include "model/extension/extension.h"
#include "model/net/device.h"
#include "model/net/head.h"
#include "model/net/net.h"
#include "model/net/parameters.h"
#include "model/net/planned_reading.h"
#include "model/net/stack.h"

namespace longrun {

class TransformerState final : public NetState {
 public:
  explicit TransformerState(StackCaches caches) : caches_(std::move(caches)) {}
  std::int64_t n_read() const override { return caches_.of_layers.front().n; }
  void Reserve() override { caches_.Reserve(); }
  std::unique_ptr<NetState> Rows(const at::Tensor& rows_R) const override {
    return std::make_unique<TransformerState>(caches_.Rows(rows_R));
  }
  StackCaches& caches() { return caches_; }

 private:
  StackCaches caches_;
};

class Transformer final : public Net {
 public:
  // Like MakeNet (net.h).
  static Result<Transformer> Make(const NetConfig& config, ParameterMap parameters,
                                  AttentionBackend backend, const Compute& compute);

  const NetConfig& config() const override { return config_; }
  const Compute& compute() const override { return compute_; }
  AttentionBackend backend() const override { return stack_.backend(); }
  const ParameterMap& parameters() const override { return parameters_; }
  void RequireGradients(bool required) override;
  void SetActivationCheckpointing(bool on) override { stack_.SetActivationCheckpointing(on); }
  void SetSkipEpsilon(double skip_epsilon) override { stack_.SetSkipEpsilon(skip_epsilon); }
  void KeepWeightCopies() override { stack_.KeepWeightCopies(); }
  const std::shared_ptr<WeightCopies>& weight_copies() const override {
    return stack_.weight_copies();
  }
  const Head& head() const override { return head_; }
  GradientRoom* head_room() override { return &head_room_; }

  Status CheckLength(std::int64_t n_tokens) const override;
  Status CheckGradients() const override;
  Status CheckPositionIds() const override;
  std::int64_t CachedLengthMax() const override;
  bool ReadsInAnyCuts() const override {
    return extension_ == nullptr || extension_->piece == nullptr;
  }
  bool SharesPrefixes(std::int64_t n_tokens) const override;

  using Net::Hidden;
  at::Tensor Hidden(const Batch& batch) override;
  std::unique_ptr<NetState> NewState(std::int64_t batch, std::int64_t capacity,
                                     KeysPlace place = KeysPlace::kDevice) const override;
  at::Tensor Read(const at::Tensor& ids_BT, NetState& state, std::int64_t n_to_come = 0) override;
  at::Tensor ReadParts(const at::Tensor& ids_BT, NetState& state, std::int64_t n_part,
                       std::int64_t n_to_come) override;
  at::Tensor ReadLast(const at::Tensor& ids_BT, NetState& state,
                      std::int64_t n_to_come = 0) override;
  bool Observe(const at::Tensor& ids_BT, std::int64_t n_layers,
               const std::function<bool(std::int64_t layer, AttentionObserver&)>& before) override;

 private:
  Transformer(const NetConfig& config, TermSpec terms, Stack stack, const Compute& compute);
  void Bind(ParameterMap&& parameters);
  Status Extend();
  void SetRotationFor(std::int64_t n_tokens);
  at::Tensor InputAddition(std::int64_t begin, std::int64_t n);
  at::Tensor Embedded(const at::Tensor& ids_BT, std::int64_t begin);
  struct Cut {
    std::int64_t n_part = 0, n_to_come = 0;
    bool only_last = false;
  };
  at::Tensor ReadTokens(const at::Tensor& ids_BT, NetState& state, const Cut& cut);
  at::Tensor FinalNorm(const PendingSum& x) const;

  NetConfig config_;
  const Extension* extension_ = nullptr;
  RopeShape rope_ = {};
  TermSpec terms_;
  Stack stack_;
  Compute compute_;
  ParameterMap parameters_;
  at::Tensor wte_VC_, wpe_PC_;
  StoredWeights final_norm_;  // undefined if the body has none
  Head head_;
  GradientRoom head_room_;
  at::Tensor filled_TC_;                     // a closed-form E[t]; grows
  std::unique_ptr<ReadingPlanner> reading_;  // null: keys are at their own positions
};

}  // namespace longrun
