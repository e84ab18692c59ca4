// Children that are run to their end, with the tools that every machine has.
#include "base/run_child.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <cerrno>

#include "base/clock.h"
#include "base/files.h"
#include "base/str.h"
#include "tests/deadline.h"
#include "tests/wait_until.h"

namespace longrun {
namespace {

Result<ChildRun> RunShell(const std::string& script, const ChildLimits& limits = {},
                          bool own_group = false) {
  return RunChild(
      {.argv = {"/bin/sh", "-c", script}, .env = {"PATH=/usr/bin:/bin"}, .own_group = own_group},
      limits);
}

void ExpectNoChildLeft() {
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1);
  EXPECT_EQ(errno, ECHILD);
}

TEST(RunChildTest, WhatItPrintsAndTheLastLineOfWhatItSaysAreKept) {
  const auto run = RunShell("echo one; echo two; echo first >&2; printf ' last\\n\\n' >&2");
  ASSERT_TRUE(run.ok()) << run.status().message();
  EXPECT_TRUE(run->ok());
  EXPECT_EQ(run->printed, "one\ntwo\n");
  EXPECT_EQ(run->last_line, "last");
  EXPECT_FALSE(run->is_late);
  ExpectNoChildLeft();
}

TEST(RunChildTest, TheComplaintIsTheLastLineOrHowItEnded) {
  const auto complaint = [](const std::string& script) {
    const auto run = RunShell(script);
    EXPECT_TRUE(run.ok()) << run.status().message();
    EXPECT_FALSE(run->ok());
    return run.ok() ? run->Complaint() : "";
  };
  EXPECT_EQ(complaint("echo 'the disk is full' >&2; exit 3"), "the disk is full");
  EXPECT_EQ(complaint("exit 3"), "it ended with exit code 3");
  EXPECT_EQ(complaint("kill -9 $$"), "it was ended by signal 9 (Killed)");
  EXPECT_EQ(complaint("echo loading >&2; kill -9 $$"),
            "it was ended by signal 9 (Killed): loading");
  EXPECT_EQ(complaint("printf 'a\\033b' >&2; exit 1"), Printable("a\033b"));
}

// Also what it has started holds its files: without its group, that would go on.
TEST(RunChildTest, WhatIsLateIsKilledWithItsGroup) {
  const std::int64_t begin = BootMs();
  const auto run = RunShell("sleep 600 & echo $!; echo waiting >&2; wait", {.timeout_ms = 300},
                            /*own_group=*/true);
  ASSERT_TRUE(run.ok()) << run.status().message();
  EXPECT_LT(BootMs() - begin, DeadlineMs(60'000));
  EXPECT_TRUE(run->is_late);
  EXPECT_FALSE(run->ok());
  EXPECT_EQ(run->exit.signal, SIGKILL);
  EXPECT_EQ(run->last_line, "waiting");
  const int sleeper = std::stoi(run->printed);
  EXPECT_TRUE(WaitUntil(DeadlineMs(20'000), [&] {
    const Result<std::string> stat = ReadFile(Str("/proc/", sleeper, "/stat"));
    return !stat.ok() || stat->find(") Z ") != std::string::npos;
  }));
  ExpectNoChildLeft();
}

TEST(RunChildTest, MoreThanMayBePrintedAndAProgramThatIsNotThereAreErrors) {
  EXPECT_FALSE(RunShell("printf 12345", {.printed_bytes_max = 4}).ok());
  EXPECT_FALSE(RunChild({.argv = {"/nonexistent/program"}}).ok());
  ExpectNoChildLeft();
}

}  // namespace
}  // namespace longrun
