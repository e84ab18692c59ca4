// What of a worker's folder goes by age and size.
#include "worker/agent/garbage.h"

#include <gtest/gtest.h>

#include <string>

#include "base/files.h"

namespace longrun::agent {
namespace {

constexpr std::int64_t kFolderBytes = 4096;

class GarbageTest : public testing::Test {
 protected:
  KeptAttempt Kept(const std::string& id, std::int64_t ended_wall_ms) {
    const std::string path = Fill(JoinPath(JoinPath(state_.path(), "attempts"), id));
    return {.id = id, .path = path, .n_bytes = kFolderBytes, .ended_wall_ms = ended_wall_ms};
  }
  TempFolder state_;

 private:
  static std::string Fill(std::string folder) {
    LR_CHECK(MakeFolders(folder).ok());
    LR_CHECK(WriteFileAtomic(JoinPath(folder, "file"), std::string(kFolderBytes, 'x')).ok());
    return folder;
  }
};

TEST_F(GarbageTest, OldAttemptsGoAndThenTheOldestUntilTheRestFits) {
  const KeptAttempt old = Kept("old", 50), second = Kept("second", 100), third = Kept("third", 200);
  const std::vector<std::string> removed =
      RemoveOldAttempts({third, old, second}, 60, 2 * kFolderBytes);
  EXPECT_EQ(removed, std::vector<std::string>{"old"});
  EXPECT_FALSE(PathExists(old.path));
  EXPECT_TRUE(PathExists(second.path));
  EXPECT_EQ(RemoveOldAttempts({third, second}, 60, 2 * kFolderBytes - 1),
            std::vector<std::string>{"second"});
  EXPECT_TRUE(PathExists(third.path));
}

}  // namespace
}  // namespace longrun::agent
