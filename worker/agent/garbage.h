// What a stopped worker's folder holds that nobody needs: the folders of attempts whose end the
// coordinator has stored, and checkpoints that were fetched. Used by `longrun gc`.
#pragma once

#include <string>

#include "base/json.h"
#include "base/status.h"

namespace longrun {

// {"busy": true when a worker runs there: then nothing is looked at, "items": [{"kind": attempt |
// cache, "name", "reason", "bytes"}]}; without dry_run these are gone. The cache stays while a trainer
// may read it: as long as an attempt has not ended, or its end is not stored.
Result<Json> CollectWorkerGarbage(const std::string& folder, bool dry_run);

}  // namespace longrun
