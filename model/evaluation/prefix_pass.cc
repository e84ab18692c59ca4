#include "model/evaluation/prefix_pass.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "base/check.h"

namespace longrun {

std::span<const float> PrefixStore::Find(std::int64_t document, std::int64_t n) const {
  const auto found = kept_.find(document);
  if (found == kept_.end() || std::ssize(found->second) < n) return {};
  return found->second;
}

void PrefixStore::Keep(std::int64_t document, std::span<const float> nll) {
  constexpr std::int64_t kKeptMax = std::int64_t{1} << 26;
  const auto known = kept_.find(document);
  const std::int64_t n_known = known == kept_.end() ? 0 : std::ssize(known->second);
  const std::int64_t n_more = std::ssize(nll) - n_known;
  if (n_more <= 0 || n_kept_ + n_more > kKeptMax) return;
  kept_[document].assign(nll.begin(), nll.end());
  n_kept_ += n_more;
}

std::int64_t PrefixEnd(const TextSpan& document, std::int64_t n) {
  return std::min(document.end, document.begin + n + LanguageModel::kPrefixPart + 1);
}

PrefixModel::PrefixModel(LanguageModel& model, PrefixTask task, PrefixStore& store)
    : model_(model), task_(std::move(task)), store_(store) {
  std::ranges::sort(task_.of_lengths, std::greater());
}

// The NLLs of at least n targets.
Result<std::vector<float>> PrefixModel::Pass(std::span<const std::int32_t> tokens,
                                             const TextSpan& document, bool bos, std::int64_t n) {
  const std::int64_t n_text = document.end - document.begin;
  const std::int64_t end = std::min(document.end, std::ssize(tokens));
  const auto read = [&](std::int64_t n_targets) {
    return model_.PrefixNll(
        {.tokens = tokens.subspan(static_cast<std::size_t>(document.begin),
                                  static_cast<std::size_t>(end - document.begin)),
         .n_text = n_text,
         .n_targets = n_targets,
         .bos = bos});
  };
  for (const std::int64_t wanted : task_.of_lengths) {
    const std::int64_t n_targets = std::min(wanted, n_text - (bos ? 0 : 1));
    if (n_targets <= n) break;
    if (!model_.SharesPrefixes(n_targets)) continue;
    Result<std::vector<float>> nll = read(n_targets);
    const Code code = nll.ok() ? Code::kOk : nll.status().code();
    // A shorter pass may fit into the model's positions, or into memory.
    if (code != Code::kOutOfRange && code != Code::kResourceExhausted) return nll;
  }
  return read(n);
}

// Of the document's targets that the windows need, and perhaps of more.
Result<std::span<const float>> PrefixModel::NllOf(std::span<const std::int32_t> tokens,
                                                  const TextSpan& document, bool bos) {
  const std::int64_t n = std::min(task_.n_targets, document.end - document.begin - (bos ? 0 : 1));
  if (const std::span<const float> kept = store_.Find(document.begin, n); !kept.empty()) {
    return kept;
  }
  if (last_document_ != document.begin) {
    ASSIGN_OR_RETURN(last_, Pass(tokens, document, bos, n));
    last_document_ = document.begin;
    if (model_.SharesPrefixes(std::ssize(last_))) store_.Keep(document.begin, last_);
  }
  return std::span<const float>(last_);
}

Result<std::vector<std::vector<float>>> PrefixModel::Nll(std::span<const std::int32_t> tokens,
                                                         std::span<const Window> windows) {
  std::vector<std::vector<float>> nll;
  for (const Window& window : windows) {
    const auto document =
        std::ranges::lower_bound(task_.documents, window.context_begin, {}, &TextSpan::begin);
    LR_CHECK(document != task_.documents.end() && document->begin == window.context_begin);
    ASSIGN_OR_RETURN(const std::span<const float> of_document,
                     NllOf(tokens, *document, window.bos));
    const std::int64_t first = document->begin + (window.bos ? 0 : 1);
    const auto scored =
        of_document.subspan(static_cast<std::size_t>(window.score_begin - first),
                            static_cast<std::size_t>(window.score_end - window.score_begin));
    nll.emplace_back(scored.begin(), scored.end());
  }
  return nll;
}

}  // namespace longrun
