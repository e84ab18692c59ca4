// The call that streams the state of a sweep until all its tasks are terminal.
#pragma once

#include "coordinator/rpc/call.h"

namespace longrun::coordinator {

class WatchedSweeps;

// The reactor deletes itself when the stream has ended. It takes and gives the bytes of messages,
// since the watchers of a sweep send the same ones. `parts` and `all` must outlive it.
grpc::ServerWriteReactor<grpc::ByteBuffer>* WatchSweep(CoordinatorParts& parts, WatchedSweeps& all,
                                                       grpc::CallbackServerContext* context,
                                                       const grpc::ByteBuffer* request);

}  // namespace longrun::coordinator
