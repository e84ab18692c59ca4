// Turns our Status into gRPC's. The codes are the same. The message is for people; for programs,
// there is an ErrorDetail in the trailer "longrun-error-bin".
#pragma once

#include <grpcpp/grpcpp.h>

#include <string>
#include <vector>

#include "base/status.h"
#include "coordinator/store/damage.h"

namespace longrun::coordinator {

struct RpcError {
  std::string reason;   // UPPER_SNAKE: SWEEP_INVALID, SWEEP_NOT_FOUND, ...
  std::string subject;  // the thing: a file, a sweep, a task
};

// If the reason is SWEEP_INVALID, each line of the message is a violation of the sweep file.
grpc::Status ToRpc(const Status& status, const RpcError& error, grpc::ServerContextBase* context);

// Reports rows that an answer leaves out because they are damaged, in the trailer
// "longrun-damaged-bin": an ErrorDetail with one line per object.
void AddDamage(const std::vector<DamagedRow>& rows, grpc::ServerContextBase* context);

}  // namespace longrun::coordinator
