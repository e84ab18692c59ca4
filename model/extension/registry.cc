// The list of extensions, and the step from a user's text to complete parameters.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>

#include "base/check.h"
#include "base/str.h"
#include "model/architecture/architecture.h"
#include "model/architecture/parameters.h"
#include "model/config.h"
#include "model/extension/extension.h"
#include "model/limits.h"

namespace longrun {

const Extension& PiExtension();
const Extension& NtkExtension();
const Extension& DynamicNtkExtension();
const Extension& NtkByPartsExtension();
const Extension& YarnExtension();
const Extension& Llama3Extension();
const Extension& LongropeExtension();
const Extension& SelfExtendExtension();
const Extension& DcaExtension();
const Extension& GaliExtension();
const Extension& ReropeExtension();
const Extension& LeakyReropeExtension();
const Extension& LmInfiniteExtension();
const Extension& StreamingExtension();
const Extension& WindowExtension();

namespace {

constexpr const char* kOriginalLength = "original_length";

Json WithoutMethod(Json given) {
  given.erase("method");
  return given;
}

// `given` has passed CheckParams.
Json Complete(const Extension& extension, const Json& given) {
  Result<Json> params = ResolveParams(extension.params, WithoutMethod(given), "extend");
  LR_CHECK(params.ok());
  if (extension.refine_defaults != nullptr) extension.refine_defaults(given, *params);
  return std::move(params).value();
}

bool HasError(std::span<const ParamError> errors, std::string_view key) {
  return std::ranges::find(errors, key, &ParamError::key) != errors.end();
}

}  // namespace

std::span<const Extension* const> Extensions() {
  static const std::array extensions = {
      &PiExtension(),         &NtkExtension(),        &DynamicNtkExtension(),
      &NtkByPartsExtension(), &YarnExtension(),       &Llama3Extension(),
      &LongropeExtension(),   &SelfExtendExtension(), &DcaExtension(),
      &GaliExtension(),       &ReropeExtension(),     &LeakyReropeExtension(),
      &LmInfiniteExtension(), &StreamingExtension(),  &WindowExtension()};
  return extensions;
}

std::vector<std::string> ExtensionNames() {
  std::vector<std::string> names;
  names.reserve(Extensions().size());
  for (const Extension* extension : Extensions()) names.emplace_back(extension->name);
  return names;
}

Result<const Extension*> FindExtension(std::string_view name) {
  for (const Extension* extension : Extensions()) {
    if (extension->name == name) return extension;
  }
  const std::vector<std::string> names = ExtensionNames();
  const std::string nearest = Nearest(name, names);
  return Status(Code::kNotFound,
                Str("unknown extension \"", name, "\"",
                    nearest.empty() ? "" : Str("; did you mean \"", nearest, "\"?"),
                    " (extensions: ", Join(names, ", "), ")"));
}

std::vector<ParamError> ExtensionErrors(const Json& given) {
  if (!given.is_object()) return {{"", "expected a map with the key \"method\""}};
  const auto name = given.find("method");
  if (name == given.end()) return {{"method", "missing"}};
  if (!name->is_string()) {
    return {{"method", Str("expected the name of an extension, found ", name->type_name())}};
  }
  const Result<const Extension*> extension = FindExtension(name->get_ref<const std::string&>());
  if (!extension.ok()) {
    return {{.key = "method",
             .message = extension.status().message(),
             .code = extension.status().code()}};
  }
  std::vector<ParamError> errors = CheckParams((*extension)->params, WithoutMethod(given));
  if (!(*extension)->needs_original_length || HasError(errors, kOriginalLength)) return errors;
  const Json length = given.value(kOriginalLength, Json(0));
  if (length < 2) {
    ParamSpec needed = OriginalLengthParam(true);
    needed.min = 2.0;
    const std::string expected = ExpectedValue(needed);
    errors.push_back({kOriginalLength,
                      length == 0 ? Str("must be given: ", expected,
                                        ", the length of the texts on which the model was trained")
                                  : Str("expected ", expected, ", found ", length.dump())});
  }
  if (errors.empty() && (*extension)->check != nullptr) {
    if (auto error = (*extension)->check(Complete(**extension, given))) {
      errors.push_back(std::move(*error));
    }
  }
  return errors;
}

Result<Json> ResolveExtension(const Json& given) {
  if (const std::vector<ParamError> errors = ExtensionErrors(given); !errors.empty()) {
    return Status(errors.front().code, ShowErrors("extend", errors));
  }
  const Extension& extension = **FindExtension(given["method"].get<std::string>());
  Json params = Complete(extension, given);
  params["method"] = given["method"];
  return params;
}

Json WithOriginalLength(Json given, std::int64_t trained_length) {
  if (!given.is_object() || !given.value("method", Json()).is_string()) return given;
  const Result<const Extension*> extension = FindExtension(given["method"].get<std::string>());
  if (!extension.ok()) return given;
  const bool is_given = given.value(kOriginalLength, Json(0)) != 0;
  if ((*extension)->needs_original_length && !is_given && trained_length > 0) {
    given[kOriginalLength] = trained_length;
  }
  return given;
}

Json AsGiven(const Json& resolved, std::int64_t trained_length) {
  Json given = resolved;
  for (const auto& [name, value] : resolved.items()) {
    if (name == "method") continue;
    Json without = given;
    without.erase(name);
    const Result<Json> again = ResolveExtension(WithOriginalLength(without, trained_length));
    if (again.ok() && *again == resolved) given = std::move(without);
  }
  return given.size() == 1 ? given.at("method") : given;
}

std::optional<ParamError> WhyNotExtended(const Json& extension, const ModelConfig& model) {
  const Result<TermSpec> terms = TermsOf(model);
  LR_CHECK(terms.ok());
  if (!terms->rotation || model.position.method != "rope") {
    return ParamError{.key = "method",
                      .message = Str("the model's position method is \"", model.position.method,
                                     "\"; an extension needs \"rope\"")};
  }
  const Result<const Extension*> known = FindExtension(extension.at("method").get<std::string>());
  LR_CHECK(known.ok());
  if ((*known)->rotation != nullptr) {
    const auto rotation = (*known)->rotation(extension, RopeShapeOf(model), 1);
    if (!rotation.ok()) return rotation.error();
  }
  if ((*known)->read != nullptr && (model.body.window > 0 || !model.causal)) {
    return ParamError{
        .key = "method",
        .message = Str((*known)->name, " needs a causal model that sees all keys, but this one ",
                       model.causal ? Str("has a sliding window of ", model.body.window, " tokens")
                                    : "has no causal mask")};
  }
  return std::nullopt;
}

std::optional<ParamError> WhyTooLong(const Json& extension, std::int64_t n_tokens) {
  const Extension& known = **FindExtension(extension.at("method").get<std::string>());
  if (known.check_positions != nullptr) {
    if (auto error = known.check_positions(extension, n_tokens)) return error;
  }
  return known.check_length == nullptr ? std::nullopt : known.check_length(extension, n_tokens);
}

std::string WhyNotByKernels(const Json& extension) {
  if (extension.is_null()) return "";
  const Extension& known = **FindExtension(extension.at("method").get<std::string>());
  return known.why_not_by_kernels == nullptr ? "" : known.why_not_by_kernels(extension);
}

std::optional<ParamError> WarningAt(const Json& extension, std::int64_t n_tokens) {
  const Extension& known = **FindExtension(extension.at("method").get<std::string>());
  return known.warn == nullptr ? std::nullopt : known.warn(extension, n_tokens);
}

std::string ExtensionText(const Json& extension) {
  if (extension.is_string()) return extension.get<std::string>();
  std::vector<std::string> params;
  for (const auto& [name, value] : extension.items()) {
    if (name == "method") continue;
    params.push_back(
        Str(name, "=", value.is_string() ? value.get<std::string>() : CanonicalJson(value)));
  }
  return Str(extension.value("method", ""), "(", Join(params, ","), ")");
}

std::optional<ParamError> WhyNotTrainedUnder(const Json& extension, const ModelConfig& model) {
  const auto name = extension.at("method").get<std::string>();
  if (!(*FindExtension(name))->trains) {
    std::vector<std::string> names;
    for (const Extension* known : Extensions()) {
      if (known->trains) names.emplace_back(known->name);
    }
    return ParamError{
        .key = "method",
        .message = Str("training does not support extension ", name, ": expected one of ",
                       Join(names, ", "),
                       "; to evaluate trained models under any extension, use spec.extend")};
  }
  // A model with errors of its own has them reported.
  if (!TermsOf(model).ok()) return std::nullopt;
  if (auto error = WhyNotExtended(extension, model)) {
    error->others.emplace_back("position.method");
    return error;
  }
  const Architecture& architecture = **FindArchitecture(model.architecture);
  const Json probe = *ResolveExtension({{"method", "pi"}, {"factor", 2}});
  if (architecture.write({.model = model, .extension = probe}) !=
      architecture.write({.model = model})) {
    return std::nullopt;
  }
  return ParamError{
      .key = "method",
      .message = Str(
          "config.json of architecture ", model.architecture,
          " cannot name an extension; choose an architecture whose config.json can, such as llama"),
      .others = {"model.architecture"}};
}

RopeShape RopeShapeOf(const ModelConfig& model) {
  const Result<TermSpec> terms = TermsOf(model);
  LR_CHECK(terms.ok() && terms->rotation);
  return {.base = model.position.params.at("base").get<double>(),
          .n_rotary = 2 * static_cast<std::int64_t>(terms->rotation->frequency.size())};
}

std::vector<double> RopeFrequencies(const RopeShape& shape) {
  std::vector<double> frequency;
  frequency.reserve(static_cast<std::size_t>(shape.n_rotary / 2));
  for (std::int64_t c = 0; c < shape.n_rotary / 2; ++c) {
    const double exponent = -2.0 * static_cast<double>(c) / static_cast<double>(shape.n_rotary);
    frequency.push_back(std::pow(shape.base, exponent));
  }
  return frequency;
}

ParamSpec FactorParam() {
  return {.name = "factor",
          .type = ParamSpec::Type::kNumber,
          .default_value = nullptr,
          .min = 1.0,
          .max = 1e6,
          .meaning = "how many times longer than original_length the texts are"};
}

ParamSpec OriginalLengthParam(bool needed) {
  return {.name = kOriginalLength,
          .type = ParamSpec::Type::kCount,
          .default_value = 0,
          .max = kLengthMax,
          .meaning = needed ? "length of the texts on which the model was trained; 0 (only in a "
                              "sweep): the run's train_length"
                            : "length of the texts on which the model was trained; this "
                              "extension does not use it"};
}

ParamSpec LengthParam(std::string_view name, Json default_value, std::string_view meaning) {
  const bool is_derived = default_value == 0;
  return {.name = name,
          .type = ParamSpec::Type::kCount,
          .default_value = std::move(default_value),
          .min = is_derived ? 0.0 : 1.0,
          .max = kLengthMax,
          .meaning = meaning};
}

ParamSpec LognParam() {
  return {.name = "logn",
          .type = ParamSpec::Type::kBool,
          .default_value = true,
          .meaning = "scores of query p are multiplied by max(1, ln(p + 1) / ln original_length)"};
}

std::vector<double> LogFactors(const Json& params, const Stretch& stretch) {
  if (!params.at("logn").get<bool>()) return {};
  const double of_original = std::log(params.at("original_length").get<double>());
  std::vector<double> factors;
  factors.reserve(static_cast<std::size_t>(stretch.n_query));
  for (std::int64_t p = stretch.q_begin; p < stretch.n_key(); ++p) {
    factors.push_back(std::max(1.0, std::log(static_cast<double>(p + 1)) / of_original));
  }
  return factors;
}

std::optional<ParamError> CheckDivided(const char* divisor, const Json& params,
                                       std::int64_t n_tokens,
                                       std::int64_t (*longest)(std::int64_t, std::int64_t,
                                                               std::int64_t)) {
  const auto original = params.at(kOriginalLength).get<std::int64_t>();
  const auto window = params.at("window").get<std::int64_t>();
  const auto value = params.at(divisor).get<std::int64_t>();
  const std::int64_t n_max = longest(original, window, value);
  if (n_tokens <= n_max) return std::nullopt;
  std::int64_t needed =
      std::max<std::int64_t>(value + 1, (n_tokens - window) / (original - window));
  while (longest(original, window, needed) < n_tokens) ++needed;
  return ParamError{.key = divisor,
                    .message = Str(divisor, " ", value, " with window ", window,
                                   " keeps distances below original_length ", original,
                                   " only in texts of up to ", n_max, " tokens, but a context has ",
                                   n_tokens, ": expected ", needed, " or more")};
}

std::optional<ParamError> CheckSteps(const char* key, const Json& params, std::int64_t n_tokens) {
  const auto steps = params.at(key).get<std::int64_t>();
  // Far queries stand at most a window after the last token, and that is less than original_length.
  const std::int64_t n_positions = n_tokens + params.at(kOriginalLength).get<std::int64_t>();
  constexpr std::int64_t kPositionsMax = std::numeric_limits<std::int32_t>::max();
  if (n_positions <= kPositionsMax / steps) return std::nullopt;
  return ParamError{
      .key = key,
      .message = Str(steps, " divides each position into that many steps, and a context has ",
                     n_tokens, " tokens: expected ", kPositionsMax / n_positions, " or less")};
}

std::optional<ParamError> CheckBelowOriginal(const char* name, const Json& params) {
  const auto original = params.at(kOriginalLength).get<std::int64_t>();
  const auto value = params.at(name).get<std::int64_t>();
  if (value < original) return std::nullopt;
  return ParamError{
      .key = name,
      .message = Str("expected less than original_length ", original, ", found ", value)};
}

std::optional<ParamError> CheckTrainedDistances(const char* name, const Json& params,
                                                std::int64_t most, std::int64_t n_tokens) {
  const auto original = params.at(kOriginalLength).get<std::int64_t>();
  const auto value = params.at(name).get<std::int64_t>();
  if (value <= most || n_tokens <= original) return std::nullopt;
  return ParamError{
      .key = name,
      .message = Str("expected at most ", most, ", found ", value, ": in a text of ", n_tokens,
                     " tokens, keys would be seen at distances that texts of original_length ",
                     original, " do not have; a larger original_length allows them")};
}

}  // namespace longrun
