// The gradient of an embedding, y[n] = W[id[n]]: the rows of equal id are summed in the order of n,
// starting from 0, and the sum is added to the id's row of dW.
//
//   dW[id] += sum over n with id[n] = id of dy[n]
//
// Shapes:  id (N); dy (N, C), dense; dW (V, C), dense, fp32
// Bits:    depend only on the ids and rows, not on threads
// Errors:  a null or negative argument, or an id outside of [0, V), is a bug of the caller
//          (LR_CHECK)
#pragma once

#include <cstdint>
#include <span>

#include "kernels/simd.h"

namespace longrun {

struct EmbeddingGradientCall {
  std::int64_t n_channel = 0, n_vocab = 0;
  std::span<const std::int64_t> ids;
  const float* dy = nullptr;
  float* d_weight = nullptr;     // added to
  std::int64_t padding_id = -1;  // its row stays unchanged
};
void EmbeddingGradient(const EmbeddingGradientCall& call, const KernelOptions& options);

}  // namespace longrun
