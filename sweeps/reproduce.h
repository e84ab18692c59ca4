// Turns a run back into a sweep file that gives the same run.
//
// Every resolved value is written, so that the file keeps its meaning whatever the defaults of a
// later release. The key of each value comes from the table of keys (schema.h); a run with a value
// that no key can express is refused by name, never shortened.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "sweeps/run.h"
#include "sweeps/sweep.h"

namespace longrun {

struct Reproduction {
  Run run;
  std::string sweep_name;
  std::string dataset_name;  // the name under which the run's dataset is registered
  // The imported model, if the run starts from one: the file has its name, which must refer to it.
  std::optional<ModelInfo> init = {};
  std::string device_kind = {};         // cpu | gpu: written into the file; "": any
  std::vector<Json> evaluations = {};   // {"perplexity": {.., "context_lengths": [..]}}
  std::vector<std::string> notes = {};  // comment lines at the top
};

// The text of the file. It has been checked: parsed again, it gives the run's key.
// kFailedPrecondition if this release cannot give that key (the run has other numerics),
// kUnimplemented if no key of a sweep file can express a value of the run.
Result<std::string> SweepYaml(const Reproduction& reproduction);

}  // namespace longrun
