// Commands that inspect a model in a Hugging Face folder: logits, gradients and attention, from
// tokens in a file to tensors in a file.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"
#include "worker/trainer/open_model.h"

namespace longrun::trainer {

struct ForwardOptions {
  ModelOptions model;
  std::string tokens;  // safetensors: tokens (B, T), int64
  std::string output;  // safetensors, written
};

// Writes `logits` (B, T, V): F64 for fp64, else F32.
Status Forward(const ForwardOptions& options);

// Writes the gradient of the mean loss over all B (T - 1) next-token predictions, each tensor under
// its parameter's name.
Status Grad(const ForwardOptions& options);

struct AttentionOptions {
  ForwardOptions of;
  std::string values = "probabilities";       // probabilities | logits
  std::string layers = "all", heads = "all";  // all, or numbers from 0: "0,3"
  std::int64_t pool = 0;                      // largest number of cells per side; 0: T
  std::string pool_by = "mean";               // mean | max
};

// Writes the attention, averaged over the chosen layers, heads and the B texts, in the form of
// model/attention_map.h, with the label "model".
Status MapAttention(const AttentionOptions& options);

}  // namespace longrun::trainer
