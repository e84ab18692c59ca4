// The tensors that a model learns, under the names and in the shapes of Hugging Face's transformers
// (model/architecture/). For GPT-2, whose products hold (in, out):
//
//   transformer.wte.weight                 (V, C)     also the head, when tied
//   transformer.h.{l}.ln_1.{weight,bias}   (C)
//   transformer.h.{l}.attn.c_attn.weight   (C, 3 C)   .bias (3 C): q, k, v
//   transformer.h.{l}.attn.c_proj.weight   (C, C)     .bias (C)
//   transformer.h.{l}.ln_2.{weight,bias}   (C)
//   transformer.h.{l}.mlp.c_fc.weight      (C, F)     .bias (F)
//   transformer.h.{l}.mlp.c_proj.weight    (F, C)     .bias (C)
//   transformer.ln_f.{weight,bias}         (C)
//   lm_head.weight                         (V, C)     only when the head is not tied
//
// and the tensors that a position method learns, in every architecture:
//
//   transformer.wpe.weight                 (P, C)     learned positions only
//   transformer.position.{name}            as declared by the method, if the layers share it
//   transformer.h.{l}.attn.position.{name} the same, for one layer (cable: weight (H, C), bias (H))
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "model/config.h"
#include "model/position/method.h"

namespace longrun {

struct ParameterSpec {
  std::string name;
  std::vector<std::int64_t> shape;
  double init_mean = 0.0;
  double init_std = 0.0;                   // N(mean, std^2); 0: constant
  double init_low = 0.0, init_high = 0.0;  // U(low, high) instead, where high > low
  bool of_position = false;                // learned by the position method
};

// The terms of the model's position method.
Result<TermSpec> TermsOf(const ModelConfig& model);

// Names of the tensors that `model`'s position method learns and that cannot be taken from `from`,
// because `from` has another method or another shape of that tensor. Both models must have the same
// body, and must be checked.
std::vector<std::string> NewPositionTensors(const ModelConfig& from, const ModelConfig& model);

// All tensors of the model, in the order of the network.
Result<std::vector<ParameterSpec>> ParametersOf(const ModelConfig& model);

}  // namespace longrun
