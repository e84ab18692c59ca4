// Reads the tree into a SweepSpec, by the table of keys.
#include <algorithm>
#include <set>
#include <utility>

#include "base/check.h"
#include "base/edit_distance.h"
#include "base/files.h"
#include "base/str.h"
#include "base/utf8.h"
#include "model/evaluation/evaluation.h"
#include "model/evaluation/input_file.h"
#include "model/extension/extension.h"
#include "model/position/method.h"
#include "model/position_schedule/schedule.h"
#include "sweeps/claim.h"
#include "sweeps/claim_check.h"
#include "sweeps/exclusion.h"
#include "sweeps/foreign_name.h"
#include "sweeps/limits.h"
#include "sweeps/schema.h"
#include "sweeps/spec.h"
#include "sweeps/unbuilt.h"
#include "sweeps/value.h"
#include "sweeps/yaml_slip.h"

namespace longrun {
namespace {

using Kind = YamlNode::Kind;

constexpr std::string_view kEvaluationName = "the name of an evaluation";
constexpr std::string_view kClaimKind = "the kind of a claim";
constexpr std::size_t kValuesShownMax = 20;  // of an axis
constexpr std::size_t kSlipMax = 2;          // letters by which a slip of a name differs from it

class Reader {
 public:
  Reader(const DatasetCatalogue& datasets, std::vector<Problem>& problems)
      : datasets_(datasets), problems_(problems) {}

  SweepSpec Read(const YamlNode& root) {
    if (root.kind != Kind::kMap) {
      Report(root.place, Str("expected a map with apiVersion, kind, metadata and spec, found ",
                             ShowNode(root)));
      spec_.is_complete = false;
      return std::move(spec_);
    }
    LookForInit(root);
    // The axes first: a key that is an axis need not be given in its own place.
    if (const YamlNode* const matrix = FindMatrix(root)) {
      const std::size_t n_problems = problems_.size();
      ReadMatrix(*matrix);
      ReadStages(root);
      is_matrix_read_ = problems_.size() == n_problems;
    }
    ReadMap("", root, root.place, spec_.document);
    if (const YamlNode::Entry* const body = root.Find("spec")) {
      ReadPoints(body->value.Find("exclude"), "spec.exclude", /*exclude=*/true);
      ReadPoints(body->value.Find("include"), "spec.include", /*exclude=*/false);
    }
    CheckGivenTwice();
    ReportMissing();
    // Otherwise a mistake there would be told again for every claim that names what it hides.
    if (is_matrix_read_ && are_evaluations_read_) {
      for (const PlacedClaim& claim : claims_) CheckClaim(claim);
    }
    return std::move(spec_);
  }

  // Only the claims of a file: of a sweep, or of a file that has nothing else.
  std::vector<Claim> ReadClaimsOf(const YamlNode& root) {
    const YamlNode::Entry* const spec = root.Find("spec");
    const YamlNode::Entry* const claims =
        spec != nullptr ? spec->value.Find("claims") : root.Find("claims");
    if (claims == nullptr) return {};
    std::vector<Claim> out;
    for (PlacedClaim& one : ReadClaims(claims->value, spec != nullptr ? "spec.claims" : "claims")) {
      out.push_back(std::move(one.claim));
    }
    return out;
  }

 private:
  struct PlacedClaim {
    Claim claim;
    std::string path;  // "spec.claims[2].below"
    const YamlNode* params = nullptr;
  };

  // A key that must be given and is not.
  struct Missing {
    std::string path;
    Place place;
    std::string message;
  };

  void Report(Place place, std::string message) {
    problems_.push_back({.place = place, .message = std::move(message)});
  }

  // ---- maps of the table -----------------------------------------------------------------------

  void ReadMap(const std::string& path, const YamlNode& node, Place place, Json& out) {
    out = Json::object();
    const std::string prefix = path.empty() ? "" : Str(path, ".");
    for (const YamlNode::Entry& entry : node.entries) {
      const std::string below = prefix + entry.key;
      // A key with a dot would match a key of another level.
      const bool dotted = entry.key.find('.') != std::string::npos;
      const KeyRow* const row = dotted ? nullptr : FindKey(below);
      if (row == nullptr) {
        Report(entry.place, Str(below, ": unknown key", WhereItBelongs(entry, path, node)));
      } else if (row->kind == KeyRow::Kind::kUnbuilt) {
        Report(entry.place, Str(below, ": ", kNotBuiltYet, " (", row->spec.meaning, ")"));
      } else if (below != "spec.matrix") {
        spec_.places[below] = entry.value.place;
        ReadValue(*row, entry.value, out[entry.key]);
      }
    }
    for (const std::string& name : NamesBelow(path)) {
      const std::string below = prefix + name;
      if (node.Find(name) != nullptr) continue;
      const KeyRow& row = *FindKey(below);
      if (row.required && !IsAxis(below) && !ComesFromModel(row)) {
        missing_.push_back({below, place, Str(below, ": must be given: ", WhatToWrite(row))});
      } else if (row.kind == KeyRow::Kind::kMap) {
        ReadMap(below, YamlNode(), place, out[name]);
      } else {
        out[name] = row.spec.default_value;
      }
    }
  }

  // Reports the missing keys. If an unknown key was meant for one, the error about that is enough,
  // and nothing is expanded that rests on the missing one.
  void ReportMissing() {
    constexpr std::string_view kInit = "spec.model.init_from";
    const bool means_init = spec_.meant.contains(std::string(kInit));
    for (const Missing& missing : missing_) {
      const KeyRow& row = *FindKey(missing.path);
      const bool may_come_from_model = row.left_out != KeyRow::LeftOut::kNever;
      const bool has_error =
          spec_.meant.contains(missing.path) || (means_init && may_come_from_model);
      if (!has_error) Report(missing.place, missing.message);
      spec_.is_complete = false;
    }
    for (const std::string& path : spec_.meant) {
      const bool is_given = spec_.places.contains(path) || IsAxis(path);
      if (FindKey(path)->others_rest_on && !is_given) spec_.is_complete = false;
    }
  }

  // "write `kind: Sweep`" if that is the only possible value; else the key's meaning.
  static std::string WhatToWrite(const KeyRow& row) {
    const std::string path(row.path);
    if (row.spec.choices.size() == 1) return Str("write `", path, ": ", row.spec.choices[0], "`");
    if (path == "metadata") return "write `metadata: {name: NAME}`, with a name for the sweep";
    return std::string(row.spec.meaning);
  }

  // A suggestion for an unknown key of the map `node`: a key that differs in one letter and is not
  // given; the same name further below, if its map's key was forgotten; a slip of a name further
  // below, if it is closer than all names here; a similar name here; the same name in another map,
  // if the indentation is wrong.
  std::string WhereItBelongs(const YamlNode::Entry& entry, const std::string& path,
                             const YamlNode& node) {
    if (std::string rest = RestOfValue(node, entry); !rest.empty()) return rest;
    const std::string nearest = Nearest(entry.key, NamesBelow(path));
    const bool is_slip =
        !nearest.empty() && node.Find(nearest) == nullptr && EditDistance(entry.key, nearest) == 1;
    std::vector<std::string> paths;
    if (!is_slip) paths = PathsOfName(entry.key, path);
    if (paths.empty() && EditDistance(entry.key, nearest) > kSlipMax) {
      paths = PathsOfName(SlipOf(entry.key, path), path);
    }
    if (paths.empty() && nearest.empty()) paths = PathsOfName(entry.key, "");
    spec_.meant.insert(paths.begin(), paths.end());
    if (const ForeignName* const other = FindForeignKey(entry.key); other && paths.empty()) {
      spec_.meant.emplace(Str("spec.", other->ours));
      return Str("; did you mean spec.", other->ours, "?", other->note);
    }
    if (paths.empty()) {
      if (!nearest.empty()) spec_.meant.insert(path.empty() ? nearest : Str(path, ".", nearest));
      return DidYouMean(entry.key, NamesBelow(path));
    }
    if (paths.size() > 1) return Str("; did you mean one of ", Join(paths, ", "), "?");
    const std::string& meant = paths[0];
    const std::size_t parent_end = meant.rfind('.');
    const bool by_indentation = entry.place.source == 0 && parent_end != std::string::npos &&
                                entry.key.find('.') == std::string::npos;
    if (!by_indentation) return Str("; did you mean ", meant, "?");
    const std::string parent = meant.substr(0, parent_end);
    return Str("; did you mean ", meant, "? Then indent it below \"",
               parent.substr(parent.rfind('.') + 1), ":\"");
  }

