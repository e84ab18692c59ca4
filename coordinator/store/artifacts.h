// The artifact store: immutable bytes named by their SHA-256, in STATE/artifacts/ab/abcdef...
//
// Bytes appear complete or not at all: an upload is written to a temporary file and hashed, then
// synced and renamed. The bytes of an interrupted upload are removed at the next start, unless the
// caller may go on with it (unfinished.h).
//
// May be called from any thread; an Upload belongs to one caller at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/hash.h"
#include "base/status.h"
#include "coordinator/store/unfinished.h"

namespace longrun::coordinator {

inline constexpr std::size_t kArtifactFrameBytesMax = 1u << 20;

class ArtifactStore {
 public:
  struct Options {
    std::string folder;                     // STATE/artifacts, created if missing
    std::int64_t disk_low_water_bytes = 0;  // refuse uploads that would leave less free
    // Unreferenced bytes stay this long after they were last requested: a worker may have been told
    // that they are here, and its record that refers to them may still be on the way.
    std::int64_t keep_unreferenced_ms = 600'000;
    // The clock for modification times: a file's is the time of the last request for the file.
    std::function<std::int64_t()> wall_ms = &WallMs;
  };
  // Removes unfinished uploads and removals from the folder.
  static Result<std::unique_ptr<ArtifactStore>> Open(Options options);

  bool Has(const std::string& sha256);
  struct Found {
    std::string path;
    std::int64_t n_bytes = 0;
    std::int64_t may_go_at_ms = 0;  // wall clock; from then on it may be removed if unreferenced
  };
  // kNotFound if the store does not have it.
  Result<Found> Find(const std::string& sha256) const;

  class Upload {
   public:
    ~Upload();  // keeps unfinished bytes with which the sender may go on, and removes others
    Upload(const Upload&) = delete;
    Upload& operator=(const Upload&) = delete;
    // Whether bytes of an earlier connection are still to be hashed. Before the first Write(), call
    // HashKept() until there are none: a slice at a time, so that no thread is busy for long.
    bool HasUnhashed() const { return n_hashed_ < n_bytes_; }
    Status HashKept();
    // kResourceExhausted if the disk is full, kInvalidArgument beyond the announced size, kAborted
    // if another connection of the sender goes on with this upload.
    Status Write(std::string_view bytes);
    // kDataLoss if size or digest do not match; then nothing is stored. kAborted if that may be due
    // to the bytes of an earlier connection, which are then gone.
    Status Finish();

   private:
    friend class ArtifactStore;
    struct Place {  // one of the two
      std::string path = {};
      int fd = -1;
      std::unique_ptr<UnfinishedUploads::Part> part = nullptr;
    };
    Upload(ArtifactStore& store, std::string sha256, std::string sender, std::int64_t n_bytes_total,
           std::int64_t n_kept, Place place);
    Status Use(const std::function<Status(int fd)>& use);
    Status WriteAll(int fd, std::string_view bytes);
    void Drop();  // removes the bytes
    void Unreserve(std::int64_t n_bytes);

    ArtifactStore& store_;
    const std::string sha256_;
    const std::string sender_;
    const std::int64_t n_bytes_total_;
    const std::int64_t n_kept_;    // of an earlier connection
    std::int64_t n_bytes_;         // so far
    std::int64_t n_hashed_ = 0;    // of those
    std::int64_t n_reserved_ = 0;  // of the disk, for the rest
    Place place_;
    Sha256 hash_;
  };
  // Begins an upload that nobody can go on with. kInvalidArgument if `sha256` is not a digest,
  // kResourceExhausted if the bytes would not fit beside those that other uploads have announced.
  Result<std::unique_ptr<Upload>> Begin(const std::string& sha256, std::int64_t n_bytes_total);
  // The same for a sender (a safe file name) who may go on after the connection broke. `offset`:
  // how many bytes the sender leaves out, at most UnfinishedBytes(). kAborted if they are not there
  // any more. kResourceExhausted also if the sender has too many uploads in progress, or if they
  // would take more than half of the room and `may_take_all` is false.
  Result<std::unique_ptr<Upload>> Resume(const std::string& sender, const std::string& sha256,
                                         std::int64_t n_bytes_total, std::int64_t offset,
                                         bool may_take_all = false);
  std::int64_t UnfinishedBytes(const std::string& sender, const std::string& sha256) const {
    return unfinished_.Bytes(sender, sha256);
  }
  // Removes unfinished uploads that nobody has gone on with for a day.
  void RemoveOldUploads() { unfinished_.RemoveOld(); }

  // Unreferenced bytes that were requested too recently to be removed.
  struct Young {
    std::string sha256;
    std::int64_t n_bytes = 0;
    std::int64_t may_go_at_ms = 0;
  };
  // Removes those of `candidates` that are old enough and unreferenced. Returns those that are
  // still too young, and those whose removal failed (which is logged). The `may_go_at_ms` of the
  // latter has passed, so the caller can try again at once. `is_referenced` must see every commit
  // that has returned. Code that is about to refer to bytes first calls Has(), which makes them
  // young, so they are not removed between that call and the commit.
  std::vector<Young> RemoveUnreferenced(
      const std::vector<std::string>& candidates,
      const std::function<Result<bool>(const std::string& sha256)>& is_referenced);
  std::int64_t NowMs() const { return options_.wall_ms(); }
  // Every digest in the store.
  Result<std::vector<std::string>> List() const;

 private:
  explicit ArtifactStore(Options options);
  // Takes room on the disk for an upload, until it is written or ends.
  Status Reserve(const std::string& sender, std::int64_t n_bytes, bool may_take_all);
  std::string PathOf(const std::string& sha256) const;
  std::string TemporaryPath();  // a new path
  // Moves the file to the path `to`, where the caller unlinks it, since unlinking may take long. If
  // the file is young, leaves it in place and returns false.
  Result<bool> TakeAway(const std::string& sha256, const std::string& to);

  Options options_;
  UnfinishedUploads unfinished_;
  // Guards the members below, and keeps a file from being removed while Has() looks at it.
  std::mutex mutex_;
  std::int64_t n_begun_ = 0;                      // number of temporary paths
  std::map<std::string, std::int64_t> reserved_;  // bytes still to come, by sender
};

}  // namespace longrun::coordinator
