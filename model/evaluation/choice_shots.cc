#include "model/evaluation/choice_shots.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <utility>

#include "base/random.h"
#include "base/str.h"

namespace longrun {
namespace {

// Draws `n` examples other than `left_out`, in the order in which they are drawn: the first n
// places of a Fisher-Yates shuffle.
std::vector<std::size_t> Draw(std::size_t n, std::size_t n_examples, std::size_t left_out,
                              std::uint64_t key) {
  std::vector<std::size_t> places(n_examples);
  std::iota(places.begin(), places.end(), std::size_t{0});
  if (left_out < n_examples) places.erase(places.begin() + static_cast<std::ptrdiff_t>(left_out));
  SeededRandom random(key);
  for (std::size_t i = 0; i < n; ++i) {
    std::swap(places[i], places[i + random.Below(places.size() - i)]);
  }
  places.resize(n);
  return places;
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

Status AddShots(const ShotRules& rules, const std::vector<ChoiceItem>* own_examples,
                std::vector<ChoiceItem>& items) {
  if (rules.n_shots == 0) return Status();
  const auto n_shots = static_cast<std::size_t>(rules.n_shots);
  if (own_examples != nullptr) {
    if (own_examples->size() < n_shots) {
      return Status(
          Code::kInvalidArgument,
          Str(n_shots, " shots need as many examples, but the file has ", own_examples->size()));
    }
    PutBefore(rules, *own_examples, /*among_questions=*/false, items);
    return Status();
  }
  const bool has_train = std::ranges::any_of(items, &ChoiceItem::is_train);
  std::vector<ChoiceItem> examples, questions;
  for (const ChoiceItem& item : items) {
    if (!has_train || item.is_train) examples.push_back(item);
    if (!has_train || !item.is_train) questions.push_back(item);
  }
  const std::size_t n_free = has_train ? examples.size() : examples.size() - 1;
  if (questions.empty() || n_free < n_shots) {
    return Status(Code::kInvalidArgument,
                  questions.empty()
                      ? std::string("every line has \"split\": \"train\", so no question is left")
                      : Str(n_shots, " shots need as many ",
                            has_train ? "lines with \"split\": \"train\"" : "other questions",
                            ", but the file has ", n_free));
  }
  PutBefore(rules, examples, /*among_questions=*/!has_train, questions);
  items = std::move(questions);
  return Status();
}

}  // namespace longrun
