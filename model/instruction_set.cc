// See instruction_set.h.
#include "model/instruction_set.h"

#include <algorithm>
#include <array>
#include <span>

#include "base/arm.h"

namespace longrun {
namespace {

constexpr std::string_view kDefault = "default", kNeon = "neon";
// The best first: a processor runs its own and all that follow.
constexpr std::array<std::string_view, 3> kX86 = {"avx512", "avx2", kDefault};
constexpr std::array<std::string_view, 2> kArm = {"sve256", kNeon};

#if defined(__aarch64__)
constexpr std::string_view kEverywhere = kNeon;
#else
constexpr std::string_view kEverywhere = kDefault;
#endif

}  // namespace

std::string DetectSimd() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl");
  if (avx512) return "avx512";
  if (avx2) return "avx2";
#endif
  if (SveBits() == 256 && HasArmBf16()) return "sve256";
  return std::string(kEverywhere);
}

std::string SimdOfCapability(std::string_view capability) {
  std::string name(capability);
  for (char& c : name) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  const bool is_default = name == kDefault || name == "no avx";
  return is_default ? std::string(kEverywhere) : name;
}

std::string_view CapabilityOfSimd(std::string_view simd) { return simd == kNeon ? kDefault : simd; }

bool RunsSimd(std::string_view own, std::string_view wanted) {
  for (const std::span<const std::string_view> family :
       {std::span<const std::string_view>(kX86), std::span<const std::string_view>(kArm)}) {
    const auto from = std::ranges::find(family, own);
    if (from != family.end()) return std::find(from, family.end(), wanted) != family.end();
  }
  return own == wanted;
}

}  // namespace longrun
