// Labels and notes, as they are shown.
#pragma once

#include <string>

#include "base/json.h"

namespace longrun {

// "suite=long,team=nlp" of [{"key", "value"}, ...].
std::string LabelsText(const Json& labels);

}  // namespace longrun
