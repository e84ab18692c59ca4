// The failures of a sweep as text, with the last lines of each trainer's log and the command to
// type next.
#pragma once

#include <string>

#include "client/wire/connection.h"

namespace longrun::client {

// "" if nothing failed. `runs` as in GetSweep; `again` is the argument for `longrun retry`.
std::string FailuresText(CoordinatorConnection& connection, const Repeated<v1::RunInfo>& runs,
                         const std::string& again);

}  // namespace longrun::client
