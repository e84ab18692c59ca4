// See shared_objects.h.
#include "base/shared_objects.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <string_view>
#include <vector>

#include "base/descriptor.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/random.h"
#include "base/str.h"

namespace longrun {
namespace {

constexpr const char* kIncoming = "incoming";

// NFS may remember for a minute that a name is not there. It asks again once the folder is opened.
void LookAgain(const std::string& folder) {
  if (DIR* const open = opendir(folder.c_str()); open != nullptr) {
    (void)readdir(open);
    closedir(open);
  }
}

// An error of the folder itself. One that looks as if it might pass, such as that of a server which
// has gone, would keep the caller from another way to the bytes.
Status OfFolder(Status status) {
  const bool looks_passing =
      status.code() == Code::kUnknown || status.code() == Code::kDeadlineExceeded;
  return looks_passing ? Status(Code::kFailedPrecondition, status.message()) : status;
}

// A name that no other call has, of this process or another one: a worker that connects again makes
// new SharedObjects while its uploads still use the old ones, and in a container, a process may
// have the same number as the one before it.
std::string TemporaryName(const std::string& writer) {
  static const std::uint64_t process = EntropySeed();
  static std::atomic<std::int64_t> n_begun{0};
  return Str(writer, "-", process, "-", ++n_begun);
}

}  // namespace

Result<std::string> ReadSharedFile(const std::string& path, std::size_t bytes_max) {
  Result<std::string> text = ReadFile(path, bytes_max);
  if (text.status().code() != Code::kNotFound) return text;
  LookAgain(FolderOf(path));
  return ReadFile(path, bytes_max);
}

std::string SharedObjects::PathOf(const std::string& sha256) const {
  return JoinPath(JoinPath(folder_, sha256.substr(0, 2)), sha256);
}

// Where nothing is mounted any more, files would go to the disk of this machine.
Status SharedObjects::MakeFolderInside(const std::string& path) const {
  Status made = MakeFolder(path, 0700);
  if (made.code() != Code::kNotFound) return OfFolder(std::move(made));
  return Status(Code::kFailedPrecondition, Str("the shared folder ", folder_,
                                               " is not there any more: mount it again on this "
                                               "machine"));
}

Result<SharedObjects::Stamp> SharedObjects::StampOf(const std::string& path) {
  struct stat info {};
  bool is_known = lstat(path.c_str(), &info) == 0;
  if (!is_known && errno == ENOENT) {
    LookAgain(FolderOf(path));
    is_known = lstat(path.c_str(), &info) == 0;
  }
  if (!is_known) {
    return OfFolder(ErrnoStatus(errno, Str("cannot read ", path, " in the shared folder")));
  }
  if (!S_ISREG(info.st_mode)) {
    return Status(Code::kDataLoss, Str(path, " in the shared folder is not a regular file"));
  }
  return Stamp{
      .device = info.st_dev,
      .inode = info.st_ino,
      .n_bytes = info.st_size,
      .changed_ns = std::int64_t{info.st_ctim.tv_sec} * 1'000'000'000 + info.st_ctim.tv_nsec};
}

Status SharedObjects::CheckBytes(const std::string& path, const std::string& sha256,
                                 std::int64_t n_bytes, const std::function<Status()>& go_on) {
  const Descriptor fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd.is_open()) {
    return OfFolder(ErrnoStatus(errno, Str("cannot open ", path, " in the shared folder")));
  }
  const Result<std::string> found = Sha256OfOpenFile(fd.get(), path, go_on);
  if (!found.ok()) return OfFolder(found.status());
  struct stat info {};
  if (fstat(fd.get(), &info) != 0) {
    return OfFolder(ErrnoStatus(errno, Str("cannot read ", path, " in the shared folder")));
  }
  if (*found == sha256 && info.st_size == n_bytes) return Status();
  return Status(Code::kDataLoss,
                Str(path, " in the shared folder has ", info.st_size, " bytes with the SHA-256 ",
                    *found, ", expected ", n_bytes, " bytes with ", sha256));
}

Status SharedObjects::Check(const std::string& sha256, std::int64_t n_bytes,
                            const std::function<Status()>& go_on) {
  if (!IsSha256Hex(sha256)) {
    return Status(Code::kInvalidArgument, Str("\"", sha256, "\" is not a SHA-256"));
  }
  const std::string path = PathOf(sha256);
  ASSIGN_OR_RETURN(const Stamp stamp, StampOf(path));
  {
    const std::lock_guard lock(mutex_);
    const auto checked = checked_.find(sha256);
    if (checked != checked_.end() && checked->second == stamp && stamp.n_bytes == n_bytes) {
      return Status();
    }
  }
  RETURN_IF_ERROR(CheckBytes(path, sha256, n_bytes, go_on));
  const std::lock_guard lock(mutex_);
  checked_[sha256] = stamp;
  return Status();
}

Status SharedObjects::Put(const std::string& sha256, std::int64_t n_bytes,
                          const std::string& writer,
                          const std::function<Status(const std::string& path)>& write,
                          const std::function<Status()>& go_on) {
  const Status there = Check(sha256, n_bytes, go_on);
  // Other bytes under this name are of no use to anybody: they are replaced.
  if (there.code() != Code::kNotFound && there.code() != Code::kDataLoss) return there;
  const std::string temporary = JoinPath(JoinPath(folder_, kIncoming), TemporaryName(writer));
  RETURN_IF_ERROR(MakeFolderInside(FolderOf(temporary)));
  Status status = write(temporary);
  if (status.ok()) status = SyncFile(temporary);
  if (status.ok()) status = CheckBytes(temporary, sha256, n_bytes, go_on);
  const std::string path = PathOf(sha256);
  if (status.ok()) status = MakeFolderInside(FolderOf(path));
  if (status.ok()) status = RenameSync(temporary, path);
  if (!status.ok()) (void)unlink(temporary.c_str());
  return OfFolder(std::move(status));
}

void SharedObjects::RemoveOld(std::int64_t before_ms) const {
  for (const char* const name : {kIncoming, kSharedSeen}) {
    const std::string folder = JoinPath(folder_, name);
    const Result<std::vector<std::string>> files = ListFolder(folder);
    if (!files.ok()) continue;  // nothing was written there
    for (const std::string& file : *files) {
      const std::string path = JoinPath(folder, file);
      struct stat info {};
      if (lstat(path.c_str(), &info) != 0 || info.st_mtim.tv_sec >= before_ms / 1000) continue;
      (void)unlink(path.c_str());  // if it fails, an hour later again
    }
  }
}

}  // namespace longrun
