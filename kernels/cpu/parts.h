// Divides work among the caller's threads.
#pragma once

#include <cstdint>
#include <functional>

#include "base/subnormals.h"
#include "kernels/attention.h"  // ParallelFor

namespace longrun {

// Calls body(begin, end) for parts that make up [0, n), on the threads of options.parallel_for if
// it is set. These threads treat subnormal numbers as the options say;
// the calling thread must do so already.
template <typename Options>
void ForParts(const Options& options, std::int64_t n,
              const std::function<void(std::int64_t begin, std::int64_t end)>& body) {
  if (n == 0) return;
  if (!options.parallel_for || n == 1) {
    body(0, n);
    return;
  }
  options.parallel_for(n, [&](std::int64_t begin, std::int64_t end) {
    const ScopedSubnormals mode(options.subnormals);
    body(begin, end);
  });
}

}  // namespace longrun
