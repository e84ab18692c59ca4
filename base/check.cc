// What LR_CHECK does when its condition is false.
#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace longrun {

void CheckFailed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "%s:%d: this must hold and does not: %s\n", file, line, condition);
  std::fflush(stderr);
  std::abort();
}

}  // namespace longrun
