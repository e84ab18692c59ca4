// The unneeded contents of a stopped worker's folder: the folders of attempts whose end the
// coordinator has stored, and fetched checkpoints. Used by `longrun gc`.
#pragma once

#include <string>

#include "base/json.h"
#include "base/status.h"

namespace longrun::agent {

// {"busy": true if a worker runs there: then nothing is examined, "items": [{"kind":
// attempt | cache, "name", "reason", "bytes"}]}; without dry_run they are removed. The cache stays
// while a trainer may read it: as long as an attempt has not ended, or its end is not stored.
Result<Json> CollectWorkerGarbage(const std::string& folder, bool dry_run);

}  // namespace longrun::agent
