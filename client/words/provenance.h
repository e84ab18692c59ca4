// The provenance of a run's numbers as text, from the `started` record of its trainer.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "client/wire/messages.h"

namespace longrun::client {

// "longrun", "0.1.0, commit 3f2a91c0b7d4, numerics 1"
using ProvenanceLine = std::pair<std::string, std::string>;

// From the body of a `started` record. Missing members are left out, so that records of older
// releases can be shown.
std::vector<ProvenanceLine> ProvenanceOf(const Json& started);

// The body of the `started` record of a run's training, from an answer of GetRun. It is that of the
// attempt that succeeded, or else of the newest one that started; null if none has.
Json StartedOf(const v1::RunInfo& run);

}  // namespace longrun::client
