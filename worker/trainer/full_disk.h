// What a trainer does when its disk is full: it waits for room, so that an attempt is not lost to
// a disk that somebody clears.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>

#include "base/shortage.h"
#include "base/status.h"

namespace longrun::trainer {

// What a wait asks of the machine. A test gives its own answers.
struct RoomSource {
  std::function<std::int64_t()> now_ms;
  std::function<Result<std::int64_t>(const std::string& folder)> free_bytes;
  std::function<bool()> stop_requested;
  std::function<void(std::int64_t ms)> pause;
};
const RoomSource& ThisMachine();

// One write that waits for room. Not thread-safe, but each thread may have its own.
class RoomWait {
 public:
  // For n_bytes in a folder.
  RoomWait(std::string folder, std::int64_t n_bytes, const RoomSource& source = ThisMachine())
      : folder_(std::move(folder)), n_bytes_(n_bytes), source_(source) {}

  // To be called after each try that failed because the disk was full, with its error. Waits a
  // second, and on until the disk has room; ok: try again. Otherwise the write should fail with
  // what this returns: kCancelled if the trainer was asked to stop, `full` if kRoomPatienceMs have
  // passed since the first call. Both only after a last try if the disk has room.
  Status Next(const Status& full);

 private:
  bool HasRoom() const;

  std::string folder_;
  std::int64_t n_bytes_;
  const RoomSource& source_;
  std::int64_t begin_ms_ = 0;
  bool has_begun_ = false;
  bool is_last_try_ = false;
};

inline const Status& StatusOf(const Status& status) { return status; }
template <typename T>
Status StatusOf(const Result<T>& result) {
  return result.status();
}

// The Status or Result of write(), which is called again while the disk is full. It must leave
// nothing behind if it fails.
template <typename Write>
auto OnceThereIsRoom(const std::string& folder, std::int64_t n_bytes, const Write& write,
                     const RoomSource& source = ThisMachine()) {
  RoomWait wait(folder, n_bytes, source);
  while (true) {
    auto written = write();
    if (written.ok() || ShortageOf(StatusOf(written)) != Shortage::kDisk) return written;
    if (Status next = wait.Next(StatusOf(written)); !next.ok()) return decltype(written)(next);
  }
}

}  // namespace longrun::trainer
