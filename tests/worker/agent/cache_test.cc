// What the worker keeps of what it has fetched: complete or not there, continued after a break,
// within its budget, and never taken from an attempt that uses it.
#include "worker/agent/cache.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "base/check.h"
#include "base/files.h"
#include "base/folder_size.h"
#include "base/hash.h"
#include "base/random.h"
#include "base/str.h"
#include "model/data/dataset.h"
#include "model/data/dataset_files.h"
#include "tests/commit_seed.h"

namespace longrun::agent {
namespace {

constexpr std::int64_t kAmple = std::int64_t{1} << 40;

class CacheTest : public ::testing::Test {
 protected:
  void Open(std::int64_t bytes_max = kAmple, std::int64_t disk_free_bytes_min = 0) {
    cache_.reset();
    Result<std::unique_ptr<Cache>> cache =
        Cache::Open({.folder = At("cache"),
                     .bytes_max = bytes_max,
                     .disk_free_bytes_min = disk_free_bytes_min});
    ASSERT_TRUE(cache.ok()) << cache.status().message();
    cache_ = std::move(cache).value();
  }
  std::string At(const std::string& name) const { return JoinPath(temp_.path(), name); }

  // A file of the coordinator's.
  ArtifactFile Stored(const std::string& name, const std::string& bytes) {
    const std::string sha256 = Sha256Hex(bytes);
    stored_[sha256] = bytes;
    return {.name = name, .sha256 = sha256, .n_bytes = static_cast<std::int64_t>(bytes.size())};
  }
  CacheItem Checkpoint(const std::string& name, std::size_t n_bytes) {
    const ArtifactFile manifest = Stored("manifest.json", name);
    return {.kind = CacheKind::kCheckpoint,
            .digest = manifest.sha256,
            .files = {manifest, Stored("weights", std::string(n_bytes - name.size(), name[0]))}};
  }
  CacheItem InputFile(const std::string& bytes) {
    ArtifactFile file = Stored("", bytes);
    file.name = file.sha256;
    return {.kind = CacheKind::kInputFile, .digest = file.sha256, .files = {file}};
  }
  CacheItem ImportedDataset(const std::string& text) {
    EXPECT_TRUE(WriteFileAtomic(At("a.txt"), text).ok());
    const std::string folder = At("imported");
    EXPECT_TRUE(RemoveAll(folder).ok());
    EXPECT_TRUE(ImportText({.splits = {{"train", {At("a.txt")}}}}, folder).ok());
    const DatasetListing listing = ListDataset(folder).value();
    for (const ArtifactFile& file : listing.files) {
      stored_[file.sha256] = ReadFile(JoinPath(folder, file.name)).value();
    }
    return {.kind = CacheKind::kDataset, .digest = listing.digest, .files = listing.files};
  }

  // As the artifact service sends it, from the present end of the file on; breaks once
  // `break_after` bytes have come.
  Status Receive(const ArtifactFile& file, const std::string& path) {
    std::string have = PathExists(path) ? ReadFile(path).value() : "";
    const std::string rest =
        stored_.at(file.sha256).substr(std::min(have.size(), stored_.at(file.sha256).size()));
    const auto n = static_cast<std::size_t>(
        std::min(static_cast<std::int64_t>(rest.size()), break_after_ - n_received_));
    n_received_ += static_cast<std::int64_t>(n);
    have += rest.substr(0, n);
    EXPECT_TRUE(WriteFileAtomic(path, have).ok());
    if (n < rest.size()) return Status(Code::kUnavailable, "the stream broke");
    if (Sha256Hex(have) == file.sha256) return Status();
    return Status(Code::kDataLoss, "the stored file is damaged");
  }
  Result<std::optional<std::string>> Get(const CacheItem& item, const std::string& user) {
    return cache_->Get(item, user, [this](const ArtifactFile& file, const std::string& path) {
      return Receive(file, path);
    });
  }
  std::string Got(const CacheItem& item, const std::string& user) {
    const auto got = Get(item, user);
    EXPECT_TRUE(got.ok()) << got.status().message();
    return got.ok() && *got ? **got : "";
  }

