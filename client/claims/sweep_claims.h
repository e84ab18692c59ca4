// The claims of sweeps that a coordinator has, and their verdicts.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "client/claims/judge.h"
#include "client/wire/sweep_calls.h"
#include "sweeps/claim.h"

namespace longrun::client {

// The claims of a sweep as it was submitted, by its name or id.
Result<std::vector<Claim>> ClaimsOfSweep(SweepCalls& client, const std::string& sweep);

// Whether a statement of SQL may read the view `claims`.
bool MentionsClaims(const std::string& sql);

// The rows of the view `claims` (coordinator/store/query_catalogue.cc): all sweeps' claims, judged
// from their present results.
Result<std::string> ClaimRows(SweepCalls& client);

}  // namespace longrun::client
