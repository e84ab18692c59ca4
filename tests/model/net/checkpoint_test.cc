#include "model/net/checkpoint.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <map>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/shortage.h"
#include "base/str.h"
#include "model/net/adamw.h"
#include "tests/model/net/small_model.h"

namespace {

// The disk is full at one sync of this folder: at the first if n is 1.
struct {
  ino_t folder = 0;
  int n = 0;
} g_full;

}  // namespace

extern "C" int fsync(int fd) {
  struct stat about = {};
  const bool is_it = g_full.n > 0 && fstat(fd, &about) == 0 && about.st_ino == g_full.folder;
  if (!is_it || --g_full.n > 0) return static_cast<int>(syscall(SYS_fsync, fd));
  errno = ENOSPC;
  return -1;
}

namespace longrun {
namespace {

class CheckpointTest : public testing::Test {
 protected:
  CheckpointTest() {
    const Transformer net = SmallNet(config_, "fp32");
    parameters_ = net.parameters();
    optimizer_ = AdamW({}, net.parameters()).State();
    summary_ = Write(path_).value();
  }
  Result<CheckpointSummary> Write(const std::string& path) const {
    return WriteCheckpoint(path, {.config = config_,
                                  .parameters = parameters_,
                                  .optimizer = optimizer_,
                                  .state = {{"step", 5}}});
  }
  std::string Error() const { return LoadCheckpoint(path_, summary_.sha256).status().message(); }

  TempFolder folder_;
  std::string path_ = JoinPath(folder_.path(), "checkpoints/step-5");
  const NetConfig config_ = SmallConfig("cable");
  ParameterMap parameters_;
  std::map<std::string, at::Tensor> optimizer_;
  CheckpointSummary summary_;
};

TEST_F(CheckpointTest, WhatWasWrittenIsLoadedAndItIsAModelFolder) {
  const auto loaded = LoadCheckpoint(path_, summary_.sha256);
  ASSERT_TRUE(loaded.ok()) << loaded.status().message();
  EXPECT_EQ(loaded->state["step"], 5);
  EXPECT_EQ(loaded->optimizer.size(), 2 * parameters_.size());
  for (const auto& [name, tensor] : parameters_) {
    EXPECT_TRUE(loaded->model.parameters.at(name).equal(tensor)) << name;
  }
  EXPECT_TRUE(LoadModelFolder(path_).ok());
  EXPECT_EQ(summary_.files.back().name, "manifest.json");
  EXPECT_EQ(summary_.files.back().sha256, summary_.sha256);
  // Nothing temporary is left.
  EXPECT_EQ(ListFolder(FolderOf(path_)).value(), std::vector<std::string>{"step-5"});
}

TEST_F(CheckpointTest, ADamagedTruncatedOrMissingFileIsNamed) {
  const std::string model = JoinPath(path_, "model.safetensors");
  const std::string bytes = ReadFile(model).value();
  std::string damaged = bytes;
  damaged.back() = static_cast<char>(damaged.back() ^ 1);
  ASSERT_TRUE(WriteFileAtomic(model, damaged).ok());
  EXPECT_NE(Error().find(model + ": its SHA-256 is"), std::string::npos) << Error();
  ASSERT_TRUE(WriteFileAtomic(model, bytes.substr(0, bytes.size() / 2)).ok());
  EXPECT_NE(Error().find("it is truncated or damaged"), std::string::npos) << Error();
  ASSERT_TRUE(RemoveAll(model).ok());
  EXPECT_EQ(Error(), model + " is missing; choose another checkpoint");
  EXPECT_EQ(LoadCheckpoint(path_, "").status().code(), Code::kDataLoss);
}

TEST_F(CheckpointTest, AnotherManifestThanTheOneAskedForIsRefused) {
  const std::string other(64, 'a');
  const Status status = LoadCheckpoint(path_, other).status();
  EXPECT_EQ(status.code(), Code::kDataLoss);
  EXPECT_NE(status.message().find("expected " + other), std::string::npos) << status.message();
}

TEST_F(CheckpointTest, OneThatMetAFullDiskCanBeWrittenAgain) {
  const std::string folder = FolderOf(path_);
  struct stat about = {};
  ASSERT_EQ(stat(folder.c_str(), &about), 0);
  // The temporary folder is made, and then it gets the checkpoint's name.
  for (const int n : {1, 2}) {
    g_full = {.folder = about.st_ino, .n = n};
    const std::string again = JoinPath(folder, Str("again-", n));
    const Status failed = Write(again).status();
    EXPECT_EQ(g_full.n, 0);
    EXPECT_EQ(ShortageOf(failed), Shortage::kDisk) << failed.message();
    EXPECT_FALSE(PathExists(again));
    const auto written = Write(again);
    ASSERT_TRUE(written.ok()) << written.status().message();
    EXPECT_EQ(written->sha256, summary_.sha256);
  }
}

}  // namespace
}  // namespace longrun
