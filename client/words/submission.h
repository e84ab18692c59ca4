// The effect of a submission in one line, from the answer of SubmitSweep or PlanSweep.
#pragma once

#include <string>

#include "client/wire/messages.h"

namespace longrun::client {

// "my-sweep evaluates nothing: its file has no `evaluate`": every verb says the same.
std::string EvaluatesNothing(const std::string& sweep);

// Prints each note of an answer about a sweep file on stderr: "note: ..."
void SayNotes(const Repeated<std::string>& notes);

// `name`: the sweep's. `refresh`: the numbers to measure again; null if nobody asked for this.
// `was_submitted`: whether the same sweep existed before, perhaps from a call whose answer was
// lost.
std::string SubmissionText(const std::string& name, const v1::SubmitCounts& counts,
                           const v1::RefreshInfo* refresh = nullptr, bool was_submitted = false);

// Whether the planned sweep asks for no number.
bool PlansNoEvaluation(const v1::PlanSweepResponse& plan);

// For a request with --refresh-errors: the numbers that cannot be measured again, one per line.
// Null means that the service is of an earlier build, which the text then says.
std::string NotRefreshedText(const v1::RefreshInfo* refresh);
// The outcomes of the tasks that measured again, once the sweep has ended: a line for each outcome,
// which counts the tasks with this outcome.
std::string RefreshOutcomeText(const v1::RefreshInfo& refresh, const Repeated<v1::RunInfo>& runs);

// The answer's `refresh`; null if nobody asked for it, or the service does not know it.
template <typename Answer>
const v1::RefreshInfo* RefreshOf(const Answer& answer) {
  return answer.has_refresh() ? &answer.refresh() : nullptr;
}

// Other active sweeps, one per line, and how to cancel them: from `others` of an answer.
std::string OthersText(const Repeated<v1::SweepInfo>& others);

}  // namespace longrun::client
