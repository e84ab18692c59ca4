// Included first by each source that is compiled once for each Simd (kernels/simd.h): which of
// Highway's targets these are, and the choice among what came out. The choice is our own, so that
// nothing of Highway is linked.
#pragma once

#include "base/check.h"
#include "kernels/cpu/parts.h"
#include "kernels/simd.h"

#define HWY_DISABLED_TARGETS                                                              \
  (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | \
   HWY_RVV | HWY_SCALAR)
#define HWY_COMPILE_ALL_ATTAINABLE
// Highway leaves its portable vectors out before GCC 12.3, which miscompiles a loop of integer products'
// upper halves (GCC bug 106322): none is taken here.
#define HWY_BROKEN_EMU128 0

// The pointer of `function` as it was compiled for `simd`.
#define LONGRUN_OF_SIMD(function, simd)                                    \
  ChosenOf((simd), LONGRUN_OF_AVX512(function), LONGRUN_OF_AVX2(function), \
           &HWY_STATIC_DISPATCH(function))
#if defined(__x86_64__)
#define LONGRUN_OF_AVX512(function) &N_AVX3::function
#define LONGRUN_OF_AVX2(function) &N_AVX2::function
#else
#define LONGRUN_OF_AVX512(function) &HWY_STATIC_DISPATCH(function)
#define LONGRUN_OF_AVX2(function) &HWY_STATIC_DISPATCH(function)
#endif

namespace longrun {

template <typename Function>
Function* ChosenOf(Simd simd, Function* avx512, Function* avx2, Function* otherwise) {
  bool runs = false;
  for (const Simd one : RunnableSimds()) runs = runs || one == simd;
  LR_CHECK(runs);
  if (simd == Simd::kAvx512) return avx512;
  return simd == Simd::kAvx2 ? avx2 : otherwise;
}

}  // namespace longrun
