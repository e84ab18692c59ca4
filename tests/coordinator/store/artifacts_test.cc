#include "coordinator/store/artifacts.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <limits>

#include "base/files.h"
#include "base/str.h"

namespace longrun::coordinator {
namespace {

class ArtifactsTest : public testing::Test {
 protected:
  std::unique_ptr<ArtifactStore> Open(std::int64_t low_water = 0, std::int64_t keep_ms = 0) {
    auto opened = ArtifactStore::Open({.folder = JoinPath(folder.path(), "artifacts"),
                                       .disk_low_water_bytes = low_water,
                                       .keep_unreferenced_ms = keep_ms,
                                       .wall_ms = [this] { return wall_ms; }});
    EXPECT_TRUE(opened.ok());
    return std::move(opened).value();
  }
  static Status Put(ArtifactStore& store, const std::string& bytes, const std::string& sha256) {
    ASSIGN_OR_RETURN(auto upload, store.Begin(sha256, static_cast<std::int64_t>(bytes.size())));
    RETURN_IF_ERROR(upload->Write(bytes));
    return upload->Finish();
  }
  std::size_t HalfDone() {
    return ListFolder(JoinPath(folder.path(), "artifacts/tmp")).value().size();
  }

  TempFolder folder;
  std::int64_t wall_ms = 1'700'000'000'000;
};

Result<bool> NotReferenced(const std::string&) { return false; }

TEST_F(ArtifactsTest, WhatWasUploadedIsFoundUnderItsDigest) {
  const auto store = Open();
  const std::string sha256 = Sha256Hex("bytes");

  ASSERT_TRUE(Put(*store, "bytes", sha256).ok());

  EXPECT_TRUE(store->Has(sha256));
  const auto found = store->Find(sha256);
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(ReadFile(found->path).value(), "bytes");
  EXPECT_EQ(HalfDone(), 0u);
}

TEST_F(ArtifactsTest, BytesWithAnotherDigestAreRefusedAndLeaveNothing) {
  const auto store = Open();
  const std::string sha256 = Sha256Hex("bytes");

  EXPECT_EQ(Put(*store, "bytez", sha256).code(), Code::kDataLoss);

  EXPECT_FALSE(store->Has(sha256));
  EXPECT_EQ(HalfDone(), 0u);
}

TEST_F(ArtifactsTest, AnUploadThatEndsEarlyLeavesNothing) {
  const auto store = Open();
  {
    auto upload = store->Begin(Sha256Hex("bytes"), 5);
    ASSERT_TRUE(upload.ok());
    ASSERT_TRUE((*upload)->Write("by").ok());
    EXPECT_EQ((*upload)->Finish().code(), Code::kDataLoss);
  }
  EXPECT_EQ(HalfDone(), 0u);
}

TEST_F(ArtifactsTest, WithoutRoomAnUploadIsRefusedBeforeItBegins) {
  const auto store = Open(std::numeric_limits<std::int64_t>::max() / 2);

  EXPECT_FALSE(store->LacksRoom().has_value());
  EXPECT_EQ(Put(*store, "bytes", Sha256Hex("bytes")).code(), Code::kResourceExhausted);
  EXPECT_EQ(HalfDone(), 0u);
  const std::optional<NoRoom> no_room = store->LacksRoom();
  ASSERT_TRUE(no_room.has_value());
  EXPECT_EQ(no_room->n_bytes, 5);
  EXPECT_EQ(no_room->low_water_bytes, std::numeric_limits<std::int64_t>::max() / 2);
}

TEST_F(ArtifactsTest, ANameThatIsNoDigestNeverBecomesAPath) {
  const auto store = Open();

  EXPECT_EQ(Put(*store, "bytes", "../../escape").code(), Code::kInvalidArgument);
  EXPECT_EQ(store->Find("../../etc/passwd").status().code(), Code::kInvalidArgument);
  EXPECT_FALSE(store->Has("../x"));
}

TEST_F(ArtifactsTest, OnlyWhatNothingRefersToIsRemoved) {
  const auto store = Open();
  const std::string kept = Sha256Hex("kept"), dropped = Sha256Hex("dropped");
  ASSERT_TRUE(Put(*store, "kept", kept).ok());
  ASSERT_TRUE(Put(*store, "dropped", dropped).ok());

  const auto young = store->RemoveUnreferenced(
      {kept, dropped}, [&](const std::string& sha256) -> Result<bool> { return sha256 == kept; });

  EXPECT_TRUE(young.empty());
  EXPECT_EQ(HalfDone(), 0u);
  EXPECT_TRUE(store->Has(kept));
  EXPECT_FALSE(store->Has(dropped));
}

TEST_F(ArtifactsTest, WhatWasAskedForLatelyGoesWhenItsTimeHasCome) {
  const auto store = Open(0, 600'000);
  const std::string sha256 = Sha256Hex("bytes");
  ASSERT_TRUE(Put(*store, "bytes", sha256).ok());
  wall_ms += 500'000;
  ASSERT_TRUE(store->Has(sha256));  // asked for again: ten minutes from here
  wall_ms += 599'999;

  const auto young = store->RemoveUnreferenced({sha256}, NotReferenced);

  ASSERT_EQ(young.size(), 1u);
  EXPECT_EQ(young[0].sha256, sha256);
  EXPECT_EQ(young[0].n_bytes, 5);
  EXPECT_EQ(young[0].may_go_at_ms, wall_ms + 1);
  wall_ms += 1;
  EXPECT_TRUE(store->RemoveUnreferenced({sha256}, NotReferenced).empty());
  EXPECT_FALSE(store->Has(sha256));
}

TEST_F(ArtifactsTest, WhatIsAskedForWhileItIsBeingRemovedStays) {
  const auto store = Open(0, 600'000);
  const std::string sha256 = Sha256Hex("bytes");
  ASSERT_TRUE(Put(*store, "bytes", sha256).ok());
  wall_ms += 600'000;

  const auto young =
      store->RemoveUnreferenced({sha256}, [&](const std::string& asked) -> Result<bool> {
        EXPECT_TRUE(store->Has(asked));  // the core, about to refer to it
        return false;
      });

  EXPECT_EQ(young.size(), 1u);
  EXPECT_TRUE(store->Has(sha256));
}

TEST_F(ArtifactsTest, DamagedBytesAreNotThereUntilGoodOnesCome) {
  const auto store = Open();
  const std::string sha256 = Sha256Hex("bytes");
  const auto go_on = [] { return Status(); };
  ASSERT_TRUE(Put(*store, "bytes", sha256).ok());
  EXPECT_FALSE(store->NoteIfDamaged(sha256, go_on).value());
  ASSERT_TRUE(store->Has(sha256));
  const std::string path = store->Find(sha256)->path;
  ASSERT_TRUE(WriteFileAtomic(path, "bytez").ok());
  const auto stop = [] { return Status(Code::kUnavailable, "stopping"); };
  EXPECT_EQ(store->NoteIfDamaged(sha256, stop).status().code(), Code::kUnavailable);
  ASSERT_TRUE(store->Has(sha256));

  EXPECT_TRUE(store->NoteIfDamaged(sha256, go_on).value());

  EXPECT_FALSE(store->Has(sha256));
  EXPECT_EQ(ReadFile(path).value(), "bytez");  // nobody may have better ones
  ASSERT_TRUE(Put(*store, "bytes", sha256).ok());
  EXPECT_TRUE(store->Has(sha256));
  EXPECT_EQ(ReadFile(path).value(), "bytes");
  EXPECT_EQ(store->NoteIfDamaged(Sha256Hex("others"), go_on).status().code(), Code::kNotFound);
}

TEST_F(ArtifactsTest, DamagedBytesThatAreMendedInTheirPlaceAreThere) {
  const auto store = Open();
  const std::string sha256 = Sha256Hex("bytes");
  ASSERT_TRUE(Put(*store, "bytes", sha256).ok());
  const std::string path = store->Find(sha256)->path;
  ASSERT_TRUE(WriteFileAtomic(path, "bytez").ok());
  ASSERT_TRUE(store->NoteIfDamaged(sha256, [] { return Status(); }).value());
  ASSERT_FALSE(store->Has(sha256));
  ASSERT_TRUE(WriteFileAtomic(path, "bytes").ok());
  EXPECT_TRUE(store->Has(sha256));
}

// Nothing can be opened, so no folder can be synced.
class NoOpenFiles {
 public:
  NoOpenFiles() {
    EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &before_), 0);
    const rlimit none = {.rlim_cur = 0, .rlim_max = before_.rlim_max};
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  }
  ~NoOpenFiles() { EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &before_), 0); }

