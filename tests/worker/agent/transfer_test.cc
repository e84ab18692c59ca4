// How artifacts come and go if the shared folder fails, with a coordinator in memory.
#include "worker/agent/transfer.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <string>

#include "base/files.h"
#include "base/hash.h"
#include "base/str.h"
#include "tests/worker/agent/fake_coordinator.h"

namespace longrun::agent {
namespace {

class TransferTest : public testing::Test {
 protected:
  TransferTest() : coordinator_(At("socket")) {
    coordinator_.Start();
    artifacts_.Connect(ConnectTo(Str("unix:", At("socket"))).value(), "w");
  }

  std::string At(const std::string& name) const { return JoinPath(temp_.path(), name); }
  void ShareFolder() {
    ASSERT_TRUE(MakeFolder(At("shared")).ok());
    artifacts_.Share(std::make_shared<SharedObjects>(At("shared")));
  }
  // A file of the worker.
  LocalArtifact Written(const std::string& bytes) {
    EXPECT_TRUE(WriteFileAtomic(At("file"), bytes).ok());
    return {.path = At("file"), .sha256 = Sha256Hex(bytes), .n_bytes = std::ssize(bytes)};
  }
  bool IsUploaded(const LocalArtifact& file) const {
    return coordinator_.artifacts.contains(file.sha256);
  }

  const TempFolder temp_;
  FakeCoordinator coordinator_;
  ArtifactTransfer artifacts_;
};

TEST_F(TransferTest, WhatASharedFolderDoesNotTakeGoesOverTheNetwork) {
  ShareFolder();
  // No file can be made there: ENOENT, as if the file to copy were gone.
  ASSERT_EQ(symlink("/proc/self", At("shared/incoming").c_str()), 0);
  const LocalArtifact file = Written("weights");
  const Status status = artifacts_.Upload({file});
  EXPECT_TRUE(status.ok()) << status.message();
  EXPECT_TRUE(IsUploaded(file));
}

TEST_F(TransferTest, WithoutItsSharedFolderAWorkerUsesTheNetwork) {
  ShareFolder();
  ASSERT_TRUE(RemoveAll(At("shared")).ok());  // or nothing is mounted there any more
  const LocalArtifact file = Written("weights");
  const Status status = artifacts_.Upload({file});
  EXPECT_TRUE(status.ok()) << status.message();
  EXPECT_TRUE(IsUploaded(file));
  EXPECT_FALSE(PathExists(At("shared")));
}

TEST_F(TransferTest, AFetchReplacesALinkInsteadOfWritingThroughIt) {
  const std::string bytes = "questions";
  const ArtifactFile file = {
      .name = "file", .sha256 = Sha256Hex(bytes), .n_bytes = std::ssize(bytes)};
  coordinator_.artifacts[file.sha256] = bytes;
  ASSERT_EQ(symlink(At("target").c_str(), At("fetched").c_str()), 0);
  const std::atomic<bool> unwanted = false;
  const Status status = artifacts_.Receive(file, At("fetched"), "", unwanted);
  EXPECT_TRUE(status.ok()) << status.message();
  EXPECT_FALSE(PathExists(At("target")));
  EXPECT_EQ(ReadFile(At("fetched")).value(), bytes);
  struct stat info {};
  ASSERT_EQ(lstat(At("fetched").c_str(), &info), 0);
  EXPECT_TRUE(S_ISREG(info.st_mode));
}

TEST_F(TransferTest, AFileThatIsGoneOrDamagedIsGivenUp) {
  ShareFolder();
  LocalArtifact file = Written("weights");
  EXPECT_EQ(artifacts_.Upload({{.path = At("gone"), .sha256 = file.sha256, .n_bytes = 7}}).code(),
            Code::kNotFound);
  ASSERT_TRUE(WriteFileAtomic(file.path, "weighty").ok());
  EXPECT_EQ(artifacts_.Upload({file}).code(), Code::kDataLoss);
  file.n_bytes += 1;
  EXPECT_EQ(artifacts_.Upload({file}).code(), Code::kDataLoss);
}

}  // namespace
}  // namespace longrun::agent
