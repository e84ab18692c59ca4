// The client's access to the artifact store: bytes by their SHA-256,
// through the coordinator of a state folder.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"

namespace longrun::client {

class ArtifactClient {
 public:
  // Connects to the coordinator of the state folder (client/wire/embedded.h),
  // which must outlive this.
  static Result<std::unique_ptr<ArtifactClient>> Connect(const std::string& state);
  ~ArtifactClient();
  ArtifactClient(const ArtifactClient&) = delete;
  ArtifactClient& operator=(const ArtifactClient&) = delete;

  // Which of these exist. Those that do stay for some minutes, even if nothing refers to them.
  Result<std::vector<bool>> Has(const std::vector<std::string>& digests);

  struct File {
    std::string path;
    std::string sha256;
    std::int64_t n_bytes = 0;
  };
  using Progress = std::function<void(std::int64_t n_bytes_so_far)>;
  // Sends a file. kDataLoss if it does not have this size and digest; then nothing is stored.
  Status Upload(const File& file, const Progress& progress = nullptr);
  // Writes a new file and syncs it. kDataLoss if the store returns other bytes.
  Status Download(const File& file, const Progress& progress = nullptr);

 private:
  struct Impl;
  explicit ArtifactClient(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace longrun::client
