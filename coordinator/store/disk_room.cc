#include "coordinator/store/disk_room.h"

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

std::string NoRoomText(const std::string& folder, std::int64_t n_bytes, std::int64_t n_free,
                       std::int64_t low_water_bytes, std::int64_t n_reserved) {
  return Str("no room for ", FormatBytes(n_bytes), ": the disk of ", folder, " has ",
             FormatBytes(n_free), " free, of which ", FormatBytes(low_water_bytes),
             " must stay free", kLowWater, " and ", FormatBytes(n_reserved),
             " are for uploads in progress: ", kMakeRoom);
}

}  // namespace longrun::coordinator
