// Opens a model in a folder and tokens in a file, for the commands that inspect a model.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>

#include "base/status.h"
#include "model/net/net.h"

namespace longrun::trainer {

struct ModelOptions {
  std::string folder;              // config.json, model.safetensors
  std::string dtype = "fp32";      // fp32 | fp64 | bf16 | fp16
  std::string attention = "auto";  // auto | reference | torch | fused
  std::string device = "cpu";      // cpu | cuda | cuda:N
  std::string extend;              // JSON of an extension, its original_length by default that of
                                   // config.json; "": as in config.json
  int threads = 1;
};

// Opens the model. Also fixes the process's threads and algorithms (FixNumerics).
Result<std::unique_ptr<Net>> OpenModel(const ModelOptions& options);

// `tokens` (B, T), int64, of a safetensors file; on the CPU, not empty,
// each within [0, vocab_size).
Result<at::Tensor> LoadTokens(const std::string& path, std::int64_t vocab_size);

}  // namespace longrun::trainer
