// Finds rows that are missing although every remaining row is valid. This happens if the disk did
// not write a page, or wrote another page in its place. Other rows reveal the missing ones: an
// attempt counts its records, a task its attempts, and a sweep its runs.
#pragma once

#include <vector>

#include "base/status.h"
#include "coordinator/store/damage.h"

namespace longrun::coordinator {

class Connection;

// Requires that every row matches its checksum, since a row with a damaged key would count as
// missing. Returns at most a few missing rows of each kind. `names_all`: also returns missing
// runs and tasks that other rows refer to, which Store::Load() finds by itself.
Result<std::vector<DamagedRow>> FindMissingRows(Connection& connection, bool names_all);

// The same, but returns only missing runs and tasks of sweeps, and missing attempts of tasks.
Result<std::vector<DamagedRow>> FindMissingMembers(Connection& connection);

}  // namespace longrun::coordinator
