// Artifacts to and from the coordinator's store, checked by digest on both ways (gRPC stays in
// transfer.cc). Blocking; called on the agent's transfer threads.
#pragma once

#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "worker/agent/messages.h"
#include "worker/agent/session.h"

namespace grpc {
class ClientContext;
}

namespace longrun {

// A file that a journal record names.
struct LocalArtifact {
  std::string path;
  std::string sha256;
  std::int64_t n_bytes = 0;
};

// May the same transfer succeed later, with the same files? (The coordinator is away, or its disk is
// full.) Else the files themselves are at fault.
bool IsTransient(const Status& status);

class ArtifactClient {
 public:
  // Before any transfer.
  void Connect(CoordinatorChannel coordinator) { coordinator_ = std::move(coordinator); }

  // Uploads those that the store does not have. kNotFound: a file is gone; kDataLoss: its bytes are
  // not those of the record, which is found while they are read.
  Status Upload(const std::vector<LocalArtifact>& files);

  // Makes cache_dir/SHA256 hold the checkpoint, whole and verified, and gives its path. What is there
  // already is verified again, and fetched again when it does not hold.
  Result<std::string> FetchCheckpoint(const CheckpointSource& source, const std::string& cache_dir);

  // Every call ends now with kCancelled, also later ones.
  void Cancel();

 private:
  class Call;
  Status UploadOne(const LocalArtifact& file);
  Status Download(const ArtifactFile& file, const std::string& path);

  CoordinatorChannel coordinator_;
  std::mutex fetching_;  // one fetch at a time: two tasks may want the same checkpoint
  std::mutex mutex_;     // guards what follows
  std::set<grpc::ClientContext*> calls_;
  bool cancelled_ = false;
};

// kDataLoss unless the folder holds exactly what `source` says: digests of all its files, and of the
// manifest the checkpoint's own.
Status VerifyCheckpoint(const CheckpointSource& source, const std::string& folder);

}  // namespace longrun
