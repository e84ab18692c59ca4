// See start_patience.h.
#include "client/wire/start_patience.h"

namespace longrun::client {

bool StartPatience::Lasts(std::int64_t now_ms, std::optional<std::uint64_t> busy_ticks) {
  if (busy_ticks && busy_ticks != ticks_) {
    ticks_ = busy_ticks;
    worked_ms_ = now_ms;
  }
  return now_ms - worked_ms_ < kIdleMsMax;
}

bool StartPatience::IsToBeTold(std::int64_t now_ms) {
  if (is_told_ || now_ms - begun_ms_ < kWonderMs) return false;
  is_told_ = true;
  return true;
}

}  // namespace longrun::client
