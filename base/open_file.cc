// See open_file.h.
#include "base/open_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/str.h"

namespace longrun {

Result<OpenFile> OpenFile::Open(const std::string& path, Mode mode) {
  const int flags = (mode == Mode::kRead ? O_RDONLY : O_RDWR) | O_CLOEXEC;
  int fd = open(path.c_str(), flags);
  while (fd < 0 && errno == EINTR) fd = open(path.c_str(), flags);
  if (fd < 0) return ErrnoStatus(errno, Str("cannot open ", path));
  return OpenFile(path, fd);
}

OpenFile::OpenFile(OpenFile&& other) noexcept
    : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)) {}

OpenFile& OpenFile::operator=(OpenFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(fd_, other.fd_);
  return *this;
}

OpenFile::~OpenFile() {
  if (fd_ >= 0) close(fd_);
}

Result<std::int64_t> OpenFile::n_bytes() const {
  struct stat info {};
  if (fstat(fd_, &info) != 0) return ErrnoStatus(errno, Str("cannot look at ", path_));
  return std::int64_t{info.st_size};
}

Result<std::string> OpenFile::ReadAt(std::int64_t offset, std::size_t n_bytes) const {
  std::string bytes(n_bytes, '\0');
  std::size_t n_read = 0;
  while (n_read < n_bytes) {
    const ssize_t n = pread(fd_, bytes.data() + n_read, n_bytes - n_read,
                            offset + static_cast<std::int64_t>(n_read));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, Str("cannot read ", path_));
    if (n == 0) break;
    n_read += static_cast<std::size_t>(n);
  }
  bytes.resize(n_read);
  return bytes;
}

Status OpenFile::WriteAt(std::int64_t offset, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = pwrite(fd_, bytes.data(), bytes.size(), offset);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, Str("cannot write ", path_));
    bytes.remove_prefix(static_cast<std::size_t>(n));
    offset += n;
  }
  return Status();
}

Status OpenFile::Sync() {
  return fsync(fd_) == 0 ? Status() : ErrnoStatus(errno, Str("cannot sync ", path_));
}

}  // namespace longrun
