// What reading commands say of sweeps on which no service works: the states in the database are those of
// the moment when everything ended.
#pragma once

#include <string>

#include "base/json.h"
#include "client/connection.h"

namespace longrun {

// "INTERRUPTED" in place of "RUNNING".
std::string StateWithoutService(const std::string& state);

// The same in a message of GetSweep, WatchSweep or GetRun, for people: of the sweep (`info`) and of the
// tasks that had begun. Notices about workers go, since they count on a service that waits.
void ShowInterrupted(Json& message);

// "no service runs on /state: worker box-1 was last heard of at 2026-01-02T03:04:05Z; `longrun up` goes on"
std::string NoServiceText(Connection& connection, const std::string& state);
// From an answer of ListWorkers.
std::string NoServiceText(const Json& workers, const std::string& state);

}  // namespace longrun
