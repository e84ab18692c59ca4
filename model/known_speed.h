// The measured speed of one core by instruction set and matrix path, and the processor on which it
// was measured. A speed measured on one make of processor says nothing about another. What is not
// in the table was not measured. docs/benchmarks.md has the measurements themselves, as ratios to
// the speed of other programs.
#pragma once

#include <span>
#include <string_view>

#include "model/cpu_paths.h"

namespace longrun {

// GFLOP/s of one core in fp32: the lowest and the highest over the measured shapes.
struct KnownRate {
  double low = 0;
  double high = 0;
  std::string_view date = "";  // "2026-11-21"; "" if not recorded
};

struct KnownSpeed {
  std::string_view simd;  // as in a run's record
  std::string_view linear;
  std::string_view make;               // "AMD EPYC": of the processor on which it was measured
  std::string_view microarchitecture;  // "Zen 5"
  KnownRate products;                  // of `linear`
  KnownRate attention;                 // fused, forward, causal, 12 heads of 64, T = 1024
};

std::span<const KnownSpeed> KnownSpeeds();

// The row with these paths; if there are several, the one for this processor's microarchitecture.
// Null: not measured.
const KnownSpeed* FindKnownSpeed(const CpuPaths& paths);

}  // namespace longrun
