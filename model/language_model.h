// What an evaluation knows of a model: the negative log-likelihood it gives to tokens, and, of a
// network, how it is timed and where it looks.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/status.h"
#include "model/attention_probe.h"
#include "model/throughput_probe.h"

namespace longrun {

// Windows over a stream of tokens. Fed to the model:
// (bos ? [BOS] : []) + tokens[context_begin .. score_end - 2]; scored: [score_begin, score_end).
struct Window {
  std::int64_t context_begin = 0;
  std::int64_t score_begin = 0;
  std::int64_t score_end = 0;
  bool bos = false;

  bool operator==(const Window&) const = default;
};

// What a model that sees both sides is asked: fed `tokens`, in which some are hidden already, how likely
// is targets[i] at positions[i]?
struct MaskedSequence {
  std::vector<std::int32_t> tokens;
  std::vector<std::int64_t> positions;  // ascending, of tokens
  std::vector<std::int32_t> targets;    // one for each position

  bool operator==(const MaskedSequence&) const = default;
};

class LanguageModel {
 public:
  virtual ~LanguageModel() = default;
  // nll[w][t - score_begin] in nats for each scored token t of each window, from fp32 logits (all
  // rows of the vocabulary in the softmax). kOutOfRange when a window is longer than the model's
  // positions (a learned table): the caller's cell is not_applicable.
  virtual Result<std::vector<std::vector<float>>> Nll(std::span<const std::int32_t> tokens,
                                                      std::span<const Window> windows) = 0;
  // The same for each position of each sequence, by a model without a causal mask. kUnimplemented by
  // one that has it; kOutOfRange as above.
  virtual Result<std::vector<std::vector<float>>> MaskedNll(
      std::span<const MaskedSequence> /*sequences*/) {
    return Status(Code::kUnimplemented, "this model guesses no hidden tokens");
  }
  // The id that hides a token from the model; nothing where there is none.
  virtual std::optional<std::int32_t> mask_token() const { return std::nullopt; }
  // Null for what has no step to time, as a table of counts. Lives as long as the model.
  virtual ThroughputProbe* throughput() { return nullptr; }
  // Null for what has no attention. Lives as long as the model.
  virtual AttentionProbe* attention() { return nullptr; }
};

}  // namespace longrun
