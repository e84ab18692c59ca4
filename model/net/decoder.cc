#include "model/net/decoder.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "base/str.h"
#include "model/net/head.h"
#include "model/tokens_per_read.h"

namespace longrun {

Result<Decoder> Decoder::Make(Net& net, std::int64_t batch, std::int64_t capacity,
                              KeysPlace place) {
  const ModelConfig& model = net.config().model;
  if (!model.causal) {
    return Status(Code::kUnimplemented,
                  "a model that is not causal cannot write token by token: each new token would "
                  "change the earlier ones");
  }
  RETURN_IF_ERROR(net.CheckLength(capacity));
  if (const std::int64_t longest = net.CachedLengthMax(); longest > 0 && capacity > longest) {
    return Status(
        Code::kUnimplemented,
        Str("extension \"", net.config().extension.at("method").get<std::string>(),
            "\" cannot use the cache beyond its original_length ", longest, " (found ", capacity,
            " tokens), since each new token changes the rotation of all earlier ones"));
  }
  return Decoder(net, net.NewState(batch, capacity, place));
}

std::int64_t Decoder::n_fed() const { return state_->n_read(); }

at::Tensor Decoder::Feed(const at::Tensor& ids_BT, std::int64_t n_to_come) {
  const at::NoGradGuard no_grad;
  const std::int64_t n = ids_BT.size(1);
  const std::int64_t n_part =
      std::max<std::int64_t>(1, TokensPerRead(net_->compute().device_kind()) / ids_BT.size(0));
  at::Tensor hidden_B1C;
  for (std::int64_t begin = 0; begin < n; begin += n_part) {
    const std::int64_t end = std::min(n, begin + n_part);
    hidden_B1C = net_->ReadLast(ids_BT.narrow(1, begin, end - begin), *state_, n_to_come + n - end);
  }
  return HeadLogits(hidden_B1C.select(1, 0), net_->head(), net_->compute());
}

}  // namespace longrun
