#include "sweeps/coordinator_lock.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <optional>
#include <string>

#include "base/checked_line.h"
#include "base/files.h"

namespace longrun {
namespace {

class CoordinatorLockTest : public testing::Test {
 protected:
  std::optional<CoordinatorHolder> Read(const std::string& text) {
    EXPECT_TRUE(WriteFileAtomic(CoordinatorLockPath(folder_.path()), text).ok());
    return ReadCoordinatorLock(folder_.path());
  }

  const TempFolder folder_;
};

TEST_F(CoordinatorLockTest, WhatIsWrittenIsReadAgainAlsoWithAFlippedBit) {
  EXPECT_FALSE(ReadCoordinatorLock(folder_.path()).has_value());
  for (const bool is_momentary : {false, true}) {
    const std::string whole = CoordinatorLockText({.pid = 4194304, .is_momentary = is_momentary});
    for (std::size_t bit = 0; bit <= 8 * whole.size(); ++bit) {
      std::string text = whole;
      if (bit > 0)
        text[(bit - 1) / 8] = static_cast<char>(text[(bit - 1) / 8] ^ (1 << (bit - 1) % 8));
      const auto holder = Read(text);
      ASSERT_TRUE(holder.has_value()) << "bit " << bit;
      EXPECT_EQ(holder->pid, 4194304) << "bit " << bit;
      EXPECT_EQ(holder->is_momentary, is_momentary) << "bit " << bit;
    }
  }
}

TEST_F(CoordinatorLockTest, WhatDoesNotHoldSaysNothing) {
  for (const std::string& text :
       {std::string(), std::string("1234\n"), std::string("1234\nmomentary\n"),
        std::string("1235 crc32c=00000000\n"), std::string(4000, '1'), CheckedLine("0"),
        CheckedLine("-1"), CheckedLine("12x"), CheckedLine("99999999999"), CheckedLine("")}) {
    EXPECT_FALSE(Read(text).has_value()) << text;
  }
}

TEST_F(CoordinatorLockTest, AHolderIsNamedAsLongAsItHoldsTheLock) {
  const CoordinatorHolder other = {.pid = 4194304};
  std::optional<CoordinatorLock> lock = CoordinatorLock::Acquire(folder_.path(), other).value();
  EXPECT_EQ(ReadCoordinatorLock(folder_.path())->pid, 4194304);
  EXPECT_EQ(CoordinatorLock::Acquire(folder_.path(), {.pid = getpid()}).status().code(),
            Code::kUnavailable);
  EXPECT_EQ(ReadCoordinatorLock(folder_.path())->pid, 4194304);

  lock.reset();

  // The next one holds the lock for a moment before its name is there.
  const FileLock next = FileLock::Acquire(CoordinatorLockPath(folder_.path()), "the test").value();
  EXPECT_FALSE(ReadCoordinatorLock(folder_.path()).has_value());
}

TEST_F(CoordinatorLockTest, AHolderThatWasKilledIsNotAlive) {
  const pid_t child = fork();
  if (child == 0) pause();
  ASSERT_GT(child, 0);
  EXPECT_TRUE(IsAlive({.pid = child}));
  ASSERT_EQ(kill(child, SIGKILL), 0);
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  EXPECT_FALSE(IsAlive({.pid = child}));
}

}  // namespace
}  // namespace longrun
