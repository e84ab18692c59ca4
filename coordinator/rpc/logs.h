// The call that streams the logs of trainers.
#pragma once

#include "coordinator/rpc/call.h"
#include "longrun/v1/sweeps.pb.h"

namespace longrun::coordinator {

// The reactor deletes itself when the stream has ended.
grpc::ServerWriteReactor<v1::GetLogsResponse>* GetLogs(CoordinatorParts& parts,
                                                       grpc::CallbackServerContext* context,
                                                       const v1::GetLogsRequest* request);

}  // namespace longrun::coordinator
