// Commands that run at the same instant on a state folder without a service: each starts a momentary
// coordinator, or reaches that of another one which is about to end. Every one must be answered.
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/process.h"
#include "base/str.h"
#include "tests/deadline.h"

namespace longrun {
namespace {

constexpr int kAtOnce = 6;
constexpr int kRounds = 3;
constexpr std::int64_t kEndMs = DeadlineMs(60'000);

// The exit code, or -1 and a failure when it hangs.
int ExitOf(int pid) {
  const Result<std::optional<ExitInfo>> exited = WaitFor(pid, kEndMs);
  EXPECT_TRUE(exited.ok()) << exited.status().message();
  if (!exited.ok() || !exited->has_value()) return -1;
  return (*exited)->code;
}

TEST(AtOnceTest, SixReadingCommandsOnAFolderWithoutAServiceAreAllAnswered) {
  const TempFolder folder;
  const std::string state = JoinPath(folder.path(), "home");
  for (int round = 0; round < kRounds; ++round) {
    std::vector<int> pids;
    pids.reserve(kAtOnce);
    for (int i = 0; i < kAtOnce; ++i) {
      const std::string output = JoinPath(folder.path(), Str("out.", i));
      const Result<int> pid = Spawn(
          {.argv = {JoinPath(LONGRUN_BIN_DIR, "longrun"), "--state", state, "ls", "-o", "csv"},
           .env = {},
           .stdout_path = output,
           .stderr_path = output});
      ASSERT_TRUE(pid.ok()) << pid.status().message();
      pids.push_back(*pid);
    }
    for (int i = 0; i < kAtOnce; ++i) {
      const int code = ExitOf(pids[static_cast<std::size_t>(i)]);
      const Result<std::string> said = ReadFile(JoinPath(folder.path(), Str("out.", i)));
      ASSERT_TRUE(said.ok()) << said.status().message();
      EXPECT_EQ(code, 0) << "round " << round << ", command " << i << " said: " << *said;
    }
  }
}

}  // namespace
}  // namespace longrun
