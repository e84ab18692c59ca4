// A network as a LanguageModel: windows of equal shape are fed together, and logits exist only for
// the scored tokens, one chunk at a time. Prompts of equal length are continued together.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "model/language_model.h"
#include "model/net/attention_probe.h"
#include "model/net/net.h"
#include "model/net/throughput.h"

namespace longrun {

class NetScorer final : public LanguageModel {
 public:
  // The network must outlive this. `bos_id` is for windows that need one, `mask_token` replaces
  // hidden tokens of a masked language model; -1: none.
  explicit NetScorer(Net& net, std::int32_t bos_id = -1, std::int32_t mask_token = -1)
      : net_(net),
        bos_id_(bos_id),
        mask_token_(mask_token),
        keys_of_prefixes_(net.compute().device),
        keys_of_prompts_(net.compute().device) {}
  NetScorer(const NetScorer&) = delete;
  NetScorer& operator=(const NetScorer&) = delete;

  // In addition to LanguageModel's errors: kResourceExhausted if the device has too little memory,
  // kInvalidArgument for a token outside the vocabulary or a missing BOS.
  Result<std::vector<std::vector<float>>> Nll(std::span<const std::int32_t> tokens,
                                              std::span<const Window> windows) override;
  // In parts of kPrefixPart tokens with a cache, if the network shares prefixes; else at once.
  Result<std::vector<float>> PrefixNll(const Prefix& prefix) override;
  bool SharesPrefixes(std::int64_t n_targets) const override;
  // Reads a context once if the network can read on from it in any cuts, and its texts have at most
  // BranchTokensMax tokens (branches.h). Branches with contexts of one length are read together if
  // they are adjacent.
  Result<BranchNlls> BranchNll(std::span<const Branches> branches) override;
  Result<std::vector<std::vector<float>>> MaskedNll(
      std::span<const MaskedSequence> sequences) override;
  // Prompts of one length and number of new tokens are read together if they are adjacent.
  Result<std::vector<std::vector<std::int32_t>>> Continue(std::span<const Prompt> prompts) override;
  std::optional<std::int32_t> mask_token() const override;
  ThroughputProbe* throughput() override;
  AttentionProbe* attention() override;

 private:
  Status CheckWindows(std::span<const std::int32_t> tokens, std::span<const Window> windows) const;
  // The ids of a window, and its BOS.
  Status CheckTokens(std::span<const std::int32_t> tokens, const Window& window) const;
  Status CheckSequences(std::span<const MaskedSequence> sequences) const;
  // Windows of one shape.
  void NllOfBatch(std::span<const std::int32_t> tokens, std::span<const Window> windows,
                  std::span<std::vector<float>> nll);

  // The network shares prefixes of this length.
  std::vector<float> NllOfParts(const Prefix& prefix, KeysPlace place);

  // Sequences of one length.
  void MaskedNllOfBatch(std::span<const MaskedSequence> sequences,
                        std::span<std::vector<float>> nll);

  Status CheckBranches(std::span<const Branches> branches) const;
  // Whether to read their contexts once.
  bool SharesContexts(std::span<const Branches> branches) const;
  // With contexts of one length.
  Result<BranchNlls> BranchNllOfBatch(std::span<const Branches> batch);

  Status CheckPrompts(std::span<const Prompt> prompts) const;
  // Whether texts of so many tokens are read with a cache.
  bool IsCached(std::int64_t n_read) const;
  // Whether `next` is continued together with `batch`: if that takes no more steps than one after
  // the other.
  bool Joins(std::span<const Prompt> batch, const Prompt& next) const;
  Status ContinueBatch(std::span<const Prompt> prompts,
                       std::span<std::vector<std::int32_t>> answers, KeysPlace place);

  Net& net_;
  std::int32_t bos_id_;
  std::int32_t mask_token_;
  KeysRoom keys_of_prefixes_, keys_of_prompts_;
  std::optional<NetThroughput> probe_;
  std::optional<NetAttention> attention_;
};

}  // namespace longrun
