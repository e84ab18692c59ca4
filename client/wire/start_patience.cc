// See start_patience.h.
#include "client/wire/start_patience.h"

namespace longrun::client {

bool StartPatience::Lasts(std::int64_t now_ms, std::optional<std::uint64_t> busy_ticks,
                          bool has_started) {
  if (!has_started) started_ms_.reset();  // another coordinator may have followed
  if (has_started && !started_ms_) started_ms_ = now_ms;
  if (StartedLongAgo(now_ms)) return false;
  if (busy_ticks && busy_ticks != ticks_) {
    ticks_ = busy_ticks;
    worked_ms_ = now_ms;
  }
  return now_ms - worked_ms_ < kIdleMsMax;
}

bool StartPatience::StartedLongAgo(std::int64_t now_ms) const {
  return started_ms_ && now_ms - *started_ms_ >= kStartedMsMax;
}

bool StartPatience::LooksForReason(std::int64_t now_ms) {
  constexpr std::int64_t kBetweenMs = 1'000;
  const bool is_soon = looked_ms_ != 0 && now_ms - looked_ms_ < kBetweenMs;
  if (is_told_ || is_soon || now_ms - begun_ms_ < kWonderMs) return false;
  looked_ms_ = now_ms;
  return true;
}

bool StartPatience::IsToBeTold(std::int64_t now_ms, bool has_reason) {
  if (is_told_ || now_ms - begun_ms_ < (has_reason ? kWonderMs : kBusyMs)) return false;
  is_told_ = true;
  return true;
}

}  // namespace longrun::client
