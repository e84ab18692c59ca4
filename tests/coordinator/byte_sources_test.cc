// Bytes by digest: from the artifact store, from a registered dataset, from the files of
// evaluations, and from nowhere else.
#include "coordinator/byte_sources.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <future>
#include <map>
#include <string>

#include "base/files.h"
#include "base/hash.h"
#include "model/data/dataset.h"
#include "model/data/manifest.h"
#include "model/evaluation/input_file.h"

namespace longrun::coordinator {
namespace {

class ByteSourcesTest : public testing::Test {
 protected:
  std::string At(const std::string& name) const { return JoinPath(temp_.path(), name); }
  std::string Import(const std::string& name, const std::string& text) {
    EXPECT_TRUE(WriteFileAtomic(At("a.txt"), text).ok());
    EXPECT_TRUE(ImportText({.splits = {{"train", {At("a.txt")}}}}, At(name)).ok());
    return At(name);
  }

  TempFolder temp_;
  std::unique_ptr<ArtifactStore> artifacts_ =
      ArtifactStore::Open({.folder = At("state/artifacts")}).value();
  ByteSources bytes_{*artifacts_, At("state")};
};

TEST_F(ByteSourcesTest, FindsBytesWhereTheyAre) {
  const std::string artifact = "a checkpoint";
  auto upload =
      artifacts_->Begin(Sha256Hex(artifact), static_cast<std::int64_t>(artifact.size())).value();
  ASSERT_TRUE(upload->Write(artifact).ok() && upload->Finish().ok());
  const InputFile questions = {.id = "sha256:" + Sha256Hex("questions"), .bytes = "questions"};
  ASSERT_TRUE(KeepInputFile(questions, At("state/files")).ok());
  const std::string folder = Import("data", "some text");
  bytes_.SetDatasetFolders({At("not there"), folder});

  EXPECT_EQ(ReadFile(bytes_.Find(Sha256Hex(artifact))->path).value(), artifact);
  EXPECT_EQ(ReadFile(bytes_.Find(Sha256Hex("questions"))->path).value(), "questions");
  EXPECT_EQ(bytes_.InputFile(questions.id),
            (ArtifactFile{
                .name = Sha256Hex("questions"), .sha256 = Sha256Hex("questions"), .n_bytes = 9}));
  const DatasetListing listing = bytes_.List(folder).value();
  EXPECT_EQ(listing.digest, Dataset::Open(folder)->digest());
  for (const ArtifactFile& file : listing.files) {
    const Result<ByteSources::Found> found = bytes_.Find(file.sha256);
    ASSERT_TRUE(found.ok()) << found.status().message();
    EXPECT_EQ(found->path, JoinPath(folder, file.name));
    EXPECT_EQ(found->n_bytes, file.n_bytes);
  }
}

TEST_F(ByteSourcesTest, WhatIsNotRegisteredIsNotSent) {
  const std::string folder = Import("data", "some text");
  const std::string sha256 = ListDataset(folder)->files.front().sha256;
  EXPECT_EQ(bytes_.Find(sha256).status().code(), Code::kNotFound);
  bytes_.SetDatasetFolders({folder});
  EXPECT_TRUE(bytes_.Find(sha256).ok());
  bytes_.SetDatasetFolders({});
  EXPECT_EQ(bytes_.Find(sha256).status().code(), Code::kNotFound);

  // Another file of the folder has no digest in dataset.json.
  ASSERT_TRUE(WriteFileAtomic(JoinPath(folder, "notes"), "secret").ok());
  bytes_.SetDatasetFolders({folder});
  EXPECT_EQ(bytes_.Find(Sha256Hex("secret")).status().code(), Code::kNotFound);
  for (const char* const name : {"", "../../etc/passwd", "sha256:"}) {
    EXPECT_EQ(bytes_.Find(name).status().code(), Code::kInvalidArgument) << name;
  }
  EXPECT_EQ(bytes_.InputFile("sha256:" + Sha256Hex("x")).n_bytes, 0);
}

TEST_F(ByteSourcesTest, ALinkIsNotFollowed) {
  const std::string folder = Import("data", "some text");
  bytes_.SetDatasetFolders({folder});
  const ArtifactFile shard = bytes_.List(folder)->files.front();
  const std::string path = JoinPath(folder, shard.name);
  ASSERT_EQ(rename(path.c_str(), At("elsewhere").c_str()), 0);
  ASSERT_EQ(symlink(At("elsewhere").c_str(), path.c_str()), 0);

  const Status refused = bytes_.Find(shard.sha256).status();

  EXPECT_EQ(refused.code(), Code::kFailedPrecondition);
  EXPECT_NE(refused.message().find("is not a regular file"), std::string::npos);
}

TEST_F(ByteSourcesTest, ADatasetThatIsReplacedIsListedAgain) {
  const std::string folder = Import("data", "some text");
  bytes_.SetDatasetFolders({folder});
  const DatasetListing first = bytes_.List(folder).value();
  const std::string other = Import("other", "another text");
  ASSERT_TRUE(RemoveAll(folder).ok());
  EXPECT_EQ(bytes_.List(folder).status().code(), Code::kNotFound);
  EXPECT_EQ(bytes_.Find(first.files.front().sha256).status().code(), Code::kNotFound);
  ASSERT_EQ(rename(other.c_str(), folder.c_str()), 0);
  EXPECT_NE(bytes_.List(folder)->digest, first.digest);
}

TEST_F(ByteSourcesTest, AFileThatIsGoneIsNamed) {
  const std::string folder = Import("data", "some text");
  bytes_.SetDatasetFolders({folder});
  const ArtifactFile shard = bytes_.List(folder)->files.front();
  ASSERT_EQ(unlink(JoinPath(folder, shard.name).c_str()), 0);
  const Status gone = bytes_.Find(shard.sha256).status();
  EXPECT_EQ(gone.code(), Code::kNotFound);
  EXPECT_NE(gone.message().find(shard.name), std::string::npos) << gone.message();
}

TEST_F(ByteSourcesTest, WhatWasListedIsFoundWithoutALookAtOtherFolders) {
  const std::string folder = Import("data", "some text");
  std::int64_t now_ms = 0;
  std::map<std::string, int> n_listed;
  ByteSources bytes(*artifacts_, At("state"),
                    {.now_ms = [&] { return now_ms; },
                     .list =
                         [&](const std::string& path) {
                           n_listed[BaseName(path)] += 1;
                           return ListDataset(path);
                         }});
  bytes.SetDatasetFolders({At("not there"), folder});
  const std::string sha256 = bytes.List(folder)->files.front().sha256;
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(bytes.Find(sha256).ok());
  EXPECT_EQ(n_listed, (std::map<std::string, int>{{"data", 1}}));

  // For what nobody has listed, each folder is looked into, but not again and again.
  const std::string none = Sha256Hex("none");
  for (int i = 0; i < 3; ++i) EXPECT_EQ(bytes.Find(none).status().code(), Code::kNotFound);
  EXPECT_EQ(n_listed, (std::map<std::string, int>{{"data", 1}, {"not there", 1}}));
  now_ms += 60'000;
  EXPECT_EQ(bytes.Find(none).status().code(), Code::kNotFound);
  EXPECT_EQ(n_listed["not there"], 2);
}

TEST_F(ByteSourcesTest, AFolderThatDoesNotAnswerHoldsUpOneThread) {
  const std::string folder = Import("data", "some text");
  const std::string sha256 = ListDataset(folder)->files.front().sha256;
  std::promise<void> asked, answers;
  const std::shared_future<void> answer = answers.get_future().share();
  ByteSources bytes(*artifacts_, At("state"), {.list = [&](const std::string& path) {
    if (path != folder) {
      asked.set_value();
      answer.wait();
    }
    return ListDataset(path);
  }});
  bytes.SetDatasetFolders({At("silent"), folder});
  auto held_up = std::async(std::launch::async, [&] { return bytes.Find(sha256); });
  asked.get_future().wait();

  EXPECT_TRUE(bytes.Find(sha256).ok());
  const Status unknown = bytes.Find(Sha256Hex("none")).status();
  EXPECT_EQ(unknown.code(), Code::kUnavailable);
  EXPECT_NE(unknown.message().find("try again"), std::string::npos) << unknown.message();

  answers.set_value();
  EXPECT_TRUE(held_up.get().ok());
  EXPECT_EQ(bytes.Find(Sha256Hex("none")).status().code(), Code::kNotFound);
}

}  // namespace
}  // namespace longrun::coordinator
