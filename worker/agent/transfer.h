// Transfers artifacts to and from the coordinator's store; digests are checked in both directions
// (gRPC stays in transfer.cc). Blocking; called on the agent's transfer threads.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/artifact_file.h"
#include "base/shared_objects.h"
#include "base/status.h"
#include "proto/local_artifact.h"
#include "worker/agent/session.h"

namespace grpc {
class ClientContext;
}

namespace longrun::agent {

class ArtifactTransfer {
 public:
  // To be called before any transfer. `writer`: the worker's id, by which this process writes to
  // the shared folder.
  void Connect(CoordinatorChannel coordinator, std::string writer) {
    coordinator_ = std::move(coordinator);
    writer_ = std::move(writer);
  }

  // From now on, files may come from the shared folder and go there; null: not any more.
  void Share(std::shared_ptr<SharedObjects> shared);
  bool IsSharing() const;

  // Makes `path` a link to the file in the shared folder, into which it is fetched if it is not
  // there. kDataLoss if other bytes are there.
  Status Link(const ArtifactFile& file, const std::string& path, const std::string& remedy,
              const std::atomic<bool>& unwanted);

  // Puts the files into the shared folder and tells the coordinator. If the folder is not shared,
  // or, with a warning, if that fails, uploads those that the store does not have. kNotFound: a
  // file is gone; kDataLoss: a file does not match its record, or cannot be read. An error of the
  // folder or of the store is never one of these.
  Status Upload(const std::vector<LocalArtifact>& files);

  // Downloads the rest of a file whose first bytes may be at `path`, and checks all of it there. A
  // link at `path` is replaced, not followed.
  // kDataLoss, with the remedy, if its bytes are not those of its digest. kCancelled soon after
  // `unwanted` has become true.
  Status Receive(const ArtifactFile& file, const std::string& path, const std::string& remedy,
                 const std::atomic<bool>& unwanted);

  // Ends every current and later call with kCancelled.
  void Cancel();

 private:
  class Call;
  std::shared_ptr<SharedObjects> shared() const;
  Status PutAll(SharedObjects& shared, const std::vector<LocalArtifact>& files);
  Status IsCancelled() const;

  CoordinatorChannel coordinator_;
  std::string writer_;
  mutable std::mutex mutex_;  // guards everything below
  std::set<grpc::ClientContext*> calls_;
  bool cancelled_ = false;
  std::shared_ptr<SharedObjects> shared_;
};

}  // namespace longrun::agent
