// Checks that a sweep measures what its claims are about. Internal to sweeps/.
#pragma once

#include <string>
#include <vector>

#include "sweeps/claim.h"
#include "sweeps/spec.h"

namespace longrun {

struct ClaimProblem {
  std::string key;  // of the claim's parameters: "of"
  std::string message;
};

// The problems of a claim. A claim about something that the sweep does not measure could never be
// judged. Values given by --set are not compared, since claims are about the values of the file.
std::vector<ClaimProblem> ProblemsOf(const Claim& claim, const SweepSpec& spec);

}  // namespace longrun
