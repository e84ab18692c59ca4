#include "model/net/scorer.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <functional>
#include <iterator>
#include <memory>

#include "base/str.h"
#include "model/net/branches.h"
#include "model/net/generate.h"
#include "model/net/head.h"
#include "model/net/masked_batch.h"
#include "model/net/out_of_memory.h"
#include "model/tokens_per_read.h"

namespace longrun {
namespace {

std::int64_t FedLength(const Window& window) {
  return window.score_end - 1 - window.context_begin + (window.bos ? 1 : 0);
}

// If keys are in the host's memory, so many parts are read for each time that they come to the GPU:
// 8,192 queries for each key, whose products take longer than its copy.
constexpr std::int64_t kHostParts = 16;

// The tokens that are read to continue the prompt: the last one written is not.
std::int64_t ReadLength(const Prompt& prompt) {
  return static_cast<std::int64_t>(prompt.tokens.size()) + prompt.new_tokens - 1;
}

// What it takes to continue prompts together: the shortest is read at once, then a token a step.
struct Steps {
  std::int64_t shortest = 0, longest = 0;  // tokens of the prompts
  std::int64_t new_tokens = 0;             // the most of a prompt

  std::int64_t n() const { return longest - shortest + new_tokens; }
};

Steps StepsOf(std::span<const Prompt> prompts) {
  Steps steps = {.shortest = std::ssize(prompts.front().tokens)};
  for (const Prompt& prompt : prompts) {
    steps.shortest = std::min<std::int64_t>(steps.shortest, std::ssize(prompt.tokens));
    steps.longest = std::max<std::int64_t>(steps.longest, std::ssize(prompt.tokens));
    steps.new_tokens = std::max(steps.new_tokens, prompt.new_tokens);
  }
  return steps;
}

// Whether both windows fit into one batch.
bool SameShape(const Window& a, const Window& b) {
  return a.bos == b.bos && a.score_end - a.context_begin == b.score_end - b.context_begin &&
         a.score_begin - a.context_begin == b.score_begin - b.context_begin;
}

// The longest sequence that the network can read, of n (which it can) to n + kPrefixPart tokens.
std::int64_t LongestInReach(const Net& net, std::int64_t n) {
  std::int64_t beyond = n + LanguageModel::kPrefixPart;
  if (net.CheckLength(beyond).ok()) return beyond;
  while (n + 1 < beyond) {
    const std::int64_t middle = n + (beyond - n) / 2;
    (net.CheckLength(middle).ok() ? n : beyond) = middle;
  }
  return n;
}

}  // namespace

Status NetScorer::CheckWindows(std::span<const std::int32_t> tokens,
                               std::span<const Window> windows) const {
  for (const Window& window : windows) {
    LR_CHECK(window.context_begin >= 0 && window.score_begin < window.score_end);
    LR_CHECK(window.score_begin > window.context_begin || window.bos);
    LR_CHECK(window.score_end <= static_cast<std::int64_t>(tokens.size()));
    RETURN_IF_ERROR(net_.CheckLength(FedLength(window)));
    RETURN_IF_ERROR(CheckTokens(tokens, window));
  }
  return Status();
}

Status NetScorer::CheckTokens(std::span<const std::int32_t> tokens, const Window& window) const {
  const std::int64_t n_vocab = net_.config().model.vocab_size;
  if (window.bos && bos_id_ < 0) {
    return Status(Code::kInvalidArgument,
                  "the evaluation needs a begin-of-text token, but the tokenizer has none");
  }
  for (std::int64_t t = window.context_begin; t < window.score_end; ++t) {
    const std::int32_t id = tokens[static_cast<std::size_t>(t)];
    if (id >= 0 && id < n_vocab) continue;
    return Status(Code::kInvalidArgument, Str("token ", t, " has id ", id,
                                              ", but the model has the ids 0 to ", n_vocab - 1));
  }
  return Status();
}

void NetScorer::NllOfBatch(std::span<const std::int32_t> tokens, std::span<const Window> windows,
                           std::span<std::vector<float>> nll) {
  const at::NoGradGuard no_grad;
  const Window& first = windows.front();
  const auto b = static_cast<std::int64_t>(windows.size());
  const std::int64_t n_fed = FedLength(first);
  const std::int64_t n_scored = first.score_end - first.score_begin;
  const at::Tensor ids_BT = at::empty({b, n_fed}, at::kLong);
  const at::Tensor targets_BS = at::empty({b, n_scored}, at::kLong);
  std::int64_t* id = ids_BT.data_ptr<std::int64_t>();
  std::int64_t* target = targets_BS.data_ptr<std::int64_t>();
  for (const Window& window : windows) {
    if (window.bos) *id++ = bos_id_;
    for (std::int64_t t = window.context_begin; t < window.score_end - 1; ++t) {
      *id++ = tokens[static_cast<std::size_t>(t)];
    }
    for (std::int64_t t = window.score_begin; t < window.score_end; ++t) {
      *target++ = tokens[static_cast<std::size_t>(t)];
    }
  }
  const c10::Device device = net_.compute().device;
  const at::Tensor hidden_BTC = net_.Hidden(ids_BT.to(device));
  const at::Tensor hidden_NC = hidden_BTC.narrow(1, n_fed - n_scored, n_scored).flatten(0, 1);
  const at::Tensor nll_N =
      HeadNll(hidden_NC, net_.head(), targets_BS.flatten().to(device), net_.compute())
          .to(at::kCPU, at::kFloat)
          .contiguous();
  const float* value = nll_N.const_data_ptr<float>();
  for (std::vector<float>& of_window : nll) {
    of_window.assign(value, value + n_scored);
    value += n_scored;
  }
}

Result<std::vector<std::vector<float>>> NetScorer::Nll(std::span<const std::int32_t> tokens,
                                                       std::span<const Window> windows) {
  RETURN_IF_ERROR(CheckWindows(tokens, windows));
  std::vector<std::vector<float>> nll(windows.size());
  const std::int64_t n_most = TokensPerRead(net_.compute().device_kind());
  RETURN_IF_ERROR(WithinMemory([&]() -> Status {
    for (std::size_t begin = 0; begin < windows.size();) {
      std::size_t end = begin + 1;
      const std::int64_t n_fed = FedLength(windows[begin]);
      while (end < windows.size() && SameShape(windows[begin], windows[end]) &&
             static_cast<std::int64_t>(end + 1 - begin) * n_fed <= n_most) {
        ++end;
      }
      NllOfBatch(tokens, windows.subspan(begin, end - begin),
                 std::span(nll).subspan(begin, end - begin));
      begin = end;
    }
    return {};
  }));
  return nll;
}

bool NetScorer::SharesPrefixes(std::int64_t n_targets) const {
  return net_.SharesPrefixes(n_targets);
}

// Every part ends where it would end if more targets were asked for. None reads beyond what the
// network can read, or the length up to which a rotation does not depend on that of the text.
std::vector<float> NetScorer::NllOfParts(const Prefix& prefix, KeysPlace place) {
  const at::NoGradGuard no_grad;
  const std::int64_t n_bos = prefix.bos ? 1 : 0;
  // The text's last token is fed for no target.
  const std::int64_t n_all = prefix.n_text - 1 + n_bos;
  const std::int64_t longest_cached = net_.CachedLengthMax();
  const std::int64_t n_room = std::min({n_all, LongestInReach(net_, prefix.n_targets),
                                        longest_cached == 0 ? n_all : longest_cached});
  const auto end_of_part = [&](std::int64_t begin) {
    return std::min(begin + kPrefixPart, n_room);
  };
  std::int64_t capacity = 0;
  while (capacity < prefix.n_targets) capacity = end_of_part(capacity);
  const std::unique_ptr<NetState> state = net_.NewState(1, capacity, place);
  const c10::Device device = net_.compute().device;
  const auto tokens_from = [&](std::int64_t begin, std::int64_t n) {
    const at::Tensor ids_T = at::empty({n}, at::kLong);
    std::int64_t* id = ids_T.data_ptr<std::int64_t>();
    for (std::int64_t at = begin; at < begin + n; ++at) {
      *id++ = at < 0 ? bos_id_ : prefix.tokens[static_cast<std::size_t>(at)];
    }
    return ids_T.to(device);
  };
  const std::int64_t n_parts = place == KeysPlace::kHost ? kHostParts : 1;
  std::vector<float> nll;
  for (std::int64_t begin = 0; begin < prefix.n_targets;) {
    std::int64_t end = begin;
    for (std::int64_t p = 0; p < n_parts && end < prefix.n_targets; ++p) end = end_of_part(end);
    const std::int64_t n = end - begin;
    const at::Tensor hidden_BTC = net_.ReadParts(tokens_from(begin - n_bos, n).unsqueeze(0), *state,
                                                 kPrefixPart, n_all - end);
    // In the same parts as without a state in the host's memory: a product of other rows may have
    // other bits.
    for (std::int64_t at = 0; at < n; at += kPrefixPart) {
      const std::int64_t n_part = std::min(kPrefixPart, n - at);
      const at::Tensor nll_N = HeadNll(hidden_BTC.narrow(1, at, n_part).flatten(0, 1), net_.head(),
                                       tokens_from(begin + at - n_bos + 1, n_part), net_.compute())
                                   .to(at::kCPU, at::kFloat)
                                   .contiguous();
      const float* const values = nll_N.const_data_ptr<float>();
      nll.insert(nll.end(), values, values + n_part);
    }
    begin = end;
  }
  nll.resize(static_cast<std::size_t>(prefix.n_targets));
  return nll;
}

Result<std::vector<float>> NetScorer::PrefixNll(const Prefix& prefix) {
  if (!SharesPrefixes(prefix.n_targets)) return LanguageModel::PrefixNll(prefix);
  const std::int64_t n_read = std::min(prefix.n_text, prefix.n_targets + kPrefixPart + 1);
  LR_CHECK(prefix.n_targets > 0 && prefix.n_targets <= prefix.n_text - (prefix.bos ? 0 : 1));
  LR_CHECK(std::ssize(prefix.tokens) >= n_read);
  RETURN_IF_ERROR(net_.CheckLength(prefix.n_targets));
  const Window fed = {.score_begin = prefix.bos ? 0 : 1, .score_end = n_read, .bos = prefix.bos};
  RETURN_IF_ERROR(CheckTokens(prefix.tokens, fed));
  std::vector<float> nll;
  RETURN_IF_ERROR(keys_of_prefixes_.Run(prefix.n_targets, [&](KeysPlace place) -> Status {
    nll = NllOfParts(prefix, place);
    return {};
  }));
  return nll;
}

Status NetScorer::CheckBranches(std::span<const Branches> branches) const {
  for (const Branches& from : branches) {
    LR_CHECK(!from.context.empty() || from.bos);
    RETURN_IF_ERROR(
        CheckTokens(from.context, {.score_end = std::ssize(from.context), .bos = from.bos}));
    for (const std::span<const std::int32_t> continuation : from.continuations) {
      LR_CHECK(!continuation.empty());
      RETURN_IF_ERROR(net_.CheckLength(from.n_context() + std::ssize(continuation) - 1));
      RETURN_IF_ERROR(CheckTokens(continuation, {.score_end = std::ssize(continuation)}));
    }
  }
  return Status();
}

bool NetScorer::SharesContexts(std::span<const Branches> branches) const {
  if (!net_.config().model.causal || !net_.ReadsInAnyCuts()) return false;
  const std::int64_t n_most = BranchTokensMax(net_);
  bool has_several = false;
  for (const Branches& from : branches) {
    has_several = has_several || from.continuations.size() > 1;
    for (const std::span<const std::int32_t> continuation : from.continuations) {
      const std::int64_t n_read = from.n_context() + std::ssize(continuation) - 1;
      if (!IsCached(n_read) || n_read > n_most) return false;
    }
  }
  return has_several;
}

Result<BranchNlls> NetScorer::BranchNllOfBatch(std::span<const Branches> batch) {
  if (!SharesContexts(batch)) return LanguageModel::BranchNll(batch);
  BranchNlls nll;
  RETURN_IF_ERROR(WithinMemory([&]() -> Status {
    nll = NllOfBranches(net_, bos_id_, batch);
    return {};
  }));
  return nll;
}

Result<BranchNlls> NetScorer::BranchNll(std::span<const Branches> branches) {
  RETURN_IF_ERROR(CheckBranches(branches));
  const std::int64_t n_held =
      std::min(TokensPerRead(net_.compute().device_kind()), BranchTokensMax(net_));
  BranchNlls nll;
  nll.reserve(branches.size());
  for (std::size_t begin = 0; begin < branches.size();) {
    const std::int64_t n_context = branches[begin].n_context();
    std::size_t end = begin + 1;
    while (end < branches.size() && branches[end].n_context() == n_context &&
           static_cast<std::int64_t>(end + 1 - begin) * n_context <= n_held) {
      ++end;
    }
    ASSIGN_OR_RETURN(BranchNlls of_batch, BranchNllOfBatch(branches.subspan(begin, end - begin)));
    std::ranges::move(of_batch, std::back_inserter(nll));
    begin = end;
  }
  return nll;
}

Status NetScorer::CheckPrompts(std::span<const Prompt> prompts) const {
  const std::int64_t n_vocab = net_.config().model.vocab_size;
  for (const Prompt& prompt : prompts) {
    LR_CHECK(!prompt.tokens.empty() && prompt.new_tokens > 0);
    LR_CHECK(prompt.min_new_tokens <= prompt.new_tokens);
    RETURN_IF_ERROR(net_.CheckLength(ReadLength(prompt)));
    for (const std::int32_t id : prompt.tokens) {
      if (id >= 0 && id < n_vocab) continue;
      return Status(Code::kInvalidArgument, Str("a token of a prompt has id ", id,
                                                ", but the model has the ids 0 to ", n_vocab - 1));
    }
  }
  return Status();
}

bool NetScorer::IsCached(std::int64_t n_read) const {
  const std::int64_t longest = net_.CachedLengthMax();
  return longest == 0 || n_read <= longest;
}

Status NetScorer::ContinueBatch(std::span<const Prompt> prompts,
                                std::span<std::vector<std::int32_t>> answers, KeysPlace place) {
  for (std::vector<std::int32_t>& answer : answers) answer.clear();
  const Steps steps = StepsOf(prompts);
  const at::Tensor prompt_BT = at::zeros({std::ssize(prompts), steps.longest}, at::kLong);
  std::vector<std::int64_t> lengths;
  std::vector<Sampling> samplings;
  std::vector<HeldBack> held_back;
  std::int64_t* row = prompt_BT.data_ptr<std::int64_t>();
  for (const Prompt& prompt : prompts) {
    std::ranges::copy(prompt.tokens, row);
    row += steps.longest;
    lengths.push_back(std::ssize(prompt.tokens));
    samplings.push_back(prompt.sampling);
    held_back.push_back({.n_first = prompt.min_new_tokens, .ids = prompt.stop});
  }

  std::vector<bool> has_ended(prompts.size(), false);
  const auto keep = [&](std::span<const std::int64_t> ids) {
    for (std::size_t p = 0; p < prompts.size(); ++p) {
      if (has_ended[p] || ids[p] < 0) continue;
      const auto written = static_cast<std::int32_t>(ids[p]);
      if (std::ranges::find(prompts[p].stop, written) != prompts[p].stop.end()) {
        has_ended[p] = true;
        continue;
      }
      answers[p].push_back(written);
      has_ended[p] = std::ssize(answers[p]) == prompts[p].new_tokens;
    }
    return !std::ranges::all_of(has_ended, std::identity());
  };
  return Generate(net_, prompt_BT,
                  {.new_tokens = steps.new_tokens,
                   .samplings = std::move(samplings),
                   .held_back = std::move(held_back),
                   .cache = IsCached(steps.longest + steps.new_tokens - 1),
                   .keys_place = place,
                   .keep_logits = false,
                   .prompt_lengths = std::move(lengths),
                   .on_step = keep})
      .status();
}

Result<std::vector<std::vector<std::int32_t>>> NetScorer::Continue(
    std::span<const Prompt> prompts) {
  RETURN_IF_ERROR(CheckPrompts(prompts));
  std::vector<std::vector<std::int32_t>> answers(prompts.size());
  for (std::size_t begin = 0; begin < prompts.size();) {
    std::size_t end = begin + 1;
    while (end < prompts.size() && Joins(prompts.subspan(begin, end - begin), prompts[end])) {
      ++end;
    }
    const std::span<const Prompt> batch = prompts.subspan(begin, end - begin);
    const Steps steps = StepsOf(batch);
    const std::int64_t n_tokens = std::ssize(batch) * (steps.longest + steps.new_tokens - 1);
    RETURN_IF_ERROR(keys_of_prompts_.Run(n_tokens, [&](KeysPlace place) {
      return ContinueBatch(batch, std::span(answers).subspan(begin, end - begin), place);
    }));
    begin = end;
  }
  return answers;
}

bool NetScorer::Joins(std::span<const Prompt> batch, const Prompt& next) const {
  const Steps before = StepsOf(batch), alone = StepsOf({&next, 1});
  if (before.shortest == before.longest && before.longest == alone.longest &&
      before.new_tokens == alone.new_tokens) {
    return true;
  }
  const Steps together = {.shortest = std::min(before.shortest, alone.shortest),
                          .longest = std::max(before.longest, alone.longest),
                          .new_tokens = std::max(before.new_tokens, alone.new_tokens)};
  const std::int64_t n_read = together.longest + together.new_tokens - 1;
  return net_.ReadsInAnyCuts() && IsCached(n_read) && net_.CheckLength(n_read).ok() &&
         together.n() <= before.n() + alone.n();
}

std::optional<std::int32_t> NetScorer::mask_token() const {
  return mask_token_ < 0 ? std::nullopt : std::optional(mask_token_);
}

Status NetScorer::CheckSequences(std::span<const MaskedSequence> sequences) const {
  if (net_.config().model.causal) {
    return Status(
        Code::kUnimplemented,
        "a causal model cannot guess hidden tokens, since it does not see what follows them");
  }
  const std::int64_t n_vocab = net_.config().model.vocab_size;
  for (const MaskedSequence& sequence : sequences) {
    const auto n = static_cast<std::int64_t>(sequence.tokens.size());
    LR_CHECK(sequence.positions.size() == sequence.targets.size());
    LR_CHECK(std::ranges::all_of(sequence.positions,
                                 [&](std::int64_t at) { return at >= 0 && at < n; }));
    RETURN_IF_ERROR(net_.CheckLength(n));
    for (const std::vector<std::int32_t>* const ids : {&sequence.tokens, &sequence.targets}) {
      for (const std::int32_t id : *ids) {
        if (id >= 0 && id < n_vocab) continue;
        return Status(Code::kInvalidArgument,
                      Str("a hidden or visible token has id ", id,
                          ", but the model has the ids 0 to ", n_vocab - 1));
      }
    }
  }
  return Status();
}

void NetScorer::MaskedNllOfBatch(std::span<const MaskedSequence> sequences,
                                 std::span<std::vector<float>> nll) {
  const at::NoGradGuard no_grad;
  const MaskedBatch batch = ToBatch(sequences);
  const c10::Device device = net_.compute().device;
  const at::Tensor hidden_NC =
      net_.Hidden(batch.ids_BT.to(device)).flatten(0, 1).index_select(0, batch.rows_N.to(device));
  const at::Tensor nll_N =
      HeadNll(hidden_NC, net_.head(), batch.targets_N.to(device), net_.compute())
          .to(at::kCPU, at::kFloat)
          .contiguous();
  const float* value = nll_N.const_data_ptr<float>();
  for (std::size_t s = 0; s < sequences.size(); ++s) {
    const std::size_t n = sequences[s].targets.size();
    nll[s].assign(value, value + n);
    value += n;
  }
}

Result<std::vector<std::vector<float>>> NetScorer::MaskedNll(
    std::span<const MaskedSequence> sequences) {
  RETURN_IF_ERROR(CheckSequences(sequences));
  std::vector<std::vector<float>> nll(sequences.size());
  RETURN_IF_ERROR(WithinMemory([&]() -> Status {
    for (std::size_t begin = 0; begin < sequences.size();) {
      std::size_t end = begin + 1;
      while (end < sequences.size() &&
             sequences[end].tokens.size() == sequences[begin].tokens.size()) {
        ++end;
      }
      MaskedNllOfBatch(sequences.subspan(begin, end - begin),
                       std::span(nll).subspan(begin, end - begin));
      begin = end;
    }
    return {};
  }));
  return nll;
}

ThroughputProbe* NetScorer::throughput() {
  if (!probe_) probe_.emplace(net_);
  return &*probe_;
}

AttentionProbe* NetScorer::attention() {
  if (!attention_) attention_.emplace(net_);
  return &*attention_;
}

}  // namespace longrun
