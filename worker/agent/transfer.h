// Transfers artifacts to and from the coordinator's store; digests are checked in both directions
// (gRPC stays in transfer.cc). Blocking; called on the agent's transfer threads.
#pragma once

#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "proto/local_artifact.h"
#include "sweeps/session_messages.h"
#include "worker/agent/session.h"

namespace grpc {
class ClientContext;
}

namespace longrun::agent {

class ArtifactTransfer {
 public:
  // To be called before any transfer.
  void Connect(CoordinatorChannel coordinator) { coordinator_ = std::move(coordinator); }

  // Uploads the files that the store does not have. kNotFound: a file is gone; kDataLoss: the bytes
  // read for the upload do not match the record.
  Status Upload(const std::vector<LocalArtifact>& files);

  // Stores the complete, verified checkpoint in cache_dir/SHA256 and returns its path. Existing
  // files are verified again, and fetched again if they do not match.
  Result<std::string> FetchCheckpoint(const CheckpointSource& source, const std::string& cache_dir);

  // Ends every current and later call with kCancelled.
  void Cancel();

 private:
  class Call;
  Status Download(const ArtifactFile& file, const std::string& path);

  CoordinatorChannel coordinator_;
  std::mutex fetching_;  // one fetch at a time: two tasks may want the same checkpoint
  std::mutex mutex_;     // guards the two below
  std::set<grpc::ClientContext*> calls_;
  bool cancelled_ = false;
};

// kDataLoss unless the folder has exactly what `source` says: all its files with their digests, and
// the manifest with the checkpoint's digest.
Status VerifyCheckpoint(const CheckpointSource& source, const std::string& folder);

}  // namespace longrun::agent
