// Where a user's files lie, as the environment says. A relative path in a variable of the XDG base directory
// specification is ignored, as that asks.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"

namespace longrun {

// $XDG_DATA_HOME, else $HOME/.local/share; "" where neither is set. kInvalidArgument for one that is not
// UTF-8.
Result<std::string> DataHome();

// $XDG_RUNTIME_DIR; "" where it is not set. kInvalidArgument as above.
Result<std::string> RuntimeFolder();

// Of these variables, those that hold a relative path: NAME=VALUE.
std::vector<std::string> IgnoredFolderVariables();

}  // namespace longrun
