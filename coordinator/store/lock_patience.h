// Decides how long to wait for the lock of a state folder that another process holds. A momentary
// coordinator is waited for however long its command runs. A lock without a name belongs to a
// holder that has not written its name yet, or to one that has removed it and is ending: both last
// only moments. Time is passed in, in milliseconds of BootMs().
#pragma once

#include <cstdint>
#include <optional>

#include "sweeps/coordinator_lock.h"

namespace longrun::coordinator {

class LockPatience {
 public:
  static constexpr std::int64_t kNamelessMsMax = 1'000;

  // Whether to try again. `holder`: the living process that the lock names, if any.
  bool Lasts(std::int64_t now_ms, const std::optional<CoordinatorHolder>& holder);

 private:
  std::optional<std::int64_t> nameless_since_ms_;
};

}  // namespace longrun::coordinator
