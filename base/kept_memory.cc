// See kept_memory.h.
#include "base/kept_memory.h"

#include <malloc.h>

#include <limits>

namespace longrun {

void KeepFreedMemory() {
#ifdef __GLIBC__
  // A block with a mapping of its own, as glibc's large ones have, is unmapped when it is freed.
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
#endif
}

}  // namespace longrun
