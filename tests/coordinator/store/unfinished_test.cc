// Uploads that break and go on, at the artifact store.
#include "coordinator/store/unfinished.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/random.h"
#include "base/str.h"
#include "coordinator/store/artifacts.h"
#include "tests/commit_seed.h"

namespace longrun::coordinator {
namespace {

constexpr const char* kAda = "token-ada";
constexpr const char* kBob = "token-bob";

class UnfinishedTest : public ::testing::Test {
 protected:
  using Upload = std::unique_ptr<ArtifactStore::Upload>;

  void Reopen() {
    store.reset();
    store = ArtifactStore::Open({.folder = JoinPath(folder.path(), "artifacts")}).value();
  }
  Result<Upload> Begin(const std::string& sender, const std::string& content, std::int64_t offset) {
    ASSIGN_OR_RETURN(Upload upload,
                     store->Resume(sender, Sha256Hex(content), std::ssize(content), offset));
    while (upload->HasUnhashed()) RETURN_IF_ERROR(upload->HashKept());
    return upload;
  }
  // Sends the bytes from `begin` on and breaks before `end`, or finishes if that is their end.
  Status Send(const std::string& sender, const std::string& content, std::size_t begin,
              std::size_t end) {
    ASSIGN_OR_RETURN(const Upload upload, Begin(sender, content, static_cast<std::int64_t>(begin)));
    RETURN_IF_ERROR(upload->Write(std::string_view(content).substr(begin, end - begin)));
    return end == content.size() ? upload->Finish() : Status();
  }
  std::string KeptPath(const std::string& sender, const std::string& content) const {
    return JoinPath(folder.path(), Str("artifacts/unfinished/", sender, "/", Sha256Hex(content)));
  }

