// What a run's numbers can be traced to, as text: from the `started` record of its trainer.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/json.h"

namespace longrun {

// "longrun", "0.1.0, commit 3f2a91c0b7d4, numerics 1"
using ProvenanceLine = std::pair<std::string, std::string>;

// From the body of a `started` record; what it does not say is left out, so that records of older
// releases can be shown.
std::vector<ProvenanceLine> ProvenanceOf(const Json& started);

// The body of the `started` record of a run's training, as GetRun answers: of the attempt that
// succeeded, else of the newest that began. null when none has.
Json StartedOf(const Json& run);

}  // namespace longrun
