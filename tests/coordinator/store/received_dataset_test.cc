// What clients may send as a dataset, and what must be refused.
#include "coordinator/store/received_dataset.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "base/files.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/random.h"
#include "base/str.h"
#include "model/data/dataset.h"
#include "model/data/manifest.h"
#include "model/data/prepare.h"
#include "tests/commit_seed.h"

namespace longrun::coordinator {
namespace {

class ReceivedDatasetTest : public ::testing::Test {
 protected:
  ReceivedDatasetTest() {
    made = Import("made", "hello world");
    EXPECT_TRUE(MakeFolders(state).ok());
  }

  std::string At(const std::string& name) const { return JoinPath(folder.path(), name); }

  // "train" in several shards, and "validation" in one.
  std::string Import(const std::string& name, const std::string& text) {
    EXPECT_TRUE(WriteFileAtomic(At("a.txt"), text).ok());
    EXPECT_TRUE(WriteFileAtomic(At("b.txt"), "other").ok());
    const Status status = ImportText(
        {.splits = {{"train", {At("a.txt")}}, {"validation", {At("b.txt")}}}, .shard_tokens = 8},
        At(name));
    EXPECT_TRUE(status.ok()) << status.message();
    return At(name);
  }

  std::string Put(const std::string& bytes) {
    const std::string sha256 = Sha256Hex(bytes);
    auto upload = store->Begin(sha256, std::ssize(bytes));
    EXPECT_TRUE(upload.ok());
    EXPECT_TRUE((*upload)->Write(bytes).ok());
    EXPECT_TRUE((*upload)->Finish().ok());
    return sha256;
  }
  // Sends the dataset's files, without one if it is named.
  DatasetListing Sent(const std::string& dataset, const std::string& without = "") {
    DatasetListing listing = ListDataset(dataset).value();
    for (const ArtifactFile& file : listing.files) {
      if (file.name != without) Put(ReadFile(JoinPath(dataset, file.name)).value());
    }
    return listing;
  }
  // Replaces the content of a file of the listing, as a client could.
  void Replace(DatasetListing& listing, std::size_t index, const std::string& bytes) {
    listing.files[index].sha256 = Put(bytes);
    listing.files[index].n_bytes = std::ssize(bytes);
  }

  Result<ReceivedDataset> Receive(const DatasetListing& listing) {
    return ReceiveDataset(*store, state, "mine", listing);
  }
  // Everything below STATE/datasets, also what is hidden.
  std::vector<std::string> Left() const {
    const std::string datasets = JoinPath(state, "datasets");
    return IsFolder(datasets) ? ListFolder(datasets).value() : std::vector<std::string>();
  }

