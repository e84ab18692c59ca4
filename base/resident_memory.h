// The process's resident memory, and how to return unused memory to the system. The C library keeps
// freed memory that lies below a block in use, so that a single frame of 300 MB would
// occupy it forever.
#pragma once

#include <cstdint>

namespace longrun {

std::int64_t ResidentBytes();

class ResidentMemory {
 public:
  // Call this from time to time. It returns freed memory once the process has grown by an eighth,
  // and by at least 32 MiB, since it was smallest. Memory still in use at that moment may be freed
  // later: while the process stays that large, this tries again at the next call, and then after
  // twice as many calls each time, up to 64.
  void GiveBackWhenGrown();

 private:
  std::int64_t least_bytes_ = 0;  // 0: not measured yet
  std::int64_t left_bytes_ = 0;   // after the last attempt
  int n_calls_ = 0;               // since that attempt
  int n_calls_wait_ = 0;
};

}  // namespace longrun
