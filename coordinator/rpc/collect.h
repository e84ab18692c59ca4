// The call that removes what nothing needs: tasks, checkpoints, logs and bytes.
#pragma once

#include "coordinator/rpc/call.h"
#include "longrun/v1/sweeps.pb.h"

namespace longrun::coordinator {

Status CollectGarbage(Call& call, const v1::CollectGarbageRequest& request,
                      v1::CollectGarbageResponse* response);

}  // namespace longrun::coordinator
