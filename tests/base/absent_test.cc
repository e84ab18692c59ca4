// Files that are gone, and files that are only out of reach.
#include "base/absent.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <string>

#include "base/files.h"

namespace longrun {
namespace {

TEST(AbsentTest, OnlyWhatHasNoNameIsAbsent) {
  const TempFolder folder;
  const std::string path = JoinPath(folder.path(), "f");
  EXPECT_TRUE(IsAbsent(path));
  EXPECT_TRUE(IsAbsent(JoinPath(path, "in-no-folder")));
  ASSERT_TRUE(WriteFileAtomic(path, "").ok());
  EXPECT_FALSE(IsAbsent(path));
  EXPECT_FALSE(IsAbsent(folder.path()));
}

// A loop of links cannot be followed, not even by root.
TEST(AbsentTest, WhatCannotBeLookedAtIsNotAbsent) {
  const TempFolder folder;
  const std::string loop = JoinPath(folder.path(), "loop");
  ASSERT_EQ(symlink("loop", loop.c_str()), 0);
  EXPECT_FALSE(PathExists(loop));
  EXPECT_FALSE(IsAbsent(loop));
}

}  // namespace
}  // namespace longrun
