#include "model/net/decoder.h"

#include <ATen/core/grad_mode.h>

#include "base/str.h"
#include "model/net/head.h"

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
  const at::Tensor hidden_B1C = net_->ReadLast(ids_BT, *state_, n_to_come);
  return HeadLogits(hidden_B1C.select(1, 0), net_->head(), net_->compute());
}

}  // namespace longrun
