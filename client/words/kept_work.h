// The tasks of a cancelled sweep that continue because another sweep needs them too.
#pragma once

#include <string>

#include "base/json.h"
#include "client/wire/ask.h"

namespace longrun {

// "2 tasks of a go on, since sweep b wants them too"; "" if none continues, or the sweep was not cancelled.
// `sweep`: an answer of GetSweep.
std::string KeptWorkText(Asker& asker, const Json& sweep);

}  // namespace longrun
