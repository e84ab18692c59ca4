// What a log is told of a sweep: as much as a reader can follow,
// and nothing is lost from the counts.
#include "client/words/change_lines.h"

#include <gtest/gtest.h>

#include "base/str.h"
#include "client/words/sweep_view.h"

namespace longrun::client {
namespace {

v1::RunInfo Run(int i, const char* state, int attempts) {
  v1::RunInfo run;
  run.set_run_key(Str("run-", 10'000 + i));
  run.set_axes_json(CanonicalJson({{"position", "rope"}, {"train_length", 64}, {"seed", i}}));
  v1::TaskInfo& task = *run.add_tasks();
  task.set_task(Str("task-", i));
  task.set_kind("train");
  task.set_state(state);
  task.set_reason("waits");
  task.set_attempts(attempts);
  return run;
}

v1::WatchSweepResponse Message(int n_runs, int n_done) {
  v1::WatchSweepResponse message;
  v1::SweepInfo& info = *message.mutable_info();
  info.set_name("a");
  info.set_state("RUNNING");
  info.set_tasks(n_runs);
  info.set_tasks_succeeded(n_done);
  for (int i = 0; i < n_runs; ++i) {
    *message.add_runs() = i < n_done ? Run(i, "SUCCEEDED", 1) : Run(i, "READY", 0);
  }
  message.set_finished(n_done == n_runs);
  return message;
}

TEST(ChangeLinesTest, ASmallSweepHasALineForEachRun) {
  ChangeLines changes;
  const std::vector<std::string> lines = changes.Of(Message(3, 0), 0);
  ASSERT_EQ(lines.size(), 3U);
  EXPECT_EQ(lines[0], "run-1000 rope 64 seed=0: train ready");
  EXPECT_TRUE(changes.Of(Message(3, 0), 10).empty());
  EXPECT_EQ(changes.Of(Message(3, 3), 20).size(), 3U);
}

// The second line would say the same of another evaluation.
TEST(ChangeLinesTest, TheEvaluationsOfARunAreNamed) {
  v1::WatchSweepResponse message = Message(1, 1);
  const auto add = [&](const char* split) {
    v1::TaskInfo& task = *message.mutable_runs(0)->add_tasks();
    task.set_task(split);
    task.set_kind("evaluate");
    task.set_state("READY");
    task.set_evaluation_json(
        CanonicalJson({{"perplexity", {{"protocol", "nonoverlap"}, {"split", split}}}}));
    return &task;
  };
  add("validation");
  ChangeLines of_one;
  EXPECT_EQ(of_one.Of(message, 0).at(0), "run-1000 rope 64: evaluate ready");

  add("test");
  ChangeLines changes;
  EXPECT_EQ(changes.Of(message, 0).at(0),
            "run-1000 rope 64: evaluate perplexity nonoverlap validation ready");
  message.mutable_runs(0)->mutable_tasks(1)->set_state("SUCCEEDED");
  v1::TaskInfo& second = *message.mutable_runs(0)->mutable_tasks(2);
  second.set_state("RUNNING");
  second.mutable_progress()->set_phase("evaluate");
  second.mutable_progress()->set_done(1);
  second.mutable_progress()->set_of(4);
  EXPECT_EQ(changes.Of(message, 0).at(0),
            "run-1000 rope 64: evaluate perplexity nonoverlap test 25%");
}

// Without a protocol, the name stands for it, also under an extension.
TEST(ChangeLinesTest, AnEvaluationIsNamedOnce) {
  v1::WatchSweepResponse message = Message(1, 1);
  for (const char* const method : {"pi", "ntk"}) {
    v1::TaskInfo& task = *message.mutable_runs(0)->add_tasks();
    task.set_task(method);
    task.set_kind("evaluate");
    task.set_state("READY");
    const Json extension = {{"method", method}, {"factor", 4.0}};
    task.set_evaluation_json(
        CanonicalJson({{"attention_map", {{"split", "validation"}, {"extension", extension}}}}));
  }
  ChangeLines changes;
  const std::string line = changes.Of(message, 0).at(0);
  EXPECT_TRUE(line.starts_with("run-1000 rope 64: evaluate attention_map under pi")) << line;
}

TEST(ChangeLinesTest, ARunWhoseTrainerDiedSaysWhyAndThatItIsTriedAgain) {
  ChangeLines changes;
  v1::WatchSweepResponse message = Message(1, 0);
  changes.Of(message, 0);
  v1::TaskInfo& task = *message.mutable_runs(0)->mutable_tasks(0);
  const auto line_of = [&](const char* state, int attempts, const char* reason) {
    task.set_state(state);
    task.set_attempts(attempts);
    task.set_reason(reason);
    const std::vector<std::string> lines = changes.Of(message, 0);
    return lines.size() == 1 ? lines[0] : Str(lines.size(), " lines");
  };
  EXPECT_EQ(line_of("RUNNING", 1, ""), "run-1000 rope 64: train running");
  EXPECT_EQ(
      line_of("READY", 1, "tried again after a pause of 10 s: attempt 1 ended (crashed): signal 6"),
      "run-1000 rope 64: train ready: tried again after a pause of 10 s: attempt 1 ended "
      "(crashed): signal 6");
  EXPECT_EQ(line_of("RUNNING", 2, ""), "run-1000 rope 64: train running (attempt 2)");
  // Also where nobody has seen it wait.
  EXPECT_EQ(line_of("RUNNING", 3, ""), "run-1000 rope 64: train running (attempt 3)");
}

// The worker was lost and came back with the journal of an attempt that was given up.
TEST(ChangeLinesTest, LateRecordsOfAnEarlierAttemptAddNoLineToATaskThatWaits) {
  ChangeLines changes;
  v1::WatchSweepResponse message = Message(1, 0);
  v1::TaskInfo& task = *message.mutable_runs(0)->mutable_tasks(0);
  task.set_state("RUNNING");
  task.set_attempts(1);
  task.mutable_progress()->set_phase("validate");
  changes.Of(message, 0);
  task.set_state("READY");
  task.set_reason("tried again, from the checkpoint of step 1563: attempt 1 ended (lost)");
  EXPECT_EQ(changes.Of(message, 0).size(), 1U);
  task.mutable_progress()->set_phase("train");
  task.mutable_progress()->set_of(10);
  for (int done = 1; done <= 10; ++done) {
    task.mutable_progress()->set_done(done);
    task.mutable_progress()->set_loss(2.0 - 0.1 * done);
    EXPECT_TRUE(changes.Of(message, 0).empty()) << done;
  }
}

// A log has no width: its reader gets the whole reason. The table of a terminal has not the room.
TEST(ChangeLinesTest, ALongReasonIsWholeInALogAndCutInATable) {
  for (const std::string begin : {"no worker can run it: ", "tried again: attempt 1 ended: "}) {
    ChangeLines changes;
    v1::WatchSweepResponse message = Message(1, 0);
    changes.Of(message, 0);
    const std::string reason = begin + std::string(1000, 'x');
    message.mutable_runs(0)->mutable_tasks(0)->set_reason(reason);
    message.mutable_runs(0)->mutable_tasks(0)->set_attempts(1);
    const std::vector<std::string> lines = changes.Of(message, 0);
    ASSERT_EQ(lines.size(), 1U);
    EXPECT_EQ(lines[0], Str("run-1000 rope 64: train ready: ", reason));
    const std::string table = RenderProgress(message);
    EXPECT_EQ(table.find(reason), std::string::npos) << table;
    EXPECT_NE(table.find("xx …"), std::string::npos) << table;
  }
}

// The cause is last in the reason, where a table would cut it.
TEST(ChangeLinesTest, ATableSaysFirstHowTheAttemptOfATaskEndedThatIsTriedAgain) {
  v1::WatchSweepResponse message = Message(1, 0);
  message.mutable_runs(0)->mutable_tasks(0)->set_attempts(1);
  message.mutable_runs(0)->mutable_tasks(0)->set_reason(
      "tried again after a pause of 10 s, from the beginning, since there is no checkpoint yet: "
      "attempt 1 ended (killed): the trainer died of signal 9");
  const std::string table = RenderProgress(message);
  EXPECT_NE(table.find("train ready: attempt 1 ended (killed): the trainer died of signal 9; tried "
                       "again after a pause of 10 s, from the beginning, since …"),
            std::string::npos)
      << table;
}

TEST(ChangeLinesTest, TenThousandWaitingRunsAreOneLine) {
  ChangeLines changes;
  const std::vector<std::string> lines = changes.Of(Message(10'000, 40), 0);
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_EQ(lines[0], "a RUNNING  40 of 10000 tasks done, 0 running, 0 failed");
}

TEST(ChangeLinesTest, AFewLinesASecondAreWrittenAndTheOthersCounted) {
  ChangeLines changes;
  changes.Of(Message(1000, 0), 0);
  // A hundred runs end at once: four lines; the others are counted a second later.
  EXPECT_EQ(changes.Of(Message(1000, 100), 500).size(), ChangeLines::kLinesPerSecond);
  EXPECT_TRUE(changes.Of(Message(1000, 100), 900).empty());
  const std::vector<std::string> later = changes.Of(Message(1000, 100), 1500);
  ASSERT_EQ(later.size(), 1U);
  EXPECT_EQ(later[0],
            "and 96 changes more: a RUNNING  100 of 1000 tasks done, 0 running, 0 failed");
}

TEST(ChangeLinesTest, NothingIsLeftUntoldAtTheEnd) {
  ChangeLines changes;
  changes.Of(Message(100, 0), 0);
  const std::vector<std::string> lines = changes.Of(Message(100, 100), 10);
  ASSERT_EQ(lines.size(), ChangeLines::kLinesPerSecond + 1);
  EXPECT_TRUE(lines.back().starts_with("and 96 changes more: a ")) << lines.back();
}

}  // namespace
}  // namespace longrun::client
