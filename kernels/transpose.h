// Transposes a matrix in memory.
//
// Shapes:  from (N, C), rows `from_step` apart; to (C, N), dense; fp32
// Errors:  a null or negative argument is a bug of the caller (LR_CHECK)
#pragma once

#include <cstdint>

#include "kernels/simd.h"

namespace longrun {

// The number of rows of `from` that are transposed together, into whole cache lines of the result.
// `parallel_for` gets blocks of so many rows.
inline constexpr std::int64_t kTransposeBlock = 64;

struct TransposeCall {
  std::int64_t n_row = 0, n_column = 0;
  const float* from = nullptr;
  std::int64_t from_step = 0;  // n_column or more
  float* to = nullptr;
};
void Transpose(const TransposeCall& call, const KernelOptions& options);

}  // namespace longrun
