// A key is hidden at each depth of a text of filler (LandmarkPrompt), which ends by asking for it:
//
//   depth = i / D,  i = 1 .. D;  of n characters of filler floor(depth n) stand before the key
//   recall(L, depth) = share of `trials` prompts with an answer that contains the key
//
// and one row without a depth over the prompts of all depths. The key is uniform in
// 50000 .. 500000, a function of (seed, L, i, trial). By `filler`, with context length L:
//
//   gali    n = GaliCharacters(L)
//   fitted  n as large as the prompt with its answer fits into L tokens
//
// For a key of m tokens the model writes m + new_tokens, or fewer up to an end of text: the most
// likely ones, unless the parameters say otherwise (DecodingParams).
// AcademyCityL/GALI: pred.py, with its prompt for models without a chat template.
#include "model/evaluation/needle.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <utility>

#include "base/check.h"
#include "base/random.h"
#include "base/str.h"
#include "model/data/synthetic/passkey_prompt.h"
#include "model/data/tokenizer_file.h"
#include "model/evaluation/nll_row.h"
#include "model/evaluation/params.h"
#include "model/evaluation/recall.h"

namespace longrun {
namespace {

constexpr std::string_view kRecall = "recall";
constexpr std::int64_t kKeyMin = 50'000, kKeyMax = 500'000;

std::int64_t DepthsOf(const Json& params) { return params.at("depths"); }

double DepthOf(std::int64_t i, std::int64_t n_depths) {
  return static_cast<double>(i) / static_cast<double>(n_depths);
}

// How many characters of filler all prompts have.
Result<std::int64_t> Characters(const EvaluationRequest& request, const Json& params,
                                const std::function<bool(std::int64_t)>& fits) {
  if (params.at("filler") != "fitted") return GaliCharacters(request.context_length);
  const std::int64_t n = LargestFitting(fits, 0);
  if (n >= 0) return n;
  return Status(Code::kOutOfRange,
                Str("the prompt and its answer do not fit into ", request.context_length,
                    " tokens even without filler: use a larger context length, "
                    "or fewer new_tokens"));
}

// What a trial draws first.
SeededRandom RandomOf(const Json& params, std::int64_t context_length, std::int64_t i,
                      std::int64_t trial) {
  const std::uint64_t of_depth =
      StreamKey(params.at("seed").get<std::uint64_t>(), static_cast<std::uint64_t>(context_length),
                static_cast<std::uint64_t>(i));
  return SeededRandom(StreamKey(of_depth, 0, static_cast<std::uint64_t>(trial)));
}
std::int64_t DrawKey(SeededRandom& random) {
  return kKeyMin + static_cast<std::int64_t>(random.Below(kKeyMax - kKeyMin + 1));
}

std::int64_t Before(double depth, std::int64_t n) {
  return static_cast<std::int64_t>(depth * static_cast<double>(n));
}

Result<std::vector<RecallQuestion>> QuestionsOf(const EvaluationRequest& request,
                                                const Json& params, const Tokenizer& tokenizer) {
  const std::int32_t bos = params.at("bos").get<bool>() ? request.dataset->bos_id() : -1;
  const std::int32_t eot = request.dataset->eot_id();
  const std::int64_t length = request.context_length, n_depths = DepthsOf(params);
  const auto n_trials = params.at("trials").get<std::int64_t>();
  std::vector<RecallQuestion> questions;
  for (std::int64_t i = 1; i <= n_depths; ++i) {
    for (std::int64_t trial = 0; trial < n_trials; ++trial) {
      SeededRandom random = RandomOf(params, length, i, trial);
      const std::int64_t key = DrawKey(random);
      const std::string reference = Str(key);
      const std::int64_t n_key = std::ssize(PromptTokens(tokenizer, reference, -1));
      RecallQuestion& question = questions.emplace_back();
      question.prompt.new_tokens = n_key + params.at("new_tokens").get<std::int64_t>();
      if (eot >= 0) question.prompt.stop = {eot};
      SetDecoding(params, random.Next(), question.prompt);
      question.reference = reference;
      question.is_right = [reference](std::span<const std::int32_t>, std::string_view text) {
        return text.find(reference) != std::string_view::npos;
      };
      question.depth = DepthOf(i, n_depths);
      question.facts = {{"key", key}};
    }
  }
  // Makes all prompts with n characters of filler; false if one does not fit.
  const auto make = [&](std::int64_t n) {
    bool fits = true;
    for (RecallQuestion& question : questions) {
      const std::int64_t before = Before(*question.depth, n);
      const std::string text =
          LandmarkPrompt(before, n - before, question.facts.at("key").get<std::int64_t>());
      question.prompt.tokens = WrappedTokens(tokenizer, params, text, bos);
      question.facts["before"] = before;
      question.facts["filler"] = n;
      fits = fits && std::ssize(question.prompt.tokens) + question.prompt.new_tokens <= length;
      if (!fits && params.at("filler") == "fitted") return false;
    }
    return fits;
  };
  ASSIGN_OR_RETURN(std::int64_t n, Characters(request, params, make));
  // A character more can be a token less, so that the search may end where not all fit.
  while (!make(n) && params.at("filler") == "fitted" && n > 0) --n;
  return questions;
}

Json NewRow(const EvaluationRequest& request, const Json& params) {
  Json row = EmptyRow(kRecall, request);
  row["extra"]["params"] = {{"filler", params.at("filler")},
                            {"trials", params.at("trials")},
                            {"seed", params.at("seed")}};
  row["extra"]["params"].update(DecodingOf(params));
  row["extra"]["params"].update(WrapOf(params));
  return row;
}

Json AtDepth(Json row, std::int64_t i, std::int64_t n_depths) {
  row["depth"] = DepthOf(i, n_depths);
  return row;
}

Result<EvaluationOutput> Measured(LanguageModel& model, const EvaluationRequest& request,
                                  const Json& params, const EvaluationProgress& progress) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer,
                   OpenTokenizerOf(request.dataset_folder));
  ASSIGN_OR_RETURN(const std::vector<RecallQuestion> questions,
                   QuestionsOf(request, params, *tokenizer));
  ASSIGN_OR_RETURN(const std::vector<RecallAnswer> answers,
                   Ask(model, *tokenizer, questions,
                       request.windows_per_call * request.context_length, progress));
  const auto row_of = [&](std::size_t begin, std::size_t n) {
    Json row = NewRow(request, params);
    FillRecallRow(row, std::span(questions).subspan(begin, n),
                  std::span(answers).subspan(begin, n));
    return row;
  };
  EvaluationOutput output;
  output.rows.push_back(row_of(0, answers.size()));
  const std::int64_t n_depths = DepthsOf(params);
  const auto n_trials = params.at("trials").get<std::size_t>();
  for (std::int64_t i = 1; i <= n_depths; ++i) {
    const auto begin = static_cast<std::size_t>(i - 1) * n_trials;
    output.rows.push_back(AtDepth(row_of(begin, n_trials), i, n_depths));
  }
  output.artifacts.push_back(AnswersFile(Str("needle-", params.at("filler").get<std::string>()),
                                         request.context_length, questions, answers));
  return output;
}

