// Exit codes: from a failure, and from the state of a sweep.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"

namespace longrun::client {

enum ExitCode : int {
  kExitOk = 0,
  kExitFailed = 1,  // the requested outcome failed
  kExitUsage = 2,   // arguments or a sweep file are wrong
  kExitNotFound = 3,
  kExitConflict = 4,  // the state of the system does not allow it
  kExitDenied = 5,
  kExitUnavailable = 6,  // no coordinator answers, or a deadline passed
  kExitPartial = 7,      // some tasks of the sweep failed, and none remain
  kExitIncomplete = 8,   // some of the sweep is unfinished
  kExitInterrupted = 130,
};

// The exit code for the sweeps that a verb has shown, from their states:
// the same for every verb.
//   kExitIncomplete  some of it is unfinished
//   kExitOk          all of it succeeded
//   kExitPartial     nothing more will run by itself: a part succeeded, a part failed
//   kExitFailed      nothing more will run by itself: it was cancelled, or all of it failed
int SweepExitCode(const std::vector<std::string>& states);

// Prints "longrun: message" (and each violation on its own line) and returns the exit code.
int Report(const Status& status, const std::vector<std::string>& violations = {});

}  // namespace longrun::client
