// Calls about the coordinator itself and its workers.
#pragma once

#include "coordinator/rpc/call.h"
#include "longrun/v1/sweeps.pb.h"

namespace longrun::coordinator {

Status GetServerInfo(Call& call, const v1::GetServerInfoRequest& request,
                     v1::GetServerInfoResponse* response);
Status DrainWorker(Call& call, const v1::DrainWorkerRequest& request,
                   v1::DrainWorkerResponse* response);
Status UndrainWorker(Call& call, const v1::UndrainWorkerRequest& request,
                     v1::UndrainWorkerResponse* response);
Status RemoveWorker(Call& call, const v1::RemoveWorkerRequest& request,
                    v1::RemoveWorkerResponse* response);
Status ReleaseSlots(Call& call, const v1::ReleaseSlotsRequest& request,
                    v1::ReleaseSlotsResponse* response);
Status ListWorkers(Call& call, const v1::ListWorkersRequest& request,
                   v1::ListWorkersResponse* response);

}  // namespace longrun::coordinator
