#include "sweeps/explain.h"

#include <algorithm>
#include <span>
#include <utility>

#include "base/check.h"
#include "base/letter_case.h"
#include "base/str.h"
#include "base/units.h"
#include "base/utf8.h"
#include "model/config.h"
#include "model/evaluation/evaluation.h"
#include "model/extension/extension.h"
#include "model/position/method.h"
#include "model/position_schedule/schedule.h"
#include "sweeps/claim.h"
#include "sweeps/failure.h"
#include "sweeps/foreign_name.h"
#include "sweeps/published.h"
#include "sweeps/schema.h"
#include "sweeps/unbuilt.h"
#include "sweeps/value.h"

namespace longrun {
namespace {

using Type = ParamSpec::Type;

constexpr std::string_view kSpec = "spec.";
constexpr std::string_view kPosition = "position";
constexpr std::string_view kPositions = "positions";
constexpr std::string_view kEvaluate = "evaluate";
constexpr std::string_view kExtension = "extension";
constexpr std::string_view kClaim = "claims";
constexpr std::string_view kFailure = "failure";
constexpr std::string_view kPublished = "published";

std::string_view TypeName(const KeyRow& row) {
  switch (row.kind) {
    case KeyRow::Kind::kValue:
      break;
    case KeyRow::Kind::kInit:
      return "model or run";
    case KeyRow::Kind::kMap:
      return "map";
    case KeyRow::Kind::kLabels:
      return "map of text";
    case KeyRow::Kind::kPosition:
      return "position method";
    case KeyRow::Kind::kSchedule:
      return "position schedule";
    case KeyRow::Kind::kPoints:
      return "list of points";
    case KeyRow::Kind::kEvaluations:
      return "list of evaluations";
    case KeyRow::Kind::kExtension:
      return "extension";
    case KeyRow::Kind::kExtensions:
      return "list of extensions";
    case KeyRow::Kind::kClaims:
      return "list of claims";
    case KeyRow::Kind::kStages:
      return "list of stages";
    case KeyRow::Kind::kUnbuilt:
      return "not built";
  }
  switch (row.spec.type) {
    case Type::kInt:
      return "integer";
    case Type::kCount:
      return "count";
    case Type::kNumber:
      return "number";
    case Type::kBool:
      return "bool";
    case Type::kChoice:
      return "choice";
    case Type::kText:
      return "text";
    case Type::kName:
      return "name";
    case Type::kDuration:
      return "duration";
    case Type::kNumberPair:
      return "pair of numbers";
    case Type::kNumberList:
      return "list of numbers";
    case Type::kCountList:
      return "list of counts";
    case Type::kChoiceList:
      return "list of choices";
  }
  LR_CHECK(false);
}

// ---- keys ---------------------------------------------------------------------------------------

// A valid value of the key, as YAML: its default, or the plainest there is.
std::string SampleValue(const KeyRow& row) {
  if (row.is(ParamSpec::Type::kDuration)) {
    return row.spec.default_value.is_null()
               ? "10min"
               : FormatDurationMs(row.spec.default_value.get<std::int64_t>());
  }
  if (row.kind == KeyRow::Kind::kExtensions) return "[none, {method: yarn, factor: 4}]";
  if (row.kind == KeyRow::Kind::kExtension) return "{method: pi, factor: 4}";
  if (row.kind == KeyRow::Kind::kSchedule) return "{method: pose, target_length: 4096}";
  if (row.spec.default_value.is_string()) return row.spec.default_value.get<std::string>();
  if (!row.spec.default_value.is_null() && row.spec.default_value != Json::array()) {
    return CanonicalJson(row.spec.default_value);
  }
  switch (row.kind) {
    case KeyRow::Kind::kLabels:
      return "{suite: long}";
    case KeyRow::Kind::kPosition:
      return "cable";
    case KeyRow::Kind::kPoints:
      return "[{position: rope, train_length: 64}]";
    case KeyRow::Kind::kEvaluations:
      return "[{perplexity: {context_lengths: [64, 256], split: validation}}]";
    case KeyRow::Kind::kClaims:
      return "[{below: {of: cable, than: alibi, context_lengths: [256]}}]";
    case KeyRow::Kind::kInit:
      return "my-name";
    case KeyRow::Kind::kStages:
      return "[{name: longer, train_length: 128, train: {tokens: 1M}}]";
    case KeyRow::Kind::kMap:
    case KeyRow::Kind::kUnbuilt:
      return "";
    case KeyRow::Kind::kExtension:
    case KeyRow::Kind::kExtensions:
    case KeyRow::Kind::kSchedule:
    case KeyRow::Kind::kValue:
      break;
  }
  if (row.is(Type::kChoice)) return row.spec.choices.front();
  if (row.is(Type::kName)) return "my-name";
  // Sizes of a model that go together, and a training that is worth its name.
  const ModelConfig model = *ModelConfig::Preset(ModelConfig::PresetNames().front());
  const std::pair<std::string_view, std::string> samples[] = {
      {"spec.model.n_layer", Str(model.n_layer)},
      {"spec.model.n_head", Str(model.n_head)},
      {"spec.model.n_kv_head", Str(model.n_head / 2)},
      {"spec.model.d_model", Str(model.d_model)},
      {"spec.model.head_dim", Str(model.d_model / model.n_head)},
      {"spec.model.d_ff", Str(model.d_ff)},
      {"spec.train.tokens", "200M"},
      {"spec.train.batch_tokens", "64K"}};
  for (const auto& [path, value] : samples) {
    if (row.path == path) return value;
  }
  if (row.is(Type::kInt) || row.is(Type::kCount) || row.is(Type::kNumber)) {
    constexpr double kSample = 512;
    return Str(static_cast<std::int64_t>(std::clamp(kSample, row.spec.min, row.spec.max)));
  }
  return "";
}

// The key in its place in a file; under the matrix, as a list.
std::string KeyExample(const KeyRow& row) {
  const bool in_matrix = row.path.starts_with("spec.matrix.");
  std::string value = SampleValue(row);
  if (value.empty()) return "";
  if (in_matrix) value = Str("[", value, "]");
  const std::vector<std::string> parts = Split(row.path, '.');
  std::string text;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    text += Str(std::string(2 * i, ' '), parts[i], ":");
    text += i + 1 == parts.size() ? Str(" ", value, "\n") : "\n";
  }
  return text;
}

constexpr std::string_view kOnlyRotary =
    "extensions apply only to models whose only position method is `rope`";

Json ExplainKey(const KeyRow& row) {
  Json json = {{"path", row.path},         {"kind", "key"},
               {"type", TypeName(row)},    {"meaning", row.spec.meaning},
               {"required", row.required}, {"axis", row.axis}};
  if (row.kind == KeyRow::Kind::kUnbuilt) {
    json["value"] = kNotBuiltYet;
    return json;
  }
  if (row.kind != KeyRow::Kind::kMap) {
    json["value"] = ExpectedValue(row);
    json["default"] = row.is(ParamSpec::Type::kDuration) && !row.spec.default_value.is_null()
                          ? Json(FormatDurationMs(row.spec.default_value.get<std::int64_t>()))
                          : row.spec.default_value;
    json["example"] = KeyExample(row);
  }
  if (row.kind == KeyRow::Kind::kExtensions) {
    json["notes"] = Str(kOnlyRotary,
                        ". To compare them with other methods, write two sweep files with the same "
                        "`train` and `evaluate`: one with `position: [rope]` and `extend`, the "
                        "other with `position: [alibi]` and without `extend`; then "
                        "`longrun table SWEEP1 SWEEP2` shows both");
  }
  Json members = Json::array();
  for (const std::string& name : NamesBelow(row.path)) {
    const KeyRow& member = *FindKey(Str(row.path, ".", name));
    members.push_back({{"path", member.path}, {"meaning", member.spec.meaning}});
  }
  if (row.kind == KeyRow::Kind::kPosition) {
    for (const PositionMethod* const method : PositionMethods()) {
      const std::vector<std::string> experimental = ExperimentalValues(method->params);
      members.push_back({{"path", Str(kPosition, ".", method->name)},
                         {"meaning", Str(method->source, ExperimentalNote(experimental))}});
    }
  }
  if (row.kind == KeyRow::Kind::kSchedule) {
    for (const PositionSchedule* const schedule : PositionSchedules()) {
      members.push_back(
          {{"path", Str(kPositions, ".", schedule->name)}, {"meaning", schedule->meaning}});
    }
  }
  if (row.kind == KeyRow::Kind::kEvaluations) {
    for (const Evaluation* const evaluation : Evaluations()) {
      members.push_back(
          {{"path", Str(kEvaluate, ".", evaluation->name)}, {"meaning", evaluation->meaning}});
    }
  }
  const bool trains = row.kind == KeyRow::Kind::kExtension;
  if (trains || row.kind == KeyRow::Kind::kExtensions) {
    for (const Extension* const extension : Extensions()) {
      if (trains && !extension->trains) continue;
      members.push_back(
          {{"path", Str(kExtension, ".", extension->name)}, {"meaning", extension->meaning}});
    }
  }
  if (row.kind == KeyRow::Kind::kClaims) {
    for (const ClaimKind& kind : ClaimKinds()) {
      members.push_back({{"path", Str(kClaim, ".", kind.name)}, {"meaning", kind.meaning}});
    }
  }
  if (!members.empty()) json["members"] = std::move(members);
  return json;
}

// ---- parameters ---------------------------------------------------------------------------------

std::string ParamValue(const ParamSpec& spec) {
  ParamSpec marked = spec;
  marked.choices = MarkedChoices(spec);
  return ExpectedValue(marked);
}

Json ExplainParam(const std::string& owner, const ParamSpec& spec) {
  return {{"path", Str(owner, ".", spec.name)},
          {"kind", "parameter"},
          {"meaning", ParamMeaning(spec)},
          {"value", ParamValue(spec)},
          {"default", spec.default_value},
          {"required", spec.default_value.is_null() && !spec.is_optional}};
}

std::vector<Json> ExplainParams(const std::string& owner, std::span<const ParamSpec> specs) {
  std::vector<Json> params;
  params.reserve(specs.size());
  for (const ParamSpec& spec : specs) params.push_back(ExplainParam(owner, spec));
  return params;
}

// A key of an evaluation that is not one of its parameters.
Json ExplainBesideParams(const std::string& owner, const KeyRow& row) {
  return {{"path", Str(owner, ".", row.path)}, {"kind", "key"},
          {"meaning", row.spec.meaning},       {"value", ExpectedValue(row)},
          {"default", row.spec.default_value}, {"required", false}};
}

// Adds the members of a method or an evaluation, or returns the one that `rest` names.
Result<Json> WithMembers(Json json, const std::vector<Json>& below, std::string_view rest) {
  const std::string owner = json.at("path").get<std::string>();
  Json members = Json::array();
  std::vector<std::string> names;
  for (const Json& one : below) {
    const std::string path = one.at("path").get<std::string>();
    names.push_back(path.substr(owner.size() + 1));
    if (names.back() == rest) return one;
    members.push_back({{"path", path},
                       {"meaning", one.at("meaning")},
                       {"value", one.at("value")},
                       {"default", one.at("default")},
                       {"required", one.at("required")}});
  }
  if (!rest.empty()) {
    return Status(Code::kNotFound,
                  Str(owner, " has no parameter ", Quoted(rest), DidYouMean(rest, names)));
  }
  if (!members.empty()) json["members"] = std::move(members);
  return json;
}

// ---- lists --------------------------------------------------------------------------------------

Json ListOf(std::string_view path, std::string_view meaning, Json members) {
  return {{"path", path}, {"kind", "list"}, {"meaning", meaning}, {"members", std::move(members)}};
}

// A row of the table of failure classes, in words.
Json ExplainFailure(const FailureRow& row) {
  const std::string_view counted = row.counted_as == CountedAs::kFailure ? "retry.failures_max"
                                   : row.counted_as == CountedAs::kLoss  ? "retry.losses_max"
                                                                         : "nothing";
  std::string happens =
      row.retryable ? Str("tried again, counted against ", counted) : "final: not tried again";
  if (row.back_off) happens += ", after a wait that doubles";
  if (row.avoid_worker) happens += ", on another worker if there is one";
  return {{"path", Str(kFailure, ".", row.name)},
          {"kind", "failure"},
          {"meaning", happens},
          {"retryable", row.retryable},
          {"exit_code", row.exit_code == 0 ? Json() : Json(row.exit_code)},
          {"advice", row.advice}};
}

// "position.cable.variant" -> {"cable", "variant"}.
std::pair<std::string, std::string> Parts(std::string_view rest) {
  const std::size_t dot = rest.find('.');
  if (dot == std::string_view::npos) return {std::string(rest), ""};
  return {std::string(rest.substr(0, dot)), std::string(rest.substr(dot + 1))};
}

std::string_view After(std::string_view path, std::string_view first) {
  return path.size() <= first.size() ? std::string_view() : path.substr(first.size() + 1);
}

Result<Json> ExplainPosition(std::string_view rest) {
  if (rest.empty()) {
    ASSIGN_OR_RETURN(Json json, Explain("spec.matrix.position"));
    return json;
  }
  const auto [name, param] = Parts(rest);
  if (const ForeignName* const method = FindForeignMethod(name)) {
    return Status(Code::kNotFound, Str("unknown position method ", Quoted(name), "; did you mean ",
                                       kPosition, ".", method->ours, "?"));
  }
  ASSIGN_OR_RETURN(const PositionMethod* method, FindPositionMethod(name));
  const std::string path = Str(kPosition, ".", name);
  return WithMembers({{"path", path},
                      {"kind", "position"},
                      {"meaning", Str("beyond the train length: ", method->beyond)},
                      {"source", method->source},
                      {"example", Str("spec:\n  matrix:\n    position: [", name, "]\n")}},
                     ExplainParams(path, method->params), param);
}

Result<Json> ExplainPositions(std::string_view rest) {
  if (rest.empty()) return ExplainKey(*FindKey("spec.train.positions"));
  const auto [name, param] = Parts(rest);
  const PositionSchedule* const schedule = FindPositionSchedule(name);
  if (schedule == nullptr) {
    return Status(Code::kNotFound, Str("there is no position schedule ", Quoted(name),
                                       DidYouMean(name, PositionScheduleNames())));
  }
  const std::string path = Str(kPositions, ".", name);
  return WithMembers({{"path", path},
                      {"kind", "positions"},
                      {"meaning", schedule->meaning},
                      {"source", schedule->source}},
                     ExplainParams(path, schedule->params), param);
}

Result<Json> ExplainExtension(std::string_view rest) {
  if (rest.empty()) return ExplainKey(*FindKey("spec.extend"));
  const auto [name, param] = Parts(rest);
  ASSIGN_OR_RETURN(const Extension* extension, FindExtension(name));
  const std::string path = Str(kExtension, ".", name);
  return WithMembers({{"path", path},
                      {"kind", "extension"},
                      {"meaning", extension->meaning},
                      {"source", extension->source},
                      {"notes", kOnlyRotary}},
                     ExplainParams(path, extension->params), param);
}

Result<Json> ExplainClaim(std::string_view rest) {
  if (rest.empty()) {
    ASSIGN_OR_RETURN(Json json, Explain("spec.claims"));
    return json;
  }
  const auto [name, param] = Parts(rest);
  const ClaimKind* const kind = FindClaimKind(name);
  if (kind == nullptr) {
    return Status(Code::kNotFound,
                  Str("there is no claim ", Quoted(name), DidYouMean(name, ClaimKindNames())));
  }
  const std::string path = Str(kClaim, ".", name);
  return WithMembers({{"path", path}, {"kind", "claim"}, {"meaning", kind->meaning}},
                     ExplainParams(path, kind->params), param);
}

Result<Json> ExplainEvaluation(std::string_view rest) {
  if (rest.empty()) return ExplainKey(*FindKey("spec.evaluate"));
  const auto [name, param] = Parts(rest);
  ASSIGN_OR_RETURN(const Evaluation* evaluation, FindEvaluation(name));
  const std::string path = Str(kEvaluate, ".", name);
  std::vector<Json> below = ExplainParams(path, evaluation->params);
  for (const KeyRow* const row : KeysBesideParams(*evaluation)) {
    below.push_back(ExplainBesideParams(path, *row));
  }
  return WithMembers({{"path", path},
                      {"kind", "evaluation"},
                      {"meaning", evaluation->meaning},
                      {"source", evaluation->source}},
                     below, param);
}

Result<Json> ExplainFailures(std::string_view rest) {
  if (!rest.empty()) {
    const FailureRow* row = FindFailure(rest);
    if (row != nullptr) return ExplainFailure(*row);
    std::vector<std::string> names;
    for (const FailureRow& one : FailureTable()) names.emplace_back(one.name);
    return Status(Code::kNotFound,
                  Str("there is no failure class ", Quoted(rest), DidYouMean(rest, names)));
  }
  Json members = Json::array();
  for (const FailureRow& row : FailureTable()) {
    const Json one = ExplainFailure(row);
    members.push_back({{"path", one.at("path")}, {"meaning", one.at("meaning")}});
  }
  return ListOf(kFailure, "how an attempt can fail, and what happens next", std::move(members));
}

Json ExplainPublishedTable(const PublishedTable& table) {
  return {{"path", Str(kPublished, ".", table.name)},
          {"kind", "published"},
          {"meaning", table.title},
          {"value", Str(table.values.size(), " numbers of ", table.metric, " by ",
                        Join(table.axes, ", "), ", context_length")},
          {"source", table.source},
          {"notes", table.notes},
          {"example", Str("longrun table my-sweep --published ", table.name, "\n")}};
}

// The published tables inside the program (published.h).
Result<Json> ExplainPublished(std::string_view rest) {
  if (!rest.empty()) {
    ASSIGN_OR_RETURN(const PublishedTable table, FindPublishedTable(rest));
    return ExplainPublishedTable(table);
  }
  Json members = Json::array();
  for (const PublishedFile& file : PublishedFiles()) {
    ASSIGN_OR_RETURN(const PublishedTable table, FindPublishedTable(file.name));
    members.push_back({{"path", Str(kPublished, ".", table.name)}, {"meaning", table.title}});
  }
  return ListOf(kPublished, "tables of papers, for longrun table SWEEP --published NAME",
                std::move(members));
}

Json ExplainUnbuilt(const Unbuilt& one) {
  return {{"path", one.path.empty() ? one.name : one.path},
          {"kind", "planned"},
          {"type", one.what},
          {"meaning", one.meaning},
          {"value", kNotBuiltYet}};
}

// The keys and parameters of which the text is a choice.
std::vector<std::string> TakersOf(std::string_view value) {
  std::vector<std::string> takers;
  const auto add = [&](const std::string& path, const ParamSpec& spec) {
    if (std::ranges::find(spec.choices, value) != spec.choices.end()) takers.push_back(path);
  };
  for (const KeyRow& row : SweepKeys()) {
    const std::string_view path = row.path;
    add(std::string(path.starts_with(kSpec) ? path.substr(kSpec.size()) : path), row.spec);
  }
  for (const Evaluation* const evaluation : Evaluations()) {
    for (const ParamSpec& spec : evaluation->params) {
      add(Str(kEvaluate, ".", evaluation->name, ".", spec.name), spec);
    }
  }
  for (const PositionMethod* const method : PositionMethods()) {
    for (const ParamSpec& spec : method->params) {
      add(Str(kPosition, ".", method->name, ".", spec.name), spec);
    }
  }
  return takers;
}

bool Begins(std::string_view path, std::string_view first) {
  return path == first || path.starts_with(Str(first, "."));
}

std::string Field(std::string_view name, const std::string& value) {
  constexpr std::size_t kWidth = 9;
  return value.empty() ? ""
                       : Str("  ", name, std::string(kWidth - std::min(kWidth, name.size()), ' '),
                             value, "\n");
}

// "an integer from 0 to 4; default 1": what a parameter may be, below its meaning in a list.
std::string ValueText(const Json& param) {
  const std::string value = param.at("value").get<std::string>();
  if (param.at("required").get<bool>()) return Str(value, "; must be given");
  const Json& default_value = param.at("default");
  if (default_value.is_null()) return value;
  return Str(
      value, "; default ",
      default_value.is_string() ? default_value.get<std::string>() : CanonicalJson(default_value));
}

std::string_view LastName(std::string_view path) { return path.substr(path.rfind('.') + 1); }

// "train.optimizer.lr" for "train.lr": the paths that begin and end with the same names.
std::vector<std::string> OfTheSameSection(std::string_view path) {
  const std::size_t dot = path.find('.');
  if (dot == std::string_view::npos) return {};
  std::vector<std::string> found;
  for (std::string& known : ExplainPaths()) {
    const bool is_of_section = known.starts_with(path.substr(0, dot + 1));
    if (is_of_section && LastName(known) == LastName(path)) found.push_back(std::move(known));
  }
  return found;
}

Result<Json> ExplainExactly(std::string_view path) {
  std::string name(path);
  while (name.ends_with('.')) name.pop_back();
  const KeyRow* row = FindKey(name);
  if (row == nullptr) row = FindKey(Str(kSpec, name));
  if (row == nullptr) row = FindKey(Str("spec.matrix.", name));
  if (row != nullptr) return ExplainKey(*row);
  std::string_view below = name;
  for (const std::string_view prefix : {"spec.matrix.", "spec."}) {
    if (below.starts_with(prefix)) below = below.substr(prefix.size());
  }
  const Unbuilt* planned = FindUnbuilt(name);
  if (planned == nullptr) planned = FindUnbuilt(below);
  if (planned != nullptr) return ExplainUnbuilt(*planned);
  if (Begins(below, kPosition)) return ExplainPosition(After(below, kPosition));
  if (Begins(below, "train.positions")) below = After(below, "train");
  if (Begins(below, kPositions)) return ExplainPositions(After(below, kPositions));
  if (Begins(below, kEvaluate)) return ExplainEvaluation(After(below, kEvaluate));
  if (Begins(below, kExtension)) return ExplainExtension(After(below, kExtension));
  if (Begins(below, kClaim)) return ExplainClaim(After(below, kClaim));
  if (Begins(below, kFailure)) return ExplainFailures(After(below, kFailure));
  if (Begins(below, kPublished)) return ExplainPublished(After(below, kPublished));
  // Without the whole path, its last word may be enough to tell what is meant.
  std::vector<std::string> ends_so;
  for (const std::string& known : ExplainPaths()) {
    if (known.ends_with(Str(".", below))) ends_so.push_back(known);
  }
  if (ends_so.size() == 1) return Explain(ends_so.front());
  if (ends_so.empty()) {
    // A value is explained with the key or parameter that takes it.
    const std::vector<std::string> owners = TakersOf(below);
    if (!owners.empty()) {
      return Status(Code::kNotFound,
                    Str(Quoted(path), " is not a key; it is a value of ", Join(owners, ", "),
                        ": `longrun explain ", owners.front(), "` explains it"));
    }
  }
  std::string_view note;
  if (const ForeignName* const key = FindForeignKey(LastName(below))) {
    ends_so = {std::string(key->ours)};
    note = key->note;
  } else if (const ForeignName* const method = FindForeignMethod(LastName(below))) {
    ends_so = {Str(kPosition, ".", method->ours)};
  }
  if (ends_so.empty()) ends_so = OfTheSameSection(below);
  const std::string nearest = Nearest(below, ExplainPaths());
  if (ends_so.empty() && !nearest.empty()) ends_so.push_back(nearest);
  return Status(
      Code::kNotFound,
      Str("unknown name ", Quoted(path),
          ends_so.empty()
              ? std::string("; try spec, position, evaluate, extension, failure or published")
              : Str("; did you mean ", Join(ends_so, " or "), "?", note)));
}

}  // namespace

