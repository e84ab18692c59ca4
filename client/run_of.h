// A sweep's name where a run is wanted.
#pragma once

#include <string>

#include "client/ask.h"

namespace longrun {

// The run of the sweep `thing`, when it has one; of several, kInvalidArgument with what to type for each
// (`longrun VERB RUN`); `otherwise` when there is no such sweep.
Result<std::string> RunOf(Asker& asker, const std::string& thing, const std::string& verb,
                          const Status& otherwise);

}  // namespace longrun