  TempFolder folder;
  std::unique_ptr<ArtifactStore> store =
      ArtifactStore::Open({.folder = JoinPath(folder.path(), "artifacts")}).value();
  const std::string bytes = "the quick brown fox";
  const std::string sha256 = Sha256Hex(bytes);
};

TEST_F(UnfinishedTest, AnUploadGoesOnWhereItBrokeAlsoAfterARestart) {
  ASSERT_TRUE(Send(kAda, bytes, 0, 6).ok());
  EXPECT_EQ(store->UnfinishedBytes(kAda, sha256), 6);
  EXPECT_FALSE(store->Has(sha256));

  Reopen();
  EXPECT_EQ(store->UnfinishedBytes(kAda, sha256), 6);
  ASSERT_TRUE(Send(kAda, bytes, 6, bytes.size()).ok());

  ASSERT_TRUE(store->Has(sha256));
  EXPECT_EQ(ReadFile(store->Find(sha256)->path).value(), bytes);
  EXPECT_EQ(store->UnfinishedBytes(kAda, sha256), 0);
  EXPECT_FALSE(PathExists(KeptPath(kAda, bytes)));
}

TEST_F(UnfinishedTest, KeptBytesThatCannotBeReadAreSentAgain) {
  ASSERT_TRUE(Send(kAda, bytes, 0, 6).ok());
  {
    const Upload upload = store->Resume(kAda, sha256, std::ssize(bytes), 6).value();
    ASSERT_EQ(truncate(KeptPath(kAda, bytes).c_str(), 0), 0);
    EXPECT_EQ(upload->HashKept().code(), Code::kAborted);
  }
  EXPECT_FALSE(PathExists(KeptPath(kAda, bytes)));
  EXPECT_TRUE(Send(kAda, bytes, 0, bytes.size()).ok());
}

TEST_F(UnfinishedTest, TheBytesOfOneSenderAreNothingToAnother) {
  ASSERT_TRUE(Send(kAda, bytes, 0, 6).ok());

  EXPECT_EQ(store->UnfinishedBytes(kBob, sha256), 0);
  EXPECT_EQ(Begin(kBob, bytes, 6).status().code(), Code::kAborted);
  EXPECT_TRUE(Send(kBob, bytes, 0, bytes.size()).ok());
}

TEST_F(UnfinishedTest, DamagedBytesOfAnEarlierConnectionAreFoundAtTheEnd) {
  ASSERT_TRUE(Send(kAda, bytes, 0, 6).ok());
  ASSERT_TRUE(WriteFileAtomic(KeptPath(kAda, bytes), "the qu" + std::string(1, '\x01')).ok());
  std::string damaged = bytes.substr(0, 6);
  damaged[2] ^= 1;
  ASSERT_TRUE(WriteFileAtomic(KeptPath(kAda, bytes), damaged).ok());

  EXPECT_EQ(Send(kAda, bytes, 6, bytes.size()).code(), Code::kAborted);

  EXPECT_FALSE(store->Has(sha256));
  EXPECT_EQ(store->UnfinishedBytes(kAda, sha256), 0);
  EXPECT_TRUE(Send(kAda, bytes, 0, bytes.size()).ok());
}

TEST_F(UnfinishedTest, BytesWithAnotherDigestAreNotKept) {
  const Result<Upload> upload = store->Resume(kAda, sha256, 5, 0);
  ASSERT_TRUE(upload.ok());
  ASSERT_TRUE((*upload)->Write("bytez").ok());
  EXPECT_EQ((*upload)->Finish().code(), Code::kDataLoss);
  EXPECT_EQ(store->UnfinishedBytes(kAda, sha256), 0);
}

TEST_F(UnfinishedTest, MoreThanAnnouncedIsNotKept) {
  {
    const Result<Upload> upload = store->Resume(kAda, sha256, 5, 0);
    ASSERT_TRUE(upload.ok());
    ASSERT_TRUE((*upload)->Write("byte").ok());
    EXPECT_EQ((*upload)->Write("s without end").code(), Code::kInvalidArgument);
  }
  EXPECT_EQ(store->UnfinishedBytes(kAda, sha256), 0);
}

TEST_F(UnfinishedTest, OffsetsThatFitNothingAreRefused) {
  ASSERT_TRUE(Send(kAda, bytes, 0, 6).ok());
  EXPECT_EQ(Begin(kAda, bytes, 7).status().code(), Code::kAborted);
  EXPECT_EQ(Begin(kAda, bytes, -1).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(Begin(kAda, bytes, 1'000).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(store->Resume(kAda, "../../escape", 5, 0).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(store->UnfinishedBytes(kAda, "../../escape"), 0);
  // Fewer than there are: the rest is sent again.
  EXPECT_TRUE(Send(kAda, bytes, 2, bytes.size()).ok());
}

TEST_F(UnfinishedTest, ANewerConnectionTakesOverFromOneThatIsNotKnownToBeBroken) {
  const Result<Upload> older = Begin(kAda, bytes, 0);
  ASSERT_TRUE(older.ok());
  ASSERT_TRUE((*older)->Write(std::string_view(bytes).substr(0, 6)).ok());

  ASSERT_TRUE(Send(kAda, bytes, 6, 10).ok());

  EXPECT_EQ((*older)->Write(std::string_view(bytes).substr(6)).code(), Code::kAborted);
  EXPECT_EQ(store->UnfinishedBytes(kAda, sha256), 10);
  EXPECT_TRUE(Send(kAda, bytes, 10, bytes.size()).ok());
}

TEST_F(UnfinishedTest, ATakeoverThatWaitsForTheEarlierConnectionHoldsUpNobodyElse) {
  UnfinishedUploads uploads({.folder = JoinPath(folder.path(), "uploads")});
  const auto older = uploads.Take(kAda, sha256, 0).value();
  std::promise<void> begun, ends;
  auto writing = std::async(std::launch::async, [&] {
    return older->Use([&](int) {  // as on a disk that does not answer
      begun.set_value();
      ends.get_future().wait();
      return Status();
    });
  });
  begun.get_future().wait();
  std::atomic<bool> taken = false;
  auto takeover = std::async(std::launch::async, [&] {
    auto part = uploads.Take(kAda, sha256, 0);
    taken = true;
    return part;
  });

  // Whether or not the takeover has begun to wait: nobody waits for it.
  for (int i = 0; i < 200; ++i) {
    EXPECT_TRUE(uploads.Take(kBob, Sha256Hex(Str(i)), 0).ok());
    uploads.RemoveOld();
  }
  EXPECT_FALSE(taken);

  ends.set_value();
  EXPECT_TRUE(writing.get().ok());
  const auto newer = takeover.get();
  ASSERT_TRUE(newer.ok());
  EXPECT_TRUE((*newer)->Use([](int) { return Status(); }).ok());
  EXPECT_EQ(older->Use([](int) { return Status(); }).code(), Code::kAborted);
}

TEST_F(UnfinishedTest, ATakeoverInVainLeavesNoUploadInProgress) {
  UnfinishedUploads uploads({.folder = JoinPath(folder.path(), "uploads"), .n_live_max = 1});
  const auto older = uploads.Take(kAda, sha256, 0).value();
  EXPECT_EQ(uploads.Take(kAda, sha256, 5).status().code(), Code::kAborted);
  EXPECT_TRUE(uploads.Take(kAda, Sha256Hex("other"), 0).ok());
}

TEST_F(UnfinishedTest, OneSenderHasALimitOfUploadsInProgress) {
  std::vector<Upload> uploads;
  const auto begin = [&](const std::string& sender, int i) {
    const std::string content = Str("content ", i);
    Result<Upload> upload = Begin(sender, content, 0);
    const Code code = upload.status().code();
    if (upload.ok()) uploads.push_back(std::move(upload).value());
    return code;
  };
  for (int i = 0; i < 16; ++i) ASSERT_EQ(begin(kAda, i), Code::kOk) << i;
  EXPECT_EQ(begin(kAda, 16), Code::kResourceExhausted);
  EXPECT_EQ(begin(kBob, 16), Code::kOk);
  uploads.erase(uploads.begin());
  EXPECT_EQ(begin(kAda, 17), Code::kOk);
}

TEST_F(UnfinishedTest, AnnouncedBytesOfOneSenderLeaveRoomForOthers) {
  const std::int64_t room = DiskFreeBytes(folder.path()).value();
  const std::string others = Sha256Hex("others"), third = Sha256Hex("third");
  EXPECT_EQ(store->Resume(kAda, sha256, room / 4 * 3, 0).status().code(), Code::kResourceExhausted);
  const Result<Upload> first = store->Resume(kAda, sha256, room / 10 * 4, 0);
  ASSERT_TRUE(first.ok()) << first.status().message();
  EXPECT_EQ(store->Resume(kAda, others, room / 10 * 4, 0).status().code(),
            Code::kResourceExhausted);
  const Result<Upload> second = store->Resume(kBob, others, room / 10 * 4, 0);
  ASSERT_TRUE(second.ok()) << second.status().message();
  // Of the whole disk, not even a caller on this machine can take what is promised.
  EXPECT_EQ(store->Begin(third, room / 10 * 4).status().code(), Code::kResourceExhausted);
  EXPECT_TRUE(store->Begin(third, room / 20).ok());
}

TEST_F(UnfinishedTest, WhatOneSenderHasSentAndNothingUsesHasALimit) {
  store.reset();
  store = ArtifactStore::Open({.folder = JoinPath(folder.path(), "artifacts"),
                               .unused_bytes_max = 30,
                               .keep_unreferenced_ms = 0})
              .value();
  const std::string other = "another text", third = "a third text";
  ASSERT_TRUE(Send(kAda, bytes, 0, bytes.size()).ok());  // 19 bytes
  const Status refused = Send(kAda, other, 0, other.size());
  EXPECT_EQ(refused.code(), Code::kResourceExhausted);
  EXPECT_NE(refused.message().find("19 bytes that nothing uses yet, of at most 30"),
            std::string::npos)
      << refused.message();
  EXPECT_NE(refused.message().find("--unused-upload-bytes"), std::string::npos);
  EXPECT_TRUE(Send(kBob, other, 0, other.size()).ok());
  // A worker's checkpoints are not limited.
  EXPECT_TRUE(store->Resume(kAda, Sha256Hex(third), std::ssize(third), 0, true).ok());

  // Used, or removed, they do not count any more. An upload that breaks does not count either.
  EXPECT_TRUE(Send(kAda, "0123456789", 0, 5).ok());
  store->RemoveUnreferenced({sha256}, [](const std::string&) -> Result<bool> { return true; });
  ASSERT_TRUE(Send(kAda, third, 0, third.size()).ok());
  EXPECT_EQ(Send(kAda, bytes + "!", 0, bytes.size()).code(), Code::kResourceExhausted);
  store->RemoveUnreferenced({Sha256Hex(third)},
                            [](const std::string&) -> Result<bool> { return false; });
  EXPECT_TRUE(Send(kAda, bytes + "!", 0, bytes.size() + 1).ok());
}

TEST_F(UnfinishedTest, AnUploadThatWasTakenOverOrRepeatedStillCounts) {
  store.reset();
  store =
      ArtifactStore::Open({.folder = JoinPath(folder.path(), "artifacts"), .unused_bytes_max = 30})
          .value();
  const std::string other = "another text";
  {
    Result<Upload> first = Begin(kAda, bytes, 0);  // 19 bytes
    const Result<Upload> second = Begin(kAda, bytes, 0);
    ASSERT_TRUE(first.ok() && second.ok());
    first->reset();
    EXPECT_EQ(Begin(kAda, other, 0).status().code(), Code::kResourceExhausted);
    ASSERT_TRUE((*second)->Write(bytes).ok());
    ASSERT_TRUE((*second)->Finish().ok());
  }
  EXPECT_EQ(Begin(kAda, other, 0).status().code(), Code::kResourceExhausted);

  EXPECT_TRUE(Send(kAda, bytes, 0, 5).ok());  // the same once more, and breaks

  EXPECT_EQ(Begin(kAda, other, 0).status().code(), Code::kResourceExhausted);
}

TEST_F(UnfinishedTest, TheOldestGoBeyondTheLimitsAndAllAfterADay) {
  std::int64_t later_ms = 0;
  UnfinishedUploads uploads({.folder = JoinPath(folder.path(), "limited"),
                             .n_kept_max = 2,
                             .bytes_max = 10,
                             .wall_ms = [&] { return WallMs() + later_ms; }});
  const auto keep = [&](const std::string& sender, const std::string& content, int age_s) {
    const auto part = uploads.Take(sender, Sha256Hex(content), 0);
    ASSERT_TRUE(part.ok());
    EXPECT_TRUE((*part)
                    ->Use([&](int fd) -> Status {
                      const auto n = write(fd, content.data(), content.size());
                      EXPECT_EQ(n, std::ssize(content));
                      const timespec past = {.tv_sec = WallMs() / 1000 - age_s, .tv_nsec = 0};
                      const timespec times[] = {past, past};
                      EXPECT_EQ(futimens(fd, times), 0);
                      return Status();
                    })
                    .ok());
  };
  const auto is_there = [&](const std::string& sender, const std::string& content) {
    return uploads.Bytes(sender, Sha256Hex(content)) > 0;
  };
  keep(kAda, "aaaa", 300);
  keep(kAda, "bbbb", 200);
  keep(kAda, "cc", 100);  // a third one
  EXPECT_FALSE(is_there(kAda, "aaaa"));
  EXPECT_TRUE(is_there(kAda, "bbbb"));
  keep(kAda, "dddddddd", 50);  // 14 bytes in three files
  EXPECT_FALSE(is_there(kAda, "bbbb"));
  EXPECT_TRUE(is_there(kAda, "cc"));
  EXPECT_TRUE(is_there(kAda, "dddddddd"));
  keep(kBob, "eeee", 0);  // of somebody else
  EXPECT_TRUE(is_there(kAda, "cc"));

  const auto live = uploads.Take(kBob, Sha256Hex("ffff"), 0);
  ASSERT_TRUE(live.ok());
  later_ms = 86'400'000 + 60'000;
  uploads.RemoveOld();
  EXPECT_FALSE(is_there(kAda, "cc"));
  EXPECT_FALSE(is_there(kBob, "eeee"));
  EXPECT_TRUE((*live)->Use([](int) { return Status(); }).ok());
  EXPECT_TRUE(PathExists((*live)->path()));
}

// Whatever breaks where: in the end the bytes are there, and nothing else is.
TEST_F(UnfinishedTest, AnyBreaksAndRestartsEndWithTheSameBytes) {
  const std::uint64_t seed = testing::CommitSeed();
  SeededRandom random(seed);
  for (int file = 0; file < 20; ++file) {
    std::string content(random.Below(200'000), '\0');
    for (char& c : content) c = static_cast<char>(random.Below(256));
    const std::string digest = Sha256Hex(content);
    for (int round = 0; !store->Has(digest); ++round) {
      ASSERT_LT(round, 1'000) << "seed " << seed;
      if (random.Below(4) == 0) Reopen();
      const std::int64_t kept = store->UnfinishedBytes(kAda, digest);
      const auto begin = static_cast<std::size_t>(
          random.Below(8) == 0 ? random.Below(static_cast<std::uint64_t>(kept) + 1)
                               : static_cast<std::uint64_t>(kept));
      const std::size_t end =
          std::min(content.size(), begin + random.Below(content.size() / 2 + 2));
      if (random.Below(10) == 0 && kept > 0) {  // a bit of the kept bytes flips
        std::string damaged = ReadFile(KeptPath(kAda, content)).value();
        damaged[random.Below(damaged.size())] ^= static_cast<char>(1 << random.Below(8));
        ASSERT_TRUE(WriteFileAtomic(KeptPath(kAda, content), damaged).ok());
      }
      const Status status = Send(kAda, content, begin, end);
      EXPECT_TRUE(status.ok() || status.code() == Code::kAborted)
          << status.message() << ", seed " << seed;
    }
    EXPECT_EQ(ReadFile(store->Find(digest)->path).value(), content) << "seed " << seed;
    EXPECT_FALSE(PathExists(KeptPath(kAda, content))) << "seed " << seed;
  }
}

}  // namespace
}  // namespace longrun::coordinator
