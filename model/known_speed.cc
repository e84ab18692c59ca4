// See known_speed.h.
#include "model/known_speed.h"

namespace longrun {
namespace {

constexpr KnownSpeed kKnownSpeeds[] = {
    {.simd = "avx512",
     .linear = "onednn/AuthenticAMD",
     .make = "AMD EPYC",
     .microarchitecture = "Zen 5",
     .products = {.low = 229, .high = 270},
     .attention = {.low = 182, .high = 184, .date = "2026-11-21"}},
    // Virtual processors of a shared host, which vary by a third from hour to hour. Products of
    // 1024 rows, from 64 x 192 to 3072 x 768 weights; oneDNN reached 0.83 to 0.98 of these.
    {.simd = "avx512",
     .linear = "aten/GenuineIntel",
     .make = "Intel Xeon",
     .microarchitecture = "Sapphire Rapids",
     .products = {.low = 84, .high = 117, .date = "2026-11-21"},
     .attention = {.low = 55, .high = 76, .date = "2026-11-21"}},
    {.simd = "avx512",
     .linear = "aten/GenuineIntel",
     .make = "Intel Xeon",
     .microarchitecture = "Emerald Rapids",
     .products = {.low = 134, .high = 156, .date = "2026-11-26"},
     .attention = {.low = 92, .high = 107, .date = "2026-11-26"}},
};

}  // namespace

std::span<const KnownSpeed> KnownSpeeds() { return kKnownSpeeds; }

const KnownSpeed* FindKnownSpeed(const CpuPaths& paths) {
  const KnownSpeed* found = nullptr;
  for (const KnownSpeed& known : kKnownSpeeds) {
    if (known.simd != paths.simd || known.linear != paths.linear) continue;
    if (known.microarchitecture == MicroarchitectureOf(paths.cpu)) return &known;
    if (found == nullptr) found = &known;
  }
  return found;
}

}  // namespace longrun
