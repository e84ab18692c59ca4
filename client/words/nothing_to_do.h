// Why a command that ends, pauses, resumes or retries a sweep has nothing to do.
#pragma once

#include <string>
#include <string_view>

#include "client/words/sweep_view.h"

namespace longrun::client {

// "a has already ended (SUCCEEDED): there is nothing to pause"; "" if the sweep, which is called as
// the user called it, has not ended in this state.
std::string NothingToDo(const std::string& sweep, const std::string& state, std::string_view verb);

// "1 task pauses after a failure, and is tried again by itself in 8s: `longrun why a` says why"; ""
// if no task of the runs does. `thing`: as the user called it.
std::string PausingText(const std::string& thing, const Runs& runs);

}  // namespace longrun::client
