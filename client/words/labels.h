// Labels as text.
#pragma once

#include <string>

#include "base/json.h"

namespace longrun {

// "suite=long,team=nlp" from [{"key", "value"}, ...].
std::string LabelsText(const Json& labels);

}  // namespace longrun
