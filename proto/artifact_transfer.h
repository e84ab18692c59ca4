// Copies a file to the artifact service or from it, over gRPC's blocking interface, for both the
// worker and the client. Each function is at most one call; the receiver checks the digest.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/status.h"
#include "longrun/v1/artifacts.grpc.pb.h"

namespace longrun {

// Turns gRPC's status into ours; both have the canonical codes.
Status StatusOfRpc(const grpc::Status& status);

struct ArtifactFileRef {
  std::string path;
  std::string sha256;
  std::int64_t n_bytes = 0;
  // Of a download: what to do if the other end has other bytes; "": restore a backup.
  std::string remedy = {};
};

// Called with the number of bytes so far, after each frame of at most 1 MiB.
using TransferProgress = std::function<void(std::int64_t)>;

// kDataLoss if the file does not have the size and digest in `file`; then nothing is stored.
Status UploadFile(v1::ArtifactService::Stub& stub, grpc::ClientContext& context,
                  const ArtifactFileRef& file, const TransferProgress& progress = nullptr);

// Overwrites file.path and syncs it. kDataLoss if the store returns other bytes.
Status DownloadFile(v1::ArtifactService::Stub& stub, grpc::ClientContext& context,
                    const ArtifactFileRef& file, const TransferProgress& progress = nullptr);

// The same, but keeps the bytes that an earlier call left in file.path, and asks only for the rest;
// for nothing if the file is complete. After an error, the file holds what has come so far.
// kDataLoss may also mean that the earlier bytes are wrong.
Status ContinueDownload(v1::ArtifactService::Stub& stub, grpc::ClientContext& context,
                        const ArtifactFileRef& file, const TransferProgress& progress = nullptr);

}  // namespace longrun