Result<EvaluationOutput> RunNeedle(LanguageModel& model, const EvaluationRequest& request,
                                   const EvaluationProgress& progress) {
  LR_CHECK(request.dataset != nullptr);
  Json given = request.params;
  if (given.is_object()) given["context_lengths"] = {request.context_length};
  ASSIGN_OR_RETURN(const Json params, ResolveParams(NeedleEvaluation().params, given, "needle"));
  Result<EvaluationOutput> output = Measured(model, request, params, progress);
  if (output.ok()) return output;
  const std::string_view status = StatusOfAsking(output.status().code());
  if (status.empty()) return output;
  Json row = NewRow(request, params);
  row["status"] = status;
  row["extra"]["reason"] = output.status().message();
  EvaluationOutput without;
  without.rows.push_back(row);
  for (std::int64_t i = 1; i <= DepthsOf(params); ++i) {
    without.rows.push_back(AtDepth(row, i, DepthsOf(params)));
  }
  return without;
}

// ---- the table ---------------------------------------------------------------------------------

std::vector<RowName> NeedleRows(const Json& params) {
  std::vector<RowName> rows = {{.metric = kRecall, .variant = ""}};
  for (std::int64_t i = 1; i <= DepthsOf(params); ++i) {
    rows.push_back({.metric = kRecall, .variant = "", .depth = DepthOf(i, DepthsOf(params))});
  }
  return rows;
}

// The text is our own, so any dataset fits: only its tokenizer is used.
std::optional<ParamError> FitNeedle(const DatasetShape&, Json& params) {
  if (auto error = CheckWrap(params)) return error;
  return CheckDecoding(params, params.at("new_tokens").get<std::int64_t>() + 1);
}

double NeedleTokensRead(const DatasetShape&, const Json& params, std::int64_t context_length) {
  return params.at("trials").get<double>() * params.at("depths").get<double>() *
         static_cast<double>(context_length);
}

