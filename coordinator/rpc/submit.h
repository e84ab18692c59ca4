// Calls with a sweep file: planning its submission, and submitting it.
#pragma once

#include "base/random.h"
#include "coordinator/rpc/call.h"
#include "longrun/v1/sweeps.pb.h"

namespace longrun::coordinator {

Status PlanSweep(Call& call, const v1::PlanSweepRequest& request, v1::PlanSweepResponse* response);
Status SubmitSweep(Call& call, SeededRandom& random, const v1::SubmitSweepRequest& request,
                   v1::SubmitSweepResponse* response);

}  // namespace longrun::coordinator
