// Preloaded into a program: the disk is full at its first mkdir of a path that ends in
// LONGRUN_TEST_NO_FOLDER.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <string_view>

extern "C" int mkdir(const char* path, mode_t mode) {
  static std::atomic<bool> was_full = false;
  const char* const end = std::getenv("LONGRUN_TEST_NO_FOLDER");
  if (end != nullptr && std::string_view(path).ends_with(end) && !was_full.exchange(true)) {
    errno = ENOSPC;
    return -1;
  }
  return static_cast<int>(syscall(SYS_mkdirat, AT_FDCWD, path, mode));
}
