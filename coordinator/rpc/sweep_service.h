// SweepService: the calls of the command line. Each is answered by a function of the file that is
// named after its subject (submit, reads, sweeps, datasets, ...);
// the service says on which threads it runs.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>

#include "coordinator/rpc/call.h"

namespace longrun::coordinator {

// `parts` must outlive the server that the service is registered with.
std::unique_ptr<grpc::Service> MakeSweepService(CoordinatorParts& parts);

}  // namespace longrun::coordinator
