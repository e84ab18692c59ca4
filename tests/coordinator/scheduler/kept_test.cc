// Attempts that workers have and that a restored database does not know.
#include "tests/coordinator/scheduler/fixture.h"

namespace longrun::coordinator {
namespace {

constexpr const char* kEarlierId = "01ARZ3NDEKTSV4RRFFQ69G5FAV";

class KeptTest : public SchedulerTest {
 protected:
  // Attempts with the epochs 1, 2, ... were placed before the database was restored.
  KeptTest() { state.restore_count = 1; }

  // As a worker lists it whose coordinator has stored its end.
  static LiveAttempt Kept(const std::string& task, std::uint64_t epoch = 1,
                          const std::string& id = kEarlierId) {
    return {.attempt = id,
            .task = task,
            .run_key = "",
            .epoch = epoch,
            .last_seq = 9,
            .running = false};
  }
  // The id of a task of the sample, which this scheduler does not know yet.
  static std::string IdOf(TaskKind kind) {
    State other;
    AfterLoad(other, 0, 1);
    Step(other,
         SweepSubmitted{
             .sweep_id = "other", .sweep = MakeSweep({}), .dataset_paths = SampleDatasets()},
         0, 0);
    for (const auto& [id, task] : other.tasks) {
      if (task.kind == kind) return id;
    }
    ADD_FAILURE() << "there is no such task";
    return "";
  }
  // The current training ends, and nobody has the files of its final checkpoint any more.
  AttemptState EndWithoutFiles() {
    const Attempt attempt = Current(Train());
    SampleJournal journal = Begin(attempt);
    journal.Checkpoint(Sha256Hex("final"), 125, true);
    const auto& entry = journal.entries.at(2);
    Do(JournalReceived{.session = 1,
                       .attempt = attempt.id,
                       .epoch = attempt.epoch,
                       .first_seq = 3,
                       .records = {{.record = entry.record,
                                    .line = entry.line,
                                    .bytes_stored = false,
                                    .files_gone = true}}});
    EXPECT_EQ(Train().state, TaskState::kReady);
    return state.attempts.at(attempt.id).state;
  }
};

TEST_F(KeptTest, AnEvaluationThatWaitsForItsTrainingIsAdoptedOnceItMayRun) {
  Submit({});
  const StepResult arrived = Arrive("w", {CpuSlot(0), CpuSlot(1)}, 1, {Kept(Evaluate().id)});
  EXPECT_EQ(Commands<WelcomeMessage>(arrived).at(0).attempts.at(0).verdict, Verdict::kFenced);
  EXPECT_EQ(Evaluate().state, TaskState::kBlocked);

  SampleJournal journal = Begin(Current(Train()));
  journal.Checkpoint(Sha256Hex("final"), 125, true);
  journal.Final();
  const StepResult result = Deliver(Current(Train()), journal);
  EXPECT_EQ(Train().state, TaskState::kSucceeded);
  EXPECT_EQ(Evaluate().state, TaskState::kReserved);
  EXPECT_EQ(Evaluate().attempt, kEarlierId);
  EXPECT_TRUE(Commands<SendStart>(result).empty());
  const auto welcomes = Commands<WelcomeMessage>(result);
  ASSERT_EQ(welcomes.size(), 1u);
  EXPECT_EQ(welcomes[0].attempts.at(0).attempt, kEarlierId);
  EXPECT_EQ(welcomes[0].attempts.at(0).verdict, Verdict::kContinue);
  EXPECT_EQ(welcomes[0].attempts.at(0).durable_seq, 0);

  Complete(Current(Evaluate()));
  EXPECT_EQ(Evaluate().state, TaskState::kSucceeded);
  EXPECT_EQ(Evaluate().attempts, 1);
}

TEST_F(KeptTest, ASweepThatIsSubmittedAgainTakesTheJournalsInsteadOfStarting) {
  const std::string train = IdOf(TaskKind::kTrain);
  const std::string evaluate = IdOf(TaskKind::kEvaluate);
  const StepResult arrived =
      Arrive("w", {CpuSlot()}, 1, {Kept(train), Kept(evaluate, 1, "01ARZ3NDEKTSV4RRFFQ69G5FAW")});
  ASSERT_EQ(arrived.warnings.size(), 1u);
  EXPECT_NE(arrived.warnings[0].find("the journals of 2 attempts"), std::string::npos);

  const StepResult submitted = Submit({});
  EXPECT_TRUE(Commands<SendStart>(submitted).empty());
  EXPECT_EQ(Commands<WelcomeMessage>(submitted).size(), 1u);
  EXPECT_EQ(Train().attempt, kEarlierId);
  Complete(Current(Train()));
  EXPECT_EQ(Evaluate().attempt, "01ARZ3NDEKTSV4RRFFQ69G5FAW");
  Complete(Current(Evaluate()));
  EXPECT_EQ(SweepStateName(state, "sweep-1"), "SUCCEEDED");
  EXPECT_EQ(state.attempts.size(), 2u);
  EXPECT_TRUE(state.index.kept.empty());
}

TEST_F(KeptTest, OfSeveralAttemptsTheNewestIsAdopted) {
  const std::string train = IdOf(TaskKind::kTrain);
  Arrive("w", {CpuSlot()}, 1, {Kept(train, 1), Kept(train, 3, "01ARZ3NDEKTSV4RRFFQ69G5FAX")});
  Arrive("v", {CpuSlot()}, 2, {Kept(train, 2, "01ARZ3NDEKTSV4RRFFQ69G5FAY")});
  Submit({});
  EXPECT_EQ(Train().attempt, "01ARZ3NDEKTSV4RRFFQ69G5FAX");
  EXPECT_EQ(Train().epoch, 3u);
}

TEST_F(KeptTest, AWorkerThatIsAwayIsNotWaitedFor) {
  const std::string train = IdOf(TaskKind::kTrain);
  Arrive("w", {CpuSlot()}, 1, {Kept(train)});
  Arrive("v", {CpuSlot()}, 2);
  Do(WorkerGone{.session = 1});
  EXPECT_EQ(Commands<SendStart>(Submit({})).size(), 1u);
  const std::string newer = Train().attempt;
  EXPECT_NE(newer, kEarlierId);
  // When it comes back, a newer attempt has the task.
  const StepResult back = Arrive("w", {CpuSlot()}, 3, {Kept(train)});
  EXPECT_EQ(Train().attempt, newer);
  EXPECT_EQ(Commands<WelcomeMessage>(back).at(0).attempts.at(0).verdict, Verdict::kFenced);
}

TEST_F(KeptTest, AWorkerThatNoLongerHasItIsNotAsked) {
  const std::string train = IdOf(TaskKind::kTrain);
  Arrive("w", {CpuSlot()}, 1, {Kept(train)});
  Arrive("w", {CpuSlot()}, 2);
  EXPECT_EQ(Commands<SendStart>(Submit({})).size(), 1u);
}

// Its task was removed and collected (gc), and a new one has its key.
TEST_F(KeptTest, AnAttemptOfADroppedTaskIsOfNoUse) {
  state.epoch_floor = 5;
  const StepResult arrived = Arrive("w", {CpuSlot()}, 1, {Kept(IdOf(TaskKind::kTrain), 5)});
  EXPECT_TRUE(arrived.warnings.empty());
  EXPECT_EQ(Commands<SendStart>(Submit({})).size(), 1u);
}

// It was still at work; the heartbeat that lists it comes when its task may run again.
TEST_F(KeptTest, AnAttemptThatAHeartbeatListsIsToldThatItWasAdopted) {
  Submit({});
  Arrive("w", {}, 1);
  const StepResult heard =
      Do(WorkerHeard{.session = 1, .number = 1, .attempts = {Kept(Train().id)}});
  EXPECT_EQ(Train().attempt, kEarlierId);
  const auto welcomes = Commands<WelcomeMessage>(heard);
  ASSERT_EQ(welcomes.size(), 1u);
  EXPECT_EQ(welcomes[0].attempts.at(0).verdict, Verdict::kContinue);
  // A worker closes its session if it does not speak the version.
  EXPECT_EQ(welcomes[0].protocol_version, state.workers.at("w").protocol);
  // Again until the first records have come, since the message may be lost with its session.
  EXPECT_EQ(Commands<WelcomeMessage>(
                Do(WorkerHeard{.session = 1, .number = 2, .attempts = {Kept(Train().id)}}))
                .size(),
            1u);
  Begin(Current(Train()));
  EXPECT_TRUE(Commands<WelcomeMessage>(
                  Do(WorkerHeard{.session = 1, .number = 3, .attempts = {Kept(Train().id)}}))
                  .empty());
}

// Else a worker could take any task: it may speak only of attempts that were given to it.
TEST_F(KeptTest, AnAttemptThatNoCoordinatorCanHavePlacedIsRefused) {
  const std::uint64_t of_now = (state.restore_count << 32) + 7;
  const auto expect_not_taken = [&](std::uint64_t epoch) {
    EXPECT_EQ(Train().attempt, "") << epoch;
    EXPECT_EQ(Train().state, TaskState::kReady) << epoch;
  };
  Submit({});
  const StepResult arrived = Arrive("w", {}, 1, {Kept(Train().id, of_now)});
  EXPECT_EQ(Commands<WelcomeMessage>(arrived).at(0).attempts.at(0).verdict, Verdict::kFenced);
  expect_not_taken(of_now);
  Do(WorkerHeard{.session = 1, .number = 1, .attempts = {Kept(Train().id, of_now)}});
  expect_not_taken(of_now);

  state.restore_count = 0;
  Do(WorkerHeard{.session = 1, .number = 2, .attempts = {Kept(Train().id)}});
  expect_not_taken(1);
}

// Invariant I-18.
TEST_F(KeptTest, AFinalCheckpointThatARestoreLostIsNotCounted) {
  Submit({});
  Arrive("w", {}, 1, {Kept(Train().id)});
  ASSERT_EQ(Train().attempt, kEarlierId);

  EXPECT_EQ(EndWithoutFiles(), AttemptState::kLost);
  EXPECT_EQ(Train().failures + Train().losses, 0);
}

TEST_F(KeptTest, AFinalCheckpointThatIsLostOtherwiseIsAFailure) {
  Submit({});
  Arrive("w", {CpuSlot()}, 1);
  ASSERT_NE(Train().attempt, "");

  EXPECT_EQ(EndWithoutFiles(), AttemptState::kFailed);
  EXPECT_EQ(Train().failures, 1);
}

}  // namespace
}  // namespace longrun::coordinator
