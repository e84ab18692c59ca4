// See writable.h.
#include "client/wire/writable.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "base/files.h"
#include "base/str.h"

namespace longrun::client {
namespace {

constexpr const char* kElsewhere = ", or choose another folder with --state";

bool IsAnothers(const std::string& folder) {
  struct stat info {};
  return stat(folder.c_str(), &info) == 0 && info.st_uid != geteuid();
}

}  // namespace

int WriteErrno(const std::string& folder) {
  const std::string path = JoinPath(folder, Str("writable.", getpid()));
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return errno;
  // An empty file can be created even on a full disk, so write about as much as a
  // database needs to start.
  static constexpr std::array<char, 1 << 17> bytes{};
  // A nearly full disk or limit accepts a partial write;
  // the next write says which of the two it is.
  std::size_t n_written = 0;
  int error_number = 0;
  while (error_number == 0 && n_written < bytes.size()) {
    const ssize_t n = write(fd, bytes.data() + n_written, bytes.size() - n_written);
    if (n < 0) error_number = errno;
    if (n > 0) n_written += static_cast<std::size_t>(n);
  }
  if (error_number == 0 && fsync(fd) != 0) error_number = errno;
  close(fd);
  unlink(path.c_str());
  return error_number;
}

int MakeErrno(const std::string& folder) {
  const std::string path = JoinPath(folder, Str("writable.", getpid()));
  if (mkdir(path.c_str(), 0700) != 0) return errno;
  return rmdir(path.c_str()) == 0 ? 0 : errno;
}

WriteProblem DescribeWriteErrno(int error_number, const std::string& folder) {
  switch (error_number) {
    case ENOSPC:
      return {Str("the disk of ", folder, " is full"),
              Str("make room on it: some MiB are enough to start, and then `longrun gc --dry-run` "
                  "shows what can be removed")};
    case EDQUOT:
      return {Str("the quota of this user is used up at ", folder),
              Str("remove files, or ask for more", kElsewhere)};
    case EFBIG:
      return {Str("a file in ", folder,
                  " cannot grow: the limit on file size (`ulimit -f`) is reached"),
              "raise it: `ulimit -f unlimited`, or LimitFSIZE= of the systemd unit; the disk is "
              "not full"};
    case EMFILE:
      return {Str("nothing can be written in ", folder, ": too many open files"),
              "raise their limit: `ulimit -n 4096`, or LimitNOFILE= of the systemd unit"};
    case EROFS:
      return {Str("the file system of ", folder, " is mounted read-only"),
              Str("mount it writable (`dmesg` says whether a fault of the disk made it so)",
                  kElsewhere)};
    case EACCES:
    case EPERM:
      if (IsAnothers(folder)) {
        return {Str(folder, " belongs to another user"), Str("run as that user", kElsewhere)};
      }
      return {Str("no permission to write in ", folder), Str("chmod 700 ", folder, kElsewhere)};
    default:
      return {Str("nothing can be written in ", folder, ": ", std::strerror(error_number)),
              Str("look at that disk", kElsewhere)};
  }
}

}  // namespace longrun::client
