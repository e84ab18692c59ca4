// See artifacts.h.
#include "coordinator/store/artifacts.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/files.h"
#include "base/log.h"
#include "base/str.h"

namespace longrun::coordinator {
namespace {

constexpr const char* kTemporary = "tmp";

timespec TimeOf(std::int64_t ms) {
  return {.tv_sec = ms / 1000, .tv_nsec = static_cast<long>(ms % 1000) * 1'000'000};
}

}  // namespace

Result<std::unique_ptr<ArtifactStore>> ArtifactStore::Open(Options options) {
  RETURN_IF_ERROR(MakeFolders(options.folder, 0700));
  const std::string temporary = JoinPath(options.folder, kTemporary);
  RETURN_IF_ERROR(RemoveAll(temporary));
  RETURN_IF_ERROR(MakeFolders(temporary, 0700));
  return std::unique_ptr<ArtifactStore>(new ArtifactStore(std::move(options)));
}

std::string ArtifactStore::PathOf(const std::string& sha256) const {
  return JoinPath(JoinPath(options_.folder, sha256.substr(0, 2)), sha256);
}

bool ArtifactStore::Has(const std::string& sha256) {
  if (!IsSha256Hex(sha256)) return false;
  const timespec now = TimeOf(options_.wall_ms());
  const timespec times[] = {now, now};
  const std::lock_guard lock(mutex_);
  return utimensat(AT_FDCWD, PathOf(sha256).c_str(), times, 0) == 0;
}

Result<ArtifactStore::Found> ArtifactStore::Find(const std::string& sha256) const {
  if (!IsSha256Hex(sha256)) {
    return Status(Code::kInvalidArgument,
                  Str("\"", sha256, "\" is not a digest: expected 64 lower-case hex digits"));
  }
  Found found{.path = PathOf(sha256)};
  struct stat info {};
  if (stat(found.path.c_str(), &info) != 0) {
    return Status(ErrnoStatus(errno, "").code(), Str("artifact ", sha256, " is not in the store"));
  }
  found.n_bytes = info.st_size;
  found.may_go_at_ms = std::int64_t{info.st_mtim.tv_sec} * 1000 + info.st_mtim.tv_nsec / 1'000'000 +
                       options_.keep_unreferenced_ms;
  return found;
}

std::string ArtifactStore::TemporaryPath() {
  const std::lock_guard lock(mutex_);
  return JoinPath(JoinPath(options_.folder, kTemporary), Str(++n_begun_));
}

Result<std::unique_ptr<ArtifactStore::Upload>> ArtifactStore::Begin(const std::string& sha256,
                                                                    std::int64_t n_bytes_total) {
  if (!IsSha256Hex(sha256)) {
    return Status(Code::kInvalidArgument,
                  Str("\"", sha256, "\" is not a digest: expected 64 lower-case hex digits"));
  }
  if (n_bytes_total < 0) {
    return Status(Code::kInvalidArgument, Str("an artifact of ", n_bytes_total, " bytes"));
  }
  ASSIGN_OR_RETURN(const std::int64_t n_free, DiskFreeBytes(options_.folder));
  if (n_free - n_bytes_total < options_.disk_low_water_bytes) {
    return Status(Code::kResourceExhausted,
                  Str("no room for an artifact of ", n_bytes_total, " bytes: ", n_free,
                      " bytes are free at ", options_.folder, ", of which ",
                      options_.disk_low_water_bytes, " must stay free: make room there"));
  }
  std::string path = TemporaryPath();
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return ErrnoStatus(errno, Str("cannot make ", path));
  return std::unique_ptr<Upload>(new Upload(*this, sha256, n_bytes_total, std::move(path), fd));
}

ArtifactStore::Upload::Upload(ArtifactStore& store, std::string sha256, std::int64_t n_bytes_total,
                              std::string path, int fd)
    : store_(store),
      sha256_(std::move(sha256)),
      n_bytes_total_(n_bytes_total),
      path_(std::move(path)),
      fd_(fd) {}

ArtifactStore::Upload::~Upload() {
  if (fd_ >= 0) close(fd_);
  if (!path_.empty()) unlink(path_.c_str());
}

Status ArtifactStore::Upload::Write(std::string_view bytes) {
  if (n_bytes_ + static_cast<std::int64_t>(bytes.size()) > n_bytes_total_) {
    return Status(Code::kInvalidArgument, Str("artifact ", sha256_, " has more than the announced ",
                                              n_bytes_total_, " bytes"));
  }
  hash_.Update(bytes);
  n_bytes_ += static_cast<std::int64_t>(bytes.size());
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, Str("cannot write artifact ", sha256_));
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  Failpoint("artifact_mid_write");
  return Status();
}

Status ArtifactStore::Upload::Finish() {
  if (n_bytes_ != n_bytes_total_) {
    return Status(Code::kDataLoss, Str("artifact ", sha256_, " has ", n_bytes_, " bytes, ",
                                       n_bytes_total_, " were announced: send it again"));
  }
  const std::string found = hash_.FinishHex();
  if (found != sha256_) {
    return Status(Code::kDataLoss, Str("the bytes sent as artifact ", sha256_, " have the digest ",
                                       found, ": send it again"));
  }
  const timespec now = TimeOf(store_.options_.wall_ms());
  const timespec times[] = {now, now};
  if (futimens(fd_, times) != 0 || fsync(fd_) != 0) {
    return ErrnoStatus(errno, Str("cannot sync artifact ", sha256_));
  }
  const int closed = close(fd_);
  fd_ = -1;
  if (closed != 0) return ErrnoStatus(errno, Str("cannot close artifact ", sha256_));
  const std::string path = store_.PathOf(sha256_);
  const std::lock_guard lock(store_.mutex_);
  RETURN_IF_ERROR(MakeFolder(FolderOf(path), 0700));
  RETURN_IF_ERROR(RenameSync(path_, path));
  path_.clear();
  return SyncFolder(store_.options_.folder);  // the two-digit folder may be new
}

Result<bool> ArtifactStore::TakeAway(const std::string& sha256, const std::string& to) {
  const std::lock_guard lock(mutex_);
  const Result<Found> found = Find(sha256);  // again: it may have been requested in the meantime
  if (!found.ok()) return found.status();
  if (options_.wall_ms() < found->may_go_at_ms) return false;
  if (rename(found->path.c_str(), to.c_str()) == 0) return true;
  return ErrnoStatus(errno, Str("cannot remove ", found->path));
}

std::vector<ArtifactStore::Young> ArtifactStore::RemoveUnreferenced(
    const std::vector<std::string>& candidates,
    const std::function<Result<bool>(const std::string& sha256)>& is_referenced) {
  std::vector<Young> young;
  for (const std::string& sha256 : candidates) {
    const Result<Found> found = Find(sha256);
    if (!found.ok()) continue;
    const Young stays = {
        .sha256 = sha256, .n_bytes = found->n_bytes, .may_go_at_ms = found->may_go_at_ms};
    const Result<bool> referenced = is_referenced(sha256);
    if (referenced.ok() && *referenced) continue;
    if (options_.wall_ms() < found->may_go_at_ms) {
      young.push_back(stays);
      continue;
    }
    // After a crash, the next start removes it from the folder of unfinished files.
    const std::string temporary = TemporaryPath();
    const Result<bool> taken =
        referenced.ok() ? TakeAway(sha256, temporary) : Result<bool>(referenced.status());
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
