#include "model/evaluation/params.h"

#include <algorithm>
#include <string>

#include "base/str.h"
#include "model/evaluation/evaluation.h"

namespace longrun {
namespace {

constexpr const char* kMinNewTokens = "min_new_tokens";
constexpr const char* kPrecision = "precision";
constexpr const char* kTemperature = "temperature";
constexpr const char* kTopK = "top_k";
constexpr const char* kTopP = "top_p";

}  // namespace

ParamSpec ContextLengthsParam(std::string_view meaning, std::int64_t max) {
  return {.name = "context_lengths",
          .type = ParamSpec::Type::kCountList,
          .default_value = nullptr,
          .min = 1,
          .max = static_cast<double>(max),
          .meaning = meaning};
}

ParamSpec SplitParam(std::string_view meaning) {
  return {.name = "split",
          .type = ParamSpec::Type::kChoice,
          .default_value = "validation",
          .choices = {"train", "validation", "test"},
          .meaning = meaning};
}

ParamSpec WindowBaselineParam() {
  return {.name = kBaselineParam,
          .type = ParamSpec::Type::kChoice,
          .default_value = kWindowBaseline,
          .choices = {kNoBaseline, kWindowBaseline},
          .meaning =
              "window: at context lengths above the train length, also measure the model with a "
              "plain window of that length"};
}

ParamSpec PrecisionParam() {
  return {
      .name = kPrecision,
      .type = ParamSpec::Type::kChoice,
      .default_value = Precision::kFp32,
      .is_optional = true,
      .choices = EnumChoices<Precision>(),
      .meaning =
          "bf16, fp16: the factors of matrix products are rounded; the results differ from those "
          "in fp32 and have their own rows"};
}

Precision PrecisionOf(const Json& params) { return params.value(kPrecision, Precision::kFp32); }

Precision EvaluationPrecision(const Json& evaluation) {
  const bool has_name = evaluation.is_object() && !evaluation.empty();
  if (!has_name || !FindEvaluation(evaluation.begin().key()).ok()) return Precision::kFp32;
  return PrecisionOf(evaluation.begin().value());
}

std::vector<ParamSpec> DecodingParams() {
  return {
      {.name = kTemperature,
       .type = ParamSpec::Type::kNumber,
       .is_optional = true,
       .min = 0.01,
       .max = 100,
       .meaning =
           "draw each token at this temperature; without it, the most likely token is taken"},
      {.name = kTopK,
       .type = ParamSpec::Type::kCount,
       .is_optional = true,
       .min = 1,
       .max = 1e9,
       .meaning = "draw only from this many of the most likely tokens"},
      {.name = kTopP,
       .type = ParamSpec::Type::kNumber,
       .is_optional = true,
       .min = 1e-6,
       .max = 1,
       .meaning = "draw only from the most likely tokens that have this probability together"},
      {.name = kMinNewTokens,
       .type = ParamSpec::Type::kCount,
       .is_optional = true,
       .min = 1,
       .max = 1e6,
       .meaning = "tokens that the model writes before an end of text may end its answer"},
  };
}

std::optional<ParamError> CheckDecoding(const Json& params, std::int64_t n_new_tokens) {
  for (const char* const name : {kTopK, kTopP}) {
    if (!params.contains(name) || params.contains(kTemperature)) continue;
    return ParamError{name, Str("limits the tokens to draw from, but without ", kTemperature,
                                " none is drawn: give a ", kTemperature,
                                " (1 keeps the model's own probabilities)")};
  }
  if (params.contains(kMinNewTokens) && params.at(kMinNewTokens) > n_new_tokens) {
    return ParamError{kMinNewTokens, Str("expected at most the ", n_new_tokens,
                                         " tokens that the model writes, found ",
                                         params.at(kMinNewTokens).get<std::int64_t>())};
  }
  return std::nullopt;
}

void SetDecoding(const Json& params, std::uint64_t seed, Prompt& prompt) {
  prompt.min_new_tokens = params.value(kMinNewTokens, std::int64_t{0});
  prompt.sampling = {.temperature = params.value(kTemperature, 0.0),
                     .top_k = params.value(kTopK, std::int64_t{0}),
                     .top_p = params.value(kTopP, 1.0),
                     .seed = seed};
}

Json DecodingOf(const Json& params) {
  Json given = Json::object();
  for (const char* const name : {kTemperature, kTopK, kTopP, kMinNewTokens}) {
    if (params.contains(name)) given[name] = params.at(name);
  }
  return given;
}

}  // namespace longrun