  TempFolder temp_;
  std::unique_ptr<Cache> cache_;
  std::map<std::string, std::string> stored_;  // by SHA-256
  std::int64_t n_received_ = 0;
  std::int64_t break_after_ = kAmple;
};

TEST_F(CacheTest, EachKindIsFetchedOnceAndIsWhereAnAttemptLooksForIt) {
  Open();
  const CacheItem checkpoint = Checkpoint("c", 100);
  const CacheItem file = InputFile("questions");
  const CacheItem dataset = ImportedDataset("some text");
  EXPECT_TRUE(cache_->DatasetDigests().empty());
  const std::int64_t version = cache_->datasets_version();

  EXPECT_EQ(Got(checkpoint, "a"), At("cache/" + checkpoint.digest));
  EXPECT_EQ(Got(file, "a"), At("cache/files/" + file.digest));
  EXPECT_EQ(Got(dataset, "a"), At("cache/datasets/" + dataset.digest));

  EXPECT_EQ(ReadFile(At("cache/files/" + file.digest)).value(), "questions");
  EXPECT_EQ(Dataset::Open(At("cache/datasets/" + dataset.digest))->digest(), dataset.digest);
  EXPECT_EQ(cache_->DatasetDigests(), std::vector<std::string>{dataset.digest});
  EXPECT_GT(cache_->datasets_version(), version);
  const std::int64_t n_received = n_received_;
  for (const CacheItem& item : {checkpoint, file, dataset}) {
    EXPECT_TRUE(cache_->Has(item.kind, item.digest));
    Got(item, "b");
  }
  Open();  // the next process
  for (const CacheItem& item : {checkpoint, file, dataset}) {
    EXPECT_TRUE(cache_->Has(item.kind, item.digest));
    Got(item, "b");
  }
  EXPECT_EQ(n_received_, n_received);
  EXPECT_TRUE(ListFolder(At("cache/incoming"))->empty());
}

TEST_F(CacheTest, ABrokenFetchGoesOnWhereItStoppedAlsoInTheNextProcess) {
  Open();
  const CacheItem item = Checkpoint("c", 10'000);
  break_after_ = 4'000;
  const auto broken = Get(item, "a");
  EXPECT_EQ(broken.status().code(), Code::kUnavailable);
  EXPECT_NE(broken.status().message().find("fetching weights of checkpoint"), std::string::npos)
      << broken.status().message();
  EXPECT_FALSE(PathExists(At("cache/" + item.digest)));
  break_after_ = 6'000;
  EXPECT_FALSE(Get(item, "a").ok());

  Open();
  break_after_ = kAmple;
  Got(item, "a");

  EXPECT_EQ(n_received_, 10'000);
}

TEST_F(CacheTest, WrongFirstBytesCostAWholeFetchAndNothingElse) {
  Open();
  const CacheItem item = Checkpoint("c", 1'000);
  break_after_ = 500;
  EXPECT_FALSE(Get(item, "a").ok());
  const std::string part = At("cache/incoming/checkpoint-" + item.digest + "/weights");
  std::string bytes = ReadFile(part).value();
  bytes[7] ^= 1;
  ASSERT_TRUE(WriteFileAtomic(part, bytes).ok());
  break_after_ = kAmple;

  const std::string folder = Got(item, "a");

  EXPECT_EQ(Sha256OfFile(JoinPath(folder, "weights")).value(), item.files[1].sha256);
}

TEST_F(CacheTest, AFlippedBitAtTheSourceIsReportedAndNotUsed) {
  Open();
  const CacheItem item = ImportedDataset("some text that matters");
  const std::string original = stored_.at(item.files[0].sha256);
  stored_.at(item.files[0].sha256)[5'000 % original.size()] ^= 1;

  const auto got = Get(item, "a");

  EXPECT_EQ(got.status().code(), Code::kDataLoss);
  EXPECT_NE(got.status().message().find("train-00000.lrtk of dataset " + item.digest),
            std::string::npos)
      << got.status().message();
  EXPECT_FALSE(PathExists(At("cache/datasets/" + item.digest)));
  stored_.at(item.files[0].sha256) = original;  // somebody has mended it
  Got(item, "a");
}

// Each file is what the coordinator says, but the folder would not be the dataset.
TEST_F(CacheTest, FilesThatAreNotTheNamedDatasetAreNotKept) {
  Open();
  CacheItem item = ImportedDataset("some text");
  item.digest = std::string(64, '0');
  EXPECT_EQ(Get(item, "a").status().code(), Code::kDataLoss);
  EXPECT_TRUE(cache_->DatasetDigests().empty());
  EXPECT_TRUE(ListFolder(At("cache/incoming"))->empty());
}

TEST_F(CacheTest, ADamagedCopyIsFetchedAgain) {
  Open();
  const CacheItem checkpoint = Checkpoint("c", 100);
  const CacheItem dataset = ImportedDataset("some text");
  const auto damage = [](const std::string& path) {
    std::string bytes = ReadFile(path).value();
    bytes.back() ^= 1;
    ASSERT_TRUE(WriteFileAtomic(path, bytes).ok());
  };
  damage(JoinPath(Got(checkpoint, "a"), "weights"));
  Got(checkpoint, "a");
  EXPECT_EQ(n_received_, 200);

  // Only hashing shows this, which happens after an attempt has failed because of its data.
  const std::string shard = JoinPath(Got(dataset, "a"), dataset.files[0].name);
  damage(shard);
  Got(dataset, "b");
  EXPECT_NE(Sha256OfFile(shard).value(), dataset.files[0].sha256);
  cache_->Doubt("b");
  Got(dataset, "c");
  EXPECT_EQ(Sha256OfFile(shard).value(), dataset.files[0].sha256);
}

TEST_F(CacheTest, TheLeastRecentlyUsedGoesAndWhatIsUsedStays) {
  Open(350);
  const CacheItem a = Checkpoint("a", 100), b = Checkpoint("b", 100), c = Checkpoint("c", 100),
                  d = Checkpoint("d", 100), e = Checkpoint("e", 100);
  Got(a, "runs");
  Got(b, "ended");
  Got(c, "ended");
  cache_->KeepUsers({"runs"});
  Got(b, "ended too");  // used later than c
  cache_->KeepUsers({"runs"});

  Got(d, "runs");

  EXPECT_TRUE(cache_->Has(CacheKind::kCheckpoint, a.digest));  // the oldest, but used
  EXPECT_TRUE(cache_->Has(CacheKind::kCheckpoint, b.digest));
  EXPECT_FALSE(cache_->Has(CacheKind::kCheckpoint, c.digest));
  EXPECT_FALSE(PathExists(At("cache/" + c.digest)));
  EXPECT_TRUE(ListFolder(At("cache/removed"))->empty());

  Got(e, "runs");
  EXPECT_FALSE(cache_->Has(CacheKind::kCheckpoint, b.digest));
  const CacheItem f = Checkpoint("f", 100);
  const auto full = Get(f, "runs");
  EXPECT_EQ(full.status().code(), Code::kResourceExhausted);
  EXPECT_NE(full.status().message().find("start the worker with larger --cache-bytes"),
            std::string::npos)
      << full.status().message();
  for (const CacheItem& item : {a, d, e}) {
    EXPECT_TRUE(PathExists(At("cache/" + item.digest)));
  }
}

TEST_F(CacheTest, AnItemLargerThanTheBudgetRemovesNothingThatIsUsedAndFetchesNothing) {
  Open(150);
  const CacheItem a = Checkpoint("a", 100);
  Got(a, "runs");
  const std::int64_t n_received = n_received_;
  EXPECT_EQ(Get(Checkpoint("b", 100), "waits").status().code(), Code::kResourceExhausted);
  EXPECT_EQ(n_received_, n_received);
  EXPECT_TRUE(PathExists(At("cache/" + a.digest)));

  cache_->KeepUsers({});
  EXPECT_EQ(Get(Checkpoint("c", 200), "waits").status().code(), Code::kResourceExhausted);
  EXPECT_TRUE(PathExists(At("cache/" + a.digest)));  // without it, there would be too little, too
}

TEST_F(CacheTest, LinksIntoTheSharedFolderTakeNoRoom) {
  Open(150);
  CacheItem a = Checkpoint("a", 100), b = Checkpoint("b", 100),
            file = InputFile(std::string(100, 'f'));
  const auto link = [this](const ArtifactFile& shared, const std::string& path) {
    const std::string target = At(shared.sha256);
    RETURN_IF_ERROR(WriteFileAtomic(target, stored_.at(shared.sha256)));
    return symlink(target.c_str(), path.c_str()) == 0 ? Status() : ErrnoStatus(errno, path);
  };
  for (CacheItem* const item : {&a, &b, &file}) {
    item->is_linked = true;
    ASSERT_TRUE(cache_->Get(*item, "ended", link).ok());
  }
  cache_->KeepUsers({});
  const auto expect_all = [&] {
    cache_->Trim();
    for (const CacheItem& item : {a, b, file}) EXPECT_TRUE(cache_->Has(item.kind, item.digest));
  };
  expect_all();
  Open(150);  // the next process
  expect_all();
  // Nor do they make room for what is fetched.
  Got(Checkpoint("c", 140), "runs");
  expect_all();
}

TEST_F(CacheTest, WhatAnEarlierProcessUsedSurvivesAndLastUseIsRemembered) {
  Open();
  const CacheItem a = Checkpoint("a", 100), b = Checkpoint("b", 100), file = InputFile("12345");
  const std::string of_a = Got(a, "x");
  const std::string of_b = Got(b, "x");
  const std::string of_file = Got(file, "x");
  const auto set_age = [](const std::string& path, std::int64_t s) {
    const timespec times[2] = {{.tv_sec = s, .tv_nsec = 0}, {.tv_sec = s, .tv_nsec = 0}};
    ASSERT_EQ(utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
  };
  set_age(of_a, 1'000);
  set_age(of_b, 2'000);
  set_age(of_file, 500);

  Open(105);
  cache_->Use("adopted", {of_file, "/elsewhere", JoinPath(of_a, "weights")});
  cache_->KeepUsers({"adopted"});
  cache_->Trim();
  EXPECT_TRUE(PathExists(of_file));
  EXPECT_TRUE(PathExists(of_a));
  EXPECT_FALSE(PathExists(of_b));

  cache_->KeepUsers({});
  Open(100);
  cache_->UseAll("unknown");
  cache_->Trim();
  EXPECT_TRUE(PathExists(of_a));
  cache_->KeepUsers({});
  cache_->Trim();
  EXPECT_FALSE(PathExists(of_file));  // the older of the two
  EXPECT_TRUE(PathExists(of_a));
}

TEST_F(CacheTest, AFullDiskIsToldWithTheRemedyAndNothingIsRemovedInVain) {
  Open();
  const CacheItem a = Checkpoint("a", 100);
  Got(a, "ended");
  cache_->KeepUsers({});
  Open(kAmple, std::int64_t{1} << 60);
  const auto full = Get(Checkpoint("b", 100), "runs");
  EXPECT_EQ(full.status().code(), Code::kResourceExhausted);
  EXPECT_NE(full.status().message().find("must stay free: make room there"), std::string::npos)
      << full.status().message();
  EXPECT_TRUE(PathExists(At("cache/" + a.digest)));
}

TEST_F(CacheTest, TwoThatWantTheSameShareOneFetch) {
  Open();
  const CacheItem item = Checkpoint("c", 100);
  std::mutex mutex;
  std::condition_variable changed;
  bool is_fetching = false, may_go_on = false;
  std::thread first([&] {
    const auto got = cache_->Get(item, "a", [&](const ArtifactFile& file, const std::string& path) {
      std::unique_lock lock(mutex);
      is_fetching = true;
      changed.notify_all();
      changed.wait(lock, [&] { return may_go_on; });
      return Receive(file, path);
    });
    EXPECT_TRUE(got.ok() && got->has_value());
  });
  {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return is_fetching; });
  }
  const auto second = Get(item, "b");
  EXPECT_TRUE(second.ok());
  EXPECT_FALSE(second->has_value());  // ask again later
  {
    const std::scoped_lock lock(mutex);
    may_go_on = true;
  }
  changed.notify_all();
  first.join();
  EXPECT_EQ(Got(item, "b"), At("cache/" + item.digest));
  EXPECT_EQ(n_received_, 100);
}

TEST_F(CacheTest, RemainsOfAnEarlierReleaseAreRemovedAtTheStart) {
  const std::string remains = At("cache/" + Sha256Hex("c") + ".tmp");
  ASSERT_TRUE(MakeFolders(remains).ok());
  Open();
  EXPECT_FALSE(PathExists(remains));
}

TEST_F(CacheTest, RemainsOfADeletionAreRemovedAtTheStart) {
  Open();
  ASSERT_TRUE(MakeFolders(At("cache/removed/1")).ok());
  Open();
  EXPECT_TRUE(ListFolder(At("cache/removed"))->empty());
}

// A budget holds at every moment, whatever is fetched, released and broken off in whatever order.
TEST_F(CacheTest, TheBudgetHoldsUnderARandomLife) {
  constexpr std::uint64_t kLives = 15;
  const std::uint64_t first = longrun::testing::CommitSeed();
  for (std::uint64_t seed = first; seed < first + kLives; ++seed) {
    SCOPED_TRACE(Str("seed ", seed));
    ASSERT_TRUE(RemoveAll(At("cache")).ok());
    SeededRandom random(seed);
    constexpr std::int64_t kBudget = 500;
    Open(kBudget);
    std::vector<CacheItem> items;
    for (const char* const name : {"a", "b", "c", "d", "e", "f", "g"}) {
      items.push_back(Checkpoint(name, 50 + random.Below(200)));
    }
    std::map<std::string, std::set<std::string>> uses;  // user -> digests that it got
    for (int i = 0; i < 40; ++i) {
      const std::string user = Str("user", random.Below(3));
      switch (random.Below(5)) {
        case 0: {
          uses.erase(user);
          std::set<std::string> users;
          for (const auto& [name, digests] : uses) users.insert(name);
          cache_->KeepUsers(users);
          break;
        }
        case 1:
          Open(kBudget);
          uses.clear();
          break;
        default: {
          const CacheItem& item = items[random.Below(items.size())];
          break_after_ = n_received_ + static_cast<std::int64_t>(random.Below(400));
          const auto got = Get(item, user);
          if (got.ok()) uses[user].insert(item.digest);
          if (!got.ok()) uses[user];  // it may hold a part of a fetch
        }
      }
      ASSERT_LE(BytesBelow(At("cache")), kBudget);
      for (const auto& [name, digests] : uses) {
        for (const std::string& digest : digests) {
          ASSERT_TRUE(PathExists(At("cache/" + digest))) << name;
        }
      }
    }
  }
}

}  // namespace
}  // namespace longrun::agent
