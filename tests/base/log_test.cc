// Log lines, read back from a child's stderr.
#include "base/log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <string>

#include "base/check.h"
#include "base/files.h"
#include "base/str.h"

namespace longrun {
namespace {

// What `write` puts on stderr.
template <typename Write>
std::string Captured(Write write) {
  int ends[2];
  LR_CHECK(pipe(ends) == 0);
  const int kept = dup(STDERR_FILENO);
  LR_CHECK(dup2(ends[1], STDERR_FILENO) == STDERR_FILENO);
  write();
  LR_CHECK(dup2(kept, STDERR_FILENO) == STDERR_FILENO);
  close(kept);
  close(ends[1]);
  char text[1024];
  const ssize_t n = read(ends[0], text, sizeof text);
  close(ends[0]);
  return std::string(text, n > 0 ? static_cast<std::size_t>(n) : 0);
}

TEST(LogTest, LineIsAnEventWithFields) {
  const std::string line = Captured([] {
    LogInfo("attempt_started", {{"task", "3f2a91c0"}, {"devices", "0,1"}});
  });
  // I 2026-11-20T08:03:46.123Z attempt_started ...
  ASSERT_GT(line.size(), 27u);
  EXPECT_EQ(line.substr(0, 2), "I ");
  EXPECT_EQ(line[21], '.');
  EXPECT_EQ(line.substr(25), "Z attempt_started task=3f2a91c0 devices=0,1\n");
}

TEST(LogTest, ValueThatCouldBeMisreadIsQuoted) {
  const std::string line = Captured([] {
    LogError("failed", {{"why", "no \"x\"\nat a=b"}, {"empty", ""}, {"bell", "\a"}});
  });
  EXPECT_EQ(line.substr(0, 2), "E ");
  EXPECT_EQ(line.substr(27), R"(failed why="no \"x\"\nat a=b" empty="" bell="\u0007")"
                             "\n");
}

TEST(LogTest, WhatATerminalWouldObeyIsWrittenOut) {
  const std::string line = Captured([] {
    LogError("failed", {{"a", "\u009b1m"}, {"b", "x\x7f"}, {"c", "caf\u00e9"}});
  });
  EXPECT_EQ(line.substr(27), "failed a=\"\\u009b1m\" b=\"x\\u007f\" c=caf\u00e9\n");
}

// A limit on the file's size cuts a line as a full disk does.
TEST(LogTest, ALineAfterOneThatWasCutBeginsOnALineOfItsOwn) {
  const TempFolder folder;
  const std::string path = JoinPath(folder.path(), "log");
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  LR_CHECK(file >= 0);
  rlimit before = {};
  LR_CHECK(getrlimit(RLIMIT_FSIZE, &before) == 0);
  const auto old_handler = signal(SIGXFSZ, SIG_IGN);
  const int kept = dup(STDERR_FILENO);
  LR_CHECK(dup2(file, STDERR_FILENO) == STDERR_FILENO);
  const rlimit small = {.rlim_cur = 40, .rlim_max = before.rlim_max};
  LR_CHECK(setrlimit(RLIMIT_FSIZE, &small) == 0);
  LogError("ended", {{"error", "the database cannot be written"}});
  LogError("ended", {{"error", "lost"}});
  LR_CHECK(setrlimit(RLIMIT_FSIZE, &before) == 0);
  LogInfo("serving", {});
  LogInfo("stopped", {});
  LR_CHECK(dup2(kept, STDERR_FILENO) == STDERR_FILENO);
  close(kept);
  close(file);
  signal(SIGXFSZ, old_handler);

  const Result<std::string> text = ReadFile(path);
  ASSERT_TRUE(text.ok()) << text.status().message();
  ASSERT_GT(text->size(), 41u);
  EXPECT_EQ(text->substr(27, 14), "ended error=\"\n") << *text;
  EXPECT_EQ(text->substr(41 + 27), Str("serving\n", text->substr(41 + 35, 27), "stopped\n"));
}

TEST(LogTest, ARepeatedErrorIsDueOnceAMinute) {
  RepeatedError error;
  EXPECT_TRUE(error.IsDue("full", 1000));
  EXPECT_FALSE(error.IsDue("full", 60'999));
  EXPECT_TRUE(error.IsDue("full", 61'000));
  EXPECT_TRUE(error.IsDue("denied", 61'001));
  EXPECT_TRUE(error.IsDue("full", 61'002));
}

}  // namespace
}  // namespace longrun
