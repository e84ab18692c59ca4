#include "model/net/checkpoint.h"

#include <gtest/gtest.h>

#include "base/files.h"
#include "model/net/adamw.h"
#include "tests/model/net/small_model.h"

namespace longrun {
namespace {

class CheckpointTest : public testing::Test {
 protected:
  CheckpointTest() {
    const NetConfig config = SmallConfig("cable");
    const Transformer net = SmallNet(config, "fp32");
    const AdamW optimizer({}, net.parameters());
    parameters_ = net.parameters();
    summary_ = WriteCheckpoint(path_, {.config = config,
                                       .parameters = parameters_,
                                       .optimizer = optimizer.State(),
                                       .state = {{"step", 5}}})
                   .value();
  }
  std::string Error() const { return LoadCheckpoint(path_, summary_.sha256).status().message(); }

  TempFolder folder_;
  std::string path_ = JoinPath(folder_.path(), "checkpoints/step-5");
  ParameterMap parameters_;
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

}  // namespace
}  // namespace longrun
