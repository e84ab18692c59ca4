// The artifact store: immutable bytes named by their SHA-256, in STATE/artifacts/ab/abcdef...
//
// Bytes appear whole or not at all: an upload goes to a temporary file, is hashed while it is
// written, synced, and renamed. What a half-done upload left is removed at the next start.
//
// Any thread; an Upload belongs to one caller at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/hash.h"
#include "base/status.h"

namespace longrun {

inline constexpr std::size_t kArtifactFrameBytesMax = 1u << 20;

class ArtifactStore {
 public:
  struct Options {
    std::string folder;                     // STATE/artifacts, made when absent
    std::int64_t disk_low_water_bytes = 0;  // no upload that would leave less free
    // Bytes that nothing refers to stay this long after they were last asked for: a worker may have
    // been told that they are here, and its record of them is still on the way.
    std::int64_t keep_unreferenced_ms = 600'000;
  };
  // Empties the folder of half-done uploads.
  static Result<std::unique_ptr<ArtifactStore>> Open(Options options);

  bool Has(const std::string& sha256);
  // The file's path and size; kNotFound.
  struct Found {
    std::string path;
    std::int64_t n_bytes = 0;
  };
  Result<Found> Find(const std::string& sha256) const;

  class Upload {
   public:
    ~Upload();  // what was not finished is removed
    Upload(const Upload&) = delete;
    Upload& operator=(const Upload&) = delete;
    // kResourceExhausted when the disk is full, kInvalidArgument past the announced size.
    Status Write(std::string_view bytes);
    // kDataLoss when size or digest do not hold; nothing is stored then.
    Status Finish();

   private:
    friend class ArtifactStore;
    Upload(ArtifactStore& store, std::string sha256, std::int64_t n_bytes_total, std::string path,
           int fd);
    ArtifactStore& store_;
    std::string sha256_;
    std::int64_t n_bytes_total_;
    std::int64_t n_bytes_ = 0;
    std::string path_;
    int fd_;
    Sha256 hash_;
  };
  // kInvalidArgument for what is no digest, kResourceExhausted when it would not fit.
  Result<std::unique_ptr<Upload>> Begin(const std::string& sha256, std::int64_t n_bytes_total);

  // Removes those of `candidates` that are old enough and not referenced; gives back those that are
  // still too young.
  Result<std::vector<std::string>> RemoveUnreferenced(
      const std::vector<std::string>& candidates,
      const std::function<Result<bool>(const std::string& sha256)>& is_referenced);
  // Every digest in the store.
  Result<std::vector<std::string>> List() const;

 private:
  explicit ArtifactStore(Options options) : options_(std::move(options)) {}
  std::string PathOf(const std::string& sha256) const;

  Options options_;
  std::mutex mutex_;  // guards the files against a removal between a look and its answer; n_begun_
  std::int64_t n_begun_ = 0;
};

}  // namespace longrun
