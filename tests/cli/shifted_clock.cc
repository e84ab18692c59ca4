// Preloaded into a program: its wall clock is off by as many milliseconds as the file named by
// LONGRUN_TEST_CLOCK says at that moment, and the clock of BootMs() by those in the file named by
// LONGRUN_TEST_BOOT_CLOCK. All other clocks are the system's. OpenSSL asks time(), which does not
// go through clock_gettime().
#include <fcntl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>

namespace {

std::int64_t ShiftMs(const char* variable) {
  const char* const path = std::getenv(variable);
  if (path == nullptr) return 0;
  const int error_number = errno;
  char text[32] = {};
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd >= 0) {
    if (read(fd, text, sizeof text - 1) < 0) text[0] = '\0';
    close(fd);
  }
  errno = error_number;
  return std::strtoll(text, nullptr, 10);
}

}  // namespace

extern "C" int clock_gettime(clockid_t clock, timespec* time) {
  const auto result = static_cast<int>(syscall(SYS_clock_gettime, clock, time));
  if (result != 0) return result;
  if (clock == CLOCK_REALTIME) time->tv_sec += ShiftMs("LONGRUN_TEST_CLOCK") / 1000;
  if (clock == CLOCK_BOOTTIME) time->tv_sec += ShiftMs("LONGRUN_TEST_BOOT_CLOCK") / 1000;
  return result;
}

extern "C" time_t time(time_t* out) {
  timespec now = {};
  clock_gettime(CLOCK_REALTIME, &now);
  if (out != nullptr) *out = now.tv_sec;
  return now.tv_sec;
}
