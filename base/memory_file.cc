#include "base/memory_file.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

#include "base/str.h"

namespace longrun {

Result<MemoryFile> MemoryFile::Make() {
  const int fd = memfd_create("longrun", MFD_CLOEXEC);
  if (fd < 0) return ErrnoStatus(errno, "cannot make a file in memory");
  return MemoryFile(fd);
}

MemoryFile::MemoryFile(int fd) : file_(fd), path_(Str("/proc/", getpid(), "/fd/", fd)) {}

}  // namespace longrun
