// Writing behind a prompt: each token chosen from the logits behind all that stands before it. The
// prompt is read in one pass and every token once (decoder.h), or, without a cache, the whole text anew
// for each token.
//
// Legend: B texts, T tokens of the prompt, N tokens written, V vocabulary.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <span>

#include "base/status.h"
#include "model/net/transformer.h"
#include "model/sampling.h"

namespace longrun {

struct Generation {
  std::int64_t new_tokens = 0;  // N, at least 1
  // Text b draws the Philox uniforms of (seed, b), one for each token: the same, whatever stands
  // beside it.
  Sampling sampling = {};
  bool cache = true;
  std::int64_t n_choices = 0;  // the ids below it are chosen from; 0: all V
  bool keep_logits = true;
  // Called with the B ids of each step; false ends the writing.
  std::function<bool(std::span<const std::int64_t>)> on_step = {};
};

struct Generated {
  at::Tensor tokens_BT;   // on the CPU: the prompt, and behind it what was written
  at::Tensor logits_BNV;  // on the CPU: what each token was chosen from; undefined unless kept
};

// prompt_BT: int64, on the CPU, T at least 1, within [0, V). kInvalidArgument for a model without a
// causal mask. kOutOfRange when the T + N - 1 tokens that are read do not fit its position table;
// kUnimplemented when it has no cache for so many, and `cache` asks for one. kAborted: NaN or infinity.
Result<Generated> Generate(Transformer& net, const at::Tensor& prompt_BT,
                           const Generation& generation);

}  // namespace longrun
