// Temporary workers: nothing is placed beyond the end of an allocation, what that end cuts off
// counts as nothing, and a worker that has left is forgotten.
#include <csignal>

#include "tests/coordinator/scheduler/fixture.h"

namespace longrun::coordinator {
namespace {

class AllocationTest : public SchedulerTest {
 protected:
  StepResult Come(std::optional<std::int64_t> work_left_ms, SessionId session = 1,
                  const std::string& incarnation = "A", std::vector<LiveAttempt> attempts = {},
                  const std::string& worker = "pilot-1") {
    WorkerArrived arrival = Arrival(worker, {CpuSlot()}, session, std::move(attempts), incarnation);
    arrival.worker.folder_id = folder_id;
    arrival.worker.host = "node-1";
    arrival.allocation = AllocationSpan{.job = "slurm 7", .work_left_ms = work_left_ms};
    return Do(arrival);
  }
  StepResult Beat(std::vector<LiveAttempt> attempts = {}, SessionId session = 1) {
    return Do(WorkerHeard{.session = session, .number = 1, .attempts = std::move(attempts)});
  }
  // Asked to stop by its own worker.
  static EndEvidence Yielded() {
    EndEvidence evidence = Exit(75);
    evidence.stop_requested = true;
    return evidence;
  }
  bool IsKnown(const std::string& worker) const { return state.workers.contains(worker); }

