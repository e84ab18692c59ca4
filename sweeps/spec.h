// The interface between the two halves of the sweep language: read.cc turns a tree into a SweepSpec
// (typed, with defaults, axes separate), and expand.cc turns a SweepSpec into runs.
// Internal to sweeps/.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "model/evaluation/evaluation.h"
#include "sweeps/claim.h"
#include "sweeps/sweep.h"
#include "sweeps/yaml_tree.h"

namespace longrun {

using Overrides = std::vector<std::pair<std::string, std::string>>;

struct AxisValue {
  Json value;  // as the run needs it: for position the complete configuration
  Json shown;  // as the user wrote it: "cable", 0.001, {"method": "rope", "theta": 500000}
  Place place;
};

struct Axis {
  std::string name;    // "position", "train.optimizer.lr"
  bool given = false;  // it is in the file
  std::vector<AxisValue> values;
};

// Maps the index of an axis to the value that a point must have; for a method, only the given
// parameters.
using PointPattern = std::map<std::size_t, Json>;
// Whether an entry of `exclude`, which wants the value `wanted` of an axis, matches `value`. For a
// method with parameters, the entry may give only some of the parameters.
bool IsExcluded(const Json& value, const Json& wanted);

struct EvaluationSpec {
  const Evaluation* evaluation = nullptr;
  Json params;  // complete; context_lengths sorted
  Place place;
  std::map<std::string, Place> param_places;  // "context_lengths", "context_lengths[2]"
  std::size_t index = 0;                      // in spec.evaluate
  std::string dataset = {};                   // the name of the one to read; "": the run's own
  bool allows_train_overlap = false;
};

// An entry of spec.extend.
struct ExtensionSpec {
  Json given;  // {"method": .., given parameters}; null: none
  std::string path;
  Place place;
  std::map<std::string, Place> param_places;  // "method", "factor"

  Place PlaceOf(const std::string& param) const {
    const auto found = param_places.find(param);
    return found == param_places.end() ? place : found->second;
  }
};

// An entry of spec.stages.
struct StageSpec {
  std::string name;
  Place place;
  std::size_t index = 0;  // in spec.stages
  std::map<std::string, AxisValue> settings =
      {};  // "train_length", "dataset", "train.optimizer.lr"
  // Of these and of the parameters of methods: "train.positions.target_length".
  std::map<std::string, Place> places = {};
  // At least one; nullopt: those of the sweep.
  std::optional<std::vector<ExtensionSpec>> extensions = {};
};

// Whether a file is submitted now, or was accepted before, perhaps by an earlier release.
enum class SweepOrigin : bool { kSubmitted, kStored };

struct SweepSpec {
  SweepOrigin origin = SweepOrigin::kSubmitted;
  Json document;                        // {"metadata": {..}, "spec": {"train": {..}, ..}}
  std::map<std::string, Place> places;  // of the given values, by path
  std::set<std::string> broken;         // paths whose value was refused
  std::set<std::string> meant;          // paths that an unknown key seems to be meant for
  bool trains = true;                   // false: train: none
  bool is_complete = true;              // there is enough to expand it
  std::vector<Axis> axes;
  std::vector<PointPattern> exclude;
  std::vector<std::vector<AxisValue>> include;  // one value per axis
  std::vector<StageSpec> stages;                // if there are any, the last axis is kStageAxis
  std::vector<EvaluationSpec> evaluations;
  std::vector<ExtensionSpec> extensions = {ExtensionSpec()};  // at least one
  std::map<std::string, DatasetInfo> datasets;                // the names that the axes use
  std::map<std::string, ModelInfo> models;                    // the names that init_from uses
  std::function<Result<KnownRun>(const std::string&)> find_run;
};

// "cable.yaml:9:17: spec.matrix.position[3].bucket: unknown key", sorted by place, one per line.
Status ToStatus(std::vector<Problem> problems, std::string_view file_name,
                const Overrides& overrides);

// ParseSweep() and ParseStoredSweep(): sweep.cc.
Result<Sweep> ParseSweepOf(SweepOrigin origin, std::string_view yaml, std::string_view file_name,
                           const Overrides& overrides, const DatasetCatalogue& datasets);

// Sets each override in the tree.
void ApplyOverrides(const Overrides& overrides, YamlNode& root, std::vector<Problem>& problems);

// Reads only the claims.
std::vector<Claim> ReadClaims(const YamlNode& root, std::vector<Problem>& problems);

SweepSpec ReadSweep(const YamlNode& root, const DatasetCatalogue& datasets,
                    std::vector<Problem>& problems);

// The runs in matrix order. A problem that many runs share is added once.
// `notes` are for the user, and no errors.
std::vector<PlannedRun> ExpandSweep(const SweepSpec& spec, std::vector<Problem>& problems,
                                    std::vector<Problem>& notes);

}  // namespace longrun
