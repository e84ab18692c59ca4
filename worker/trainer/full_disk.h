// What a trainer does when its disk is full: it waits for room, so that an attempt is not lost to
// a disk that somebody clears.
#pragma once

#include <cstdint>
#include <string>

#include "base/shortage.h"
#include "base/status.h"

namespace longrun::trainer {

// After so long, the write fails: the task may go on at a worker that has room.
inline constexpr std::int64_t kRoomPatienceMs = 10 * 60 * 1000;

// One write that waits for room. Not thread-safe, but each thread may have its own.
class RoomWait {
 public:
  // For n_bytes in a folder.
  RoomWait(std::string folder, std::int64_t n_bytes)
      : folder_(std::move(folder)), n_bytes_(n_bytes) {}

  // Waits a second, and on until the disk has room. False if the write should not be tried again:
  // the trainer was asked to stop, or kRoomPatienceMs have passed since the first call.
  bool Next();

 private:
  bool HasRoom() const;

  std::string folder_;
  std::int64_t n_bytes_;
  std::int64_t begin_ms_ = 0;
};

inline const Status& StatusOf(const Status& status) { return status; }
template <typename T>
Status StatusOf(const Result<T>& result) {
  return result.status();
}

// The Status or Result of write(), which is called again while the disk is full. It must leave
// nothing behind if it fails.
template <typename Write>
auto OnceThereIsRoom(const std::string& folder, std::int64_t n_bytes, const Write& write) {
  RoomWait wait(folder, n_bytes);
  while (true) {
    auto written = write();
    const bool is_full = !written.ok() && ShortageOf(StatusOf(written)) == Shortage::kDisk;
    if (!is_full || !wait.Next()) return written;
  }
}

}  // namespace longrun::trainer
