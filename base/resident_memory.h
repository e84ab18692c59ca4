// What of this process lies in memory, and giving back what is not used. The C library keeps what was
// freed below a piece that is still in use, so that one frame of 300 MB would stay for ever.
#pragma once

#include <cstdint>

namespace longrun {

std::int64_t ResidentBytes();

class ResidentMemory {
 public:
  // To be called from time to time. What was freed is given back when the process has grown by an eighth,
  // and by 32 MiB at least, since it was smallest. What was in use then may be free later: as long as it is
  // so large this is tried again, at the next call, and after twice as many each time, up to 64.
  void GiveBackWhenGrown();

 private:
  std::int64_t least_bytes_ = 0;  // 0: nobody has looked yet
  std::int64_t left_bytes_ = 0;   // after it was tried last
  int n_calls_ = 0;               // since then
  int n_calls_wait_ = 0;
};

}  // namespace longrun
