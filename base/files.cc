// Files through system calls: C++ streams neither say why something failed nor fsync.
#include "base/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>

#include "base/descriptor.h"
#include "base/exit_code.h"
#include "base/str.h"
#include "base/utf8.h"

namespace longrun {
namespace {

int OpenRetrying(const std::string& path, int flags, int mode = 0) {
  for (;;) {
    const int fd = open(path.c_str(), flags | O_CLOEXEC, mode);
    if (fd >= 0 || errno != EINTR) return fd;
  }
}

Status WriteAll(int fd, std::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t n = write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, Str("cannot write ", path));
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

// `target` is the caller's name for the file, for messages.
Status WriteNewFile(const std::string& path, const std::string& target, std::string_view bytes,
                    int mode) {
  Descriptor fd(OpenRetrying(path, O_WRONLY | O_CREAT | O_EXCL, mode));
  if (!fd.is_open() && errno == ENOENT) {
    return Status(Code::kNotFound, Str("cannot write ", target, ": there is no folder ",
                                       FolderOf(target), "; make it first"));
  }
  if (!fd.is_open()) return ErrnoStatus(errno, Str("cannot write ", target));
  RETURN_IF_ERROR(WriteAll(fd.get(), bytes, target));
  if (fsync(fd.get()) != 0) return ErrnoStatus(errno, Str("cannot sync ", target));
  // Network file systems may report a full disk only here.
  if (close(fd.Release()) != 0) return ErrnoStatus(errno, Str("cannot close ", target));
  return {};
}

// Whether the path still names the open file.
bool IsFileAt(int fd, const std::string& path) {
  struct stat opened {};
  struct stat named {};
  return fstat(fd, &opened) == 0 && stat(path.c_str(), &named) == 0 &&
         opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

std::string_view WithoutSlashes(std::string_view path) {
  while (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
  return path;
}

}  // namespace

Result<std::string> ReadFile(const std::string& path, std::size_t bytes_max) {
  const Descriptor fd(OpenRetrying(path, O_RDONLY));
  if (!fd.is_open()) return ErrnoStatus(errno, Str("cannot open ", path));
  struct stat info {};
  if (fstat(fd.get(), &info) != 0) return ErrnoStatus(errno, Str("cannot look at ", path));
  std::string bytes;
  // The size is only a hint: files of /proc have size 0, and a journal grows while it is read.
  std::size_t n_room = std::min(static_cast<std::size_t>(info.st_size), bytes_max) + 1;
  for (;;) {
    const std::size_t n_before = bytes.size();
    bytes.resize(n_before + n_room);
    const ssize_t n = read(fd.get(), bytes.data() + n_before, n_room);
    const int error_number = errno;
    bytes.resize(n_before + (n > 0 ? static_cast<std::size_t>(n) : 0));
    if (n == 0) return bytes;
    if (n < 0 && error_number == EINTR) continue;
    if (n < 0) return ErrnoStatus(error_number, Str("cannot read ", path));
    if (bytes.size() > bytes_max) {
      return Status(Code::kResourceExhausted,
                    Str(path, " is too large: expected at most ", bytes_max, " bytes"));
    }
    n_room = std::max<std::size_t>(4096, bytes.size() / 2);
  }
}

Status WriteFileAtomic(const std::string& path, std::string_view bytes, int mode) {
  // In a container, a process may have the same number as the one before it, which was killed and
  // left its file. The file stays, since it may also be that of a process in another container.
  constexpr int kNamesTried = 1000;
  static std::atomic<std::uint64_t> n_written{0};
  std::string temporary;
  Status status;
  for (int i = 0; i < kNamesTried; ++i) {
    // The leading dot distinguishes it from all our names (IsSafeName).
    temporary = JoinPath(FolderOf(path), Str(".", BaseName(path), ".tmp-", int{getpid()}, "-",
                                             n_written.fetch_add(1)));
    status = WriteNewFile(temporary, path, bytes, mode);
    if (status.code() != Code::kAlreadyExists) break;
  }
  if (status.code() == Code::kAlreadyExists) return status;
  if (status.ok()) status = RenameSync(temporary, path);
  if (!status.ok()) unlink(temporary.c_str());
  return status;
}

Status SyncFile(const std::string& path) {
  const Descriptor fd(OpenRetrying(path, O_RDONLY));
  if (!fd.is_open()) return ErrnoStatus(errno, Str("cannot open ", path));
  if (fsync(fd.get()) != 0) return ErrnoStatus(errno, Str("cannot sync ", path));
  return {};
}

Status SyncFolder(const std::string& path) {
  const Descriptor fd(OpenRetrying(path, O_RDONLY | O_DIRECTORY));
  if (!fd.is_open()) return ErrnoStatus(errno, Str("cannot open folder ", path));
  // EINVAL: a file system without fsync of folders orders renames by itself.
  if (fsync(fd.get()) != 0 && errno != EINVAL) {
    return ErrnoStatus(errno, Str("cannot sync folder ", path));
  }
  return {};
}

Status RenameSync(const std::string& from, const std::string& to) {
  if (rename(from.c_str(), to.c_str()) != 0) {
    return ErrnoStatus(errno, Str("cannot rename ", from, " to ", to));
  }
  return SyncFolder(FolderOf(to));
}

Status ExchangeFolders(const std::string& made, const std::string& folder) {
  constexpr unsigned kExchange = 2;  // RENAME_EXCHANGE, Linux 3.15
  if (syscall(SYS_renameat2, AT_FDCWD, made.c_str(), AT_FDCWD, folder.c_str(), kExchange) == 0) {
    return SyncFolder(FolderOf(folder));
  }
  if (errno != EINVAL && errno != ENOSYS && errno != EXDEV) {
    return ErrnoStatus(errno, Str("cannot replace ", folder, " with ", made));
  }
  const std::string old = Str(made, ".old");
  RETURN_IF_ERROR(RemoveAll(old));
  RETURN_IF_ERROR(RenameSync(folder, old));
  if (Status renamed = RenameSync(made, folder); !renamed.ok()) {
    RETURN_IF_ERROR(RenameSync(old, folder));
    return renamed;
  }
  return RemoveAll(old);
}

Status MakeFolders(const std::string& path, int mode) {
  if (path.empty()) return Status(Code::kInvalidArgument, "cannot make a folder without a name");
  if (IsFolder(path)) return {};
  const std::string parent = FolderOf(path);
  if (parent != WithoutSlashes(path)) RETURN_IF_ERROR(MakeFolders(parent, mode));
  return MakeFolder(path, mode);
}

Status MakeFolder(const std::string& path, int mode) {
  if (mkdir(path.c_str(), static_cast<mode_t>(mode)) == 0) return SyncFolder(FolderOf(path));
  const int error_number = errno;
  if (error_number == EEXIST && IsFolder(path)) return {};  // another process was faster
  if (error_number == EEXIST) {
    return Status(Code::kAlreadyExists,
                  Str("cannot make folder ", path,
                      ": there is a file of that name; move it away, or choose another folder"));
  }
  return ErrnoStatus(error_number, Str("cannot make folder ", path));
}

Status RemoveAll(const std::string& path) {
  std::error_code error;
  std::filesystem::remove_all(path, error);
  if (error) return ErrnoStatus(error.value(), Str("cannot remove ", path));
  return {};
}

bool PathExists(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0;
}

bool IsFolder(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

Result<std::vector<std::string>> ListFolder(const std::string& path) {
  struct Close {
    void operator()(DIR* folder) const { closedir(folder); }
  };
  const std::unique_ptr<DIR, Close> folder(opendir(path.c_str()));
  if (folder == nullptr) return ErrnoStatus(errno, Str("cannot list ", path));
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    const dirent* entry = readdir(folder.get());
    if (entry == nullptr) break;
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  if (errno != 0) return ErrnoStatus(errno, Str("cannot list ", path));
  std::sort(names.begin(), names.end());
  return names;
}

Result<std::int64_t> FileBytes(const std::string& path) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) return ErrnoStatus(errno, Str("cannot look at ", path));
  return std::int64_t{info.st_size};
}

namespace {

Result<struct statvfs> FileSystemOf(const std::string& path) {
  struct statvfs info {};
  if (statvfs(path.c_str(), &info) != 0) {
    return ErrnoStatus(errno, Str("cannot ask for the free space at ", path));
  }
  return info;
}

}  // namespace

Result<std::int64_t> DiskFreeBytes(const std::string& path) {
  ASSIGN_OR_RETURN(const struct statvfs info, FileSystemOf(path));
  return static_cast<std::int64_t>(info.f_bavail * info.f_frsize);
}

Result<std::int64_t> DiskBytes(const std::string& path) {
  ASSIGN_OR_RETURN(const struct statvfs info, FileSystemOf(path));
  return static_cast<std::int64_t>(info.f_blocks * info.f_frsize);
}

std::string JoinPath(std::string_view folder, std::string_view name) {
  if (folder.empty() || name.starts_with('/')) return std::string(name);
  return Str(folder, folder.ends_with('/') ? "" : "/", name);
}

std::string BaseName(std::string_view path) {
  path = WithoutSlashes(path);
  const std::size_t slash = path.rfind('/');
  if (slash == std::string_view::npos || path.size() == 1) return std::string(path);
  return std::string(path.substr(slash + 1));
}

std::string FolderOf(std::string_view path) {
  path = WithoutSlashes(path);
  const std::size_t slash = path.rfind('/');
  if (slash == std::string_view::npos) return ".";
  return std::string(WithoutSlashes(path.substr(0, slash == 0 ? 1 : slash)));
}

Result<std::string> AbsolutePath(const std::string& path) {
  if (path.empty()) return Status(Code::kInvalidArgument, "an empty path has no absolute form");
  std::error_code error;
  const std::filesystem::path absolute = std::filesystem::absolute(path, error);
  if (error) return ErrnoStatus(error.value(), Str("cannot make ", path, " absolute"));
  if (!path.starts_with('/')) {
    RETURN_IF_ERROR(CheckUtf8(std::filesystem::current_path(error).string(), "the current folder",
                              "give absolute paths, or start in another folder"));
  }
  return std::string(WithoutSlashes(absolute.lexically_normal().string()));
}

bool IsSafeName(std::string_view name) {
  const auto is_allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  };
  return !name.empty() && name.size() <= 128 && name[0] != '.' &&
         std::all_of(name.begin(), name.end(), is_allowed);
}

// What needs one cannot go on without: commands of people, and tests.
TempFolder::TempFolder(std::string_view prefix) {
  const char* const given = std::getenv("TMPDIR");
  const std::string folder = given != nullptr && *given != '\0' ? given : "/tmp";
  path_ = JoinPath(folder, Str(prefix, "-XXXXXX"));
  if (mkdtemp(path_.data()) != nullptr) return;
  std::fprintf(
      stderr,
      "cannot make a temporary folder in %s: %s; set TMPDIR to a folder that you may write "
      "to and that has room\n",
      Printable(folder).c_str(), std::strerror(errno));
  _exit(kExitStorage);
}

TempFolder::~TempFolder() {
  std::error_code error;  // a folder left in /tmp is no reason to stop
  std::filesystem::remove_all(path_, error);
}

Result<FileLock> FileLock::Acquire(const std::string& path, std::string_view what) {
  // Another process's IsHeld takes the lock for a moment, so a single refusal is not conclusive.
  constexpr int kTries = 20;
  constexpr timespec kPause = {.tv_sec = 0, .tv_nsec = 5'000'000};
  for (int i = 0; i <= kTries; ++i) {
    if (i > 0) nanosleep(&kPause, nullptr);
    Descriptor fd(OpenRetrying(path, O_RDWR | O_CREAT, 0600));
    if (!fd.is_open()) return ErrnoStatus(errno, Str("cannot open the lock ", path));
    if (flock(fd.get(), LOCK_EX | LOCK_NB) == 0) {
      // A holder may have removed the file since we opened it: others would lock a new one.
      if (IsFileAt(fd.get(), path)) return FileLock(fd.Release());
    } else if (errno != EWOULDBLOCK && errno != EINTR) {
      return ErrnoStatus(errno, Str("cannot lock ", path));
    }
  }
  return Status(Code::kUnavailable, Str(what, " is already running: it holds the lock ", path));
}

bool FileLock::IsHeld(const std::string& path) {
  const Descriptor fd(OpenRetrying(path, O_RDWR));
  if (!fd.is_open()) return false;
  // Shared, so that two callers of IsHeld do not see each other; released with the descriptor.
  return flock(fd.get(), LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
}

FileLock::FileLock(FileLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

FileLock& FileLock::operator=(FileLock&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

FileLock::~FileLock() {
  if (fd_ >= 0) close(fd_);
}

Result<MappedFile> MappedFile::Open(const std::string& path) {
  // Without O_NONBLOCK, opening a pipe would wait for its writer.
  const Descriptor fd(OpenRetrying(path, O_RDONLY | O_NONBLOCK));
  if (!fd.is_open()) return ErrnoStatus(errno, Str("cannot open ", path));
  struct stat info {};
  if (fstat(fd.get(), &info) != 0) return ErrnoStatus(errno, Str("cannot look at ", path));
  if (!S_ISREG(info.st_mode)) return Status(Code::kDataLoss, Str(path, " is not a regular file"));
  MappedFile file;
  if (info.st_size == 0) return Result<MappedFile>(std::move(file));  // mmap refuses an empty file
  file.n_bytes_ = static_cast<std::size_t>(info.st_size);
  void* data = mmap(nullptr, file.n_bytes_, PROT_READ, MAP_SHARED, fd.get(), 0);
  if (data == MAP_FAILED) {
    file.n_bytes_ = 0;
    return ErrnoStatus(errno, Str("cannot map ", path));
  }
  file.data_ = static_cast<const std::byte*>(data);
  return Result<MappedFile>(std::move(file));
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), n_bytes_(std::exchange(other.n_bytes_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(n_bytes_, other.n_bytes_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) munmap(const_cast<std::byte*>(data_), n_bytes_);
}

}  // namespace longrun
