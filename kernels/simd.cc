#include "kernels/simd.h"

#include <algorithm>
#include <array>
#include <vector>

#include "base/arm.h"

namespace longrun {
namespace {

constexpr std::array kWidestFirst = {Simd::kAvx512, Simd::kAvx2, Simd::kSve256, Simd::kNeon,
                                     Simd::kDefault};

// The next narrower one of the same architecture.
std::optional<Simd> Below(Simd simd) {
  switch (simd) {
    case Simd::kAvx512:
      return Simd::kAvx2;
    case Simd::kAvx2:
      return Simd::kDefault;
    case Simd::kSve256:
      return Simd::kNeon;
    case Simd::kDefault:
    case Simd::kNeon:
      return std::nullopt;
  }
  return std::nullopt;
}

#if defined(__x86_64__)
bool HasAvx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

bool HasAvx512() {
  return HasAvx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
#endif

// Highway's targets of these names need the features below; the compiler may use all of them.
bool OursRuns(Simd simd) {
#if defined(__x86_64__)
  switch (simd) {
    case Simd::kDefault:
      return true;
    case Simd::kAvx2:
      return HasAvx2() && __builtin_cpu_supports("bmi2");
    case Simd::kAvx512:
      return OursRuns(Simd::kAvx2) && HasAvx512() && __builtin_cpu_supports("avx512cd");
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

// LibTorch's list is another one: its dispatcher asks for neither bmi2 nor avx512cd, and with SVE
// it asks for bfloat16 (compute_cpu_capability() in aten/src/ATen/native/DispatchStub.cpp).
bool LibTorchRuns(Simd simd) {
  switch (simd) {
#if defined(__x86_64__)
    case Simd::kAvx512:
      return HasAvx512();
    case Simd::kAvx2:
      return HasAvx2();
#else
    case Simd::kAvx512:
    case Simd::kAvx2:
      return false;
#endif
    case Simd::kSve256:
      return SveBits() == 256 && HasArmBf16();
    case Simd::kDefault:
    case Simd::kNeon:
      return true;
  }
  return false;
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

bool Includes(Simd own, Simd wanted) {
  for (std::optional<Simd> simd = own; simd; simd = Below(*simd)) {
    if (*simd == wanted) return true;
  }
  return false;
}

std::span<const Simd> RunnableSimds() {
  static const std::vector<Simd> found = [] {
    std::vector<Simd> simds;
    for (const Simd simd : kWidestFirst) {
      if (OursRuns(simd)) simds.push_back(simd);
    }
    return simds;
  }();
  return found;
}

bool IsRunnable(Simd simd) {
  return std::ranges::find(RunnableSimds(), simd) != RunnableSimds().end();
}

Simd WidestSharedSimd() { return *std::ranges::find_if(RunnableSimds(), &LibTorchRuns); }

bool HasSse4() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul");
#else
  return false;
#endif
}

}  // namespace longrun
