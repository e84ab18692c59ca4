// See held_file.h.
#include "base/held_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <utility>

#include "base/str.h"

namespace longrun {

Result<HeldFile> HeldFile::Open(const std::string& path) {
  const int fd = open(path.c_str(), O_PATH | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(errno, Str("cannot open ", path));
  return HeldFile(path, fd);
}

HeldFile::HeldFile(HeldFile&& other) noexcept
    : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)) {}

HeldFile& HeldFile::operator=(HeldFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(fd_, other.fd_);
  return *this;
}

HeldFile::~HeldFile() {
  if (fd_ >= 0) close(fd_);
}

bool HeldFile::IsAt(const std::string& path) const {
  struct stat held {};
  struct stat named {};
  if (stat(path.c_str(), &named) != 0) return errno != ENOENT && errno != ENOTDIR;
  if (fstat(fd_, &held) != 0) return true;
  return held.st_dev == named.st_dev && held.st_ino == named.st_ino;
}

std::string HeldFile::PathNow() const {
  char text[PATH_MAX];
  const ssize_t n = readlink(Str("/proc/self/fd/", fd_).c_str(), text, sizeof text);
  if (n <= 0 || n == static_cast<ssize_t>(sizeof text)) return "";
  const std::string path(text, static_cast<std::size_t>(n));
  // For a deleted file the kernel's text ends in " (deleted)", and is not a path.
  struct stat info {};
  return stat(path.c_str(), &info) == 0 && IsAt(path) ? path : "";
}

}  // namespace longrun