  // The remedy for {lr: 0,002}, {context_lengths: 64, 256} and {where: seed=1,train_length=64},
  // where YAML finds the keys "002", "256" and "train_length=64"; "" for other keys.
  static std::string RestOfValue(const YamlNode& node, const YamlNode::Entry& entry) {
    const auto is_condition = [](const YamlNode::Entry& one) {
      return one.value.kind == Kind::kNothing && one.key.find('=') != std::string::npos;
    };
    const auto is_number = [](const YamlNode::Entry& one) {
      const bool has_digits = one.key[0] >= '0' && one.key[0] <= '9' &&
                              one.key.find_first_not_of("0123456789.eE+-") == std::string::npos;
      return has_digits && one.value.kind == Kind::kNothing;
    };
    if (!is_number(entry) && !is_condition(entry)) return "";
    std::string before;
    std::vector<std::string> values;
    for (const YamlNode::Entry& one : node.entries) {
      if (is_number(one) || is_condition(one)) {
        values.push_back(one.key);
      } else {
        before = one.key;
        values = {one.value.text};
      }
      if (&one == &entry) break;
    }
    if (before.empty() || (is_condition(entry) && values[0].find('=') == std::string::npos)) {
      return "";
    }
    const std::string what = Str("; a comma ends the value of \"", before, "\": write ");
    if (is_condition(entry)) return Str(what, "`", before, ": \"", Join(values, ","), "\"`");
    return Str(what, "one number without commas, as 0.002 or 204800, and several values as [",
               Join(values, ", "), "]");
  }

  // The last part of the path below `below` that `name` is a slip of; "" if there is none, or if
  // several are equally close.
  static std::string SlipOf(std::string_view name, const std::string& below) {
    std::size_t distance_best = std::min(kSlipMax, name.size() / 3);
    std::set<std::string_view> best;
    for (const KeyRow& row : SweepKeys()) {
      if (!row.path.starts_with(below)) continue;
      const std::size_t distance = EditDistance(name, row.name());
      if (distance > distance_best) continue;
      if (distance < distance_best) best.clear();
      distance_best = distance;
      best.insert(row.name());
    }
    return best.size() == 1 ? std::string(*best.begin()) : std::string();
  }

  void ReadValue(const KeyRow& row, const YamlNode& node, Json& out) {
    const std::string path(row.path);
    if (node.refused) {
      spec_.is_complete = false;
      return;
    }
    switch (row.kind) {
      case KeyRow::Kind::kMap:
        if (row.may_be_none && IsNone(node)) {
          ReadNoTraining(node, out);
        } else if (ExpectKind(node, Kind::kMap, path, "a map")) {
          ReadMap(path, node, node.place, out);
        }
        return;
      case KeyRow::Kind::kLabels:
        return ReadLabels(node, path, out);
      case KeyRow::Kind::kPoints:
        return;  // read later, when all axes are known
      case KeyRow::Kind::kStages:
        return;  // read earlier, as an axis
      case KeyRow::Kind::kInit: {
        const std::optional<AxisValue> value = ReadInit(row, node, path);
        if (value) out = value->value;
        if (!value) spec_.is_complete = false;
        return;
      }
      case KeyRow::Kind::kEvaluations: {
        const std::size_t n_problems = problems_.size();
        ReadEvaluations(node, path);
        are_evaluations_read_ = problems_.size() == n_problems;
        return;
      }
      case KeyRow::Kind::kExtensions:
        spec_.extensions = ReadExtensions(node, path);
        return;
      case KeyRow::Kind::kClaims:
        claims_ = ReadClaims(node, path);
        return;
      case KeyRow::Kind::kSchedule:
      case KeyRow::Kind::kExtension:
        return ReadMethodOfTraining(row, node, path, out);
      case KeyRow::Kind::kValue:
      case KeyRow::Kind::kPosition:
      case KeyRow::Kind::kUnbuilt:
        break;
    }
    Result<Json> value = TypeValue(row, node);
    if (value.ok()) {
      out = std::move(value).value();
      if (!IsKnown(row, out, node.place, path)) spec_.is_complete = false;
      const std::string why = row.check != nullptr ? row.check(out) : "";
      if (!why.empty()) Report(node.place, Str(path, ": ", why));
      return;
    }
    Report(node.place, Str(path, ": ", value.status().message(), AsList(node, path)));
    out = row.spec.default_value;
    spec_.broken.insert(path);
    if (row.required || row.others_rest_on) spec_.is_complete = false;
  }

  bool ExpectKind(const YamlNode& node, Kind kind, std::string_view path,
                  std::string_view expected) {
    if (node.kind == kind) return true;
    if (node.refused) {
      spec_.is_complete = false;
      return false;
    }
    const bool has_no_keys = kind == Kind::kMap && node.kind == Kind::kNothing;
    const bool is_list_of_maps =
        kind == Kind::kMap && !node.items.empty() && node.items.front().kind == Kind::kMap;
    Report(node.place, Str(path, ": expected ", expected, ", found ", ShowNode(node),
                           has_no_keys ? ": indent its keys below it" : "",
                           is_list_of_maps ? "; write its keys without dashes" : "",
                           kind == Kind::kMap ? MapMeant(node, path) : ""));
    spec_.is_complete = false;
    return false;
  }

  // "; write `{name: adamw}`" for `optimizer: adamw`, if exactly one key accepts the word and no
  // other key is required. Otherwise lists the keys, and the choices of `name`.
  static std::string MapMeant(const YamlNode& node, std::string_view path) {
    if (node.kind != Kind::kScalar) return "";
    const std::vector<std::string> names = NamesBelow(path);
    if (names.empty()) return "";
    const bool has_base = std::ranges::any_of(names, [&](const std::string& name) {
      return FindKey(Str(path, ".", name))->others_rest_on;
    });
    std::vector<std::string> meant;
    std::string_view required;
    std::string choices;
    for (const std::string& name : names) {
      const KeyRow& row = *FindKey(Str(path, ".", name));
      if (row.required) required = row.name();
      const bool is_name = name == "name";
      if (is_name && !row.spec.choices.empty())
        choices = Str(", and \"name\" is one of ", Join(row.spec.choices, ", "));
      if (!row.is(ParamSpec::Type::kChoice) && !is_name) continue;
      // An architecture does not make a model by itself.
      if (has_base && !row.others_rest_on) continue;
      const std::string nearest = Nearest(node.text, row.spec.choices);
      if (TypeValue(row, node).ok()) {
        meant.push_back(Str(name, ": ", node.text));
      } else if (is_name && !nearest.empty()) {
        meant.push_back(Str(name, ": ", nearest));
      }
    }
    const bool is_all = required.empty() || (meant.size() == 1 && meant[0].starts_with(required));
    return meant.size() == 1 && is_all
               ? Str("; write `{", meant[0], "}`")
               : Str("; the map's keys are \"", Join(names, "\", \""), "\"", choices);
  }

  // ---- models to start from --------------------------------------------------------------------

  static bool IsNone(const YamlNode& node) {
    return node.kind == Kind::kScalar && !node.quoted && node.text == "none";
  }

  // Sets has_init_ and trains, which decide what the matrix may leave out.
  void LookForInit(const YamlNode& root) {
    const YamlNode::Entry* const spec = root.Find("spec");
    if (spec == nullptr) return;
    const YamlNode::Entry* const model = spec->value.Find("model");
    const YamlNode::Entry* const matrix = spec->value.Find("matrix");
    const YamlNode::Entry* const train = spec->value.Find("train");
    has_init_ = (model != nullptr && model->value.Find("init_from") != nullptr) ||
                (matrix != nullptr && matrix->value.Find("model.init_from") != nullptr);
    spec_.trains = train == nullptr || !IsNone(train->value);
  }

  // Whether the key may be left out because the imported model gives its value.
  bool ComesFromModel(const KeyRow& row) const {
    switch (row.left_out) {
      case KeyRow::LeftOut::kNever:
        return false;
      case KeyRow::LeftOut::kWithInit:
        return has_init_;
      case KeyRow::LeftOut::kWithInitUntrained:
        return has_init_ && !spec_.trains;
    }
    return false;
  }

  void ReadNoTraining(const YamlNode& node, Json& out) {
    if (!has_init_) {
      missing_.push_back({"spec.model.init_from", node.place,
                          "spec.train: with \"none\" nothing is trained, so the sweep would "
                          "measure random weights: give model.init_from (longrun import), or a "
                          "training recipe"});
    }
    out = Json::object();
    // Every sweep has these two, which are not part of a run.
    ReadMap("spec.train.checkpoint", YamlNode(), node.place, out["checkpoint"]);
    out["activation_checkpointing"] =
        FindKey("spec.train.activation_checkpointing")->spec.default_value;
  }

  // Whether the catalogue has the name; if not, reports that.
  bool IsKnown(const KeyRow& row, const Json& value, Place place, const std::string& path) {
    switch (row.refers) {
      case KeyRow::Refers::kNothing:
        return true;
      case KeyRow::Refers::kDataset:
        return FindDataset(value.get<std::string>(), place, path);
      case KeyRow::Refers::kModel:
        return FindModel(value.get<std::string>(), place, path);
    }
    return true;
  }

  // The name of an imported model, or {run: RUN}. Which run that is, is asked when runs are made.
  std::optional<AxisValue> ReadInit(const KeyRow& row, const YamlNode& node,
                                    const std::string& path) {
    const YamlNode::Entry* const run = node.Find("run");
    if (node.kind == Kind::kMap && (run == nullptr || node.entries.size() > 1)) {
      for (const YamlNode::Entry& entry : node.entries) {
        if (entry.key == "run") continue;
        Report(entry.place,
               Str(path, ".", entry.key, ": unknown key", DidYouMean(entry.key, {"run"})));
      }
      if (node.entries.empty()) {
        Report(node.place, Str(path, ": expected ", ExpectedValue(row), ", found an empty map"));
      }
      return std::nullopt;
    }
    const YamlNode& name = run != nullptr ? run->value : node;
    Result<Json> value = TypeValue(row.spec, name);
    if (!value.ok()) {
      Report(name.place, Str(path, run != nullptr ? ".run: " : ": ", value.status().message(),
                             AsList(node, path)));
      return std::nullopt;
    }
    Json init = std::move(value).value();
    if (run != nullptr) {
      init = Json::object({{"run", std::move(init)}});
    } else if (!IsKnown(row, init, name.place, path)) {
      return std::nullopt;
    }
    return AxisValue{.value = init, .shown = init, .place = node.place};
  }

