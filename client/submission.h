// What a submission did, in one line: from the answer of SubmitSweep or PlanSweep.
#pragma once

#include <string>

#include "base/json.h"

namespace longrun {

std::string SubmissionText(const Json& answer);

}  // namespace longrun
