#include "model/data/synthetic/passkey_prompt.h"

#include <algorithm>

#include "base/str.h"

namespace longrun {
namespace {

constexpr std::string_view kTask =
    "There is an important info hidden inside a lot of irrelevant text. Find it and memorize them. "
    "I will quiz you about the important information there.";
constexpr std::string_view kFiller =
    "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again.";
constexpr std::string_view kQuestion = "What is the pass key? The pass key is";

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

std::string PasskeyPrompt(std::string_view before, std::string_view after, std::string_view key) {
  return Str(kTask, "\n", before, "\nThe pass key is ", key, ". Remember it. ", key,
             " is the pass key.\n", after, "\n", kQuestion);
}

std::string RepeatedFiller(std::int64_t n) {
  std::string text;
  text.reserve(static_cast<std::size_t>(n) * kFiller.size());
  for (std::int64_t i = 0; i < n; ++i) text += kFiller;
  return text;
}

// The first n characters of the repetitions with a space between them.
std::string FillerCharacters(std::int64_t n) {
  std::string text;
  const auto n_bytes = static_cast<std::size_t>(n);
  while (text.size() < n_bytes) text += Str(text.empty() ? "" : " ", kFiller);
  text.resize(n_bytes);
  return text;
}

std::int64_t FillerPeriod() { return std::ssize(kFiller) + 1; }

std::string PosePrompt(std::int64_t n_before, std::int64_t n_after, std::int64_t key) {
  return PasskeyPrompt(RepeatedFiller(n_before), RepeatedFiller(n_after), Str(key));
}

std::int64_t PoseRepetitions(std::int64_t context_length) {
  constexpr std::int64_t kTaskTokens = 32, kInfoTokens = 26, kQuestionTokens = 11,
                         kFillerTokens = 25;
  const std::int64_t n_left = context_length - kTaskTokens - kInfoTokens - kQuestionTokens;
  return n_left < 0 ? -1 : n_left / kFillerTokens;
}

std::string LandmarkPrompt(std::int64_t n_before, std::int64_t n_after, std::int64_t key) {
  return PasskeyPrompt(FillerCharacters(n_before), FillerCharacters(n_after), Str(key));
}

std::int64_t GaliCharacters(std::int64_t context_length) {
  return context_length * 15 / 4 / 1024 * 1024;
}

bool FirstNumberIs(std::string_view text, std::int64_t key) {
  const auto begin = std::ranges::find_if(text, IsDigit);
  const auto end = std::find_if_not(begin, text.end(), IsDigit);
  std::string_view digits(begin, end);
  if (digits.empty()) return false;
  digits.remove_prefix(std::min(digits.find_first_not_of('0'), digits.size() - 1));
  return digits == Str(key);
}

}  // namespace longrun
