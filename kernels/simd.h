// The instruction sets that the kernels over rows (norm.h, activation.h, adamw.h, cross_entropy.h,
// embedding.h, key_bias.h) are compiled for. They give nearly the same numbers but not the same bits,
// so a run's record has the name of its own.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "base/subnormals.h"
#include "kernels/attention.h"  // ParallelFor

namespace longrun {

// x86 has kAvx512, kAvx2 and what every processor has; ARM has SVE of 256 bits and NEON. SVE of another
// length is not made use of: a vector here is of a length that the compiler knows.
enum class Simd { kDefault, kAvx2, kAvx512, kNeon, kSve256 };

std::string_view SimdName(Simd simd);  // "default", "avx2", "avx512", "neon", "sve256"
std::optional<Simd> FindSimd(std::string_view name);

// What this processor runs, the widest first: at least kNeon on ARM, and elsewhere kDefault.
std::span<const Simd> RunnableSimds();

// How a kernel is carried out. `simd` must be one that the processor runs.
struct KernelOptions {
  Simd simd = RunnableSimds().front();
  ParallelFor parallel_for = {};
  Subnormals subnormals =
      DefaultSubnormals();  // on every thread of the kernel, whatever its own mode
};

}  // namespace longrun
