// Child processes, with the tools that every machine has as children.
#include "base/process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include "base/files.h"
#include "base/str.h"

namespace longrun {
namespace {

// Runs a program to its end; what it wrote is in `output`.
struct Ran {
  Status status;
  ExitInfo info;
  std::string output;
};

Ran RunProgram(SpawnOptions options) {
  const TempFolder folder;
  const std::string path = JoinPath(folder.path(), "out");
  options.stdout_path = path;
  options.stderr_path = path;
  const Result<int> pid = Spawn(options);
  if (!pid.ok()) return {.status = pid.status(), .info = {}, .output = ""};
  const Result<std::optional<ExitInfo>> info = WaitFor(*pid, -1);
  EXPECT_TRUE(info.ok() && info->has_value());
  return {.status = {}, .info = **info, .output = ReadFile(path).value()};
}

Ran RunShell(const std::string& script, SpawnOptions options = {}) {
  options.argv = {"/bin/sh", "-c", script};
  return RunProgram(std::move(options));
}

TEST(SpawnTest, ExitCodeComesBack) {
  EXPECT_EQ(RunShell("exit 7").info.code, 7);
  const Ran killed = RunShell("kill -9 $$");
  EXPECT_EQ(killed.info.code, -1);
  EXPECT_EQ(killed.info.signal, SIGKILL);
}

TEST(SpawnTest, ArgumentsReachTheProgramUntouched) {
  const Ran ran = RunProgram({.argv = {"/usr/bin/printf", "%s|", "a b", "$HOME; `x`", ""}});
  EXPECT_EQ(ran.output, "a b|$HOME; `x`||");
}

TEST(SpawnTest, EnvironmentIsExactlyTheOneGiven) {
  ASSERT_EQ(setenv("LONGRUN_TEST_SECRET", "x", 1), 0);
  const Ran ran = RunProgram({.argv = {"/usr/bin/env"}, .env = {"A=1", "B=two words"}});
  EXPECT_EQ(ran.output, "A=1\nB=two words\n");
  EXPECT_EQ(GetEnv("LONGRUN_TEST_SECRET"), "x");
  EXPECT_EQ(GetEnv("LONGRUN_TEST_ABSENT"), std::nullopt);
}

TEST(SpawnTest, FailureToStartIsAnErrorNotAnExitCode) {
  const Ran absent = RunProgram({.argv = {"/nowhere/program"}});
  EXPECT_EQ(absent.status.code(), Code::kNotFound);
  EXPECT_EQ(absent.status.message(), "cannot run /nowhere/program: No such file or directory");
  EXPECT_EQ(RunProgram({.argv = {"/etc/passwd"}}).status.code(), Code::kPermissionDenied);
  EXPECT_EQ(RunProgram({.argv = {}}).status.code(), Code::kInvalidArgument);
  const Ran folder = RunProgram({.argv = {"/bin/true"}, .cwd = "/nowhere"});
  EXPECT_EQ(folder.status.message(),
            "cannot start /bin/true in the folder /nowhere: No such file or directory");
  const Result<int> output = Spawn({.argv = {"/bin/true"}, .stdout_path = "/nowhere/out"});
  EXPECT_EQ(output.status().code(), Code::kNotFound);
}

TEST(SpawnTest, RunsInItsFolder) { EXPECT_EQ(RunShell("pwd", {.cwd = "/"}).output, "/\n"); }

TEST(SpawnTest, DescriptorsOfOursAreClosed) {
  const int ours = open("/dev/null", O_RDONLY);  // without O_CLOEXEC
  ASSERT_GT(ours, 2);
  const Ran ran = RunShell(Str("test -e /proc/self/fd/", ours, " && echo open; echo done"));
  close(ours);
  EXPECT_EQ(ran.output, "done\n");
}

TEST(SpawnTest, IgnoredSignalsAreNotInherited) {
  struct sigaction ignore {
  }, before{};
  ignore.sa_handler = SIG_IGN;
  ASSERT_EQ(sigaction(SIGPIPE, &ignore, &before), 0);
  const Ran ran = RunShell("kill -PIPE $$; echo alive");
  ASSERT_EQ(sigaction(SIGPIPE, &before, nullptr), 0);
  EXPECT_EQ(ran.info.signal, SIGPIPE);
  EXPECT_EQ(ran.output, "");
}

TEST(SpawnTest, OutputIsAppended) {
  const TempFolder folder;
  const std::string path = JoinPath(folder.path(), "log");
  ASSERT_TRUE(WriteFileAtomic(path, "before\n").ok());
  const Result<int> pid = Spawn({.argv = {"/bin/echo", "after"}, .stdout_path = path});
  ASSERT_TRUE(pid.ok());
  ASSERT_TRUE(WaitFor(*pid, -1).ok());
  EXPECT_EQ(ReadFile(path).value(), "before\nafter\n");
}

TEST(SpawnTest, GroupAndSessionAreItsOwn) {
  // Fields 4 to 6 of stat: parent, group, session.
  const std::string script = "cat /proc/$$/stat";
  const auto group_and_session = [](const Ran& ran) {
    const std::vector<std::string> fields = Split(ran.output, ' ');
    return std::pair(fields[4] == fields[0], fields[5] == fields[0]);
  };
  EXPECT_EQ(group_and_session(RunShell(script)), std::pair(false, false));
  EXPECT_EQ(group_and_session(RunShell(script, {.own_group = true})), std::pair(true, false));
  EXPECT_EQ(group_and_session(RunShell(script, {.new_session = true})), std::pair(true, true));
}

TEST(WaitForTest, GivesNothingWhileTheChildRuns) {
  const Result<int> pid = Spawn({.argv = {"/bin/cat", "/dev/zero"}});
  ASSERT_TRUE(pid.ok());
  EXPECT_FALSE(WaitFor(*pid, 0).value().has_value());
  EXPECT_FALSE(WaitFor(*pid, 20).value().has_value());
  EXPECT_TRUE(ProcessStartTicks(*pid).has_value());
  ASSERT_EQ(kill(*pid, SIGKILL), 0);
  const std::optional<ExitInfo> info = WaitFor(*pid, 60'000).value();
  ASSERT_TRUE(info.has_value());
  EXPECT_EQ(info->signal, SIGKILL);
  EXPECT_FALSE(ProcessStartTicks(*pid).has_value());
  EXPECT_FALSE(WaitFor(*pid, 0).ok());  // it is gone
}

TEST(ProcessTest, StartTimeNamesUsForEver) {
  const std::optional<std::uint64_t> start = ProcessStartTicks(getpid());
  ASSERT_TRUE(start.has_value());
  EXPECT_GT(*start, 0u);
  EXPECT_EQ(ProcessStartTicks(getpid()), start);
}

TEST(ProcessTest, ProgramFolderHoldsUs) {
  EXPECT_TRUE(PathExists(JoinPath(ProgramFolder(), "test_base_process")));
}

}  // namespace
}  // namespace longrun
