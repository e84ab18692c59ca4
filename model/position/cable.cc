// CABLE: context-aware biases for length extrapolation (arXiv:2503.08067; axiomlab/Cable,
// src/Cable.py). The cost of a step is learned from the token that is stepped over.
//
//   a = x W^T + beta            x: the layer's input after its LayerNorm; W (H, C), beta (H)
//   b_t = -sum over u <= t of softplus(a_u)                          inclusive, falling
//   s[i][j] = scale <q_i, k_j> + b_i - b_j,   j <= i
//
//   variant        scale              bias
//   official       1                  b_i - b_j       the official code has no 1/sqrt(head_dim)
//   scaled         1/sqrt(head_dim)   b_i - b_j       our ablation
//   augmented      1/sqrt(d_model)    b_i - b_j       the official evaluation notebook
//   bidirectional  1/sqrt(head_dim)   -|b_i - b_j|    experimental: our form for encoders
//
// W ~ N(0, 0.02^2) and beta = 0, so that a step costs about ln 2 at the start.
#include <cmath>

#include "base/str.h"
#include "model/position/method.h"

namespace longrun {
namespace {

ParamResult<TermSpec> CableTerms(const Json& params, const AttentionShape& shape) {
  const auto& variant = params.at("variant").get_ref<const std::string&>();
  const bool two_sided = variant == "bidirectional";
  if (two_sided && shape.causal) {
    return ParamError{.key = "variant",
                      .message =
                          "\"bidirectional\" of method \"cable\" needs model.causal: false; choose "
                          "\"official\" or \"scaled\" for a causal model",
                      .others = {"model.causal"}};
  }
  if (!two_sided && !shape.causal) {
    return ParamError{
        .key = "variant",
        .message = Str("\"", variant,
                       "\" of method \"cable\" needs model.causal: true; choose \"bidirectional\" "
                       "for a model without a causal mask"),
        .others = {"model.causal"}};
  }
  const double width = variant == "official"    ? 1.0
                       : variant == "augmented" ? static_cast<double>(shape.d_model)
                                                : static_cast<double>(shape.head_dim);
  return TermSpec{
      .scale = 1.0 / std::sqrt(width),
      .key_bias_gate = KeyBiasGate{.gate = KeyBiasGate::Gate::kSoftplusNegative,
                                   .weight = "weight",
                                   .bias = "bias",
                                   .two_sided = two_sided},
      .learned = {{.name = "weight", .shape = {shape.n_head, shape.d_model}, .init = {.std = 0.02}},
                  {.name = "bias", .shape = {shape.n_head}}},
  };
}

}  // namespace

const PositionMethod& CableMethod() {
  static const PositionMethod method = {
      .name = "cable",
      .source = "arXiv:2503.08067; axiomlab/Cable src/Cable.py",
      .beyond = "works; perplexity stays flat or falls",
      .params = {{.name = "variant",
                  .type = PositionParam::Type::kChoice,
                  .default_value = "official",
                  .choices = {"official", "scaled", "augmented", "bidirectional"},
                  .experimental = {"bidirectional"},
                  .meaning = "scale of <q, k>; official: 1; scaled: 1/sqrt(head_dim); augmented: "
                             "1/sqrt(d_model); bidirectional: 1/sqrt(head_dim), for encoders"}},
      .terms = &CableTerms,
  };
  return method;
}

}  // namespace longrun
