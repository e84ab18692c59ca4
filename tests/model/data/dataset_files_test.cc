#include "model/data/dataset_files.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "base/files.h"
#include "base/hash.h"
#include "model/data/dataset.h"
#include "model/data/tokenizer/tiktoken.h"
#include "tests/model/data/tokenizer/vocabularies.h"

namespace longrun {
namespace {

bool Contains(const Status& status, std::string_view part) {
  return status.message().find(part) != std::string::npos;
}

std::vector<std::string> NamesOf(const DatasetListing& listing) {
  std::vector<std::string> names;
  for (const ArtifactFile& file : listing.files) names.push_back(file.name);
  return names;
}

class DatasetFilesTest : public testing::Test {
 protected:
  std::string Path(const std::string& name) const { return JoinPath(folder_.path(), name); }

  // "train" in two shards, and "validation" in one, of single bytes.
  std::string Import(const std::string& name) {
    EXPECT_TRUE(WriteFileAtomic(Path("a.txt"), "hello world").ok());
    EXPECT_TRUE(WriteFileAtomic(Path("b.txt"), "other").ok());
    const Status status =
        ImportText({.splits = {{"train", {Path("a.txt")}}, {"validation", {Path("b.txt")}}},
                    .shard_tokens = 8},
                   Path(name));
    EXPECT_TRUE(status.ok()) << status.message();
    return Path(name);
  }

  DatasetListing Listing() {
    const Result<DatasetListing> listing = ListDataset(Import("data"));
    EXPECT_TRUE(listing.ok()) << listing.status().message();
    return listing.ok() ? *listing : DatasetListing();
  }

