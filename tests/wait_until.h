// How a test awaits what happens outside of it, in another process or thread: it looks again and
// again, until a deadline.
#pragma once

#include <poll.h>

#include <cstdint>
#include <functional>

#include "base/clock.h"

namespace longrun {

// Looks every 10 ms until `condition` holds; false if it does not hold within `limit_ms`. The last
// look begins after the deadline, so that a machine that was busy elsewhere does not fail the test.
inline bool WaitUntil(std::int64_t limit_ms, const std::function<bool()>& condition) {
  const std::int64_t deadline = BootMs() + limit_ms;
  while (true) {
    const bool is_last = BootMs() >= deadline;
    if (condition()) return true;
    if (is_last) return false;
    poll(nullptr, 0, 10);
  }
}

}  // namespace longrun
