// One question to a child process, with the tools that every machine has as children.
#include "base/ask_process.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <cerrno>

#include "base/clock.h"
#include "base/str.h"
#include "tests/deadline.h"

namespace longrun {
namespace {

constexpr std::int64_t kEndMsMax = DeadlineMs(60'000);

Result<ProcessAnswer> AskShell(const std::string& script, std::string_view question,
                               AskLimits limits) {
  if (limits.timeout_ms == 0) limits.timeout_ms = kEndMsMax;
  if (limits.answer_bytes_max == 0) limits.answer_bytes_max = 64 << 20;
  return AskProcess({.argv = {"/bin/sh", "-c", script}, .env = {"PATH=/usr/bin:/bin"}}, question,
                    limits);
}

void ExpectNoChildLeft() {
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1);
  EXPECT_EQ(errno, ECHILD);
}

TEST(AskProcessTest, TheChildReadsTheQuestionToItsEndAndAnswers) {
  const auto answer = AskShell("cat; echo; echo done", "why", {});
  ASSERT_TRUE(answer.ok()) << answer.status().message();
  EXPECT_EQ(answer->end, AnswerEnd::kExit);
  EXPECT_EQ(answer->text, "why\ndone\n");
  EXPECT_EQ(answer->exit.code, 0);
  EXPECT_EQ(AskShell("cat; echo done", "", {})->text, "done\n");
  ExpectNoChildLeft();
}

// More than any buffer between the two holds, in both directions at once.
TEST(AskProcessTest, AQuestionOfAnyLengthComesBackWhole) {
  std::string question;
  while (question.size() < (8u << 20)) question += Str(question.size(), " ");
  const auto answer = AskShell("exec cat", question, {});
  ASSERT_TRUE(answer.ok()) << answer.status().message();
  EXPECT_TRUE(answer->text == question);
}

TEST(AskProcessTest, AChildThatDoesNotReadMayStillAnswer) {
  const auto answer = AskShell("echo no", std::string(8 << 20, 'x'), {});
  ASSERT_TRUE(answer.ok()) << answer.status().message();
  EXPECT_EQ(answer->end, AnswerEnd::kExit);
  EXPECT_EQ(answer->text, "no\n");
}

TEST(AskProcessTest, HowTheChildEndedIsReported) {
  EXPECT_EQ(AskShell("exit 7", "", {})->exit.code, 7);
  EXPECT_EQ(AskShell("kill -9 $$", "", {})->exit.signal, SIGKILL);
  const auto absent =
      AskProcess({.argv = {"/nowhere/program"}}, "", {.timeout_ms = 1000, .answer_bytes_max = 1});
  EXPECT_EQ(absent.status().message(), "cannot run /nowhere/program: No such file or directory");
  ExpectNoChildLeft();
}

TEST(AskProcessTest, TheTimeOfAnAnswerBeginsOnceTheChildHasStarted) {
  // It takes longer to start than it has for its answer.
  const auto slow_start =
      AskShell("sleep 4; printf x; echo done", "", {.timeout_ms = 3'000, .start_ms = kEndMsMax});
  ASSERT_TRUE(slow_start.ok());
  EXPECT_EQ(slow_start->end, AnswerEnd::kExit);
  EXPECT_EQ(slow_start->text, "done\n");
  const auto slow =
      AskShell("printf x; exec sleep 100", "", {.timeout_ms = 50, .start_ms = kEndMsMax});
  ASSERT_TRUE(slow.ok());
  EXPECT_EQ(slow->end, AnswerEnd::kTimeout);
  const auto never = AskShell("exec sleep 100", "", {.timeout_ms = kEndMsMax, .start_ms = 50});
  ASSERT_TRUE(never.ok());
  EXPECT_EQ(never->end, AnswerEnd::kNotStarted);
  EXPECT_EQ(never->exit.signal, SIGKILL);
  EXPECT_EQ(never->text, "");
  EXPECT_EQ(AskShell("exit 7", "", {.start_ms = kEndMsMax})->exit.code, 7);
  ExpectNoChildLeft();
}

TEST(AskProcessTest, AChildBeyondALimitIsKilled) {
  const auto slow = AskShell("exec cat /dev/zero > /dev/null", "", {.timeout_ms = 50});
  const auto long_answer = AskShell("exec cat /dev/zero", "", {.answer_bytes_max = 1 << 20});
  const auto silent =
      AskShell("exec >&- <&-; exec cat /dev/zero > /dev/null", "", {.timeout_ms = 50});
  ASSERT_TRUE(slow.ok() && long_answer.ok() && silent.ok());

  EXPECT_EQ(slow->end, AnswerEnd::kTimeout);
  EXPECT_EQ(slow->exit.signal, SIGKILL);
  EXPECT_EQ(long_answer->end, AnswerEnd::kTooLong);
  EXPECT_EQ(long_answer->exit.signal, SIGKILL);
  EXPECT_EQ(long_answer->text, "");
  EXPECT_EQ(silent->end, AnswerEnd::kTimeout);
  ExpectNoChildLeft();
}

TEST(AskProcessTest, ACancelledChildIsKilled) {
  int n_looks = 0;
  const std::int64_t begun_ms = BootMs();
  const auto answer = AskShell("exec cat /dev/zero > /dev/null", "",
                               {.is_cancelled = [&] { return ++n_looks == 3; }});
  ASSERT_TRUE(answer.ok());

  EXPECT_EQ(answer->end, AnswerEnd::kCancelled);
  EXPECT_EQ(answer->exit.signal, SIGKILL);
  EXPECT_LT(BootMs() - begun_ms, kEndMsMax);
  ExpectNoChildLeft();
}

}  // namespace
}  // namespace longrun
