// What one core is known to reach, by instruction set and matrix path, and on which processor that was
// measured. A speed that was measured on one make says nothing of another: what is not in the table has
// not been measured. docs/benchmarks.md has the measurements themselves, ratios beside peers.
#pragma once

#include <span>
#include <string_view>

#include "model/cpu_paths.h"

namespace longrun {

// GFLOP/s of one core in fp32, from the least to the greatest over the shapes that were measured.
struct KnownRate {
  double low = 0;
  double high = 0;
  std::string_view date = "";  // "2026-11-21"; "" where nobody has written it down
};

struct KnownSpeed {
  std::string_view simd;  // as a run's record has them
  std::string_view linear;
  std::string_view make;               // "AMD EPYC", of the processor that was measured
  std::string_view microarchitecture;  // "Zen 5"
  KnownRate products;                  // of `linear`
  KnownRate attention;                 // fused, forward, causal, 12 heads of 64, T = 1024
};

std::span<const KnownSpeed> KnownSpeeds();

// The row of these paths; of several that of this processor's microarchitecture. Null: not measured.
const KnownSpeed* FindKnownSpeed(const CpuPaths& paths);

}  // namespace longrun
