// Decides how long to wait for a coordinator that was started and does not answer yet: until its
// process has been idle for half a minute. Updating a large database of an earlier release takes
// minutes, and killing the coordinator would lose that work. Once the coordinator has started, its
// work says nothing about when it will answer, and it has a minute. Time is passed in, in
// milliseconds of BootMs().
#pragma once

#include <cstdint>
#include <optional>

namespace longrun::client {

class StartPatience {
 public:
  static constexpr std::int64_t kIdleMsMax = 30'000;
  static constexpr std::int64_t kStartedMsMax = 60'000;

  explicit StartPatience(std::int64_t now_ms) : begun_ms_(now_ms), worked_ms_(now_ms) {}

  // Whether to continue waiting. `busy_ticks` is ProcessBusyTicks(); nullopt if the process is not
  // known. `has_started` is HasWrittenAddress().
  bool Lasts(std::int64_t now_ms, std::optional<std::uint64_t> busy_ticks, bool has_started);
  // Whether waiting ends because the coordinator has started, and does not answer all the same.
  bool StartedLongAgo(std::int64_t now_ms) const;
  // It works, or cannot before another process has ended.
  void NoteWork(std::int64_t now_ms) { worked_ms_ = now_ms; }
  // Returns true once a second from the time on at which a reason would be told, until one is.
  bool LooksForReason(std::int64_t now_ms);
  std::int64_t WaitedMs(std::int64_t now_ms) const { return now_ms - begun_ms_; }
  // Returns true once: when the wait is so long that a user would wonder. Where nothing is known
  // that makes it long, that is later: on a busy machine, a start may take some seconds.
  bool IsToBeTold(std::int64_t now_ms, bool has_reason);

 private:
  static constexpr std::int64_t kWonderMs = 5'000, kBusyMs = 15'000;

  std::int64_t begun_ms_;
  std::int64_t worked_ms_;  // when it last did work
  std::optional<std::int64_t> started_ms_;
  std::optional<std::uint64_t> ticks_;
  std::int64_t looked_ms_ = 0;  // for a reason; 0: never
  bool is_told_ = false;
};

}  // namespace longrun::client
