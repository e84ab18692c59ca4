// Between the two halves of the sweep language: read.cc turns a tree into a SweepSpec (typed, defaults
// written in, axes apart), expand.cc a SweepSpec into runs. Internal to sweeps/.
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
#include "sweeps/sweep.h"
#include "sweeps/yaml_tree.h"

namespace longrun {

using Overrides = std::vector<std::pair<std::string, std::string>>;

struct AxisValue {
  Json value;  // as the run wants it: of position the complete configuration
  Json shown;  // as a person wrote it: "cable", 0.001, {"method": "rope", "theta": 500000}
  Place place;
};

struct Axis {
  std::string name;    // "position", "train.optimizer.lr"
  bool given = false;  // stands in the file
  std::vector<AxisValue> values;
};

// Axis by index to the value a point must have; of position the parameters given, and no others.
using PointPattern = std::map<std::size_t, Json>;

struct EvaluationSpec {
  const Evaluation* evaluation = nullptr;
  Json params;  // complete; context_lengths sorted
  Place place;
  std::map<std::string, Place> param_places;  // "context_lengths", "context_lengths[2]"
  std::size_t index = 0;                      // in spec.evaluate
};

struct SweepSpec {
  Json document;                        // {"metadata": {..}, "spec": {"train": {..}, ..}}
  std::map<std::string, Place> places;  // of the values given, by path
  std::set<std::string> broken;         // paths whose value was refused
  bool trains = true;                   // false: train: none
  bool is_complete = true;              // enough is there to expand it
  std::vector<Axis> axes;
  std::vector<PointPattern> exclude;
  std::vector<std::vector<AxisValue>> include;  // a value for each axis
  std::vector<EvaluationSpec> evaluations;
  std::map<std::string, DatasetInfo> datasets;  // of the names that the axes use
  std::map<std::string, ModelInfo> models;      // of the names that init_from uses
  std::function<Result<std::pair<std::string, Run>>(const std::string&)> find_run;
};

// "cable.yaml:9:17: spec.matrix.position[3].bucket: unknown key", sorted by place, one a line.
Status ToStatus(std::vector<Problem> problems, std::string_view file_name,
                const Overrides& overrides);

// Sets each override in the tree.
void ApplyOverrides(const Overrides& overrides, YamlNode& root, std::vector<Problem>& problems);

SweepSpec ReadSweep(const YamlNode& root, const DatasetCatalogue& datasets,
                    std::vector<Problem>& problems);

// The runs in matrix order. A problem that many runs share is added once.
std::vector<PlannedRun> ExpandSweep(const SweepSpec& spec, std::vector<Problem>& problems);

}  // namespace longrun
