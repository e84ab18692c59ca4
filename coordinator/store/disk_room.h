// What users read if the disk of the state folder is full, or has no room for an upload.
#pragma once

#include <cstdint>
#include <string>

namespace longrun::coordinator {

// "the disk of FOLDER has less than 64 MiB free (--disk-low-water or LONGRUN_DISK_LOW_WATER)"
std::string LowDiskText(const std::string& folder, std::int64_t low_water_bytes);

// An upload for which the disk has no room.
struct NoRoom {
  std::int64_t n_bytes = 0;
  std::int64_t n_free = 0;
  std::int64_t low_water_bytes = 0;
  std::int64_t n_reserved = 0;  // for uploads in progress
};
// "no room for 3 MiB: the disk of FOLDER has 70 MiB free, of which 64 MiB must stay free
// (--disk-low-water or LONGRUN_DISK_LOW_WATER) and 5 MiB are for uploads in progress: make room
// there ..."
std::string NoRoomText(const std::string& folder, const NoRoom& no_room);

}  // namespace longrun::coordinator
