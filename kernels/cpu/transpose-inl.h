// Turns rows into columns. Included once for each target.
#if defined(LONGRUN_KERNELS_CPU_TRANSPOSE_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef LONGRUN_KERNELS_CPU_TRANSPOSE_INL_H
#undef LONGRUN_KERNELS_CPU_TRANSPOSE_INL_H
#else
#define LONGRUN_KERNELS_CPU_TRANSPOSE_INL_H
#endif

#include <algorithm>
#include <cstdint>

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace longrun {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

inline constexpr std::int64_t kTransposeStep = 64;  // floats of four cache lines

#if HWY_TARGET == HWY_SCALAR
HWY_INLINE void TransposeFour(const float* HWY_RESTRICT from, std::int64_t from_step,
                              float* HWY_RESTRICT to, std::int64_t to_step) {
  for (std::int64_t r = 0; r < 4; ++r) {
    for (std::int64_t c = 0; c < 4; ++c) to[c * to_step + r] = from[r * from_step + c];
  }
}
#else
// Four rows of four floats to four columns.
HWY_INLINE void TransposeFour(const float* HWY_RESTRICT from, std::int64_t from_step,
                              float* HWY_RESTRICT to, std::int64_t to_step) {
  const hn::FixedTag<float, 4> four;
  const hn::Repartition<double, decltype(four)> two;
  const auto a = hn::LoadU(four, from), b = hn::LoadU(four, from + from_step);
  const auto c = hn::LoadU(four, from + 2 * from_step), d = hn::LoadU(four, from + 3 * from_step);
  const auto ab_low = hn::BitCast(two, hn::InterleaveLower(four, a, b));  // a0 b0 a1 b1
  const auto cd_low = hn::BitCast(two, hn::InterleaveLower(four, c, d));
  const auto ab_high = hn::BitCast(two, hn::InterleaveUpper(four, a, b));
  const auto cd_high = hn::BitCast(two, hn::InterleaveUpper(four, c, d));
  const auto store = [&](auto column, std::int64_t at) {
    hn::StoreU(hn::BitCast(four, column), four, to + at * to_step);
  };
  store(hn::InterleaveLower(two, ab_low, cd_low), 0);
  store(hn::InterleaveUpper(two, ab_low, cd_low), 1);
  store(hn::InterleaveLower(two, ab_high, cd_high), 2);
  store(hn::InterleaveUpper(two, ab_high, cd_high), 3);
}

#endif

// to[c * to_step + r] = from[r * from_step + c] for r < n_row, c < n_column. Several cache lines of
// a row of `to` are written one after the other. n_row and n_column are multiples of 4.
HWY_INLINE void TransposeFloats(const float* HWY_RESTRICT from, std::int64_t from_step,
                                std::int64_t n_row, std::int64_t n_column, float* HWY_RESTRICT to,
                                std::int64_t to_step) {
  for (std::int64_t r = 0; r < n_row; r += kTransposeStep) {
    for (std::int64_t c = 0; c < n_column; c += 4) {
      for (std::int64_t in = r; in < std::min(n_row, r + kTransposeStep); in += 4) {
        TransposeFour(from + in * from_step + c, from_step, to + c * to_step + in, to_step);
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace longrun
HWY_AFTER_NAMESPACE();

#endif  // the include guard, which each target passes once
