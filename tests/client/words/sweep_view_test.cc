// How a sweep stands, as lines.
#include "client/words/sweep_view.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/str.h"
#include "client/words/progress_line.h"
#include "client/words/run_limit.h"
#include "client/words/window.h"

namespace longrun::client {
namespace {

// The example of the ULID specification, of 2016-07-30T22:36:16.385Z;
// submitted again, the id stays.
TEST(FirstSubmittedTest, IsWhatTheIdSaysWhateverCameAfter) {
  v1::SweepInfo info;
  info.set_sweep_id("01ARYZ6S41TSV4RRFFQ69G5FAV");
  info.set_submitted_ms(1'800'000'000'000);
  EXPECT_EQ(FirstSubmitted(info), "2016-07-30T22:36:16Z");
}

v1::RunInfo RunWith(const std::string& key, const char* position, const std::string& state) {
  v1::RunInfo run;
  run.set_run_key(key);
  run.set_axes_json(CanonicalJson({{"position", position}, {"train_length", 64}}));
  v1::TaskInfo& task = *run.add_tasks();
  task.set_task(key);
  task.set_kind("train");
  task.set_state(state);
  task.set_reason("waits");
  task.set_attempts(state == "READY" ? 0 : 1);
  return run;
}

// A worker that was busy, or whose disk was full, has tried nothing.
TEST(IsWaitingTest, ATaskOfWhichOnlyOffersWereRefusedHasNoTriesAndWaits) {
  v1::RunInfo run = RunWith("1", "alibi", "READY");
  run.mutable_tasks(0)->set_attempts(3);
  EXPECT_EQ(TriesOf(run.tasks(0)), 3);
  EXPECT_FALSE(IsWaiting(run));
  run.mutable_tasks(0)->set_withdrawn(3);
  EXPECT_EQ(TriesOf(run.tasks(0)), 0);
  EXPECT_TRUE(IsWaiting(run));
}

v1::WatchSweepResponse Sweep() {
  v1::WatchSweepResponse message;
  v1::SweepInfo& info = *message.mutable_info();
  info.set_name("a");
  info.set_state("RUNNING");
  info.set_tasks(4);
  info.set_tasks_succeeded(1);
  info.set_tasks_running(1);
  *message.add_runs() = RunWith("1", "alibi", "SUCCEEDED");
  *message.add_runs() = RunWith("2", "cable", "READY");
  *message.add_runs() = RunWith("3", "nope", "READY");
  *message.add_runs() = RunWith("4", "rope", "RUNNING");
  v1::TimeLeft& left = *message.mutable_time_left();
  left.mutable_time()->set_low_s(60.2);
  left.mutable_time()->set_likely_s(90.0);
  left.mutable_time()->set_high_s(200.0);
  left.mutable_time()->set_n(3);
  left.set_slots(2);
  return message;
}

// A diverged loss is short, and after its last step a training has no time left to show.
TEST(RenderProgressTest, ALargeLossAndTheLastStep) {
  v1::RunInfo run = RunWith("1", "rope", "RUNNING");
  v1::TaskInfo& task = *run.mutable_tasks(0);
  task.set_kind("train");
  v1::TaskProgress& progress = *task.mutable_progress();
  progress.set_phase("train");
  progress.set_of(100);
  progress.set_done(99);
  progress.set_tokens_per_s(1000);
  progress.set_eta_ms(1500);
  progress.set_loss(3582991104212992.0);
  progress.add_loss_tail(2.5);
  EXPECT_EQ(ChangeLine(run, {}),
            "1 rope 64: train 99/100 steps, loss 3.58e15, 1000 tokens/s, ETA 2s");
  progress.set_done(100);
  progress.set_loss(2.5);
  EXPECT_EQ(ChangeLine(run, {}), "1 rope 64: train 100/100 steps, loss 2.500, 1000 tokens/s");
}

// The headline, the columns and what follows the runs stay;
// what is at work comes before what waits.
TEST(RenderProgressTest, FitsATerminalOfAnyHeight) {
  EXPECT_EQ(RenderProgress(Sweep(), 7),
            "a RUNNING  1 of 4 tasks done, 1 running, 0 failed\n"
            "position  train_length    now            loss  tokens/s  ETA\n"
            "cable     64              train ready\n"
            "rope      64              train running\n"
            "… 2 more\n"
            "time left: about 1min 30s (1min to 3min 20s) on 2 slots\n"
            "workers: none\n");
  for (const std::size_t n_lines : {5U, 6U, 7U, 8U, 9U}) {
    const std::string text = RenderProgress(Sweep(), n_lines);
    EXPECT_LE(std::ranges::count(text, '\n'), n_lines) << text;
  }
  const std::string whole = RenderProgress(Sweep());
  EXPECT_EQ(std::ranges::count(whole, '\n'), 8);
}

// What is printed below the runs, wrapped by the terminal, takes rows of it too.
TEST(FitProgressTest, TenThousandRunsFitTenRowsWithWhatComesBelow) {
  v1::WatchSweepResponse message = Sweep();
  for (int i = 0; i < 10'000; ++i) {
    *message.add_runs() = RunWith(Str("more", i), "rope", "READY");
  }
  const std::string below = std::string(41, 'x') + "\nshort\n";  // two rows and one
  const std::string text = FitProgress(message, {.rows = 10, .columns = 40}, below);
  EXPECT_EQ(std::ranges::count(text, '\n'), 6) << text;
  EXPECT_NE(text.find("… 10003 more\n"), std::string::npos) << text;
  for (const std::string& line : Split(text, '\n')) EXPECT_LE(DisplayWidth(line), 40U) << line;
  const std::string log = FitProgress(message, {}, below);
  EXPECT_EQ(std::ranges::count(log, '\n'), 24) << log;
  EXPECT_TRUE(log.starts_with("a RUNNING  1 of 4 tasks done")) << log;
  EXPECT_NE(log.find("train running"), std::string::npos) << log;
}

TEST(RowsOfTest, ALineThatIsWiderThanTheTerminalWraps) {
  EXPECT_EQ(RowsOf("", 4), 0U);
  EXPECT_EQ(RowsOf("\n", 4), 1U);
  EXPECT_EQ(RowsOf("abcd\n", 4), 1U);
  EXPECT_EQ(RowsOf("abcde\nf", 4), 3U);
  EXPECT_EQ(RowsOf("\x1b[1m▇▆▅▃\x1b[0m\n", 4), 1U);
}

TEST(ProgressLineTest, NeverReachesTheLastColumnOfTheTerminal) {
  EXPECT_EQ(FitLine("storing: 1.2 MB", {.columns = 12}), "storing: 1…");
  EXPECT_EQ(FitLine("größe", {.columns = 5}), "grö…");
  EXPECT_EQ(FitLine("storing: 1.2 MB", {}), "storing: 1.2 MB");  // a log has no width
}

TEST(FailedTasksTextTest, OfManyFailuresTheFirstAreShownAndTheOthersCounted) {
  v1::WatchSweepResponse message = Sweep();
  message.clear_runs();
  for (int i = 0; i < 10'000; ++i) {
    *message.add_runs() = RunWith(Str("run", i), "rope", "FAILED");
  }
  const std::string text = FailedTasksText(message);
  EXPECT_EQ(std::ranges::count(text, '\n'), 41);
  EXPECT_TRUE(text.ends_with("and 9980 tasks more failed: `longrun get a` shows them\n")) << text;
}

// The worker could not get the dataset: there was no trainer to write a log.
TEST(FailedTasksTextTest, OfATaskWithoutATrainerNoLogIsOffered) {
  v1::WatchSweepResponse message;
  v1::RunInfo& run = *message.add_runs();
  run.set_axes_json("{}");
  v1::TaskInfo& task = *run.add_tasks();
  task.set_state("FAILED");
  task.set_task("7a6b5c4d9e8f");
  task.set_reason("data: dataset \"tiny\" is not on this worker");
  task.set_duration_ms(0);
  EXPECT_EQ(FailedTasksText(message).find("longrun logs"), std::string::npos);
  task.set_duration_ms(1);
  EXPECT_NE(FailedTasksText(message).find("`longrun logs 7a6b5c4d` shows its log"),
            std::string::npos);
  task.set_duration_ms(0);
  task.set_reason("crashed: the trainer died of signal 6");
  EXPECT_NE(FailedTasksText(message).find("longrun logs"), std::string::npos);
}

TEST(FailedTasksTextTest, WhatATerminalWouldObeyIsWrittenOutOnOneLine) {
  v1::WatchSweepResponse message = Sweep();
  message.clear_runs();
  *message.add_runs() = RunWith("run", "rope", "FAILED");
  message.mutable_runs(0)->mutable_tasks(0)->set_reason("\x1b[1ma\nb \u009b1m");
  const std::string text = FailedTasksText(message);
  EXPECT_NE(text.find(" failed: \\x1b[1ma\\nb \\x9b1m\n"), std::string::npos) << text;
}

TEST(RunLimitTest, ATableHasFiftyRunsByItselfAndAProgramGetsAll) {
  EXPECT_EQ(RunLimit().Of("table", 10'000), 50U);
  EXPECT_EQ(RunLimit().Of("table", 7), 7U);
  EXPECT_EQ(RunLimit().Of("csv", 10'000), 10'000U);
  EXPECT_EQ(RunLimit().Of("json", 10'000), 10'000U);
  EXPECT_EQ(RunLimit{.given = 0}.Of("table", 10'000), 10'000U);
  EXPECT_EQ(RunLimit{.given = 2}.Of("json", 10'000), 2U);
}

TEST(RunsToShowTest, WhatIsAtWorkComesBeforeWhatWaitsAndThatBeforeWhatIsDoneInTheirOrder) {
  const v1::WatchSweepResponse message = Sweep();
  const Runs& runs = message.runs();
  using Shown = std::vector<int>;
  EXPECT_EQ(RunsToShow(runs, 4), (Shown{0, 1, 2, 3}));
  EXPECT_EQ(RunsToShow(runs, 3), (Shown{1, 2, 3}));
  EXPECT_EQ(RunsToShow(runs, 2), (Shown{1, 3}));
  EXPECT_EQ(RunsToShow(runs, 1), (Shown{3}));
  EXPECT_EQ(RunsToShow(runs, 0), Shown());
}

TEST(TimeLeftTextTest, SaysWhatIsLeftOutAndNothingWhereNothingIsKnown) {
  v1::TimeLeft left = Sweep().time_left();
  left.set_tasks_not_measured(1);
  EXPECT_EQ(
      TimeLeftText(left, "a"),
      "time left: about 1min 30s (1min to 3min 20s) on 2 slots, not counting 1 task whose time "
      "cannot be predicted yet");
  left.mutable_time()->set_likely_s(50.2);
  left.mutable_time()->set_low_s(49.9);
  left.mutable_time()->set_high_s(50.4);
  left.clear_tasks_not_measured();
  EXPECT_EQ(TimeLeftText(left, "a"), "time left: about 50s on 2 slots");
  left.mutable_time()->set_n(0);
  EXPECT_EQ(TimeLeftText(left, "a"), "");
  EXPECT_EQ(TimeLeftText(v1::TimeLeft(), "a"), "");
}

TEST(TimeLeftTextTest, PromisesNoTimeForTasksThatNoSlotCanRun) {
  v1::TimeLeft left = Sweep().time_left();
  left.set_tasks_without_slot(2);
  EXPECT_EQ(TimeLeftText(left, "a"),
            "time left: about 1min 30s (1min to 3min 20s) on 2 slots, not counting 2 tasks that no "
            "slot can run (`longrun why a` says why)");
  left.set_tasks_not_measured(1);
  EXPECT_EQ(TimeLeftText(left, "a"),
            "time left: about 1min 30s (1min to 3min 20s) on 2 slots, not counting 1 task whose "
            "time cannot be predicted yet, and 2 tasks that no slot can run (`longrun why a` says "
            "why)");
  left.clear_time();
  EXPECT_EQ(TimeLeftText(left, "a"),
            "time left: not known, since no slot can run 2 tasks (`longrun why a` says why)");
}

TEST(TimeLeftTextTest, SaysHowManyTasksOfOtherSweepsComeFirst) {
  v1::TimeLeft left = Sweep().time_left();
  left.set_tasks_of_others(5);
  EXPECT_EQ(
      TimeLeftText(left, "a"),
      "time left: about 1min 30s (1min to 3min 20s) on 2 slots, after 5 tasks of other sweeps");
  left.set_tasks_of_others(1);
  left.set_tasks_of_others_left_out(3);
  EXPECT_EQ(
      TimeLeftText(left, "a"),
      "time left: about 1min 30s (1min to 3min 20s) on 2 slots, after 1 task of other sweeps, "
      "not counting 3 tasks of other sweeps that may come first and whose time cannot be "
      "predicted");
  left.clear_tasks_of_others();
  left.set_tasks_not_measured(2);
  left.set_tasks_without_slot(1);
  EXPECT_EQ(TimeLeftText(left, "a"),
            "time left: about 1min 30s (1min to 3min 20s) on 2 slots, not counting 2 tasks whose "
            "time cannot be predicted yet, and 1 task that no slot can run (`longrun why a` says "
            "why), and 3 tasks of other sweeps that may come first and whose time cannot be "
            "predicted");
}

// The plan of a file that was never submitted may share unfinished runs with another sweep.
TEST(TimeLeftTextTest, NamesNoSweepThatIsNotSubmitted) {
  v1::TimeLeft left = Sweep().time_left();
  left.set_tasks_without_slot(2);
  EXPECT_EQ(TimeLeftText(left, ""),
            "time left: about 1min 30s (1min to 3min 20s) on 2 slots, not counting 2 tasks that no "
            "slot can run");
  left.clear_time();
  EXPECT_EQ(TimeLeftText(left, ""), "time left: not known, since no slot can run 2 tasks");
}

}  // namespace
}  // namespace longrun::client
