// Why tasks do not run, or have not ended, as text.
#pragma once

#include <string>

#include "client/wire/messages.h"

namespace longrun::client {

// A headline, then a paragraph for each reason, and the obstacles that no reason names. If there
// are many reasons, shows the first ones and counts the others.
std::string ReasonsText(const v1::GetReasonsResponse& answer);

// Why the READY tasks run on no worker, and what ends that.
std::string UnfitText(const v1::GetReasonsResponse& answer);

// While no service runs, nothing starts: says so of tasks that would otherwise wait for a worker or
// run. `state`: the state folder.
void SayNoService(const std::string& state, v1::GetReasonsResponse& answer);

}  // namespace longrun::client
