// See kept_memory.h.
#include "base/kept_memory.h"

#include <malloc.h>

namespace longrun {

void KeepFreedMemory() {
#ifdef __GLIBC__
  constexpr int kLargestKept = 32 << 20;  // glibc's own limit; larger blocks come from the system
  constexpr int kFreeMax = 1 << 30;
  mallopt(M_MMAP_THRESHOLD, kLargestKept);
  mallopt(M_TRIM_THRESHOLD, kFreeMax);
#endif
}

}  // namespace longrun
