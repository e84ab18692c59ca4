// See unfinished.h.
#include "coordinator/store/unfinished.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/check.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/str.h"

namespace longrun::coordinator {
namespace {

struct KeptFile {
  std::int64_t changed_ms = 0;
  std::int64_t n_bytes = 0;
  std::string path;
};

std::vector<KeptFile> FilesIn(const std::string& folder) {
  std::vector<KeptFile> files;
  const Result<std::vector<std::string>> names = ListFolder(folder);
  if (!names.ok()) return files;  // nothing was ever kept
  for (const std::string& name : *names) {
    KeptFile file;
    file.path = JoinPath(folder, name);
    struct stat info {};
    if (lstat(file.path.c_str(), &info) != 0) continue;
    file.changed_ms = std::int64_t{info.st_mtim.tv_sec} * 1000 + info.st_mtim.tv_nsec / 1'000'000;
    file.n_bytes = info.st_size;
    files.push_back(std::move(file));
  }
  return files;
}

void Remove(const std::string& path) {
  if (unlink(path.c_str()) == 0 || errno == ENOENT) return;
  LogWarning("upload_not_removed", {{"path", path}, {"error", ErrnoStatus(errno, "").message()}});
}

Status FewerKept(const std::string& path, std::int64_t n_bytes, std::int64_t offset) {
  return Status(Code::kAborted, Str("only ", n_bytes, " bytes of artifact ", BaseName(path),
                                    " are kept, not ", offset, ": ask again"));
}

// Opens the file, cut to `offset` bytes, to write behind them.
Result<int> OpenAt(const std::string& path, std::int64_t offset) {
  const int made = offset == 0 ? O_CREAT : 0;
  const int fd = open(path.c_str(), O_RDWR | made | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0 && errno == ENOENT && offset > 0) return FewerKept(path, 0, offset);
  if (fd < 0) return ErrnoStatus(errno, Str("cannot open ", path));
  Status status;
  struct stat info {};
  if (fstat(fd, &info) != 0) {
    status = ErrnoStatus(errno, Str("cannot look at ", path));
  } else if (info.st_size < offset) {
    status = FewerKept(path, info.st_size, offset);
  } else if (ftruncate(fd, offset) != 0 || lseek(fd, 0, SEEK_END) < 0) {
    status = ErrnoStatus(errno, Str("cannot shorten ", path));
  }
  if (status.ok()) return fd;
  close(fd);
  return status;
}

}  // namespace

std::string UnfinishedUploads::FolderOf(const std::string& owner) const {
  LR_CHECK(IsSafeName(owner));
  return JoinPath(options_.folder, owner);
}

std::int64_t UnfinishedUploads::Bytes(const std::string& owner, const std::string& sha256) const {
  if (!IsSha256Hex(sha256)) return 0;
  const Result<std::int64_t> n_bytes = FileBytes(JoinPath(FolderOf(owner), sha256));
  return n_bytes.ok() ? *n_bytes : 0;
}

Result<std::unique_ptr<UnfinishedUploads::Part>> UnfinishedUploads::Take(const std::string& owner,
                                                                         const std::string& sha256,
                                                                         std::int64_t offset) {
  LR_CHECK(IsSha256Hex(sha256));
  const std::string path = JoinPath(FolderOf(owner), sha256);
  auto hold = std::make_shared<Part::Hold>();
  // Whoever takes over from us waits until our file is open.
  const std::unique_lock opening(hold->mutex);
  std::shared_ptr<Part::Hold> earlier;
  {
    const std::lock_guard lock(mutex_);
    const auto live = live_.find(path);
    const auto count = n_live_.find(owner);
    if (live != live_.end()) earlier = live->second;
    if (earlier == nullptr && count != n_live_.end() && count->second >= options_.n_live_max) {
      return Status(Code::kResourceExhausted,
                    Str("this caller has ", count->second,
                        " uploads in progress, which is as many as allowed: wait until one ends"));
    }
    if (earlier == nullptr) n_live_[owner] += 1;
    live_[path] = hold;
  }
  // From here on, the part ends by the usual way, also after an error.
  std::unique_ptr<Part> part(new Part(*this, owner, path, -1, hold));
  if (earlier != nullptr) {
    // It may be writing or hashing: other callers do not wait for that.
    const std::lock_guard using_it(earlier->mutex);
    earlier->is_lost = true;
  }
  Status status = MakeFolders(FolderOf(owner), 0700);
  if (status.ok()) {
    Result<int> fd = OpenAt(path, offset);
    if (fd.ok()) {
      part->fd_ = *fd;
      return part;
    }
    status = fd.status();
  }
  return status;
}

void UnfinishedUploads::Limit(const std::string& owner) {
  std::vector<KeptFile> files = FilesIn(FolderOf(owner));
  std::erase_if(files, [&](const KeptFile& file) { return live_.contains(file.path); });
  std::ranges::sort(files, {}, &KeptFile::changed_ms);
  std::int64_t n_bytes = 0;
  for (const KeptFile& file : files) n_bytes += file.n_bytes;
  std::int64_t n_files = std::ssize(files);
  const std::int64_t oldest_ms = options_.wall_ms() - options_.keep_ms;
  for (const KeptFile& file : files) {
    const bool stays = file.changed_ms > oldest_ms && n_files <= options_.n_kept_max &&
                       n_bytes <= options_.bytes_max;
    if (stays) break;
    Remove(file.path);
    n_files -= 1;
    n_bytes -= file.n_bytes;
  }
}

void UnfinishedUploads::RemoveOld() {
  const Result<std::vector<std::string>> owners = ListFolder(options_.folder);
  if (!owners.ok()) return;  // nothing was ever kept
  const std::lock_guard lock(mutex_);
  for (const std::string& owner : *owners) {
    if (IsSafeName(owner)) Limit(owner);
  }
}

UnfinishedUploads::Part::Part(UnfinishedUploads& all, std::string owner, std::string path, int fd,
                              std::shared_ptr<Hold> hold)
    : all_(all),
      owner_(std::move(owner)),
      path_(std::move(path)),
      fd_(fd),
      hold_(std::move(hold)) {}

Status UnfinishedUploads::Part::Use(const std::function<Status(int fd)>& use) {
  const std::lock_guard lock(hold_->mutex);
  if (!hold_->is_lost) return use(fd_);
  return Status(Code::kAborted, "another connection of this caller goes on with this upload");
}

void UnfinishedUploads::Part::End(bool removes) {
  if (std::exchange(has_ended_, true)) return;
  if (fd_ >= 0) close(std::exchange(fd_, -1));
  const std::lock_guard lock(all_.mutex_);
  const auto live = all_.live_.find(path_);
  if (live == all_.live_.end() || live->second != hold_) return;  // another connection has it
  all_.live_.erase(live);
  const auto count = all_.n_live_.find(owner_);
  if (--count->second == 0) all_.n_live_.erase(count);
  if (removes) Remove(path_);
  all_.Limit(owner_);
}

UnfinishedUploads::Part::~Part() { End(/*removes=*/false); }
void UnfinishedUploads::Part::Drop() { End(/*removes=*/true); }

}  // namespace longrun::coordinator
