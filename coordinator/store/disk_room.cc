#include "coordinator/store/disk_room.h"

#include "base/shortage.h"
#include "base/str.h"
#include "base/units.h"

namespace longrun::coordinator {
namespace {

constexpr std::string_view kLowWater = " (--disk-low-water or LONGRUN_DISK_LOW_WATER)";

}  // namespace

std::string LowDiskText(const std::string& folder, std::int64_t low_water_bytes) {
  return Str("the disk of ", folder, " has less than ", FormatBytes(low_water_bytes), " free",
             kLowWater);
}

std::string NoRoomText(const std::string& folder, const NoRoom& no_room) {
  return Str("no room for ", FormatBytes(no_room.n_bytes), ": the disk of ", folder, " has ",
             FormatBytes(no_room.n_free), " free, of which ", FormatBytes(no_room.low_water_bytes),
             " must stay free", kLowWater, " and ", FormatBytes(no_room.n_reserved),
             " are for uploads in progress: ", kMakeRoom);
}

}  // namespace longrun::coordinator
