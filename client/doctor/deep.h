// `longrun doctor --deep` and `--repair`: reads everything in a state folder.
// `longrun-coordinator --check` reads its own data: the database, artifacts and kept files.
// Datasets and the worker's files in the state folder are read here.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"

namespace longrun::client {

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

// With `repairs`, first repairs the database as far as possible; kUnavailable while a coordinator
// runs.
Result<DeepFindings> LookDeep(const std::string& state, bool repairs);

}  // namespace longrun::client
