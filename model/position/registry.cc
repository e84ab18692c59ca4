// The list of position methods, and the step from a user's text to a complete configuration.
#include <algorithm>
#include <array>

#include "base/str.h"
#include "model/position/method.h"

namespace longrun {

const PositionMethod& NoneMethod();
const PositionMethod& LearnedMethod();
const PositionMethod& SinusoidalMethod();
const PositionMethod& RopeMethod();
const PositionMethod& AlibiMethod();
const PositionMethod& CableMethod();
const PositionMethod& T5Method();
const PositionMethod& KerpleMethod();
const PositionMethod& FireMethod();
const PositionMethod& XposMethod();
const PositionMethod& CopeMethod();
const PositionMethod& FoxMethod();

namespace {

// A name is short for a map with only the method.
Json AsMap(const Json& given) {
  return given.is_string() ? Json::object({{"method", given}}) : given;
}

}  // namespace

std::span<const PositionMethod* const> PositionMethods() {
  static const std::array methods = {
      &NoneMethod(),  &LearnedMethod(), &SinusoidalMethod(), &RopeMethod(),
      &AlibiMethod(), &CableMethod(),   &T5Method(),         &KerpleMethod(),
      &FireMethod(),  &XposMethod(),    &CopeMethod(),       &FoxMethod(),
  };
  return methods;
}

std::vector<std::string> PositionMethodNames() {
  std::vector<std::string> names;
  for (const PositionMethod* method : PositionMethods()) names.emplace_back(method->name);
  return names;
}

Result<const PositionMethod*> FindPositionMethod(std::string_view name) {
  for (const PositionMethod* method : PositionMethods()) {
    if (method->name == name) return method;
  }
  const std::vector<std::string> names = PositionMethodNames();
  const std::string nearest = Nearest(name, names);
  return Status(Code::kNotFound,
                Str("unknown position method \"", name, "\"",
                    nearest.empty() ? "" : Str("; did you mean \"", nearest, "\"?"),
                    " (methods: ", Join(names, ", "), ")"));
}

bool IsExperimental(const Json& position) {
  if (!position.is_object() || !position.contains("method") || !position["method"].is_string()) {
    return false;
  }
  const auto method = FindPositionMethod(position["method"].get_ref<const std::string&>());
  if (!method.ok()) return false;
  return std::ranges::any_of((*method)->params, [&](const ParamSpec& spec) {
    const auto value = position.find(spec.name);
    return value != position.end() && value->is_string() &&
           std::ranges::find(spec.experimental, value->get_ref<const std::string&>()) !=
               spec.experimental.end();
  });
}

std::optional<ParamError> NeedsCausal(std::string_view method, const AttentionShape& shape) {
  if (shape.causal) return std::nullopt;
  return ParamError{
      .key = "method",
      .message =
          Str("\"", method,
              "\" needs model.causal: true, since it is not defined for keys ahead of a query"),
      .others = {"model.causal"}};
}

std::vector<ParamError> PositionErrors(const Json& given) {
  Json params = AsMap(given);
  if (!params.is_object()) {
    return {{"", "expected the name of a method, or a map with the key \"method\""}};
  }
  const auto name = params.find("method");
  if (name == params.end()) return {{"method", "missing"}};
  if (!name->is_string()) {
    return {{"method", Str("expected the name of a method, found ", name->type_name())}};
  }
  const Result<const PositionMethod*> method =
      FindPositionMethod(name->get_ref<const std::string&>());
  if (!method.ok()) {
    return {
        {.key = "method", .message = method.status().message(), .code = method.status().code()}};
  }
  params.erase(name);
  return CheckParams((*method)->params, params);
}

Json PositionConfig::ToJson() const {
  Json json = params;
  json["method"] = method;
  return json;
}

Result<PositionConfig> ResolvePosition(const Json& given) {
  if (const std::vector<ParamError> errors = PositionErrors(given); !errors.empty()) {
    return Status(errors.front().code, ShowErrors("position", errors));
  }
  Json params = AsMap(given);
  PositionConfig config{.method = params["method"].get<std::string>()};
  params.erase("method");
  const PositionMethod& method = **FindPositionMethod(config.method);
  ASSIGN_OR_RETURN(config.params, ResolveParams(method.params, params, "position"));
  if (method.refine_defaults != nullptr) method.refine_defaults(params, config.params);
  return config;
}

}  // namespace longrun
