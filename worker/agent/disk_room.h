// Decides whether the worker tells the coordinator that its disk has room for new attempts. If
// there is too little, it first has the cache trimmed, on another thread, since that can take long.
// Owned by one thread. Time is passed in, in milliseconds of BootMs().
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>

#include "base/status.h"
#include "sweeps/session_messages.h"

namespace longrun::agent {

struct DiskRoomOptions {
  std::string folder;  // for people
  std::int64_t free_bytes_min = 0;
  std::function<Result<DiskSpace>()> look;  // any thread
  // Removes from the cache what it can, on another thread; the owner's thread then calls Freed().
  std::function<void()> start_freeing;
};

class DiskRoom {
 public:
  static constexpr std::int64_t kFreeAgainMs = 5'000;

  explicit DiskRoom(DiskRoomOptions options) : options_(std::move(options)) {}

  // kResourceExhausted if the disk has too little room now. May be called on any thread.
  Status Now() const;

  // Looks, and starts freeing if there is too little room.
  void Look(std::int64_t now_ms);
  // Looks again: space may have come or gone while the cache was trimmed.
  void Freed();
  // What the coordinator is told: the space now, and whether it is too little.
  DiskSpace Report() const;

 private:
  void Note(const Status& has_room);

  DiskRoomOptions options_;
  bool is_full_ = false;  // even after the cache was trimmed
  bool is_freeing_ = false;
  std::int64_t free_at_ms_ = 0;  // not before
};

}  // namespace longrun::agent
