// A file to the artifact store and back, over gRPC's blocking interface: what the worker and the client
// both do. Each is one call; the digest is checked on both ends.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/status.h"
#include "longrun/v1/artifacts.grpc.pb.h"

namespace longrun {

// gRPC's status as ours; both have the canonical codes.
Status StatusOfRpc(const grpc::Status& status);

struct ArtifactFileRef {
  std::string path;
  std::string sha256;
  std::int64_t n_bytes = 0;
};

// Told the bytes so far, after each frame of at most 1 MiB.
using TransferProgress = std::function<void(std::int64_t)>;

// kDataLoss, and nothing is stored, when the file has not the size and digest that `file` says.
Status UploadFile(v1::ArtifactService::Stub& stub, grpc::ClientContext& context,
                  const ArtifactFileRef& file, const TransferProgress& progress = nullptr);

// Writes file.path anew, and syncs it. kDataLoss when the store gives other bytes.
Status DownloadFile(v1::ArtifactService::Stub& stub, grpc::ClientContext& context,
                    const ArtifactFileRef& file, const TransferProgress& progress = nullptr);

}  // namespace longrun
