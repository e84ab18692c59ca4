// The claims of a coordinator's sweeps, and their verdicts.
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

// The paths and values that --set gave, in its order, from a request or an answer.
template <typename Message>
std::vector<std::pair<std::string, std::string>> OverridesOf(const Message& message) {
  std::vector<std::pair<std::string, std::string>> overrides;
  for (const v1::Override& one : message.overrides()) {
    overrides.emplace_back(one.path(), one.value());
  }
  return overrides;
}

// Checks that the sweep of a request asks for everything that its claims compare. Returns
// kInvalidArgument with a line for each claim that could not be judged even if nothing failed.
// Claims about metrics by position or about averaging are not checked, since only results have
// these. Nothing is checked if --set changes the sweep (often to try a part of it), or if the
// service is of an earlier build. Other mistakes in the file are left to the request itself. Asks
// the coordinator only if there are claims.
template <typename Request>
Status CheckClaims(SweepCalls& client, const Request& request);

// Whether a statement of SQL may read the view `claims`.
bool MentionsClaims(const std::string& sql);

// The rows of the view `claims` (coordinator/store/query_catalogue.cc): all sweeps' claims, judged
// from their present results. kDeadlineExceeded if that takes longer than `timeout_ms`.
Result<std::string> ClaimRows(SweepCalls& client, std::int64_t timeout_ms);

}  // namespace longrun::client
