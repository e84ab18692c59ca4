// Fused attention on the CPU: tiles of 96 queries by 64 keys that stay in the first caches, products
// and softmax in vectors, one source for every instruction set (attention.cc). Section by section the
// same as kernels/reference/attention.h, in base 2:
//
//   x[i][j] = log2(e) s[i][j],  p[i][j] = 2^(x[i][j] - log2(e) lse[i])
//
// A one-sided key bias enters relative to the first query of the tile, as double(c_j - c_anchor)
// rounded once: prefix sums of 1e4 lose nothing.
#pragma once

#include <span>

#include "kernels/attention.h"

namespace longrun {

// What this processor can run, the best first.
std::span<const AttentionKernel> CpuAttentionKernels();

}  // namespace longrun
