// See restart_policy.h.
#include "client/wire/restart_policy.h"

#include <algorithm>

namespace longrun::client {
namespace {

constexpr std::int64_t kSteadyMs = 60'000;
constexpr std::int64_t kWaitMsMin = 200;
constexpr std::int64_t kWaitMsMax = 10'000;

}  // namespace

void RestartPolicy::Ended(End end, std::int64_t now_ms) {
  if (now_ms - started_ms_ >= kSteadyMs) {
    wait_ms_ = 0;
    n_refused_ = 0;
  }
  switch (end) {
    case End::kMayPass:
      n_refused_ = 0;
      break;
    case End::kRefused:
      n_refused_ += 1;
      break;
    case End::kForGood:
      n_refused_ = kRefusalsMax;
      break;
  }
  wait_ms_ = std::clamp(2 * wait_ms_, kWaitMsMin, kWaitMsMax);
  again_ms_ = now_ms + wait_ms_;
}

}  // namespace longrun::client
