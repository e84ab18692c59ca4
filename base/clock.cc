// The two clocks, and the text form of a time.
#include "base/clock.h"

#include <time.h>

#include "base/check.h"

namespace longrun {
namespace {

std::int64_t ReadMs(clockid_t clock) {
  timespec now{};
  LR_CHECK(clock_gettime(clock, &now) == 0);
  return std::int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

}  // namespace

std::int64_t BootMs() { return ReadMs(CLOCK_BOOTTIME); }
std::int64_t WallMs() { return ReadMs(CLOCK_REALTIME); }

std::string FormatWallMs(std::int64_t wall_ms) {
  const std::int64_t rest = wall_ms % 1000;
  const time_t seconds = (wall_ms - (rest < 0 ? rest + 1000 : rest)) / 1000;  // rounds down
  tm utc{};
  LR_CHECK(gmtime_r(&seconds, &utc) != nullptr);
  char text[80];
  const std::size_t n = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
  LR_CHECK(n > 0);
  return std::string(text, n);
}

}  // namespace longrun
