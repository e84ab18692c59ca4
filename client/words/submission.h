// The effect of a submission in one line, from the answer of SubmitSweep or PlanSweep.
#pragma once

#include <string>

#include "client/wire/messages.h"

namespace longrun::client {

// `name`: the sweep's.
std::string SubmissionText(const std::string& name, const v1::SubmitCounts& counts);

// Other active sweeps, one per line, and how to cancel them: from `others` of an answer.
std::string OthersText(const Repeated<v1::SweepInfo>& others);

}  // namespace longrun::client
