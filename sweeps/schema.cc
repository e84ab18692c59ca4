// The table of keys: the settings of a recipe, declared in model/fields.h,
// and the sweep's own keys.
#include "sweeps/schema.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/check.h"
#include "base/letter_case.h"
#include "base/random.h"
#include "base/str.h"
#include "model/config.h"
#include "model/evaluation/evaluation.h"
#include "model/fields.h"
#include "model/position_schedule/schedule.h"
#include "model/train_fields.h"
#include "sweeps/sweep.h"

namespace longrun {
namespace {

using Type = ParamSpec::Type;
using Kind = KeyRow::Kind;

// Rows for the settings of a recipe (model/fields.h), with paths below `prefix`.
class SettingRows {
 public:
  SettingRows(std::string prefix, bool in_matrix)
      : prefix_(std::move(prefix)), in_matrix_(in_matrix) {}

  template <typename T>
  void operator()(const T& member, const ParamSpec& spec, const SettingUse& use = {}) {
    ParamSpec complete = spec;
    complete.choices = ChoicesOf<T>(spec);
    Add(member, TypeOf<T>(spec), complete, use);
  }
  void operator()(double first, double second, const ParamSpec& spec, const SettingUse& use = {}) {
    Add(Json::array({first, second}), Type::kNumberPair, spec, use);
  }
  template <typename Config>
  void Group(const Config& config, const ParamSpec& spec, const SettingUse& = {}) {
    if (in_matrix_) return;
    rows.push_back(
        {.path = Str(prefix_, spec.name), .kind = Kind::kMap, .spec = {.meaning = spec.meaning}});
    const std::string above = std::exchange(prefix_, Str(prefix_, spec.name, "."));
    Fields(config, *this);
    prefix_ = above;
  }

  std::vector<KeyRow> rows;

 private:
  void Add(const Json& member, Type type, const ParamSpec& spec, const SettingUse& use) {
    if (use.in_matrix != in_matrix_) return;
    KeyRow row = {
        .path = Str(prefix_, spec.name), .spec = spec, .required = use.required, .axis = use.axis};
    row.spec.type = type;
    if (!use.required && !use.derived) row.spec.default_value = member;
    rows.push_back(std::move(row));
  }

