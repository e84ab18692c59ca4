// The quota of CPUs, from folders like those of a cgroup file system.
#include "base/usable_cpus.h"

#include <gtest/gtest.h>

#include "base/files.h"

namespace longrun {
namespace {

class UsableCpusTest : public testing::Test {
 protected:
  void Write(const std::string& group, const std::string& cpu_max) {
    const std::string at = JoinPath(folder.path(), group);
    ASSERT_TRUE(MakeFolders(at, 0700).ok());
    ASSERT_TRUE(WriteFileAtomic(JoinPath(at, "cpu.max"), cpu_max).ok());
  }
  std::optional<int> Max(const std::string& groups) { return CgroupCpusMax(groups, folder.path()); }

  TempFolder folder{"cpus"};
};

TEST_F(UsableCpusTest, AContainersLimitCounts) {
  Write(".", "400000 100000\n");  // as inside of a container: our group is the root

  EXPECT_EQ(Max("0::/\n"), 4);
}

TEST_F(UsableCpusTest, TheSmallestQuotaOnTheWayToTheRootCounts) {
  Write("pods", "300000 100000\n");
  Write("pods/one", "max 100000\n");
  Write("pods/one/worker", "800000 100000\n");

  EXPECT_EQ(Max("3:cpuset:/\n0::/pods/one/worker\n"), 3);
  EXPECT_EQ(Max("0::/other\n"), std::nullopt);
}

TEST_F(UsableCpusTest, OnlyWholeCpusCountAndAtLeastOne) {
  Write("a", "250000 100000\n");
  Write("b", "20000 100000\n");

  EXPECT_EQ(Max("0::/a\n"), 2);
  EXPECT_EQ(Max("0::/b\n"), 1);
}

TEST_F(UsableCpusTest, WhatIsNoQuotaIsIgnored) {
  for (const char* text : {"max 100000\n", "", "400000", "400000 0\n", "-1 100000\n", "x y\n"}) {
    Write("a", text);
    EXPECT_EQ(Max("0::/a\n"), std::nullopt) << text;
  }
  EXPECT_EQ(Max("1:cpu:/a\n"), std::nullopt);
}

TEST_F(UsableCpusTest, ThisProcessHasACpu) { EXPECT_GE(UsableCpus(), 1); }

}  // namespace
}  // namespace longrun
