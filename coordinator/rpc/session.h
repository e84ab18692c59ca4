// WorkerSessionService: one bidirectional stream per worker. Messages become events for the core,
// and its commands become messages. The number of unanswered messages per session is bounded. A
// slow store slows no training, since the journal is the buffer.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>

#include "coordinator/rpc/call.h"

namespace longrun::coordinator {

// `parts` must outlive the server that the service is registered with.
std::unique_ptr<grpc::Service> MakeWorkerSessionService(CoordinatorParts& parts);

}  // namespace longrun::coordinator
