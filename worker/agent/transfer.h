// Transfers artifacts to and from the coordinator's store; digests are checked in both directions
// (gRPC stays in transfer.cc). Blocking; called on the agent's transfer threads.
#pragma once

#include <atomic>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/artifact_file.h"
#include "base/status.h"
#include "proto/local_artifact.h"
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

  // Downloads the rest of a file whose first bytes may be at `path`, and checks all of it there.
  // kDataLoss, with the remedy, if its bytes are not those of its digest. kCancelled soon after
  // `unwanted` has become true.
  Status Receive(const ArtifactFile& file, const std::string& path, const std::string& remedy,
                 const std::atomic<bool>& unwanted);

  // Ends every current and later call with kCancelled.
  void Cancel();

 private:
  class Call;

  CoordinatorChannel coordinator_;
  std::mutex mutex_;  // guards the two below
  std::set<grpc::ClientContext*> calls_;
  bool cancelled_ = false;
};

}  // namespace longrun::agent
