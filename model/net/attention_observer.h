// What attention shows of itself, block of queries by block.
//
// Legend: B batch, H heads, Q queries of the block, K keys that any of them sees.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

namespace longrun {

// The attention of queries [q_begin, q_begin + Q) of a call over keys [k_begin, k_begin + K). These
// are all the keys that any of these queries sees.
struct AttentionBlock {
  at::Tensor scores_BHQK;  // s, including what terms leave out (LeftOut); -inf where hidden
  at::Tensor p_BHQK;       // not rounded to compute.product
  std::int64_t q_begin = 0, k_begin = 0;
};
// Called with each block of queries of a call as it is computed, in order.
using AttentionObserver = std::function<void(const AttentionBlock&)>;

}  // namespace longrun
