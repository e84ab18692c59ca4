// Files named by their SHA-256 in a folder that several machines see, such as one on NFS or Lustre:
//
//   FOLDER/ab/abcdef...   complete files, written by any of the machines
//   FOLDER/incoming/      files that a machine is writing
//
// What another machine sees of the folder may be old, and anybody may have written to it. So a file
// counts only after this process has hashed it, and again when it has changed since.
//
// May be called from any thread.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "base/status.h"

namespace longrun {

// Of a shared folder: what the coordinator and what workers write there, so that each side knows
// that the other one sees the same folder (coordinator/store/shared_store.h).
inline constexpr const char* kSharedChallenge = "challenge";
inline constexpr const char* kSharedSeen = "seen";

// Reads a file that another machine may have written a moment ago.
Result<std::string> ReadSharedFile(const std::string& path, std::size_t bytes_max);

class SharedObjects {
 public:
  explicit SharedObjects(std::string folder) : folder_(std::move(folder)) {}

  const std::string& folder() const { return folder_; }
  std::string PathOf(const std::string& sha256) const;

  // Whether the file is there, with its size and its SHA-256. kNotFound: it is missing; kDataLoss:
  // it has other bytes. `go_on` is asked now and then: an error of it ends the check.
  Status Check(const std::string& sha256, std::int64_t n_bytes,
               const std::function<Status()>& go_on);

  // Calls `write` with the path of a file to make in FOLDER/incoming, and puts it in place, synced,
  // if it has these bytes; kDataLoss if not. `writer`: a safe name of this process. If the file is
  // there already, `write` is not called. kFailedPrecondition if FOLDER is missing.
  Status Put(const std::string& sha256, std::int64_t n_bytes, const std::string& writer,
             const std::function<Status(const std::string& path)>& write,
             const std::function<Status()>& go_on);

  // Removes what was last written in FOLDER/incoming or FOLDER/seen before this time (wall clock).
  void RemoveOld(std::int64_t before_ms) const;

 private:
  // Changes whenever the file is replaced or written.
  struct Stamp {
    dev_t device = 0;
    ino_t inode = 0;
    std::int64_t n_bytes = 0;
    std::int64_t changed_ns = 0;
    bool operator==(const Stamp&) const = default;
  };
  Status MakeFolderInside(const std::string& path) const;
  static Result<Stamp> StampOf(const std::string& path);
  static Status CheckBytes(const std::string& path, const std::string& sha256, std::int64_t n_bytes,
                           const std::function<Status()>& go_on);

  const std::string folder_;
  std::mutex mutex_;                      // guards the map below
  std::map<std::string, Stamp> checked_;  // by SHA-256
};

}  // namespace longrun
