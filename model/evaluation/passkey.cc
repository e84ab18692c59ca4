// A key is hidden in a text, which ends by asking for it; `recall` is the share of `trials` prompts
// that the model continues with the key. By `protocol`, with context length L:
//
//   pose      PosePrompt with n = PoseRepetitions(L) in all; u of them before the key
//   fitted    the same, n as large as the prompt with its answer fits into L tokens
//   landmark  LandmarkPrompt with n characters in all; u of them before the key. n is the parameter
//             filler_characters, if prompt and answer then fit into L tokens, or GaliCharacters(L)
//   gali      the same prompts; right is an answer that contains the key
//   drt       keys of random tokens in a text of the dataset (corpus_passkey.h)
//
// u is uniform in 0 .. n, the key in 1 .. 50000; both are a function of (seed, L, trial). In pose,
// fitted and landmark the model writes 10 tokens, and the first number in them must be the key. In
// gali it writes 100 more tokens than the key has. An end of text ends the answer. The most likely
// token is written, unless the parameters say otherwise (DecodingParams).
//
// drt has two rows: `recall`, the token that DRT scores after all those before it, and `exact`, the
// whole answer written by the model. Case i is over tokens [i L, i L + L) of the split, so that a
// split of N tokens has at most N / L cases.
#include "model/evaluation/passkey.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "base/check.h"
#include "base/random.h"
#include "base/str.h"
#include "model/data/synthetic/passkey_prompt.h"
#include "model/data/tokenizer_file.h"
#include "model/evaluation/corpus_passkey.h"
#include "model/evaluation/nll_row.h"
#include "model/evaluation/params.h"
#include "model/evaluation/recall.h"
#include "model/evaluation/split.h"

namespace longrun {
namespace {

constexpr std::string_view kRecall = "recall", kExact = "exact";
constexpr const char* kFillerCharacters = "filler_characters";
constexpr std::int64_t kKeyMax = 50'000, kNewTokens = 10, kGaliNewTokens = 100;

bool IsDrt(const Json& params) { return params.at("protocol") == "drt"; }

// What all questions of a cell are made from.
struct Source {
  const EvaluationRequest& request;
  Json params;
  std::unique_ptr<Tokenizer> tokenizer;
  std::int32_t bos = -1;

