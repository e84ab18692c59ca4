#include "base/open_file.h"

#include <gtest/gtest.h>

#include <string>

#include "base/files.h"

namespace longrun {
namespace {

class OpenFileTest : public testing::Test {
 protected:
  OpenFileTest() { EXPECT_TRUE(WriteFileAtomic(path_, "0123456789").ok()); }
  const TempFolder folder_;
  const std::string path_ = JoinPath(folder_.path(), "f");
};

TEST_F(OpenFileTest, PartsAreReadAndOnlyTheEndIsShort) {
  const auto file = OpenFile::Open(path_, OpenFile::Mode::kRead);
  ASSERT_TRUE(file.ok()) << file.status().message();
  EXPECT_EQ(file->n_bytes().value(), 10);
  EXPECT_EQ(file->ReadAt(3, 4).value(), "3456");
  EXPECT_EQ(file->ReadAt(8, 4).value(), "89");
  EXPECT_EQ(file->ReadAt(10, 4).value(), "");
}

TEST_F(OpenFileTest, APartIsWrittenInPlace) {
  auto file = OpenFile::Open(path_, OpenFile::Mode::kReadWrite);
  ASSERT_TRUE(file.ok()) << file.status().message();
  ASSERT_TRUE(file->WriteAt(4, "ab").ok());
  ASSERT_TRUE(file->Sync().ok());
  EXPECT_EQ(ReadFile(path_).value(), "0123ab6789");
}

TEST_F(OpenFileTest, ItIsNeitherMadeNorWrittenWithoutBeingAsked) {
  const std::string absent = JoinPath(folder_.path(), "absent");
  const auto none = OpenFile::Open(absent, OpenFile::Mode::kReadWrite);
  EXPECT_EQ(none.status().code(), Code::kNotFound);
  EXPECT_FALSE(PathExists(absent));
  auto file = OpenFile::Open(path_, OpenFile::Mode::kRead);
  ASSERT_TRUE(file.ok());
  const Status status = file->WriteAt(0, "x");
  EXPECT_FALSE(status.ok());
  EXPECT_NE(status.message().find(path_), std::string::npos) << status.message();
}

}  // namespace
}  // namespace longrun
