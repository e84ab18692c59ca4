// A folder that several machines write to: what is not what its name says is never used.
#include "base/shared_objects.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "base/files.h"
#include "base/hash.h"
#include "base/str.h"

namespace longrun {
namespace {

Status GoOn() { return Status(); }

class SharedObjectsTest : public testing::Test {
 protected:
  Status Put(SharedObjects& objects, const std::string& bytes, const std::string& instead) {
    return objects.Put(
        Sha256Hex(bytes), std::ssize(bytes), "w",
        [&](const std::string& path) {
          ++n_written;
          return WriteFileAtomic(path, instead);
        },
        &GoOn);
  }
  Status Put(SharedObjects& objects, const std::string& bytes) {
    return Put(objects, bytes, bytes);
  }
  Status Check(SharedObjects& objects, const std::string& bytes) {
    return objects.Check(Sha256Hex(bytes), std::ssize(bytes), &GoOn);
  }

  TempFolder folder;
  SharedObjects here{folder.path()}, there{folder.path()};  // two machines
  int n_written = 0;
};

TEST_F(SharedObjectsTest, WhatOneMachinePutsThereAnotherFinds) {
  EXPECT_EQ(Check(there, "bytes").code(), Code::kNotFound);
  ASSERT_TRUE(Put(here, "bytes").ok());
  EXPECT_TRUE(Check(there, "bytes").ok());
  EXPECT_EQ(ReadFile(there.PathOf(Sha256Hex("bytes"))).value(), "bytes");
  // It is not written twice, and nothing else is left.
  ASSERT_TRUE(Put(there, "bytes").ok());
  EXPECT_EQ(n_written, 1);
  EXPECT_TRUE(ListFolder(JoinPath(folder.path(), "incoming"))->empty());
}

// As after a new session of a worker, whose uploads of the session before have not ended.
TEST_F(SharedObjectsTest, TwoPutsOfOneWriterDoNotDisturbEachOther) {
  const std::string first = "first";
  const Status put = here.Put(
      Sha256Hex(first), std::ssize(first), "w",
      [&](const std::string& path) {
        Status written = WriteFileAtomic(path, first);
        EXPECT_TRUE(Put(there, "second").ok());
        return written;
      },
      &GoOn);
  EXPECT_TRUE(put.ok()) << put.message();
  EXPECT_TRUE(Check(there, "first").ok());
  EXPECT_TRUE(Check(here, "second").ok());
  EXPECT_TRUE(ListFolder(JoinPath(folder.path(), "incoming"))->empty());
}

// The codes of these errors say that they may pass; the caller has a better way than to wait.
TEST_F(SharedObjectsTest, AServerThatHasGoneIsNotWaitedFor) {
  for (const int error_number : {ESTALE, ENOTCONN, ETIMEDOUT, EHOSTDOWN}) {
    const Status put = here.Put(
        Sha256Hex("bytes"), 5, "w",
        [&](const std::string& path) {
          return ErrnoStatus(error_number, Str("cannot copy ", path));
        },
        &GoOn);
    EXPECT_EQ(put.code(), Code::kFailedPrecondition) << put.message();
  }
}

TEST_F(SharedObjectsTest, OtherBytesAreNotPutThere) {
  EXPECT_EQ(Put(here, "bytes", "bytez").code(), Code::kDataLoss);
  EXPECT_EQ(Put(here, "bytes", "byte").code(), Code::kDataLoss);
  EXPECT_EQ(Check(here, "bytes").code(), Code::kNotFound);
  EXPECT_TRUE(ListFolder(JoinPath(folder.path(), "incoming"))->empty());
}

TEST_F(SharedObjectsTest, OtherBytesUnderADigestAreToldAlsoWhenTheyCameAfterACheck) {
  ASSERT_TRUE(Put(here, "bytes").ok());
  ASSERT_TRUE(Check(here, "bytes").ok());
  const std::string path = here.PathOf(Sha256Hex("bytes"));
  ASSERT_TRUE(WriteFileAtomic(path, "bytez").ok());

  const Status told = Check(here, "bytes");
  EXPECT_EQ(told.code(), Code::kDataLoss);
  EXPECT_NE(told.message().find(Sha256Hex("bytez")), std::string::npos) << told.message();
  EXPECT_EQ(Check(there, "bytes").code(), Code::kDataLoss);
  // Whoever has the bytes mends it.
  ASSERT_TRUE(Put(here, "bytes").ok());
  EXPECT_TRUE(Check(there, "bytes").ok());
}

TEST_F(SharedObjectsTest, ALinkIsNotFollowed) {
  const std::string path = here.PathOf(Sha256Hex("bytes"));
  ASSERT_TRUE(MakeFolders(FolderOf(path)).ok());
  ASSERT_TRUE(WriteFileAtomic(JoinPath(folder.path(), "elsewhere"), "bytes").ok());
  ASSERT_EQ(symlink(JoinPath(folder.path(), "elsewhere").c_str(), path.c_str()), 0);
  EXPECT_EQ(Check(here, "bytes").code(), Code::kDataLoss);
}

TEST_F(SharedObjectsTest, WhyAFileCannotBeLookedAtIsSaid) {
  // A file where the folder of the file should be: ENOTDIR.
  const std::string path = here.PathOf(Sha256Hex("bytes"));
  ASSERT_TRUE(WriteFileAtomic(FolderOf(path), "").ok());
  const Status status = Check(here, "bytes");
  EXPECT_EQ(status.code(), Code::kFailedPrecondition);
  EXPECT_NE(status.message().find("Not a directory"), std::string::npos) << status.message();
}

TEST_F(SharedObjectsTest, AMissingFolderIsNotMadeAgain) {
  const std::string unmounted = JoinPath(folder.path(), "coordinator");
  SharedObjects objects(unmounted);
  const Status status = Put(objects, "bytes");
  EXPECT_EQ(status.code(), Code::kFailedPrecondition);
  EXPECT_NE(status.message().find(unmounted), std::string::npos) << status.message();
  EXPECT_NE(status.message().find("mount it again"), std::string::npos) << status.message();
  EXPECT_EQ(n_written, 0);
  EXPECT_FALSE(PathExists(unmounted));
}

TEST_F(SharedObjectsTest, ACheckThatIsNotWantedAnyMoreEnds) {
  ASSERT_TRUE(Put(here, "bytes").ok());
  const auto cancelled = [] { return Status(Code::kCancelled, "not wanted"); };
  EXPECT_EQ(there.Check(Sha256Hex("bytes"), 5, cancelled).code(), Code::kCancelled);
  EXPECT_EQ(there.Check("../../etc/passwd", 5, &GoOn).code(), Code::kInvalidArgument);
}

}  // namespace
}  // namespace longrun
