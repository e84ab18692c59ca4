// Finds rows that are gone although each row that is left is valid: a page that was not written, or
// another page in its place, takes rows away without damaging one. What other rows say of them
// shows it: an attempt counts its records, a task its attempts, a sweep its runs.
#pragma once

#include <vector>

#include "base/status.h"
#include "coordinator/store/damage.h"

namespace longrun::coordinator {

class Connection;

// For a database in which every row matches its checksum; a damaged key would look like a missing
// row. At most a few for each kind of row. `names_all`: also the runs and tasks that other rows
// refer to, which Store::Load() finds by itself.
Result<std::vector<DamagedRow>> FindMissingRows(Connection& connection, bool names_all);

// Only those that say what is needed: the runs and tasks of sweeps, and the attempts of tasks.
Result<std::vector<DamagedRow>> FindMissingMembers(Connection& connection);

}  // namespace longrun::coordinator
