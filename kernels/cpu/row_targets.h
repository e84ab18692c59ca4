// Included first by each source that is compiled once for each Simd (kernels/simd.h): names the
// matching Highway targets and chooses among the compiled versions. The choice is our own, so that
// nothing of Highway is linked.
#pragma once

#include <initializer_list>

#include "base/check.h"
#include "kernels/cpu/arm_targets.h"
#include "kernels/cpu/parts.h"
#include "kernels/simd.h"

#define HWY_DISABLED_TARGETS \
  (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL | LONGRUN_DISABLED_SVE | HWY_RVV | HWY_SCALAR)
#define HWY_COMPILE_ALL_ATTAINABLE
// Highway leaves out its portable vectors before GCC 12.3, which miscompiles a loop over the upper
// halves of integer products (GCC bug 106322); we have no such loop.
#define HWY_BROKEN_EMU128 0

// The version of `function` that was compiled for `simd`.
#define LONGRUN_OF_SIMD(function, simd) \
  ChosenOf<decltype(HWY_STATIC_DISPATCH(function))>((simd), {LONGRUN_COMPILED(function)})
#if defined(__x86_64__)
#define LONGRUN_COMPILED(function)                                        \
  {Simd::kAvx512, &N_AVX3::function}, {Simd::kAvx2, &N_AVX2::function}, { \
    Simd::kDefault, &HWY_STATIC_DISPATCH(function)                        \
  }
#elif defined(LONGRUN_SVE256)
#define LONGRUN_COMPILED(function) \
  {Simd::kSve256, &N_SVE_256::function}, { Simd::kNeon, &N_NEON::function }
#elif defined(__aarch64__)
#define LONGRUN_COMPILED(function) \
  { Simd::kNeon, &N_NEON::function }
#else
#define LONGRUN_COMPILED(function) \
  { Simd::kDefault, &HWY_STATIC_DISPATCH(function) }
#endif

namespace longrun {

template <typename Function>
struct CompiledFor {
  Simd simd;
  Function* function;
};

template <typename Function>
Function* ChosenOf(Simd simd, std::initializer_list<CompiledFor<Function>> compiled) {
  LR_CHECK(IsRunnable(simd));
  for (const CompiledFor<Function>& one : compiled) {
    if (one.simd == simd) return one.function;
  }
  LR_CHECK(false);
  return nullptr;
}

}  // namespace longrun
