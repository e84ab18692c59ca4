// IdentityService: tokens, workers' certificates and the audit log.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>

#include "coordinator/rpc/call.h"

namespace longrun::coordinator {

std::unique_ptr<grpc::Service> MakeIdentityService(CoordinatorParts& parts);

}  // namespace longrun::coordinator