  TempFolder folder_;
};

TEST_F(DatasetFilesTest, ListsEveryFileOfTheFolderWithTheDigestOfItsBytes) {
  const std::string folder = Import("data");

  const Result<DatasetListing> listing = ListDataset(folder);

  ASSERT_TRUE(listing.ok()) << listing.status().message();
  EXPECT_EQ(listing->digest, Dataset::Open(folder)->digest());
  EXPECT_EQ(NamesOf(*listing),
            (std::vector<std::string>{"train-00000.lrtk", "train-00001.lrtk",
                                      "validation-00000.lrtk", "tokenizer.json", "dataset.json"}));
  EXPECT_EQ(ListFolder(folder)->size(), listing->files.size());
  std::int64_t n_bytes = 0;
  for (const ArtifactFile& file : listing->files) {
    const std::string bytes = ReadFile(JoinPath(folder, file.name)).value();
    EXPECT_EQ(file.sha256, Sha256Hex(bytes)) << file.name;
    EXPECT_EQ(file.n_bytes, static_cast<std::int64_t>(bytes.size())) << file.name;
    n_bytes += file.n_bytes;
  }
  EXPECT_EQ(BytesOf(listing->files), n_bytes);
  EXPECT_TRUE(CheckListing(*listing).ok());
  EXPECT_TRUE(CheckListed(folder, *listing).ok());
}

TEST_F(DatasetFilesTest, AVocabularyTravelsToo) {
  const std::string vocabulary = Path("small.tiktoken");
  std::vector<RankedBytes> ranked;
  for (const std::string& bytes : BytesAnd({"he", "ll"})) {
    ranked.push_back({.rank = static_cast<std::uint32_t>(ranked.size()), .bytes = bytes});
  }
  ASSERT_TRUE(WriteFileAtomic(vocabulary, TiktokenText(ranked)).ok());
  ASSERT_TRUE(WriteFileAtomic(Path("a.txt"), "hello").ok());
  ASSERT_TRUE(
      ImportText({.tokenizer = vocabulary, .splits = {{"train", {Path("a.txt")}}}}, Path("data"))
          .ok());

  const Result<DatasetListing> listing = ListDataset(Path("data"));

  ASSERT_TRUE(listing.ok()) << listing.status().message();
  EXPECT_EQ(NamesOf(*listing), (std::vector<std::string>{"train-00000.lrtk", "tokenizer.json",
                                                         "vocabulary.tiktoken", "dataset.json"}));
}

TEST_F(DatasetFilesTest, AFolderThatDiffersFromItsManifestIsNotListed) {
  const std::string folder = Import("data");
  const std::string shard = JoinPath(folder, "train-00000.lrtk");
  const std::string bytes = ReadFile(shard).value();

  ASSERT_TRUE(WriteFileAtomic(shard, bytes.substr(1)).ok());
  const Status shorter = ListDataset(folder).status();
  EXPECT_EQ(shorter.code(), Code::kDataLoss);
  EXPECT_TRUE(Contains(shorter, "train-00000.lrtk: it has ")) << shorter.message();

  ASSERT_EQ(unlink(shard.c_str()), 0);
  const Status missing = ListDataset(folder).status();
  EXPECT_EQ(missing.code(), Code::kDataLoss);
  EXPECT_TRUE(Contains(missing, "train-00000.lrtk: the file is missing")) << missing.message();

  ASSERT_TRUE(MakeFolders(shard).ok());
  EXPECT_TRUE(Contains(ListDataset(folder).status(), "it is not a regular file"));

  ASSERT_TRUE(RemoveAll(shard).ok());
  ASSERT_TRUE(WriteFileAtomic(shard, bytes).ok());
  const std::string tokenizer = JoinPath(folder, "tokenizer.json");
  ASSERT_TRUE(WriteFileAtomic(tokenizer, ReadFile(tokenizer).value() + " ").ok());
  EXPECT_TRUE(Contains(ListDataset(folder).status(), "tokenizer.json: SHA-256 is "));

  EXPECT_EQ(ListDataset(Path("nothing")).status().code(), Code::kNotFound);
}

TEST_F(DatasetFilesTest, AListingFromElsewhereMayOnlyNamePlainAndDifferentFiles) {
  const DatasetListing good = Listing();
  for (const char* const name :
       {"../train", "a/b", "/etc/passwd", ".", "..", "", ".hidden", "a b"}) {
    DatasetListing listing = good;
    listing.files[0].name = name;
    EXPECT_EQ(CheckListing(listing).code(), Code::kInvalidArgument) << name;
  }
  DatasetListing twice = good;
  twice.files[0].name = twice.files[1].name;
  EXPECT_TRUE(Contains(CheckListing(twice), "another one has the same name"));
  DatasetListing digest = good;
  digest.files[0].sha256 = "../../x";
  EXPECT_EQ(CheckListing(digest).code(), Code::kInvalidArgument);
  DatasetListing own = good;
  own.digest = "..";
  EXPECT_EQ(CheckListing(own).code(), Code::kInvalidArgument);
  DatasetListing negative = good;
  negative.files[0].n_bytes = -1;
  EXPECT_EQ(CheckListing(negative).code(), Code::kInvalidArgument);
  DatasetListing huge = good;
  huge.files[0].n_bytes = INT64_MAX;
  EXPECT_EQ(CheckListing(huge).code(), Code::kInvalidArgument);
  DatasetListing without = good;
  without.files.pop_back();
  EXPECT_TRUE(Contains(CheckListing(without), "the last file is \"tokenizer.json\""));
  DatasetListing none = good;
  none.files.clear();
  EXPECT_EQ(CheckListing(none).code(), Code::kInvalidArgument);
  DatasetListing many = good;
  many.files.insert(many.files.begin(), kDatasetFilesMax, many.files[0]);
  EXPECT_TRUE(Contains(CheckListing(many), "expected 1 to 8192"));
}

TEST_F(DatasetFilesTest, AFolderIsTheListedDatasetOnlyIfDigestAndFilesAgree) {
  const std::string folder = Import("data");
  const DatasetListing listing = ListDataset(folder).value();

  DatasetListing other = listing;
  other.digest = std::string(64, '0');
  EXPECT_TRUE(Contains(CheckListed(folder, other), "holds the dataset " + listing.digest));

  DatasetListing more = listing;
  more.files.insert(more.files.begin(), {.name = "extra", .sha256 = std::string(64, '0')});
  EXPECT_EQ(CheckListed(folder, more).code(), Code::kDataLoss);
}

}  // namespace
}  // namespace longrun
