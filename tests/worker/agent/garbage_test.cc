// What of a worker's folder goes by age and size.
#include "worker/agent/garbage.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <string>

#include "base/files.h"
#include "base/hash.h"
#include "base/str.h"

namespace longrun::agent {
namespace {

constexpr std::int64_t kFolderBytes = 4096;

class GarbageTest : public testing::Test {
 protected:
  KeptAttempt Kept(const std::string& id, std::int64_t ended_wall_ms) {
    const std::string path = Fill(JoinPath(JoinPath(state_.path(), "attempts"), id));
    return {.id = id, .path = path, .ended_wall_ms = ended_wall_ms};
  }
  std::string Fetched(const std::string& name, std::int64_t at_s) {
    std::string path = Fill(JoinPath(JoinPath(state_.path(), "cache"), Sha256Hex(name)));
    const timespec times[2] = {{.tv_sec = at_s, .tv_nsec = 0}, {.tv_sec = at_s, .tv_nsec = 0}};
    LR_CHECK(utimensat(AT_FDCWD, path.c_str(), times, 0) == 0);
    return path;
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

TEST_F(GarbageTest, TheCacheLosesWhatWasFetchedFirst) {
  const std::string first = Fetched("a", 1'000), second = Fetched("b", 2'000);
  const std::string foreign = JoinPath(JoinPath(state_.path(), "cache"), "notes");
  ASSERT_TRUE(WriteFileAtomic(foreign, "mine").ok());
  TrimCache(state_.path(), 2 * kFolderBytes);
  EXPECT_TRUE(PathExists(first));
  TrimCache(state_.path(), 2 * kFolderBytes - 1);
  EXPECT_FALSE(PathExists(first));
  EXPECT_TRUE(PathExists(second));
  TrimCache(state_.path(), 0);
  EXPECT_FALSE(PathExists(second));
  EXPECT_TRUE(PathExists(foreign));
}

}  // namespace
}  // namespace longrun::agent