Result<Json> Explain(std::string_view path) {
  Result<Json> explained = ExplainExactly(path);
  if (explained.ok()) return explained;
  // As papers write it: Cable, RoPE.
  Result<Json> of_lower = ExplainExactly(InSmallLetters(path));
  return of_lower.ok() ? std::move(of_lower) : std::move(explained);
}

std::string ExplainText(const Json& explained) {
  const auto text = [&](const char* key) -> std::string {
    const auto it = explained.find(key);
    if (it == explained.end() || it->is_null()) return "";
    return it->is_string() ? it->get<std::string>() : CanonicalJson(*it);
  };
  std::string out = Str(text("path"), "\n  ", text("meaning"), "\n");
  std::string fields = Field("value", text("value"));
  const std::string default_value = text("default") == "[]" ? "" : text("default");
  fields += Field("default", default_value);
  if (explained.value("required", false)) fields += "  no default: must be given\n";
  if (explained.value("axis", false)) {
    std::string axis = text("path");
    for (const std::string_view prefix : {"spec.matrix.", "spec."}) {
      if (axis.starts_with(prefix)) axis = axis.substr(prefix.size());
    }
    fields += Field("axis", Str("can be listed in spec.matrix as ", axis));
  }
  fields += Field("source", text("source"));
  fields += Field("exits", explained.contains("exit_code") ? text("exit_code") : "");
  fields += Field("advice", text("advice"));
  fields += Field("notes", text("notes"));
  if (!fields.empty()) out += "\n" + fields;
  if (const std::string example = text("example"); !example.empty()) {
    out += "\n  example:\n";
    for (const std::string& line : Split(example, '\n')) {
      if (!line.empty()) out += Str("    ", line, "\n");
    }
  }
  const auto members = explained.find("members");
  if (members == explained.end()) return out;
  std::size_t width = 0;
  for (const Json& member : *members) {
    width = std::max(width, member.at("path").get_ref<const std::string&>().size());
  }
  out += "\n";
  for (const Json& member : *members) {
    const std::string path = member.at("path").get<std::string>();
    out += Str("  ", path, std::string(width - path.size() + 2, ' '),
               member.at("meaning").get<std::string>(), "\n");
    if (member.contains("value")) {
      out += Str(std::string(width + 4, ' '), ValueText(member), "\n");
    }
  }
  return out;
}

