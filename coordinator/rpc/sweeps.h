// Calls that change a sweep that was submitted.
#pragma once

#include "coordinator/rpc/call.h"
#include "longrun/v1/sweeps.pb.h"

namespace longrun::coordinator {

Status CancelSweep(Call& call, const v1::CancelSweepRequest& request,
                   v1::CancelSweepResponse* response);
Status PauseSweep(Call& call, const v1::PauseSweepRequest& request,
                  v1::PauseSweepResponse* response);
Status ResumeSweep(Call& call, const v1::ResumeSweepRequest& request,
                   v1::ResumeSweepResponse* response);
Status RemoveSweep(Call& call, const v1::RemoveSweepRequest& request,
                   v1::RemoveSweepResponse* response);
Status AnnotateSweep(Call& call, const v1::AnnotateSweepRequest& request,
                     v1::AnnotateSweepResponse* response);
Status RetryTasks(Call& call, const v1::RetryTasksRequest& request,
                  v1::RetryTasksResponse* response);

}  // namespace longrun::coordinator
