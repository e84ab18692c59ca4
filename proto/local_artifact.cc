#include "proto/local_artifact.h"

#include "base/files.h"
#include "base/hash.h"
#include "base/str.h"

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

Status CheckAgainstRecord(const LocalArtifact& file) {
  ASSIGN_OR_RETURN(const std::int64_t n_bytes, FileBytes(file.path));
  if (n_bytes != file.n_bytes) {
    return Status(Code::kDataLoss,
                  Str("the file has ", n_bytes, " bytes; its record says ", file.n_bytes));
  }
  ASSIGN_OR_RETURN(const std::string found, Sha256OfFile(file.path));
  if (found == file.sha256) return Status();
  return Status(Code::kDataLoss,
                Str("the file's SHA-256 is ", found, "; its record says ", file.sha256));
}

}  // namespace longrun
