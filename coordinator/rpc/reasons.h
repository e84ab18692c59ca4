// Why the tasks of a sweep or a run, or one task, do not run or have not ended.
#pragma once

#include <optional>

#include "coordinator/access.h"
#include "coordinator/rpc/call.h"
#include "coordinator/rpc/views.h"
#include "coordinator/scheduler/scheduler.h"
#include "longrun/v1/sweeps.pb.h"

namespace longrun::coordinator {

Status GetReasons(Call& call, const v1::GetReasonsRequest& request,
                  v1::GetReasonsResponse* response);

// Of a sweep of which nothing is running: what its tasks wait for, except what `notices` say. Empty
// if there is no more to say.
Result<std::optional<v1::Notice>> NoticeOfWaiting(CoordinatorParts& parts, const SweepRow& sweep,
                                                  bool is_remote, const Notices& notices);

// Names the refused workers in the reasons of the tasks that they would continue or, as far as is
// known, could run: such a worker is not heard from, and to start it again would not help.
void TellRefused(const RefusedWorkers& refused, const State& state,
                 v1::GetReasonsResponse* response);

}  // namespace longrun::coordinator
