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

constexpr std::string_view kWrap = "wrap";
constexpr std::string_view kPromptMark = "{prompt}";

// Parameters are single lines, so a newline is written as \n.
std::string WithNewlines(std::string text) {
  constexpr std::string_view kWritten = "\\n";
  for (std::size_t at = text.find(kWritten); at != std::string::npos;
       at = text.find(kWritten, at)) {
    text.replace(at, kWritten.size(), "\n");
  }
  return text;
}

// Appends the ids of `pending` and of `part` up to its last control token; returns the text behind.
std::string TakeControls(const Tokenizer& tokenizer, std::string_view part, std::string pending,
                         std::vector<std::int32_t>& ids) {
  const std::vector<Token>& tokens = tokenizer.vocabulary().tokens;
  while (true) {
    // The first in the text; of several there the longest.
    std::size_t at = std::string_view::npos, found = 0;
    for (std::size_t id = 0; id < tokens.size(); ++id) {
      const Token& token = tokens[id];
      if (token.kind != Token::Kind::kControl || token.bytes.empty()) continue;
      const std::size_t here = part.find(token.bytes);
      if (here == std::string_view::npos || here > at) continue;
      if (here == at && token.bytes.size() <= tokens[found].bytes.size()) continue;
      at = here;
      found = id;
    }
    if (at == std::string_view::npos) return pending.append(part);
    pending += part.substr(0, at);
    tokenizer.Encode(pending, ids);
    pending.clear();
    ids.push_back(static_cast<std::int32_t>(found));
    part.remove_prefix(at + tokens[found].bytes.size());
  }
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

ParamSpec WrapParam() {
  return {.name = kWrap,
          .type = ParamSpec::Type::kText,
          .is_optional = true,
          .max = 4096,
          .meaning =
              "text that a chat model expects around a prompt, with {prompt} in its place, "
              "as in \"[INST]{prompt}[/INST]\"; \\n is a newline, and the names of the "
              "tokenizer's control tokens are these tokens"};
}

std::optional<ParamError> CheckWrap(const Json& params) {
  if (!params.contains(kWrap)) return std::nullopt;
  const auto& wrap = params.at(kWrap).get_ref<const std::string&>();
  const std::size_t at = wrap.find(kPromptMark);
  const bool is_once =
      at != std::string::npos && wrap.find(kPromptMark, at + 1) == std::string::npos;
  if (is_once) return std::nullopt;
  return ParamError{std::string(kWrap),
                    Str("expected a text with ", kPromptMark,
                        " once, where the prompt goes, found \"", Printable(wrap), "\"")};
}

Json WrapOf(const Json& params) {
  Json given = Json::object();
  if (params.contains(kWrap)) given[kWrap] = params.at(kWrap);
  return given;
}

std::vector<std::int32_t> WrappedTokens(const Tokenizer& tokenizer, const Json& params,
                                        std::string_view text, std::int32_t bos) {
  if (!params.contains(kWrap)) return PromptTokens(tokenizer, text, bos);
  const std::string wrap = WithNewlines(params.at(kWrap).get<std::string>());
  const std::size_t at = wrap.find(kPromptMark);
  std::vector<std::int32_t> ids;
  if (bos >= 0) ids.push_back(bos);
  // Text between two control tokens is tokenised as a whole, the prompt with what is beside it.
  std::string pending = TakeControls(tokenizer, std::string_view(wrap).substr(0, at), "", ids);
  pending += text;
  pending = TakeControls(tokenizer, std::string_view(wrap).substr(at + kPromptMark.size()),
                         std::move(pending), ids);
  tokenizer.Encode(pending, ids);
  return ids;
}

RepeatedPrompt::RepeatedPrompt(std::int64_t period, Count count)
    : period_(period),
      count_(std::move(count)),
      of_period_(count_(3 * period, 0) - count_(2 * period, 0)) {}

std::int64_t RepeatedPrompt::Tokens(std::int64_t n_before, std::int64_t n_after) const {
  std::int64_t n_left_out = 0;  // periods
  const auto shorten = [&](std::int64_t n) {
    const std::int64_t n_periods = std::max<std::int64_t>(0, n / period_ - 2);
    n_left_out += n_periods;
    return n - n_periods * period_;
  };
  const std::int64_t before = shorten(n_before), after = shorten(n_after);
  return count_(before, after) + n_left_out * of_period_;
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
