// The part that evaluations share which ask a model to write: it asks each question, judges the
// answer, and keeps it.
//
//   recall = right answers / n,  standard error sqrt(p (1 - p) / n);  extra.wilson95 is Wilson's
//   interval;  extra.scores has 1 for a right answer and 0 for a wrong one, in the order asked, so
//   that answers to the same questions can be compared one by one (of at most 1024 answers)
//
// Answers are kept as JSON lines, one for each question in the order asked:
//   {"prompt_sha256","prompt_tokens","reference","prediction","score", and what the evaluation says
//    of the question: "key","before","depth"}
// A prediction's bytes that are not UTF-8 are replaced.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "model/data/tokenizer.h"
#include "model/evaluation/evaluation.h"
#include "model/language_model.h"
#include "model/param.h"

namespace longrun {

struct RecallQuestion {
  Prompt prompt = {};
  std::string reference = {};  // the right answer, for people
  // Whether an answer is right, given its ids and its text.
  std::function<bool(std::span<const std::int32_t> ids, std::string_view text)> is_right = {};
  std::optional<double> depth = {};  // place of what is asked for, 0 to 1
  Json facts = Json::object();       // further members of its line
};

struct RecallAnswer {
  std::vector<std::int32_t> ids;
  std::string text;
  bool is_right = false;
};

// Asks all, the shortest first. One call of the model gets prompts of at most `tokens_per_call`
// tokens, but at least one prompt. The answers are in the order of the questions. Errors: the
// model's, and kCancelled if `progress` returned false.
Result<std::vector<RecallAnswer>> Ask(LanguageModel& model, const Tokenizer& tokenizer,
                                      std::span<const RecallQuestion> questions,
                                      std::int64_t tokens_per_call,
                                      const EvaluationProgress& progress);
// The status of a row whose questions fail with this error; "" if the error is not a property of
// the model.
std::string_view StatusOfAsking(Code code);

// Fills in value, standard error, n, interval and scores of a row over at least one answer, and the
// tokens of the longest prompt.
void FillRecallRow(Json& row, std::span<const RecallQuestion> questions,
                   std::span<const RecallAnswer> answers);

// The answers as JSON lines: the artifact NAME-LENGTH.jsonl.
EvaluationArtifact AnswersFile(std::string_view name, std::int64_t context_length,
                               std::span<const RecallQuestion> questions,
                               std::span<const RecallAnswer> answers);

// The ids of `text` for the dataset's model, with `bos` in front unless that is negative.
std::vector<std::int32_t> PromptTokens(const Tokenizer& tokenizer, std::string_view text,
                                       std::int32_t bos);

// `wrap`: the text that a chat model expects around a prompt, as in "[INST]{prompt}[/INST]". The
// names of control tokens in it stand for these tokens; in the prompt they are plain characters.
ParamSpec WrapParam();
std::optional<ParamError> CheckWrap(const Json& params);
// What a row keeps of it: nothing without one.
Json WrapOf(const Json& params);
// The ids of a prompt inside the wrap of `params`; PromptTokens without one.
std::vector<std::int32_t> WrappedTokens(const Tokenizer& tokenizer, const Json& params,
                                        std::string_view text, std::int32_t bos);

// The tokens of long prompts whose filler repeats itself, counted in short ones: of the repetitions
// that a short one lacks, each has as many tokens as one more has in it.
class RepeatedPrompt {
 public:
  // The tokens of a prompt with so much filler before and after the key; `period` is the filler
  // after which it repeats itself.
  using Count = std::function<std::int64_t(std::int64_t n_before, std::int64_t n_after)>;
  RepeatedPrompt(std::int64_t period, Count count);
  std::int64_t Tokens(std::int64_t n_before, std::int64_t n_after) const;

 private:
  std::int64_t period_;
  Count count_;
  std::int64_t of_period_;  // tokens
};

// How many of a cell's prompts are counted for Evaluation::longest_prompt: their keys differ in a
// few tokens.
inline constexpr std::int64_t kPromptsCounted = 100;

// The largest n for which fits(n) is true, searched from `near`; -1 if there is none. If n fits,
// every smaller number must fit too.
std::int64_t LargestFitting(const std::function<bool(std::int64_t)>& fits, std::int64_t near);

}  // namespace longrun
