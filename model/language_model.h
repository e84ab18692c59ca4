// The interface through which an evaluation uses a model: the negative log-likelihood of tokens,
// the tokens that it writes after a text and, for a network, its timing and its attention.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/status.h"
#include "model/attention_probe.h"
#include "model/sampling.h"
#include "model/throughput_probe.h"

namespace longrun {

// A window over a stream of tokens. The model is fed
// (bos ? [BOS] : []) + tokens[context_begin .. score_end - 2];
// tokens [score_begin, score_end) are scored.
struct Window {
  std::int64_t context_begin = 0;
  std::int64_t score_begin = 0;
  std::int64_t score_end = 0;
  bool bos = false;

  bool operator==(const Window&) const = default;
};

// A question to a model that sees both sides: given `tokens`, some of which are already hidden, how
// likely is targets[i] at positions[i]?
struct MaskedSequence {
  std::vector<std::int32_t> tokens;
  std::vector<std::int64_t> positions;  // ascending, indices into `tokens`
  std::vector<std::int32_t> targets;    // one for each position

  bool operator==(const MaskedSequence&) const = default;
};

// The beginning of a text of n_text tokens, of which n_targets are scored: all from the first token
// on if the model is fed a BOS before it, else from the second one on.
struct Prefix {
  // At least the first min(n_text, n_targets + LanguageModel::kPrefixPart + 1) ones.
  std::span<const std::int32_t> tokens{};
  std::int64_t n_text = 0;
  std::int64_t n_targets = 0;
  bool bos = false;
};

// Texts that begin alike: a context, and what may follow it.
struct Branches {
  std::span<const std::int32_t> context{};  // at least one token, unless the model is fed a BOS
  bool bos = false;                         // before the context
  std::vector<std::span<const std::int32_t>> continuations{};  // each at least one token

  // The tokens that the model is fed before each continuation.
  std::int64_t n_context() const { return std::ssize(context) + (bos ? 1 : 0); }
};
// By branches, continuation and token.
using BranchNlls = std::vector<std::vector<std::vector<float>>>;

// A text for the model to continue.
struct Prompt {
  std::vector<std::int32_t> tokens;  // at least one
  std::int64_t new_tokens = 1;       // how many to write, at least one
  std::vector<std::int32_t> stop{};  // ids that end the answer
  // The first so many tokens of the answer are none of `stop`; at most new_tokens.
  std::int64_t min_new_tokens = 0;
  // How each token is chosen; its seed belongs to this prompt alone.
  Sampling sampling{};

  bool operator==(const Prompt&) const = default;
};

class LanguageModel {
 public:
  virtual ~LanguageModel() = default;
  // nll[w][t - score_begin] in nats for each scored token t of each window, from fp32 logits
  // (softmax over all rows of the vocabulary). kOutOfRange if a window is longer than the model's
  // positions (a learned table): the caller then marks the cell as not_applicable.
  virtual Result<std::vector<std::vector<float>>> Nll(std::span<const std::int32_t> tokens,
                                                      std::span<const Window> windows) = 0;
  // nll[i] of each target of the prefix; errors are those of Nll. If SharesPrefixes(n_targets), all
  // smaller n_targets of the same text give the beginning of these numbers, to the bit.
  virtual Result<std::vector<float>> PrefixNll(const Prefix& prefix) {
    const std::int64_t first = prefix.bos ? 0 : 1;
    const Window window = {
        .score_begin = first, .score_end = first + prefix.n_targets, .bos = prefix.bos};
    ASSIGN_OR_RETURN(std::vector<std::vector<float>> nll, Nll(prefix.tokens, {&window, 1}));
    return std::move(nll.front());
  }
  // Whether a target's NLL depends only on the tokens before it, in texts of n targets.
  virtual bool SharesPrefixes(std::int64_t /*n_targets*/) const { return true; }
  // A model may read a prefix in parts of so many tokens, the last one as well.
  static constexpr std::int64_t kPrefixPart = 512;
  // nll[b][k][i] of token i of continuation k of branches b. Errors are those of Nll, and except
  // for rounding so are the numbers, but a model may read each context once for all that follows.
  virtual Result<BranchNlls> BranchNll(std::span<const Branches> branches);
  // nll[s][i] of targets[i] of each sequence s, for models without a causal mask. kUnimplemented
  // if the model has a causal mask; kOutOfRange as above.
  virtual Result<std::vector<std::vector<float>>> MaskedNll(
      std::span<const MaskedSequence> /*sequences*/) {
    return Status(Code::kUnimplemented, "this model cannot predict hidden tokens");
  }
  // What the model writes after each prompt: at each step the token that the prompt's `sampling`
  // chooses, by default the most likely one. An answer ends after new_tokens tokens, or before a
  // token of `stop`. Prompts affect each other's answers only by rounding. kUnimplemented if the
  // model cannot write; kOutOfRange as above; kAborted if a logit is not finite.
  virtual Result<std::vector<std::vector<std::int32_t>>> Continue(
      std::span<const Prompt> /*prompts*/) {
    return Status(Code::kUnimplemented, "this model cannot generate text");
  }
  // The id that replaces hidden tokens; nullopt if the model has none.
  virtual std::optional<std::int32_t> mask_token() const { return std::nullopt; }
  // Null for a model without steps to time, such as a table of counts. Valid as long as the model.
  virtual ThroughputProbe* throughput() { return nullptr; }
  // Null for a model without attention. Valid as long as the model.
  virtual AttentionProbe* attention() { return nullptr; }
};

}  // namespace longrun
