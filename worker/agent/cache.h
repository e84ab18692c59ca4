// The worker's cache: what attempts read and the coordinator has sent, by digest.
//
//   STATE/cache/SHA256/            a checkpoint; the SHA-256 of its manifest.json
//   STATE/cache/datasets/DIGEST/   a dataset
//   STATE/cache/files/SHA256       a file that an evaluation names
//   STATE/cache/incoming/NAME/     a fetch that has not ended; the next one of the same item goes
//                                  on from there, also in a later process
//   STATE/cache/removed/           is being deleted
//
// An item appears by a rename, after each of its files was synced and had its SHA-256. All items
// together, with the whole size of those that are still coming, take at most `bytes_max`: the least
// recently used ones are removed first, and never one that an attempt of this worker uses. The time
// of the last use is the modification time of the folder or file.
//
// All functions may be called from any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/artifact_file.h"
#include "base/status.h"

namespace longrun::agent {

enum class CacheKind { kCheckpoint, kDataset, kInputFile };

struct CacheItem {
  CacheKind kind = CacheKind::kCheckpoint;
  std::string digest;  // 64 hex digits
  // With safe names; of an input file: only itself. Empty: it can only be there already.
  std::vector<ArtifactFile> files;
  // Links to files in the shared folder: takes no room.
  bool is_linked = false;
};

struct CacheOptions {
  std::string folder;                    // STATE/cache
  std::int64_t bytes_max = 0;            // --cache-bytes
  std::int64_t disk_free_bytes_min = 0;  // what a fetch must leave free
};

// Whether an error of Cache::Get() is that the disk has too little room, rather than the cache.
bool LacksDisk(const Status& status);

class Cache {
 public:
  // Creates the folder if it is missing, and finds what earlier processes have left there.
  static Result<std::unique_ptr<Cache>> Open(CacheOptions options);

  // Fetches the rest of a file whose first bytes may be at `path`, and checks its SHA-256 there.
  // kDataLoss if the bytes do not have it.
  using Receive = std::function<Status(const ArtifactFile& file, const std::string& path)>;

  // The path of the item, fetched if it is not there or is damaged. From then on, `user` uses the
  // item. nullopt: another thread is fetching the same item: ask again later. kResourceExhausted
  // says what limits the cache, and how to raise the limit. kPermissionDenied if the cache cannot
  // be written.
  Result<std::optional<std::string>> Get(const CacheItem& item, const std::string& user,
                                         const Receive& receive);
  bool Has(CacheKind kind, const std::string& digest) const;
  std::int64_t bytes_max() const { return options_.bytes_max; }

  // `user`, which may have begun before this process, uses the items that hold these paths. Other
  // paths are ignored.
  void Use(const std::string& user, const std::vector<std::string>& paths);
  // What `user` uses is unknown: nothing is removed as long as it is a user.
  void UseAll(const std::string& user);
  // Forgets all other users.
  void KeepUsers(const std::set<std::string>& users);
  // Before their next use, the files of what `user` uses are hashed again.
  void Doubt(const std::string& user);

  // Removes the least recently used items until the rest takes at most `bytes_max`, and the disk
  // has `disk_free_bytes_min`. Blocks while it deletes.
  void Trim();

  std::vector<std::string> DatasetDigests() const;  // sorted
  // Grows whenever DatasetDigests() has changed.
  std::int64_t datasets_version() const;

 private:
  struct Entry {
    std::int64_t n_bytes = 0;
    std::int64_t used_ns = 0;  // wall clock
    bool doubted = false;
  };

  explicit Cache(CacheOptions options) : options_(std::move(options)) {}
  Status Scan();
  std::string PathOf(CacheKind kind, const std::string& digest) const;
  std::string IncomingOf(CacheKind kind, const std::string& digest) const;
  Status GetAlone(const CacheItem& item, const std::string& path, const Receive& receive);
  Status Fetch(const CacheItem& item, const std::string& path, const Receive& receive);
  Status MakeRoom(const CacheItem& item, const std::string& incoming);
  void NoteUse(const std::string& path);
  // These need the lock.
  bool IsUsed(const std::string& path) const;
  std::int64_t TotalBytes() const;
  std::int64_t UnusedBytes() const;  // of what nobody uses
  // Moves the least recently used item that nobody uses away. False: there is none.
  bool RemoveOldest(std::vector<std::string>& to_delete);
  void Forget(const std::string& path);
  // What is there of a fetch that has ended or was not begun.
  void NoteIncoming(const std::string& incoming);

  const CacheOptions options_;
  mutable std::mutex mutex_;              // guards everything below
  std::map<std::string, Entry> entries_;  // by path: items, and fetches that have not ended
  std::set<std::string> busy_;            // paths of items that a thread is getting
  std::map<std::string, std::set<std::string>> users_;  // the paths that each uses
  std::int64_t n_removed_ = 0;
  std::int64_t datasets_version_ = 1;
};

// What is in a cache, for `longrun gc`: the folders and files above, with a name for people.
struct CachedPath {
  std::string name;  // "datasets/DIGEST"
  std::string path;
  std::string reason;  // why it may be removed
};
Result<std::vector<CachedPath>> ListCache(const std::string& folder);

// The default of --cache-bytes: a quarter of the disk that holds `folder`. 8 GiB if the size of the
// disk is not known.
std::int64_t DefaultCacheBytes(const std::string& folder);

}  // namespace longrun::agent
