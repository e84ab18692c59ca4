// The interface of a model whose attention can be observed. Torch-free.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/status.h"
#include "model/attention_map.h"

namespace longrun {

struct AttentionMapRequest {
  std::span<const std::int32_t> tokens{};  // (B, T), text by text
  std::int64_t n_texts = 1;                // B
  // Ascending, without duplicates; empty: all.
  std::vector<std::int64_t> layers{}, heads{};
  AttentionMap::Values values_of = AttentionMap::Values::kProbabilities;
};

class AttentionProbe {
 public:
  virtual ~AttentionProbe() = default;
  // The whole map (block 1), with the labels "architecture" and "method".
  // `progress(layers done, of)` is called before each layer and may stop it by returning
  // false (kCancelled).
  // kOutOfRange: a layer or head that the model does not have, or a text longer than its positions;
  // kInvalidArgument: a token outside the vocabulary; kResourceExhausted: no memory for A, which is
  // held once in fp32, T x T.
  virtual Result<AttentionMap> Map(
      const AttentionMapRequest& request,
      const std::function<bool(std::int64_t, std::int64_t)>& progress) = 0;
};

}  // namespace longrun
