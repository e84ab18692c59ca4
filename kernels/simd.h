// The instruction sets for which the kernels over rows (norm.h, activation.h, adamw.h,
// cross_entropy.h, embedding.h, key_bias.h) are compiled. They give nearly the same numbers but not
// the same bits, so each run records which one it used. Only simd.cc decides which of them
// a processor runs.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "base/subnormals.h"
#include "kernels/attention.h"  // ParallelFor

namespace longrun {

// x86 has kAvx512, kAvx2 and kDefault, which every processor has; ARM has 256-bit SVE and NEON. SVE
// of another length is not used: vectors here have a length that the compiler knows.
enum class Simd { kDefault, kAvx2, kAvx512, kNeon, kSve256 };

std::string_view SimdName(Simd simd);  // "default", "avx2", "avx512", "neon", "sve256"
std::optional<Simd> FindSimd(std::string_view name);

// Whether a processor whose widest instruction set is `own` also runs code for `wanted`.
bool Includes(Simd own, Simd wanted);

// The instruction sets that this processor runs, the widest first. On ARM they include kNeon,
// elsewhere kDefault.
std::span<const Simd> RunnableSimds();
bool IsRunnable(Simd simd);

// The widest instruction set that this processor can run both in our kernels and in LibTorch's
// operators, which need other features. A run uses it for both.
Simd WidestSharedSimd();

// Attention is compiled for SSE4 too. It is not a Simd, since LibTorch has no code for it.
bool HasSse4();

// How a kernel runs. `simd` must be one that the processor supports.
struct KernelOptions {
  Simd simd = RunnableSimds().front();
  ParallelFor parallel_for = {};
  Subnormals subnormals =
      DefaultSubnormals();  // on every thread of the kernel, whatever its own mode
};

}  // namespace longrun
