#include "coordinator/garbage.h"

#include <gtest/gtest.h>

#include "coordinator/store/store.h"
#include "tests/coordinator/sample.h"

namespace longrun::coordinator {
namespace {

class GarbageTest : public testing::Test {
 protected:
  GarbageTest() { Start(); }

  // As after a crash: only what is on the disk is known.
  void Start() {
    remover.reset();
    artifacts.reset();
    artifacts = ArtifactStore::Open({.folder = JoinPath(folder.path(), "artifacts"),
                                     .wall_ms = [this] { return wall_ms; }})
                    .value();
    remover = std::make_unique<GarbageRemover>(
        *artifacts, StoreReader::Open(store->database_path()).value(),
        GarbageRemover::Options{.list_path = list_path, .database = database});
  }
  std::string Upload(const std::string& bytes) {
    const std::string sha256 = Sha256Hex(bytes);
    auto upload = artifacts->Begin(sha256, static_cast<std::int64_t>(bytes.size()));
    EXPECT_TRUE(upload.ok() && (*upload)->Write(bytes).ok() && (*upload)->Finish().ok());
    return sha256;
  }
  bool IsThere(const std::string& sha256) { return artifacts->Find(sha256).ok(); }
  // Starts again when all times are over, and looks at what the list names.
  void LookAfterAStart() {
    wall_ms += 3'600'000;
    Start();
    EXPECT_EQ(remover->Look(), -1);
  }

  TempFolder folder;
  const std::string list_path = JoinPath(folder.path(), "dropped_artifacts.json");
  std::string database = "01BX5ZZKBKACTAV9WEVGEMMVRZ/0";
  std::int64_t wall_ms = 1'700'000'000'000;
  std::unique_ptr<Store> store = Store::Open(folder.path()).value();
  std::unique_ptr<ArtifactStore> artifacts;
  std::unique_ptr<GarbageRemover> remover;
};

TEST_F(GarbageTest, WhatIsTooYoungIsLookedAtAgainWhenItMayGo) {
  const std::string sha256 = Upload("bytes");
  remover->Add({sha256});

  const std::int64_t wait_ms = remover->Look();

  EXPECT_EQ(wait_ms, 600'000);  // ArtifactStore::Options::keep_unreferenced_ms
  EXPECT_TRUE(IsThere(sha256));
  wall_ms += wait_ms;
  EXPECT_EQ(remover->Look(), -1);
  EXPECT_FALSE(IsThere(sha256));
}

TEST_F(GarbageTest, OnAFullDiskWhatLostItsLastReferenceGoesAtOnceUnlessItWasJustAskedFor) {
  const std::string dropped = Upload("dropped"), asked_for = Upload("asked for"),
                    unused = Upload("unused");
  remover->AddDropped({dropped, asked_for});
  remover->Add({unused});
  wall_ms += ArtifactStore::kKeepInNeedMs;
  EXPECT_TRUE(artifacts->Has(asked_for));
  remover->Look();
  EXPECT_TRUE(IsThere(dropped));

  remover->MakeRoom();
  EXPECT_EQ(remover->Look(), 600'000 - ArtifactStore::kKeepInNeedMs);  // `unused`

  EXPECT_FALSE(IsThere(dropped));
  EXPECT_TRUE(IsThere(asked_for));
  EXPECT_TRUE(IsThere(unused));
  wall_ms += ArtifactStore::kKeepInNeedMs;
  remover->Look();
  EXPECT_TRUE(IsThere(asked_for));  // the disk has room again
  remover->MakeRoom();
  remover->Look();
  EXPECT_FALSE(IsThere(asked_for));
  EXPECT_TRUE(IsThere(unused));
}

// The database of this start may be an older one, or another: it does not know what it has lost.
TEST_F(GarbageTest, WhatLiesThereAtAStartStaysUntilItIsNamed) {
  const std::string sha256 = Upload("bytes");
  remover->Add({sha256});
  wall_ms += 600'000;
  Start();  // before it came to look

  EXPECT_EQ(remover->Look(), -1);
  EXPECT_TRUE(IsThere(sha256));
  remover->Add({sha256});
  EXPECT_EQ(remover->Look(), -1);
  EXPECT_FALSE(IsThere(sha256));
}

TEST_F(GarbageTest, WhatLostItsLastReferenceGoesInTimeAlsoIfTheCoordinatorWasStartedAgain) {
  const std::string dropped = Upload("dropped");
  remover->AddDropped({dropped});
  EXPECT_EQ(remover->Look(), 600'000);
  wall_ms += 200'000;
  Start();
  EXPECT_EQ(remover->Look(), 400'000);
  EXPECT_TRUE(IsThere(dropped));
  remover->Add({dropped});  // `longrun gc` has found it, too
  EXPECT_EQ(remover->Look(), 400'000);
  LookAfterAStart();
  EXPECT_FALSE(IsThere(dropped));
  EXPECT_FALSE(PathExists(list_path));
}

// Before the thread came to look.
TEST_F(GarbageTest, WhatLostItsLastReferenceJustBeforeAStopIsListed) {
  const std::string dropped = Upload("dropped");
  remover->Start();
  remover->AddDropped({dropped});
  remover.reset();
  LookAfterAStart();
  EXPECT_FALSE(IsThere(dropped));
}

// A row may have referred to them again; if the database is an older copy, it has no such row.
TEST_F(GarbageTest, WhatSomebodyAskedForSinceItWasDroppedStaysAfterAStart) {
  const std::string before = Upload("before the next check"), since = Upload("since then");
  remover->AddDropped({before, since});
  remover->Look();
  wall_ms += 1'000;
  EXPECT_TRUE(artifacts->Has(before));
  remover->Look();
  EXPECT_TRUE(artifacts->Has(since));
  LookAfterAStart();
  EXPECT_TRUE(IsThere(before));
  EXPECT_TRUE(IsThere(since));
}

TEST_F(GarbageTest, WhatAnotherDatabaseDroppedStays) {
  const std::string dropped = Upload("dropped");
  remover->AddDropped({dropped});
  remover->Look();
  for (const char* const other : {"01BX5ZZKBKACTAV9WEVGEMMVRZ/1", "01BX5ZZKBKACTAV9WEVGEMMVS0/0"}) {
    database = other;
    LookAfterAStart();
    EXPECT_TRUE(IsThere(dropped)) << other;
  }
}

TEST_F(GarbageTest, AListThatCannotBeReadNamesNothing) {
  const std::string sha256 = Upload("bytes");
  const std::string begin = Str("{\"database\":\"", database, "\",\"dropped\":");
  for (const std::string& text :
       {std::string(), begin, begin + "[]}", begin + "{\"../../longrun.db\":0}}",
        Str(begin, "{\"", sha256, "\":\"0\"}}"), std::string("[]"), std::string("{}")}) {
    ASSERT_TRUE(WriteFileAtomic(list_path, text).ok());
    LookAfterAStart();
    EXPECT_TRUE(IsThere(sha256)) << text;
  }
}

}  // namespace
}  // namespace longrun::coordinator