  std::string folder_id;
};

// Invariant I-40.
TEST_F(AllocationTest, NothingIsPlacedOnceTheWorkerStopsItsTrainers) {
  Come(30'000);
  Wait(29'000);
  Beat();
  Wait(1'000);

  const StepResult submitted = Submit({.context_lengths = {}});

  EXPECT_TRUE(Commands<SendStart>(submitted).empty());
  EXPECT_EQ(Train().state, TaskState::kReady);
  // A worker that stays takes it.
  EXPECT_EQ(Commands<SendStart>(Arrive("worker-2", {CpuSlot()}, 2)).size(), 1u);
}

// Invariant I-44.
TEST_F(AllocationTest, OneThatIsLeavingKeepsItsIdWhileAnAttemptIsInProgress) {
  folder_id = "folder-1";
  Come(std::nullopt);
  Submit({.context_lengths = {}});
  Begin(Current(Train()));
  Do(WorkerLeaves{.session = 1});
  Do(WorkerGone{.session = 1});

  folder_id = "folder-2";
  const StepResult refused = Come(std::nullopt, 2, "B");
  ASSERT_EQ(Commands<CloseSession>(refused).size(), 1u);
  EXPECT_EQ(Commands<CloseSession>(refused)[0].session, 2);
  EXPECT_TRUE(Commands<WelcomeMessage>(refused).empty());

  folder_id = "folder-1";
  Come(std::nullopt, 3, "C", {Listed(Current(Train()))});
  EXPECT_EQ(state.workers.at("pilot-1").session, 3);
  Do(WorkerLeaves{.session = 3});
  Finish(Current(Train()), Yielded(), 3);
  Do(WorkerGone{.session = 3});
  folder_id = "folder-2";
  EXPECT_EQ(Commands<WelcomeMessage>(Come(std::nullopt, 4, "D")).size(), 1u);
}

TEST_F(AllocationTest, AWorkerWithoutAnEndTakesWorkAtAnyTime) {
  Come(std::nullopt);
  EXPECT_EQ(Commands<SendStart>(Submit({.context_lengths = {}})).size(), 1u);
  EXPECT_EQ(WorkLeftMs(state, state.workers.at("pilot-1"), now, 0), std::nullopt);
}

// Invariant I-40: five slices, and no loss.
TEST_F(AllocationTest, ARunThatIsLongerThanAnyAllocationGoesOnInSlices) {
  Submit({.context_lengths = {}});
  std::int64_t step_done = 0;
  for (SessionId session = 1; session <= 5; ++session) {
    Come(20'000, session, Str("incarnation-", session));
    ASSERT_EQ(Train().state, TaskState::kReserved) << session;
    const Attempt attempt = Current(Train());
    EXPECT_EQ(attempt.resume.has_value(), session > 1);
    EXPECT_EQ(attempt.resume ? attempt.resume->step : 0, step_done);
    SampleJournal journal = Begin(attempt, session);
    Wait(10'000);
    Beat({Listed(attempt)}, session);
    Wait(10'000);
    Do(WorkerLeaves{.session = session});
    step_done += 10;
    journal.Checkpoint(Sha256Hex(Str(step_done)), step_done, false);
    Deliver(attempt, journal, 3, 3, session);
    Finish(attempt, Yielded(), session);
    Do(WorkerGone{.session = session});
    EXPECT_EQ(state.attempts.at(attempt.id).state, AttemptState::kPreempted);
    EXPECT_EQ(Train().state, TaskState::kReady);
    Wait(2'000);
    EXPECT_FALSE(IsKnown("pilot-1"));
  }
  EXPECT_EQ(Train().losses + Train().failures, 0);
  EXPECT_EQ(Train().attempts, 5);
  EXPECT_EQ(Train().needs_ms, 0);
}

// The batch system has killed everything, so no end is ever reported.
TEST_F(AllocationTest, AnEndOfWhichNobodyHearsIsPreemptedOnceTheAllocationIsOver) {
  Submit({.context_lengths = {}});
  Come(20'000);
  const Attempt attempt = Current(Train());
  Begin(attempt);
  Wait(20'000);
  Do(WorkerGone{.session = 1});

  Wait(state.limits.lease_ms + 1'000);

  EXPECT_EQ(state.attempts.at(attempt.id).state, AttemptState::kPreempted);
  EXPECT_EQ(state.attempts.at(attempt.id).message,
            "the allocation of worker pilot-1 ended: nothing was heard from worker pilot-1 for "
            "90 s");
  EXPECT_EQ(Train().losses, 0);
  EXPECT_EQ(Train().state, TaskState::kReady);
  EXPECT_FALSE(IsKnown("pilot-1"));
}

TEST_F(AllocationTest, ANodeThatIsLostInTheMiddleOfAnAllocationCountsAsALoss) {
  Submit({.context_lengths = {}});
  Come(3'600'000);
  const Attempt attempt = Current(Train());
  Begin(attempt);
  Do(WorkerGone{.session = 1});

  Wait(state.limits.lease_ms + 1'000);

  EXPECT_EQ(state.attempts.at(attempt.id).state, AttemptState::kLost);
  EXPECT_EQ(Train().losses, 1);
  EXPECT_FALSE(IsKnown("pilot-1"));
}

// The next job on the same folder finds an attempt whose trainer was killed without a trace.
TEST_F(AllocationTest, WhatTheNextJobFindsDeadIsPreempted) {
  Submit({.context_lengths = {}});
  Come(20'000);
  const Attempt attempt = Current(Train());
  Begin(attempt);
  Wait(25'000);
  Do(WorkerGone{.session = 1});
  Wait(5'000);
  Come(20'000, 2, "B", {Listed(attempt, /*running=*/false)});

  Finish(attempt, EndEvidence{}, 2);

  EXPECT_EQ(state.attempts.at(attempt.id).state, AttemptState::kPreempted);
  EXPECT_EQ(Train().losses, 0);
  EXPECT_EQ(Train().state, TaskState::kReserved);
}

TEST_F(AllocationTest, WhatTheNextJobFindsDeadIsPreemptedAlsoAfterARestartOfTheCoordinator) {
  Submit({.context_lengths = {}});
  Come(20'000);
  const Attempt attempt = Current(Train());
  Begin(attempt);
  Wait(25'000);
  Come(20'000, 2, "B", {Listed(attempt, /*running=*/false)});
  Restart();
  Come(20'000, 3, "B", {Listed(attempt, /*running=*/false)});

  Finish(attempt, EndEvidence{}, 3);

  EXPECT_EQ(state.attempts.at(attempt.id).state, AttemptState::kPreempted);
  EXPECT_EQ(Train().losses, 0);
}

// The restored database does not know the attempt, but that it is of an earlier job.
TEST_F(AllocationTest, WhatTheNextJobFindsDeadAndIsAdoptedIsPreempted) {
  Submit({.context_lengths = {}});
  Come(20'000);
  Do(AttemptRejected{.session = 1,
                     .attempt = Current(Train()).id,
                     .epoch = Current(Train()).epoch,
                     .failure_class = "",
                     .reason = "busy"});
  Attempt kept;
  kept.id = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
  kept.task = Train().id;
  kept.epoch = Train().epoch + 1;
  Do(WorkerGone{.session = 1});
  Wait(25'000);
  Restart(/*restored=*/true);
  Come(20'000, 2, "B", {Listed(kept, /*running=*/false)});
  ASSERT_EQ(Train().attempt, kept.id);

  Finish(kept, EndEvidence{}, 2);

  EXPECT_EQ(state.attempts.at(kept.id).state, AttemptState::kPreempted);
  EXPECT_EQ(Train().losses, 0);
}

TEST_F(AllocationTest, ATaskThatReachedNoCheckpointWaitsForALongerAllocation) {
  Submit({.context_lengths = {}});
  Come(20'000);
  const Attempt attempt = Current(Train());
  Begin(attempt);
  Wait(20'000);
  Do(WorkerLeaves{.session = 1});
  Finish(attempt, Yielded());
  Do(WorkerGone{.session = 1});
  EXPECT_EQ(
      Train().reason,
      "attempt 1 stopped, to continue later, from the beginning, since there is no "
      "checkpoint yet; it reached no checkpoint before the end of its worker's allocation, so "
      "it is given only to workers that have at least 22s left");

  Come(22'000, 2, "B");
  EXPECT_EQ(Train().state, TaskState::kReady);
  Come(60'000, 3, "C", {}, "pilot-2");
  EXPECT_EQ(Train().state, TaskState::kReserved);
  EXPECT_EQ(Current(Train()).worker, "pilot-2");
}

// What is measured is kept, so each allocation needs to be long enough for one more number only.
TEST_F(AllocationTest, AnEvaluationNeedsALongerAllocationOnlyIfItGetsNoFurther) {
  Submit({.context_lengths = {64, 128, 256}});
  Come(600'000);
  Complete(Current(Train()));
  const auto cut_short = [&](std::size_t n_results, SessionId session) {
    const Attempt attempt = Current(Evaluate());
    SampleJournal journal = Begin(attempt, session);
    for (std::size_t i = 0; i < n_results; ++i) {
      const ExpectedCell& cell = Evaluate().expected_cells[i];
      journal.Append(RecordKind::kResult, {{"cell", cell.cell},
                                           {"metric", cell.metric},
                                           {"context_length", cell.context_length},
                                           {"variant", nullptr},
                                           {"value", 1.5},
                                           {"status", "ok"}});
    }
    Deliver(attempt, journal, 3, 2 + static_cast<std::int64_t>(n_results), session);
    for (int i = 0; i < 60; ++i) {
      Wait(10'000);
      Beat({Listed(attempt)}, session);
    }
    Do(WorkerLeaves{.session = session});
    Finish(attempt, Yielded(), session);
    Do(WorkerGone{.session = session});
    ASSERT_EQ(Evaluate().state, TaskState::kReady);
  };
  cut_short(1, 1);
  EXPECT_EQ(Evaluate().needs_ms, 0);
  Come(600'000, 2, "B");
  cut_short(2, 2);
  EXPECT_EQ(Evaluate().needs_ms, 0);
  EXPECT_EQ(Evaluate().reason, "attempt 2 stopped, to continue later");

  Come(600'000, 3, "C");
  cut_short(2, 3);
  EXPECT_EQ(Evaluate().needs_ms, 675'000);  // an eighth more than it had
  EXPECT_EQ(
      Evaluate().reason,
      "attempt 3 stopped, to continue later; it reached no further result before the end "
      "of its worker's allocation, so it is given only to workers that have at least 11min 15s "
      "left");
}

TEST_F(AllocationTest, AWorkerWithAnAttemptInProgressIsNotForgotten) {
  Submit({.context_lengths = {}});
  Come(20'000);
  const Attempt attempt = Current(Train());
  Begin(attempt);
  Do(WorkerLeaves{.session = 1});
  Do(WorkerGone{.session = 1});
  Wait(5'000);
  EXPECT_TRUE(IsKnown("pilot-1"));

  Come(20'000, 2, "A", {Listed(attempt, /*running=*/false)});
  Do(WorkerLeaves{.session = 2});
  Finish(attempt, Yielded(), 2);
  Do(WorkerGone{.session = 2});
  Wait(1'000);
  EXPECT_FALSE(IsKnown("pilot-1"));
}

TEST_F(AllocationTest, AfterARestartAWorkerThatStaysAwayIsForgotten) {
  Come(3'600'000);
  Restart();
  EXPECT_TRUE(IsKnown("pilot-1"));
  EXPECT_EQ(WorkLeftMs(state, state.workers.at("pilot-1"), now, 0), 3'600'000);
  Wait(state.limits.lease_ms + 1'000);
  EXPECT_FALSE(IsKnown("pilot-1"));
}

// The second Hello of one process was on its way for 5 s.
TEST_F(AllocationTest, OfTwoEndsThatAProcessGivesTheEarlierCounts) {
  Come(20'000);
  Wait(10'000);
  Come(15'000, 2);
  EXPECT_EQ(WorkLeftMs(state, state.workers.at("pilot-1"), now, 0), 10'000);
  Come(15'000, 3, "B");
  EXPECT_EQ(WorkLeftMs(state, state.workers.at("pilot-1"), now, 0), 15'000);
}

TEST_F(AllocationTest, AWorkerThatStaysIsNeverForgotten) {
  Arrive("worker-1", {CpuSlot()}, 1);
  Do(WorkerLeaves{.session = 1});
  Do(WorkerGone{.session = 1});
  Wait(state.limits.lease_ms + 1'000);
  EXPECT_TRUE(IsKnown("worker-1"));
}

}  // namespace
}  // namespace longrun::coordinator
