// Memory of the host, and the limit of a control group, from texts as the kernel shows them.
#include "base/memory.h"

#include <gtest/gtest.h>

#include "base/files.h"

namespace longrun {
namespace {

class CgroupMemoryTest : public testing::Test {
 protected:
  void Write(const std::string& path, const std::string& text) {
    const std::string whole = JoinPath(mount_.path(), path);
    ASSERT_TRUE(MakeFolders(FolderOf(whole)).ok());
    ASSERT_TRUE(WriteFileAtomic(whole, text).ok());
  }
  std::int64_t Max(const std::string& groups) {
    return CgroupMemoryMax(groups, mount_.path()).value_or(-1);
  }

  TempFolder mount_;
};

TEST_F(CgroupMemoryTest, OfVersion2TheSmallestLimitOnTheWayUpCounts) {
  Write("slurm/job_7/memory.max", "max\n");
  Write("slurm/memory.max", "8589934592\n");
  Write("slurm/job_7/step_0/memory.max", "17179869184\n");
  EXPECT_EQ(Max("0::/slurm/job_7/step_0\n"), 8589934592);
}

TEST_F(CgroupMemoryTest, OfVersion1TheMemoryControllerCounts) {
  Write("memory/slurm/uid_0/job_7/memory.limit_in_bytes", "1073741824\n");
  // No limit, as version 1 writes it.
  Write("memory/memory.limit_in_bytes", "9223372036854771712\n");
  Write("cpuset/slurm/uid_0/job_7/memory.limit_in_bytes", "1\n");
  EXPECT_EQ(Max("4:cpuset:/slurm/uid_0/job_7\n9:memory:/slurm/uid_0/job_7\n"), 1073741824);
  EXPECT_EQ(Max("9:cpu,memory:/slurm/uid_0/job_7\n"), 1073741824);
}

TEST_F(CgroupMemoryTest, WhereBothAreMountedTheSmallerCounts) {
  Write("memory/a/memory.limit_in_bytes", "2000\n");
  Write("b/memory.max", "3000\n");
  EXPECT_EQ(Max("9:memory:/a\n0::/b\n"), 2000);
}

TEST_F(CgroupMemoryTest, WithoutALimitThereIsNone) {
  EXPECT_EQ(Max("0::/\n"), -1);
  EXPECT_EQ(Max(""), -1);
  EXPECT_EQ(Max("nonsense\n9:memory\n"), -1);
}

TEST(MachineMemoryTest, ItIsAtMostThatOfTheMachine) {
  EXPECT_GT(MachineMemoryBytes(), 0);
  EXPECT_LE(MachineMemoryBytes(), PhysicalMemoryBytes());
}

TEST(HostMemoryTest, UsedMemoryIsWhatIsNotAvailable) {
  const auto memory = ParseHostMemory("MemTotal:  1000 kB\nMemFree: 1 kB\nMemAvailable:  400 kB\n");
  ASSERT_TRUE(memory.has_value());
  EXPECT_EQ(memory->total_bytes, 1000 * 1024);
  EXPECT_EQ(memory->used_bytes, 600 * 1024);
  EXPECT_EQ(memory->available_bytes(), 400 * 1024);
  EXPECT_FALSE(ParseHostMemory("MemTotal: 16 kB\n").has_value());
}

TEST(HostMemoryTest, ThisMachineAnswers) {
  const auto memory = ReadHostMemory();
  ASSERT_TRUE(memory.has_value());
  EXPECT_GT(memory->available_bytes(), 0);
}

}  // namespace
}  // namespace longrun
