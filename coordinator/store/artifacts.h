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

#include "base/clock.h"
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
    std::function<std::int64_t()> wall_ms = &WallMs;  // a file's time says when it was asked for
  };
  // Empties the folder of half-done uploads and half-done removals.
  static Result<std::unique_ptr<ArtifactStore>> Open(Options options);

  bool Has(const std::string& sha256);
  struct Found {
    std::string path;
    std::int64_t n_bytes = 0;
    std::int64_t may_go_at_ms = 0;  // by the wall clock, unless something refers to it then
  };
  // kNotFound.
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

  // What nothing refers to, but what was asked for too lately.
  struct Young {
    std::string sha256;
    std::int64_t n_bytes = 0;
    std::int64_t may_go_at_ms = 0;
  };
  // Removes those of `candidates` that are old enough and not referenced; gives back those that are
  // still too young, and as those that may go now the ones that could not be removed (logged).
  // `is_referenced` must see every commit that has returned. Whoever is about to refer to bytes asks
  // Has() first, which makes them young: so nothing goes between that look and the commit.
  std::vector<Young> RemoveUnreferenced(
      const std::vector<std::string>& candidates,
      const std::function<Result<bool>(const std::string& sha256)>& is_referenced);
  std::int64_t NowMs() const { return options_.wall_ms(); }
  // Every digest in the store.
  Result<std::vector<std::string>> List() const;

 private:
  explicit ArtifactStore(Options options) : options_(std::move(options)) {}
  std::string PathOf(const std::string& sha256) const;
  std::string TemporaryPath();  // a new one
  // Moves the file out of everybody's sight unless it is young: false. Unlinking may take long.
  Result<bool> TakeAway(const std::string& sha256, const std::string& to);

  Options options_;
  std::mutex mutex_;  // guards the files against a removal between a look and its answer; n_begun_
  std::int64_t n_begun_ = 0;  // of temporary paths
};

}  // namespace longrun
