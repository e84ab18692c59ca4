// sweep.schema.json: the table of keys as JSON Schema (2020-12).
#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/str.h"
#include "model/evaluation/evaluation.h"
#include "model/extension/extension.h"
#include "model/position/method.h"
#include "model/position_schedule/schedule.h"
#include "sweeps/claim.h"
#include "sweeps/limits.h"
#include "sweeps/schema.h"
#include "sweeps/sweep.h"
#include "sweeps/value.h"

namespace longrun {
namespace {

using Type = ParamSpec::Type;

constexpr std::string_view kCountPattern = "^[0-9]+(\\.[0-9]+)?(K|M|G|B|Ki|Mi|Gi)?$";
constexpr std::string_view kDurationPattern = "^[0-9]+(\\.[0-9]+)?(ms|s|m|min|h|d)$";
constexpr std::string_view kNamePattern = "^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$";

Json Bound(double bound) {
  const bool is_whole = bound == std::floor(bound) && std::abs(bound) < 1e16;
  return is_whole ? Json(static_cast<std::int64_t>(bound)) : Json(bound);
}

Json Ranged(std::string_view type, double min, double max) {
  return Json{{"type", type}, {"minimum", Bound(min)}, {"maximum", Bound(max)}};
}

Json CountSchema(double min, double max) {
  return Json{
      {"anyOf", {Ranged("integer", min, max), {{"type", "string"}, {"pattern", kCountPattern}}}}};
}

Json ValueSchema(const ParamSpec& spec) {
  switch (spec.type) {
    case Type::kInt:
      return Ranged("integer", spec.min, spec.max);
    case Type::kCount:
      return CountSchema(spec.min, spec.max);
    case Type::kNumber:
      return Ranged("number", spec.min, spec.max);
    case Type::kBool:
      return Json{{"type", "boolean"}};
    case Type::kChoice:
      return Json{{"enum", spec.choices}};
    case Type::kText:
      return Json{{"type", "string"}, {"maxLength", Bound(spec.max)}};
    case Type::kName:
      return Json{{"type", "string"}, {"pattern", kNamePattern}};
    case Type::kDuration:
      return Json{{"type", "string"}, {"pattern", kDurationPattern}};
    case Type::kNumberPair:
      return Json{{"type", "array"},
                  {"items", Ranged("number", spec.min, spec.max)},
                  {"minItems", 2},
                  {"maxItems", 2}};
    case Type::kNumberList:
      return Json{
          {"type", "array"}, {"items", Ranged("number", spec.min, spec.max)}, {"minItems", 1}};
    case Type::kChoiceList:
      return Json{{"type", "array"},
                  {"items", {{"enum", spec.choices}}},
                  {"minItems", 1},
                  {"uniqueItems", true}};
    case Type::kCountList: {
      Json list = {{"type", "array"},
                   {"items", CountSchema(spec.min, spec.max)},
                   {"minItems", 1},
                   {"uniqueItems", true}};
      if (spec.choices.empty()) return list;
      return Json{{"anyOf", {{{"enum", spec.choices}}, std::move(list)}}};
    }
  }
  LR_CHECK(false);
}

Json ParamSchema(const ParamSpec& spec) {
  Json schema = ValueSchema(spec);
  schema["description"] = ParamMeaning(spec);
  if (!spec.default_value.is_null()) schema["default"] = spec.default_value;
  return schema;
}

// A parameter that is only valid with certain values of another one requires one of them; if it has
// no default, those values require it in turn.
void AddCondition(const ParamSpec& spec, std::span<const ParamSpec> specs, Json& schema) {
  const ParamSpec::Condition& condition = *spec.only_with;
  const auto other = std::ranges::find(specs, condition.name, &ParamSpec::name);
  Json chosen = {{"properties", {{std::string(condition.name), {{"enum", condition.values}}}}}};
  const bool by_default =
      std::ranges::find(condition.values, other->default_value.get<std::string>()) !=
      condition.values.end();
  if (!by_default) chosen["required"] = {condition.name};
  if (spec.default_value.is_null() && !spec.is_optional) {
    schema["allOf"].push_back(Json{{"if", chosen}, {"then", {{"required", {spec.name}}}}});
  }
  schema["dependentSchemas"][std::string(spec.name)] = std::move(chosen);
}

Json ParamsSchema(std::span<const ParamSpec> specs) {
  Json schema = {{"type", "object"},
                 {"properties", Json::object()},
                 {"required", Json::array()},
                 {"additionalProperties", false}};
  for (const ParamSpec& spec : specs) {
    schema["properties"][std::string(spec.name)] = ParamSchema(spec);
    if (spec.only_with) {
      AddCondition(spec, specs, schema);
    } else if (spec.default_value.is_null() && !spec.is_optional) {
      schema["required"].push_back(spec.name);
    }
  }
  return schema;
}

// A method of a list: {method: NAME, its parameters}.
template <typename Method>
Json MethodSchema(const Method& method) {
  Json form = ParamsSchema(method.params);
  form["properties"]["method"] = Json{{"const", method.name}};
  form["required"].push_back("method");
  form["description"] = method.source;
  return form;
}

Json PositionSchema() {
  Json forms = Json::array({Json{{"enum", PositionMethodNames()}}});
  for (const PositionMethod* const method : PositionMethods()) {
    forms.push_back(MethodSchema(*method));
  }
  return Json{{"anyOf", std::move(forms)}};
}

Json PositionScheduleSchema() {
  // Each schedule has a parameter that must be given, so only the plain one is a bare name.
  Json forms = Json::array({Json{{"const", kPlainPositions}}});
  for (const PositionSchedule* const schedule : PositionSchedules()) {
    forms.push_back(MethodSchema(*schedule));
  }
  return Json{{"anyOf", std::move(forms)}};
}

// With `training`, only those that a model may be trained under.
Json ExtensionSchema(bool training) {
  Json names = Json::array({kNoExtension}), forms = Json::array({Json()});
  for (const Extension* const extension : Extensions()) {
    if (training && !extension->trains) continue;
    names.push_back(extension->name);
    forms.push_back(MethodSchema(*extension));
  }
  forms[0] = Json{{"enum", std::move(names)}};
  return Json{{"anyOf", std::move(forms)}};
}

Json ExtensionsSchema() {
  return Json{{"type", "array"},
              {"items", ExtensionSchema(/*training=*/false)},
              {"minItems", 1},
              {"uniqueItems", true}};
}

Json EvaluationsSchema() {
  Json forms = Json::array();
  for (const Evaluation* const evaluation : Evaluations()) {
    Json params = ParamsSchema(evaluation->params);
    params["description"] = evaluation->meaning;
    for (const KeyRow* const row : KeysBesideParams(*evaluation)) {
      Json& schema = params["properties"][row->path] = ValueSchema(row->spec);
      if (!row->spec.default_value.is_null()) schema["default"] = row->spec.default_value;
      schema["description"] = row->spec.meaning;
    }
    forms.push_back(Json{{"type", "object"},
                         {"properties", {{std::string(evaluation->name), std::move(params)}}},
                         {"required", {evaluation->name}},
                         {"additionalProperties", false}});
  }
  return Json{{"type", "array"}, {"items", {{"anyOf", std::move(forms)}}}};
}

Json ClaimsSchema() {
  Json forms = Json::array();
  for (const ClaimKind& kind : ClaimKinds()) {
    Json params = ParamsSchema(kind.params);
    params["description"] = kind.meaning;
    forms.push_back(Json{{"type", "object"},
                         {"properties", {{std::string(kind.name), std::move(params)}}},
                         {"required", {kind.name}},
                         {"additionalProperties", false}});
  }
  return Json{{"type", "array"}, {"items", {{"anyOf", std::move(forms)}}}};
}

Json InitSchema(const KeyRow& row) {
  const Json run = {
      {"type", "object"},
      {"properties", {{"run", {{"type", "string"}, {"pattern", "^[0-9a-f]{8,64}$"}}}}},
      {"required", {"run"}},
      {"additionalProperties", false}};
  return Json{{"anyOf", {ValueSchema(row.spec), run}}};
}

Json KeySchema(const KeyRow& row);

// The keys of the training that a stage may replace; none must be given.
Json StageMapSchema(const std::string& path) {
  Json properties = Json::object();
  for (const std::string& name : NamesBelow(path)) {
    const KeyRow& row = *FindKey(Str(path, ".", name));
    if (!WhyNotOfStage(row).empty()) continue;
    Json schema = row.kind == KeyRow::Kind::kMap ? StageMapSchema(row.path) : KeySchema(row);
    schema["description"] = row.spec.meaning;
    properties[name] = std::move(schema);
  }
  return Json{
      {"type", "object"}, {"properties", std::move(properties)}, {"additionalProperties", false}};
}

Json StagesSchema() {
  Json properties = {{"name", {{"type", "string"}, {"pattern", kNamePattern}}},
                     {"train", StageMapSchema("spec.train")},
                     {kExtendKey, {{"$ref", Str("#/properties/spec/properties/", kExtendKey)}}}};
  for (const std::string_view axis : kStageAxes) {
    properties[std::string(axis)] = KeySchema(*FindAxis(axis));
  }
  return Json{{"type", "array"},
              {"items",
               {{"type", "object"},
                {"properties", std::move(properties)},
                {"required", {"name"}},
                {"additionalProperties", false}}}};
}

Json KeySchema(const KeyRow& row) {
  switch (row.kind) {
    case KeyRow::Kind::kValue:
      return ValueSchema(row.spec);
    case KeyRow::Kind::kInit:
      return InitSchema(row);
    case KeyRow::Kind::kLabels:
      return Json{{"type", "object"},
                  {"maxProperties", kLabelsMax},
                  {"additionalProperties", {{"type", "string"}, {"maxLength", kTextBytesMax}}}};
    case KeyRow::Kind::kPosition:
      return PositionSchema();
    case KeyRow::Kind::kSchedule:
      return PositionScheduleSchema();
    case KeyRow::Kind::kEvaluations:
      return EvaluationsSchema();
    case KeyRow::Kind::kExtension:
      return ExtensionSchema(/*training=*/true);
    case KeyRow::Kind::kExtensions:
      return ExtensionsSchema();
    case KeyRow::Kind::kClaims:
      return ClaimsSchema();
    case KeyRow::Kind::kStages:
      return StagesSchema();
    case KeyRow::Kind::kMap:
    case KeyRow::Kind::kPoints:
    case KeyRow::Kind::kUnbuilt:
      break;
  }
  LR_CHECK(false);
}

// {axis: one of its values}; with `lists`, {axis: a list of values}.
Json AxesSchema(bool lists) {
  Json properties = Json::object();
  for (const std::string& axis : AxisNames()) {
    const KeyRow& row = *FindAxis(axis);
    Json value = KeySchema(row);
    if (lists) {
      value = Json{
          {"type", "array"}, {"items", std::move(value)}, {"minItems", 1}, {"uniqueItems", true}};
    }
    value["description"] = row.spec.meaning;
    properties[axis] = std::move(value);
  }
  return Json{
      {"type", "object"}, {"properties", std::move(properties)}, {"additionalProperties", false}};
}

// The matrix may leave out what an imported model specifies.
Json AxesOrInit() {
  const auto with = [](const char* map, std::vector<std::string> keys) {
    return Json{{"properties", {{map, {{"required", std::move(keys)}}}}}};
  };
  Json forms = Json::array({with("matrix", {"position", "train_length"}),
                            with("model", {"init_from"}), with("matrix", {"model.init_from"})});
  for (const std::size_t with_model : {0u, 1u}) forms[with_model]["required"] = {"model"};
  return forms;
}

Json MapSchema(std::string_view path) {
  Json properties = Json::object();
  Json required = Json::array();
  for (const std::string& name : NamesBelow(path)) {
    const std::string below = path.empty() ? name : Str(path, ".", name);
    const KeyRow& row = *FindKey(below);
    Json schema;
    if (below == "spec.matrix") {
      schema = AxesSchema(/*lists=*/true);
      schema["required"] = Json::array();
      for (const std::string& axis : NamesBelow(below)) {
        const KeyRow& of_axis = *FindKey(Str(below, ".", axis));
        if (of_axis.required && of_axis.left_out == KeyRow::LeftOut::kNever) {
          schema["required"].push_back(axis);
        }
      }
    } else if (row.kind == KeyRow::Kind::kPoints) {
      Json point = AxesSchema(/*lists=*/false);
      if (below == "spec.exclude") {
        const KeyRow& stage = *FindAxis(kStageAxis);
        point["properties"][std::string(kStageAxis)] = ValueSchema(stage.spec);
        point["properties"][std::string(kStageAxis)]["description"] = stage.spec.meaning;
      }
      schema = Json{{"type", "array"}, {"items", std::move(point)}};
    } else {
      schema = row.kind == KeyRow::Kind::kMap ? MapSchema(below) : KeySchema(row);
    }
    if (row.may_be_none) schema = Json{{"anyOf", {{{"const", "none"}}, std::move(schema)}}};
    schema["description"] = row.spec.meaning;
    if (!row.spec.default_value.is_null() && !row.is(ParamSpec::Type::kDuration)) {
      schema["default"] = row.spec.default_value;
    }
    // A key that the matrix can give is not required in its own place.
    const bool may_be_elsewhere = row.axis || row.left_out != KeyRow::LeftOut::kNever;
    if (row.required && !may_be_elsewhere) required.push_back(name);
    properties[name] = std::move(schema);
  }
  Json schema = {{"type", "object"},
                 {"properties", std::move(properties)},
                 {"required", std::move(required)},
                 {"additionalProperties", false}};
  if (path == "spec") schema["anyOf"] = AxesOrInit();
  return schema;
}

}  // namespace

Json SweepJsonSchema() {
  Json schema = MapSchema("");
  schema["$schema"] = "https://json-schema.org/draft/2020-12/schema";
  schema["title"] = "longrun sweep";
  return schema;
}

}  // namespace longrun
