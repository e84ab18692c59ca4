// The numbers that every Prometheus client shows about its own process, from /proc/self (proc(5)).
#pragma once

#include <cstdint>

namespace longrun {

// A number that could not be read is 0.
struct ProcessNumbers {
  double cpu_seconds = 0;
  double start_time_seconds = 0;  // since 1970
  std::int64_t resident_bytes = 0;
  std::int64_t virtual_bytes = 0;
  std::int64_t open_fds = 0;
  std::int64_t max_fds = 0;
};
ProcessNumbers ReadProcessNumbers();

}  // namespace longrun
