// See instruction_set.h.
#include "model/instruction_set.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "base/letter_case.h"
#include "base/str.h"
#include "kernels/simd.h"

namespace longrun {
namespace {

// The one that every processor of this architecture has.
std::string_view Baseline() { return SimdName(RunnableSimds().back()); }

}  // namespace

std::string DetectSimd() { return std::string(SimdName(WidestSharedSimd())); }

// As mkldnn_bf16_device_check() in aten/src/ATen/native/mkldnn/Utils.h and oneDNN's dispatcher ask.
std::string Bf16Path(std::string_view cpu_flags, std::string_view simd) {
  const std::vector<std::string> flags = Split(cpu_flags, ' ');
  const auto has = [&flags](std::string_view flag) {
    return std::ranges::find(flags, flag) != flags.end();
  };
  if (const std::optional<Simd> known = FindSimd(simd); known == Simd::kAvx512) {
    if (has("amx_bf16") && has("amx_tile")) return "amx";
    return has("avx512_bf16") ? "avx512_bf16" : "avx512";
  } else if (known == Simd::kNeon || known == Simd::kSve256) {
    return has("bf16") ? "bf16" : "none";
  }
  return "none";
}

std::string SimdOfCapability(std::string_view capability) {
  const std::string name = InSmallLetters(capability);
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
