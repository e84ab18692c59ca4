// Continues a prompt: each token is chosen from the logits after all tokens before it. Every token
// is read once (decoder.h) or, without a cache, the whole text is read again for each token.
//
// Legend: B texts, T tokens of the prompt, N tokens written, V vocabulary.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/status.h"
#include "model/net/keys_place.h"
#include "model/net/net.h"
#include "model/sampling.h"

namespace longrun {

// Tokens that a text does not write at its beginning.
struct HeldBack {
  std::int64_t n_first = 0;  // applies to so many tokens that it writes
  std::vector<std::int32_t> ids = {};
};

struct Generation {
  std::int64_t new_tokens = 0;  // N, at least 1
  // Text b uses the Philox uniforms of (seed, b), one per token,
  // independently of other texts in the batch.
  Sampling sampling = {};
  // One for each text, which then uses the uniforms of (its own seed, 0); empty: `sampling`.
  std::vector<Sampling> samplings = {};
  std::vector<HeldBack> held_back = {};  // one for each text; empty: nothing is held back
  bool cache = true;
  // Of the cache. On a GPU, kDevice takes all of its memory at once.
  KeysPlace keys_place = KeysPlace::kDevice;
  std::int64_t n_choices = 0;  // choose only from smaller ids; 0: all V
  bool keep_logits = true;
  // The tokens of each prompt, from 1 to T; the rest of its row is any valid ids. Empty: T each.
  // After the shortest prompt, each step reads one token of every text: the next one of its prompt
  // or, after its prompt, the one that was chosen. So every token has the position that it has if
  // its text is alone, and padding is read only after the last token that a text writes.
  std::vector<std::int64_t> prompt_lengths = {};
  // Called with the B ids of each step (-1: of this text none, since its prompt is still being read
  // or it has N); returning false stops.
  std::function<bool(std::span<const std::int64_t>)> on_step = {};
};

struct Generated {
  at::Tensor tokens_BT;   // on the CPU: each prompt, and the generated tokens directly after it
  at::Tensor logits_BNV;  // on the CPU: the logits for each token; undefined unless kept
};

// prompt_BT: int64, on the CPU, T at least 1, within [0, V). kInvalidArgument for a model without a
// causal mask. kOutOfRange if the T + N - 1 tokens to read do not fit its position table;
// kUnimplemented if `cache` is set and the model cannot cache so many. kAborted: NaN or infinity.
Result<Generated> Generate(Net& net, const at::Tensor& prompt_BT, const Generation& generation);

}  // namespace longrun
