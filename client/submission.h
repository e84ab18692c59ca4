// What a submission did, in one line: from the answer of SubmitSweep or PlanSweep.
#pragma once

#include <string>

#include "base/json.h"

namespace longrun {

// To plan the largest sweep there may be, on a machine that has other work.
inline constexpr std::int64_t kPlanMs = 300'000;

std::string SubmissionText(const Json& answer);

// Other sweeps that are not over, a line each, and how to end them: from `others` of an answer.
std::string OthersText(const Json& others);

}  // namespace longrun
