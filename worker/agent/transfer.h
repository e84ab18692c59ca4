// Transfers artifacts to and from the coordinator's store; digests are checked in both directions
// (gRPC stays in transfer.cc). Blocking; called on the agent's transfer threads.
#pragma once

#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "sweeps/session_messages.h"
#include "worker/agent/session.h"

namespace grpc {
class ClientContext;
}

namespace longrun::agent {

// A file that a journal record names.
struct LocalArtifact {
  std::string path;
  std::string sha256;
  std::int64_t n_bytes = 0;
};

// Whether the same transfer may succeed later with the same files (the coordinator is away, or its
// disk is full). If not, the files themselves are at fault.
bool IsTransient(const Status& status);

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
  Status UploadOne(const LocalArtifact& file);
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
