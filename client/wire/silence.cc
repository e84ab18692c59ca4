#include "client/wire/silence.h"

#include <utility>

#include "base/str.h"
#include "client/wire/context.h"
#include "client/wire/embedded.h"

namespace longrun::client {
namespace {

constexpr std::int64_t kPatienceMs = 60'000;

}  // namespace

std::string TryingAgainText(const std::string& cause, std::int64_t patience_ms) {
  return Str(cause, "; trying again for ", patience_ms / 1000, " s");
}

bool RetryNotice::IsDue(std::int64_t now_ms) {
  if (!since_ms_) since_ms_ = now_ms;
  if (told_ || now_ms - *since_ms_ < kSilentMs) return false;
  told_ = true;
  return true;
}

std::string Silence::Heard() {
  is_silent_ = false;
  if (!std::exchange(told_, false)) return "";
  return Str("the coordinator of ", PlaceText(folder_), " answers again");
}

void Silence::Lost(const std::string& cause, std::int64_t now_ms) {
  // Of a context, the connection knows why; of a state folder, only its socket is missing.
  if (IsContext(folder_) && !cause.empty()) {
    cause_ = cause;
  } else if (!IsContext(folder_) && IsOfACommand(folder_)) {
    cause_ = Str("no service runs on ", PlaceText(folder_), ", only another command");
  } else {
    cause_ = Str("the coordinator of ", PlaceText(folder_), " does not answer");
  }
  if (std::exchange(is_silent_, true)) return;
  since_ms_ = now_ms;
}

std::string Silence::Due(std::int64_t now_ms) {
  if (!is_silent_ || told_ || now_ms - since_ms_ < kSilentMs) return "";
  told_ = true;
  return TryingAgainText(cause_, kPatienceMs);
}

bool Silence::IsTooLong(std::int64_t now_ms) const {
  return is_silent_ && now_ms - since_ms_ > kPatienceMs;
}

std::string Silence::GivenUpText(const std::string& go_on) const {
  return Str("the coordinator of ", PlaceText(folder_), " has not answered for ",
             kPatienceMs / 1000, " s: ", IsContext(folder_) ? cause_ : "start it with `longrun up`",
             "; `", go_on, "` continues when it is back");
}

}  // namespace longrun::client
