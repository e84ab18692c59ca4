// The keys of a sweep file: one table, from which the parser (read.cc, value.cc), the defaults, the
// JSON Schema (json_schema.cc, sweep.schema.json) and the reference (reference.cc,
// reference.md) are derived.
//
// Parameters of position methods and evaluations are not repeated here: their own tables
// (model/position, model/evaluation) are read.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "model/param.h"

namespace longrun {

struct Evaluation;

// The row of a key. Its value has one of the types that all tables share (ParamSpec::Type), or one
// of the additional forms of a sweep file.
struct KeyRow {
  enum class Kind {
    kValue,        // as `spec` says
    kInit,         // the name of an imported model, or {run: a finished run}
    kMap,          // its members have their own rows
    kLabels,       // a map from keys to texts
    kPosition,     // a method: its name, or {method: NAME, its parameters}
    kSchedule,     // plain, the name of a position schedule, or {method: NAME, its parameters}
    kPoints,       // a list of maps from axis to value
    kEvaluations,  // a list of one-key maps: evaluation to its parameters
    kExtension,    // "none", the name of an extension, or {method: NAME, its parameters}
    kExtensions,   // a list of "none", the name of an extension, or {method: NAME, its parameters}
    kClaims,       // a list of one-key maps: kind of claim (claim.h) to its parameters
    kStages,       // a list of maps: a name, and settings that replace those of the base
    kUnbuilt,      // a known name that is refused
  };
  // The case in which a required key may nevertheless be left out.
  enum class LeftOut {
    kNever,
    kWithInit,           // with model.init_from: the imported model's value
    kWithInitUntrained,  // with model.init_from and `train: none`
  };
  // The thing that a name must refer to.
  enum class Refers { kNothing, kDataset, kModel };
  std::string path;  // "spec.train.tokens"
  Kind kind = Kind::kValue;
  ParamSpec spec = {};  // its `meaning` counts for every kind, and describes a null default
  bool required = false;
  bool axis = false;  // may be in the matrix, by its path below spec
  LeftOut left_out = LeftOut::kNever;
  Refers refers = Refers::kNothing;
  bool may_be_none = false;     // the word none may replace a map
  bool others_rest_on = false;  // if it is wrong, no run is resolved
  // Returns the reason why a value of the right type is refused, "" if it is accepted. Null: all
  // are accepted.
  std::string (*check)(const Json& value) = nullptr;

  bool is(ParamSpec::Type type) const { return kind == Kind::kValue && spec.type == type; }
  std::string_view name() const { return std::string_view(path).substr(path.rfind('.') + 1); }
};

std::span<const KeyRow> SweepKeys();
const KeyRow* FindKey(std::string_view path);  // null when unknown
// The names directly below a path, in the table's order,
// without those that are not implemented yet.
std::vector<std::string> NamesBelow(std::string_view path);

// The keys with this name anywhere below a path ("": in the whole file);
// only those nearest to the path.
std::vector<std::string> PathsOfName(std::string_view name, std::string_view below);

// `allow_train_overlap` of an evaluation that names a split. It changes no number, so it is neither
// a parameter of the evaluation nor part of a cell.
const KeyRow& TrainOverlapKey();
std::string TrainOverlapError();  // of a split: train without it
// `dataset` of such an evaluation (evaluated_dataset.h).
const KeyRow& EvaluatedDatasetKey();
bool HasSplitParam(const Evaluation& evaluation);
// The keys of an evaluation that are not among its parameters.
std::vector<const KeyRow*> KeysBesideParams(const Evaluation& evaluation);

// The possible axes of the matrix: position, train_length, dataset, seed, and the dotted paths
// below spec ("train.optimizer.lr") of everything that changes a run.
std::vector<std::string> AxisNames();
// The row with the type of an axis' values; null if there is no such axis.
const KeyRow* FindAxis(std::string_view axis);

// The axis that spec.stages adds to the matrix. Its first value is the run from which the stages
// start; the others are their names.
inline constexpr std::string_view kStageAxis = "stage";
inline constexpr std::string_view kBaseStage = "base";
// The settings that a stage may replace, beside those of the training that change a run.
inline constexpr std::string_view kStageAxes[] = {"train_length", "dataset"};
// Why a stage may not replace the key below spec.train; "": it may.
std::string WhyNotOfStage(const KeyRow& row);

// The entry of spec.extend under which a model is read as it was trained.
inline constexpr std::string_view kNoExtension = "none";
inline constexpr const char* kExtendKey = "extend";  // of spec, and of a stage

// The words with which names of unbuilt.h are refused.
inline constexpr std::string_view kNotBuiltYet = "not built yet in this release";

// The reference page: a table of all keys, in Markdown.
std::string SweepReference();

}  // namespace longrun