std::vector<std::string> ExplainPaths() {
  std::vector<std::string> paths;
  for (const KeyRow& row : SweepKeys()) {
    paths.emplace_back(row.path.starts_with(kSpec) ? row.path.substr(kSpec.size()) : row.path);
  }
  paths.emplace_back(kPosition);
  const auto add_params = [&](const std::string& owner, std::span<const ParamSpec> specs) {
    paths.push_back(owner);
    for (const ParamSpec& spec : specs) paths.push_back(Str(owner, ".", spec.name));
  };
  for (const PositionMethod* const method : PositionMethods()) {
    add_params(Str(kPosition, ".", method->name), method->params);
  }
  for (const PositionSchedule* const schedule : PositionSchedules()) {
    add_params(Str(kPositions, ".", schedule->name), schedule->params);
  }
  for (const Evaluation* const evaluation : Evaluations()) {
    const std::string owner = Str(kEvaluate, ".", evaluation->name);
    add_params(owner, evaluation->params);
    for (const KeyRow* const row : KeysBesideParams(*evaluation)) {
      paths.push_back(Str(owner, ".", row->path));
    }
  }
  paths.emplace_back(kExtension);
  for (const Extension* const extension : Extensions()) {
    add_params(Str(kExtension, ".", extension->name), extension->params);
  }
  for (const ClaimKind& kind : ClaimKinds()) add_params(Str(kClaim, ".", kind.name), kind.params);
  paths.emplace_back(kFailure);
  for (const FailureRow& row : FailureTable()) paths.push_back(Str(kFailure, ".", row.name));
  paths.emplace_back(kPublished);
  for (const PublishedFile& file : PublishedFiles()) {
    paths.push_back(Str(kPublished, ".", file.name));
  }
  return paths;
}

}  // namespace longrun