  bool FindModel(const std::string& name, Place place, const std::string& path) {
    if (spec_.models.contains(name)) return true;
    std::optional<ModelInfo> info;
    if (datasets_.find_model) info = datasets_.find_model(name);
    if (info) {
      spec_.models.emplace(name, std::move(*info));
      return true;
    }
    const std::string nearest = Nearest(name, datasets_.model_names);
    const std::string known = !nearest.empty() ? Str("did you mean \"", nearest, "\"?")
                              : datasets_.model_names.empty()
                                  ? "none is imported"
                                  : Str("imported are ", Join(datasets_.model_names, ", "));
    Report(place, Str(path, ": unknown model ", Quoted(name), "; ", known,
                      " (`longrun import NAME FOLDER` imports a Hugging Face folder)"));
    return false;
  }

  void ReadLabels(const YamlNode& node, const std::string& path, Json& out) {
    out = Json::object();
    if (!ExpectKind(node, Kind::kMap, path, "a map from keys to texts")) return;
    if (node.entries.size() > kLabelsMax) {
      Report(node.place, Str(path, ": ", node.entries.size(), " labels; at most ", kLabelsMax));
    }
    const ParamSpec text = {.type = ParamSpec::Type::kText, .max = kTextBytesMax};
    for (const YamlNode::Entry& entry : node.entries) {
      if (entry.value.refused) continue;
      if (!IsSafeName(entry.key)) {
        Report(entry.place,
               Str(path, ": \"", Shortened(entry.key, kTextBytesMax),
                   "\" cannot name a label: use only letters, digits, '.', '_' and '-'"));
        continue;
      }
      Result<Json> value = TypeValue(text, entry.value);
      if (value.ok() && IsOneLine(value->get<std::string>())) {
        out[entry.key] = std::move(value).value();
      } else {
        Report(entry.value.place,
               Str(path, ".", entry.key, ": expected at most ", kTextBytesMax,
                   " bytes of text without control characters, found ", ShowNode(entry.value)));
      }
    }
  }

  // ---- the matrix ------------------------------------------------------------------------------

  static const YamlNode* FindMatrix(const YamlNode& root) {
    const YamlNode::Entry* const spec = root.Find("spec");
    const YamlNode::Entry* const matrix = spec != nullptr ? spec->value.Find("matrix") : nullptr;
    return matrix != nullptr ? &matrix->value : nullptr;
  }

  bool IsAxis(std::string_view path) const {
    return std::ranges::any_of(spec_.axes,
                               [&](const Axis& axis) { return path == Str("spec.", axis.name); });
  }

  void ReadMatrix(const YamlNode& node) {
    spec_.places["spec.matrix"] = node.place;
    if (!ExpectKind(node, Kind::kMap, "spec.matrix", "a map from axis to list of values")) return;
    std::string section;  // a section of spec that is indented like an axis, as are its keys
    for (const YamlNode::Entry& entry : node.entries) {
      const std::string path = Str("spec.matrix.", entry.key);
      const KeyRow* const row = FindAxis(entry.key);
      if (!section.empty() && FindKey(Str(section, ".", entry.key)) != nullptr) continue;
      if (entry.key == kStageAxis) {
        Report(entry.place, Str(path, ": stages are not listed in the matrix, but in spec.stages"));
        continue;
      }
      if (row == nullptr) {
        if (IsMisplacedSection(entry)) section = Str("spec.", entry.key);
        Report(entry.place, Str(path, ": ", WhyNoAxis(entry)));
        continue;
      }
      if (entry.value.refused) {
        spec_.is_complete = false;
        continue;
      }
      if (!spec_.trains && entry.key.starts_with("train.")) {
        Report(entry.place, Str(path, ": nothing is trained (train: none); leave it out"));
        spec_.is_complete = false;
        continue;
      }
      Axis axis = {.name = entry.key, .given = true, .values = {}};
      ReadAxisValues(*row, entry.value, path, axis);
      if (axis.values.empty()) spec_.is_complete = false;
      spec_.axes.push_back(std::move(axis));
    }
    for (const std::string& name : NamesBelow("spec.matrix")) {
      if (node.Find(name) != nullptr) continue;
      const KeyRow& row = *FindAxis(name);
      if (row.required && !ComesFromModel(row)) {
        const bool is_dataset = row.refers == KeyRow::Refers::kDataset;
        missing_.push_back(
            {row.path, node.place,
             Str(row.path, ": must be given: ",
                 is_dataset ? Str("a list of datasets; ", KnownDatasets(), kImportMakes)
                            : row.spec.meaning)});
      } else {
        spec_.axes.push_back({.name = name,
                              .given = false,
                              .values = {{.value = row.spec.default_value,
                                          .shown = row.spec.default_value,
                                          .place = node.place}}});
      }
    }
  }

  // Whether an entry of the matrix is `train:`, indented by mistake like the axes.
  static bool IsMisplacedSection(const YamlNode::Entry& entry) {
    const KeyRow* const row = FindKey(Str("spec.", entry.key));
    const bool has_keys = entry.value.kind == Kind::kMap || entry.value.kind == Kind::kNothing;
    return row != nullptr && row->kind == KeyRow::Kind::kMap && has_keys &&
           entry.place.source == 0 && entry.key.find('.') == std::string::npos;
  }

  std::string WhyNoAxis(const YamlNode::Entry& entry) {
    const std::string& name = entry.key;
    if (std::string why = WhyNoEvaluationAxis(name); !why.empty()) return why;
    const KeyRow* const row = FindKey(Str("spec.", name));
    if (row != nullptr && row->kind == KeyRow::Kind::kUnbuilt) return std::string(kNotBuiltYet);
    if (IsMisplacedSection(entry)) {
      spec_.meant.insert(std::string(row->path));
      return Str("not an axis, but a key of spec: indent \"", name,
                 ":\" like \"matrix:\", and its keys below it");
    }
    if (row != nullptr && row->kind == KeyRow::Kind::kMap) {
      return "a whole map is not an axis; give the path of a key in it, like train.optimizer.lr";
    }
    if (row != nullptr) return "it changes no run, so it cannot be an axis: give it below spec";
    std::string nearest = Nearest(name, AxisNames());
    const std::vector<std::string> last = AxesOfLastName(name);
    if (nearest.empty() && last.size() > 1) {
      return Str("unknown axis; did you mean one of ", Join(last, ", "), "?");
    }
    if (nearest.empty() && !last.empty()) nearest = last[0];
    if (!nearest.empty()) spec_.meant.insert(FindAxis(nearest)->path);
    return nearest.empty()
               ? "unknown axis; the axes are position, train_length, dataset, seed, and the path "
                 "of any key below spec that changes a run, like train.optimizer.lr or "
                 "model.n_layer"
               : Str("unknown axis; did you mean \"", nearest, "\"?");
  }

  // For "evaluate.perplexity.precision" and "perplexity.precision"; "" for other names.
  static std::string WhyNoEvaluationAxis(std::string_view name) {
    constexpr std::string_view kEvaluate = "evaluate.";
    const bool is_below = name.starts_with(kEvaluate);
    if (is_below) name.remove_prefix(kEvaluate.size());
    const std::size_t dot = std::min(name.find('.'), name.size());
    const std::string_view param = dot < name.size() ? name.substr(dot + 1) : "";
    const Result<const Evaluation*> evaluation = FindEvaluation(name.substr(0, dot));
    const bool is_param =
        evaluation.ok() && std::ranges::find((*evaluation)->params, param, &ParamSpec::name) !=
                               (*evaluation)->params.end();
    if (!is_below && !is_param) return "";
    return Str(
        "the parameters of evaluations are not axes: list the evaluation below evaluate "
        "once for each value",
        is_param ? Str(", as in `- ", (*evaluation)->name, ": {..., ", param, ": VALUE}`") : "");
  }

  // The axes whose path ends as `name` does: "lr" and "train.lr" are train.optimizer.lr.
  static std::vector<std::string> AxesOfLastName(std::string_view name) {
    std::vector<std::string> found;
    const std::string_view last = name.substr(name.rfind('.') + 1);
    for (std::string& axis : AxisNames()) {
      if (std::string_view(axis).substr(axis.rfind('.') + 1) == last) {
        found.push_back(std::move(axis));
      }
    }
    return found;
  }

