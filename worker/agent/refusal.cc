// See refusal.h.
#include "worker/agent/refusal.h"

#include <optional>

#include "base/str.h"
#include "sweeps/failure.h"

namespace longrun::agent {

std::string_view RefusalClass(const Status& status) {
  if (const std::optional<Shortage> shortage = ShortageOf(status)) {
    return FailureOf(ClassOfShortage(*shortage)).name;
  }
  switch (status.code()) {
    case Code::kResourceExhausted:
    case Code::kPermissionDenied:
      return FailureOf(FailureClass::kStorage).name;
    case Code::kUnavailable:
    case Code::kDeadlineExceeded:
    case Code::kCancelled:
    case Code::kAborted:
    case Code::kUnknown:
    case Code::kInternal:
      return "";
    case Code::kOk:
    case Code::kInvalidArgument:
    case Code::kNotFound:
    case Code::kAlreadyExists:
    case Code::kFailedPrecondition:
    case Code::kOutOfRange:
    case Code::kUnimplemented:
    case Code::kDataLoss:
      return FailureOf(FailureClass::kData).name;
  }
  return "";
}

Status CacheNotWritten(const Status& status) {
  if (status.ok() || status.code() == Code::kResourceExhausted) return status;
  return Status(Code::kPermissionDenied,
                Str("the worker's cache cannot be written: ", status.message()));
}

}  // namespace longrun::agent
