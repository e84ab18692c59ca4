#include "base/folder_size.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/files.h"

namespace longrun {
namespace {

class BytesBelowTest : public testing::Test {
 protected:
  void Write(const std::string& name, std::size_t n_bytes) {
    const std::string path = JoinPath(folder_.path(), name);
    ASSERT_TRUE(MakeFolders(FolderOf(path)).ok());
    ASSERT_TRUE(WriteFileAtomic(path, std::string(n_bytes, 'x')).ok());
  }

  TempFolder folder_;
};

TEST_F(BytesBelowTest, FilesOfEveryDepthAreAdded) {
  EXPECT_EQ(BytesBelow(folder_.path()), 0);
  Write("a", 10);
  Write("b/c", 200);
  Write("b/d/e", 3000);
  EXPECT_EQ(BytesBelow(folder_.path()), 3210);
  EXPECT_EQ(BytesBelow(JoinPath(folder_.path(), "b")), 3200);
}

TEST_F(BytesBelowTest, OfAFileItIsTheFilesSize) {
  Write("a", 10);
  EXPECT_EQ(BytesBelow(JoinPath(folder_.path(), "a")), 10);
}

TEST_F(BytesBelowTest, ALinkedFolderAndADanglingLinkCountNothing) {
  const TempFolder elsewhere;
  ASSERT_TRUE(WriteFileAtomic(JoinPath(elsewhere.path(), "big"), std::string(5000, 'x')).ok());
  Write("a", 10);
  std::filesystem::create_symlink(elsewhere.path(), JoinPath(folder_.path(), "folder"));
  std::filesystem::create_symlink("nowhere", JoinPath(folder_.path(), "dangling"));
  EXPECT_EQ(BytesBelow(folder_.path()), 10);
}

TEST_F(BytesBelowTest, ALinkedFileCountsNothing) {
  const TempFolder elsewhere;
  const std::string big = JoinPath(elsewhere.path(), "big");
  ASSERT_TRUE(WriteFileAtomic(big, std::string(5000, 'x')).ok());
  Write("a", 10);
  const std::string link = JoinPath(folder_.path(), "link");
  std::filesystem::create_symlink(big, link);
  EXPECT_EQ(BytesBelow(folder_.path()), 10);
  EXPECT_EQ(BytesBelow(link), 0);
}

// A user may have moved a folder of ours to another disk.
TEST_F(BytesBelowTest, TheFolderItselfMayBeGivenByALink) {
  Write("folder/a", 10);
  const std::string link = JoinPath(folder_.path(), "link");
  std::filesystem::create_symlink(JoinPath(folder_.path(), "folder"), link);
  EXPECT_EQ(BytesBelow(link), 10);
}

TEST_F(BytesBelowTest, WhatIsNotThereCountsNothing) {
  EXPECT_EQ(BytesBelow(JoinPath(folder_.path(), "absent")), 0);
}

}  // namespace
}  // namespace longrun
