// Sweeps that a name hides: a name stands for the newest sweep of that name.
#pragma once

#include <string>
#include <vector>

#include "client/wire/sweep_calls.h"

namespace longrun::client {

// Says on stderr how many older sweeps of that name have runs or numbers that the newest does not
// have. Says nothing if `sweep` is an id, or if every older sweep is part of the newest, for
// example after a file was extended and submitted again. `shown_ids`: the sweeps that the answer
// shows, the newest of that name and perhaps older ones, which are then not among those meant.
void SayOlderSweeps(SweepCalls& client, const std::string& sweep,
                    const std::vector<std::string>& shown_ids);

}  // namespace longrun::client
