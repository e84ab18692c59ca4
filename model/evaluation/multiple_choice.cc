// For each item, the choice with the highest likelihood after the context is the model's answer:
//
//   S_k = -sum over the tokens t of choice k of ln p(t | context, the choice so far)
//   acc       share of items with argmin S_k = label
//   acc_norm  share of items with argmin S_k / n_k = label
//
// The lowest index wins a tie. Two conventions, whose numbers are not the same:
//
//   nanogpt   karpathy/build-nanogpt hellaswag.py (also llm.c, and axiomlab/Cable): the context and
//             " " + choice are cut into tokens apart; n_k is the choice's tokens
//   lm_eval   EleutherAI/lm-evaluation-harness, lm_eval/api/task.py, lm_eval/api/model.py
//             (_encode_pair) and lm_eval/tasks/hellaswag: spaces at the context's end belong to the
//             choice; the choice's tokens are those of the whole text after as many tokens as the
//             context has by itself; n_k is the choice's characters, or bytes (acc_bytes there)
//
// If a text does not fit into the context length L, the beginning of its context is cut off, so
// that at most L tokens are fed (the harness' rule for max_length). An empty context becomes the
// begin-of-text token. With `shots` each context has worked examples before it (choice_shots.h).
// Standard error sqrt(p (1 - p) / n); extra.wilson95 is Wilson's interval.
#include "model/evaluation/multiple_choice.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/check.h"
#include "base/str.h"
#include "base/wilson.h"
#include "model/data/tokenizer_file.h"
#include "model/evaluation/choice_items.h"
#include "model/evaluation/choice_score.h"
#include "model/evaluation/choice_shots.h"
#include "model/evaluation/input_file.h"
#include "model/evaluation/nll_row.h"
#include "model/evaluation/params.h"

