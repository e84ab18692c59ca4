// Fused attention on the CPU: tiles of 96 queries by 64 keys that stay in the caches nearest to the
// core, products and softmax in vectors, one source for every instruction set (attention.cc). The
// steps are those of kernels/reference/attention.h, in base 2:
//
//   x[i][j] = log2(e) s[i][j],  p[i][j] = 2^(x[i][j] - log2(e) lse[i])
//
// A one-sided key bias is taken relative to the tile's first query, as double(c_j - c_anchor)
// rounded once, so that prefix sums of 1e4 lose no precision.
#pragma once

#include <span>

#include "kernels/attention.h"

namespace longrun {

// The kernels that this processor can run, the best first.
std::span<const AttentionKernel> CpuAttentionKernels();

}  // namespace longrun
