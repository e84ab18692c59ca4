#include "worker/trainer/full_disk.h"

#include <chrono>
#include <thread>

#include "base/clock.h"
#include "base/files.h"
#include "base/log.h"
#include "base/units.h"
#include "worker/trainer/stop.h"

namespace longrun::trainer {
namespace {

constexpr std::int64_t kAtLeastMs = 1000;
constexpr std::chrono::milliseconds kLook(100);  // at the disk, and for a stop

}  // namespace

bool RoomWait::Next() {
  const std::int64_t now_ms = BootMs();
  if (begin_ms_ == 0) {
    begin_ms_ = now_ms;
    LogWarning("disk_full", {{"folder", folder_}, {"waits_for", FormatBytes(n_bytes_)}});
  }
  const std::int64_t end_ms = begin_ms_ + kRoomPatienceMs;
  do {
    if (StopRequested()) return false;
    std::this_thread::sleep_for(kLook);
  } while (BootMs() < now_ms + kAtLeastMs || (!HasRoom() && BootMs() < end_ms));
  return BootMs() < end_ms;
}

// A quota has no number of free bytes, so the write itself has to tell.
bool RoomWait::HasRoom() const {
  const Result<std::int64_t> n_free = DiskFreeBytes(folder_);
  return !n_free.ok() || *n_free >= n_bytes_;
}

}  // namespace longrun::trainer
