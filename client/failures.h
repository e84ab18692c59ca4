// What failed, with the last lines that its trainer wrote and what to type next.
#pragma once

#include <string>

#include "base/json.h"
#include "client/connection.h"

namespace longrun {

// "" when nothing failed. `runs` as in GetSweep; `again` is what `longrun retry` would be given.
std::string FailuresText(Connection& connection, const Json& runs, const std::string& again);

}  // namespace longrun