  void ReadAxisValues(const KeyRow& row, const YamlNode& node, const std::string& path,
                      Axis& axis) {
    if (node.kind == Kind::kScalar) return ReadBareAxisValues(row, node, path);
    if (node.kind != Kind::kList || node.items.empty()) {
      return Report(node.place, Str(path, ": expected a list of values, found ",
                                    node.kind == Kind::kList ? "an empty one" : ShowNode(node)));
    }
    std::set<std::string> seen;
    for (std::size_t i = 0; i < node.items.size(); ++i) {
      const std::string item_path = Str(path, "[", i, "]");
      std::optional<AxisValue> value = ReadAxisValue(row, node.items[i], item_path);
      if (!value) continue;
      if (!seen.insert(CanonicalJson(value->value)).second) {
        Report(value->place,
               Str(item_path, ": ", CanonicalJson(value->shown), " is already in the list"));
        continue;
      }
      axis.values.push_back(std::move(*value));
    }
  }

  // `seed: 1` and `position: cable, rope` are errors; if brackets alone would not make them valid,
  // their other errors are reported as well.
  void ReadBareAxisValues(const KeyRow& row, const YamlNode& node, const std::string& path) {
    if (!node.quoted && IsTightDash(node.text)) {
      return Report(node.place, Str(path, ": ", DashSpaceMissing(node.text)));
    }
    if (const std::string values = RangeMeant(row, node); !values.empty()) {
      return Report(node.place, Str(path, ": expected a list of values, found ", ShowNode(node),
                                    "; list each one: write [", values, "]"));
    }
    const std::string list = Str("[", node.text, "]");
    std::vector<Problem> problems;
    const std::optional<YamlNode> meant = ParseYaml(list, node.place.source, problems);
    const bool is_list = meant && problems.empty() && !meant->items.empty();
    const std::size_t n_told = problems_.size();
    for (std::size_t i = 0; is_list && i < meant->items.size(); ++i) {
      YamlNode item = meant->items[i];
      item.place = node.place;
      ReadAxisValue(row, item, Str(path, "[", i, "]"));
    }
    const bool would_do = is_list && problems_.size() == n_told;
    Report(node.place, Str(path, ": expected a list of values, found ", ShowNode(node),
                           would_do ? Str("; write ", list) : ""));
  }

  // "1, 2, 3" for 1-3 and 1..3, if these are values of the axis; else "".
  static std::string RangeMeant(const KeyRow& row, const YamlNode& node) {
    constexpr std::int64_t kShownMax = 5;
    if (!row.is(ParamSpec::Type::kInt) && !row.is(ParamSpec::Type::kCount)) return "";
    if (node.kind != Kind::kScalar || node.quoted) return "";
    const std::size_t end = node.text.find_first_not_of("0123456789");
    const std::size_t next = node.text.find_last_not_of("0123456789") + 1;
    if (end == 0 || end == std::string::npos || next == node.text.size()) return "";
    const std::string_view sign = Trim(std::string_view(node.text).substr(end, next - end));
    if (sign != "-" && sign != ".." && sign != "..." && sign != ":") return "";
    YamlNode limit = node;
    std::vector<std::int64_t> limits;
    for (const std::string& text : {node.text.substr(0, end), node.text.substr(next)}) {
      limit.text = text;
      const Result<Json> value = TypeValue(row, limit);
      if (!value.ok()) return "";
      limits.push_back(value->get<std::int64_t>());
    }
    if (limits[0] >= limits[1]) return "";
    std::vector<std::string> values;
    for (std::int64_t i = limits[0]; i < limits[1] && i < limits[0] + kShownMax; ++i) {
      values.push_back(Str(i));
    }
    if (limits[1] - limits[0] > kShownMax) values.push_back("...");
    values.push_back(Str(limits[1]));
    return Join(values, ", ");
  }

  // What to write for [64 256], if each word is a value of the axis; else "".
  std::string CommaMeant(const KeyRow& row, const YamlNode& node, const std::string& path) {
    if (node.kind != Kind::kScalar || node.quoted || !path.ends_with(']')) return "";
    std::vector<std::string> words = Split(node.text, ' ');
    std::erase(words, "");
    if (words.size() < 2) return "";
    const std::size_t n_told = problems_.size();
    for (const std::string& word : words) {
      YamlNode one = node;
      one.text = word;
      ReadAxisValue(row, one, path);
      if (problems_.size() > n_told) break;
    }
    const bool would_do = problems_.size() == n_told;
    problems_.resize(n_told);
    return would_do ? Str("; a comma is missing: write ", Join(words, ", ")) : "";
  }

  // What to write for `--set seed=4,5`, if each part is a value of the axis; else "".
  std::string AsList(const YamlNode& node, std::string path) {
    const bool is_set = node.place.source != 0 && node.kind == Kind::kScalar;
    if (!is_set || node.text.find(',') == std::string::npos) return "";
    if (path.ends_with(']')) path.resize(path.rfind('['));
    for (const std::string_view prefix : {"spec.matrix.", "spec."}) {
      if (path.starts_with(prefix)) path.erase(0, prefix.size());
    }
    const KeyRow* const row = FindAxis(path);
    const std::string list = Str("[", node.text, "]");
    std::vector<Problem> problems;
    const std::optional<YamlNode> meant = ParseYaml(list, node.place.source, problems);
    if (row == nullptr || !meant || !problems.empty()) return "";
    const std::size_t n_told = problems_.size();
    for (const YamlNode& item : meant->items) ReadAxisValue(*row, item, path);
    const bool would_do = problems_.size() == n_told;
    problems_.resize(n_told);
    return would_do ? Str("; for several values give --set \"", path, "=", list, "\"") : "";
  }

  std::optional<AxisValue> ReadAxisValue(const KeyRow& row, const YamlNode& node,
                                         const std::string& path) {
    if (node.refused) {
      spec_.is_complete = false;
      return std::nullopt;
    }
    if (row.kind == KeyRow::Kind::kPosition) {
      std::string as_list = AsList(node, path);
      if (as_list.empty()) as_list = CommaMeant(row, node, path);
      if (as_list.empty()) return ReadPosition(node, path);
      Report(node.place,
             Str(path, ": expected one position method, found ", ShowNode(node), as_list));
      return std::nullopt;
    }
    if (row.kind == KeyRow::Kind::kInit) return ReadInit(row, node, path);
    if (row.kind == KeyRow::Kind::kSchedule) return ReadPositionsOfAxis(node, path);
    if (row.kind == KeyRow::Kind::kExtension) return ReadExtensionOfAxis(node, path);
    Result<Json> value = TypeValue(row, node);
    if (!value.ok()) {
      const bool is_path = row.refers == KeyRow::Refers::kDataset && node.kind == Kind::kScalar &&
                           node.text.find('/') != std::string::npos;
      const std::string range = RangeMeant(row, node);
      Report(node.place, Str(path, ": ", value.status().message(), AsList(node, path),
                             CommaMeant(row, node, path),
                             range.empty() ? "" : Str("; list each one: write ", range),
                             is_path ? "; `longrun data import NAME` gives a name to texts" : ""));
      return std::nullopt;
    }
    if (!IsKnown(row, *value, node.place, path)) return std::nullopt;
    return AxisValue{.value = *value, .shown = *value, .place = node.place};
  }

  bool FindDataset(const std::string& name, Place place, const std::string& path) {
    if (spec_.datasets.contains(name)) return true;
    std::optional<DatasetInfo> info = datasets_.find(name);
    if (info) {
      spec_.datasets.emplace(name, std::move(*info));
      return true;
    }
    const std::string nearest = Nearest(name, datasets_.names);
    Report(place, Str(path, ": unknown dataset ", Quoted(name), "; ",
                      nearest.empty() ? KnownDatasets() : Str("did you mean \"", nearest, "\"?"),
                      kImportMakes));
    return false;
  }

  static constexpr std::string_view kImportMakes =
      " (`longrun data import` makes one from text files)";

  std::string KnownDatasets() const {
    return datasets_.names.empty()
               ? "none is registered"
               : Str("the registered datasets are ", Join(datasets_.names, ", "));
  }

  // ---- position methods ------------------------------------------------------------------------

  // Of `NAME` and of `{method: NAME, its parameters}`.
  static const YamlNode& NameOfMethod(const YamlNode& node) {
    const YamlNode::Entry* const entry = node.Find("method");
    return entry != nullptr ? entry->value : node;
  }

  // The error for a node that does not name a method, such as `{NAME: its parameters}`.
  template <typename IsMethod>
  void ReportNoMethod(const YamlNode& node, const std::string& path, std::string_view expected,
                      const IsMethod& is_method, std::string_view if_list = "") {
    const bool is_named = !node.entries.empty() && is_method(node.entries[0].key);
    Report(node.place,
           Str(path, ": expected ", expected, ", found ",
               node.kind == Kind::kMap ? "a map without method" : ShowNode(node),
               is_named ? Str("; write `{method: ", node.entries[0].key, ", ...}`") : "",
               node.kind == Kind::kList ? if_list : ""));
  }

  // What a name is that stands under the wrong key, and where it belongs; "" for any other.
  static std::string ElsewhereText(const std::string& name) {
    if (FindPositionSchedule(name) != nullptr) {
      return Str("a way to number the tokens in training: write `train.positions: {method: ", name,
                 ", ...}`");
    }
    if (FindExtension(name).ok()) return Str("an extension: write `extend: [", name, "]`");
    if (FindPositionMethod(name).ok()) {
      return Str("a position method: write `position: ", name, "`");
    }
    return "";
  }

