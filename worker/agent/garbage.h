// The contents of a worker's folder that can be removed: the folders of attempts whose end the
// coordinator has stored, and the cache. `longrun gc` removes those of a stopped worker. A running
// worker removes old attempts, and those that exceed its limit on bytes; cache.h has the rest.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/status.h"

namespace longrun::agent {

// Returns {"busy", "items": [{"kind": attempt | cache, "name", "reason", "bytes"}]}, and removes
// the items unless dry_run. "busy" is true if a worker runs there; then nothing is examined. The
// cache stays while a trainer may read it: as long as an attempt has not ended, or its end is not
// stored.
Result<Json> CollectWorkerGarbage(const std::string& folder, bool dry_run);

// The folder of an attempt whose end is stored. It is kept for a while, so that a coordinator
// restored from a backup can get the journal again.
struct KeptAttempt {
  std::string id, path;
  std::int64_t n_bytes = 0;
  std::int64_t ended_wall_ms = 0;
};
// Removes the folders of attempts that ended before `wall_ms`, and then the oldest until the rest
// has at most `bytes_max`. Returns their ids. A folder that cannot be removed is logged, and counts
// as removed.
std::vector<std::string> RemoveOldAttempts(std::vector<KeptAttempt> kept, std::int64_t wall_ms,
                                           std::int64_t bytes_max);

}  // namespace longrun::agent
