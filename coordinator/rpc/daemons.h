// Calls about the coordinator itself and its workers.
#pragma once

#include "coordinator/rpc/call.h"
#include "longrun/v1/sweeps.pb.h"

namespace longrun::coordinator {

Status GetServerInfo(Call& call, const v1::GetServerInfoRequest& request,
                     v1::GetServerInfoResponse* response);
Status ListWorkers(Call& call, const v1::ListWorkersRequest& request,
                   v1::ListWorkersResponse* response);

}  // namespace longrun::coordinator