  // {"method": .., given parameters}, checked.
  std::optional<Json> ReadMethod(const YamlNode& node, const std::string& path) {
    const YamlNode& name = NameOfMethod(node);
    if (name.kind != Kind::kScalar) {
      ReportNoMethod(node, path, "the name of a position method, or {method: NAME, its parameters}",
                     [](const std::string& key) { return FindPositionMethod(key).ok(); });
      return std::nullopt;
    }
    const Result<const PositionMethod*> method = FindPositionMethod(name.text);
    const std::string before_params = name.text.substr(0, name.text.find('('));  // as tables write
    if (!method.ok() && FindPositionMethod(before_params).ok()) {
      Report(name.place, Str(path, ": ", Quoted(name.text),
                             " is not how a sweep file gives parameters; write {method: ",
                             before_params, ", PARAMETER: VALUE}"));
      return std::nullopt;
    }
    if (!method.ok()) {
      const std::string elsewhere = ElsewhereText(name.text);
      Report(
          name.place,
          !elsewhere.empty()
              ? Str(path, ": ", name.text, " is not a position method but ", elsewhere,
                    ", and here a position method",
                    FindPositionSchedule(name.text) != nullptr ? " that rotates, such as rope" : "")
          : IsUnbuiltMethod(name.text)
              ? Str(path, ": position method \"", name.text, "\" is ", kNotBuiltYet,
                    "; expected one of ", Join(PositionMethodNames(), ", "))
          : FindForeignMethod(name.text) != nullptr
              ? Str(path, ": position method ", Quoted(name.text), " is called \"",
                    FindForeignMethod(name.text)->ours, "\" here")
              : Str(path, ": unknown position method ", Quoted(name.text),
                    DidYouMean(name.text, PositionMethodNames())));
      return std::nullopt;
    }
    std::optional<Json> given = ReadParams((*method)->params, node, path, {"method"});
    if (given) (*given)["method"] = name.text;
    return given;
  }

  // ---- position schedules ----------------------------------------------------------------------

  // "plain", or {"method": .., given parameters}, checked as far as no train_length is needed.
  std::optional<Json> ReadSchedule(const YamlNode& node, const std::string& path) {
    const YamlNode& name = NameOfMethod(node);
    if (name.kind != Kind::kScalar) {
      ReportNoMethod(
          node, path, ExpectedValue(*FindKey("spec.train.positions")),
          [](const std::string& key) { return FindPositionSchedule(key) != nullptr; },
          "; several values go into spec.matrix, as train.positions: [...]");
      return std::nullopt;
    }
    if (name.text == kPlainPositions) {
      if (node.entries.size() > 1) {
        Report(node.place, Str(path, ": \"plain\" has no parameters: write only \"plain\""));
        return std::nullopt;
      }
      return Json(kPlainPositions);
    }
    const PositionSchedule* const schedule = FindPositionSchedule(name.text);
    if (schedule == nullptr) {
      const std::string elsewhere = ElsewhereText(name.text);
      Report(name.place,
             !elsewhere.empty()
                 ? Str(path, ": ", name.text, " is not a position schedule but ", elsewhere)
                 : Str(path, ": unknown position schedule ", Quoted(name.text),
                       DidYouMean(name.text, PositionScheduleNames())));
      return std::nullopt;
    }
    std::optional<Json> given = ReadParams(schedule->params, node, path, {"method"});
    if (given) (*given)["method"] = name.text;
    return given;
  }

  // An entry of spec.exclude may be only the name.
  std::optional<Json> ReadExcludedMethod(const KeyRow& row, const YamlNode& node,
                                         const std::string& path) {
    const bool is_schedule = row.kind == KeyRow::Kind::kSchedule;
    const bool is_name =
        node.kind == Kind::kScalar &&
        (is_schedule ? FindPositionSchedule(node.text) != nullptr : FindExtension(node.text).ok());
    if (is_name) return Json{{"method", node.text}};
    if (is_schedule) return ReadSchedule(node, path);
    const std::optional<AxisValue> value = ReadExtensionOfAxis(node, path);
    return value ? std::optional(value->value) : std::nullopt;
  }

  // A key that one word or {method: NAME, its parameters} gives, and that may also be an axis.
  void ReadMethodOfTraining(const KeyRow& row, const YamlNode& node, const std::string& path,
                            Json& out) {
    const std::optional<AxisValue> value = row.kind == KeyRow::Kind::kSchedule
                                               ? ReadPositionsOfAxis(node, path)
                                               : ReadExtensionOfAxis(node, path);
    if (!value) {
      out = row.spec.default_value;
      spec_.broken.insert(path);
      return;
    }
    out = value->value;
    for (const YamlNode::Entry& param : node.entries) {
      spec_.places[Str(path, ".", param.key)] = param.value.place;
    }
  }

  std::optional<AxisValue> ReadPositionsOfAxis(const YamlNode& node, const std::string& path) {
    const std::optional<Json> given = ReadSchedule(node, path);
    if (!given) return std::nullopt;
    // The defaults that depend on train_length are for the runs.
    return AxisValue{.value = given->is_object() ? *ResolvePositionSchedule(*given, 0) : *given,
                     .shown = *given,
                     .place = node.place};
  }

  std::optional<AxisValue> ReadExtensionOfAxis(const YamlNode& node, const std::string& path) {
    const std::optional<Json> given = ReadExtension(node, path);
    if (!given) return std::nullopt;
    const Json shown = given->is_null()     ? Json(kNoExtension)
                       : given->size() == 1 ? given->at("method")
                                            : *given;
    return AxisValue{
        .value = given->is_null() ? shown : *given, .shown = shown, .place = node.place};
  }

  std::optional<AxisValue> ReadPosition(const YamlNode& node, const std::string& path) {
    const std::optional<Json> given = ReadMethod(node, path);
    if (!given) return std::nullopt;
    const Result<PositionConfig> position = ResolvePosition(*given);
    if (!position.ok()) {
      Report(node.place, Str(path, ": ", position.status().message()));
      return std::nullopt;
    }
    return AxisValue{.value = position->ToJson(),
                     .shown = given->size() == 1 ? (*given)["method"] : *given,
                     .place = node.place};
  }

  // The parameters given in a map (without the keys `apart`), checked against their table.
  std::optional<Json> ReadParams(std::span<const ParamSpec> specs, const YamlNode& node,
                                 const std::string& path,
                                 std::initializer_list<std::string_view> apart) {
    std::vector<std::string> names(apart.begin(), apart.end());
    std::erase(names, "");
    const auto is_apart = [apart](std::string_view name) {
      return !name.empty() && std::ranges::find(apart, name) != apart.end();
    };
    for (const ParamSpec& spec : specs) names.emplace_back(spec.name);
    Json given = Json::object();
    bool is_wrong = false;
    for (const YamlNode::Entry& entry : node.entries) {
      if (is_apart(entry.key)) continue;
      const auto spec = std::ranges::find(specs, entry.key, &ParamSpec::name);
      const std::string rest = spec == specs.end() ? RestOfValue(node, entry) : "";
      if (spec != specs.end()) {
        given[entry.key] = TypeParam(*spec, entry.value);
      } else if (!rest.empty()) {
        Report(entry.place, Str(path, ".", entry.key, ": unknown key", rest));
        is_wrong = true;
      } else if (is_apart(Nearest(entry.key, names))) {
        Report(entry.place,
               Str(path, ".", entry.key, ": unknown key", DidYouMean(entry.key, names)));
        is_wrong = true;
      } else {
        given[entry.key] = Json();
      }
    }
    const std::vector<ParamError> errors = CheckParams(specs, given);
    for (const ParamError& error : errors) {
      const YamlNode::Entry* const wrong = node.Find(error.key);
      if (wrong != nullptr && wrong->value.refused) continue;
      Report(PlaceOfParam(specs, node, error.key),
             Str(path, ".", error.key, ": ", error.message,
                 CommaMeant(specs, node, error.key, given), TextMeant(specs, wrong)));
    }
    if (is_wrong || !errors.empty()) return std::nullopt;
    return given;
  }

  // What to write for `where: {seed: 1, train_length: 64}`, if it is a text that is meant; else "".
  static std::string TextMeant(std::span<const ParamSpec> specs, const YamlNode::Entry* entry) {
    if (entry == nullptr) return "";
    const auto spec = std::ranges::find(specs, entry->key, &ParamSpec::name);
    if (spec == specs.end() || spec->type != ParamSpec::Type::kText) return "";
    std::vector<std::string> parts;
    for (const YamlNode::Entry& one : entry->value.entries) {
      if (one.value.kind == Kind::kScalar) parts.push_back(Str(one.key, "=", one.value.text));
    }
    for (const YamlNode& item : entry->value.items) {
      if (item.kind == Kind::kScalar) parts.push_back(item.text);
    }
    const bool is_all = parts.size() == entry->value.entries.size() + entry->value.items.size();
    return parts.empty() || !is_all ? ""
                                    : Str("; write `", entry->key, ": \"", Join(parts, ","), "\"`");
  }

