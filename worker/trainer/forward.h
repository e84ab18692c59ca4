// The door for checking us: logits and gradients of a model in a Hugging Face folder, from tokens in
// a file to tensors in a file.
#pragma once

#include <string>

#include "base/status.h"
#include "worker/trainer/open_model.h"

namespace longrun {

struct ForwardOptions {
  ModelOptions model;
  std::string tokens;  // safetensors: tokens (B, T), int64
  std::string output;  // safetensors, written
};

// Writes `logits` (B, T, V): F64 for fp64, else F32.
Status Forward(const ForwardOptions& options);

// Writes the gradient of the mean loss over all B (T - 1) next-token predictions, each under its
// parameter's name.
Status Grad(const ForwardOptions& options);

}  // namespace longrun
