// The plan of a submission (coordinator/plan.h) as an answer.
#pragma once

#include "coordinator/core.h"
#include "coordinator/store/reader.h"
#include "longrun/v1/sweeps.pb.h"
#include "sweeps/sweep.h"

namespace longrun::coordinator {

// Plans the submission of `sweep`, and fills the whole response. Times are predicted from the
// newest tasks that have succeeded.
Status FillPlan(Core& core, StoreReader& reader, const Sweep& sweep,
                v1::PlanSweepResponse* response);

}  // namespace longrun::coordinator
