// The parameters of a network, under the names and in the shapes that Hugging Face's transformers
// gives them (model/architecture/): for GPT-2, whose products hold (in, out),
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
// and what a position method learns beside them, in every architecture:
//
//   transformer.wpe.weight                 (P, C)     learned positions only
//   transformer.position.{name}            as the method declares it, where the layers share it
//   transformer.h.{l}.attn.position.{name} the same, of one layer (cable: weight (H, C), bias (H))
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
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
};

using ParameterMap = std::map<std::string, at::Tensor>;

// The terms of the model's position method.
Result<TermSpec> TermsOf(const ModelConfig& model);

// In the order of the network.
Result<std::vector<ParameterSpec>> ParametersOf(const ModelConfig& model);

// fp32 on the CPU. Element i of a tensor is normal (or uniform) number i of the Philox sequence with
// key `seed` and counter (i / 2, fnv1a64(name)): independent of device, order and of the other
// parameters.
ParameterMap InitialParameters(const std::vector<ParameterSpec>& specs, std::uint64_t seed);

// SHA-256 over the tensors' bytes (fp32, little-endian, row by row), in the order of the names: what a
// script gets by hashing the arrays of a model.safetensors in sorted order.
std::string ParametersSha256(const ParameterMap& parameters);

// Uniform numbers u_0, u_1, ... in (0, 1) of a parameter's sequence: two of each counter, of 53 bits.
std::vector<double> PhiloxUniforms(std::uint64_t seed, std::string_view name, std::int64_t n);

// Normal numbers n_0, n_1, ... of a parameter's sequence (Box-Muller in double).
std::vector<double> PhiloxNormals(std::uint64_t seed, std::string_view name, std::int64_t n);

}  // namespace longrun
