#include "kernels/simd.h"

#include <array>
#include <vector>

#include "base/arm.h"

namespace longrun {
namespace {

constexpr std::array kWidestFirst = {Simd::kAvx512, Simd::kAvx2, Simd::kSve256, Simd::kNeon,
                                     Simd::kDefault};

bool Runs(Simd simd) {
#if defined(__x86_64__)
  switch (simd) {
    case Simd::kDefault:
      return true;
    case Simd::kAvx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
             __builtin_cpu_supports("bmi2");
    case Simd::kAvx512:
      return Runs(Simd::kAvx2) && __builtin_cpu_supports("avx512f") &&
             __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512cd");
    case Simd::kNeon:
    case Simd::kSve256:
      return false;
  }
  return false;
#elif defined(__aarch64__)
#if defined(LONGRUN_SVE256)
  if (simd == Simd::kSve256) return SveBits() == 256;
#endif
  return simd == Simd::kNeon;
#else
  return simd == Simd::kDefault;
#endif
}

}  // namespace

std::string_view SimdName(Simd simd) {
  switch (simd) {
    case Simd::kDefault:
      return "default";
    case Simd::kAvx2:
      return "avx2";
    case Simd::kAvx512:
      return "avx512";
    case Simd::kNeon:
      return "neon";
    case Simd::kSve256:
      return "sve256";
  }
  return "";
}

std::optional<Simd> FindSimd(std::string_view name) {
  for (const Simd simd : kWidestFirst) {
    if (name == SimdName(simd)) return simd;
  }
  return std::nullopt;
}

std::span<const Simd> RunnableSimds() {
  static const std::vector<Simd> found = [] {
    std::vector<Simd> simds;
    for (const Simd simd : kWidestFirst) {
      if (Runs(simd)) simds.push_back(simd);
    }
    return simds;
  }();
  return found;
}

}  // namespace longrun
