// The list of extensions, and the step from a user's text to complete parameters.
#include <array>
#include <cmath>
#include <optional>
#include <utility>

#include "base/str.h"
#include "model/extension/extension.h"
#include "model/limits.h"

namespace longrun {

const Extension& PiExtension();
const Extension& NtkExtension();
const Extension& DynamicNtkExtension();
const Extension& YarnExtension();
const Extension& Llama3Extension();
const Extension& LongropeExtension();

namespace {

constexpr double kFactorMax = 1e6;

std::optional<ParamError> CheckList(const Json& given, const std::string& name) {
  const auto refuse = [&](const std::string& found) {
    return ParamError{.key = name,
                      .message = Str("expected a list of numbers from ", 1.0 / kFactorMax, " to ",
                                     kFactorMax, ", found ", found)};
  };
  if (!given.contains(name)) return refuse("none");
  const Json& list = given[name];
  if (!list.is_array() || list.empty()) return refuse(list.dump());
  for (const Json& number : list) {
    if (!number.is_number()) return refuse(number.dump());
    const double value = number.get<double>();
    if (!(value >= 1.0 / kFactorMax && value <= kFactorMax)) return refuse(number.dump());
  }
  return std::nullopt;
}

// `given` without the method and without the lists.
Json NumbersOf(const Extension& extension, Json given) {
  given.erase("method");
  for (const std::string_view list : extension.lists) given.erase(std::string(list));
  return given;
}

}  // namespace

std::span<const Extension* const> Extensions() {
  static const std::array extensions = {&PiExtension(),         &NtkExtension(),
                                        &DynamicNtkExtension(), &YarnExtension(),
                                        &Llama3Extension(),     &LongropeExtension()};
  return extensions;
}

Result<const Extension*> FindExtension(std::string_view name) {
  std::vector<std::string> names;
  names.reserve(Extensions().size());
  for (const Extension* extension : Extensions()) {
    if (extension->name == name) return extension;
    names.emplace_back(extension->name);
  }
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
  std::vector<ParamError> errors;
  for (const std::string_view list : (*extension)->lists) {
    if (auto error = CheckList(given, std::string(list))) errors.push_back(std::move(*error));
  }
  for (ParamError& error : CheckParams((*extension)->params, NumbersOf(**extension, given))) {
    errors.push_back(std::move(error));
  }
  return errors;
}

Result<Json> ResolveExtension(const Json& given) {
  if (const std::vector<ParamError> errors = ExtensionErrors(given); !errors.empty()) {
    return Status(errors.front().code, ShowErrors("extend", errors));
  }
  const Extension& extension = **FindExtension(given["method"].get<std::string>());
  const Json numbers = NumbersOf(extension, given);
  ASSIGN_OR_RETURN(Json params, ResolveParams(extension.params, numbers, "extend"));
  if (extension.refine_defaults != nullptr) extension.refine_defaults(numbers, params);
  for (const std::string_view list : extension.lists) {
    params[std::string(list)] = given[std::string(list)];
  }
  params["method"] = given["method"];
  return params;
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
          .max = kFactorMax,
          .meaning = "how many times longer than original_length the texts are"};
}

ParamSpec OriginalLengthParam(bool required) {
  return {.name = "original_length",
          .type = ParamSpec::Type::kCount,
          .default_value = required ? Json() : Json(0),
          .min = required ? 2.0 : 0.0,
          .max = kLengthMax,
          .meaning = required ? "tokens of the texts that the model was trained on"
                              : "tokens of the texts that the model was trained on; not needed"};
}

}  // namespace longrun
