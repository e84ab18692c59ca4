#include "base/held_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>

#include "base/files.h"

namespace longrun {
namespace {

class HeldFileTest : public testing::Test {
 protected:
  TempFolder folder;
  std::string path = JoinPath(folder.path(), "state");
  std::string other = JoinPath(folder.path(), "other");
};

TEST_F(HeldFileTest, AFileThatIsWrittenAndReadStaysInPlace) {
  ASSERT_TRUE(WriteFileAtomic(path, "a").ok());
  const HeldFile held = HeldFile::Open(path).value();

  EXPECT_TRUE(held.IsInPlace());
  ASSERT_EQ(truncate(path.c_str(), 0), 0);
  EXPECT_TRUE(held.IsInPlace());
  EXPECT_EQ(held.PathNow(), path);
}

TEST_F(HeldFileTest, ADeletedFolderIsGoneAlsoWhenAnotherOfItsNameIsMade) {
  ASSERT_TRUE(MakeFolders(path).ok());
  const HeldFile held = HeldFile::Open(path).value();

  ASSERT_TRUE(RemoveAll(path).ok());
  EXPECT_FALSE(held.IsInPlace());
  EXPECT_EQ(held.PathNow(), "");
  // Its number would be free by now, were it not held.
  ASSERT_TRUE(MakeFolders(path).ok());
  EXPECT_FALSE(held.IsInPlace());
}

TEST_F(HeldFileTest, AFileThatWasMovedSaysWhereItLies) {
  ASSERT_TRUE(WriteFileAtomic(path, "a").ok());
  const HeldFile held = HeldFile::Open(path).value();

  ASSERT_EQ(std::rename(path.c_str(), other.c_str()), 0);

  EXPECT_FALSE(held.IsInPlace());
  EXPECT_TRUE(held.IsAt(other));
  EXPECT_EQ(held.PathNow(), other);
}

TEST_F(HeldFileTest, AFileBelowAFileIsNowhere) {
  ASSERT_TRUE(MakeFolders(path).ok());
  ASSERT_TRUE(WriteFileAtomic(JoinPath(path, "lock"), "a").ok());
  const HeldFile held = HeldFile::Open(JoinPath(path, "lock")).value();

  ASSERT_TRUE(RemoveAll(path).ok());
  ASSERT_TRUE(WriteFileAtomic(path, "a").ok());

  EXPECT_FALSE(held.IsInPlace());
}

TEST_F(HeldFileTest, WhatIsNotThereCannotBeHeld) {
  const Result<HeldFile> held = HeldFile::Open(path);

  ASSERT_FALSE(held.ok());
  EXPECT_EQ(held.status().code(), Code::kNotFound);
}

}  // namespace
}  // namespace longrun
