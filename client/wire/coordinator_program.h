// Runs `longrun-coordinator` as a child that does one thing to a state folder, prints lines of JSON
// and ends: for the verbs that read or write the folder itself, with or without a running service.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "base/status.h"

namespace longrun::client {

struct ProgramAnswer {
  std::vector<Json> lines = {};
  int exit_code = -1;     // -1: a signal ended it
  std::string complaint;  // why it failed, if it did (ChildRun::Complaint)
};

// An error if the program could not be started, or printed something else.
Result<ProgramAnswer> RunCoordinatorProgram(const std::vector<std::string>& arguments);

}  // namespace longrun::client
