#include "model/language_model.h"

#include <algorithm>
#include <tuple>

namespace longrun {

// Windows of one shape are given side by side, since a model may read them together.
Result<std::vector<std::vector<std::vector<float>>>> LanguageModel::BranchNll(
    std::span<const Branches> branches) {
  struct Text {
    std::size_t branch, continuation;
    std::span<const std::int32_t> context, scored;
    bool bos;
  };
  std::vector<Text> texts;
  std::vector<std::vector<std::vector<float>>> of_branches(branches.size());
  for (std::size_t b = 0; b < branches.size(); ++b) {
    const Branches& from = branches[b];
    of_branches[b].resize(from.continuations.size());
    for (std::size_t k = 0; k < from.continuations.size(); ++k) {
      texts.push_back({b, k, from.context, from.continuations[k], from.bos});
    }
  }
  std::ranges::stable_sort(texts, {}, [](const Text& text) {
    return std::tuple(text.context.size() + (text.bos ? 1 : 0), text.scored.size(), text.bos);
  });
  std::vector<std::int32_t> tokens;
  std::vector<Window> windows;
  for (const Text& text : texts) {
    const std::int64_t begin = std::ssize(tokens);
    tokens.insert(tokens.end(), text.context.begin(), text.context.end());
    const std::int64_t score_begin = std::ssize(tokens);
    tokens.insert(tokens.end(), text.scored.begin(), text.scored.end());
    windows.push_back({.context_begin = begin,
                       .score_begin = score_begin,
                       .score_end = std::ssize(tokens),
                       .bos = text.bos});
  }
  ASSIGN_OR_RETURN(std::vector<std::vector<float>> nll, Nll(tokens, windows));
  for (std::size_t i = 0; i < texts.size(); ++i) {
    of_branches[texts[i].branch][texts[i].continuation] = std::move(nll[i]);
  }
  return of_branches;
}

}  // namespace longrun
