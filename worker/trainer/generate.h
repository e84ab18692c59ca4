// The command that continues a prompt: tokens from a file to tokens in a file, or text to text.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/status.h"
#include "model/sampling.h"
#include "worker/trainer/open_model.h"

namespace longrun::trainer {

// The largest number of tokens, the same as for context lengths.
inline constexpr std::int64_t kNewTokensMax = std::int64_t{1} << 26;

struct GenerateOptions {
  ModelOptions model;
  std::string tokens;                 // safetensors: tokens (B, T), int64; or "": a text
  std::optional<std::string> prompt;  // the text itself,
  std::string prompt_file;            // or the unchanged bytes of a file
  // For a text: "bytes", "gpt2", a tokenizer's file, a dataset's folder; "":
  // tokenizer.json in the model's folder.
  std::string tokenizer;
  std::string output;  // safetensors, written; for a text it may be "": none
  std::int64_t new_tokens = 0;
  Sampling sampling;
  bool no_cache = false;
};

// Writes `tokens` (B, T + N), the prompt and its continuation, and `logits` (B, N, V), from which
// each new token was chosen: F64 for fp64, else F32.
//
// For a text, the continuation goes to standard output while it is generated. Only ids of the
// tokenizer are chosen, and the tokenizer's end-of-text id ends the generation, so N may be smaller
// than requested.
Status RunGenerate(const GenerateOptions& options);

}  // namespace longrun::trainer