namespace longrun {
namespace {

constexpr std::string_view kAcc = "acc", kAccNorm = "acc_norm";
constexpr const char* kExamplesParam = "examples";

ChoiceProtocol ProtocolOf(const Json& params) {
  return params.at("protocol") == "nanogpt" ? ChoiceProtocol::kNanoGpt : ChoiceProtocol::kLmEval;
}

ShotRules ShotsOf(const Json& params) {
  return {.n_shots = params.at("shots"), .seed = params.at("shots_seed")};
}

// `name` is of the file that has the examples.
Status WithName(std::string_view name, const Status& status) {
  return status.ok() ? status : Status(status.code(), Str(name, ": ", status.message()));
}

// Errors of both begin with "NAME: " or "NAME:LINE: ".
Status CheckQuestions(std::string_view name, std::string_view bytes, const Json& params) {
  ASSIGN_OR_RETURN(const std::vector<ChoiceItem> items,
                   ParseChoiceItems(name, bytes, ProtocolOf(params)));
  if (params.contains(kExamplesParam)) return Status();
  return WithName(name, CheckShots(ShotsOf(params), nullptr, items));
}

Status CheckExamples(std::string_view name, std::string_view bytes, const Json& params) {
  ASSIGN_OR_RETURN(const std::vector<ChoiceItem> examples,
                   ParseChoiceItems(name, bytes, ProtocolOf(params)));
  return WithName(name, CheckShots(ShotsOf(params), &examples, {}));
}

// ---- answers -----------------------------------------------------------------------------------

struct Tally {
  std::int64_t n_right = 0, n_right_norm = 0;
};

Tally Count(const std::vector<ChoiceItem>& items, const ChoiceQuestions& questions,
            const ChoiceSums& sums) {
  Tally tally;
  std::size_t begin = 0;
  for (const ChoiceItem& item : items) {
    const std::size_t n = item.choices.size();
    const std::span<const double> nll = std::span(sums.nll).subspan(begin, n);
    const std::span<const double> n_norm = std::span(questions.n_norm).subspan(begin, n);
    tally.n_right += MostLikely(nll, {}) == item.label ? 1 : 0;
    tally.n_right_norm += MostLikely(nll, n_norm) == item.label ? 1 : 0;
    begin += n;
  }
  return tally;
}

// ---- rows --------------------------------------------------------------------------------------

Json NewRow(const EvaluationRequest& request, const Json& params, std::string_view metric) {
  Json own = {{"file", ShortInputFileId(params.at("file").get_ref<const std::string&>())}};
  if (params.at("name") != "") own["name"] = params.at("name");
  if (params.contains("length")) own["length"] = params.at("length");
  if (params.at("shots") > 0) {
    own["shots"] = params.at("shots");
    own["shots_seed"] = params.at("shots_seed");
  }
  if (params.contains(kExamplesParam)) {
    own[kExamplesParam] = ShortInputFileId(params.at(kExamplesParam).get_ref<const std::string&>());
  }
  Json row = EmptyRow(metric, request);
  row["protocol"] = params.at("protocol");
  row["averaging"] = "item";
  row["extra"]["params"] = std::move(own);
  return row;
}

void FillRow(Json& row, std::int64_t n_right, std::int64_t n, const ChoiceQuestions& questions) {
  const double p = static_cast<double>(n_right) / static_cast<double>(n);
  row["value"] = p;
  if (n > 1) row["se"] = std::sqrt(p * (1.0 - p) / static_cast<double>(n));
  row["n"] = n;
  const auto [low, high] = Wilson95(p, static_cast<double>(n));
  row["extra"].update({{"right", n_right},
                       {"wilson95", {low, high}},
                       {"choices", questions.windows.size()},
                       {"choices_cut", questions.n_cut},
                       {"longest_tokens", questions.longest_fed}});
}

// One line per choice, so that single answers can be inspected.
EvaluationArtifact ItemsFile(const EvaluationRequest& request, const Json& params,
                             const std::vector<ChoiceItem>& items, const ChoiceQuestions& questions,
                             const ChoiceSums& sums) {
  EvaluationArtifact artifact = {.name = Str("choices-", params.at("protocol").get<std::string>(),
                                             "-", request.context_length, ".csv"),
                                 .bytes = "line,choice,is_label,nll_sum,tokens,normalised_by\n"};
  std::size_t i = 0;
  for (const ChoiceItem& item : items) {
    for (std::size_t k = 0; k < item.choices.size(); ++k, ++i) {
      const Window& window = questions.windows[i];
      artifact.bytes +=
          Str(item.line, ",", k, ",", k == item.label ? "1" : "0", ",", sums.nll[i], ",",
              window.score_end - window.score_begin, ",", questions.n_norm[i], "\n");
    }
  }
  return artifact;
}

EvaluationOutput WithoutNumbers(Json acc, Json acc_norm, std::string_view status,
                                const std::string& reason) {
  for (Json* const row : {&acc, &acc_norm}) {
    (*row)["status"] = status;
    (*row)["extra"]["reason"] = reason;
  }
  return {.rows = {std::move(acc), std::move(acc_norm)}, .artifacts = {}};
}

// ---- the run -----------------------------------------------------------------------------------

struct Asked {
  Json params;
  std::vector<ChoiceItem> items;
};

// The items of the file that a parameter names.
Result<std::vector<ChoiceItem>> ItemsOf(std::string_view param, const Json& params,
                                        const std::string& folder) {
  const auto id = params.at(std::string(param)).get<std::string>();
  if (!IsInputFileId(id)) {
    return Status(Code::kInvalidArgument,
                  Str("multiple_choice.", param, ": expected sha256:HEX, found ", id));
  }
  ASSIGN_OR_RETURN(const InputFile file, ReadKeptFile(id, folder));
  return ParseChoiceItems(id, file.bytes, ProtocolOf(params));
}

Result<Asked> Ask(const EvaluationRequest& request) {
  Json given = request.params;
  if (given.is_object()) given["context_lengths"] = {request.context_length};
  Asked asked;
  ASSIGN_OR_RETURN(asked.params,
                   ResolveParams(MultipleChoiceEvaluation().params, given, "multiple_choice"));
  ASSIGN_OR_RETURN(asked.items, ItemsOf("file", asked.params, request.files_dir));
  std::vector<ChoiceItem> examples;
  const bool has_examples = asked.params.contains(kExamplesParam);
  if (has_examples) {
    ASSIGN_OR_RETURN(examples, ItemsOf(kExamplesParam, asked.params, request.files_dir));
  }
  const char* const source = has_examples ? kExamplesParam : "file";
  RETURN_IF_ERROR(
      WithName(asked.params.at(source).get_ref<const std::string&>(),
               AddShots(ShotsOf(asked.params), has_examples ? &examples : nullptr, asked.items)));
  return asked;
}

Status CheckBos(const ChoiceQuestions& questions, const Dataset& dataset) {
  if (dataset.bos_id() >= 0) return Status();
  if (!std::ranges::any_of(questions.windows, &Window::bos)) return Status();
  return Status(Code::kInvalidArgument,
                "an item has an empty context, in place of which the model reads a begin-of-text "
                "token, but the dataset's tokenizer has neither a begin-of-text token nor an "
                "end-of-text token");
}

Result<EvaluationOutput> RunMultipleChoice(LanguageModel& model, const EvaluationRequest& request,
                                           const EvaluationProgress& progress) {
  LR_CHECK(request.dataset != nullptr);
  ASSIGN_OR_RETURN(const Asked asked, Ask(request));
  ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer,
                   OpenTokenizerOf(request.dataset_folder));
  Json acc = NewRow(request, asked.params, kAcc);
  Json acc_norm = NewRow(request, asked.params, kAccNorm);
  const auto without_numbers = [&](const Status& status) -> Result<EvaluationOutput> {
    const std::string_view shown = StatusOfModelError(status.code());
    if (shown.empty()) return status;
    return WithoutNumbers(std::move(acc), std::move(acc_norm), shown, status.message());
  };
  const Result<ChoiceQuestions> questions =
      MakeQuestions(*tokenizer, asked.items,
                    {.protocol = ProtocolOf(asked.params),
                     .in_bytes = asked.params.value("length", "") == "bytes",
                     .context_length = request.context_length});
  if (!questions.ok()) return without_numbers(questions.status());
  RETURN_IF_ERROR(CheckBos(*questions, *request.dataset));
  const Result<ChoiceSums> sums = ScoreQuestions(
      model, *questions, request.windows_per_call * request.context_length, progress);
  if (!sums.ok()) return without_numbers(sums.status());
  if (sums->n_non_finite > 0) {
    return WithoutNumbers(
        std::move(acc), std::move(acc_norm), "non_finite",
        Str("the model gave no finite likelihood to ", sums->n_non_finite, " tokens"));
  }
  const Tally tally = Count(asked.items, *questions, *sums);
  const auto n = static_cast<std::int64_t>(asked.items.size());
  FillRow(acc, tally.n_right, n, *questions);
  FillRow(acc_norm, tally.n_right_norm, n, *questions);
  EvaluationOutput output;
  output.rows = {std::move(acc), std::move(acc_norm)};
  output.artifacts.push_back(ItemsFile(request, asked.params, asked.items, *questions, *sums));
  return output;
}

// ---- the table ---------------------------------------------------------------------------------

std::vector<RowName> MultipleChoiceRows(const Json&) {
  return {{.metric = kAcc, .variant = ""}, {.metric = kAccNorm, .variant = ""}};
}

// The questions come from a file, not from the dataset.
std::optional<ParamError> FitMultipleChoice(const DatasetShape&, Json& params) {
  if (!params.contains(kExamplesParam)) return std::nullopt;
  // Names have become digests of the content, so a copy under another name is found, too.
  if (params.at(kExamplesParam) == params.at("file")) {
    return ParamError{
        kExamplesParam,
        "has the same content as `file`, so a question could be its own shot: leave "
        "`examples` out, and shots are taken from the other questions; or name a file "
        "with other questions"};
  }
  if (params.at("shots") > 0) return std::nullopt;
  return ParamError{"shots",
                    "with 0, the file `examples` would not be used: give the number of shots, or "
                    "remove `examples`"};
}

constexpr double kTextBytesMax = 4096;

std::vector<ParamSpec> MultipleChoiceSpecs() {
  return {
      {.name = "file",
       .type = ParamSpec::Type::kText,
       .default_value = nullptr,
       .max = kTextBytesMax,
       .meaning = "JSON lines file with the questions (docs/evaluation.md), relative to the sweep "
                  "file; if its content changes, the evaluation is repeated"},
      {.name = "name",
       .type = ParamSpec::Type::kText,
       .default_value = "",
       .max = kTextBytesMax,
       .meaning = "name of the questions in tables, such as hellaswag"},
      ContextLengthsParam(
          "largest number of tokens that the model reads; a longer context loses its beginning"),
      {.name = "protocol",
       .type = ParamSpec::Type::kChoice,
       .default_value = "nanogpt",
       .choices = {"nanogpt", "lm_eval"},
       .meaning = "nanogpt: the completion style of build-nanogpt; lm_eval: the convention of "
                  "lm-evaluation-harness"},
      {.name = "length",
       .type = ParamSpec::Type::kChoice,
       .default_value = "characters",
       .choices = {"characters", "bytes"},
       .meaning = "the length by which acc_norm divides",
       .only_with = ParamSpec::Condition{.name = "protocol", .values = {"lm_eval"}}},
      {.name = "shots",
       .type = ParamSpec::Type::kCount,
       .default_value = 0,
       .min = 0,
       .max = 1000,
       .meaning = "answered questions placed before each question, taken from the file `examples`; "
                  "without that file, from the lines with split train, or else from the other "
                  "questions"},
      {.name = "shots_seed",
       .type = ParamSpec::Type::kCount,
       .default_value = 1234,
       .min = 0,
       .max = 9e15,
       .meaning = "seed for choosing the shots"},
      {.name = kExamplesParam,
       .type = ParamSpec::Type::kText,
       .is_optional = true,
       .max = kTextBytesMax,
       .meaning = "JSON lines file with the questions from which shots are taken, such as the "
                  "training split; relative to the sweep file"},
      PrecisionParam(),
  };
}

}  // namespace

const Evaluation& MultipleChoiceEvaluation() {
  static const Evaluation evaluation = {
      .name = "multiple_choice",
      .source = "docs/evaluation.md",
      .meaning =
          "how often the most likely of several answers is the right one (HellaSwag and others)",
      .params = MultipleChoiceSpecs(),
      .rows = &MultipleChoiceRows,
      .variants_are_models = false,
      .fit = &FitMultipleChoice,
      .reads = Evaluation::Reads::kCausal,
      .run = &RunMultipleChoice,
      .branches = true,
      .files = {{.name = "file", .check = &CheckQuestions},
                {.name = kExamplesParam, .check = &CheckExamples}},
  };
  return evaluation;
}

}  // namespace longrun
