// The client's access to the artifact store: bytes by their SHA-256,
// through the coordinator of a state folder or of a context.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "proto/local_artifact.h"

namespace longrun::client {

class ArtifactClient {
 public:
  // Connects to the coordinator of the state folder (client/wire/embedded.h),
  // which must outlive this; or to the one of a context's folder.
  static Result<std::unique_ptr<ArtifactClient>> Connect(const std::string& state);
  ~ArtifactClient();
  ArtifactClient(const ArtifactClient&) = delete;
  ArtifactClient& operator=(const ArtifactClient&) = delete;

  using Progress = std::function<void(std::int64_t n_bytes_so_far)>;
  // Sends the files that the store does not have; they then stay for some minutes, even if nothing
  // refers to them. Over the network, a broken connection only delays this: each new attempt goes
  // on where the last one ended, and `tell` gets a line whenever the cause changes. kDataLoss if a
  // file does not have its size and digest; then nothing of it is stored.
  Status Upload(const std::vector<LocalArtifact>& files, const Progress& progress,
                const std::function<void(const std::string&)>& tell);
  // Writes a new file and syncs it. kDataLoss if the store returns other bytes.
  Status Download(const LocalArtifact& file, const Progress& progress = nullptr);

 private:
  struct Impl;
  explicit ArtifactClient(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace longrun::client
