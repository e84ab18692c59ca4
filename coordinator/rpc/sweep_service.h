// SweepService: the calls of the command line. A function in the file that is named after a call's
// subject (submit, reads, sweeps, datasets, ...) answers the call. The service says on which
// threads it runs.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>

#include "coordinator/rpc/call.h"

namespace longrun::coordinator {

// `parts` must outlive the server that the service is registered with.
std::unique_ptr<grpc::Service> MakeSweepService(CoordinatorParts& parts);

}  // namespace longrun::coordinator
