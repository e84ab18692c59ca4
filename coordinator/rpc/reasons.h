// Why the tasks of a sweep or a run, or one task, do not run or have not ended.
#pragma once

#include "coordinator/rpc/call.h"
#include "longrun/v1/sweeps.pb.h"

namespace longrun::coordinator {

Status GetReasons(Call& call, const v1::GetReasonsRequest& request,
                  v1::GetReasonsResponse* response);

}  // namespace longrun::coordinator
