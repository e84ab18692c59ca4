// Copies files to the artifact service or from it, over gRPC's blocking interface, for both the
// worker and the client. The receiver checks the digest, in both directions.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "longrun/v1/artifacts.grpc.pb.h"
#include "proto/local_artifact.h"

namespace longrun {

// Turns gRPC's status into ours; both have the canonical codes.
Status StatusOfRpc(const grpc::Status& status);

// Called with the number of bytes so far, after each frame of at most 1 MiB.
using TransferProgress = std::function<void(std::int64_t)>;

// How UploadFiles makes its calls.
struct UploadOptions {
  // A context for a call with this deadline. Its deleter runs when the call has ended.
  using Context = std::shared_ptr<grpc::ClientContext>;
  std::function<Context(std::chrono::system_clock::duration deadline)> new_context;
  std::chrono::system_clock::duration question_deadline{};
  std::chrono::system_clock::duration file_deadline{};
  // Called after each frame with the bytes so far, of this file and the files before it.
  TransferProgress progress = nullptr;
  // After a transient failure, goes on until no byte has arrived for this long; 0: reports it.
  std::int64_t patience_ms = 0;
  // Called with each failure after which it tries again. Waits, for at most so long. Only without
  // patience may it be missing.
  std::function<void(const Status& why, std::int64_t ms_max)> pause = nullptr;
  // For a caller that tries again for as long as it takes: errors of the store, such as those of
  // its disk, are kUnavailable, so that any other lasting error is the fault of a file.
  bool store_errors_are_transient = false;
};

// Uploads the files that the store does not have, one after the other. A file of which the store
// has kept the beginning is not sent from its start. Asks for the files again from time to time, so
// that the store keeps all of them until the caller refers to them. kNotFound: a file is gone;
// kDataLoss: a file does not have its size and digest, and nothing of it is stored. Both may also
// come from the store, unless `store_errors_are_transient`.
Status UploadFiles(v1::ArtifactService::Stub& stub, const std::vector<LocalArtifact>& files,
                   const UploadOptions& options);

// Overwrites file.path and syncs it. kDataLoss if the store returns other bytes.
Status DownloadFile(v1::ArtifactService::Stub& stub, grpc::ClientContext& context,
                    const LocalArtifact& file, const TransferProgress& progress = nullptr);

// The same, but keeps the bytes that an earlier call left in file.path, and asks only for the rest;
// for nothing if the file is complete. After an error, the file holds what has come so far.
// kDataLoss may also mean that the earlier bytes are wrong; its message ends with `remedy`, or if
// that is empty, with the remedy for what the store keeps.
Status ContinueDownload(v1::ArtifactService::Stub& stub, grpc::ClientContext& context,
                        const LocalArtifact& file, const std::string& remedy,
                        const TransferProgress& progress = nullptr);

}  // namespace longrun