  // The same for a parameter: for "64, 256" and "64 256", and for an entry "context_lengths[0]" of
  // [64 256].
  static std::string CommaMeant(std::span<const ParamSpec> specs, const YamlNode& node,
                                const std::string& key, Json given) {
    const std::string name = key.substr(0, key.find('['));
    const YamlNode::Entry* const entry = node.Find(name);
    const auto spec = std::ranges::find(specs, name, &ParamSpec::name);
    if (entry == nullptr || spec == specs.end()) return "";
    const bool is_item = key.size() > name.size() && entry->value.kind == Kind::kList;
    const YamlNode& item =
        is_item ? entry->value.items.at(std::stoul(key.substr(name.size() + 1))) : entry->value;
    if (item.kind != Kind::kScalar || item.quoted) return "";
    std::string text = item.text;
    if (!is_item) std::ranges::replace(text, ',', ' ');
    std::vector<std::string> words = Split(text, ' ');
    std::erase(words, "");
    if (words.size() < 2) return "";
    YamlNode list;
    list.kind = Kind::kList;
    for (const std::string& word : words) {
      list.items.push_back(item);
      list.items.back().text = word;
    }
    given[name] = TypeParam(*spec, list);
    const auto is_wrong = [&name](const ParamError& error) { return error.key.starts_with(name); };
    if (std::ranges::any_of(CheckParams(specs, given), is_wrong)) return "";
    const std::string values = Join(words, ", ");
    return is_item ? Str("; a comma is missing: write ", values) : Str("; write [", values, "]");
  }

  // The place of a parameter in a map: for "context_lengths[2]", of the item;
  // for an unknown key, of the key.
  static Place PlaceOfParam(std::span<const ParamSpec> specs, const YamlNode& node,
                            const std::string& key) {
    const std::string name = key.substr(0, key.find('['));
    const YamlNode::Entry* const entry = node.Find(name);
    if (entry == nullptr) return node.place;
    if (std::ranges::find(specs, name, &ParamSpec::name) == specs.end()) return entry->place;
    if (key.size() == name.size() || entry->value.kind != Kind::kList) return entry->value.place;
    return entry->value.items.at(std::stoul(key.substr(name.size() + 1))).place;
  }

  // ---- stages ----------------------------------------------------------------------------------

  // Adds the axis of the stages, the last of the matrix.
  void ReadStages(const YamlNode& root) {
    constexpr std::string_view kPath = "spec.stages";
    const YamlNode::Entry* const spec = root.Find("spec");
    const YamlNode::Entry* const entry = spec != nullptr ? spec->value.Find("stages") : nullptr;
    if (entry == nullptr) return;
    const YamlNode& node = entry->value;
    if (node.kind != Kind::kList || node.items.empty()) {
      spec_.is_complete = false;
      return Report(node.place,
                    Str(kPath, ": expected ", ExpectedValue(*FindKey(kPath)), ", found ",
                        node.kind == Kind::kList ? "an empty one" : ShowNode(node)));
    }
    if (!spec_.trains) {
      spec_.is_complete = false;
      return Report(entry->place,
                    Str(kPath,
                        ": the stages start from a trained base, but here the base is not trained "
                        "(train: none)"));
    }
    Axis axis = {.name = std::string(kStageAxis), .given = true, .values = {}};
    axis.values.push_back({.value = kBaseStage, .shown = kBaseStage, .place = node.place});
    for (std::size_t i = 0; i < node.items.size(); ++i) {
      std::optional<StageSpec> stage = ReadStage(node.items[i], Str(kPath, "[", i, "]"), i);
      if (!stage) {
        spec_.is_complete = false;
        continue;
      }
      axis.values.push_back({.value = stage->name, .shown = stage->name, .place = stage->place});
      spec_.stages.push_back(std::move(*stage));
    }
    spec_.axes.push_back(std::move(axis));
  }

  // Nullopt after a report, if the stage has no name of its own.
  std::optional<StageSpec> ReadStage(const YamlNode& node, const std::string& path,
                                     std::size_t index) {
    const YamlNode::Entry* const name = node.Find("name");
    if (name == nullptr) {
      Report(node.place, Str(path, ".name: must be given: the stage's name on the axis `stage`"));
      return std::nullopt;
    }
    const Result<Json> given = TypeValue(ParamSpec{.type = ParamSpec::Type::kName}, name->value);
    const std::string why = given.ok() ? WhyNoStageName(*given) : given.status().message();
    if (!why.empty()) {
      Report(name->value.place, Str(path, ".name: ", why));
      return std::nullopt;
    }
    StageSpec stage = {.name = *given, .place = name->value.place, .index = index};
    for (const YamlNode::Entry& entry : node.entries) {
      const std::string below = Str(path, ".", entry.key);
      if (entry.key == "name") continue;
      if (entry.key == "train") {
        ReadStageTraining(entry.value, below, "train", stage);
      } else if (entry.key == kExtendKey) {
        stage.extensions = ReadExtensions(entry.value, below);
      } else if (std::ranges::find(kStageAxes, entry.key) == std::end(kStageAxes)) {
        Report(entry.place, Str(below, ": ", WhyNotInStage(entry.key)));
      } else if (auto value = ReadAxisValue(*FindAxis(entry.key), entry.value, below)) {
        stage.places[entry.key] = value->place;
        stage.settings[entry.key] = std::move(*value);
      } else {
        spec_.is_complete = false;
      }
    }
    const std::size_t n_named = stage.extensions ? 2 : 1;
    if (stage.settings.empty() && node.entries.size() == n_named) {
      Report(node.place, Str(path,
                             ": has no settings, so it would only repeat the training of its "
                             "base; give at least train.tokens"));
    }
    return stage;
  }

  std::string WhyNoStageName(const std::string& name) const {
    if (name == kBaseStage) {
      return Str("\"", name,
                 "\" is the name of the runs from which the stages start; choose another");
    }
    const bool is_taken =
        std::ranges::find(spec_.stages, name, &StageSpec::name) != spec_.stages.end();
    return is_taken ? Str("another stage is called \"", name, "\"; choose another name") : "";
  }

  static std::string WhyNotInStage(const std::string& key) {
    for (const std::string_view kept : {"model", "position", "seed"}) {
      if (key == kept)
        return Str("a stage keeps the model, the position method and the seed of its base");
    }
    if (FindKey(Str("spec.", key)) != nullptr) {
      return "all stages share it: give it below spec";
    }
    const std::vector<std::string> meant = PathsOfName(key, "spec.train");
    if (meant.size() == 1) {
      return Str("unknown key; did you mean ", meant[0].substr(std::string_view("spec.").size()),
                 "?");
    }
    std::vector<std::string> names = {"name", "train", kExtendKey};
    names.insert(names.end(), std::begin(kStageAxes), std::end(kStageAxes));
    return Str("unknown key", DidYouMean(key, names));
  }

  // Reads the keys below `key` ("train.optimizer") of which a stage gives some.
  void ReadStageTraining(const YamlNode& node, const std::string& path, const std::string& key,
                         StageSpec& stage) {
    if (node.kind != Kind::kMap) {
      spec_.is_complete = false;
      return Report(
          node.place,
          Str(path,
              ": expected a map of the keys whose values differ from those in "
              "spec.",
              key, ", found ", ShowNode(node), IsNone(node) ? ": a stage always trains" : ""));
    }
    for (const YamlNode::Entry& entry : node.entries) {
      const std::string below = Str(path, ".", entry.key);
      const std::string name = Str(key, ".", entry.key);
      const bool dotted = entry.key.find('.') != std::string::npos;
      const KeyRow* const row = dotted ? nullptr : FindKey(Str("spec.", name));
      const std::string why =
          row == nullptr ? Str("unknown key", DidYouMean(entry.key, NamesBelow(Str("spec.", key))))
                         : WhyNotOfStage(*row);
      if (!why.empty()) {
        Report(entry.place, Str(below, ": ", why));
      } else if (row->kind == KeyRow::Kind::kMap) {
        ReadStageTraining(entry.value, below, name, stage);
      } else if (auto value = ReadAxisValue(*row, entry.value, below)) {
        const std::string wrong = row->check != nullptr ? row->check(value->value) : "";
        if (!wrong.empty()) Report(entry.value.place, Str(below, ": ", wrong));
        stage.places[name] = value->place;
        stage.settings[name] = std::move(*value);
        for (const YamlNode::Entry& param : entry.value.entries) {
          stage.places[Str(name, ".", param.key)] = param.value.place;
        }
      } else {
        spec_.is_complete = false;
      }
    }
  }

  // ---- exclude and include ---------------------------------------------------------------------

  void ReadPoints(const YamlNode::Entry* entry, const std::string& path, bool exclude) {
    if (entry == nullptr) return;
    if (entry->value.kind != Kind::kList) {
      return Report(entry->value.place, Str(path, ": expected a list of maps from axis to value, ",
                                            "found ", ShowNode(entry->value)));
    }
    if (exclude && entry->value.items.size() > kExcludesMax) {
      return Report(entry->value.place,
                    Str(path, ": ", entry->value.items.size(), " entries; at most ", kExcludesMax));
    }
    for (std::size_t i = 0; i < entry->value.items.size(); ++i) {
      const YamlNode& item = entry->value.items[i];
      const std::string item_path = Str(path, "[", i, "]");
      if (item.kind != Kind::kMap || item.entries.empty()) {
        Report(item.place, Str(item_path, ": expected a map from axis to value, found ",
                               item.kind == Kind::kMap ? "an empty one" : ShowNode(item)));
      } else if (exclude) {
        ReadExclude(item, item_path);
      } else {
        ReadInclude(item, item_path);
      }
    }
  }

