// The artifact store: immutable bytes named by their SHA-256, in STATE/artifacts/ab/abcdef...
//
// Bytes appear complete or not at all: an upload is written to a temporary file and hashed, then
// synced and renamed. The bytes of an interrupted upload are removed at the next start, unless the
// caller may go on with it (unfinished.h).
//
// The folder may be shared with workers (shared_store.h), which then put bytes there themselves.
// These count only after the coordinator has read them (Adopt).
//
// May be called from any thread; an Upload belongs to one caller at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/artifact_file.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/held_file.h"
#include "base/shared_objects.h"
#include "base/status.h"
#include "base/write_back.h"
#include "coordinator/store/disk_room.h"
#include "coordinator/store/unfinished.h"

namespace longrun::coordinator {

inline constexpr std::size_t kArtifactFrameBytesMax = 1u << 20;

// kFailedPrecondition: the store does not have the file, which must be sent first.
Status NotSent(const ArtifactFile& file);

class ArtifactStore {
 public:
  struct Options {
    std::string folder;                     // STATE/artifacts, created if missing
    std::int64_t disk_low_water_bytes = 0;  // refuse uploads that would leave less free
    // What one sender may have sent, or be sending, that nothing refers to yet.
    std::int64_t unused_bytes_max = std::numeric_limits<std::int64_t>::max();
    // Workers write to the folder, too. Then nothing marks the files themselves as requested, since
    // a file that changes is hashed again by every worker.
    bool is_shared = false;
    // Unreferenced bytes stay this long after they were last requested: a worker may have been told
    // that they are here, and its record that refers to them may still be on the way.
    std::int64_t keep_unreferenced_ms = 600'000;
    // The clock for modification times: a file's is the time of the last request for the file.
    std::function<std::int64_t()> wall_ms = &WallMs;
  };
  // Removes unfinished uploads and removals from the folder.
  static Result<std::unique_ptr<ArtifactStore>> Open(Options options);

  bool is_shared() const { return options_.is_shared; }
  // kDataLoss once the folder is not the one that was opened: deleted or moved. Of a shared folder,
  // this is not checked.
  Status CheckInPlace() const;
  // If the bytes are there, makes them young, and makes sure that they outlast a power failure.
  bool Has(const std::string& sha256);
  // Whether a record may refer to the bytes, which are made young. In a shared folder, only those
  // that this process has read or received; does not look at the folder then.
  bool MayBeReferredTo(const std::string& sha256);
  // Reads what a worker has put into the shared folder; from then on, records may refer to it.
  // kNotFound, or kDataLoss if it has other bytes; kFailedPrecondition if the folder is not shared.
  // `go_on` is asked now and then: an error of it ends the work.
  Status Adopt(const std::string& sha256, std::int64_t n_bytes,
               const std::function<Status()>& go_on);
  struct Found {
    std::string path;
    std::int64_t n_bytes = 0;
    std::int64_t requested_at_ms = 0;  // wall clock: the last time
    std::int64_t may_go_at_ms = 0;     // from then on it may be removed if unreferenced
  };
  // kNotFound if the store does not have it.
  Result<Found> Find(const std::string& sha256) const;
  // The bytes of a file that a client says it has sent, which are made young. kFailedPrecondition
  // if the store does not have them, kInvalidArgument if the client says another size.
  Result<Found> FindSent(const ArtifactFile& file);

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
    // The two halves of Write(), which may run at the same time.
    void Hash(std::string_view bytes);
    Status Append(std::string_view bytes);
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
    std::int64_t unused_n_ = 0;    // of its entry among the sender's unused bytes; 0: none
    Place place_;
    Sha256 hash_;
    WriteBack write_back_;
  };
  // Begins an upload that nobody can go on with. kInvalidArgument if `sha256` is not a digest,
  // kResourceExhausted if the bytes would not fit beside those that other uploads have announced.
  Result<std::unique_ptr<Upload>> Begin(const std::string& sha256, std::int64_t n_bytes_total);
  // The same for a sender (a safe file name) who may go on after the connection broke. `offset`:
  // how many bytes the sender leaves out, at most UnfinishedBytes(). kAborted if they are not there
  // any more. kResourceExhausted also if the sender has too many uploads in progress, or, if
  // `may_take_all` is false, if they would take more than half of the room, or the sender has sent
  // too much that nothing refers to.
  Result<std::unique_ptr<Upload>> Resume(const std::string& sender, const std::string& sha256,
                                         std::int64_t n_bytes_total, std::int64_t offset,
                                         bool may_take_all = false);
  std::int64_t UnfinishedBytes(const std::string& sender, const std::string& sha256) const {
    return unfinished_.Bytes(sender, sha256);
  }
  // Removes unfinished uploads that nobody has gone on with for a day, and what workers that were
  // killed have left in the shared folder.
  void RemoveOldUploads();

  // Unreferenced bytes that were requested too recently to be removed.
  struct Young {
    std::string sha256;
    std::int64_t n_bytes = 0;
    std::int64_t may_go_at_ms = 0;
  };
  // Removes an artifact whose bytes, as the caller has found, do not have its digest. `link` is
  // another name of the file with these bytes: true only if the store still has that file, and not
  // a new one.
  bool DropDamaged(const std::string& sha256, const std::string& link);

