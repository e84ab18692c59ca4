// Every allocation of a test's own process, those of LibTorch and of matrix libraries too: malloc
// and its family are replaced where a program is made of allocations.cc. Not under a sanitizer,
// which replaces them itself.
#pragma once

#include <cstdint>

namespace longrun {

struct Allocations {
  std::int64_t held = 0;     // bytes now
  std::int64_t most = 0;     // the most held since ForgetAllocations
  std::int64_t largest = 0;  // of one allocation since then
};
bool AllocationsAreCounted();
Allocations AllocationsNow();
void ForgetAllocations();

}  // namespace longrun
