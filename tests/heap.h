// What a test's own process holds on the heap, so that the test can set a limit to it. A program
// that is to count is made of heap.cc as well.
#pragma once

#include <cstdint>

namespace longrun {

struct Heap {
  std::int64_t asked = 0;  // bytes of all allocations so far
  std::int64_t held = 0;   // bytes of those that are not freed
  std::int64_t most = 0;   // the most held since ForgetMost
};
Heap HeapNow();
void ForgetMost();  // `most` begins anew from what is held now

}  // namespace longrun
