#include "client/wire/silence.h"

#include <utility>

#include "base/str.h"
#include "client/wire/context.h"

namespace longrun::client {
namespace {

constexpr std::int64_t kTellMs = 2'000;  // a coordinator that is restarted is back by then
constexpr std::int64_t kPatienceMs = 60'000;

}  // namespace

std::string TryingAgainText(const std::string& folder, std::int64_t patience_ms) {
  return Str("the coordinator of ", PlaceText(folder), " does not answer: trying again for ",
             patience_ms / 1000, " s");
}

std::string Silence::Heard() {
  is_silent_ = false;
  if (!std::exchange(told_, false)) return "";
  return Str("the coordinator of ", PlaceText(folder_), " answers again");
}

void Silence::Lost(std::int64_t now_ms) {
  if (std::exchange(is_silent_, true)) return;
  since_ms_ = now_ms;
}

std::string Silence::Due(std::int64_t now_ms) {
  if (!is_silent_ || told_ || now_ms - since_ms_ < kTellMs) return "";
  told_ = true;
  return TryingAgainText(folder_, kPatienceMs);
}

bool Silence::IsTooLong(std::int64_t now_ms) const {
  return is_silent_ && now_ms - since_ms_ > kPatienceMs;
}

std::string Silence::GivenUpText(const std::string& go_on) const {
  const std::string remedy = IsContext(folder_)
                                 ? "make sure that it runs and that this machine has a network "
                                   "connection to it"
                                 : "start it with `longrun up`";
  return Str("the coordinator of ", PlaceText(folder_), " has not answered for ",
             kPatienceMs / 1000, " s: ", remedy, "; then `", go_on, "` continues");
}

}  // namespace longrun::client
