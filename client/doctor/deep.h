// `longrun doctor --deep` and `--repair`: everything that a state folder holds, read from end to end. The database,
// artifacts and kept files are read by `longrun-coordinator --check`, whose they are; datasets and the
// files of the worker in the state folder here.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"

namespace longrun {

struct DeepFinding {
  std::string object;
  std::string remedy;
};

struct DeepFindings {
  std::vector<std::string> repaired;
  std::vector<DeepFinding> damaged;
  std::int64_t n_rows = 0;
  std::int64_t n_files = 0;
};

// With `repairs` the database is first repaired where that is possible: kUnavailable beside a coordinator.
Result<DeepFindings> LookDeep(const std::string& state, bool repairs);

}  // namespace longrun
