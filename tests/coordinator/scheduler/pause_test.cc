// Pausing sweeps and resuming them.
#include "tests/coordinator/scheduler/fixture.h"

namespace longrun::coordinator {
namespace {

class PauseTest : public SchedulerTest {
 protected:
  StepResult Pause(const std::string& id = "sweep-1") { return Do(SweepPaused{.sweep_id = id}); }
  StepResult Resume(const std::string& id = "sweep-1") { return Do(SweepResumed{.sweep_id = id}); }
  void Yield() {
    EndEvidence yielded = Exit(75);
    yielded.stop_requested = true;
    Finish(Current(Train()), yielded);
  }
};

// Invariant I-39.
TEST_F(PauseTest, WaitingTasksOfAPausedSweepAreNotPlacedUntilItIsResumed) {
  Submit({.context_lengths = {64}});

  const StepResult paused = Pause();
  const StepResult arrived = Arrive("worker-1", {CpuSlot()}, 1);

  EXPECT_EQ(paused.pause.held, 2);
  EXPECT_EQ(SweepStateName(state, "sweep-1"), "PAUSED");
  EXPECT_TRUE(Commands<SendStart>(arrived).empty());
  EXPECT_EQ(Train().state, TaskState::kReady);
  EXPECT_EQ(Train().reason, "paused: `longrun resume sweep-1` continues it");

  const StepResult resumed = Resume();

  EXPECT_EQ(Commands<SendStart>(resumed).size(), 1u);
  EXPECT_EQ(SweepStateName(state, "sweep-1"), "RUNNING");
}

// Invariant I-18: a stopped attempt counts as nothing.
TEST_F(PauseTest, ARunningTaskStopsWithACheckpointAndKeepsItsPlace) {
  Submit({.context_lengths = {}});
  Arrive("worker-1", {CpuSlot()}, 1);
  const SampleJournal begun = Begin(Current(Train()));
  const std::int64_t ready_seq = Train().ready_seq;

  const StepResult paused = Pause();
  SampleJournal journal = begun;
  journal.Checkpoint(Sha256Hex("yielded"), 40, false);
  Deliver(Current(Train()), journal, 3, static_cast<std::int64_t>(journal.entries.size()));
  Yield();

  EXPECT_EQ(paused.pause.stopping, 1);
  EXPECT_EQ(Commands<StopMessage>(paused).size(), 1u);
  EXPECT_EQ(Current(Train()).state, AttemptState::kPreempted);
  EXPECT_EQ(Train().state, TaskState::kReady);
  EXPECT_EQ(Train().reason, "paused: `longrun resume sweep-1` continues it");
  EXPECT_EQ(Train().failures + Train().losses, 0);

  const auto starts = Commands<SendStart>(Resume());

  ASSERT_EQ(starts.size(), 1u);
  EXPECT_EQ(starts[0].task.resume->step, 40);
  EXPECT_EQ(Train().ready_seq, ready_seq);
}

TEST_F(PauseTest, ATaskThatStopsWhileItsSweepIsResumedGoesOn) {
  Submit({.context_lengths = {}});
  Arrive("worker-1", {CpuSlot()}, 1);
  Begin(Current(Train()));
  Pause();
  Resume();

  Yield();

  EXPECT_EQ(Train().state, TaskState::kReserved);
}

TEST_F(PauseTest, ATaskThatAnActiveSweepWantsGoesOn) {
  Submit({.context_lengths = {}}, "sweep-1");
  Submit({.context_lengths = {64}}, "sweep-2");

  EXPECT_EQ(Pause("sweep-1").pause.held, 0);
  Arrive("worker-1", {CpuSlot()}, 1);
  EXPECT_EQ(Train().state, TaskState::kReserved);

  Pause("sweep-2");
  EXPECT_EQ(Train().state, TaskState::kStopping);
}

TEST_F(PauseTest, WhenTheOnlyActiveSweepIsCancelledThePausedOnesKeepTheTask) {
  Submit({.context_lengths = {}}, "sweep-1");
  Submit({.context_lengths = {64}}, "sweep-2");
  Pause("sweep-1");

  Do(SweepCancelled{.sweep_id = "sweep-2"});
  Arrive("worker-1", {CpuSlot()}, 1);

  EXPECT_EQ(Train().state, TaskState::kReady);
  EXPECT_TRUE(IsHeld(state, Train().id));
  EXPECT_EQ(Evaluate().state, TaskState::kCancelled);
}

TEST_F(PauseTest, ATaskThatACancelledSweepWantsAgainGoesOn) {
  Submit({.context_lengths = {}}, "sweep-1");
  Submit({.context_lengths = {64}}, "sweep-2");
  Pause("sweep-1");
  Do(SweepCancelled{.sweep_id = "sweep-2"});
  ASSERT_TRUE(IsHeld(state, Train().id));
  Arrive("worker-1", {CpuSlot()}, 1);

  const StepResult retried =
      Do(RetryRequested{.sweep_id = "sweep-2", .tasks = {Train().id, Evaluate().id}});

  EXPECT_EQ(Commands<SendStart>(retried).size(), 1u);
  EXPECT_EQ(Train().state, TaskState::kReserved);
  EXPECT_EQ(Evaluate().state, TaskState::kBlocked);
}

TEST_F(PauseTest, ASubmissionResumesItsSweepAndTasksThatItShares) {
  Submit({.context_lengths = {}}, "sweep-1");
  Pause("sweep-1");
  Submit({.context_lengths = {64}}, "sweep-2");
  EXPECT_FALSE(IsHeld(state, Train().id));
  EXPECT_EQ(Train().reason, "waits for a free slot");
  Pause("sweep-2");
  EXPECT_TRUE(IsHeld(state, Train().id));

  Submit({.context_lengths = {}}, "sweep-1");

  EXPECT_EQ(SweepStateName(state, "sweep-1"), "PENDING");
  EXPECT_EQ(SweepStateName(state, "sweep-2"), "PAUSED");
  EXPECT_EQ(Commands<SendStart>(Arrive("worker-1", {CpuSlot()}, 1)).size(), 1u);
}

TEST_F(PauseTest, APauseSurvivesARestart) {
  Submit({.context_lengths = {}});
  Pause();
  Restart();
  EXPECT_TRUE(Commands<SendStart>(Arrive("worker-1", {CpuSlot()}, 1)).empty());
  EXPECT_EQ(Commands<SendStart>(Resume()).size(), 1u);
}

// The evaluation becomes ready while its sweep is paused.
TEST_F(PauseTest, WhatBecomesReadyWaitsToo) {
  Submit({.context_lengths = {}}, "sweep-1");
  Submit({.context_lengths = {64}}, "sweep-2");
  Arrive("worker-1", {CpuSlot()}, 1);
  Pause("sweep-2");

  Complete(Current(Train()));

  EXPECT_EQ(Train().state, TaskState::kSucceeded);
  EXPECT_EQ(Evaluate().state, TaskState::kReady);
  EXPECT_EQ(Evaluate().reason, "paused: `longrun resume sweep-2` continues it");
}

// One of two runs has failed; the other keeps the sweep from having ended.
TEST_F(PauseTest, AFailedTaskThatIsRetriedWaits) {
  Submit({.seeds = {1, 2}, .context_lengths = {}, .retry = {.failures_max = 0}});
  Arrive("worker-1", {CpuSlot()}, 1);
  Task& task = state.tasks.at(state.attempts.at(*state.index.live.begin()).task);
  Begin(Current(task));
  Finish(Current(task), Exit(70));
  ASSERT_EQ(task.state, TaskState::kFailed);
  Pause();

  Do(RetryRequested{.sweep_id = "sweep-1", .tasks = {task.id}});

  EXPECT_EQ(task.state, TaskState::kReady);
  EXPECT_TRUE(IsHeld(state, task.id));
  EXPECT_EQ(task.reason, "paused: `longrun resume sweep-1` continues it");
}

TEST_F(PauseTest, ACancelledPausedSweepIsCancelled) {
  Submit({.context_lengths = {}});
  Pause();
  Do(SweepCancelled{.sweep_id = "sweep-1"});
  EXPECT_EQ(Train().state, TaskState::kCancelled);
  EXPECT_EQ(SweepStateName(state, "sweep-1"), "CANCELLED");

  const StepResult again = Pause();
  EXPECT_EQ(again.status.code(), Code::kFailedPrecondition);
  EXPECT_NE(again.status.message().find("` continues it"), std::string::npos);
  EXPECT_EQ(Resume().status.code(), Code::kFailedPrecondition);
}

TEST_F(PauseTest, ASweepThatHasEndedOrIsUnknownIsNotPaused) {
  EXPECT_EQ(Pause("nobody").status.code(), Code::kNotFound);
  EXPECT_EQ(Resume("nobody").status.code(), Code::kNotFound);
  Submit({.context_lengths = {}});
  Arrive("worker-1", {CpuSlot()}, 1);
  Complete(Current(Train()));
  const StepResult ended = Pause();
  EXPECT_EQ(ended.status.code(), Code::kFailedPrecondition);
  EXPECT_NE(ended.status.message().find("nothing to pause"), std::string::npos);
}

TEST_F(PauseTest, APausedSweepIsNotRemoved) {
  Submit({.context_lengths = {}});
  Pause();
  const StepResult removed = Do(SweepRemoved{.sweep_id = "sweep-1"});
  EXPECT_EQ(removed.status.code(), Code::kFailedPrecondition);
  EXPECT_NE(removed.status.message().find("PAUSED"), std::string::npos);
}

}  // namespace
}  // namespace longrun::coordinator
