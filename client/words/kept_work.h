// The tasks of a cancelled or paused sweep that stay because another sweep needs them too.
#pragma once

#include <string>

#include "client/wire/retrying_client.h"

namespace longrun::client {

// "2 tasks of a are kept because sweep b needs them; they wait until that sweep is resumed"; "" if
// none stays, or the sweep was neither cancelled nor paused. `sweeps` is from an answer of
// ListSweeps, and provides the names and the states.
std::string KeptWorkText(const v1::SweepInfo& info, const Repeated<v1::SweepInfo>& sweeps);
// The same; asks the coordinator for the names if they are needed.
std::string KeptWorkText(RetryingClient& client, const v1::SweepInfo& info);
// Writes it to stderr, for a command that has just changed the sweep. Returns whether there was
// anything to say.
bool SayKeptWork(RetryingClient& client, const std::string& sweep_id);

}  // namespace longrun::client
