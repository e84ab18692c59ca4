// Work in parts, on the caller's threads.
#pragma once

#include <cstdint>
#include <functional>

#include "kernels/attention.h"  // ParallelFor

namespace longrun {

// Calls body(begin, end) for parts that make up [0, n), through `parallel_for` where there is one.
inline void ForParts(const ParallelFor& parallel_for, std::int64_t n,
                     const std::function<void(std::int64_t begin, std::int64_t end)>& body) {
  if (n == 0) return;
  if (parallel_for && n > 1) {
    parallel_for(n, body);
  } else {
    body(0, n);
  }
}

}  // namespace longrun
