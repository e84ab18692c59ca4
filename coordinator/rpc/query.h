// Users' SQL (store/query_process.h) as calls.
#pragma once

#include "coordinator/rpc/call.h"
#include "longrun/v1/sweeps.pb.h"

namespace longrun::coordinator {

// Ends early if its client disconnects or the coordinator stops.
Status Query(Call& call, const v1::QueryRequest& request, v1::QueryResponse* response);
Status ListViews(Call& call, const v1::ListViewsRequest& request, v1::ListViewsResponse* response);

}  // namespace longrun::coordinator
