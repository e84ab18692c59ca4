// ArtifactService: bytes in frames of at most 1 MiB, into the artifact store and out of it.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>

#include "coordinator/rpc/call.h"

namespace longrun::coordinator {

// `parts` must outlive the server that the service is registered with.
std::unique_ptr<grpc::Service> MakeArtifactService(CoordinatorParts& parts);

}  // namespace longrun::coordinator