 private:
  rlimit before_{};
};

TEST_F(ArtifactsTest, BytesWhoseNameCouldNotBeSyncedAreNotThere) {
  const auto store = Open();
  const std::string sha256 = Sha256Hex("bytes");
  ASSERT_TRUE(MakeFolders(JoinPath(folder.path(), "artifacts/" + sha256.substr(0, 2))).ok());
  auto upload = store->Begin(sha256, 5);
  ASSERT_TRUE(upload.ok() && (*upload)->Write("bytes").ok());
  {
    const NoOpenFiles limit;
    EXPECT_EQ((*upload)->Finish().code(), Code::kResourceExhausted);
  }

  EXPECT_FALSE(store->Has(sha256));
  ASSERT_TRUE(Put(*store, "bytes", sha256).ok());
  EXPECT_TRUE(store->Has(sha256));
}

TEST_F(ArtifactsTest, BytesThatWereThereStayWhenASecondUploadCannotBeSynced) {
  const auto store = Open();
  const std::string sha256 = Sha256Hex("bytes");
  ASSERT_TRUE(Put(*store, "bytes", sha256).ok());
  auto upload = store->Begin(sha256, 5);
  ASSERT_TRUE(upload.ok() && (*upload)->Write("bytes").ok());
  {
    const NoOpenFiles limit;
    EXPECT_EQ((*upload)->Finish().code(), Code::kResourceExhausted);
    EXPECT_FALSE(store->Has(sha256));
  }

  EXPECT_TRUE(store->Has(sha256));
}

// The process before may have been killed between the rename of a file and the sync.
TEST_F(ArtifactsTest, BytesOfAnEarlierProcessAreSyncedBeforeTheyCount) {
  const std::string sha256 = Sha256Hex("bytes");
  ASSERT_TRUE(Put(*Open(), "bytes", sha256).ok());
  const auto store = Open();
  {
    const NoOpenFiles limit;
    EXPECT_FALSE(store->Has(sha256));
  }

  EXPECT_TRUE(store->Has(sha256));

  const NoOpenFiles limit;
  EXPECT_TRUE(store->Has(sha256));  // synced once
}

TEST_F(ArtifactsTest, ARemovalThatACrashInterruptedIsFinishedAtTheNextStart) {
  {
    const auto store = Open();
    ASSERT_TRUE(
        WriteFileAtomic(JoinPath(folder.path(), "artifacts/tmp/1"), "taken away", 0600).ok());
  }
  const auto store = Open();

  EXPECT_EQ(HalfDone(), 0u);
}

}  // namespace
}  // namespace longrun::coordinator
