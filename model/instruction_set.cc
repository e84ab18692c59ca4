// See instruction_set.h.
#include "model/instruction_set.h"

#include <optional>

#include "kernels/simd.h"

namespace longrun {
namespace {

// The one that every processor of this architecture has.
std::string_view Baseline() { return SimdName(RunnableSimds().back()); }

}  // namespace

std::string DetectSimd() { return std::string(SimdName(WidestSharedSimd())); }

std::string SimdOfCapability(std::string_view capability) {
  std::string name(capability);
  for (char& c : name) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  const bool is_default = name == SimdName(Simd::kDefault) || name == "no avx";
  return is_default ? std::string(Baseline()) : name;
}

std::string_view CapabilityOfSimd(std::string_view simd) {
  return simd == SimdName(Simd::kNeon) ? SimdName(Simd::kDefault) : simd;
}

bool RunsSimd(std::string_view own, std::string_view wanted) {
  const std::optional<Simd> own_simd = FindSimd(own), wanted_simd = FindSimd(wanted);
  return own_simd && wanted_simd ? Includes(*own_simd, *wanted_simd) : own == wanted;
}

}  // namespace longrun
