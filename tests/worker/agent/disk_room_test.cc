#include "worker/agent/disk_room.h"

#include <gtest/gtest.h>

namespace longrun::agent {
namespace {

class DiskRoomTest : public testing::Test {
 protected:
  std::int64_t free_bytes = 1000;
  int n_freed = 0;  // how often the cache was asked to make room
  DiskRoom disk{{.folder = "/box",
                 .free_bytes_min = 500,
                 .look = [this] { return DiskSpace{.free_bytes = free_bytes, .bytes = 2000}; },
                 .start_freeing = [this] { ++n_freed; }}};
};

TEST_F(DiskRoomTest, ADiskWithRoomIsNotFreed) {
  disk.Look(0);
  EXPECT_EQ(n_freed, 0);
  EXPECT_EQ(disk.Report().wanted_bytes, 0);
  EXPECT_EQ(disk.Report().free_bytes, 1000);
}

TEST_F(DiskRoomTest, ADiskIsFullOnceTheCacheWasTrimmedInVain) {
  free_bytes = 100;
  disk.Look(0);
  EXPECT_EQ(n_freed, 1);
  EXPECT_EQ(disk.Report().wanted_bytes, 0);
  disk.Freed();
  EXPECT_EQ(disk.Report().wanted_bytes, 500);
  EXPECT_NE(disk.Now().message().find("100 bytes free in /box, at least 500 required"),
            std::string::npos);
}

TEST_F(DiskRoomTest, ADiskThatTheCacheMadeRoomOnIsNotFull) {
  free_bytes = 100;
  disk.Look(0);
  free_bytes = 600;
  disk.Freed();
  EXPECT_EQ(disk.Report().wanted_bytes, 0);
}

TEST_F(DiskRoomTest, SpaceThatComesBackWhileTheCacheIsTrimmedCounts) {
  free_bytes = 100;
  disk.Look(0);
  disk.Freed();
  disk.Look(DiskRoom::kFreeAgainMs);  // the cache is trimmed a second time
  ASSERT_EQ(n_freed, 2);
  free_bytes = 1000;
  disk.Look(DiskRoom::kFreeAgainMs + 1);
  EXPECT_EQ(disk.Report().wanted_bytes, 0);
  disk.Freed();  // the trim that began on the full disk ends only now
  EXPECT_EQ(disk.Report().wanted_bytes, 0);
}

TEST_F(DiskRoomTest, AFullDiskIsFreedAgainOnlyAfterAWhileAndOnceAtATime) {
  free_bytes = 100;
  disk.Look(0);
  disk.Look(DiskRoom::kFreeAgainMs);
  EXPECT_EQ(n_freed, 1);  // the first trim goes on
  disk.Freed();
  disk.Look(DiskRoom::kFreeAgainMs - 1);
  EXPECT_EQ(n_freed, 1);
  disk.Look(DiskRoom::kFreeAgainMs);
  EXPECT_EQ(n_freed, 2);
}

}  // namespace
}  // namespace longrun::agent
