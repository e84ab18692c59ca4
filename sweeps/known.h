// What is stored may name what this build does not have: it was made by one with another position
// method, architecture or evaluation in its registries.
#pragma once

#include <string>

#include "base/json.h"

namespace longrun {

// The first thing of a stored run (Run::ToJson, as text) that no registry of this build has, for
// people: `position method "root"`, `architecture "mamba"`. "": none, or it is no run at all.
std::string UnknownOfRun(const std::string& run_json);

// The same of {"perplexity": {...}}: `evaluation "passkey2"`.
std::string UnknownOfEvaluation(const Json& evaluation);

}  // namespace longrun
