// SweepService: the calls of the command line. Handlers parse, ask the core or read the store, and answer;
// they decide nothing.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>

#include "coordinator/rpc/call.h"

namespace longrun {

// `parts` must outlive the server that the service is registered with.
std::unique_ptr<grpc::Service> MakeSweepService(Parts& parts);

}  // namespace longrun
