// Finds names in stored data that this build does not know: another build with another position
// method, architecture or evaluation in its registries wrote them.
#pragma once

#include <string>

#include "base/json.h"

namespace longrun {

// The first name in a stored run (Run::ToJson, as text) that no registry of this build has, for
// messages: `position method "root"`, `architecture "mamba"`. "": none, or it is not a run.
std::string UnknownOfRun(const std::string& run_json);

// The same for {"perplexity": {...}}: `evaluation "passkey2"`.
std::string UnknownOfEvaluation(const Json& evaluation);

}  // namespace longrun
