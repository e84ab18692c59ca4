// How long a coordinator that has been started, and does not answer yet, is waited for: until its
// process has done nothing for half a minute. One that brings a large database of an earlier
// release up to date works for minutes, and what it has done would be lost if it were killed. Time
// comes in, in milliseconds of BootMs().
#pragma once

#include <cstdint>
#include <optional>

namespace longrun {

class StartPatience {
 public:
  static constexpr std::int64_t kIdleMsMax = 30'000;

  explicit StartPatience(std::int64_t now_ms) : begun_ms_(now_ms), worked_ms_(now_ms) {}

  // Whether to wait on. `busy_ticks` is ProcessBusyTicks(); nothing where the process is not known.
  bool Lasts(std::int64_t now_ms, std::optional<std::uint64_t> busy_ticks);
  // True once: after a time in which somebody who looks on would wonder.
  bool IsToBeTold(std::int64_t now_ms);

 private:
  static constexpr std::int64_t kWonderMs = 5'000;

  std::int64_t begun_ms_;
  std::int64_t worked_ms_;  // when it was last seen at work
  std::optional<std::uint64_t> ticks_;
  bool is_told_ = false;
};

}  // namespace longrun
