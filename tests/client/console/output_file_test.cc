#include "client/console/output_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <string>

#include "base/files.h"

namespace longrun::client {
namespace {

class OutputFileTest : public testing::Test {
 protected:
  std::string PathOf(const std::string& name) const { return JoinPath(temp_.path(), name); }
  TempFolder temp_;
};

TEST_F(OutputFileTest, AFileIsMadeOrReplaced) {
  ASSERT_TRUE(WriteOutputFile(PathOf("a.svg"), "long text").ok());
  ASSERT_TRUE(WriteOutputFile(PathOf("a.svg"), "text").ok());
  EXPECT_EQ(ReadFile(PathOf("a.svg")).value(), "text");
}

TEST_F(OutputFileTest, ALinkStaysAndItsTargetIsReplaced) {
  ASSERT_TRUE(WriteFileAtomic(PathOf("target"), "old").ok());
  std::filesystem::create_symlink("target", PathOf("link"));
  ASSERT_TRUE(WriteOutputFile(PathOf("link"), "new").ok());
  EXPECT_TRUE(std::filesystem::is_symlink(PathOf("link")));
  EXPECT_EQ(ReadFile(PathOf("target")).value(), "new");
}

TEST_F(OutputFileTest, APipeIsWrittenToAndStays) {
  ASSERT_EQ(mkfifo(PathOf("pipe").c_str(), 0600), 0);
  const int reader = open(PathOf("pipe").c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC);
  ASSERT_GE(reader, 0);
  ASSERT_TRUE(WriteOutputFile(PathOf("pipe"), "text").ok());
  std::array<char, 16> bytes{};
  EXPECT_EQ(read(reader, bytes.data(), bytes.size()), 4);
  EXPECT_EQ(std::string(bytes.data()), "text");
  EXPECT_TRUE(std::filesystem::is_fifo(PathOf("pipe")));
  close(reader);
}

// Each write to this device fails as on a full disk.
TEST_F(OutputFileTest, OfAFullDiskItSaysWhatToDo) {
  const Status written = WriteOutputFile("/dev/full", "x");
  EXPECT_EQ(written.message(),
            "cannot write /dev/full: No space left on device; make room there, or name a file on "
            "another disk");
}

TEST_F(OutputFileTest, WhatIsNotToBeReplacedStays) {
  ASSERT_TRUE(MakeFolders(PathOf("state")).ok());
  ASSERT_TRUE(WriteFileAtomic(PathOf("state/database.id"), "id").ok());
  ASSERT_TRUE(WriteFileAtomic(PathOf("state/longrun.db"), "rows").ok());
  ASSERT_TRUE(WriteFileAtomic(PathOf("read_only"), "kept", 0444).ok());
  for (const char* const name : {"state", "state/longrun.db", "read_only"}) {
    EXPECT_EQ(WriteOutputFile(PathOf(name), "new").code(), Code::kFailedPrecondition) << name;
  }
  EXPECT_EQ(ReadFile(PathOf("state/longrun.db")).value(), "rows");
  EXPECT_EQ(ReadFile(PathOf("read_only")).value(), "kept");
}

}  // namespace
}  // namespace longrun::client
