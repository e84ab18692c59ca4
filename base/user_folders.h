// The user's folders, from the environment. A relative path in a variable of the XDG base directory
// specification is ignored, as the specification demands.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"

namespace longrun {

// $XDG_DATA_HOME, else $HOME/.local/share; "" if neither is set.
// kInvalidArgument if the value is not UTF-8.
Result<std::string> DataHome();

// $XDG_CONFIG_HOME, else $HOME/.config; "" if neither is set. kInvalidArgument if the value is not
// UTF-8.
Result<std::string> ConfigHome();

// $XDG_CACHE_HOME, else $HOME/.cache; "" if neither is set. kInvalidArgument if the value is not
// UTF-8.
Result<std::string> CacheHome();

// $XDG_RUNTIME_DIR; "" if it is not set. kInvalidArgument if the value is not UTF-8.
Result<std::string> RuntimeFolder();

// The variables of these that hold a relative path, as NAME=VALUE.
std::vector<std::string> IgnoredFolderVariables();

}  // namespace longrun
