// See cache.h.
#include "worker/agent/cache.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <utility>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/files.h"
#include "base/folder_size.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/shortage.h"
#include "base/str.h"
#include "base/units.h"
#include "model/data/dataset_files.h"
#include "model/data/manifest.h"
#include "worker/agent/refusal.h"

namespace longrun::agent {
namespace {

constexpr const char* kDatasets = "datasets";
constexpr const char* kFiles = "files";
constexpr const char* kIncoming = "incoming";
constexpr const char* kRemoved = "removed";
constexpr std::int64_t kNsInMs = 1'000'000;
constexpr std::int64_t kCacheBytesOfUnknownDisk = std::int64_t{8} << 30;

constexpr std::string_view kMustStayFree =
    " (--disk-free-bytes-min) must stay free: make room there";

std::string NameOf(CacheKind kind) {
  switch (kind) {
    case CacheKind::kCheckpoint:
      return "checkpoint";
    case CacheKind::kDataset:
      return "dataset";
    case CacheKind::kInputFile:
      return "file";
  }
  return "";
}

std::int64_t ModifiedNs(const std::string& path) {
  struct stat info {};
  if (lstat(path.c_str(), &info) != 0) return 0;
  return std::int64_t{info.st_mtim.tv_sec} * 1'000'000'000 + info.st_mtim.tv_nsec;
}

Result<std::vector<std::string>> NamesIn(const std::string& folder) {
  if (!IsFolder(folder)) return std::vector<std::string>();
  return ListFolder(folder);
}

Status CheckFile(const std::string& path, const std::string& sha256) {
  ASSIGN_OR_RETURN(const std::string found, Sha256OfFile(path));
  if (found == sha256) return Status();
  return Status(Code::kDataLoss, Str("SHA-256 of ", path, " is ", found, ", expected ", sha256));
}

Status CheckFiles(const CacheItem& item, const std::string& folder) {
  for (const ArtifactFile& file : item.files) {
    RETURN_IF_ERROR(CheckFile(JoinPath(folder, file.name), file.sha256));
  }
  return Status();
}

// The same dataset may have come with other files: from another import, or with a manifest that was
// sealed later.
Status CheckDataset(const CacheItem& item, const std::string& folder, bool doubted) {
  ASSIGN_OR_RETURN(const DatasetListing found, ListDataset(folder));
  if (found.digest != item.digest) {
    return Status(Code::kDataLoss, Str(folder, " holds the dataset ", found.digest));
  }
  if (!doubted) return Status();  // the trainer checks each block that it reads
  return CheckFiles({.kind = item.kind, .digest = item.digest, .files = found.files}, folder);
}

// Whether the item at `path` is still as it was fetched.
Status CheckItem(const CacheItem& item, const std::string& path, bool doubted) {
  switch (item.kind) {
    case CacheKind::kCheckpoint:
      return CheckFiles(item, path);
    case CacheKind::kDataset:
      return CheckDataset(item, path, doubted);
    case CacheKind::kInputFile:
      return CheckFile(path, item.digest);
  }
  return Status();
}

// Continues a file once. If what was there before was wrong, it begins again.
Status ReceiveFile(const ArtifactFile& file, const std::string& path,
                   const Cache::Receive& receive) {
  const std::int64_t n_begun = BytesBelow(path);
  if (n_begun > 0 && n_begun < file.n_bytes) {
    LogInfo("fetch_continues", {{"file", path}, {"from_bytes", Str(n_begun)}});
  }
  Status status = receive(file, path);
  if (status.code() != Code::kDataLoss) return status;
  RETURN_IF_ERROR(CacheNotWritten(RemoveAll(path)));
  if (n_begun == 0) return status;
  LogWarning("fetch_begins_again", {{"file", path}, {"error", status.message()}});
  status = receive(file, path);
  if (status.code() == Code::kDataLoss) RETURN_IF_ERROR(CacheNotWritten(RemoveAll(path)));
  return status;
}

Status ReceiveAll(const CacheItem& item, const std::string& incoming,
                  const Cache::Receive& receive) {
  if (!IsFolder(incoming)) RETURN_IF_ERROR(CacheNotWritten(MakeFolder(incoming)));
  for (const ArtifactFile& file : item.files) {
    Status status = ReceiveFile(file, JoinPath(incoming, file.name), receive);
    if (status.ok()) continue;
    return std::move(status).In(
        item.kind == CacheKind::kInputFile
            ? Str("fetching the file ", file.sha256)
            : Str("fetching ", file.name, " of ", NameOf(item.kind), " ", item.digest));
  }
  if (item.kind != CacheKind::kDataset) return Status();
  Status listed = CheckListed(incoming, {.digest = item.digest, .files = item.files});
  // Each file is what the coordinator said, but together they are not the dataset.
  if (listed.code() == Code::kDataLoss) RETURN_IF_ERROR(CacheNotWritten(RemoveAll(incoming)));
  return listed;
}

// Those that somebody removed under the running worker, but not what they lie in: without its state
// folder, the worker ends.
Status MakeMissingFolders(const std::string& cache) {
  for (const char* const name : {"", kDatasets, kFiles, kIncoming}) {
    const std::string path = *name == '\0' ? cache : JoinPath(cache, name);
    if (!PathExists(path)) RETURN_IF_ERROR(MakeFolder(path));
  }
  return Status();
}

Status Publish(const CacheItem& item, const std::string& incoming, const std::string& path) {
  RETURN_IF_ERROR(SyncFolder(incoming));
  if (item.kind != CacheKind::kInputFile) return RenameSync(incoming, path);
  RETURN_IF_ERROR(RenameSync(JoinPath(incoming, item.files.front().name), path));
  return RemoveAll(incoming);
}

void DeleteAll(const std::vector<std::string>& paths) {
  if (!paths.empty()) Failpoint("cache_before_delete");
  for (const std::string& path : paths) {
    const Status status = RemoveAll(path);
    if (!status.ok()) LogWarning("not_removed", {{"path", path}, {"error", status.message()}});
  }
}

}  // namespace

bool LacksDisk(const Status& status) {
  return status.code() == Code::kResourceExhausted &&
         status.message().find(kMustStayFree) != std::string::npos;
}

Result<std::unique_ptr<Cache>> Cache::Open(CacheOptions options) {
  std::unique_ptr<Cache> cache(new Cache(std::move(options)));
  const std::string& folder = cache->options_.folder;
  for (const char* const name : {"", kDatasets, kFiles, kIncoming}) {
    RETURN_IF_ERROR(MakeFolders(JoinPath(folder, name)));
  }
  ASSIGN_OR_RETURN(const std::vector<std::string> names, NamesIn(folder));
  for (const std::string& name : names) {  // earlier releases fetched a checkpoint to SHA256.tmp
    if (name.ends_with(".tmp")) RETURN_IF_ERROR(RemoveAll(JoinPath(folder, name)));
  }
  RETURN_IF_ERROR(RemoveAll(JoinPath(folder, kRemoved)));
  RETURN_IF_ERROR(MakeFolder(JoinPath(folder, kRemoved)));
  RETURN_IF_ERROR(cache->Scan());
  return cache;
}

Status Cache::Scan() {
  ASSIGN_OR_RETURN(std::vector<CachedPath> found, ListCache(options_.folder));
  for (const CachedPath& cached : found) {
    entries_[cached.path] = {.n_bytes = BytesBelow(cached.path),
                             .used_ns = ModifiedNs(cached.path)};
  }
  return Status();
}

std::string Cache::PathOf(CacheKind kind, const std::string& digest) const {
  switch (kind) {
    case CacheKind::kCheckpoint:
      return JoinPath(options_.folder, digest);
    case CacheKind::kDataset:
      return JoinPath(JoinPath(options_.folder, kDatasets), digest);
    case CacheKind::kInputFile:
      return JoinPath(JoinPath(options_.folder, kFiles), digest);
  }
  return "";
}

std::string Cache::IncomingOf(CacheKind kind, const std::string& digest) const {
  return JoinPath(JoinPath(options_.folder, kIncoming), Str(NameOf(kind), "-", digest));
}

// ---- getting -----------------------------------------------------------------------------------

Result<std::optional<std::string>> Cache::Get(const CacheItem& item, const std::string& user,
                                              const Receive& receive) {
  const std::string path = PathOf(item.kind, item.digest);
  {
    const std::scoped_lock lock(mutex_);
    if (!busy_.insert(path).second) return std::optional<std::string>();
    users_[user].insert({path, IncomingOf(item.kind, item.digest)});
  }
  const Status status = GetAlone(item, path, receive);
  const std::scoped_lock lock(mutex_);
  busy_.erase(path);
  if (!status.ok()) return status;
  return std::optional<std::string>(path);
}

Status Cache::GetAlone(const CacheItem& item, const std::string& path, const Receive& receive) {
  if (PathExists(path)) {
    bool doubted = false;
    {
      const std::scoped_lock lock(mutex_);
      doubted = entries_[path].doubted;
    }
    const Status status = CheckItem(item, path, doubted);
    if (status.ok()) {
      NoteUse(path);
      return status;
    }
    if (ShortageOf(status)) return status;  // we cannot tell whether it is damaged
    LogWarning("cached_copy_damaged", {{"path", path}, {"error", status.message()}});
    RETURN_IF_ERROR(CacheNotWritten(RemoveAll(path)));
    const std::scoped_lock lock(mutex_);
    Forget(path);
  }
  const std::int64_t begun_ms = BootMs();
  RETURN_IF_ERROR(Fetch(item, path, receive));
  NoteUse(path);
  LogInfo("fetched", {{"kind", NameOf(item.kind)},
                      {"digest", item.digest},
                      {"from", item.is_linked ? "shared_folder" : "coordinator"},
                      {"bytes", Str(BytesOf(item.files))},
                      {"ms", Str(BootMs() - begun_ms)}});
  return Status();
}

Status Cache::Fetch(const CacheItem& item, const std::string& path, const Receive& receive) {
  if (item.files.empty()) {
    return Status(Code::kNotFound, Str(NameOf(item.kind), " ", item.digest,
                                       " was damaged in the worker's cache, and the coordinator "
                                       "cannot send it again"));
  }
  const std::string incoming = IncomingOf(item.kind, item.digest);
  RETURN_IF_ERROR(CacheNotWritten(MakeMissingFolders(options_.folder)));
  RETURN_IF_ERROR(MakeRoom(item, incoming));
  Status status = ReceiveAll(item, incoming, receive);
  if (status.ok()) status = CacheNotWritten(Publish(item, incoming, path));
  // What has come stays for the next try, but not on a full disk, where others may need the room.
  if (ShortageOf(status) == Shortage::kDisk) DeleteAll({incoming});
  const std::scoped_lock lock(mutex_);
  NoteIncoming(incoming);
  return status;
}

void Cache::NoteIncoming(const std::string& incoming) {
  if (PathExists(incoming)) {
    entries_[incoming].n_bytes = BytesBelow(incoming);
  } else {
    Forget(incoming);
  }
}

// Takes the room for the whole item before the first byte comes.
Status Cache::MakeRoom(const CacheItem& item, const std::string& incoming) {
  if (item.is_linked) return Status();
  const std::int64_t n_bytes = BytesOf(item.files);
  const std::int64_t n_to_come = n_bytes - BytesBelow(incoming);
  const std::string what =
      Str(NameOf(item.kind), " ", item.digest, " takes ", FormatBytes(n_bytes), ", but ");
  for (;;) {
    std::vector<std::string> to_delete;
    {
      const std::scoped_lock lock(mutex_);
      entries_[incoming] = {.n_bytes = n_bytes, .used_ns = WallMs() * kNsInMs};
      const std::int64_t total_bytes = TotalBytes();
      const Result<std::int64_t> free = DiskFreeBytes(options_.folder);
      if (!free.ok()) {
        NoteIncoming(incoming);
        return CacheNotWritten(free.status());
      }
      const std::int64_t n_free = *free;
      const bool has_disk = n_free - n_to_come >= options_.disk_free_bytes_min;
      if (total_bytes <= options_.bytes_max && has_disk) return Status();
      // Nothing is removed in vain: others may need it.
      const std::int64_t n_unused = UnusedBytes();
      if (total_bytes - n_unused > options_.bytes_max) {
        NoteIncoming(incoming);
        return Status(
            Code::kResourceExhausted,
            Str(what, "the cache of this worker may take ", FormatBytes(options_.bytes_max),
                ", of which its attempts use ", FormatBytes(total_bytes - n_unused - n_bytes),
                ": start the worker with larger --cache-bytes"));
      }
      const bool may_have_disk = n_free + n_unused - n_to_come >= options_.disk_free_bytes_min;
      if (!may_have_disk || !RemoveOldest(to_delete)) {
        NoteIncoming(incoming);
        return Status(Code::kResourceExhausted,
                      Str(what, "only ", FormatBytes(n_free), " are free in ", options_.folder,
                          ", of which ", FormatBytes(options_.disk_free_bytes_min), kMustStayFree));
      }
    }
    DeleteAll(to_delete);
  }
}

// ---- users -------------------------------------------------------------------------------------

bool Cache::Has(CacheKind kind, const std::string& digest) const {
  const std::scoped_lock lock(mutex_);
  return entries_.contains(PathOf(kind, digest));
}

void Cache::Use(const std::string& user, const std::vector<std::string>& paths) {
  const std::scoped_lock lock(mutex_);
  for (const auto& [item, entry] : entries_) {
    const auto is_in_item = [&](const std::string& path) {
      return path == item || path.starts_with(item + "/");
    };
    if (std::ranges::any_of(paths, is_in_item)) users_[user].insert(item);
  }
}

void Cache::UseAll(const std::string& user) {
  const std::scoped_lock lock(mutex_);
  users_[user].insert(options_.folder);
}

void Cache::KeepUsers(const std::set<std::string>& users) {
  const std::scoped_lock lock(mutex_);
  std::erase_if(users_, [&](const auto& item) { return !users.contains(item.first); });
}

void Cache::Doubt(const std::string& user) {
  const std::scoped_lock lock(mutex_);
  const auto found = users_.find(user);
  if (found == users_.end()) return;
  for (const std::string& path : found->second) {
    const auto entry = entries_.find(path);
    if (entry != entries_.end()) entry->second.doubted = true;
  }
}

void Cache::Trim() {
  for (;;) {
    std::vector<std::string> to_delete;
    {
      const std::scoped_lock lock(mutex_);
      const Result<std::int64_t> n_free = DiskFreeBytes(options_.folder);
      const bool has_disk = !n_free.ok() || *n_free >= options_.disk_free_bytes_min;
      if (has_disk && TotalBytes() <= options_.bytes_max) return;
      if (!RemoveOldest(to_delete)) return;
    }
    DeleteAll(to_delete);
  }
}

std::vector<std::string> Cache::DatasetDigests() const {
  const std::string folder = JoinPath(options_.folder, kDatasets);
  std::vector<std::string> digests;
  const std::scoped_lock lock(mutex_);
  for (const auto& [path, entry] : entries_) {
    if (FolderOf(path) == folder) digests.push_back(BaseName(path));
  }
  return digests;
}

std::int64_t Cache::datasets_version() const {
  const std::scoped_lock lock(mutex_);
  return datasets_version_;
}

// ---- entries -----------------------------------------------------------------------------------

bool Cache::IsUsed(const std::string& path) const {
  if (busy_.contains(path)) return true;
  return std::ranges::any_of(users_, [&](const auto& user) {
    return user.second.contains(path) || user.second.contains(options_.folder);
  });
}

std::int64_t Cache::TotalBytes() const {
  std::int64_t n_bytes = 0;
  for (const auto& [path, entry] : entries_) n_bytes += entry.n_bytes;
  return n_bytes;
}

std::int64_t Cache::UnusedBytes() const {
  std::int64_t n_bytes = 0;
  for (const auto& [path, entry] : entries_) n_bytes += IsUsed(path) ? 0 : entry.n_bytes;
  return n_bytes;
}

bool Cache::RemoveOldest(std::vector<std::string>& to_delete) {
  auto oldest = entries_.end();
  for (auto it = entries_.begin(); it != entries_.end(); ++it) {
    if (IsUsed(it->first)) continue;
    if (oldest == entries_.end() || it->second.used_ns < oldest->second.used_ns) oldest = it;
  }
  if (oldest == entries_.end()) return false;
  const std::string path = oldest->first;
  LogInfo("cache_makes_room", {{"removes", path}, {"bytes", Str(oldest->second.n_bytes)}});
  const std::string away = JoinPath(JoinPath(options_.folder, kRemoved), Str(++n_removed_));
  // Gone at once for whoever looks for it; to delete it may take long.
  if (rename(path.c_str(), away.c_str()) == 0) {
    to_delete.push_back(away);
  } else {
    LogWarning("not_removed", {{"path", path}, {"error", ErrnoStatus(errno, path).message()}});
  }
  Forget(path);
  return true;
}

void Cache::Forget(const std::string& path) {
  if (entries_.erase(path) == 0) return;
  if (FolderOf(path) == JoinPath(options_.folder, kDatasets)) datasets_version_ += 1;
}

void Cache::NoteUse(const std::string& path) {
  const std::int64_t n_bytes = BytesBelow(path);
  const std::scoped_lock lock(mutex_);
  const bool is_dataset = FolderOf(path) == JoinPath(options_.folder, kDatasets);
  if (is_dataset && !entries_.contains(path)) datasets_version_ += 1;
  entries_[path] = {.n_bytes = n_bytes, .used_ns = WallMs() * kNsInMs};
  // For the next process. If it fails, the item only seems older. Of a link, not of the file in the
  // shared folder: other workers would have to hash that again.
  utimensat(AT_FDCWD, path.c_str(), nullptr, AT_SYMLINK_NOFOLLOW);
}

// ---- for others --------------------------------------------------------------------------------

Result<std::vector<CachedPath>> ListCache(const std::string& folder) {
  std::vector<CachedPath> found;
  const auto add = [&](const std::string& name, const std::string& what) {
    found.push_back({.name = name,
                     .path = JoinPath(folder, name),
                     .reason = Str(what, ": it is fetched again when it is needed")});
  };
  ASSIGN_OR_RETURN(const std::vector<std::string> checkpoints, NamesIn(folder));
  for (const std::string& name : checkpoints) {
    if (IsSha256Hex(name)) add(name, "a fetched checkpoint");
  }
  for (const auto& [kind, what] : {std::pair{kDatasets, "a fetched dataset"},
                                   std::pair{kFiles, "a fetched file of an evaluation"}}) {
    ASSIGN_OR_RETURN(const std::vector<std::string> names, NamesIn(JoinPath(folder, kind)));
    for (const std::string& name : names) {
      if (IsSha256Hex(name)) add(JoinPath(kind, name), what);
    }
  }
  ASSIGN_OR_RETURN(const std::vector<std::string> begun, NamesIn(JoinPath(folder, kIncoming)));
  for (const std::string& name : begun)
    add(JoinPath(kIncoming, name), "a fetch that has not ended");
  return found;
}

std::int64_t DefaultCacheBytes(const std::string& folder) {
  const Result<std::int64_t> n_bytes = DiskBytes(folder);
  return n_bytes.ok() && *n_bytes > 0 ? *n_bytes / 4 : kCacheBytesOfUnknownDisk;
}

}  // namespace longrun::agent
