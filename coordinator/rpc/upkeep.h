// Calls that maintain sweeps: labels and notes, retries, removal.
#pragma once

#include <grpcpp/grpcpp.h>

#include "coordinator/rpc/call.h"
#include "longrun/v1/sweeps.grpc.pb.h"

namespace longrun {

grpc::ServerUnaryReactor* HandleAnnotate(Parts& parts, grpc::CallbackServerContext* context,
                                         const v1::AnnotateSweepRequest* request,
                                         v1::AnnotateSweepResponse* response);
grpc::ServerUnaryReactor* HandleRetry(Parts& parts, grpc::CallbackServerContext* context,
                                      const v1::RetryTasksRequest* request,
                                      v1::RetryTasksResponse* response);
grpc::ServerUnaryReactor* HandleRemoveSweep(Parts& parts, grpc::CallbackServerContext* context,
                                            const v1::RemoveSweepRequest* request,
                                            v1::RemoveSweepResponse* response);
grpc::ServerUnaryReactor* HandleRemoveDataset(Parts& parts, grpc::CallbackServerContext* context,
                                              const v1::RemoveDatasetRequest* request,
                                              v1::RemoveDatasetResponse* response);
grpc::ServerUnaryReactor* HandleGarbage(Parts& parts, grpc::CallbackServerContext* context,
                                        const v1::CollectGarbageRequest* request,
                                        v1::CollectGarbageResponse* response);

}  // namespace longrun
