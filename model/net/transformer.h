// A GPT-2-style decoder (Radford et al. 2019), written as functions over named parameters:
//
//   x = multiplier * wte[token] + E[t]                             E: the position method's, or 0
//   x = x + c_proj(attention(c_attn(ln_1(x))))                     for each layer
//   x = x + c_proj(gelu(c_fc(ln_2(x))))
//   hidden = ln_f(x),   logits = hidden wte^T
//
// Legend: B batch, T positions, C d_model, V vocabulary.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "model/config.h"
#include "model/net/attention.h"
#include "model/net/device.h"
#include "model/net/parameters.h"

namespace longrun {

// What a model folder says: our model, and GPT-2's own switches of the score's scale.
struct NetConfig {
  ModelConfig model;
  bool scale_attn_weights = true;                // false: the scale is 1
  bool scale_attn_by_inverse_layer_idx = false;  // true: / (layer + 1)
};

class Transformer {
 public:
  // Takes the parameters, as they are named, moved to the device and type of `compute`; they must
  // be those of ParametersOf(config.model), in any floating type (a caller's promise: LR_CHECK).
  // kUnimplemented when the back-end lacks a term of the position method.
  static Result<Transformer> Make(const NetConfig& config, ParameterMap parameters,
                                  AttentionBackend backend, const Compute& compute);

  const NetConfig& config() const { return config_; }
  const Compute& compute() const { return compute_; }
  // Leaves; with RequireGradients(true), Hidden() records.
  const ParameterMap& parameters() const { return parameters_; }
  void RequireGradients(bool required);

  // kOutOfRange when a sequence of n_tokens does not fit the model's position table.
  Status CheckLength(std::int64_t n_tokens) const;
  // ids (int64, on the device, within [0, V), of a length that CheckLength passed).
  at::Tensor Hidden(const at::Tensor& ids_BT);
  // The same of tokens that stand behind those in the caches, one for each layer, to which they are
  // added (Attention::ForwardBehind); the whole sequence is of a length that CheckLength passed.
  at::Tensor HiddenBehind(const at::Tensor& ids_BT, std::span<AttentionCache> caches);
  bool has_gate() const { return terms_.key_bias_gate.has_value(); }
  AttentionBackend backend() const { return attention_.backend(); }
  // The head's weight: wte when tied.
  const at::Tensor& head_VC() const { return head_VC_; }

 private:
  struct Layer {
    at::Tensor ln_1_weight, ln_1_bias, c_attn_weight, c_attn_bias, attn_proj_weight, attn_proj_bias;
    std::vector<at::Tensor> learned;  // by the position method, as TermSpec::learned lists it
    at::Tensor ln_2_weight, ln_2_bias, c_fc_weight, c_fc_bias, mlp_proj_weight, mlp_proj_bias;
    double scale = 0.0;
  };

  Transformer(const NetConfig& config, TermSpec terms, Attention attention, const Compute& compute);
  void Bind(ParameterMap&& parameters);
  void ProjectLearned();
  at::Tensor InputAddition(std::int64_t begin, std::int64_t n);
  at::Tensor Embedded(const at::Tensor& ids_BT, std::int64_t begin);
  at::Tensor AttentionPart(const Layer& layer, const at::Tensor& x_BTC, AttentionCache* cache);
  at::Tensor MlpPart(const Layer& layer, const at::Tensor& x_BTC);
  at::Tensor Linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) const;
  at::Tensor Norm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) const;

  NetConfig config_;
  TermSpec terms_;
  Attention attention_;
  Compute compute_;
  ParameterMap parameters_;
  at::Tensor wte_VC_, wpe_PC_, ln_f_weight_, ln_f_bias_, head_VC_;
  std::vector<Layer> layers_;
  at::Tensor filled_TC_;  // a closed-form E[t]; grows
};

}  // namespace longrun
