// One request to the coordinator of a state folder with a stream of answers; see ask.h.
#pragma once

#include <functional>
#include <string>

#include "base/json.h"
#include "base/status.h"

namespace longrun {

// Sent again, to the next coordinator, only while no answer has arrived. `each` returns false to end the
// stream early.
Status AskStream(const std::string& state, const std::string& method, const Json& request,
                 const std::function<bool(const Json&)>& each);

}  // namespace longrun
