// The call that streams the state of a sweep until all its tasks are terminal.
#pragma once

#include "coordinator/rpc/call.h"
#include "longrun/v1/sweeps.pb.h"

namespace longrun::coordinator {

// The reactor deletes itself when the stream has ended.
grpc::ServerWriteReactor<v1::WatchSweepResponse>* WatchSweep(CoordinatorParts& parts,
                                                             grpc::CallbackServerContext* context,
                                                             const v1::WatchSweepRequest* request);

}  // namespace longrun::coordinator
