// An operator's orders about workers: drain, undrain, remove.
#include <csignal>

#include "sweeps/protocol.h"
#include "tests/coordinator/scheduler/fixture.h"

namespace longrun::coordinator {
namespace {

class DrainTest : public SchedulerTest {
 protected:
  StepResult Drain(std::optional<std::int64_t> deadline_ms = std::nullopt) {
    return Do(WorkerDrained{.worker = "worker-1", .deadline_ms = deadline_ms});
  }
  StepResult Undrain() { return Do(WorkerUndrained{.worker = "worker-1"}); }
  StepResult Remove() { return Do(WorkerRemoved{.worker = "worker-1"}); }
  std::int64_t LeftMs() const {
    return DrainLeftMs(state, state.workers.at("worker-1"), now,
                       1'700'000'000'000 + wall_set_ms + now)
        .value_or(-1);
  }
};

// Invariant I-38.
TEST_F(DrainTest, ADrainedWorkerFinishesWhatItHasAndGetsNothingNew) {
  Submit({.context_lengths = {64}});
  Arrive("worker-1", {CpuSlot(0), CpuSlot(1)}, 1);
  Begin(Current(Train()));

  const StepResult drained = Drain();
  Wait(40'000);

  EXPECT_TRUE(Commands<StopMessage>(drained).empty());
  EXPECT_EQ(Train().state, TaskState::kRunning);
  Complete(Current(Train()));
  EXPECT_EQ(Train().state, TaskState::kSucceeded);
  EXPECT_EQ(Evaluate().state, TaskState::kReady);
  EXPECT_EQ(Evaluate().reason,
            "every worker that can run it is drained: `longrun undrain worker-1` gives worker "
            "worker-1 work again");

  const StepResult undrained = Undrain();

  EXPECT_EQ(Commands<SendStart>(undrained).size(), 1u);
  EXPECT_EQ(Evaluate().state, TaskState::kReserved);
}

// Invariant I-18: a stopped attempt counts as nothing.
TEST_F(DrainTest, BeforeTheDeadlineTrainersAreAskedToStopAndTheirTasksGoOnElsewhere) {
  Submit({.context_lengths = {}});
  Arrive("worker-1", {CpuSlot()}, 1);
  const SampleJournal begun = Begin(Current(Train()));
  Arrive("worker-2", {CpuSlot()}, 2);
  Drain(60'000);
  EXPECT_EQ(LeftMs(), 60'000);

  // The grace time is 20 s.
  const StepResult early = Wait(39'000);
  ASSERT_TRUE(Commands<StopMessage>(early).empty());
  Do(WorkerHeard{.session = 1, .number = 1, .attempts = {Listed(Current(Train()))}});
  Do(WorkerHeard{.session = 2, .number = 1, .attempts = {}});
  const StepResult due = Wait(1'000);

  ASSERT_EQ(Commands<StopMessage>(due).size(), 1u);
  EXPECT_EQ(Commands<StopMessage>(due)[0].grace_ms, 20'000);
  EXPECT_EQ(Train().state, TaskState::kStopping);
  const Attempt first = Current(Train());
  SampleJournal journal = begun;
  journal.Checkpoint(Sha256Hex("yielded"), 40, false);
  Deliver(first, journal, 3, static_cast<std::int64_t>(journal.entries.size()));
  EndEvidence yielded = Exit(75);
  yielded.stop_requested = true;

  const StepResult ended = Finish(first, yielded);

  EXPECT_EQ(state.attempts.at(first.id).state, AttemptState::kPreempted);
  EXPECT_EQ(Train().failures + Train().losses, 0);
  const auto starts = Commands<SendStart>(ended);
  ASSERT_EQ(starts.size(), 1u);
  EXPECT_EQ(starts[0].session, 2);
  ASSERT_TRUE(starts[0].task.resume.has_value());
  EXPECT_EQ(starts[0].task.resume->step, 40);
}

TEST_F(DrainTest, ATrainerThatIsKilledAfterItsGraceCountsAsStopped) {
  Submit({.context_lengths = {}});
  Arrive("worker-1", {CpuSlot()}, 1);
  Begin(Current(Train()));
  Drain(0);
  EXPECT_EQ(Train().state, TaskState::kStopping);
  EndEvidence killed = Signal(SIGKILL);
  killed.stop_requested = true;

  Finish(Current(Train()), killed);

  EXPECT_EQ(Current(Train()).state, AttemptState::kPreempted);
  EXPECT_EQ(Train().state, TaskState::kReady);
  EXPECT_EQ(Train().losses, 0);
}

TEST_F(DrainTest, AnAttemptThatFinishesFirstSucceeds) {
  Submit({.context_lengths = {}});
  Arrive("worker-1", {CpuSlot()}, 1);
  Begin(Current(Train()));
  Drain(0);

  SampleJournal journal = Begun(Current(Train()));
  journal.Checkpoint(Sha256Hex("final"), 125, true);
  journal.Final();
  Deliver(Current(Train()), journal, 3, static_cast<std::int64_t>(journal.entries.size()));

  EXPECT_EQ(Train().state, TaskState::kSucceeded);
}

TEST_F(DrainTest, AnOfferThatIsGivenBackCountsAsNothing) {
  Submit({.context_lengths = {}});
  Arrive("worker-1", {CpuSlot()}, 1);
  Drain(0);
  const Attempt offer = Current(Train());
  ASSERT_EQ(Train().state, TaskState::kStopping);

  Do(AttemptRejected{.session = 1,
                     .attempt = offer.id,
                     .epoch = offer.epoch,
                     .failure_class = "",
                     .reason = "it was stopped before its trainer started"});

  EXPECT_EQ(Train().state, TaskState::kReady);
  EXPECT_EQ(Train().failures + Train().losses, 0);
}

TEST_F(DrainTest, ACancelledTaskThatIsBeingStoppedIsCancelled) {
  Submit({.context_lengths = {}});
  Arrive("worker-1", {CpuSlot()}, 1);
  Begin(Current(Train()));
  Drain(0);
  Do(SweepCancelled{.sweep_id = "sweep-1"});
  EndEvidence yielded = Exit(75);
  yielded.stop_requested = true;

  Finish(Current(Train()), yielded);

  EXPECT_EQ(Train().state, TaskState::kCancelled);
}

TEST_F(DrainTest, ADrainSurvivesRestartsOfBothSides) {
  Arrive("worker-1", {CpuSlot()}, 1);
  Drain(600'000);
  Do(WorkerGone{.session = 1});
  Restart();
  now += 5'000;
  EXPECT_EQ(LeftMs(), 595'000);

  Submit({.context_lengths = {}});
  const StepResult arrived = Arrive("worker-1", {CpuSlot()}, 2, {}, "B");

  EXPECT_TRUE(Commands<SendStart>(arrived).empty());
  EXPECT_TRUE(state.workers.at("worker-1").drain.has_value());
}

TEST_F(DrainTest, NobodyWhoSetsTheWallClockMovesADeadline) {
  Arrive("worker-1", {CpuSlot()}, 1);
  Drain(600'000);
  wall_set_ms = 86'400'000;
  Wait(5'000);
  EXPECT_EQ(LeftMs(), 595'000);
}

// The boot clock begins again, so only the wall clock spans the reboot.
TEST_F(DrainTest, AfterARebootTheWallClockCounts) {
  Arrive("worker-1", {CpuSlot()}, 1);
  Drain(600'000);
  Do(WorkerGone{.session = 1});
  const Instant before = now;
  now = 2'000;
  wall_set_ms = before - now + 100'000;  // the reboot took 100 s
  Restart();
  state.boot = "boot-2";
  EXPECT_EQ(LeftMs(), 500'000);
}

TEST_F(DrainTest, AWorkerIsToldThatItIsHeldIfItUnderstandsThat) {
  Arrive("worker-1", {CpuSlot()}, 1);
  EXPECT_TRUE(Commands<HoldMessage>(Drain()).empty());
  state.workers.at("worker-1").capabilities = {std::string(kHoldCapability)};

  const auto held = Commands<HoldMessage>(Drain(90'000));
  const auto released = Commands<HoldMessage>(Undrain());

  ASSERT_EQ(held.size(), 1u);
  EXPECT_TRUE(held[0].held);
  EXPECT_EQ(held[0].deadline_ms, 90'000);
  ASSERT_EQ(released.size(), 1u);
  EXPECT_FALSE(released[0].held);
  EXPECT_EQ(released[0].deadline_ms, -1);
  EXPECT_TRUE(Commands<HoldMessage>(Undrain()).empty());
}

TEST_F(DrainTest, OnlyAWorkerThatIsGoneIsForgottenAndItComesBackAsANewOne) {
  Submit({.context_lengths = {}});
  Arrive("worker-1", {CpuSlot()}, 1);
  Begin(Current(Train()));
  Drain();
  const StepResult connected = Remove();
  Do(WorkerGone{.session = 1});
  const StepResult awaited = Remove();
  Wait(90'000);

  const StepResult removed = Remove();

  EXPECT_EQ(connected.status.code(), Code::kFailedPrecondition);
  EXPECT_NE(connected.status.message().find("is connected"), std::string::npos);
  EXPECT_EQ(awaited.status.code(), Code::kFailedPrecondition);
  EXPECT_NE(awaited.status.message().find("1 task in progress"), std::string::npos);
  EXPECT_TRUE(awaited.writes.empty());
  EXPECT_TRUE(removed.status.ok()) << removed.status.message();
  EXPECT_TRUE(state.workers.empty());
  EXPECT_TRUE(store.workers.empty());
  Restart();

  const StepResult arrived = Arrive("worker-1", {CpuSlot()}, 2, {Listed(Current(Train()))}, "B");

  EXPECT_FALSE(state.workers.at("worker-1").drain.has_value());
  EXPECT_EQ(Train().losses, 1);
  EXPECT_EQ(Commands<WelcomeMessage>(arrived).size(), 1u);
}

TEST_F(DrainTest, AWorkerThatNobodyKnowsIsNamed) {
  for (const StepResult& result : {Drain(), Undrain(), Remove()}) {
    EXPECT_EQ(result.status.code(), Code::kNotFound);
    EXPECT_EQ(result.status.message(),
              "there is no worker worker-1: `longrun workers` shows all workers");
    EXPECT_TRUE(result.writes.empty());
  }
}

// A backup that was made while the attempt was being stopped; the worker has a newer one since.
TEST_F(DrainTest, ANewerAttemptOfATaskThatWasBeingStoppedIsAdopted) {
  Submit({.context_lengths = {}});
  Arrive("worker-1", {CpuSlot()}, 1);
  Begin(Current(Train()));
  Drain(0);
  const std::string older = Train().attempt;
  Restart(/*restored=*/true);
  const std::string newer = "01BX5ZZKBKACTAV9WEVGEMMVS9";

  Arrive("worker-2", {CpuSlot()}, 2,
         {{.attempt = newer,
           .task = Train().id,
           .run_key = "",
           .epoch = Train().epoch + 1,
           .last_seq = 0,
           .running = true}});

  EXPECT_EQ(state.attempts.at(older).state, AttemptState::kLost);
  EXPECT_EQ(Train().attempt, newer);
  EXPECT_EQ(Train().state, TaskState::kReserved);
}

}  // namespace
}  // namespace longrun::coordinator
