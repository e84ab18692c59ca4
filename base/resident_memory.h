// What of this process lies in memory, and giving back what is not used. The C library keeps what was
// freed below a piece that is still in use, so that one frame of 300 MB would stay for ever.
#pragma once

#include <cstdint>

namespace longrun {

std::int64_t ResidentBytes();

class ResidentMemory {
 public:
  // To be called from time to time. What was freed is given back when the process has grown by an eighth,
  // and by 32 MiB at least, since it was smallest or this was done last.
  void GiveBackWhenGrown();

 private:
  std::int64_t least_bytes_ = 0;  // 0: nobody has looked yet
};

}  // namespace longrun
