// The call that removes tasks, checkpoints, logs and bytes that nothing needs.
#pragma once

#include "coordinator/rpc/call.h"
#include "longrun/v1/sweeps.pb.h"

namespace longrun::coordinator {

Status CollectGarbage(Call& call, const v1::CollectGarbageRequest& request,
                      v1::CollectGarbageResponse* response);

}  // namespace longrun::coordinator
