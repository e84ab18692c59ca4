// The effect of a submission in one line, from the answer of SubmitSweep or PlanSweep.
#pragma once

#include <cstdint>
#include <string>

#include "base/json.h"

namespace longrun {

// Time limit: enough to plan the largest possible sweep on a busy machine.
inline constexpr std::int64_t kPlanMs = 300'000;

std::string SubmissionText(const Json& answer);

// Other active sweeps, one per line, and how to cancel them: from `others` of an answer.
std::string OthersText(const Json& others);

}  // namespace longrun
