// See artifacts.h.
#include "coordinator/store/artifacts.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/check.h"
#include "base/clock.h"
#include "base/descriptor.h"
#include "base/failpoint.h"
#include "base/files.h"
#include "base/log.h"
#include "base/str.h"
#include "base/utf8.h"

namespace longrun::coordinator {
namespace {

constexpr const char* kTemporary = "tmp";
constexpr const char* kUnfinished = "unfinished";
constexpr std::int64_t kKeepIncomingMs = 86'400'000;
constexpr std::int64_t kNoRoomMs = 15'000;
constexpr std::size_t kHashSliceBytes = std::size_t{32} << 20;

timespec TimeOf(std::int64_t ms) {
  return {.tv_sec = ms / 1000, .tv_nsec = static_cast<long>(ms % 1000) * 1'000'000};
}

}  // namespace

Status NotSent(const ArtifactFile& file) {
  return Status(Code::kFailedPrecondition,
                Str("file ", file.name, " (", file.sha256, ") is not in the store: send it first"));
}

ArtifactStore::ArtifactStore(Options options, HeldFile held)
    : options_(std::move(options)),
      held_(std::move(held)),
      unfinished_({.folder = JoinPath(options_.folder, kUnfinished), .wall_ms = options_.wall_ms}),
      shared_(options_.folder),
      opened_ms_(options_.wall_ms()) {}

Result<std::unique_ptr<ArtifactStore>> ArtifactStore::Open(Options options) {
  RETURN_IF_ERROR(MakeFolders(options.folder, 0700));
  const std::string temporary = JoinPath(options.folder, kTemporary);
  RETURN_IF_ERROR(RemoveAll(temporary));
  RETURN_IF_ERROR(MakeFolders(temporary, 0700));
  ASSIGN_OR_RETURN(HeldFile held, HeldFile::Open(options.folder));
  std::unique_ptr<ArtifactStore> store(new ArtifactStore(std::move(options), std::move(held)));
  store->RemoveOldUploads();
  return store;
}

Status ArtifactStore::CheckInPlace() const {
  // A shared folder may be on a file system that does not answer, for which the caller cannot wait.
  if (options_.is_shared || held_.IsInPlace()) return Status();
  const std::string now = held_.PathNow();
  return Status(
      Code::kDataLoss,
      Str("the folder ", options_.folder, " was ", now.empty() ? "deleted" : "moved",
          " while the coordinator was using it", now.empty() ? "" : Str(": it is now at ", now),
          "; the coordinator ends, since it cannot store the checkpoints and results that workers "
          "send. Put the folder or a copy of it back, and start the coordinator again"));
}

void ArtifactStore::RemoveOldUploads() {
  unfinished_.RemoveOld();
  if (options_.is_shared) shared_.RemoveOld(options_.wall_ms() - kKeepIncomingMs);
}

std::string ArtifactStore::PathOf(const std::string& sha256) const {
  return JoinPath(JoinPath(options_.folder, sha256.substr(0, 2)), sha256);
}

void ArtifactStore::NoteWanted(const std::string& sha256, bool is_checked) {
  const std::lock_guard lock(wanted_mutex_);
  Wanted& wanted = wanted_[sha256];
  wanted.at_ms = options_.wall_ms();
  wanted.is_checked |= is_checked;
}

std::int64_t ArtifactStore::RequestedAtMs(const std::string& sha256,
                                          std::int64_t modified_ms) const {
  if (!options_.is_shared) return modified_ms;
  const std::lock_guard lock(wanted_mutex_);
  const auto wanted = wanted_.find(sha256);
  // What was requested before this process began is not known.
  const std::int64_t at_ms = wanted == wanted_.end() ? opened_ms_ : wanted->second.at_ms;
  return std::max(at_ms, modified_ms);
}

bool ArtifactStore::MayBeReferredTo(const std::string& sha256) {
  if (!options_.is_shared) return Has(sha256);
  const std::lock_guard lock(wanted_mutex_);
  const auto wanted = wanted_.find(sha256);
  if (wanted == wanted_.end() || !wanted->second.is_checked) return false;
  wanted->second.at_ms = options_.wall_ms();
  return true;
}

Status ArtifactStore::Adopt(const std::string& sha256, std::int64_t n_bytes,
                            const std::function<Status()>& go_on) {
  if (!options_.is_shared) {
    return Status(Code::kFailedPrecondition,
                  "the artifact store of this coordinator is not shared: upload the bytes");
  }
  RETURN_IF_ERROR(shared_.Check(sha256, n_bytes, go_on));
  {
    // The worker that put it there may have been killed before it synced the folder.
    const std::lock_guard lock(mutex_);
    RETURN_IF_ERROR(SyncName(PathOf(sha256)));
  }
  NoteWanted(sha256, /*is_checked=*/true);
  return Status();
}

bool ArtifactStore::Has(const std::string& sha256) {
  if (!IsSha256Hex(sha256)) return false;
  const std::string path = PathOf(sha256);
  const std::lock_guard lock(mutex_);
  if (IsKnownDamaged(sha256)) return false;
  if (options_.is_shared) {
    if (!FileBytes(path).ok()) return false;
    NoteWanted(sha256, /*is_checked=*/false);
    return true;
  }
  const timespec now = TimeOf(options_.wall_ms());
  const timespec times[] = {now, now};
  if (utimensat(AT_FDCWD, path.c_str(), times, 0) != 0) return false;
  if (synced_.contains(FolderOf(path))) return true;
  // An earlier process may have been killed after the rename of an upload and before the sync. The
  // sender drops its copy if we have the bytes, and a power failure would then take ours.
  const Status synced = SyncName(path);
  if (!synced.ok()) {
    LogWarning("artifact_not_synced", {{"sha256", sha256}, {"error", synced.message()}});
  }
  return synced.ok();
}

Status ArtifactStore::SyncName(const std::string& path) {
  RETURN_IF_ERROR(SyncFolder(FolderOf(path)));
  RETURN_IF_ERROR(SyncFolder(options_.folder));  // the two-digit folder may be new
  synced_.insert(FolderOf(path));
  return Status();
}

Result<ArtifactStore::Found> ArtifactStore::Find(const std::string& sha256) const {
  if (!IsSha256Hex(sha256)) {
    return Status(Code::kInvalidArgument,
                  Str(Quoted(sha256), " is not a digest: expected 64 lower-case hex digits"));
  }
  Found found{.path = PathOf(sha256)};
  struct stat info {};
  if (stat(found.path.c_str(), &info) != 0) {
    return Status(ErrnoStatus(errno, "").code(), Str("artifact ", sha256, " is not in the store"));
  }
  found.n_bytes = info.st_size;
  found.requested_at_ms = RequestedAtMs(
      sha256, std::int64_t{info.st_mtim.tv_sec} * 1000 + info.st_mtim.tv_nsec / 1'000'000);
  found.may_go_at_ms = found.requested_at_ms + options_.keep_unreferenced_ms;
  return found;
}

Result<ArtifactStore::Found> ArtifactStore::FindSent(const ArtifactFile& file) {
  if (!Has(file.sha256)) return NotSent(file);
  ASSIGN_OR_RETURN(Found found, Find(file.sha256));
  if (found.n_bytes == file.n_bytes) return found;
  return Status(Code::kInvalidArgument,
                Str("file ", file.name, " has ", found.n_bytes, " bytes, not ", file.n_bytes));
}

std::string ArtifactStore::TemporaryPath() {
  const std::lock_guard lock(mutex_);
  return JoinPath(JoinPath(options_.folder, kTemporary), Str(++n_begun_));
}

namespace {

Status CheckAnnounced(const std::string& sha256, std::int64_t n_bytes_total, std::int64_t offset) {
  if (!IsSha256Hex(sha256)) {
    return Status(Code::kInvalidArgument,
                  Str(Quoted(sha256), " is not a digest: expected 64 lower-case hex digits"));
  }
  if (n_bytes_total < 0 || offset < 0 || offset > n_bytes_total) {
    return Status(Code::kInvalidArgument,
                  Str("an artifact of ", n_bytes_total, " bytes, from byte ", offset, " on"));
  }
  return Status();
}

}  // namespace

Status ArtifactStore::Reserve(const std::string& sender, std::int64_t n_bytes, bool may_take_all) {
  ASSIGN_OR_RETURN(const std::int64_t n_free, DiskFreeBytes(options_.folder));
  const std::int64_t room = n_free - options_.disk_low_water_bytes;
  const std::lock_guard lock(mutex_);
  std::int64_t reserved = 0;
  for (const auto& [of, bytes] : reserved_) reserved += bytes;
  if (n_bytes > room - reserved) {
    const NoRoom no_room = {.n_bytes = n_bytes,
                            .n_free = n_free,
                            .low_water_bytes = options_.disk_low_water_bytes,
                            .n_reserved = reserved};
    std::string text = NoRoomText(options_.folder, no_room);
    if (may_take_all) {  // from a worker, which tries again; others get the error only
      const bool is_new = !no_room_ || BootMs() - no_room_at_ms_ > kNoRoomMs;
      if (is_new) LogWarning("upload_refused", {{"text", text}});
      no_room_ = no_room;
      no_room_at_ms_ = BootMs();
    }
    return Status(Code::kResourceExhausted, std::move(text));
  }
  std::int64_t& own = reserved_[sender];
  // Whoever announces bytes and does not send them must leave room for others.
  if (!may_take_all && n_bytes > room / 2 - own) {
    return Status(Code::kResourceExhausted,
                  Str("no room for an artifact of ", n_bytes,
                      " bytes: the uploads in progress of one caller may take at most half of the ",
                      room, " bytes that are free, and have ", own, ": make room on the disk"));
  }
  own += n_bytes;
  return Status();
}

std::optional<NoRoom> ArtifactStore::LacksRoom() {
  const std::lock_guard lock(mutex_);
  return no_room_ && BootMs() - no_room_at_ms_ <= kNoRoomMs ? no_room_ : std::nullopt;
}

Result<std::int64_t> ArtifactStore::NoteUnused(const std::string& sender, const std::string& sha256,
                                               std::int64_t n_bytes) {
  const std::lock_guard lock(mutex_);
  std::map<std::string, Unused>& unused = unused_[sender];
  std::int64_t n_others = 0;
  for (const auto& [other, one] : unused) n_others += other == sha256 ? 0 : one.n_bytes;
  if (n_bytes > options_.unused_bytes_max - n_others) {
    return Status(
        Code::kResourceExhausted,
        Str("no room for an artifact of ", n_bytes, " bytes: this caller has sent ", n_others,
            " bytes that nothing uses yet, of at most ", options_.unused_bytes_max,
            ": use them (`longrun submit`, `longrun data "
            "register`), wait ten minutes until they are removed, or have the "
            "coordinator started with larger --unused-upload-bytes"));
  }
  const std::int64_t upload_n = ++n_limited_;
  const auto [entry, is_new] = unused.try_emplace(sha256);
  Unused& own = entry->second;
  const bool is_stored = !is_new && own.upload_n == 0;
  if (!is_stored) own = {.n_bytes = n_bytes, .upload_n = upload_n};
  return upload_n;
}

void ArtifactStore::KeepUnused(const std::string& sender, const std::string& sha256) {
  const std::lock_guard lock(mutex_);
  const auto unused = unused_.find(sender);
  if (unused == unused_.end()) return;
  const auto entry = unused->second.find(sha256);
  if (entry != unused->second.end()) entry->second.upload_n = 0;
}

void ArtifactStore::ForgetUnused(const std::string& sender, const std::string& sha256,
                                 std::int64_t upload_n) {
  const std::lock_guard lock(mutex_);
  const auto unused = unused_.find(sender);
  if (unused == unused_.end()) return;
  const auto entry = unused->second.find(sha256);
  if (entry == unused->second.end() || entry->second.upload_n != upload_n) return;
  unused->second.erase(entry);
  if (unused->second.empty()) unused_.erase(unused);
}

void ArtifactStore::ForgetUnused(const std::string& sha256) {
  const std::lock_guard lock(mutex_);
  for (auto& [sender, unused] : unused_) unused.erase(sha256);
  std::erase_if(unused_, [](const auto& entry) { return entry.second.empty(); });
}

Result<std::unique_ptr<ArtifactStore::Upload>> ArtifactStore::Begin(const std::string& sha256,
                                                                    std::int64_t n_bytes_total) {
  RETURN_IF_ERROR(CheckAnnounced(sha256, n_bytes_total, 0));
  RETURN_IF_ERROR(Reserve("", n_bytes_total, /*may_take_all=*/true));
  std::unique_ptr<Upload> upload(
      new Upload(*this, sha256, "", n_bytes_total, 0, {.path = TemporaryPath()}));
  upload->n_reserved_ = n_bytes_total;
  Upload::Place& place = upload->place_;
  place.fd = open(place.path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (place.fd < 0) return ErrnoStatus(errno, Str("cannot make ", place.path));
  return upload;
}

Result<std::unique_ptr<ArtifactStore::Upload>> ArtifactStore::Resume(const std::string& sender,
                                                                     const std::string& sha256,
                                                                     std::int64_t n_bytes_total,
                                                                     std::int64_t offset,
                                                                     bool may_take_all) {
  RETURN_IF_ERROR(CheckAnnounced(sha256, n_bytes_total, offset));
  ASSIGN_OR_RETURN(auto part, unfinished_.Take(sender, sha256, offset));
  std::unique_ptr<Upload> upload(
      new Upload(*this, sha256, sender, n_bytes_total, offset, {.part = std::move(part)}));
  if (!may_take_all) {
    ASSIGN_OR_RETURN(upload->unused_n_, NoteUnused(sender, sha256, n_bytes_total));
  }
  RETURN_IF_ERROR(Reserve(sender, n_bytes_total - offset, may_take_all));
  upload->n_reserved_ = n_bytes_total - offset;
  return upload;
}

ArtifactStore::Upload::Upload(ArtifactStore& store, std::string sha256, std::string sender,
                              std::int64_t n_bytes_total, std::int64_t n_kept, Place place)
    : store_(store),
      sha256_(std::move(sha256)),
      sender_(std::move(sender)),
      n_bytes_total_(n_bytes_total),
      n_kept_(n_kept),
      n_bytes_(n_kept),
      place_(std::move(place)) {}

ArtifactStore::Upload::~Upload() {
  if (n_bytes_ == 0 || place_.part == nullptr) Drop();
  if (unused_n_ != 0) store_.ForgetUnused(sender_, sha256_, unused_n_);
  Unreserve(n_reserved_);
}

void ArtifactStore::Upload::Unreserve(std::int64_t n_bytes) {
  if (n_bytes == 0) return;
  n_reserved_ -= n_bytes;
  const std::lock_guard lock(store_.mutex_);
  const auto own = store_.reserved_.find(sender_);
  own->second -= n_bytes;
  if (own->second == 0) store_.reserved_.erase(own);
}

void ArtifactStore::Upload::Drop() {
  if (place_.part != nullptr) return place_.part->Drop();
  if (place_.fd >= 0) close(std::exchange(place_.fd, -1));
  if (!place_.path.empty()) unlink(std::exchange(place_.path, "").c_str());
}

Status ArtifactStore::Upload::Use(const std::function<Status(int fd)>& use) {
  return place_.part == nullptr ? use(place_.fd) : place_.part->Use(use);
}

Status ArtifactStore::Upload::HashKept() {
  Status hashed = Use([&](int fd) -> Status {
    std::string bytes(std::min(kHashSliceBytes, static_cast<std::size_t>(n_bytes_ - n_hashed_)),
                      '\0');
    const ssize_t n = pread(fd, bytes.data(), bytes.size(), n_hashed_);
    if (n < 0 && errno == EINTR) return Status();
    if (n <= 0) return ErrnoStatus(n == 0 ? EIO : errno, Str("cannot read artifact ", sha256_));
    hash_.Update(bytes.data(), static_cast<std::size_t>(n));
    n_hashed_ += n;
    return Status();
  });
  if (hashed.code() != Code::kDataLoss) return hashed;
  // The sender would go on after these bytes again and again.
  Drop();
  return Status(Code::kAborted, Str(hashed.message(), ": send it again"));
}

Status ArtifactStore::Upload::WriteAll(int fd, std::string_view bytes) {
  n_bytes_ += std::ssize(bytes);
  n_hashed_ = n_bytes_;
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, Str("cannot write artifact ", sha256_));
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  write_back_.Note(fd, n_bytes_);
  return Status();
}

Status ArtifactStore::Upload::Write(std::string_view bytes) {
  Hash(bytes);
  return Append(bytes);
}

void ArtifactStore::Upload::Hash(std::string_view bytes) { hash_.Update(bytes); }

Status ArtifactStore::Upload::Append(std::string_view bytes) {
  LR_CHECK(!HasUnhashed());
  if (std::ssize(bytes) > n_bytes_total_ - n_bytes_) {
    Drop();
    return Status(Code::kInvalidArgument, Str("artifact ", sha256_, " has more than the announced ",
                                              n_bytes_total_, " bytes"));
  }
  RETURN_IF_ERROR(Use([&](int fd) { return WriteAll(fd, bytes); }));
  Unreserve(std::ssize(bytes));
  Failpoint("artifact_mid_write");
  return Status();
}

Status ArtifactStore::Upload::Finish() {
  LR_CHECK(!HasUnhashed());
  if (n_bytes_ != n_bytes_total_) {
    return Status(Code::kDataLoss, Str("artifact ", sha256_, " has ", n_bytes_, " bytes, ",
                                       n_bytes_total_, " were announced: send it again"));
  }
  const std::string found = hash_.FinishHex();
  if (found != sha256_) {
    Drop();
    return Status(
        n_kept_ > 0 ? Code::kAborted : Code::kDataLoss,
        Str("the bytes sent as artifact ", sha256_, " have the digest ", found, ": send it again"));
  }
  const Status stored = Use([&](int fd) -> Status {
    const timespec now = TimeOf(store_.options_.wall_ms());
    const timespec times[] = {now, now};
    if (futimens(fd, times) != 0 || fsync(fd) != 0) {
      return ErrnoStatus(errno, Str("cannot sync artifact ", sha256_));
    }
    const std::string path = store_.PathOf(sha256_);
    const std::lock_guard lock(store_.mutex_);
    RETURN_IF_ERROR(MakeFolder(FolderOf(path), 0700));
    const bool was_there = PathExists(path);
    const std::string& from = place_.part == nullptr ? place_.path : place_.part->path();
    if (rename(from.c_str(), path.c_str()) != 0) {
      return ErrnoStatus(errno, Str("cannot rename ", from, " to ", path));
    }
    place_.path.clear();
    if (Status synced = store_.SyncName(path); !synced.ok()) {
      // Nobody may be told that the store has it. Rows may refer to a file that was there before;
      // its folder is synced when somebody asks for it.
      if (!was_there) unlink(path.c_str());
      store_.synced_.erase(FolderOf(path));
      return synced;
    }
    if (store_.options_.is_shared) store_.NoteWanted(sha256_, /*is_checked=*/true);
    return Status();
  });
  if (stored.ok() && unused_n_ != 0) store_.KeepUnused(sender_, sha256_);
  return stored;
}

Result<bool> ArtifactStore::TakeAway(const std::string& sha256, const std::string& to,
                                     std::int64_t keep_ms) {
  const std::lock_guard lock(mutex_);
  const Result<Found> found = Find(sha256);  // again: it may have been requested in the meantime
  if (!found.ok()) return found.status();
  if (options_.wall_ms() < found->requested_at_ms + keep_ms) return false;
  if (options_.is_shared) {
    // From here on, no record may refer to it.
    const std::lock_guard wanted_lock(wanted_mutex_);
    const auto wanted = wanted_.find(sha256);
    const std::int64_t at_ms = wanted == wanted_.end() ? opened_ms_ : wanted->second.at_ms;
    if (options_.wall_ms() < at_ms + keep_ms) return false;
    if (wanted != wanted_.end()) wanted_.erase(wanted);
  }
  if (rename(found->path.c_str(), to.c_str()) == 0) return true;
  return ErrnoStatus(errno, Str("cannot remove ", found->path));
}

bool ArtifactStore::DropDamaged(const std::string& sha256, const std::string& link) {
  {
    const std::lock_guard lock(mutex_);
    struct stat stored {
    }, damaged{};
    const std::string path = PathOf(sha256);
    const bool is_same = stat(path.c_str(), &stored) == 0 && stat(link.c_str(), &damaged) == 0 &&
                         stored.st_dev == damaged.st_dev && stored.st_ino == damaged.st_ino;
    if (!is_same || unlink(path.c_str()) != 0) return false;
  }
  ForgetUnused(sha256);
  return true;
}

namespace {

ArtifactStore::FileVersion VersionOf(const struct stat& info) {
  return {.inode = info.st_ino,
          .n_bytes = info.st_size,
          .modified_ns = std::int64_t{info.st_mtim.tv_sec} * 1'000'000'000 + info.st_mtim.tv_nsec};
}

}  // namespace

Result<bool> ArtifactStore::NoteIfDamaged(const std::string& sha256,
                                          const std::function<Status()>& go_on) {
  ASSIGN_OR_RETURN(const Found found, Find(sha256));
  const Descriptor fd(open(found.path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd.is_open()) return ErrnoStatus(errno, Str("cannot open artifact ", sha256));
  const Result<std::string> digest = Sha256OfOpenFile(fd.get(), found.path, go_on);
  if (!digest.ok() && digest.status().code() != Code::kDataLoss) return digest.status();
  if (digest.ok() && *digest == sha256) return false;
  // Has() changes the time of a file, so it must not come between.
  const std::lock_guard lock(mutex_);
  struct stat info {};
  if (fstat(fd.get(), &info) != 0) return ErrnoStatus(errno, Str("cannot open artifact ", sha256));
  damaged_.insert_or_assign(sha256, VersionOf(info));
  return true;
}

void ArtifactStore::RemoveDamaged(const std::string& sha256) {
  {
    const std::lock_guard lock(mutex_);
    if (!IsKnownDamaged(sha256)) return;
    const std::string path = PathOf(sha256);
    if (unlink(path.c_str()) != 0) {
      const Status status = ErrnoStatus(errno, "");
      LogWarning("not_removed", {{"path", path}, {"error", status.message()}});
      return;
    }
    damaged_.erase(sha256);
  }
  ForgetUnused(sha256);
}

bool ArtifactStore::IsKnownDamaged(const std::string& sha256) {
  const auto known = damaged_.find(sha256);
  if (known == damaged_.end()) return false;
  struct stat info {};
  if (stat(PathOf(sha256).c_str(), &info) == 0 && VersionOf(info) == known->second) return true;
  damaged_.erase(known);  // it was replaced, mended or removed
  return false;
}

std::vector<ArtifactStore::Young> ArtifactStore::RemoveUnreferenced(
    const std::vector<std::string>& candidates,
    const std::function<Result<bool>(const std::string& sha256)>& is_referenced, bool in_need) {
  const std::int64_t keep_ms = in_need ? std::min(kKeepInNeedMs, options_.keep_unreferenced_ms)
                                       : options_.keep_unreferenced_ms;
  std::vector<Young> young;
  for (const std::string& sha256 : candidates) {
    const Result<Found> found = Find(sha256);
    if (!found.ok()) continue;
    const Young stays = {
        .sha256 = sha256, .n_bytes = found->n_bytes, .may_go_at_ms = found->may_go_at_ms};
    const Result<bool> referenced = is_referenced(sha256);
    if (referenced.ok() && *referenced) {
      ForgetUnused(sha256);
      continue;
    }
    if (options_.wall_ms() < found->requested_at_ms + keep_ms) {
      young.push_back(stays);
      continue;
    }
    // After a crash, the next start removes it from the folder of unfinished files.
    const std::string temporary = TemporaryPath();
    const Result<bool> taken =
        referenced.ok() ? TakeAway(sha256, temporary, keep_ms) : Result<bool>(referenced.status());
    if (taken.ok() && *taken) ForgetUnused(sha256);
    if (taken.ok() && *taken && unlink(temporary.c_str()) == 0) continue;
    if (taken.status().code() == Code::kNotFound) continue;  // another caller was faster
    if (!taken.ok()) {
      LogWarning("artifact_not_removed", {{"sha256", sha256}, {"error", taken.status().message()}});
    }
    if (!taken.ok() || !*taken) young.push_back(stays);
  }
  return young;
}

Result<std::vector<std::string>> ArtifactStore::List() const {
  std::vector<std::string> digests;
  ASSIGN_OR_RETURN(const std::vector<std::string> folders, ListFolder(options_.folder));
  for (const std::string& folder : folders) {
    if (folder.size() != 2) continue;
    ASSIGN_OR_RETURN(const std::vector<std::string> names,
                     ListFolder(JoinPath(options_.folder, folder)));
    for (const std::string& name : names) {
      if (IsSha256Hex(name)) digests.push_back(name);
    }
  }
  return digests;
}

}  // namespace longrun::coordinator
