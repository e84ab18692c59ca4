#include "model/evaluation/recall.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "base/hash.h"
#include "base/str.h"
#include "base/wilson.h"
#include "model/evaluation/nll_row.h"

namespace longrun {
namespace {

// A row of more answers does not keep them: the artifact does.
constexpr std::int64_t kScoresMax = 1024;

// Of the ids as 32-bit integers, little-endian, so that also prompts made of tokens have it.
std::string PromptSha256(std::span<const std::int32_t> tokens) {
  std::string bytes;
  bytes.reserve(tokens.size() * sizeof(std::int32_t));
  for (const std::int32_t token : tokens) {
    const auto bits = static_cast<std::uint32_t>(token);
    for (unsigned shift = 0; shift < 32; shift += 8) {
      bytes.push_back(static_cast<char>((bits >> shift) & 0xffU));
    }
  }
  return Sha256Hex(bytes);
}

}  // namespace

Result<std::vector<RecallAnswer>> Ask(LanguageModel& model, const Tokenizer& tokenizer,
                                      std::span<const RecallQuestion> questions,
                                      std::int64_t tokens_per_call,
                                      const EvaluationProgress& progress) {
  std::vector<std::size_t> order(questions.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto shape = [&](std::size_t q) {
    const Prompt& prompt = questions[q].prompt;
    return std::pair(prompt.tokens.size(), prompt.new_tokens);
  };
  std::ranges::stable_sort(order, {}, shape);

  std::vector<RecallAnswer> answers(questions.size());
  const auto n = static_cast<std::int64_t>(questions.size());
  for (std::int64_t done = 0; done < n;) {
    std::vector<Prompt> prompts;
    std::int64_t end = done;
    for (; end < n; ++end) {
      const Prompt& prompt = questions[order[static_cast<std::size_t>(end)]].prompt;
      const std::int64_t n_read = std::ssize(prompt.tokens) * (end - done + 1);
      if (end > done && n_read > tokens_per_call) break;
      prompts.push_back(prompt);
    }
    ASSIGN_OR_RETURN(std::vector<std::vector<std::int32_t>> written, model.Continue(prompts));
    for (std::int64_t i = done; i < end; ++i) {
      const std::size_t q = order[static_cast<std::size_t>(i)];
      RecallAnswer& answer = answers[q];
      answer.ids = std::move(written[static_cast<std::size_t>(i - done)]);
      // A model's vocabulary may have padding rows, which are no tokens.
      std::vector<std::int32_t> ids = answer.ids;
      std::erase_if(ids, [&](std::int32_t id) {
        return id >= static_cast<std::int32_t>(tokenizer.vocabulary().tokens.size());
      });
      ASSIGN_OR_RETURN(answer.text, tokenizer.Decode(ids));
      answer.is_right = questions[q].is_right(answer.ids, answer.text);
    }
    done = end;
    if (progress && !progress(done, n)) return Status(Code::kCancelled, "stopped as asked");
  }
  return answers;
}

std::string_view StatusOfAsking(Code code) {
  return code == Code::kAborted ? "non_finite" : StatusOfModelError(code);
}

void FillRecallRow(Json& row, std::span<const RecallQuestion> questions,
                   std::span<const RecallAnswer> answers) {
  const std::int64_t n = std::ssize(answers);
  const std::int64_t n_right = std::ranges::count_if(answers, &RecallAnswer::is_right);
  std::size_t longest = 0;
  for (const RecallQuestion& question : questions) {
    longest = std::max(longest, question.prompt.tokens.size());
  }
  const double p = static_cast<double>(n_right) / static_cast<double>(n);
  row["value"] = p;
  if (n > 1) row["se"] = std::sqrt(p * (1.0 - p) / static_cast<double>(n));
  row["n"] = n;
  row["averaging"] = "item";
  const auto [low, high] = Wilson95(p, static_cast<double>(n));
  row["extra"].update({{"right", n_right}, {"wilson95", {low, high}}, {"longest_prompt", longest}});
  if (n > kScoresMax) return;
  std::string scores;
  for (const RecallAnswer& answer : answers) scores += answer.is_right ? '1' : '0';
  row["extra"]["scores"] = std::move(scores);
}

EvaluationArtifact AnswersFile(std::string_view name, std::int64_t context_length,
                               std::span<const RecallQuestion> questions,
                               std::span<const RecallAnswer> answers) {
  EvaluationArtifact artifact{.name = Str(name, "-", context_length, ".jsonl"), .bytes = {}};
  for (std::size_t q = 0; q < questions.size(); ++q) {
    const RecallQuestion& question = questions[q];
    Json line = question.facts;
    line["prompt_sha256"] = PromptSha256(question.prompt.tokens);
    line["prompt_tokens"] = question.prompt.tokens.size();
    line["reference"] = question.reference;
    line["prediction"] = answers[q].text;
    line["score"] = answers[q].is_right ? 1 : 0;
    if (question.depth) line["depth"] = *question.depth;
    artifact.bytes += line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  }
  return artifact;
}

std::vector<std::int32_t> PromptTokens(const Tokenizer& tokenizer, std::string_view text,
                                       std::int32_t bos) {
  std::vector<std::int32_t> ids;
  if (bos >= 0) ids.push_back(bos);
  tokenizer.Encode(text, ids);
  return ids;
}

std::int64_t LargestFitting(const std::function<bool(std::int64_t)>& fits, std::int64_t near) {
  std::int64_t low = -1, high = near + 1;
  if (near >= 0 && fits(near)) {
    low = near;
    for (std::int64_t step = 1; fits(high); step *= 2) {
      low = high;
      high += step;
    }
  }
  while (high - low > 1) {
    const std::int64_t middle = low + (high - low) / 2;
    (fits(middle) ? low : high) = middle;
  }
  return low;
}

}  // namespace longrun
