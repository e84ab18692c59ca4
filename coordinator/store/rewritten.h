// Handles the damaged rows that a submission writes again: keeps data that only they have, and
// drops rows under a key with a flipped bit. Nothing refers to such a row any more, but it still
// counts as damaged, and while anything is damaged, nothing is removed (whole_check.h).
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>

#include "base/status.h"
#include "coordinator/store/sqlite.h"

namespace longrun::coordinator {

// The user's note in the damaged row of a sweep; "" if there is none. `known`: columns of the row
// with their correct values. If the row matches its checksum with one of these values, the note is
// returned unchanged. Otherwise it is returned with a remark, since one of its characters may be
// wrong.
Result<std::string> NoteOfDamaged(Connection& connection, const std::string& sweep_id,
                                  const std::map<std::string, std::string>& known);

// In those of `tables` that a submission writes, deletes each damaged row that was written again.
// Such a row has the same stored checksum as a sound row, or its key differs in one bit from that
// of a sound row, and the rest of the primary key is the same.
Status DropDisplaced(Connection& connection, const std::set<std::string>& tables);

}  // namespace longrun::coordinator
