// What a submission would do and cost, as the scheduler's state stands: nothing is stored.
#pragma once

#include "coordinator/core.h"
#include "coordinator/store/reader.h"
#include "longrun/v1/sweeps.pb.h"
#include "sweeps/sweep.h"

namespace longrun {

// Fills everything of the response. Times rest on the newest tasks that have succeeded.
Status PlanSweep(Core& core, StoreReader& reader, const Sweep& sweep,
                 v1::PlanSweepResponse* response);

}  // namespace longrun