  TempFolder folder;
  std::string state = At("state");
  std::unique_ptr<ArtifactStore> store =
      ArtifactStore::Open({.folder = At("artifacts"), .keep_unreferenced_ms = 0}).value();
  std::string made;
};

TEST_F(ReceivedDatasetTest, TheSameFilesMakeTheSameDataset) {
  const DatasetListing listing = Sent(made);

  const Result<ReceivedDataset> received = Receive(listing);

  ASSERT_TRUE(received.ok()) << received.status().message();
  EXPECT_TRUE(received->is_new);
  EXPECT_EQ(received->folder, JoinPath(state, "datasets/mine"));
  EXPECT_EQ(ListFolder(received->folder).value(), ListFolder(made).value());
  EXPECT_EQ(Left(), std::vector<std::string>{"mine"});
  // The dataset does not need the store any more.
  for (const ArtifactFile& file : listing.files) {
    store->RemoveUnreferenced({file.sha256},
                              [](const std::string&) -> Result<bool> { return false; });
    EXPECT_FALSE(store->Has(file.sha256));
  }
  const Result<Dataset> dataset = Dataset::Open(received->folder);
  ASSERT_TRUE(dataset.ok());
  EXPECT_TRUE(dataset->Verify().ok());
  EXPECT_EQ(dataset->digest(), listing.digest);
}

TEST_F(ReceivedDatasetTest, RemainsOfACrashAreFinished) {
  const DatasetListing listing = Sent(made);
  ASSERT_TRUE(MakeFolders(JoinPath(state, "datasets/.mine.receiving/rest")).ok());
  ASSERT_TRUE(Receive(listing).ok());
  // Published, but not registered.
  const Result<ReceivedDataset> again = Receive(listing);
  ASSERT_TRUE(again.ok());
  EXPECT_FALSE(again->is_new);
  EXPECT_EQ(Left(), std::vector<std::string>{"mine"});
}

// Asked after any number of questions, it ends with the answer, and leaves nothing.
TEST_F(ReceivedDatasetTest, WorkThatIsNotWantedAnyMoreEnds) {
  const DatasetListing listing = Sent(made);
  int n_before = 0;
  for (bool ends = true; ends; ++n_before) {
    ASSERT_LT(n_before, 1'000);
    int n_asked = 0;
    const Result<ReceivedDataset> received = ReceiveDataset(*store, state, "mine", listing, [&] {
      return n_asked++ < n_before ? Status() : Status(Code::kCancelled, "not wanted");
    });
    ends = !received.ok();
    if (!ends) break;
    EXPECT_EQ(received.status().code(), Code::kCancelled) << received.status().message();
    EXPECT_EQ(n_asked, n_before + 1);
    EXPECT_TRUE(Left().empty());
  }
  // For each file, and more than once for the tokens of each split.
  EXPECT_GE(n_before, static_cast<int>(listing.files.size()) + 4);
  // Also for a folder that is there already.
  EXPECT_EQ(ReceiveDataset(*store, state, "mine", listing,
                           [] { return Status(Code::kCancelled, "not wanted"); })
                .status()
                .code(),
            Code::kCancelled);
  EXPECT_EQ(Left(), std::vector<std::string>{"mine"});
}

TEST_F(ReceivedDatasetTest, AFolderWithOtherContentStaysAsItIs) {
  const DatasetListing listing = Sent(made);
  ASSERT_TRUE(Receive(listing).ok());
  const DatasetListing other = Sent(Import("other", "another world"));

  const Result<ReceivedDataset> refused = Receive(other);

  EXPECT_EQ(refused.status().code(), Code::kAlreadyExists);
  EXPECT_EQ(Dataset::Open(JoinPath(state, "datasets/mine"))->digest(), listing.digest);
}

// `longrun data rm` removes the remains of an import, but no files of somebody else's.
TEST_F(ReceivedDatasetTest, TheErrorNamesTheRemovalOnlyWhereItWouldRemoveTheFolder) {
  const DatasetListing listing = Sent(made);
  const std::string mine = JoinPath(state, "datasets/mine");
  ASSERT_TRUE(MakeFolders(mine).ok());
  ASSERT_TRUE(WriteFileAtomic(JoinPath(mine, "notes.txt"), "mine").ok());
  const std::string own = Receive(listing).status().message();
  EXPECT_TRUE(own.ends_with(" has files that no import made: choose another name")) << own;

  ASSERT_TRUE(RemoveAll(JoinPath(mine, "notes.txt")).ok());
  ASSERT_TRUE(MakeFolders(JoinPath(mine, "import.tmp")).ok());
  const std::string rest = Receive(listing).status().message();
  EXPECT_NE(rest.find("`longrun data rm mine`"), std::string::npos) << rest;
}

// The sizes of the listing count for the dataset's owner, also if the folder is there already.
TEST_F(ReceivedDatasetTest, AFolderThatIsThereIsUsedOnlyForTheListingOfAllItsFiles) {
  const DatasetListing listing = Sent(made);
  ASSERT_TRUE(Receive(listing).ok());
  std::vector<DatasetListing> wrong;
  wrong.push_back({.digest = listing.digest, .files = {listing.files.back()}});
  wrong.back().files[0].n_bytes = 0;
  for (std::size_t i = 0; i < listing.files.size(); ++i) {
    wrong.push_back(listing);
    wrong.back().files[i].n_bytes = 0;
    wrong.push_back(listing);
    wrong.back().files.erase(wrong.back().files.begin() + static_cast<std::ptrdiff_t>(i));
  }

  for (std::size_t i = 0; i < wrong.size(); ++i) {
    EXPECT_FALSE(Receive(wrong[i]).ok()) << "case " << i;
  }

  EXPECT_TRUE(Receive(listing).ok());
  EXPECT_EQ(Left(), std::vector<std::string>{"mine"});
}

// The dataset that is sent again replaces a damaged one, and nothing else.
TEST_F(ReceivedDatasetTest, WhatIsReceivedAgainReplacesTheFolderOrChangesNothing) {
  const DatasetListing listing = Sent(made);
  const std::string stored = Receive(listing).value().folder;
  const std::string shard = JoinPath(stored, listing.files[0].name);
  const auto go_on = [] { return Status(); };
  EXPECT_TRUE(CheckStored(stored, listing.digest, go_on).ok());
  EXPECT_EQ(CheckStored(stored, Sha256Hex("another"), go_on).code(), Code::kDataLoss);
  EXPECT_EQ(CheckStored(stored, Sha256Hex("another"), go_on).message().find(stored),
            std::string::npos);
  // What could not be checked is not called damaged.
  EXPECT_EQ(CheckStored(stored, listing.digest,
                        [] { return Status(Code::kResourceExhausted, "too many open files"); })
                .code(),
            Code::kResourceExhausted);
  ASSERT_TRUE(RemoveAll(shard).ok());
  EXPECT_EQ(CheckStored(stored, listing.digest, go_on).code(), Code::kDataLoss);
  ASSERT_TRUE(MakeFolder(shard).ok());
  EXPECT_EQ(CheckStored(stored, listing.digest, go_on).code(), Code::kDataLoss);
  ASSERT_TRUE(RemoveAll(shard).ok());

  const auto again = [&](const std::function<Status()>& asked) {
    return ReceiveAgain(*store, state, "mine", listing, asked);
  };
  EXPECT_EQ(again([] { return Status(Code::kCancelled, "not wanted"); }).status().code(),
            Code::kCancelled);
  EXPECT_FALSE(PathExists(shard));
  {
    const Removal running = Removal::Begin(stored).value();
    EXPECT_EQ(again(go_on).status().code(), Code::kUnavailable);
  }
  const Result<ReceivedDataset> received = again(go_on);
  ASSERT_TRUE(received.ok()) << received.status().message();
  EXPECT_EQ(received->folder, stored);
  EXPECT_FALSE(received->is_new);
  EXPECT_TRUE(CheckStored(stored, listing.digest, go_on).ok());
  EXPECT_EQ(ListFolder(stored).value(), ListFolder(made).value());
  EXPECT_EQ(Left(), std::vector<std::string>{"mine"});

  ASSERT_TRUE(RemoveAll(stored).ok());
  EXPECT_TRUE(again(go_on).value().is_new);
}

// A file that is damaged has the same bytes under all of its names.
TEST_F(ReceivedDatasetTest, ADamagedArtifactMustBeSentAgain) {
  const DatasetListing listing = Sent(made);
  const std::string stored = Receive(listing).value().folder;
  const ArtifactFile& shard = listing.files[0];
  const std::string bytes = ReadFile(JoinPath(made, shard.name)).value();
  ASSERT_EQ(truncate(JoinPath(stored, shard.name).c_str(), 0), 0);
  ASSERT_EQ(truncate(JoinPath(stored, shard.name).c_str(), std::ssize(bytes)), 0);
  const auto again = [&] {
    return ReceiveAgain(*store, state, "mine", listing, [] { return Status(); });
  };

  const Status refused = again().status();
  EXPECT_EQ(refused.code(), Code::kFailedPrecondition);
  EXPECT_NE(refused.message().find(shard.name), std::string::npos) << refused.message();
  EXPECT_FALSE(store->Has(shard.sha256));
  EXPECT_TRUE(store->Has(listing.files[1].sha256));
  Put(bytes);
  EXPECT_TRUE(again().ok());
  EXPECT_EQ(ReadFile(JoinPath(stored, shard.name)).value(), bytes);
  // Only a damaged artifact goes.
  EXPECT_FALSE(store->DropDamaged(shard.sha256, JoinPath(made, shard.name)));
  EXPECT_TRUE(store->Has(shard.sha256));
}

TEST_F(ReceivedDatasetTest, AMissingFileIsNamed) {
  const Result<ReceivedDataset> refused = Receive(Sent(made, "train-00001.lrtk"));
  EXPECT_EQ(refused.status().code(), Code::kFailedPrecondition);
  EXPECT_NE(refused.status().message().find("train-00001.lrtk"), std::string::npos);
  EXPECT_TRUE(Left().empty());
}

TEST_F(ReceivedDatasetTest, WhatAHostileClientCouldSendIsRefusedAndLeavesNothing) {
  const DatasetListing good = Sent(made);
  const std::size_t last = good.files.size() - 1;
  const std::string shard = ReadFile(JoinPath(made, good.files[0].name)).value();
  const std::string manifest = ReadFile(JoinPath(made, std::string(kManifestName))).value();
  const std::string secret = Put("secret");
  // With a manifest that was changed and sealed again; its digest is that of the listing.
  const auto with_manifest = [&](const std::function<void(Json&)>& change) {
    DatasetListing listing = good;
    Json json = ParseJson(manifest).value();
    change(json);
    listing.digest = json["digest"].get<std::string>();
    Replace(listing, last, SealedManifest(json));
    return listing;
  };
  const auto digest_of = [](const Json& json) {
    std::vector<SplitIdentity> splits;
    for (const Json& split : json["splits"]) {
      splits.push_back({.name = split["name"].get<std::string>(),
                        .n_tokens = split["n_tokens"].get<std::int64_t>(),
                        .n_documents = split["n_documents"].get<std::int64_t>(),
                        .tokens_sha256 = split["tokens_sha256"].get<std::string>(),
                        .documents_sha256 = split["documents_sha256"].get<std::string>()});
    }
    return DatasetDigest(json["tokenizer"]["fingerprint"].get<std::string>(), splits);
  };
  const auto with_tokenizer = [&](const std::function<void(Json&)>& change) {
    Json facts = ParseJson(ReadFile(JoinPath(made, "tokenizer.json")).value()).value();
    change(facts);
    const std::string text = CanonicalJson(facts);
    DatasetListing listing =
        with_manifest([&](Json& json) { json["tokenizer"]["sha256"] = Sha256Hex(text); });
    EXPECT_EQ(listing.files[last - 1].name, "tokenizer.json");
    Replace(listing, last - 1, text);
    return listing;
  };
  std::vector<DatasetListing> wrong;
  for (const char* const name :
       {"../escape", "/etc/passwd", "..", ".", "", ".hidden", "a/b", "dataset.json",
        "tokenizer.json", "train-00001.lrtk", "a\nb", "a\\b"}) {
    const auto change = [&](Json& json) { json["splits"][0]["shards"][0]["file"] = name; };
    wrong.push_back(good);
    wrong.back().files[0].name = name;
    wrong.push_back(with_manifest(change));
    wrong.push_back(with_manifest(change));
    wrong.back().files[0].name = name;
  }
  for (const char* const digest :
       {"", "x", "../../../../../../../../../../../../../../../../../../etc/passwd"}) {
    wrong.push_back(good);
    wrong.back().digest = digest;
    wrong.push_back(good);
    wrong.back().files[0].sha256 = digest;
  }
  // The digest of another dataset: its results would be taken for the other's.
  const std::string other = ListDataset(Import("other", "another world"))->digest;
  wrong.push_back(good);
  wrong.back().digest = other;
  wrong.push_back(with_manifest([&](Json& json) { json["digest"] = other; }));
  // All fits together, but not the tokens.
  wrong.push_back(with_manifest([&](Json& json) {
    json["splits"][0]["tokens_sha256"] = Sha256Hex("another text");
    json["digest"] = digest_of(json);
  }));
  wrong.push_back(with_manifest([&](Json& json) {
    json["tokenizer"]["fingerprint"] = Sha256Hex("another tokenizer");
    json["digest"] = digest_of(json);
  }));
  // Facts that the digest does not cover, and that would change numbers.
  wrong.push_back(with_tokenizer([](Json& facts) { facts["token_bytes"][65] = 2; }));
  wrong.push_back(with_tokenizer([](Json& facts) { facts["eot_id"] = 7; }));
  wrong.push_back(with_tokenizer([](Json& facts) { facts["bos_id"] = 7; }));
  wrong.push_back(with_tokenizer([](Json& facts) { facts["n_tokens"] = 3; }));
  // A name that would make the coordinator open a file.
  const TempFolder elsewhere;
  const std::string vocabulary = JoinPath(elsewhere.path(), "vocabulary.json");
  ASSERT_TRUE(WriteFileAtomic(vocabulary, "{}").ok());
  wrong.push_back(with_tokenizer([&](Json& facts) { facts["name"] = vocabulary; }));
  // Files that are not what their place needs, and more or fewer of them.
  wrong.push_back(good);
  wrong.back().files[0] = {.name = good.files[0].name, .sha256 = secret, .n_bytes = 6};
  wrong.push_back(good);
  wrong.back().files[0].n_bytes += 1;
  wrong.push_back(good);
  wrong.back().files[0].n_bytes = -1;
  wrong.push_back(good);
  wrong.back().files.insert(wrong.back().files.begin(),
                            {.name = "more", .sha256 = secret, .n_bytes = 6});
  wrong.push_back(good);
  wrong.back().files.pop_back();
  wrong.push_back(good);
  wrong.back().files.erase(wrong.back().files.begin());
  wrong.push_back(good);
  wrong.back().files.clear();
  wrong.push_back(good);
  wrong.back().files.insert(wrong.back().files.begin(), 10'000, good.files[0]);
  wrong.push_back(good);
  Replace(wrong.back(), last, std::string(5'000, '['));
  wrong.push_back(good);
  Replace(wrong.back(), last, "{}");
  wrong.push_back(good);
  Replace(wrong.back(), 0, shard.substr(0, shard.size() / 2));

  for (std::size_t i = 0; i < wrong.size(); ++i) {
    const Result<ReceivedDataset> refused = Receive(wrong[i]);
    EXPECT_FALSE(refused.ok()) << "case " << i;
    EXPECT_TRUE(Left().empty()) << "case " << i;
    EXPECT_EQ(refused.status().message().find(folder.path()), std::string::npos)
        << "case " << i << ": " << refused.status().message();
  }
  EXPECT_EQ(ListFolder(folder.path()).value(),
            (std::vector<std::string>{"a.txt", "artifacts", "b.txt", "made", "other", "state"}));
  EXPECT_TRUE(Receive(good).ok());
}

void ExpectSameTexts(const std::string& a_folder, const std::string& b_folder) {
  const Dataset a = Dataset::Open(a_folder).value(), b = Dataset::Open(b_folder).value();
  EXPECT_EQ(a.split_names(), b.split_names());
  EXPECT_TRUE(std::ranges::equal(a.token_bytes(), b.token_bytes()));
  EXPECT_EQ(std::tuple(a.vocab_size(), a.n_tokens(), a.eot_id(), a.bos_id(), a.mask_id()),
            std::tuple(b.vocab_size(), b.n_tokens(), b.eot_id(), b.bos_id(), b.mask_id()));
  for (const std::string& name : a.split_names()) {
    const TokenSplit& of_a = **a.Split(name);
    const TokenSplit& of_b = **b.Split(name);
    EXPECT_TRUE(std::ranges::equal(of_a.document_starts(), of_b.document_starts()));
    std::vector<std::int32_t> a_ids(static_cast<std::size_t>(of_a.n_tokens()));
    std::vector<std::int32_t> b_ids(static_cast<std::size_t>(of_b.n_tokens()));
    EXPECT_TRUE(of_a.Read(0, a_ids).ok() && of_b.Read(0, b_ids).ok());
    EXPECT_EQ(a_ids, b_ids);
  }
}

// Bytes of any file are changed, and sent under their true digest.
TEST_F(ReceivedDatasetTest, ChangedBytesNeverChangeTheTextsOfADigest) {
  const std::uint64_t seed = testing::CommitSeed();
  SeededRandom random(seed);
  const DatasetListing good = Sent(made);
  for (int round = 0; round < 60; ++round) {
    DatasetListing listing = good;
    const std::size_t index = random.Below(listing.files.size());
    const std::string name = listing.files[index].name;
    std::string bytes = ReadFile(JoinPath(made, name)).value();
    const std::string before = bytes;
    const std::size_t at = random.Below(bytes.size());
    switch (random.Below(4)) {
      case 0:
        bytes[at] ^= static_cast<char>(1 << random.Below(8));
        break;
      case 1:
        bytes.erase(at, 1 + random.Below(20));
        break;
      case 2:
        bytes.insert(at, std::string(1 + random.Below(20), static_cast<char>(random.Below(256))));
        break;
      default:
        bytes.resize(at);
    }
    if (bytes == before) continue;
    Replace(listing, index, bytes);
    if (name != kManifestName && random.Below(2) == 0) {  // with a manifest that agrees
      std::string manifest = ReadFile(JoinPath(made, std::string(kManifestName))).value();
      const std::string& old_sha256 = good.files[index].sha256;
      if (const std::size_t found = manifest.find(old_sha256); found != std::string::npos) {
        manifest.replace(found, old_sha256.size(), listing.files[index].sha256);
      }
      Json json = ParseJson(manifest).value();
      for (Json& split : json["splits"]) {
        for (Json& one : split["shards"]) {
          if (one["file"] == name) one["bytes"] = std::ssize(bytes);
        }
      }
      Replace(listing, listing.files.size() - 1, SealedManifest(json));
    }
    const Result<ReceivedDataset> received = Receive(listing);
    if (received.ok()) {  // bytes that no reader looks at, such as spaces in dataset.json
      SCOPED_TRACE(Str(name, ", round ", round, ", seed ", seed));
      ExpectSameTexts(made, received->folder);
      ASSERT_TRUE(RemoveAll(received->folder).ok());
    }
    EXPECT_TRUE(Left().empty()) << name << ", round " << round << ", seed " << seed;
  }
}

}  // namespace
}  // namespace longrun::coordinator
