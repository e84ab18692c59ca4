// The gate of the Forgetting Transformer (arXiv:2503.02130, section 3): each token decides how much
// of everything before it is kept.
//
//   f_t = sigmoid(w x_t + beta)        x: the layer's input after its LayerNorm; w (H, C), beta (H)
//   s[i][j] = <q_i, k_j> / sqrt(head_dim) + sum over j < u <= i of ln f_u
//
// The sum is F_i - F_j with F = cumsum(ln f): CABLE's term with the opposite sign of the gate. w ~
// N(0, 0.02^2) and beta = 0, like every linear layer of the body.
#include <cmath>

#include "base/str.h"
#include "model/position/method.h"

namespace longrun {
namespace {

ParamResult<TermSpec> FoxTerms(const Json& /*params*/, const AttentionShape& shape) {
  if (const auto refusal = NeedsCausal("fox", shape)) return *refusal;
  return TermSpec{
      .scale = 1.0 / std::sqrt(static_cast<double>(shape.head_dim)),
      .key_bias_gate =
          KeyBiasGate{.gate = KeyBiasGate::Gate::kLogSigmoid, .weight = "weight", .bias = "bias"},
      .learned = {{.name = "weight", .shape = {shape.n_head, shape.d_model}, .init = {.std = 0.02}},
                  {.name = "bias", .shape = {shape.n_head}}},
  };
}

}  // namespace

const PositionMethod& FoxMethod() {
  static const PositionMethod method = {
      .name = "fox",
      .source = "arXiv:2503.02130, section 3",
      .beyond = "works; perplexity stays flat or rises slowly",
      .terms = &FoxTerms,
  };
  return method;
}

}  // namespace longrun
