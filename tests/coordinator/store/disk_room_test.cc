#include "coordinator/store/disk_room.h"

#include <gtest/gtest.h>

namespace longrun::coordinator {
namespace {

TEST(DiskRoomTest, AFullDiskIsNamedWithItsLimitAndTheSettingOfIt) {
  EXPECT_EQ(LowDiskText("the state folder /s", 64 << 20),
            "the disk of the state folder /s has less than 64 MiB free (--disk-low-water or "
            "LONGRUN_DISK_LOW_WATER)");
}

TEST(DiskRoomTest, AnUploadThatDoesNotFitIsToldWhatIsFreeAndForWhom) {
  EXPECT_EQ(NoRoomText("/s/artifacts", {.n_bytes = 3 << 20,
                                        .n_free = 70 << 20,
                                        .low_water_bytes = 64 << 20,
                                        .n_reserved = 5 << 20}),
            "no room for 3 MiB: the disk of /s/artifacts has 70 MiB free, of which 64 MiB must "
            "stay free (--disk-low-water or LONGRUN_DISK_LOW_WATER) and 5 MiB are for uploads in "
            "progress: make room there (`longrun gc --dry-run` shows what can be removed)");
}

}  // namespace
}  // namespace longrun::coordinator