std::int64_t LongestNeedlePrompt(const Tokenizer& tokenizer, std::int32_t bos, const Json& params,
                                 std::int64_t context_length) {
  if (params.at("filler") == "fitted") return 0;
  const std::int64_t n = GaliCharacters(context_length), n_depths = DepthsOf(params);
  std::int64_t key = kKeyMax;
  const RepeatedPrompt prompt(FillerPeriod(), [&](std::int64_t n_before, std::int64_t n_after) {
    return std::ssize(WrappedTokens(tokenizer, params, LandmarkPrompt(n_before, n_after, key),
                                    params.at("bos").get<bool>() ? bos : -1));
  });
  std::int64_t longest = 0;
  const std::int64_t n_trials = std::min(params.at("trials").get<std::int64_t>(),
                                         std::max<std::int64_t>(1, kPromptsCounted / n_depths));
  for (std::int64_t i = 1; i <= n_depths; ++i) {
    const std::int64_t before = Before(DepthOf(i, n_depths), n);
    for (std::int64_t trial = 0; trial < n_trials; ++trial) {
      SeededRandom random = RandomOf(params, context_length, i, trial);
      key = DrawKey(random);
      longest = std::max(longest, prompt.Tokens(before, n - before));
    }
  }
  return longest;
}

std::string WhyNoNeedleFits(const Tokenizer& tokenizer, std::int32_t bos, const Json& params,
                            std::int64_t context_length) {
  if (params.at("filler") != "fitted") return "";
  const std::int64_t n_depths = DepthsOf(params);
  const std::int64_t n_trials = std::min(params.at("trials").get<std::int64_t>(),
                                         std::max<std::int64_t>(1, kPromptsCounted / n_depths));
  for (std::int64_t i = 1; i <= n_depths; ++i) {
    for (std::int64_t trial = 0; trial < n_trials; ++trial) {
      SeededRandom random = RandomOf(params, context_length, i, trial);
      const std::int64_t key = DrawKey(random);
      const auto n_tokens = std::ssize(WrappedTokens(tokenizer, params, LandmarkPrompt(0, 0, key),
                                                     params.at("bos").get<bool>() ? bos : -1));
      const std::int64_t n_answer = std::ssize(PromptTokens(tokenizer, Str(key), -1)) +
                                    params.at("new_tokens").get<std::int64_t>();
      if (n_tokens + n_answer <= context_length) continue;
      return Str("without any filler it has ", n_tokens, ", and the answer ", n_answer,
                 "; fewer new_tokens make a shorter answer");
    }
  }
  return "";
}

std::vector<ParamSpec> NeedleSpecs() {
  std::vector<ParamSpec> specs = {
      ContextLengthsParam("tokens of a prompt; `filler` says how they are counted", 1 << 24),
      {.name = "depths",
       .type = ParamSpec::Type::kCount,
       .default_value = 16,
       .min = 1,
       .max = 100,
       .meaning = "number of depths at which the key is hidden, at equal distances up to the end "
                  "of the filler"},
      {.name = "trials",
       .type = ParamSpec::Type::kCount,
       .default_value = 20,
       .min = 1,
       .max = 1e5,
       .meaning = "prompts for each context length and depth"},
      {.name = "filler",
       .type = ParamSpec::Type::kChoice,
       .default_value = "gali",
       .choices = {"gali", "fitted"},
       .meaning =
           "amount of filler in a prompt; gali: 3.75 characters for each token of the context "
           "length, in multiples of 1024; fitted: as much as fits with any tokenizer"},
      {.name = "new_tokens",
       .type = ParamSpec::Type::kCount,
       .default_value = 100,
       .min = 1,
       .max = 10'000,
       .meaning = "tokens that the model writes besides those of the key"},
      {.name = "seed",
       .type = ParamSpec::Type::kCount,
       .default_value = 42,
       .min = 0,
       .max = 9e15,
       .meaning = "seed for the keys"},
      {.name = "bos",
       .type = ParamSpec::Type::kBool,
       .default_value = true,
       .meaning = "begin each prompt with the begin-of-text token, or with the end-of-text token "
                  "if the tokenizer has only that"},
      WrapParam(),
      WindowBaselineParam(),
      PrecisionParam(),
  };
  std::ranges::move(DecodingParams(), std::back_inserter(specs));
  return specs;
}

}  // namespace

const Evaluation& NeedleEvaluation() {
  static const Evaluation evaluation = {
      .name = "needle",
      .source = "docs/evaluation.md",
      .meaning = "how often the model repeats a key, by the depth at which it is hidden in a text",
      .params = NeedleSpecs(),
      .rows = &NeedleRows,
      .fit = &FitNeedle,
      .reads = Evaluation::Reads::kCausal,
      .run = &RunNeedle,
      .tokens_read = &NeedleTokensRead,
      .longest_prompt = &LongestNeedlePrompt,
      .why_no_prompt_fits = &WhyNoNeedleFits,
      .writes = true,
  };
  return evaluation;
}

}  // namespace longrun
