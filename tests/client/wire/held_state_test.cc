#include "client/wire/held_state.h"

#include <gtest/gtest.h>

#include <optional>

#include "base/files.h"
#include "base/str.h"

namespace longrun::client {
namespace {

class HeldStateTest : public testing::Test {
 protected:
  HeldStateTest() {
    for (const char* const name : {"coordinator.lock", "longrun.db", "coordinator.address"}) {
      LR_CHECK(MakeFolders(state).ok() && WriteFileAtomic(JoinPath(state, name), "a").ok());
    }
    held.emplace(HeldState::Open(state).value());
  }
  void ExpectGone(std::string_view how) {
    const Status status = held->Check();
    EXPECT_EQ(status.code(), Code::kFailedPrecondition);
    EXPECT_TRUE(status.message().starts_with(Str("the state folder ", state, " was ", how)))
        << status.message();
  }

  TempFolder folder;
  std::string state = JoinPath(folder.path(), "state");
  std::optional<HeldState> held;
};

TEST_F(HeldStateTest, WhatADaemonWritesAnewLeavesItInPlace) {
  ASSERT_TRUE(WriteFileAtomic(JoinPath(state, "coordinator.address"), "b").ok());

  EXPECT_TRUE(held->Check().ok());
}

TEST_F(HeldStateTest, DeletedItIsGoneForGood) {
  ASSERT_TRUE(RemoveAll(state).ok());
  ExpectGone("deleted");

  ASSERT_TRUE(MakeFolders(state).ok());
  ExpectGone("deleted");
}

TEST_F(HeldStateTest, MovedItSaysWhereItLies) {
  const std::string moved = JoinPath(folder.path(), "moved");
  ASSERT_TRUE(RenameSync(state, moved).ok());

  ExpectGone(Str("moved to ", moved));
}

TEST_F(HeldStateTest, AReplacedDatabaseIsNotTheOneThatWasStoredInto) {
  ASSERT_TRUE(WriteFileAtomic(JoinPath(state, "longrun.db"), "b").ok());

  ExpectGone("emptied, or its database replaced");
}

}  // namespace
}  // namespace longrun::client
