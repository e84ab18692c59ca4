// Checkpoints that the artifact store has lost: a file of theirs is missing or damaged.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "base/status.h"
#include "coordinator/rpc/call.h"
#include "coordinator/scheduler/scheduler.h"

namespace longrun::coordinator {

// Of the tasks that the event names, and of those that they need, the training tasks that have lost
// their final checkpoint, or, before they succeed, the newest one from which they may resume. Names
// of each all lost checkpoints that are newer than the newest intact one. Checkpoints from which a
// task would start are read, the others only if `reads_all`.
Result<std::vector<LostCheckpoints>> FindLostCheckpoints(Call& call, const RetryRequested& event,
                                                         bool reads_all);

// Removes what is damaged of the lost checkpoints of `tasks`: otherwise a store that is opened
// again would take it for the files that are to be sent again.
void RemoveDamaged(Call& call, const std::vector<LostCheckpoints>& lost,
                   const std::set<std::string>& tasks);

}  // namespace longrun::coordinator
