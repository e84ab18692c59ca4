#include "model/evaluation/choice_shots.h"

#include <algorithm>
#include <cstddef>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/random.h"
#include "base/str.h"

namespace longrun {
namespace {

// Draws `n` examples other than `left_out`, in the order in which they are drawn: the first n
// places of a Fisher-Yates shuffle.
std::vector<std::size_t> Draw(std::size_t n, std::size_t n_examples, std::size_t left_out,
                              std::uint64_t key) {
  const std::size_t n_place = left_out < n_examples ? n_examples - 1 : n_examples;
  // Only places that have been swapped are kept, so that a draw among many examples costs no more
  // than one among few.
  std::unordered_map<std::size_t, std::size_t> swapped;
  const auto at = [&](std::size_t place) {
    const auto found = swapped.find(place);
    if (found != swapped.end()) return found->second;
    return place < left_out ? place : place + 1;
  };
  SeededRandom random(key);
  std::vector<std::size_t> drawn;
  for (std::size_t i = 0; i < n; ++i) {
    const std::size_t other = i + random.Below(n_place - i);
    drawn.push_back(at(other));
    swapped[other] = at(i);
  }
  return drawn;
}

// Puts examples before the questions. `among_questions`: example q is question q itself.
void PutBefore(const ShotRules& rules, const std::vector<ChoiceItem>& examples,
               bool among_questions, std::vector<ChoiceItem>& questions) {
  for (std::size_t q = 0; q < questions.size(); ++q) {
    const std::uint64_t key =
        StreamKey(rules.seed, 0, static_cast<std::uint64_t>(questions[q].line));
    std::string shots;
    for (const std::size_t e : Draw(static_cast<std::size_t>(rules.n_shots), examples.size(),
                                    among_questions ? q : examples.size(), key)) {
      const ChoiceItem& example = examples[e];
      shots += Str(example.context, " ", example.choices[example.label], "\n\n");
    }
    questions[q].context = shots + questions[q].context;
  }
}

}  // namespace

Status CheckShots(const ShotRules& rules, const std::vector<ChoiceItem>* own_examples,
                  const std::vector<ChoiceItem>& items) {
  if (rules.n_shots == 0) return Status();
  const auto n_shots = static_cast<std::size_t>(rules.n_shots);
  if (own_examples != nullptr) {
    if (own_examples->size() >= n_shots) return Status();
    return Status(
        Code::kInvalidArgument,
        Str(n_shots, " shots need as many examples, but the file has ", own_examples->size()));
  }
  const auto n_train =
      static_cast<std::size_t>(std::ranges::count_if(items, &ChoiceItem::is_train));
  const bool has_train = n_train > 0, has_questions = n_train < items.size();
  const std::size_t n_free = has_train ? n_train : items.size() - 1;
  if (has_questions && n_free >= n_shots) return Status();
  return Status(Code::kInvalidArgument,
                !has_questions
                    ? std::string("every line has \"split\": \"train\", so no question is left")
                    : Str(n_shots, " shots need as many ",
                          has_train ? "lines with \"split\": \"train\"" : "other questions",
                          ", but the file has ", n_free));
}

Status AddShots(const ShotRules& rules, const std::vector<ChoiceItem>* own_examples,
                std::vector<ChoiceItem>& items) {
  RETURN_IF_ERROR(CheckShots(rules, own_examples, items));
  if (rules.n_shots == 0) return Status();
  if (own_examples != nullptr) {
    PutBefore(rules, *own_examples, /*among_questions=*/false, items);
    return Status();
  }
  const bool has_train = std::ranges::any_of(items, &ChoiceItem::is_train);
  std::vector<ChoiceItem> examples, questions;
  for (const ChoiceItem& item : items) {
    if (!has_train || item.is_train) examples.push_back(item);
    if (!has_train || !item.is_train) questions.push_back(item);
  }
  PutBefore(rules, examples, /*among_questions=*/!has_train, questions);
  items = std::move(questions);
  return Status();
}

}  // namespace longrun
