#include "coordinator/store/dataset_folder.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/files.h"
#include "base/str.h"
#include "coordinator/store/store.h"
#include "model/data/dataset.h"
#include "model/data/manifest.h"
#include "tests/coordinator/sample.h"

namespace longrun::coordinator {
namespace {

class DatasetFolderTest : public testing::Test {
 protected:
  DatasetFolderTest() { EXPECT_TRUE(MakeFolders(JoinPath(state, "datasets"), 0700).ok()); }

  // Where a store that is opened on `folder` finds the dataset; first stored in `state` as
  // `stored`, if given.
  static std::string Found(const std::string& folder, const std::string& stored = "",
                           const std::string& digest = SampleDataset().digest) {
    const auto store = Store::Open(folder);
    EXPECT_TRUE(store.ok()) << store.status().message();
    if (!store.ok()) return "";
    if (!stored.empty()) {
      DatasetRow row{.info = SampleDataset(), .folder = stored};
      row.info.digest = digest;
      EXPECT_TRUE((*store)->Begin().ok() && (*store)->PutDataset(row).ok() &&
                  (*store)->Commit().ok());
    }
    const auto datasets = (*store)->LoadDatasets();
    EXPECT_TRUE(datasets.ok() && datasets->size() == 1);
    return datasets.ok() && !datasets->empty() ? datasets->front().folder : "";
  }

  const TempFolder temp;
  const std::string state = JoinPath(temp.path(), "state");
  const std::string own = JoinPath(state, "datasets/toy");
};

TEST_F(DatasetFolderTest, AFolderInTheStateFolderMovesWithIt) {
  EXPECT_EQ(Found(state, own), own);
  const std::string moved = JoinPath(temp.path(), "moved");
  ASSERT_EQ(rename(state.c_str(), moved.c_str()), 0);
  EXPECT_EQ(Found(moved), JoinPath(moved, "datasets/toy"));
}

TEST_F(DatasetFolderTest, AnotherWayToTheStateFolderIsSeen) {
  const std::string link = JoinPath(temp.path(), "link");
  ASSERT_EQ(symlink(state.c_str(), link.c_str()), 0);
  EXPECT_EQ(StoredDatasetFolder(state, JoinPath(link, "datasets/toy")), "datasets/toy");
  EXPECT_EQ(StoredDatasetFolder(link, own), "datasets/toy");
}

TEST_F(DatasetFolderTest, AFolderElsewhereStaysAsItIs) {
  for (const std::string& elsewhere : {std::string("/data/toy"), Str(state, "-2/datasets/toy"),
                                       JoinPath(temp.path(), "datasets/toy"), state}) {
    EXPECT_EQ(StoredDatasetFolder(state, elsewhere), elsewhere);
    EXPECT_EQ(Found(state, elsewhere), elsewhere);
  }
}

// An earlier release stored the absolute path of the state folder of its time.
TEST_F(DatasetFolderTest, AnAbsolutePathOfAnEarlierReleaseMeansTheSameDatasetHere) {
  const std::string text = JoinPath(temp.path(), "a.txt"), before = "/before/datasets/toy";
  ASSERT_TRUE(WriteFileAtomic(text, "some text, and some more of it").ok());
  const Status made = ImportText({.splits = {{"train", {text}}}}, own);
  ASSERT_TRUE(made.ok()) << made.message();
  const std::string digest = ReadManifest(own).value().digest;
  EXPECT_EQ(CurrentDatasetFolder(state, "toy", digest, before), own);
  EXPECT_EQ(Found(state, before, digest), own);
  // Another dataset of this name is not the one that was registered.
  EXPECT_EQ(Found(state, before, Sha256Hex("other")), before);
  EXPECT_EQ(CurrentDatasetFolder(state, "toy", digest, "/before/toy"), "/before/toy");
  EXPECT_EQ(CurrentDatasetFolder(state, "other", digest, before), before);
}

}  // namespace
}  // namespace longrun::coordinator
