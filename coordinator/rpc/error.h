// Our Status as gRPC's: the codes are the same, and an ErrorDetail travels in the trailer
// "longrun-error-bin" for programs; people read the message.
#pragma once

#include <grpcpp/grpcpp.h>

#include <string>
#include <vector>

#include "base/status.h"
#include "coordinator/store/damage.h"

namespace longrun {

struct RpcError {
  std::string reason;   // UPPER_SNAKE: SWEEP_INVALID, SWEEP_NOT_FOUND, ...
  std::string subject;  // the thing: a file, a sweep, a task
};

// With reason SWEEP_INVALID each line of the message is a violation of the sweep file.
grpc::Status ToRpc(const Status& status, const RpcError& error, grpc::ServerContextBase* context);

// What an answer leaves out since it is damaged travels beside it, in the trailer "longrun-damaged-bin":
// an ErrorDetail with a line for each object.
void AddDamage(const std::vector<DamagedRow>& rows, grpc::ServerContextBase* context);

}  // namespace longrun
