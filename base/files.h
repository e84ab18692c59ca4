// Files. A file that we write appears complete or not at all: it is written under a temporary name,
// fsynced, renamed, and then its folder is fsynced.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace longrun {

Result<std::string> ReadFile(const std::string& path, std::size_t bytes_max = std::size_t{1} << 32);
Status WriteFileAtomic(const std::string& path, std::string_view bytes, int mode = 0644);
Status SyncFile(const std::string& path);  // fsync of an existing file
Status SyncFolder(const std::string& path);
Status RenameSync(const std::string& from,
                  const std::string& to);  // rename, then fsync of the folder
// Exchanges the names of both folders in one step, so that neither is ever missing; in two steps
// where the file system cannot do that (NFS), and then removes what `folder` was.
Status ExchangeFolders(const std::string& made, const std::string& folder);
Status MakeFolders(const std::string& path, int mode = 0755);  // like mkdir -p
// Makes one folder, unless it exists. kNotFound if its parent does not exist: a program that writes
// into a folder which may be moved away must not make a second one in the old place.
Status MakeFolder(const std::string& path, int mode = 0755);
Status RemoveAll(const std::string& path);  // like rm -rf; an absent path is fine
bool PathExists(const std::string& path);
bool IsFolder(const std::string& path);
Result<std::vector<std::string>> ListFolder(const std::string& path);  // names, sorted byte-wise
Result<std::int64_t> FileBytes(const std::string& path);
Result<std::int64_t> DiskFreeBytes(const std::string& path);
Result<std::int64_t> DiskBytes(const std::string& path);  // the size of the disk
std::string JoinPath(std::string_view folder, std::string_view name);
std::string BaseName(std::string_view path);
std::string FolderOf(std::string_view path);
Result<std::string> AbsolutePath(const std::string& path);

// Whether the name may become a path: 1 to 128 letters, digits, '.', '_' or '-', the first not '.'.
bool IsSafeName(std::string_view name);

// A folder that removes itself.
class TempFolder {
 public:
  explicit TempFolder(std::string_view prefix = "longrun");
  ~TempFolder();
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// An exclusive flock, held until the object is destroyed or the process dies.
// The holder may remove the file.
class FileLock {
 public:
  // kUnavailable when another process holds it (`what` names that process in the message);
  // kNotFound when the folder does not exist.
  static Result<FileLock> Acquire(const std::string& path, std::string_view what);
  // True when some process holds the lock now.
  static bool IsHeld(const std::string& path);
  FileLock(FileLock&& other) noexcept;
  FileLock& operator=(FileLock&& other) noexcept;
  ~FileLock();
  int fd() const { return fd_; }

 private:
  explicit FileLock(int fd) : fd_(fd) {}
  int fd_ = -1;
};

// A file mapped for reading.
class MappedFile {
 public:
  static Result<MappedFile> Open(const std::string& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();
  std::span<const std::byte> bytes() const { return {data_, n_bytes_}; }

 private:
  MappedFile() = default;
  const std::byte* data_ = nullptr;
  std::size_t n_bytes_ = 0;
};

}  // namespace longrun
