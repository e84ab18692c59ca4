// Finds rows that are gone although each row that is left is valid: a page that was not written, or
// another page in its place, takes rows away without damaging one. What other rows say of them
// shows it: an attempt counts its records, a task its attempts, a sweep its runs.
#pragma once

#include <vector>

#include "base/status.h"
#include "coordinator/store/damage.h"

namespace longrun {

class Connection;

// For a database in which every row matches its checksum; a damaged key would look like a missing
// row. At most a few for each kind of row.
Result<std::vector<DamagedRow>> FindMissingRows(Connection& connection);

}  // namespace longrun