  // Reads an artifact. If its bytes do not have its digest or cannot be read, returns true, and
  // Has() says from then on, until the file changes, that it is not there, so that whoever has good
  // bytes sends them. The file stays: nobody may have better ones. kNotFound. `go_on` is asked now
  // and then: an error of it ends the work.
  Result<bool> NoteIfDamaged(const std::string& sha256, const std::function<Status()>& go_on);

  // Removes an artifact that NoteIfDamaged() has found damaged, unless it has changed since.
  void RemoveDamaged(const std::string& sha256);

  // What changes if a file is written.
  struct FileVersion {
    std::uint64_t inode = 0;
    std::int64_t n_bytes = 0, modified_ns = 0;
    bool operator==(const FileVersion&) const = default;
  };

  // If the disk has too little room: bytes that rows referred to stay only this long after they
  // were last requested, which is enough for a COMMIT. A worker whose record finds its bytes gone
  // is told so, and sends them again.
  static constexpr std::int64_t kKeepInNeedMs = 15'000;
  // Removes those of `candidates` that are old enough and unreferenced; `in_need`: those that are
  // older than kKeepInNeedMs. Returns those that are still too young, and those whose removal
  // failed (which is logged): the time at which they may go has passed, so the caller can try again
  // at once. `is_referenced` must see every commit that has returned. Code that is about to refer
  // to bytes first calls Has(), which makes them young, so they are not removed between that call
  // and the commit.
  std::vector<Young> RemoveUnreferenced(
      const std::vector<std::string>& candidates,
      const std::function<Result<bool>(const std::string& sha256)>& is_referenced,
      bool in_need = false);
  std::int64_t NowMs() const { return options_.wall_ms(); }
  // The last upload of a worker that found no room on the disk, if it was in the last 15 s: the
  // worker tries again each second.
  std::optional<NoRoom> LacksRoom();
  // Every digest in the store.
  Result<std::vector<std::string>> List() const;

 private:
  ArtifactStore(Options options, HeldFile held);
  // Takes room on the disk for an upload, until it is written or ends.
  Status Reserve(const std::string& sender, std::int64_t n_bytes, bool may_take_all);
  // Counts the artifact among the sender's unused bytes, until it is forgotten. Returns a number
  // for the upload.
  Result<std::int64_t> NoteUnused(const std::string& sender, const std::string& sha256,
                                  std::int64_t n_bytes);
  // The upload has stored the artifact, which stays counted until it is used or removed.
  void KeepUnused(const std::string& sender, const std::string& sha256);
  // The upload has ended. If a newer one has taken it over, or the artifact is stored, it stays
  // counted.
  void ForgetUnused(const std::string& sender, const std::string& sha256, std::int64_t upload_n);
  void ForgetUnused(const std::string& sha256);  // of all senders
  std::string PathOf(const std::string& sha256) const;
  std::string TemporaryPath();  // a new path
  // Syncs the folders of the artifact with this path. mutex_ is held.
  Status SyncName(const std::string& path);
  // Moves the file to the path `to`, where the caller unlinks it, since unlinking may take long. If
  // the file was requested less than `keep_ms` ago, leaves it in place and returns false.
  Result<bool> TakeAway(const std::string& sha256, const std::string& to, std::int64_t keep_ms);

  bool IsKnownDamaged(const std::string& sha256);  // the caller holds mutex_
  std::int64_t RequestedAtMs(const std::string& sha256, std::int64_t modified_ms) const;
  void NoteWanted(const std::string& sha256, bool is_checked);

  Options options_;
  const HeldFile held_;  // options_.folder
  UnfinishedUploads unfinished_;
  SharedObjects shared_;
  const std::int64_t opened_ms_;
  // Of a shared folder, by SHA-256: what was requested in this process, and when.
  struct Wanted {
    std::int64_t at_ms = 0;
    bool is_checked = false;  // this process knows its bytes
  };
  mutable std::mutex wanted_mutex_;  // guards wanted_
  std::map<std::string, Wanted> wanted_;
  // Guards the members below, and keeps a file from being removed while Has() looks at it.
  std::mutex mutex_;
  std::int64_t n_begun_ = 0;                    // number of temporary paths
  std::map<std::string, FileVersion> damaged_;  // by SHA-256
  // The two-digit folders in which all names are on the disk: this process has synced them once,
  // and syncs each name that it adds.
  std::set<std::string> synced_;
  std::map<std::string, std::int64_t> reserved_;  // bytes still to come, by sender
  std::optional<NoRoom> no_room_;                 // of the last upload that found none
  std::int64_t no_room_at_ms_ = 0;                // boot clock
  // An artifact that was sent, or is being sent, and is not used yet.
  struct Unused {
    std::int64_t n_bytes = 0;
    std::int64_t upload_n = 0;  // of the upload that sends it; 0: it is stored
  };
  std::map<std::string, std::map<std::string, Unused>> unused_;  // by sender and SHA-256
  std::int64_t n_limited_ = 0;                                   // number of uploads noted there
};

}  // namespace longrun::coordinator
