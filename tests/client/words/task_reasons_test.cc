// How `longrun why` shows what holds tasks.
#include "client/words/task_reasons.h"

#include <gtest/gtest.h>

#include "base/str.h"
#include "client/words/no_service.h"

namespace longrun::client {
namespace {

v1::TaskReason Reason(const std::string& state, const std::string& gate, const std::string& text) {
  v1::TaskReason reason;
  reason.set_tasks(1);
  reason.set_task("1f2e3d4c5b6a7988");
  reason.set_run_key("aaaabbbbccccdddd");
  reason.set_kind("train");
  reason.set_state(state);
  reason.set_gate(gate);
  reason.set_text(text);
  return reason;
}

v1::GetReasonsResponse OfSweep() {
  v1::GetReasonsResponse answer;
  answer.mutable_info()->set_name("s");
  answer.mutable_info()->set_state("RUNNING");
  answer.mutable_info()->set_tasks(9);
  answer.mutable_info()->set_tasks_running(1);
  return answer;
}

TEST(TaskReasonsTest, TasksOfASweepAreCountedAndOneIsTheExample) {
  v1::GetReasonsResponse answer = OfSweep();
  v1::TaskReason& reason = *answer.add_reasons();
  reason = Reason("READY", "NO_WORKER", "no worker is connected");
  reason.set_tasks(8);
  reason.set_remedy("start one");
  *answer.add_reasons() = Reason("RUNNING", "NONE", "nothing holds it");
  answer.mutable_reasons(1)->set_since_wall_ms(1'700'000'000'000);

  EXPECT_EQ(ReasonsText(answer),
            "s RUNNING  0 of 9 tasks done, 1 running, 0 failed\n"
            "8 train tasks are READY, NO_WORKER; for example, task 1f2e3d4c of run aaaabbbb: no "
            "worker is connected\n"
            "  to resolve: start one\n"
            "train task 1f2e3d4c is RUNNING: nothing holds it\n"
            "  runs since: 2023-11-14T22:13:20Z\n"
            "  run: aaaabbbb\n");
}

// A trainer's message in a database of an earlier release.
TEST(TaskReasonsTest, WhatATerminalWouldObeyIsWrittenOutOnOneLine) {
  v1::GetReasonsResponse answer = OfSweep();
  *answer.add_reasons() = Reason("FAILED", "ENDED", "\x1b]0;a\a\nforged\r \u009b1m");
  answer.mutable_reasons(0)->set_failure_class("invalid");
  answer.mutable_reasons(0)->set_failure("b\nc\x7f");
  const std::string text = ReasonsText(answer);
  EXPECT_NE(text.find("\\x1b]0;a\\x07\\nforged\\r \\x9b1m\n"), std::string::npos) << text;
  EXPECT_NE(text.find("ended (invalid): b\\nc\\x7f\n"), std::string::npos) << text;
}

TEST(TaskReasonsTest, OfARunEachTaskIsToldWithItsTriesAndItsLastFailure) {
  v1::GetReasonsResponse answer;
  answer.set_run_key("aaaabbbbccccdddd");
  answer.set_axes_json(R"({"seed":1,"train_length":64})");
  v1::TaskReason& waits = *answer.add_reasons();
  waits = Reason("READY", "NO_FREE_SLOT", "1 is busy");
  waits.set_attempts(5);
  waits.set_withdrawn(3);  // offers on which no trainer started: the task was not tried
  waits.set_failures(1);
  waits.set_losses(1);
  waits.set_failure_class("lost");
  waits.set_failure("nothing was heard from worker w");
  waits.set_until_wall_ms(1'700'000'000'000);
  v1::TaskReason& evaluates = *answer.add_reasons();
  evaluates = Reason("FAILED", "ENDED", "crashed: signal 6");
  evaluates.set_kind("evaluate");
  evaluates.set_evaluation_json(R"({"perplexity":{"protocol":"nonoverlap"}})");
  evaluates.set_attempts(1);
  evaluates.set_failures(1);
  evaluates.set_failure_class("crashed");
  evaluates.set_failure("signal 6");

  EXPECT_EQ(ReasonsText(answer),
            "run aaaabbbb seed=1 train_length=64\n"
            "train task 1f2e3d4c is READY, NO_FREE_SLOT: 1 is busy\n"
            "  not before: 2023-11-14T22:13:20Z\n"
            "  tried so far: 2 attempts in all; 1 failure and 1 loss in this round\n"
            "  last attempt: ended (lost): nothing was heard from worker w\n"
            "evaluate task 1f2e3d4c (nonoverlap) FAILED: crashed: signal 6\n"
            "  tried so far: 1 attempt in all; 1 failure and 0 losses in this round\n");
}

TEST(TaskReasonsTest, ANoticeIsShownUnlessAReasonSaysTheSame) {
  v1::GetReasonsResponse answer = OfSweep();
  *answer.add_reasons() = Reason("READY", "JOB_HELD", "no worker is connected; pilot p: held");
  answer.add_notices()->set_text("pilot p: held");
  answer.add_notices()->set_text("worker w is silent");

  const std::string text = ReasonsText(answer);
  EXPECT_EQ(text.find("also: pilot p"), std::string::npos) << text;
  EXPECT_NE(text.find("also: worker w is silent\n"), std::string::npos) << text;
}

TEST(TaskReasonsTest, ANoticeThatEndsWithTheRemedyOfAReasonIsNotSaidAgain) {
  v1::GetReasonsResponse answer = OfSweep();
  v1::TaskReason& reason = *answer.add_reasons();
  reason = Reason("READY", "WORKER_DISK_FULL", "1 is full; worker w has no room");
  reason.set_remedy("free some space");
  answer.add_notices()->set_text("worker w has no room: free some space");

  const std::string text = ReasonsText(answer);
  EXPECT_EQ(text.find("also:"), std::string::npos) << text;
}

TEST(TaskReasonsTest, OfManyReasonsTheFirstOnesAreShown) {
  v1::GetReasonsResponse answer = OfSweep();
  for (int i = 0; i < 32; ++i) {
    *answer.add_reasons() = Reason("READY", "NO_FIT", Str("reason ", i));
  }
  const std::string text = ReasonsText(answer);
  EXPECT_NE(text.find("reason 29\n"), std::string::npos);
  EXPECT_EQ(text.find("reason 30\n"), std::string::npos);
  EXPECT_NE(text.find("and 2 more reasons: -o json shows all\n"), std::string::npos) << text;
}

TEST(TaskReasonsTest, WhatNoWorkerCanRunIsSaidOnceForAllTasksWithWhatEndsIt) {
  v1::GetReasonsResponse answer = OfSweep();
  v1::TaskReason& reason = *answer.add_reasons();
  reason = Reason("READY", "NO_FIT", "no worker can run it: slot 0 is a cpu slot");
  reason.set_tasks(3);
  reason.set_remedy("connect a gpu");
  *answer.add_reasons() = Reason("BLOCKED", "NEEDS_TASK", "waits for its training");
  *answer.add_reasons() = Reason("READY", "CACHE_TOO_SMALL", "no worker can run it with this");
  answer.mutable_reasons(2)->set_remedy("a larger cache");

  EXPECT_EQ(UnfitText(answer),
            "no worker can run 3 train tasks: slot 0 is a cpu slot\n"
            "  to resolve: connect a gpu\n"
            "no worker can run train task 1f2e3d4c with this\n"
            "  to resolve: a larger cache");
}

TEST(TaskReasonsTest, WithoutAServiceThatIsWhatHoldsTheTasks) {
  v1::GetReasonsResponse answer = OfSweep();
  *answer.add_reasons() = Reason("READY", "WORKER_AWAY", "worker w is not heard from");
  *answer.add_reasons() = Reason("RUNNING", "WORKER_SILENT", "worker w is silent");
  answer.mutable_reasons(1)->set_worker("w");
  answer.mutable_reasons(1)->set_attempts(2);
  answer.mutable_reasons(1)->set_until_wall_ms(5);
  *answer.add_reasons() = Reason("READY", "PAUSED", "paused");
  answer.add_notices()->set_text("worker w is missed");
  SayNoService("/state", answer);

  EXPECT_EQ(answer.reasons(0).gate(), "NO_SERVICE");
  EXPECT_EQ(answer.reasons(0).text(), "no service runs on /state");
  EXPECT_EQ(answer.reasons(0).remedy(), "`longrun up` continues all work");
  EXPECT_EQ(answer.reasons(1).text(), "attempt 2 began on worker w; no service runs on /state");
  EXPECT_EQ(answer.reasons(1).state(), "RUNNING") << "as stored";
  EXPECT_FALSE(answer.reasons(1).has_until_wall_ms());
  EXPECT_EQ(answer.reasons(2).gate(), "PAUSED");
  EXPECT_EQ(answer.notices_size(), 0);
  ShowInterrupted(answer);
  EXPECT_EQ(answer.reasons(1).state(), "INTERRUPTED");
}

}  // namespace
}  // namespace longrun::client