  std::int64_t trials() const { return params.at("trials"); }
};

// ---- text --------------------------------------------------------------------------------------

using MakePrompt = std::string (*)(std::int64_t, std::int64_t, std::int64_t);

Prompt PromptOf(const Source& source, std::string_view text, std::int64_t new_tokens) {
  Prompt prompt;
  prompt.tokens = WrappedTokens(*source.tokenizer, source.params, text, source.bos);
  prompt.new_tokens = new_tokens;
  if (const std::int32_t eot = source.request.dataset->eot_id(); eot >= 0) prompt.stop = {eot};
  return prompt;
}

bool Fits(const Source& source, const std::string& text) {
  const Prompt prompt = PromptOf(source, text, kNewTokens);
  return std::ssize(prompt.tokens) + prompt.new_tokens <= source.request.context_length;
}

// What a trial draws: first its key, then the filler before the key.
SeededRandom RandomOf(const Json& params, std::int64_t context_length, std::int64_t trial) {
  return SeededRandom(StreamKey(params.at("seed").get<std::uint64_t>(),
                                static_cast<std::uint64_t>(context_length),
                                static_cast<std::uint64_t>(trial)));
}
std::int64_t DrawKey(SeededRandom& random) {
  return 1 + static_cast<std::int64_t>(random.Below(kKeyMax));
}
std::int64_t DrawBefore(SeededRandom& random, std::int64_t n) {
  return static_cast<std::int64_t>(random.Below(static_cast<std::uint64_t>(n) + 1));
}

// Of the protocols that do not fit it into the context length; negative if pose has too few tokens.
std::int64_t FillerOf(const Json& params, std::int64_t context_length) {
  if (params.at("protocol") == "pose") return PoseRepetitions(context_length);
  return params.value(kFillerCharacters, GaliCharacters(context_length));
}

Status TooShort(const Source& source, std::string_view why) {
  return Status(Code::kOutOfRange,
                Str("a prompt of protocol ", source.params.at("protocol").get<std::string>(),
                    " does not fit into ", source.request.context_length, " tokens",
                    why.empty() ? "" : ": ", why));
}

std::string WithoutFiller(std::int64_t n_tokens) {
  return Str("without any filler it has ", n_tokens, ", and the answer ", kNewTokens);
}

std::string TooMuchFiller(std::int64_t n_characters, std::int64_t n_tokens) {
  return Str("with filler_characters ", n_characters, " it has ", n_tokens,
             " tokens, and the answer ", kNewTokens);
}

Result<std::vector<RecallQuestion>> TextQuestions(const Source& source) {
  const auto protocol = source.params.at("protocol").get<std::string>();
  const bool is_pose = protocol == "pose", is_fitted = protocol == "fitted";
  const MakePrompt make = is_pose || is_fitted ? &PosePrompt : &LandmarkPrompt;
  const std::int64_t length = source.request.context_length;
  std::int64_t n_fitting = 0;  // repetitions of the last trial
  std::vector<RecallQuestion> questions;
  for (std::int64_t trial = 0; trial < source.trials(); ++trial) {
    SeededRandom random = RandomOf(source.params, length, trial);
    const std::int64_t key = DrawKey(random);
    if (is_fitted) {
      n_fitting = LargestFitting(
          [&](std::int64_t n_before) { return Fits(source, PosePrompt(n_before, 0, key)); },
          n_fitting);
    }
    std::int64_t n = is_fitted ? n_fitting : FillerOf(source.params, length);
    if (n < 0) {
      const auto n_tokens = std::ssize(PromptOf(source, PosePrompt(0, 0, key), kNewTokens).tokens);
      return TooShort(source, is_pose ? std::string("it counts 69 tokens without any filler")
                                      : WithoutFiller(n_tokens));
    }
    std::int64_t before = DrawBefore(random, n);
    // Where the key stands can change how its neighbours are cut into tokens.
    while (is_fitted && n > 0 && !Fits(source, PosePrompt(before, n - before, key))) {
      before = std::min(before, --n);
    }
    const std::string reference = Str(key);
    RecallQuestion question;
    question.reference = reference;
    question.facts = {{"key", key}, {"before", before}, {"filler", n}};
    std::int64_t new_tokens = kNewTokens;
    if (protocol == "gali") {
      std::vector<std::int32_t> answer;
      source.tokenizer->Encode(reference, answer);
      new_tokens = static_cast<std::int64_t>(answer.size()) + kGaliNewTokens;
      question.is_right = [reference](std::span<const std::int32_t>, std::string_view text) {
        return text.find(reference) != std::string_view::npos;
      };
    } else {
      question.is_right = [key](std::span<const std::int32_t>, std::string_view text) {
        return FirstNumberIs(text, key);
      };
    }
    question.prompt = PromptOf(source, make(before, n - before, key), new_tokens);
    const auto n_prompt = std::ssize(question.prompt.tokens);
    if (source.params.contains(kFillerCharacters) && n_prompt + new_tokens > length) {
      return TooShort(source, TooMuchFiller(n, n_prompt));
    }
    SetDecoding(source.params, random.Next(), question.prompt);
    questions.push_back(std::move(question));
  }
  return questions;
}

// ---- tokens of the dataset ---------------------------------------------------------------------

struct CorpusQuestions {
  std::vector<RecallQuestion> scored, exact;
};

CorpusPasskeyRules RulesOf(const Json& params) {
  using Kind = CorpusPasskeyRules::Kind;
  const Json& kind = params.at("kind");
  return {.kind = kind == "single"     ? Kind::kSingle
                  : kind == "multihop" ? Kind::kMultihop
                                       : Kind::kMulti,
          .key_tokens = params.at("key_tokens"),
          .chunk = params.at("chunk"),
          .in_last_chunk = params.at("answer_at") == "last_chunk",
          .seed = params.at("seed").get<std::uint64_t>()};
}

RecallQuestion TokenQuestion(const Source& source, const CorpusPasskey& passkey, std::int64_t begin,
                             std::int64_t end) {
  const auto first = passkey.tokens.begin();
  std::vector<std::int32_t> expected(first + begin, first + end);
  RecallQuestion question = {
      .prompt = {.tokens = {first, first + begin}, .new_tokens = end - begin},
      .reference = source.tokenizer->Decode(expected).value(),
      .is_right = [expected](std::span<const std::int32_t> ids,
                             std::string_view) { return std::ranges::equal(ids, expected); },
      .facts = {{"before", passkey.statement_begin.front()}}};
  return question;
}

Result<CorpusQuestions> QuestionsInCorpus(const Source& source) {
  const CorpusPasskeyRules rules = RulesOf(source.params);
  const std::int64_t length = source.request.context_length;
  if (const std::string why = WhyTooShort(rules, *source.tokenizer, length); !why.empty()) {
    return TooShort(source, why);
  }
  const Dataset& dataset = *source.request.dataset;
  ASSIGN_OR_RETURN(const TokenSplit* split,
                   dataset.Split(source.params.at("split").get<std::string>()));
  std::vector<std::int32_t> ids = IdsOfText(dataset);
  std::erase(ids, dataset.eot_id());
  CorpusQuestions questions;
  const std::int64_t n = std::min(source.trials(), split->n_tokens() / length);
  std::vector<std::int32_t> text(static_cast<std::size_t>(length));
  for (std::int64_t i = 0; i < n; ++i) {
    RETURN_IF_ERROR(split->Read(i * length, text));
    const CorpusPasskey passkey = MakeCorpusPasskey(rules, *source.tokenizer, ids, text, i);
    const auto end = static_cast<std::int64_t>(passkey.tokens.size());
    questions.scored.push_back(TokenQuestion(source, passkey, passkey.scored, passkey.scored + 1));
    questions.exact.push_back(TokenQuestion(source, passkey, passkey.answer_begin, end));
  }
  return questions;
}

// ---- the run -----------------------------------------------------------------------------------

Result<Source> SourceOf(const EvaluationRequest& request) {
  LR_CHECK(request.dataset != nullptr);
  Json given = request.params;
  if (given.is_object()) given["context_lengths"] = {request.context_length};
  ASSIGN_OR_RETURN(Json params, ResolveParams(PasskeyEvaluation().params, given, "passkey"));
  ASSIGN_OR_RETURN(std::unique_ptr<Tokenizer> tokenizer, OpenTokenizerOf(request.dataset_folder));
  const bool has_bos = params.value("bos", false);
  return Source{.request = request,
                .params = std::move(params),
                .tokenizer = std::move(tokenizer),
                .bos = has_bos ? request.dataset->bos_id() : -1};
}

Json NewRow(const Source& source, std::string_view metric) {
  Json own = {{"trials", source.trials()}, {"seed", source.params.at("seed")}};
  if (IsDrt(source.params)) own["kind"] = source.params.at("kind");
  if (const auto given = source.params.find(kFillerCharacters); given != source.params.end()) {
    own[kFillerCharacters] = *given;
  }
  own.update(DecodingOf(source.params));
  own.update(WrapOf(source.params));
  Json row = EmptyRow(metric, source.request);
  row["protocol"] = source.params.at("protocol");
  if (IsDrt(source.params)) row["split"] = source.params.at("split");
  row["extra"]["params"] = std::move(own);
  return row;
}

// Asks the questions of one row.
Status Measure(LanguageModel& model, const Source& source, std::string_view metric,
               const std::vector<RecallQuestion>& questions, const EvaluationProgress& progress,
               EvaluationOutput& output) {
  ASSIGN_OR_RETURN(const std::vector<RecallAnswer> answers,
                   Ask(model, *source.tokenizer, questions,
                       source.request.windows_per_call * source.request.context_length, progress));
  Json row = NewRow(source, metric);
  FillRecallRow(row, questions, answers);
  output.rows.push_back(std::move(row));
  output.artifacts.push_back(
      AnswersFile(Str("passkey-", source.params.at("protocol").get<std::string>(), "-", metric),
                  source.request.context_length, questions, answers));
  return Status();
}

Result<EvaluationOutput> Measured(LanguageModel& model, const Source& source,
                                  const EvaluationProgress& progress) {
  EvaluationOutput output;
  if (!IsDrt(source.params)) {
    ASSIGN_OR_RETURN(const std::vector<RecallQuestion> questions, TextQuestions(source));
    RETURN_IF_ERROR(Measure(model, source, kRecall, questions, progress, output));
    return output;
  }
  ASSIGN_OR_RETURN(const CorpusQuestions questions, QuestionsInCorpus(source));
  const auto part = [&](std::int64_t nth) {
    return [&progress, nth](std::int64_t done, std::int64_t of) {
      return !progress || progress(nth * of + done, 2 * of);
    };
  };
  RETURN_IF_ERROR(Measure(model, source, kRecall, questions.scored, part(0), output));
  RETURN_IF_ERROR(Measure(model, source, kExact, questions.exact, part(1), output));
  return output;
}

std::vector<RowName> PasskeyRows(const Json& params) {
  std::vector<RowName> rows = {{.metric = kRecall, .variant = ""}};
  if (IsDrt(params)) rows.push_back({.metric = kExact, .variant = ""});
  return rows;
}

Result<EvaluationOutput> RunPasskey(LanguageModel& model, const EvaluationRequest& request,
                                    const EvaluationProgress& progress) {
  ASSIGN_OR_RETURN(const Source source, SourceOf(request));
  Result<EvaluationOutput> output = Measured(model, source, progress);
  if (output.ok()) return output;
  const std::string_view status = StatusOfAsking(output.status().code());
  if (status.empty()) return output;
  EvaluationOutput without;
  for (const RowName& name : PasskeyRows(source.params)) {
    Json row = NewRow(source, name.metric);
    row["status"] = status;
    row["extra"]["reason"] = output.status().message();
    without.rows.push_back(std::move(row));
  }
  return without;
}

// ---- the table ---------------------------------------------------------------------------------

std::optional<ParamError> FitPasskey(const DatasetShape& dataset, Json& params) {
  const std::int64_t shortest = params.at("context_lengths").front();
  if (params.at("protocol") == "pose" && PoseRepetitions(shortest) < 0) {
    return ParamError{"context_lengths",
                      Str("protocol pose counts 69 tokens without any filler: expected context "
                          "lengths from 69 on, found ",
                          shortest)};
  }
  if (!IsDrt(params)) {
    if (auto error = CheckWrap(params)) return error;
    return CheckDecoding(params, params.at("protocol") == "gali" ? kGaliNewTokens + 1 : kNewTokens);
  }
  const auto split = params.at("split").get<std::string>();
  if (auto error = CheckSplit(dataset, split); error) return error;
  const std::int64_t n_tokens = dataset.split_tokens.at(split);
  const std::int64_t longest = params.at("context_lengths").back();
  if (longest > n_tokens) {
    return ParamError{"context_lengths",
                      Str("context length ", longest, " is more than the ", n_tokens,
                          " tokens of split ", split, " of dataset \"", dataset.name, "\"")};
  }
  const std::int64_t chunk = params.at("chunk");
  for (const std::int64_t length : params.at("context_lengths")) {
    if (length % chunk == 0) continue;
    return ParamError{"context_lengths",
                      Str("expected multiples of the chunk of ", chunk, ", found ", length)};
  }
  return std::nullopt;
}

double PasskeyTokensRead(const DatasetShape& dataset, const Json& params,
                         std::int64_t context_length) {
  double trials = params.at("trials").get<double>();
  if (IsDrt(params)) {
    const auto split = dataset.split_tokens.find(params.at("split").get<std::string>());
    if (split != dataset.split_tokens.end()) {
      trials = 2.0 * std::min(trials, static_cast<double>(split->second / context_length));
    }
  }
  return trials * static_cast<double>(context_length);
}

// Of the protocols that do not fit their prompts; also of prompts that are too long to be asked.
std::int64_t LongestPromptMade(const Tokenizer& tokenizer, std::int32_t bos, const Json& params,
                               std::int64_t context_length) {
  const auto protocol = params.at("protocol").get<std::string>();
  if (protocol == "fitted" || protocol == "drt") return 0;
  const std::int64_t n = FillerOf(params, context_length);
  if (n < 0) return 0;
  const bool is_pose = protocol == "pose";
  const MakePrompt make = is_pose ? &PosePrompt : &LandmarkPrompt;
  std::int64_t key = kKeyMax;
  const RepeatedPrompt prompt(
      is_pose ? 1 : FillerPeriod(), [&](std::int64_t n_before, std::int64_t n_after) {
        return std::ssize(WrappedTokens(tokenizer, params, make(n_before, n_after, key),
                                        params.at("bos").get<bool>() ? bos : -1));
      });
  std::int64_t longest = 0;
  const std::int64_t n_trials = std::min(params.at("trials").get<std::int64_t>(), kPromptsCounted);
  for (std::int64_t trial = 0; trial < n_trials; ++trial) {
    SeededRandom random = RandomOf(params, context_length, trial);
    key = DrawKey(random);
    const std::int64_t before = DrawBefore(random, n);
    longest = std::max(longest, prompt.Tokens(before, n - before));
  }
  return longest;
}

std::int64_t LongestPasskeyPrompt(const Tokenizer& tokenizer, std::int32_t bos, const Json& params,
                                  std::int64_t context_length) {
  const std::int64_t longest = LongestPromptMade(tokenizer, bos, params, context_length);
  // Such prompts are not asked if they are too long (TextQuestions).
  return params.contains(kFillerCharacters) ? std::min(longest, context_length) : longest;
}

std::string WhyNoPasskeyFits(const Tokenizer& tokenizer, std::int32_t bos, const Json& params,
                             std::int64_t context_length) {
  if (IsDrt(params)) return WhyTooShort(RulesOf(params), tokenizer, context_length);
  if (params.contains(kFillerCharacters)) {
    const std::int64_t longest = LongestPromptMade(tokenizer, bos, params, context_length);
    const bool fits = longest + kNewTokens <= context_length;
    return fits ? "" : TooMuchFiller(params.at(kFillerCharacters), longest);
  }
  if (params.at("protocol") != "fitted") return "";
  const std::int64_t n_trials = std::min(params.at("trials").get<std::int64_t>(), kPromptsCounted);
  for (std::int64_t trial = 0; trial < n_trials; ++trial) {
    SeededRandom random = RandomOf(params, context_length, trial);
    const auto n_tokens =
        std::ssize(WrappedTokens(tokenizer, params, PosePrompt(0, 0, DrawKey(random)),
                                 params.at("bos").get<bool>() ? bos : -1));
    if (n_tokens + kNewTokens > context_length) return WithoutFiller(n_tokens);
  }
  return "";
}

ParamSpec OfDrt(ParamSpec spec) {
  spec.only_with = ParamSpec::Condition{.name = "protocol", .values = {"drt"}};
  return spec;
}

ParamSpec OfLandmark(ParamSpec spec) {
  spec.only_with = ParamSpec::Condition{.name = "protocol", .values = {"landmark"}};
  return spec;
}

ParamSpec OfText(ParamSpec spec) {
  spec.only_with =
      ParamSpec::Condition{.name = "protocol", .values = {"pose", "fitted", "landmark", "gali"}};
  return spec;
}

std::vector<ParamSpec> PasskeySpecs() {
  std::vector<ParamSpec> specs = {
      ContextLengthsParam("tokens of a prompt; the protocol says how they are counted", 1 << 24),
      {.name = "protocol",
       .type = ParamSpec::Type::kChoice,
       .default_value = "pose",
       .choices = {"pose", "fitted", "landmark", "gali", "drt"},
       .meaning =
           "the paper whose prompts are used, and whose rule decides if an answer is right; "
           "fitted: PoSE's prompts, as long as the context length allows with any tokenizer"},
      {.name = "trials",
       .type = ParamSpec::Type::kCount,
       .default_value = 50,
       .min = 1,
       .max = 1e6,
       .meaning =
           "prompts for each context length; with drt at most as many as the split has texts"},
      {.name = "seed",
       .type = ParamSpec::Type::kCount,
       .default_value = 42,
       .min = 0,
       .max = 9e15,
       .meaning = "seed for the keys and for where they are hidden"},
      OfText({.name = "bos",
              .type = ParamSpec::Type::kBool,
              .default_value = true,
              .meaning =
                  "begin each prompt with the begin-of-text token, or with the end-of-text token "
                  "if the tokenizer has only that"}),
      OfLandmark({.name = kFillerCharacters,
                  .type = ParamSpec::Type::kCount,
                  .is_optional = true,
                  .min = 0,
                  .max = 1 << 26,
                  .meaning = "characters of the filler in each prompt, as the authors of Landmark "
                             "Attention give them; without it: 3.75 for each token of the context "
                             "length, rounded down to a multiple of 1024"}),
      OfDrt({.name = "kind",
             .type = ParamSpec::Type::kChoice,
             .default_value = "single",
             .choices = {"single", "multihop", "multi"},
             .meaning = "what is hidden, and asked for; single: one key; multihop: two chains "
                        "a -> b -> c, of which one is asked for; multi: six keys with values, of "
                        "which one value is asked for"}),
      OfDrt({.name = "key_tokens",
             .type = ParamSpec::Type::kCount,
             .default_value = 5,
             .min = 1,
             .max = 1000,
             .meaning = "random tokens of a key"}),
      OfDrt({.name = "answer_at",
             .type = ParamSpec::Type::kChoice,
             .default_value = "last_chunk",
             .choices = {"last_chunk", "end"},
             .meaning = "where the answer is: after the first token of the last chunk, or at the "
                        "end of the text"}),
      OfDrt({.name = "chunk",
             .type = ParamSpec::Type::kCount,
             .default_value = 64,
             .min = 2,
             .max = 1 << 20,
             .meaning =
                 "tokens of a chunk; context lengths are multiples of it, and statements end "
                 "before the last one"}),
      OfDrt(SplitParam("the part of the dataset in whose texts keys are hidden")),
      OfText(WrapParam()),
      WindowBaselineParam(),
      PrecisionParam(),
  };
  for (ParamSpec& spec : DecodingParams()) specs.push_back(OfText(std::move(spec)));
  return specs;
}

}  // namespace

const Evaluation& PasskeyEvaluation() {
  static const Evaluation evaluation = {
      .name = "passkey",
      .source = "docs/evaluation.md",
      .meaning = "how often the model repeats a key that is hidden in a long text",
      .params = PasskeySpecs(),
      .rows = &PasskeyRows,
      .fit = &FitPasskey,
      .reads = Evaluation::Reads::kCausal,
      .run = &RunPasskey,
      .tokens_read = &PasskeyTokensRead,
      .longest_prompt = &LongestPasskeyPrompt,
      .why_no_prompt_fits = &WhyNoPasskeyFits,
      .writes = true,
  };
  return evaluation;
}

}  // namespace longrun
