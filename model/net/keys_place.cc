#include "model/net/keys_place.h"

#include "base/log.h"
#include "base/str.h"
#include "model/net/out_of_memory.h"

namespace longrun {

Status KeysRoom::Run(std::int64_t n_tokens, const std::function<Status(KeysPlace)>& body) {
  const auto in = [&](KeysPlace place) { return WithinMemory([&] { return body(place); }); };
  if (n_tokens >= too_many_) return in(KeysPlace::kHost);
  const Status status = in(KeysPlace::kDevice);
  if (device_.is_cpu() || status.code() != Code::kResourceExhausted) return status;
  LogInfo("keys_in_host_memory",
          {{"tokens", Str(n_tokens)}, {"because", status.message()}, {"effect", "slower"}});
  too_many_ = n_tokens;
  return in(KeysPlace::kHost);
}

}  // namespace longrun