  std::vector<std::string> NamesOfAxes() const {
    std::vector<std::string> names;
    for (const Axis& axis : spec_.axes) names.push_back(axis.name);
    return names;
  }

  // The index of an axis of this matrix, or nullopt after a report.
  std::optional<std::size_t> FindOwnAxis(const YamlNode::Entry& entry, const std::string& path) {
    const std::vector<std::string> names = NamesOfAxes();
    const auto name = std::ranges::find(names, entry.key);
    if (name != names.end()) return static_cast<std::size_t>(name - names.begin());
    Report(entry.place,
           Str(path, ".", entry.key, ": not an axis of this matrix", DidYouMean(entry.key, names)));
    return std::nullopt;
  }

  // A value that the axis does not have leaves nothing out, so it is a slip.
  void CheckExcluded(const Axis& axis, const Json& wanted, const YamlNode::Entry& entry,
                     const std::string& path) {
    if (!is_matrix_read_) return;
    const auto known = excludable_.find(axis.name);
    const ExcludableValues& excludable = known != excludable_.end()
                                             ? known->second
                                             : excludable_.emplace(axis.name, axis).first->second;
    if (excludable.Has(wanted)) return;
    std::vector<std::string> values;
    for (const AxisValue& one : axis.values) {
      if (values.size() == kValuesShownMax) {
        values.push_back(Str("and ", axis.values.size() - kValuesShownMax, " more"));
        break;
      }
      values.push_back(one.shown.is_string() ? one.shown.get<std::string>()
                                             : CanonicalJson(one.shown));
    }
    Report(entry.value.place,
           Str(path, ": ",
               entry.value.kind == YamlNode::Kind::kMap ? "this map" : ShowNode(entry.value),
               " excludes nothing, since the matrix has only these values of ", axis.name, ": ",
               Join(values, ", ")));
  }

  void ReadExclude(const YamlNode& node, const std::string& path) {
    PointPattern pattern;
    for (const YamlNode::Entry& entry : node.entries) {
      const std::optional<std::size_t> index = FindOwnAxis(entry, path);
      if (!index) return;
      const KeyRow& row = *FindAxis(entry.key);
      const std::string entry_path = Str(path, ".", entry.key);
      if (row.kind == KeyRow::Kind::kPosition) {
        std::optional<Json> given = ReadMethod(entry.value, entry_path);
        if (!given) return;
        pattern[*index] = std::move(*given);
      } else if (row.kind == KeyRow::Kind::kSchedule || row.kind == KeyRow::Kind::kExtension) {
        std::optional<Json> given = ReadExcludedMethod(row, entry.value, entry_path);
        if (!given) return;
        pattern[*index] = std::move(*given);
      } else {
        std::optional<AxisValue> value = ReadAxisValue(row, entry.value, entry_path);
        if (!value) return;
        pattern[*index] = std::move(value->value);
      }
      CheckExcluded(spec_.axes[*index], pattern.at(*index), entry, entry_path);
      if (entry.key == kStageAxis && pattern.at(*index) == kBaseStage) {
        Report(entry.value.place,
               Str(entry_path,
                   ": the other stages start from the base; to leave out a point with "
                   "all its stages, leave out `",
                   kStageAxis, "`"));
        return;
      }
    }
    spec_.exclude.push_back(std::move(pattern));
  }

  void ReadInclude(const YamlNode& node, const std::string& path) {
    std::vector<std::optional<AxisValue>> point(spec_.axes.size());
    for (const YamlNode::Entry& entry : node.entries) {
      const std::optional<std::size_t> index = FindOwnAxis(entry, path);
      if (!index) return;
      if (entry.key == kStageAxis) {
        return Report(entry.place,
                      Str(path, ".", kStageAxis,
                          ": a point is included with all its stages; leave this out"));
      }
      point[*index] = ReadAxisValue(*FindAxis(entry.key), entry.value, Str(path, ".", entry.key));
      if (!point[*index]) return;
    }
    std::vector<AxisValue> values;
    for (std::size_t i = 0; i < point.size(); ++i) {
      const Axis& axis = spec_.axes[i];
      if (point[i]) {
        values.push_back(std::move(*point[i]));
      } else if (!axis.given || axis.name == kStageAxis) {
        values.push_back(axis.values[0]);
      } else {
        Report(node.place,
               Str(path, ".", axis.name, ": must be given: a point needs a value for every axis"));
        return;
      }
    }
    spec_.include.push_back(values);
    for (std::size_t stage = 1; stage <= spec_.stages.size(); ++stage) {
      values.back() = spec_.axes.back().values[stage];
      spec_.include.push_back(values);
    }
  }

  // ---- evaluations -----------------------------------------------------------------------------

  // Whether it is a list of maps with one key each; `key` says of what the key is: "the name of an
  // evaluation".
  bool ExpectListOfMaps(const YamlNode& node, const std::string& path, std::string_view key) {
    const std::string expected = Str("a list of maps with one key, ", key);
    if (node.kind == Kind::kMap && !node.entries.empty()) {
      spec_.is_complete = false;
      Report(node.place, Str(path, ": expected ", expected, ", found a map: write \"- ",
                             node.entries[0].key, ": ...\""));
      return false;
    }
    return ExpectKind(node, Kind::kList, path, expected);
  }

  // The only entry of such a map; null after a report.
  const YamlNode::Entry* ExpectOneKey(const YamlNode& node, const std::string& path,
                                      std::string_view key) {
    if (node.kind == Kind::kMap && node.entries.size() == 1) return &node.entries[0];
    if (node.refused) return nullptr;
    // `- perplexity:` with its parameters beside it, not indented below it.
    const bool is_flat = node.kind == Kind::kMap && !node.entries.empty() &&
                         node.entries[0].value.kind == Kind::kNothing;
    const bool is_word = key == kEvaluationName && FindEvaluation(node.text).ok();
    Report(node.place,
           Str(path, ": expected a map with one key, ", key, ", found ",
               node.kind == Kind::kMap ? Str("a map with ", node.entries.size(), " keys")
                                       : ShowNode(node),
               is_flat   ? Str(": indent its parameters below \"", node.entries[0].key, ":\"")
               : is_word ? Str("; write ", node.text, ": {...}, with its parameters")
                         : ""));
    return nullptr;
  }

  void ReadEvaluations(const YamlNode& node, const std::string& path) {
    if (!ExpectListOfMaps(node, path, kEvaluationName)) return;
    for (std::size_t i = 0; i < node.items.size(); ++i) {
      ReadEvaluation(node.items[i], Str(path, "[", i, "]"), i);
    }
  }

  void ReadEvaluation(const YamlNode& node, const std::string& path, std::size_t index) {
    const YamlNode::Entry* const only = ExpectOneKey(node, path, kEvaluationName);
    if (only == nullptr) return;
    const YamlNode::Entry& entry = *only;
    const std::string below = Str(path, ".", entry.key);
    const Result<const Evaluation*> evaluation = FindEvaluation(entry.key);
    if (!evaluation.ok()) {
      return Report(entry.place, IsUnbuiltEvaluation(entry.key)
                                     ? Str(below, ": ", kNotBuiltYet, ": remove it, or use one of ",
                                           Join(EvaluationNames(), ", "))
                                     : Str(below, ": unknown evaluation",
                                           DidYouMean(entry.key, EvaluationNames())));
    }
    if (entry.value.kind != Kind::kMap) {
      return Report(entry.value.place,
                    Str(below, ": expected a map of parameters, found ", ShowNode(entry.value)));
    }
    const std::span<const ParamSpec> specs = (*evaluation)->params;
    const bool names_split = HasSplitParam(**evaluation);
    const std::optional<Json> given =
        ReadParams(specs, entry.value, below,
                   {EvaluatedDatasetKey().path, names_split ? TrainOverlapKey().path : ""});
    if (!given) return;
    Result<Json> params = ResolveParams(specs, *given, below);
    if (!params.ok()) return Report(entry.place, params.status().message());
    const std::optional<std::string> dataset =
        ReadEvaluatedDataset(**evaluation, entry, below, *params);
    if (!dataset) return;
    const bool allows_overlap = names_split && AllowsTrainOverlap(entry, below);
    // Of another dataset, split train is not what the models were trained on: expand.cc knows.
    if (names_split && dataset->empty() && !allows_overlap) {
      CheckTrainOverlap(entry, below, *params);
    }
    if (!CheckFiles(**evaluation, entry, below, *params)) return;
    EvaluationSpec spec = {.evaluation = *evaluation,
                           .params = std::move(params).value(),
                           .place = entry.place,
                           .param_places = {},
                           .index = index,
                           .dataset = *dataset,
                           .allows_train_overlap = allows_overlap};
    for (const YamlNode::Entry& param : entry.value.entries) {
      spec.param_places[param.key] = param.value.place;
    }
    Json& lengths = spec.params["context_lengths"];
    std::sort(lengths.begin(), lengths.end());
    spec_.evaluations.push_back(std::move(spec));
  }

