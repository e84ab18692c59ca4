// What goes on of a sweep that was cancelled: the tasks that another sweep wants too.
#pragma once

#include <string>

#include "base/json.h"
#include "client/ask.h"

namespace longrun {

// "2 tasks of a go on, since sweep b wants them too"; "" where nothing does, or the sweep was not cancelled.
// `sweep`: an answer of GetSweep.
std::string KeptWorkText(Asker& asker, const Json& sweep);

}  // namespace longrun
