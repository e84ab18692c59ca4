// Small models for tests.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>

#include <cstdint>
#include <string>

#include "base/check.h"
#include "model/net/transformer.h"

namespace longrun {

inline NetConfig SmallConfig(const Json& position, std::int64_t n_positions = 0) {
  NetConfig config;
  config.model.n_layer = 2;
  config.model.n_head = 2;
  config.model.d_model = 8;
  config.model.d_ff = 32;
  config.model.vocab_size = 13;
  config.model.init_std = 0.3;  // large, so that attention is not flat
  config.model.n_positions = n_positions;
  config.model.position = ResolvePosition(position).value();
  return config;
}

// Without the causal mask.
inline NetConfig SmallEncoder(const Json& position, std::int64_t n_positions = 0) {
  NetConfig config = SmallConfig(position, n_positions);
  config.model.causal = false;
  return config;
}

// The same with another architecture's body, and what that can have beside GPT-2's.
inline NetConfig WithBody(NetConfig config, const std::string& architecture) {
  LR_CHECK(config.model.SetArchitecture(architecture).ok());
  config.model.d_ff = 20;
  BodyConfig& body = config.model.body;
  if (architecture == "llama" || architecture == "qwen2") body.n_kv_head = config.model.n_head / 2;
  if (architecture == "mistral" || architecture == "qwen2") body.window = 5;
  if (architecture == "qwen2") config.full_layers = {1};
  LR_CHECK(config.model.Check().ok());
  return config;
}

inline Transformer SmallNet(const NetConfig& config, const std::string& precision,
                            std::uint64_t seed = 7,
                            AttentionBackend backend = AttentionBackend::kReference) {
  const std::vector<ParameterSpec> specs = ParametersOf(config.model).value();
  return Transformer::Make(config, InitialParameters(specs, seed), backend,
                           OpenCompute("cpu", precision).value())
      .value();
}

// (B, T) ids without a visible pattern, below 13.
inline at::Tensor SmallTokens(std::int64_t b, std::int64_t t) {
  const at::Tensor n = at::arange(b * t, at::kLong);
  return ((n * n * 31 + n * 7) % 127 % 13).view({b, t}).contiguous();
}

}  // namespace longrun
