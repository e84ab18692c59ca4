// The damaged rows that a submission writes anew: what only they have is kept, and those that stand under a
// key with a flipped bit are dropped. Nobody asks for such a row any more, but it still counts as
// damaged, and while anything is, nothing is removed (whole_check.h).
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>

#include "base/status.h"
#include "coordinator/store/sqlite.h"

namespace longrun {

// The user's note in the damaged row of a sweep; "" where there is none. `known`: columns of the row, with
// what they should be. When damage to one of these explains the checksum, the note is as it was
// written; else it is given with a remark, since a character of it may be another.
Result<std::string> NoteOfDamaged(Connection& connection, const std::string& sweep_id,
                                  const std::map<std::string, std::string>& known);

// Deletes from those of `tables` that a submission writes each damaged row beside which a sound one has a
// key of one other bit, and the same rest.
Status DropDisplaced(Connection& connection, const std::set<std::string>& tables);

// Whether two texts differ in one bit, and in nothing else.
bool IsOneBitOff(std::string_view a, std::string_view b);

}  // namespace longrun
