// See disk_room.h.
#include "worker/agent/disk_room.h"

#include <algorithm>

#include "base/log.h"
#include "base/str.h"

namespace longrun::agent {

Status DiskRoom::Now() const {
  ASSIGN_OR_RETURN(const DiskSpace disk, options_.look());
  if (disk.free_bytes >= options_.free_bytes_min) return Status();
  return Status(Code::kResourceExhausted,
                Str(disk.free_bytes, " bytes free in ", options_.folder, ", at least ",
                    options_.free_bytes_min, " required: free some space"));
}

void DiskRoom::Look(std::int64_t now_ms) {
  if (Now().ok()) return Note(Status());
  if (is_freeing_ || now_ms < free_at_ms_) return;
  free_at_ms_ = now_ms + kFreeAgainMs;
  is_freeing_ = true;
  options_.start_freeing();
}

void DiskRoom::Freed() {
  is_freeing_ = false;
  Note(Now());
}

// If the disk cannot be asked, its size is unknown.
DiskSpace DiskRoom::Report() const {
  const Result<DiskSpace> looked = options_.look();
  DiskSpace disk = looked.ok() ? *looked : DiskSpace();
  if (is_full_) disk.wanted_bytes = std::max<std::int64_t>(1, options_.free_bytes_min);
  return disk;
}

void DiskRoom::Note(const Status& has_room) {
  if (is_full_ == !has_room.ok()) return;
  is_full_ = !has_room.ok();
  if (is_full_) {
    LogWarning("disk_full", {{"error", has_room.message()}});
  } else {
    LogInfo("disk_has_room", {{"folder", options_.folder}});
  }
}

}  // namespace longrun::agent
