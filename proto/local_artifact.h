// A file that is to be in the artifact store, or comes from there; apart from
// artifact_transfer.h, whose header brings gRPC with it.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"

namespace longrun {

struct LocalArtifact {
  std::string path;
  std::string sha256;
  std::int64_t n_bytes = 0;
};

// Whether the same transfer may succeed later with the same files (the coordinator is away, or its
// disk is full). If not, the files themselves are at fault.
bool IsTransient(const Status& status);

// Reads the whole file. kNotFound: it is gone; kDataLoss: it does not have its size or its digest,
// or cannot be read.
Status CheckAgainstRecord(const LocalArtifact& file);

}  // namespace longrun
