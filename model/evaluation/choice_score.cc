#include "model/evaluation/choice_score.h"

#include <algorithm>
#include <numeric>
#include <tuple>
#include <utility>

#include "base/str.h"
#include "model/evaluation/choice_text.h"
#include "model/evaluation/window.h"

namespace longrun {
namespace {

struct Encoded {
  std::vector<std::int32_t> context;
  std::vector<std::int32_t> choice;
};

Encoded EncodeNanoGpt(const Tokenizer& tokenizer, std::string_view context,
                      const std::string& choice) {
  Encoded encoded;
  tokenizer.Encode(context, encoded.context);
  tokenizer.Encode(Str(" ", choice), encoded.choice);
  return encoded;
}

Encoded EncodeLmEval(const Tokenizer& tokenizer, std::string_view context,
                     const std::string& choice) {
  Encoded encoded;
  std::vector<std::int32_t> whole;
  tokenizer.Encode(StripEndPython(context), encoded.context);
  tokenizer.Encode(Str(context, " ", choice), whole);
  const std::size_t n_context = std::min(encoded.context.size(), whole.size());
  encoded.choice.assign(whole.begin() + static_cast<std::ptrdiff_t>(n_context), whole.end());
  return encoded;
}

std::int64_t FedTokens(const Window& window) {
  return window.score_end - 1 - window.context_begin + (window.bos ? 1 : 0);
}

class QuestionMaker {
 public:
  QuestionMaker(const Tokenizer& tokenizer, const ChoiceRules& rules)
      : tokenizer_(tokenizer), rules_(rules) {}

  Status Add(const ChoiceItem& item, std::size_t k) {
    const std::string& choice = item.choices[k];
    const bool nanogpt = rules_.protocol == ChoiceProtocol::kNanoGpt;
    const Encoded encoded = nanogpt ? EncodeNanoGpt(tokenizer_, item.context, choice)
                                    : EncodeLmEval(tokenizer_, item.context, choice);
    const auto n_choice = static_cast<std::int64_t>(encoded.choice.size());
    if (n_choice == 0) {
      return Status(Code::kInvalidArgument,
                    Str("line ", item.line, ": choice ", k, " adds no token to its context"));
    }
    if (n_choice > rules_.context_length) {
      return Status(Code::kOutOfRange,
                    Str("line ", item.line, ": choice ", k, " has ", n_choice,
                        " tokens, but the context length is only ", rules_.context_length));
    }
    AddWindow(encoded);
    const std::int64_t n_text =
        rules_.in_bytes ? static_cast<std::int64_t>(choice.size()) : CountCharacters(choice);
    questions_.n_norm.push_back(static_cast<double>(nanogpt ? n_choice : n_text));
    return Status();
  }

  ChoiceQuestions Take() { return std::move(questions_); }

 private:
  // Keeps as much of the context's end as fits.
  void AddWindow(const Encoded& encoded) {
    const auto n_choice = static_cast<std::int64_t>(encoded.choice.size());
    const auto n_context = static_cast<std::int64_t>(encoded.context.size());
    const std::int64_t n_kept = std::min(n_context, rules_.context_length + 1 - n_choice);
    if (n_kept < n_context) questions_.n_cut += 1;
    std::vector<std::int32_t>& tokens = questions_.tokens;
    const auto begin = static_cast<std::int64_t>(tokens.size());
    tokens.insert(tokens.end(), encoded.context.end() - n_kept, encoded.context.end());
    tokens.insert(tokens.end(), encoded.choice.begin(), encoded.choice.end());
    const Window window = {.context_begin = begin,
                           .score_begin = begin + n_kept,
                           .score_end = begin + n_kept + n_choice,
                           .bos = n_context == 0};
    questions_.longest_fed = std::max(questions_.longest_fed, FedTokens(window));
    questions_.windows.push_back(window);
  }

  const Tokenizer& tokenizer_;
  const ChoiceRules rules_;
  ChoiceQuestions questions_;
};

}  // namespace

Result<ChoiceQuestions> MakeQuestions(const Tokenizer& tokenizer,
                                      const std::vector<ChoiceItem>& items,
                                      const ChoiceRules& rules) {
  QuestionMaker maker(tokenizer, rules);
  for (const ChoiceItem& item : items) {
    for (std::size_t k = 0; k < item.choices.size(); ++k) RETURN_IF_ERROR(maker.Add(item, k));
  }
  return maker.Take();
}

Result<ChoiceSums> ScoreQuestions(LanguageModel& model, const ChoiceQuestions& questions,
                                  std::int64_t tokens_per_call,
                                  const EvaluationProgress& progress) {
  // Sort windows by shape, since one batch has windows of one shape.
  std::vector<std::size_t> order(questions.windows.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, {}, [&](std::size_t i) {
    const Window& window = questions.windows[i];
    return std::tuple(FedTokens(window), window.score_end - window.score_begin, window.bos);
  });
  std::vector<Window> windows;
  windows.reserve(order.size());
  for (const std::size_t i : order) windows.push_back(questions.windows[i]);
  const std::int64_t per_call = tokens_per_call / std::max<std::int64_t>(1, questions.longest_fed);
  ASSIGN_OR_RETURN(const Score score,
                   ScoreWindows(model,
                                {.tokens = questions.tokens,
                                 .windows = windows,
                                 .windows_per_call = std::max<std::int64_t>(1, per_call)},
                                progress));
  ChoiceSums sums = {.nll = std::vector<double>(order.size()), .n_non_finite = score.n_non_finite};
  for (std::size_t i = 0; i < order.size(); ++i) sums.nll[order[i]] = score.windows[i].nll_sum;
  return sums;
}

std::size_t MostLikely(std::span<const double> nll, std::span<const double> n_norm) {
  const auto of = [&](std::size_t k) { return n_norm.empty() ? nll[k] : nll[k] / n_norm[k]; };
  std::size_t best = 0;
  for (std::size_t k = 1; k < nll.size(); ++k) {
    if (of(k) < of(best)) best = k;
  }
  return best;
}

}  // namespace longrun
