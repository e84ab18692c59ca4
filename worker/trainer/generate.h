// The door for writing behind a prompt: tokens from a file to tokens in a file, or text to text.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/status.h"
#include "model/sampling.h"
#include "worker/trainer/open_model.h"

namespace longrun {

// As many tokens as any context length may have.
inline constexpr std::int64_t kNewTokensMax = std::int64_t{1} << 26;

struct GenerateOptions {
  ModelOptions model;
  std::string tokens;                 // safetensors: tokens (B, T), int64; or "": a text
  std::optional<std::string> prompt;  // the text itself,
  std::string prompt_file;            // or the bytes of a file, as they are
  // Of a text: "bytes", "gpt2", a tokenizer's file, a dataset's folder; "": tokenizer.json in the
  // model's folder.
  std::string tokenizer;
  std::string output;  // safetensors, written; of a text it may be "": none
  std::int64_t new_tokens = 0;
  Sampling sampling;
  bool no_cache = false;
};

// Writes `tokens` (B, T + N), the prompt and what stands behind it, and `logits` (B, N, V), what each
// new token was chosen from: F64 for fp64, else F32.
//
// Of a text, what is written behind it goes to standard output as it comes. Only ids that the
// tokenizer has are chosen, and its end of text ends the writing, so N may be smaller than asked for.
Status RunGenerate(const GenerateOptions& options);

}  // namespace longrun
