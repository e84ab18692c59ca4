// The wall clock is set back by a day while a sweep runs: everything goes on,
// and no duration is of that clock.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/json.h"
#include "base/process.h"
#include "base/str.h"
#include "tests/cli/small_sweep.h"
#include "tests/deadline.h"
#include "tests/wait_until.h"

namespace longrun {
namespace {

constexpr std::int64_t kEndMs = DeadlineMs(60'000);
constexpr std::int64_t kDayMs = 86'400'000;

class ClockTest : public testing::Test {
 protected:
  std::string PathOf(const std::string& name) const { return JoinPath(temp_.path(), name); }

  void Write(const std::string& name, const std::string& text) const {
    ASSERT_TRUE(WriteFileAtomic(PathOf(name), text, 0600).ok());
  }

  int Start(std::vector<std::string> arguments, const std::string& said) const {
    arguments.insert(arguments.begin(), JoinPath(LONGRUN_BIN_DIR, "longrun"));
    const auto pid = Spawn(
        {.argv = std::move(arguments),
         .env = {"PATH=/usr/bin:/bin", "HOME=" + temp_.path(), "LONGRUN_HOME=" + PathOf("home"),
                 Str("LONGRUN_WORKER_TRAINER=", JoinPath(LONGRUN_BIN_DIR, "longrun-fake-trainer")),
                 Str("LD_PRELOAD=", LONGRUN_SHIFTED_CLOCK), "LONGRUN_TEST_CLOCK=" + PathOf("clock"),
                 // The address sanitizer wants to be loaded first, and needs no such thing here.
                 "ASAN_OPTIONS=verify_asan_link_order=0"},
         .stdout_path = PathOf(said),
         .stderr_path = PathOf(said + ".err"),
         .die_with_parent = true});
    EXPECT_TRUE(pid.ok()) << pid.status().message();
    return pid.ok() ? *pid : -1;
  }

  // Its standard output.
  std::string Await(int pid, const std::string& said) const {
    const auto ended = WaitFor(pid, kEndMs);
    const std::string complained = ReadFile(PathOf(said + ".err")).value();
    if (!ended.ok() || !*ended) {
      kill(pid, SIGKILL);
      ADD_FAILURE() << "no end within " << kEndMs << " ms: " << complained;
    } else {
      EXPECT_EQ((*ended)->code, 0) << complained;
    }
    return ReadFile(PathOf(said)).value();
  }

  std::string Longrun(const std::vector<std::string>& arguments) {
    const std::string said = Str("said", ++n_commands_);
    return Await(Start(arguments, said), said);
  }

  TempFolder temp_;
  int n_commands_ = 0;
};

TEST_F(ClockTest, SetBackByADayDuringAnAttemptItChangesNoDuration) {
  const std::string words = SmallText();
  Write("text.txt", words);
  Write("other.txt", "delta " + words);
  Write("sweep.yaml", kSmallSweep);
  Write("clock", "0");
  ASSERT_TRUE(MakeFolders(PathOf("home/worker/cache"), 0700).ok());
  Write("home/worker/cache/behaviour.json", R"({"default": {"gate": "gate"}})");
  Write("home/worker/cache/gate", "");
  Longrun({"data", "import", "words", "--train", PathOf("text.txt"), "--validation",
           PathOf("other.txt")});
  const int run = Start({"run", PathOf("sweep.yaml"), "--cpu-slots", "1", "-o", "csv"}, "run");
  const std::string running = "SELECT count(*) AS n FROM attempts WHERE state = 'RUNNING'";
  ASSERT_TRUE(WaitUntil(kEndMs, [&] {
    return Longrun({"query", running, "-o", "csv"}) == "n\n1\n";
  })) << "no attempt runs";

  Write("clock", Str(-kDayMs));
  ASSERT_TRUE(RemoveAll(PathOf("home/worker/cache/gate")).ok());

  EXPECT_NE(Await(run, "run").find("rope,32,words"), std::string::npos);
  const std::string answer = Longrun(
      {"query", "SELECT duration_ms, duration_clock, ended_ms - started_ms AS wall FROM attempts",
       "-o", "json"});
  const auto attempts = ParseJson(answer);
  ASSERT_TRUE(attempts.ok()) << answer;
  std::int64_t wall_min = 0;
  ASSERT_GE(attempts->size(), 2u) << answer;
  for (const Json& attempt : *attempts) {
    const auto duration_ms = attempt.at("duration_ms").get<std::int64_t>();
    EXPECT_GE(duration_ms, 0) << answer;
    EXPECT_LT(duration_ms, 2 * kEndMs) << answer;
    EXPECT_EQ(attempt.at("duration_clock"), "boot") << answer;
    wall_min = std::min(wall_min, attempt.at("wall").get<std::int64_t>());
  }
  EXPECT_LT(wall_min, -kDayMs / 2) << "the clock was not set back: " << answer;
}

}  // namespace
}  // namespace longrun
