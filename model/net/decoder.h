// Reads a prompt once and continues it token by token, with cached keys and values. The logits
// equal those of reading the whole sequence again, except for rounding.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <utility>

#include "base/status.h"
#include "model/net/net.h"

namespace longrun {

class Decoder {
 public:
  // For `batch` sequences of at most `capacity` tokens. The network must outlive this.
  // kUnimplemented for a network without a causal mask, since its earlier tokens would change with
  // each new one. kOutOfRange if so many tokens do not fit its position table.
  static Result<Decoder> Make(Net& net, std::int64_t batch, std::int64_t capacity,
                              KeysPlace place = KeysPlace::kDevice);

  // Feeds tokens, ids (B, T), after those fed before and returns the logits (B, V) for the next
  // token. However a text is cut into calls, the logits are the same, except for rounding. For an
  // extension that reads in pieces (Extension::piece), this needs n_to_come: the number of tokens
  // of the text that follow. A long text is read in parts of TokensPerRead tokens, so that besides
  // the cache it takes no more memory than one of them.
  at::Tensor Feed(const at::Tensor& ids_BT, std::int64_t n_to_come = 0);
  std::int64_t n_fed() const;
  // NetState::Reserve.
  void Reserve() { state_->Reserve(); }

 private:
  Decoder(Net& net, std::unique_ptr<NetState> state) : net_(&net), state_(std::move(state)) {}

  Net* net_;
  std::unique_ptr<NetState> state_;
};

}  // namespace longrun
