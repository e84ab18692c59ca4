#include "kernels/simd.h"

#include <vector>

namespace longrun {
namespace {

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
  }
  return false;
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
  }
  return "";
}

std::optional<Simd> FindSimd(std::string_view name) {
  for (const Simd simd : {Simd::kDefault, Simd::kAvx2, Simd::kAvx512}) {
    if (name == SimdName(simd)) return simd;
  }
  return std::nullopt;
}

std::span<const Simd> RunnableSimds() {
  static const std::vector<Simd> found = [] {
    std::vector<Simd> simds;
    for (const Simd simd : {Simd::kAvx512, Simd::kAvx2, Simd::kDefault}) {
      if (Runs(simd)) simds.push_back(simd);
    }
    return simds;
  }();
  return found;
}

}  // namespace longrun
