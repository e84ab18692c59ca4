// Reading a prompt once and writing behind it token by token, keys and values cached: the logits are
// those of reading the whole sequence anew, but for rounding.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "base/status.h"
#include "model/net/transformer.h"

namespace longrun {

class Decoder {
 public:
  // Room for `capacity` tokens of `batch` sequences. The network must outlive this. kUnimplemented
  // for one without a causal mask: its earlier tokens would change with each new one. kOutOfRange
  // when so many tokens do not fit its position table.
  static Result<Decoder> Make(Transformer& net, std::int64_t batch, std::int64_t capacity);

  // Behind what was fed before, whose logits (B, V) for the next token it gives: first a prompt of
  // any length, ids (B, T), then one token at a time, (B, 1).
  at::Tensor Feed(const at::Tensor& ids_BT);
  std::int64_t n_fed() const;

 private:
  Decoder(Transformer& net, std::vector<AttentionCache> caches)
      : net_(&net), caches_(std::move(caches)) {}

  Transformer* net_;
  std::vector<AttentionCache> caches_;  // by layer
};

}  // namespace longrun
