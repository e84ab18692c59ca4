#include "proto/local_artifact.h"

namespace longrun {

bool IsTransient(const Status& status) {
  switch (status.code()) {
    case Code::kUnavailable:
    case Code::kDeadlineExceeded:
    case Code::kCancelled:
    case Code::kAborted:
    case Code::kResourceExhausted:
    case Code::kUnknown:
    case Code::kInternal:
      return true;
    default:
      return false;
  }
}

}  // namespace longrun
