#include "model/language_model.h"

#include <algorithm>
#include <tuple>

#include "base/check.h"

namespace longrun {

// Windows of one shape are given side by side, since a model may read them together.
Result<BranchNlls> LanguageModel::BranchNll(std::span<const Branches> branches) {
  struct Text {
    const Branches* from = nullptr;
    std::span<const std::int32_t> scored;
    std::vector<float>* nll = nullptr;
  };
  std::vector<Text> texts;
  BranchNlls of_branches(branches.size());
  for (std::size_t b = 0; b < branches.size(); ++b) {
    const Branches& from = branches[b];
    of_branches[b].resize(from.continuations.size());
    for (std::size_t k = 0; k < from.continuations.size(); ++k) {
      texts.push_back({.from = &from, .scored = from.continuations[k], .nll = &of_branches[b][k]});
    }
  }
  std::ranges::stable_sort(texts, {}, [](const Text& text) {
    return std::tuple(text.from->n_context(), text.scored.size(), text.from->bos);
  });
  std::vector<std::int32_t> tokens;
  std::vector<Window> windows;
  for (const Text& text : texts) {
    const std::int64_t begin = std::ssize(tokens);
    tokens.insert(tokens.end(), text.from->context.begin(), text.from->context.end());
    const std::int64_t score_begin = std::ssize(tokens);
    tokens.insert(tokens.end(), text.scored.begin(), text.scored.end());
    windows.push_back({.context_begin = begin,
                       .score_begin = score_begin,
                       .score_end = std::ssize(tokens),
                       .bos = text.from->bos});
  }
  ASSIGN_OR_RETURN(std::vector<std::vector<float>> nll, Nll(tokens, windows));
  LR_CHECK(nll.size() == texts.size());
  for (std::size_t i = 0; i < texts.size(); ++i) *texts[i].nll = std::move(nll[i]);
  return of_branches;
}

}  // namespace longrun
