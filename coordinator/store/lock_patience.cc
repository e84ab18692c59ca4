// See lock_patience.h.
#include "coordinator/store/lock_patience.h"

namespace longrun::coordinator {

bool LockPatience::Lasts(std::int64_t now_ms, const std::optional<CoordinatorHolder>& holder) {
  if (holder) {
    nameless_since_ms_.reset();
    return holder->is_momentary;
  }
  if (!nameless_since_ms_) nameless_since_ms_ = now_ms;
  return now_ms - *nameless_since_ms_ < kNamelessMsMax;
}

}  // namespace longrun::coordinator
