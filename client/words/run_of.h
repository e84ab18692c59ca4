// Finds the run of a sweep, if a verb that needs a run gets the name of a sweep.
#pragma once

#include <string>

#include "client/wire/retrying_client.h"

namespace longrun::client {

struct RunWanted {
  std::string verb;
  std::string rest = "";  // of the command line, after the run
  // Whether a run of GetSweep is suitable; null: every run is.
  bool (*serves)(const v1::RunInfo& run) = nullptr;
  std::string unless = "";  // the message if no run is suitable
};

// The run of the sweep `thing`, if it has only one. For several, kInvalidArgument with the command
// for each suitable run (`longrun VERB RUN REST`), or kFailedPrecondition if none is suitable.
// Returns `otherwise` if there is no such sweep.
Result<std::string> RunOf(RetryingClient& client, const std::string& thing, const RunWanted& wanted,
                          const Status& otherwise);

// The error if `thing` names neither a run nor a sweep: how to list them. `otherwise`: of the call
// that looked for a run.
Status NoSuchRun(const std::string& thing, const Status& otherwise);

}  // namespace longrun::client
