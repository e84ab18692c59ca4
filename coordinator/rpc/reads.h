// Calls that read sweeps, runs and their numbers.
#pragma once

#include "coordinator/rpc/call.h"
#include "longrun/v1/sweeps.pb.h"

namespace longrun::coordinator {

Status ListSweeps(Call& call, const v1::ListSweepsRequest& request,
                  v1::ListSweepsResponse* response);
Status GetSweep(Call& call, const v1::GetSweepRequest& request, v1::GetSweepResponse* response);
Status GetRun(Call& call, const v1::GetRunRequest& request, v1::GetRunResponse* response);
Status GetResults(Call& call, const v1::GetResultsRequest& request,
                  v1::GetResultsResponse* response);
Status GetSeries(Call& call, const v1::GetSeriesRequest& request, v1::GetSeriesResponse* response);

}  // namespace longrun::coordinator
