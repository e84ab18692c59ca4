// reference.md: the table of keys, and those of position methods and evaluations, in Markdown.
#include "base/str.h"
#include "base/units.h"
#include "model/evaluation/evaluation.h"
#include "model/position/method.h"
#include "sweeps/schema.h"
#include "sweeps/value.h"

namespace longrun {
namespace {

using Type = KeyRow::Type;

std::string ShowDefault(const KeyRow& row) {
  if (row.required) return "must be given";
  if (row.default_value.is_null() || row.default_value == Json::array()) return "";
  if (row.type == Type::kDuration) return FormatDurationMs(row.default_value.get<std::int64_t>());
  return row.default_value.is_string() ? row.default_value.get<std::string>()
                                       : CanonicalJson(row.default_value);
}

std::string ParamRows(std::span<const ParamSpec> specs) {
  std::string out;
  for (const ParamSpec& spec : specs) {
    const bool is_list =
        spec.type == ParamSpec::Type::kIntList || spec.type == ParamSpec::Type::kChoiceList;
    const bool is_text = spec.type == ParamSpec::Type::kChoice && spec.choices.empty();
    std::string values = spec.type == ParamSpec::Type::kBool ? "true, false"
                         : is_text                           ? "text"
                         : !spec.choices.empty()
                             ? Join(MarkedChoices(spec), ", ")
                             : Str(ShowNumber(spec.min), " to ", ShowNumber(spec.max));
    if (is_list) values = Str("a list of ", values);
    if (spec.type == ParamSpec::Type::kIntList && !spec.choices.empty()) {
      values = Str(Join(spec.choices, ", "), ", or a list of ", ShowNumber(spec.min), " to ",
                   ShowNumber(spec.max));
    }
    const std::string default_value = spec.default_value.is_null() ? "must be given"
                                      : spec.default_value.is_string()
                                          ? spec.default_value.get<std::string>()
                                          : CanonicalJson(spec.default_value);
    out += Str("| `", spec.name, "` | ", values, " | ", default_value, " | ", ParamMeaning(spec),
               " |\n");
  }
  return out;
}

}  // namespace

std::string SweepReference() {
  std::string out =
      "# Keys of a sweep file\n\n"
      "Printed from the table in `sweeps/schema.cc`; the test `sweeps/sweep` keeps it equal\n"
      "(`LONGRUN_UPDATE=1` writes it anew). A key marked \"axis\" may stand in `spec.matrix` by "
      "its\n"
      "path below `spec`.\n\n"
      "| key | value | default | axis | meaning |\n|---|---|---|---|---|\n";
  for (const KeyRow& row : SweepKeys()) {
    const std::string value =
        row.type == Type::kUnbuilt ? std::string(kNotBuiltYet) : ExpectedValue(row);
    out += Str("| `", row.path, "` | ", value, " | ", ShowDefault(row), " | ",
               row.axis ? "axis" : "", " | ", row.meaning, " |\n");
  }
  constexpr std::string_view kParamHead =
      "| parameter | value | default | meaning |\n|---|---|---|---|\n";
  for (const PositionMethod* const method : PositionMethods()) {
    out += Str("\n## Position method `", method->name, "`\n\n", method->source, "\n");
    if (!method->params.empty()) out += Str("\n", kParamHead, ParamRows(method->params));
  }
  for (const Evaluation* const evaluation : Evaluations()) {
    out += Str("\n## Evaluation `", evaluation->name, "`\n\n", evaluation->meaning, " (",
               evaluation->source, ")\n\n", kParamHead, ParamRows(evaluation->params));
    if (NamesASplit(*evaluation)) {
      const KeyRow& overlap = TrainOverlapKey();
      out += Str("| `", overlap.path, "` | ", ExpectedValue(overlap), " | ", ShowDefault(overlap),
                 " | ", overlap.meaning, " |\n");
    }
  }
  return out;
}

}  // namespace longrun