  std::string prefix_;
  bool in_matrix_;
};

// The settings of a Config, each with its default.
template <typename Config>
std::vector<KeyRow> RowsOf(std::string_view prefix, bool in_matrix = false) {
  const Config defaults;
  SettingRows visitor(std::string(prefix), in_matrix);
  Fields(defaults, visitor);
  return std::move(visitor.rows);
}

// Inserts rows after the row of a path.
void InsertAfter(std::string_view path, const std::vector<KeyRow>& more,
                 std::vector<KeyRow>& rows) {
  const auto at = std::ranges::find(rows, path, &KeyRow::path);
  LR_CHECK(at != rows.end());
  rows.insert(at + 1, more.begin(), more.end());
}

// A command that is given an id must not find another sweep by its name, nor take a name for an
// option.
std::string WhyNotSweepName(const Json& name) {
  const auto& text = name.get_ref<const std::string&>();
  if (text.starts_with('-'))
    return "must not begin with '-', since commands would take it for an option";
  return IsUlid(InCapitals(text))
             ? "has the form of a sweep's id, so commands could not tell them apart: "
               "choose another name"
             : "";
}

std::vector<KeyRow> FileKeys() {
  const Sweep sweep;
  return {
      {.path = "apiVersion",
       .spec = {.type = Type::kChoice,
                .choices = {"longrun/v1"},
                .meaning = "version of the file format"},
       .required = true},
      {.path = "kind",
       .spec = {.type = Type::kChoice, .choices = {"Sweep"}, .meaning = "kind of the file"},
       .required = true},
      {.path = "metadata",
       .kind = Kind::kMap,
       .spec = {.meaning = "name and labels of the sweep; not part of a run's identity"},
       .required = true},
      {.path = "metadata.name",
       .spec = {.type = Type::kName, .meaning = "name of the sweep"},
       .required = true,
       .check = &WhyNotSweepName},
      {.path = "metadata.labels",
       .kind = Kind::kLabels,
       .spec = {.meaning =
                    "labels such as `suite: long`, by which `longrun ls -l` finds the sweep"}},
      {.path = "metadata.export",
       .spec = {.type = Type::kChoice,
                .default_value = sweep.export_to,
                .choices = {"none", std::string(kExportPrometheus)},
                .meaning = "prometheus: /metrics shows the sweep's perplexities"}},
      {.path = "spec", .kind = Kind::kMap, .spec = {.meaning = "what to run"}, .required = true},
  };
}

// "micro 3, 4, 96; tiny 6, 8, 512; ...": what the named sizes stand for.
std::string SizesText() {
  std::vector<std::string> sizes;
  for (const std::string& name : ModelConfig::PresetNames()) {
    const ModelConfig size = *ModelConfig::Preset(name);
    sizes.push_back(Str(name, " ", size.n_layer, ", ", size.n_head, ", ", size.d_model));
  }
  return Join(sizes, "; ");
}

std::vector<KeyRow> ModelKeys() {
  static const std::string size_meaning =
      Str("preset of n_layer, n_head and d_model (", SizesText(),
          "); without a size, all three must be given");
  std::vector<KeyRow> rows = RowsOf<ModelConfig>("spec.model.");
  rows.insert(rows.begin(), {.path = "spec.model",
                             .kind = Kind::kMap,
                             .spec = {.meaning = "size of the model, and its other settings "
                                                 "(optional with the axis model.init_from)"},
                             .required = true,
                             .left_out = KeyRow::LeftOut::kWithInit});
  InsertAfter("spec.model.architecture",
              {{.path = "spec.model.size",
                .spec = {.type = Type::kChoice,
                         .choices = ModelConfig::PresetNames(),
                         .meaning = size_meaning},
                .axis = true,
                .others_rest_on = true}},
              rows);
  rows.push_back({.path = "spec.model.init_from",
                  .kind = Kind::kInit,
                  .spec = {.type = Type::kName,
                           .meaning = "start from the weights of an imported model (longrun "
                                      "import) or of a finished run; the other keys of `model` are "
                                      "then optional, and must agree with that model or run"},
                  .axis = true,
                  .refers = KeyRow::Refers::kModel,
                  .others_rest_on = true});
  return rows;
}

std::vector<KeyRow> MatrixKeys() {
  std::vector<KeyRow> rows = {
      {.path = "spec.matrix",
       .kind = Kind::kMap,
       .spec = {.meaning = "a list of values for each axis; the runs are their cross product, in "
                           "which the first axis varies slowest"},
       .required = true},
      {.path = "spec.matrix.position",
       .kind = Kind::kPosition,
       .spec = {.meaning = "position methods (optional with model.init_from: the model's own)"},
       .required = true,
       .axis = true,
       .left_out = KeyRow::LeftOut::kWithInit},
      {.path = "spec.matrix.dataset",
       .spec = {.type = Type::kName, .meaning = "registered datasets"},
       .required = true,
       .axis = true,
       .refers = KeyRow::Refers::kDataset},
      {.path = "spec.matrix.seed",
       .spec = {.type = Type::kInt,
                .default_value = 1,
                .min = 0,
                .max = 9e15,
                .meaning = "seeds of the initial weights and the data order"},
       .axis = true},
      {.path = "spec.exclude",
       .kind = Kind::kPoints,
       .spec = {.default_value = Json::array(),
                .meaning = "points to leave out: an entry leaves out each point that has all of "
                           "the entry's values"}},
      {.path = "spec.include",
       .kind = Kind::kPoints,
       .spec = {.default_value = Json::array(),
                .meaning = "additional points, each with a value for every axis"}},
  };
  std::vector<KeyRow> settings = RowsOf<TrainConfig>("spec.matrix.", /*in_matrix=*/true);
  for (KeyRow& row : settings) row.left_out = KeyRow::LeftOut::kWithInitUntrained;
  InsertAfter("spec.matrix.position", settings, rows);
  return rows;
}

std::vector<KeyRow> TrainKeys() {
  const Sweep sweep;
  std::vector<KeyRow> rows = RowsOf<TrainConfig>("spec.train.");
  rows.insert(
      rows.begin(),
      {.path = "spec.train",
       .kind = Kind::kMap,
       .spec = {.meaning =
                    "the training recipe; none: measure model.init_from without training it"},
       .required = true,
       .may_be_none = true});
  InsertAfter(
      "spec.train.mask.token",
      {{.path = "spec.train.continue_from",
        .spec = {.type = Type::kName,
                 .meaning = "the finished run to continue to more tokens (8 digits or more of its "
                            "id). With the schedule `constant` and all else unchanged, the weights "
                            "are those of one long run. With `cosine` and `linear` they are not, "
                            "since the learning rate depends on `train.tokens`"},
        .axis = true},
       {.path = "spec.train.positions",
        .kind = Kind::kSchedule,
        .spec = {.default_value = kPlainPositions,
                 .meaning = "how the tokens of a training sequence are numbered; plain: from 0; "
                            "a schedule: with positions from a longer range, so that a rotary "
                            "model learns the distances of longer texts"},
        .axis = true},
       {.path = "spec.train.extend",
        .kind = Kind::kExtension,
        .spec =
            {.default_value = kNoExtension,
             .meaning =
                 "the extension under which a rotary model is trained (one that changes only the "
                 "rotation, such as pi or yarn), and evaluated unless spec.extend says otherwise"},
        .axis = true}},
      rows);
  InsertAfter("spec.train.validate.tokens",
              {{.path = "spec.train.validate.windows",
                .spec = {.type = Type::kCount,
                         .default_value = 0,
                         .min = 0,
                         .max = 1e7,  // of kLengthMax tokens each: below kTokensMax
                         .meaning = "windows to score in each validation, in place of `tokens`: so "
                                    "every train length scores as many windows; 0: `tokens` says "
                                    "how much is scored"},
                .axis = true}},
              rows);
  const std::vector<KeyRow> of_the_sweep = {
      {.path = "spec.train.activation_checkpointing",
       .spec = {.type = Type::kBool,
                .default_value = sweep.activation_checkpointing,
                .meaning =
                    "recompute each block in the backward pass instead of keeping it: less memory, "
                    "about a third more time, the same numbers; not part of a run's identity"}},
      {.path = "spec.train.checkpoint",
       .kind = Kind::kMap,
       .spec = {.meaning = "checkpoints limit the work that is lost with a machine; not part of a "
                           "run's identity"}},
      {.path = "spec.train.checkpoint.every",
       .spec = {.type = Type::kDuration,
                .default_value = sweep.checkpoint_every_ms,
                .min = 1000,
                .max = 86'400'000.0 * 30,
                .meaning = "time between two checkpoints"}},
      {.path = "spec.train.checkpoint.keep",
       .spec = {.type = Type::kInt,
                .default_value = sweep.checkpoint_keep,
                .min = 1,
                .max = 1000,
                .meaning = "number of latest checkpoints to keep"}},
  };
  rows.insert(rows.end(), of_the_sweep.begin(), of_the_sweep.end());
  return rows;
}

std::string WhyNotDevices(const Json& devices) {
  if (devices == 1) return "";
  return Str(devices.get<std::int64_t>(), " devices: more than 1 is ", kNotBuiltYet);
}

std::vector<KeyRow> OtherKeys() {
  const Sweep sweep;
  return {
      {.path = "spec.evaluate",
       .kind = Kind::kEvaluations,
       .spec = {.default_value = Json::array(),
                .meaning = "what to measure on each trained model"}},
      {.path = "spec.stages",
       .kind = Kind::kStages,
       .spec = {.default_value = Json::array(),
                .meaning = "further training of each run of the matrix: a stage starts from the "
                           "run's final weights, and can have its own train_length, dataset, keys "
                           "of train and, for its evaluations, extend. Tables then have the axis "
                           "`stage`, with the values base and the names of the stages"}},
      {.path = "spec.extend",
       .kind = Kind::kExtensions,
       .spec =
           {.default_value = Json::array({kNoExtension}),
            .meaning =
                "extensions with which rotary models read texts beyond their train length. Each "
                "evaluation is made once with each of them; the value none means: without an "
                "extension"}},
      {.path = "spec.claims",
       .kind = Kind::kClaims,
       .spec = {.default_value = Json::array(),
                .meaning = "statements about the results; `longrun claims` judges each of them"}},
      {.path = "spec.resources",
       .kind = Kind::kMap,
       .spec = {.meaning = "resources that a run needs"}},
      {.path = "spec.resources.devices",
       .spec = {.type = Type::kInt,
                .default_value = sweep.devices,
                .min = 1,
                .max = 1024,
                .meaning = "devices of one run; more than 1 is not built yet"},
       .check = WhyNotDevices},
      {.path = "spec.resources.kind",
       .spec = {.type = Type::kChoice,
                .default_value = sweep.device_kind,
                .choices = EnumChoices<DeviceChoice>(),
                .meaning = "kind of the devices"}},
      {.path = "spec.retry",
       .kind = Kind::kMap,
       .spec = {.meaning = "how often a task is retried"}},
      {.path = "spec.retry.failures_max",
       .spec = {.type = Type::kInt,
                .default_value = sweep.retry.failures_max,
                .min = 0,
                .max = 100,
                .meaning = "retries after failures of the task itself"}},
      {.path = "spec.retry.losses_max",
       .spec = {.type = Type::kInt,
                .default_value = sweep.retry.losses_max,
                .min = 0,
                .max = 1000,
                .meaning = "retries after losses of its worker or machine"}},
      {.path = "spec.priority",
       .spec = {.type = Type::kInt,
                .default_value = sweep.priority,
                .min = -1000,
                .max = 1000,
                .meaning = "a sweep with a higher priority runs first"}},
  };
}

std::vector<KeyRow> MakeKeys() {
  std::vector<KeyRow> keys;
  for (const auto rows_of : {FileKeys, ModelKeys, MatrixKeys, TrainKeys, OtherKeys}) {
    std::vector<KeyRow> rows = rows_of();
    std::ranges::move(rows, std::back_inserter(keys));
  }
  return keys;
}

}  // namespace

std::span<const KeyRow> SweepKeys() {
  static const std::vector<KeyRow> keys = MakeKeys();
  return keys;
}

const KeyRow& TrainOverlapKey() {
  static const KeyRow row = {
      .path = "allow_train_overlap",
      .spec = {.type = Type::kBool,
               .default_value = false,
               .meaning = "true: allow scoring split train, on which the models were trained"}};
  return row;
}

std::string TrainOverlapError() {
  return Str("the models are trained on split train: choose validation or test, or add ",
             TrainOverlapKey().path, ": true");
}

const KeyRow& EvaluatedDatasetKey() {
  static const KeyRow row = {
      .path = "dataset",
      .spec = {.type = Type::kName,
               .meaning = "a registered dataset to read instead of the run's own, made with the "
                          "same tokenizer; if its content changes, the evaluation is repeated"},
      .refers = KeyRow::Refers::kDataset};
  return row;
}

bool HasSplitParam(const Evaluation& evaluation) {
  return std::ranges::find(evaluation.params, "split", &ParamSpec::name) != evaluation.params.end();
}

std::vector<const KeyRow*> KeysBesideParams(const Evaluation& evaluation) {
  if (!HasSplitParam(evaluation)) return {};
  return {&EvaluatedDatasetKey(), &TrainOverlapKey()};
}

const KeyRow* FindKey(std::string_view path) {
  const auto row = std::ranges::find(SweepKeys(), path, &KeyRow::path);
  return row == SweepKeys().end() ? nullptr : &*row;
}

std::vector<std::string> NamesBelow(std::string_view path) {
  const std::string prefix = path.empty() ? "" : Str(path, ".");
  std::vector<std::string> names;
  for (const KeyRow& row : SweepKeys()) {
    if (!row.path.starts_with(prefix) || row.kind == KeyRow::Kind::kUnbuilt) continue;
    const std::string_view rest = std::string_view(row.path).substr(prefix.size());
    if (rest.find('.') == std::string_view::npos) names.emplace_back(rest);
  }
  return names;
}

std::vector<std::string> PathsOfName(std::string_view name, std::string_view below) {
  const std::string prefix = below.empty() ? "" : Str(below, ".");
  const std::string end = Str(".", name);
  std::vector<std::string> paths;
  std::ptrdiff_t depth_least = 0;
  for (const KeyRow& row : SweepKeys()) {
    const bool has_name = row.path == name || row.path.ends_with(end);
    if (!has_name || row.kind == KeyRow::Kind::kUnbuilt || !row.path.starts_with(prefix)) continue;
    const std::ptrdiff_t depth = std::ranges::count(row.path, '.');
    if (!paths.empty() && depth > depth_least) continue;
    if (depth < depth_least) paths.clear();
    depth_least = depth;
    paths.emplace_back(row.path);
  }
  return paths;
}

std::vector<std::string> AxisNames() {
  std::vector<std::string> names = NamesBelow("spec.matrix");
  for (const KeyRow& row : SweepKeys()) {
    if (row.axis && !row.path.starts_with("spec.matrix.")) {
      names.emplace_back(row.path.substr(std::string_view("spec.").size()));
    }
  }
  return names;
}

std::string WhyNotOfStage(const KeyRow& row) {
  if (row.path == "spec.train.continue_from") return "a stage starts from its base";
  const bool is_of_run = row.axis || row.kind == Kind::kMap;
  if (is_of_run && row.path != "spec.train.checkpoint") return "";
  return Str("it is the same for all runs of a sweep; give it as ", row.path);
}

const KeyRow* FindAxis(std::string_view axis) {
  static const KeyRow stage = {
      .path = std::string(kStageAxis),
      .spec = {.type = Type::kName, .meaning = "base, or the name of an entry of spec.stages"},
      .axis = true};
  if (axis == kStageAxis) return &stage;
  const KeyRow* row = FindKey(Str("spec.matrix.", axis));
  if (row == nullptr) row = FindKey(Str("spec.", axis));
  return row != nullptr && row->axis ? row : nullptr;
}

}  // namespace longrun
