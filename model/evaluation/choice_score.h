// Turns items into tokens and likelihoods into answers; multiple_choice.cc opens with the formulas.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"
#include "model/data/tokenizer.h"
#include "model/evaluation/choice_items.h"
#include "model/evaluation/evaluation.h"
#include "model/language_model.h"

namespace longrun {

// All choices of all items in one stream of tokens, with one window per choice, item by item.
struct ChoiceQuestions {
  std::vector<std::int32_t> tokens;
  std::vector<Window> windows;
  std::vector<std::size_t> item;  // of each window
  std::vector<double> n_norm;     // the divisor of acc_norm for each window
  std::int64_t n_cut = 0;         // windows whose context was cut
  std::int64_t longest_fed = 0;   // tokens
};

struct ChoiceRules {
  ChoiceProtocol protocol = ChoiceProtocol::kNanoGpt;
  bool in_bytes = false;  // for lm_eval: n_norm in bytes, not characters
  std::int64_t context_length = 0;
};

// kOutOfRange if a choice is longer than the context length, kInvalidArgument if it adds no token
// to its context; both name the line.
Result<ChoiceQuestions> MakeQuestions(const Tokenizer& tokenizer,
                                      const std::vector<ChoiceItem>& items,
                                      const ChoiceRules& rules);

struct ChoiceSums {
  std::vector<double> nll;  // of each window, in the order of the items
  std::int64_t n_non_finite = 0;
};

// Choices of an item that have the same context are given to the model together, so that it may
// read the context once. Gives it at most `tokens_per_call` tokens per call, the context counted
// for each of its choices, but at least the choices of one context. Errors: the model's, and
// kCancelled if `progress` returned false.
Result<ChoiceSums> ScoreQuestions(LanguageModel& model, const ChoiceQuestions& questions,
                                  std::int64_t tokens_per_call,
                                  const EvaluationProgress& progress = {});

// The index of the smallest nll[k], or of nll[k] / n_norm[k] if n_norm is not empty;
// among equal ones the first.
std::size_t MostLikely(std::span<const double> nll, std::span<const double> n_norm);

}  // namespace longrun
