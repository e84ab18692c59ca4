#include "worker/trainer/full_disk.h"

#include <chrono>
#include <thread>

#include "base/clock.h"
#include "base/files.h"
#include "base/log.h"
#include "base/str.h"
#include "base/units.h"
#include "worker/trainer/stop.h"

namespace longrun::trainer {
namespace {

constexpr std::int64_t kAtLeastMs = 1000;
constexpr std::int64_t kLookMs = 100;  // at the disk, and for a stop

}  // namespace

const RoomSource& ThisMachine() {
  static const RoomSource source = {
      .now_ms = BootMs,
      .free_bytes = DiskFreeBytes,
      .stop_requested = StopRequestedWhileWaiting,
      .pause = [](std::int64_t ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }};
  return source;
}

Status RoomWait::Next(const Status& full) {
  const std::int64_t try_again_ms = source_.now_ms() + kAtLeastMs;
  if (!std::exchange(has_begun_, true)) {
    begin_ms_ = source_.now_ms();
    LogWarning("disk_full", {{"folder", folder_}, {"waits_for", FormatBytes(n_bytes_)}});
  }
  while (true) {
    const bool is_stopped = source_.stop_requested();
    if (is_stopped || source_.now_ms() >= begin_ms_ + kRoomPatienceMs) {
      if (!std::exchange(is_last_try_, true) && HasRoom()) return Status();
      if (!is_stopped) return full;
      return Status(Code::kCancelled,
                    Str("stopped as asked while the disk was full: ", full.message()));
    }
    if (source_.now_ms() >= try_again_ms && HasRoom()) return Status();
    source_.pause(kLookMs);
  }
}

// A quota has no number of free bytes, so the write itself has to tell.
bool RoomWait::HasRoom() const {
  const Result<std::int64_t> n_free = source_.free_bytes(folder_);
  return !n_free.ok() || *n_free >= n_bytes_;
}

}  // namespace longrun::trainer
