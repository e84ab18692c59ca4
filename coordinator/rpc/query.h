// Users' SQL (store/query.h) as calls of SweepService.
#pragma once

#include <grpcpp/grpcpp.h>

#include "coordinator/rpc/call.h"
#include "longrun/v1/sweeps.pb.h"

namespace longrun {

// Runs on parts.querier. A query ends early if its client disconnects or the coordinator stops.
grpc::ServerUnaryReactor* AnswerQuery(Parts& parts, grpc::CallbackServerContext* context,
                                      const v1::QueryRequest* request, v1::QueryResponse* response);

grpc::ServerUnaryReactor* AnswerListViews(Parts& parts, grpc::CallbackServerContext* context,
                                          v1::ListViewsResponse* response);

}  // namespace longrun
