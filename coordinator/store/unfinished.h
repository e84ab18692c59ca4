// The bytes of uploads whose connection broke, so that a large file does not begin again:
//
//   FOLDER/OWNER/SHA256     the first bytes of the artifact with this digest, as they came
//
// They belong to the caller who sent them, count as nothing, and are checked as a whole when the
// rest has come. Each owner has a limit of files and bytes, of which the oldest go first; all go
// after a day.
//
// May be called from any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/status.h"

namespace longrun::coordinator {

class UnfinishedUploads {
 public:
  struct Options {
    std::string folder;                               // made when the first upload begins
    std::int64_t n_live_max = 16;                     // in progress, of one owner
    std::int64_t n_kept_max = 32;                     // of one owner
    std::int64_t bytes_max = std::int64_t{16} << 30;  // kept, of one owner
    std::int64_t keep_ms = 86'400'000;
    std::function<std::int64_t()> wall_ms = &WallMs;
  };
  explicit UnfinishedUploads(Options options) : options_(std::move(options)) {}

  // How many bytes there are; 0: none. `owner`: a safe file name.
  std::int64_t Bytes(const std::string& owner, const std::string& sha256) const;

  // The file of an upload in progress. Held by one connection at a time: a newer one of the same
  // owner takes it over, since the coordinator may not yet have noticed the end of an older one.
  class Part {
   public:
    ~Part();  // keeps the file, unless it was dropped or has moved elsewhere
    Part(const Part&) = delete;
    Part& operator=(const Part&) = delete;

    const std::string& path() const { return path_; }
    // Calls `use` with the open file, to read or write it. kAborted if another connection has taken
    // it over.
    Status Use(const std::function<Status(int fd)>& use);
    void Drop();  // removes the file

   private:
    friend class UnfinishedUploads;
    struct Hold {
      std::mutex mutex;  // guards `is_lost`, and is held while the file is used
      bool is_lost = false;
    };
    Part(UnfinishedUploads& all, std::string owner, std::string path, int fd,
         std::shared_ptr<Hold> hold);
    void End(bool removes);

    UnfinishedUploads& all_;
    const std::string owner_;
    const std::string path_;
    int fd_;  // -1: not opened
    bool has_ended_ = false;
    std::shared_ptr<Hold> hold_;
  };
  // Opens the file for reading and writing, with exactly `offset` bytes. kAborted if there are
  // fewer, kResourceExhausted if the owner has too many uploads in progress. Waits until an earlier
  // connection has ended what it is doing with the file; callers for other files do not.
  Result<std::unique_ptr<Part>> Take(const std::string& owner, const std::string& sha256,
                                     std::int64_t offset);

  // Removes what is older than `keep_ms`, of all owners, except of uploads in progress.
  void RemoveOld();

 private:
  std::string FolderOf(const std::string& owner) const;
  // Removes the oldest files of the owner beyond the limits. mutex_ is held.
  void Limit(const std::string& owner);

  const Options options_;
  mutable std::mutex mutex_;  // guards the two below, and the removal of files
  std::map<std::string, std::shared_ptr<Part::Hold>> live_;  // by path
  std::map<std::string, std::int64_t> n_live_;               // by owner
};

}  // namespace longrun::coordinator
