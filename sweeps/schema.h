// The keys of a sweep file: one table, from which come the parser (read.cc, value.cc), the defaults, the
// JSON Schema (json_schema.cc, sweep.schema.json) and the reference (reference.cc, reference.md).
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

// A value of the types that every table shares (ParamSpec::Type), or one of the shapes that a sweep file
// has beyond them.
struct KeyRow {
  enum class Kind {
    kValue,        // what `spec` says
    kMap,          // its members have rows of their own
    kLabels,       // a map of text
    kPosition,     // a method: its name, or {method: NAME, its parameters}
    kPoints,       // a list of maps from axis to value
    kEvaluations,  // a list of one-key maps: evaluation to its parameters
    kUnbuilt,      // known by name and refused
  };
  // When a key that must be given may be left out all the same.
  enum class LeftOut {
    kNever,
    kWithInit,           // with model.init_from: it is the imported model's
    kWithInitUntrained,  // and train: none
  };
  // What a name must be known as.
  enum class Refers { kNothing, kDataset, kModel };
  std::string path;  // "spec.train.tokens"
  Kind kind = Kind::kValue;
  ParamSpec spec = {};  // of any kind the meaning; a default that is null is what the meaning says
  bool required = false;
  bool axis = false;  // may stand in the matrix by its path below spec
  LeftOut left_out = LeftOut::kNever;
  Refers refers = Refers::kNothing;
  bool may_be_none = false;     // the word none in the place of a map
  bool others_rest_on = false;  // where it is wrong, no run is resolved
  // Why a value of its type is refused all the same; "": it is not. Null: none is.
  std::string (*check)(const Json& value) = nullptr;

  bool is(ParamSpec::Type type) const { return kind == Kind::kValue && spec.type == type; }
  std::string_view name() const { return std::string_view(path).substr(path.rfind('.') + 1); }
};

std::span<const KeyRow> SweepKeys();
const KeyRow* FindKey(std::string_view path);  // null when unknown
// The names directly below a path, in the table's order; those that are not built yet left out.
std::vector<std::string> NamesBelow(std::string_view path);

// The keys of a name that stand anywhere below a path ("": in the file): of them the ones nearest to it.
std::vector<std::string> PathsOfName(std::string_view name, std::string_view below);

// `allow_train_overlap` of an evaluation that names a split. It changes no number, so it is no parameter
// of the evaluation and no part of a cell.
const KeyRow& TrainOverlapKey();
bool NamesASplit(const Evaluation& evaluation);

// What may be an axis of the matrix: position, train_length, dataset, seed, and the dotted paths below
// spec ("train.optimizer.lr") of everything that changes a run.
std::vector<std::string> AxisNames();
// The row that types the values of an axis; null when there is no such axis.
const KeyRow* FindAxis(std::string_view axis);

// Names that are planned and not built: refused as such, not as unknown.
std::span<const std::string_view> UnbuiltMethods();
std::span<const std::string_view> UnbuiltEvaluations();
bool IsUnbuiltMethod(std::string_view method);
bool IsUnbuiltEvaluation(std::string_view evaluation);
inline constexpr std::string_view kNotBuiltYet = "not built yet in this release";

// The reference page: a table of all keys, in Markdown.
std::string SweepReference();

}  // namespace longrun
