#include "model/evaluation/choice_score.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/check.h"
#include "base/str.h"
#include "model/evaluation/choice_text.h"

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

  // Choice k of items[index].
  Status Add(const ChoiceItem& item, std::size_t index, std::size_t k) {
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
    questions_.item.push_back(index);
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

// Choices of an item, side by side, that have the same context.
struct Question {
  Branches branches;
  std::size_t first_window = 0;
  std::int64_t n_longest = 0;  // tokens of a choice
};

// Sorted by the length of contexts, since those of one length can be read together.
std::vector<Question> ByContext(const ChoiceQuestions& questions) {
  const std::span<const std::int32_t> tokens = questions.tokens;
  const auto between = [&](std::int64_t begin, std::int64_t end) {
    return tokens.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin));
  };
  std::vector<Question> asked;
  for (std::size_t w = 0; w < questions.windows.size(); ++w) {
    const Window& window = questions.windows[w];
    const auto context = between(window.context_begin, window.score_begin);
    const auto scored = between(window.score_begin, window.score_end);
    const bool goes_on = w > 0 && questions.item[w] == questions.item[w - 1] &&
                         asked.back().branches.bos == window.bos &&
                         std::ranges::equal(asked.back().branches.context, context);
    if (!goes_on) {
      asked.push_back({.branches = {.context = context, .bos = window.bos, .continuations = {}},
                       .first_window = w});
    }
    Question& question = asked.back();
    question.branches.continuations.push_back(scored);
    question.n_longest = std::max(question.n_longest, std::ssize(scored));
  }
  std::ranges::stable_sort(asked, {}, [](const Question& question) {
    return std::pair(question.branches.n_context(), question.n_longest);
  });
  return asked;
}

// Whether the contexts have one length, and all choices with their contexts, filled up to the
// longest, have at most so many tokens.
bool FitTogether(std::span<const Question> asked, std::int64_t tokens_per_call) {
  const std::int64_t n_context = asked.front().branches.n_context();
  std::int64_t n_choices = 0, n_longest = 0;
  for (const Question& question : asked) {
    if (question.branches.n_context() != n_context) return false;
    n_choices += std::ssize(question.branches.continuations);
    n_longest = std::max(n_longest, question.n_longest);
  }
  return n_choices * (n_context + n_longest - 1) <= tokens_per_call;
}

void AddUp(const ChoiceQuestions& questions, std::span<const float> nll, std::size_t window,
           ChoiceSums& sums) {
  const Window& scored = questions.windows[window];
  LR_CHECK(std::ssize(nll) == scored.score_end - scored.score_begin);
  for (const float of_token : nll) {
    if (std::isfinite(of_token)) {
      sums.nll[window] += static_cast<double>(of_token);
    } else {
      sums.n_non_finite += 1;
    }
  }
}

}  // namespace

Result<ChoiceQuestions> MakeQuestions(const Tokenizer& tokenizer,
                                      const std::vector<ChoiceItem>& items,
                                      const ChoiceRules& rules) {
  QuestionMaker maker(tokenizer, rules);
  for (std::size_t i = 0; i < items.size(); ++i) {
    for (std::size_t k = 0; k < items[i].choices.size(); ++k) {
      RETURN_IF_ERROR(maker.Add(items[i], i, k));
    }
  }
  return maker.Take();
}

Result<ChoiceSums> ScoreQuestions(LanguageModel& model, const ChoiceQuestions& questions,
                                  std::int64_t tokens_per_call,
                                  const EvaluationProgress& progress) {
  const std::vector<Question> asked = ByContext(questions);
  const auto n_windows = std::ssize(questions.windows);
  ChoiceSums sums = {.nll = std::vector<double>(questions.windows.size())};
  std::int64_t n_done = 0;
  for (std::size_t begin = 0; begin < asked.size();) {
    std::size_t end = begin + 1;
    while (end < asked.size() &&
           FitTogether(std::span(asked).subspan(begin, end + 1 - begin), tokens_per_call)) {
      ++end;
    }
    std::vector<Branches> branches;
    for (std::size_t q = begin; q < end; ++q) branches.push_back(asked[q].branches);
    ASSIGN_OR_RETURN(const BranchNlls nll, model.BranchNll(branches));
    LR_CHECK(nll.size() == branches.size());
    for (std::size_t q = begin; q < end; ++q) {
      const std::vector<std::vector<float>>& of_question = nll[q - begin];
      LR_CHECK(of_question.size() == asked[q].branches.continuations.size());
      for (std::size_t k = 0; k < of_question.size(); ++k, ++n_done) {
        AddUp(questions, of_question[k], asked[q].first_window + k, sums);
      }
    }
    begin = end;
    if (progress && !progress(n_done, n_windows)) {
      return Status(Code::kCancelled, Str("stopped after ", n_done, " of ", n_windows, " choices"));
    }
  }
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
