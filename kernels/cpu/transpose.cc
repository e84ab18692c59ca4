#include "kernels/transpose.h"

#include <algorithm>

#include "kernels/cpu/row_targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/transpose.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/cpu/transpose-inl.h"

HWY_BEFORE_NAMESPACE();
namespace longrun {
namespace HWY_NAMESPACE {

// Transposes rows [begin, end) to columns.
void TransposeRows(const TransposeCall& call, std::int64_t begin, std::int64_t end) {
  const std::int64_t whole_row = begin + (end - begin) / 4 * 4;
  const std::int64_t whole_column = call.n_column / 4 * 4;
  TransposeFloats(call.from + begin * call.from_step, call.from_step, whole_row - begin,
                  whole_column, call.to + begin, call.n_row);
  for (std::int64_t r = begin; r < end; ++r) {
    for (std::int64_t c = r < whole_row ? whole_column : 0; c < call.n_column; ++c) {
      call.to[c * call.n_row + r] = call.from[r * call.from_step + c];
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace longrun
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace longrun {

void Transpose(const TransposeCall& call, const KernelOptions& options) {
  LR_CHECK(call.n_row >= 0 && call.n_column >= 0 && call.from_step >= call.n_column);
  LR_CHECK(call.n_row * call.n_column == 0 || (call.from != nullptr && call.to != nullptr));
  const auto transpose = LONGRUN_OF_SIMD(TransposeRows, options.simd);
  ForParts(options, (call.n_row + kTransposeBlock - 1) / kTransposeBlock,
           [&](std::int64_t first, std::int64_t last) {
             transpose(call, first * kTransposeBlock, std::min(call.n_row, last * kTransposeBlock));
           });
}

}  // namespace longrun

#endif  // HWY_ONCE
