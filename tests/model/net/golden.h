// The golden cases of tools/oracle/gpt2_oracle.py (net/), bodies_oracle.py and jaketae_oracle.py
// (bodies/): weights by a formula, logits and gradients in float64 from an independent PyTorch
// program, and from transformers.
#pragma once

#include <ATen/ops/empty.h>

#include <cstdint>
#include <string>

#include "base/files.h"
#include "base/json.h"
#include "model/net/model_folder.h"
#include "model/net/tensor_file.h"

namespace longrun {

inline const char* const kGoldenCases[] = {"learned",
                                           "none",
                                           "sinusoidal",
                                           "rope",
                                           "rope_interleaved",
                                           "alibi",
                                           "cable",
                                           "cable_scaled",
                                           "cable_bidirectional",
                                           "gelu_inverse_layer",
                                           "relu_unscaled",
                                           "silu",
                                           "tanh",
                                           "quick_gelu"};

// transformers' own models, as it saves their config.json; jaketae's by
// tools/oracle/jaketae_oracle.py.
inline const char* const kBodyCases[] = {"bodies/gptj",           "bodies/gptj_tied",
                                         "bodies/gpt_neox",       "bodies/gpt_neox_sequential",
                                         "bodies/llama",          "bodies/llama_biases",
                                         "bodies/mistral",        "bodies/mistral_no_window",
                                         "bodies/qwen2",          "bodies/qwen2_window",
                                         "bodies/llama_linear",   "bodies/llama_dynamic",
                                         "bodies/llama_yarn",     "bodies/llama_llama3",
                                         "bodies/llama_longrope", "bodies/gpt_neox_yarn",
                                         "bodies/qwen2_layers",   "bodies/baichuan",
                                         "bodies/jaketae",        "bodies/jaketae_encoder",
                                         "bodies/jaketae_wide"};

inline std::string GoldenFolder(const std::string& name) {
  const std::string part = name.find('/') == std::string::npos ? "net/" : "";
  return std::string(LONGRUN_SOURCE_DIR) + "/tests/golden/" + part + name;
}

// w[n] = offset + (((n + s)^2 * 31 + n * s) mod 65537 - 32768) / 131072, s = sum of the name's
// bytes, offset 1 for the weights of norms, else 0.
inline ParameterMap FormulaWeights(const ModelConfig& model) {
  ParameterMap weights;
  const std::vector<ParameterSpec> specs = ParametersOf(model).value();
  for (const ParameterSpec& spec : specs) {
    std::int64_t s = 0;
    for (const char c : spec.name) s += c;
    at::Tensor tensor = at::empty(spec.shape, at::kFloat);
    float* out = tensor.data_ptr<float>();
    for (std::int64_t n = 0; n < tensor.numel(); ++n) {
      const std::int64_t step = ((n + s) * (n + s) * 31 + n * s) % 65537 - 32768;
      out[n] = static_cast<float>(spec.init_mean) + static_cast<float>(step) / 131072.0f;
    }
    weights[spec.name] = tensor;
  }
  return weights;
}

inline NetConfig GoldenConfig(const std::string& name) {
  const std::string text = ReadFile(GoldenFolder(name) + "/config.json").value();
  return ParseModelConfig(ParseJson(text).value()).value();
}

inline at::Tensor GoldenTensor(const std::string& name, const std::string& tensor) {
  const SafetensorsFile file =
      SafetensorsFile::Open(GoldenFolder(name) + "/expected.safetensors").value();
  return ToTensor(*file.Find(tensor));
}

}  // namespace longrun