  // The client that submits a sweep replaces the paths of files by their content (named_files.h).
  bool CheckFiles(const Evaluation& evaluation, const YamlNode::Entry& entry,
                  const std::string& below, const Json& params) {
    bool all_ok = true;
    for (const std::string& name : FileParamsIn(evaluation, params)) {
      const auto given = params.at(name).get<std::string>();
      if (IsInputFileId(given)) continue;
      Report(entry.value.Find(name)->value.place,
             Str(below, ".", name, ": no files are read here: expected sha256:HEX, found ", given));
      all_ok = false;
    }
    return all_ok;
  }

  // The name of the dataset that the evaluation reads; "": the run's own; nullopt: reported.
  std::optional<std::string> ReadEvaluatedDataset(const Evaluation& evaluation,
                                                  const YamlNode::Entry& entry,
                                                  const std::string& below, const Json& params) {
    const KeyRow& row = EvaluatedDatasetKey();
    const YamlNode::Entry* const given = entry.value.Find(row.path);
    if (given == nullptr) return "";
    const std::string path = Str(below, ".", row.path);
    const Place place = given->value.place;
    if (!params.contains("split")) {
      const auto split = std::ranges::find(evaluation.params, "split", &ParamSpec::name);
      const bool may_read = split != evaluation.params.end() && split->only_with;
      Report(given->place, Str(path, ": ", evaluation.name, " reads no text of a dataset",
                               may_read ? Str(" unless its ", split->only_with->name, " is ",
                                              Join(split->only_with->values, " or "))
                                        : "",
                               ": remove this key"));
      return std::nullopt;
    }
    const Result<Json> value = TypeValue(row, given->value);
    if (!value.ok()) {
      Report(place, Str(path, ": ", value.status().message()));
      return std::nullopt;
    }
    if (!IsKnown(row, *value, place, path)) return std::nullopt;
    return value->get<std::string>();
  }

  bool AllowsTrainOverlap(const YamlNode::Entry& entry, const std::string& below) {
    const KeyRow& row = TrainOverlapKey();
    const YamlNode::Entry* const given = entry.value.Find(row.path);
    if (given == nullptr) return false;
    const Result<Json> value = TypeValue(row, given->value);
    if (value.ok()) return value->get<bool>();
    Report(given->value.place, Str(below, ".", row.path, ": ", value.status().message()));
    return true;  // it has its error
  }

  // A model must not be measured on its training data unless the file allows that explicitly.
  void CheckTrainOverlap(const YamlNode::Entry& entry, const std::string& below,
                         const Json& params) {
    if (params.value("split", "") != "train") return;
    const YamlNode::Entry* const split = entry.value.Find("split");
    Report(split != nullptr ? split->value.place : entry.place,
           Str(below, ".split: ", TrainOverlapError()));
  }

  // ---- extensions ------------------------------------------------------------------------------

  // Empty, and the sweep incomplete, if there is no right entry.
  std::vector<ExtensionSpec> ReadExtensions(const YamlNode& node, const std::string& path) {
    std::vector<ExtensionSpec> extensions;
    if (node.kind != Kind::kList || node.items.empty()) {
      spec_.is_complete = false;
      const bool is_one = node.kind == Kind::kScalar &&
                          (node.text == kNoExtension || FindExtension(node.text).ok());
      Report(node.place, Str(path, ": expected ", ExpectedValue(*FindKey(Str("spec.", kExtendKey))),
                             ", found ", node.kind == Kind::kList ? "an empty one" : ShowNode(node),
                             is_one ? Str("; write [", node.text, "]") : ""));
      return extensions;
    }
    std::set<std::string> seen;
    for (std::size_t i = 0; i < node.items.size(); ++i) {
      const YamlNode& item = node.items[i];
      const std::string item_path = Str(path, "[", i, "]");
      std::optional<Json> given = ReadExtension(item, item_path);
      if (!given) continue;
      if (!seen.insert(CanonicalJson(*given)).second) {
        Report(item.place, Str(item_path, ": ", ShowNode(item), " is already in the list"));
        continue;
      }
      ExtensionSpec extension = {
          .given = std::move(*given), .path = item_path, .place = item.place, .param_places = {}};
      for (const YamlNode::Entry& param : item.entries) {
        extension.param_places[param.key] = param.value.place;
      }
      extensions.push_back(std::move(extension));
    }
    if (extensions.empty()) spec_.is_complete = false;
    return extensions;
  }

  // {"method": .., given parameters}, checked as far as no model is needed; null: none.
  std::optional<Json> ReadExtension(const YamlNode& node, const std::string& path) {
    const YamlNode& name = NameOfMethod(node);
    if (name.kind != Kind::kScalar) {
      ReportNoMethod(node, path,
                     "none, the name of an extension, or {method: NAME, its parameters}",
                     [](const std::string& key) { return FindExtension(key).ok(); });
      return std::nullopt;
    }
    if (name.text == kNoExtension) {
      if (node.entries.size() > 1) {
        Report(node.place, Str(path, ": \"none\" has no parameters: write only \"none\""));
        return std::nullopt;
      }
      return Json();
    }
    const Result<const Extension*> extension = FindExtension(name.text);
    if (!extension.ok()) {
      std::vector<std::string> names = ExtensionNames();
      names.emplace(names.begin(), kNoExtension);
      const std::string elsewhere = ElsewhereText(name.text);
      Report(name.place, !elsewhere.empty()
                             ? Str(path, ": ", name.text, " is not an extension but ", elsewhere)
                             : Str(path, ": unknown extension ", Quoted(name.text),
                                   DidYouMean(name.text, names)));
      return std::nullopt;
    }
    std::optional<Json> given = ReadParams((*extension)->params, node, path, {"method"});
    if (given) (*given)["method"] = name.text;
    return given;
  }

  // ---- claims ----------------------------------------------------------------------------------

  std::vector<PlacedClaim> ReadClaims(const YamlNode& node, const std::string& path) {
    std::vector<PlacedClaim> claims;
    if (!ExpectListOfMaps(node, path, kClaimKind)) return claims;
    for (std::size_t i = 0; i < node.items.size(); ++i) {
      const std::string item_path = Str(path, "[", i, "]");
      const YamlNode::Entry* const entry = ExpectOneKey(node.items[i], item_path, kClaimKind);
      if (entry == nullptr) continue;
      if (auto claim = ReadClaim(*entry, Str(item_path, ".", entry->key))) {
        claims.push_back(std::move(*claim));
      }
    }
    return claims;
  }

  std::optional<PlacedClaim> ReadClaim(const YamlNode::Entry& entry, const std::string& path) {
    const ClaimKind* const kind = FindClaimKind(entry.key);
    if (kind == nullptr) {
      Report(entry.place,
             Str(path, ": unknown kind of claim", DidYouMean(entry.key, ClaimKindNames())));
      return std::nullopt;
    }
    if (!ExpectKind(entry.value, Kind::kMap, path, "a map of parameters")) return std::nullopt;
    const std::optional<Json> given = ReadParams(kind->params, entry.value, path, {});
    if (!given) return std::nullopt;
    Result<Json> params = ResolveParams(kind->params, *given, path);
    const std::string why =
        params.ok() ? WhyWrongTogether(*kind, *params) : std::string(params.status().message());
    if (!why.empty()) {
      Report(entry.place, params.ok() ? Str(path, ": ", why) : why);
      return std::nullopt;
    }
    return PlacedClaim{.claim = {.kind = entry.key,
                                 .params = std::move(params).value(),
                                 .line = entry.place.source == 0 ? entry.place.line : 0,
                                 .column = entry.place.source == 0 ? entry.place.column : 0},
                       .path = path,
                       .params = &entry.value};
  }

  void CheckClaim(const PlacedClaim& claim) {
    for (const ClaimProblem& problem : ProblemsOf(claim.claim, spec_)) {
      const YamlNode::Entry* const given = claim.params->Find(problem.key);
      Report(given != nullptr ? given->value.place : claim.params->place,
             Str(claim.path, ".", problem.key, ": ", problem.message));
    }
  }

  // ----------------------------------------------------------------------------------------------

  void CheckGivenTwice() {
    for (const Axis& axis : spec_.axes) {
      const std::string path = Str("spec.", axis.name);
      const auto place = spec_.places.find(path);
      if (place == spec_.places.end()) continue;
      Report(place->second, Str(path,
                                ": this key is also an axis of the matrix; give it in only "
                                "one of the two places"));
    }
  }

  const DatasetCatalogue& datasets_;
  std::vector<Problem>& problems_;
  SweepSpec spec_;
  std::vector<PlacedClaim> claims_;
  std::vector<Missing> missing_;
  bool has_init_ = false;
  std::map<std::string, ExcludableValues> excludable_;          // by axis
  bool is_matrix_read_ = false, are_evaluations_read_ = false;  // without a mistake
};

}  // namespace

std::vector<Claim> ReadClaims(const YamlNode& root, std::vector<Problem>& problems) {
  return Reader(DatasetCatalogue(), problems).ReadClaimsOf(root);
}

SweepSpec ReadSweep(const YamlNode& root, const DatasetCatalogue& datasets,
                    std::vector<Problem>& problems) {
  SweepSpec spec = Reader(datasets, problems).Read(root);
  spec.find_run = datasets.find_run;
  return spec;
}

}  // namespace longrun
