// The way back: from a run to a sweep file that gives the same run.
//
// Every resolved value is written in, so that the file means the same whatever the defaults of a later
// release are. The key of each value comes from the table of keys (schema.h); a run that says something
// which no key can say is refused by name, never shortened.
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
  std::string dataset_name;  // under which the run's dataset is registered
  // Of a run that starts from an imported model: what the name stands for here.
  std::optional<ModelInfo> init = {};
  std::string device_kind = {};         // cpu | gpu: asked for in the file; "": any
  std::vector<Json> evaluations = {};   // {"perplexity": {.., "context_lengths": [..]}}
  std::vector<std::string> notes = {};  // lines of comment at the top
};

// The file's text. It was parsed again, and gave the run's key: kFailedPrecondition when this release
// cannot (the run has other numerics), kUnimplemented when no key says what the run says.
Result<std::string> SweepYaml(const Reproduction& reproduction);

}  // namespace longrun
