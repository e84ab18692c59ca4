// reference.md: the tables of keys, position methods and evaluations, in Markdown.
#include "base/check.h"
#include "base/str.h"
#include "base/units.h"
#include "model/evaluation/evaluation.h"
#include "model/extension/extension.h"
#include "model/position/method.h"
#include "model/position_schedule/schedule.h"
#include "sweeps/claim.h"
#include "sweeps/schema.h"
#include "sweeps/unbuilt.h"
#include "sweeps/value.h"

namespace longrun {
namespace {

using Type = ParamSpec::Type;

std::string ShowDefault(const KeyRow& row) {
  if (row.required) return "must be given";
  if (row.spec.default_value.is_null() || row.spec.default_value == Json::array()) return "";
  if (row.is(ParamSpec::Type::kDuration))
    return FormatDurationMs(row.spec.default_value.get<std::int64_t>());
  return row.spec.default_value.is_string() ? row.spec.default_value.get<std::string>()
                                            : CanonicalJson(row.spec.default_value);
}

// The values of a parameter, short enough for the narrow column of its table.
std::string ShowValues(const ParamSpec& spec) {
  const std::string range = Str(ShowNumber(spec.min), " to ", ShowNumber(spec.max));
  switch (spec.type) {
    case Type::kBool:
      return "true, false";
    case Type::kText:
      return "text";
    case Type::kChoice:
      return Join(MarkedChoices(spec), ", ");
    case Type::kChoiceList:
      return Str("a list of ", Join(MarkedChoices(spec), ", "));
    case Type::kCountList:
      return Str(spec.choices.empty() ? "" : Str(Join(spec.choices, ", "), ", or "),
                 "a list of integers from ", range);
    case Type::kInt:
    case Type::kCount:
    case Type::kNumber:
      return range;
    case Type::kName:
    case Type::kDuration:
    case Type::kNumberPair:
    case Type::kNumberList:
      return ExpectedValue(spec);
  }
  LR_CHECK(false);
}

// Text in a cell of a table, where a bare | would begin the next cell.
std::string InCell(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '|') out += '\\';
    out += c;
  }
  return out;
}

std::string ParamRows(std::span<const ParamSpec> specs) {
  std::string out;
  for (const ParamSpec& spec : specs) {
    const std::string default_value =
        spec.default_value.is_null()     ? spec.is_optional ? "–" : "must be given"
        : spec.default_value.is_string() ? spec.default_value.get<std::string>()
                                         : CanonicalJson(spec.default_value);
    out += Str("| `", spec.name, "` | ", ShowValues(spec), " | ", default_value, " | ",
               InCell(ParamMeaning(spec)), " |\n");
  }
  return out;
}

std::string UnbuiltRows() {
  std::string rows;
  for (const Unbuilt& one : UnbuiltTable()) {
    rows += Str("| ", one.what, " | `", one.name, "` | ", one.meaning, " |\n");
  }
  return rows;
}

}  // namespace

std::string SweepReference() {
  std::string out =
      "# Keys of a sweep file\n\n"
      "Printed from the table in `sweeps/schema.cc`; the test `sweeps/sweep` keeps it equal\n"
      "(`LONGRUN_UPDATE=1` rewrites it). A key marked \"axis\" can be listed in `spec.matrix` by "
      "its\n"
      "path below `spec`.\n\n"
      "| key | value | default | axis | meaning |\n|---|---|---|---|---|\n";
  for (const KeyRow& row : SweepKeys()) {
    const std::string value =
        row.kind == KeyRow::Kind::kUnbuilt ? std::string(kNotBuiltYet) : ExpectedValue(row);
    out += Str("| `", row.path, "` | ", value, " | ", ShowDefault(row), " | ",
               row.axis ? "axis" : "", " | ", row.spec.meaning, " |\n");
  }
  constexpr std::string_view kParamHead =
      "| parameter | value | default | meaning |\n|---|---|---|---|\n";
  for (const PositionMethod* const method : PositionMethods()) {
    out += Str("\n## Position method `", method->name, "`\n\n", method->source, "\n");
    if (!method->params.empty()) out += Str("\n", kParamHead, ParamRows(method->params));
  }
  for (const PositionSchedule* const schedule : PositionSchedules()) {
    out += Str("\n## Position schedule `", schedule->name, "`\n\n", schedule->meaning, "\n(",
               schedule->source, ")\n\n", kParamHead, ParamRows(schedule->params));
  }
  for (const Evaluation* const evaluation : Evaluations()) {
    out += Str("\n## Evaluation `", evaluation->name, "`\n\n", evaluation->meaning, "\n(",
               evaluation->source, ")\n\n", kParamHead, ParamRows(evaluation->params));
    for (const KeyRow* const row : KeysBesideParams(*evaluation)) {
      out += Str("| `", row->path, "` | ", ExpectedValue(*row), " | ", ShowDefault(*row), " | ",
                 row->spec.meaning, " |\n");
    }
  }
  for (const Extension* const extension : Extensions()) {
    out += Str("\n## Extension `", extension->name, "`\n\n", extension->meaning, "\n(",
               extension->source, ")\n\n", kParamHead, ParamRows(extension->params));
  }
  for (const ClaimKind& kind : ClaimKinds()) {
    out += Str("\n## Claim `", kind.name, "`\n\n", kind.meaning, "\n\n", kParamHead,
               ParamRows(kind.params));
  }
  out += Str("\n## Not built yet\n\n",
             "These are planned (`sweeps/unbuilt.cc`). A command or a sweep file that uses one is "
             "refused with "
             "an error that says\nso, and `longrun explain NAME` prints its row.\n\n",
             "| what | name | meaning |\n|---|---|---|\n", UnbuiltRows());
  return out;
}

}  // namespace longrun
