// The claims of sweeps that a coordinator has, and their verdicts.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "client/claims/judge.h"
#include "client/wire/sweep_calls.h"
#include "sweeps/claim.h"

namespace longrun::client {

// The claims of a sweep as it was submitted, by its name or id.
Result<std::vector<Claim>> ClaimsOfSweep(SweepCalls& client, const std::string& sweep);

// What --set gave, in its order, of a request or an answer.
template <typename Message>
std::vector<std::pair<std::string, std::string>> OverridesOf(const Message& message) {
  std::vector<std::pair<std::string, std::string>> overrides;
  for (const v1::Override& one : message.overrides()) {
    overrides.emplace_back(one.path(), one.value());
  }
  return overrides;
}

// Whether the sweep of a request asks for all that its claims compare: kInvalidArgument with a line
// for each claim that could not be judged even if nothing failed. Claims about metrics by position
// or about averaging are not checked: only results have these. Nor are those of a sweep that --set
// changes, often to try a part of it, nor by a service of an earlier build. A file with other
// mistakes is left to whatever is asked of it. The coordinator is asked only if there are claims.
template <typename Request>
Status CheckClaims(SweepCalls& client, const Request& request);

// Whether a statement of SQL may read the view `claims`.
bool MentionsClaims(const std::string& sql);

// The rows of the view `claims` (coordinator/store/query_catalogue.cc): all sweeps' claims, judged
// from their present results. kDeadlineExceeded if that takes longer than `timeout_ms`.
Result<std::string> ClaimRows(SweepCalls& client, std::int64_t timeout_ms);

}  // namespace longrun::client
