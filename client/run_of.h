// A sweep's name where a run is wanted.
#pragma once

#include <string>

#include "client/ask.h"

namespace longrun {

struct RunWanted {
  std::string verb;
  std::string rest = "";                      // of the command line, behind the run
  bool (*serves)(const Json& run) = nullptr;  // of GetSweep; null: each does
  std::string unless = "";                    // what to say where none serves
};

// The run of the sweep `thing`, when it has one; of several, kInvalidArgument with what to type for each
// that serves (`longrun VERB RUN REST`); `otherwise` when there is no such sweep.
Result<std::string> RunOf(Asker& asker, const std::string& thing, const RunWanted& wanted,
                          const Status& otherwise);

}  // namespace longrun
