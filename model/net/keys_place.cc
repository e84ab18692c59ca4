#include "model/net/keys_place.h"

#include <ATen/core/CachingHostAllocator.h>

#include <exception>

#include "base/log.h"
#include "base/str.h"
#include "model/net/out_of_memory.h"

namespace longrun {

KeysRoom::~KeysRoom() {
  if (too_many_ == std::numeric_limits<std::int64_t>::max()) return;
  try {
    at::getHostAllocator(device_.type())->empty_cache();
  } catch (const std::exception&) {
    // The device is lost; the memory is given back when the process ends.
  }
}

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
