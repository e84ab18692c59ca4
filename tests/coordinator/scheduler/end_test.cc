// The class of an end decides what becomes of the task.
#include <algorithm>
#include <limits>
#include <tuple>

#include "base/random.h"
#include "tests/coordinator/scheduler/fixture.h"

namespace longrun::coordinator {
namespace {

constexpr std::int64_t kDayMs = 86'400'000;

class EndTest : public SchedulerTest {
 protected:
  EndTest() {
    Arrive("w", {CpuSlot()}, 1);
    Submit({.seeds = {1}, .context_lengths = {64}, .retry = {.failures_max = 1, .losses_max = 2}});
  }
  // Until the back-off is over; the worker is heard meanwhile.
  void AwaitPlacement() {
    for (int i = 0; i < 200 && Train().state == TaskState::kReady; ++i) {
      Wait(5'000);
      Do(WorkerHeard{.session = 1, .number = i, .attempts = {}});
    }
    ASSERT_EQ(Train().state, TaskState::kReserved);
  }
  // As its worker lists an attempt whose trainer is gone.
  LiveAttempt Gone(const std::string& id) {
    return Listed(state.attempts.at(id), /*running=*/false);
  }
  // The training of the run with this seed.
  Task& OfSeed(std::int64_t seed) {
    for (auto& [id, task] : state.tasks) {
      const bool is_its = state.runs.at(task.run_key).run.seed == seed;
      if (task.kind == TaskKind::kTrain && is_its) return task;
    }
    ADD_FAILURE() << "there is no such task";
    std::abort();
  }
};

// Invariant I-18.
TEST_F(EndTest, ACrashIsRetriedAfterAWaitUntilTheFailuresAreSpent) {
  Begin(Current(Train()));
  const StepResult end = Finish(Current(Train()), Signal(11));
  EXPECT_TRUE(Commands<AckMessage>(end).at(0).ended);
  EXPECT_EQ(Train().state, TaskState::kReady);
  EXPECT_EQ(Train().failures, 1);
  EXPECT_GT(Train().not_before, now);
  EXPECT_NE(Train().reason.find("crashed"), std::string::npos);

  AwaitPlacement();
  Begin(Current(Train()));
  Finish(Current(Train()), Signal(11));
  EXPECT_EQ(Train().state, TaskState::kFailed);
  EXPECT_NE(Train().reason.find("signal 11"), std::string::npos) << Train().reason;
  EXPECT_NE(Train().reason.find("longrun logs"), std::string::npos) << Train().reason;
  EXPECT_EQ(Evaluate().state, TaskState::kSkipped);
  EXPECT_NE(Evaluate().reason.find("training it needs"), std::string::npos);
  EXPECT_EQ(SweepStateName(state, "sweep-1"), "FAILED");
}

TEST_F(EndTest, ADurationIsOfTheBootClockWhicheverWayTheWallClockIsSet) {
  for (const std::int64_t set_ms : {-kDayMs, kDayMs}) {
    const std::string id = Train().attempt;
    Begin(state.attempts.at(id));
    now += 5'000;
    wall_set_ms = set_ms;
    Finish(state.attempts.at(id), Signal(11));

    const Attempt& ended = state.attempts.at(id);
    EXPECT_EQ(ended.duration_ms, 5'000);
    EXPECT_EQ(ended.duration_clock, DurationClock::kBoot);
    EXPECT_EQ(ended.ended_wall_ms - ended.started_wall_ms, 5'000 + set_ms);
    wall_set_ms = 0;
    if (set_ms < 0) AwaitPlacement();
  }
}

TEST_F(EndTest, ADurationGoesOnOverARestartOfTheCoordinator) {
  const std::string id = Train().attempt;
  Begin(Current(Train()));
  now += 5'000;
  wall_set_ms = -kDayMs;
  Restart();
  Arrive("w", {CpuSlot()}, 2, {Listed(state.attempts.at(id))});
  now += 2'000;
  Finish(state.attempts.at(id), Signal(11), 2);

  EXPECT_EQ(state.attempts.at(id).duration_ms, 7'000);
  EXPECT_EQ(state.attempts.at(id).duration_clock, DurationClock::kBoot);
}

// A machine without power for an hour ran nothing in it; the end of its journal comes afterwards.
TEST_F(EndTest, AnAttemptThatVanishedRanUntilTheLastRecordThatCameWhileItsTrainerWasRunning) {
  constexpr std::int64_t kHourMs = 3'600'000;
  const std::string id = Train().attempt, task = Train().id;
  SampleJournal journal = Begin(Current(Train()));
  now += 5'000;
  for (int i = 0; i < 2; ++i) journal.Append(RecordKind::kWarning, {{"message", "slow"}});
  Deliver(state.attempts.at(id), journal, 3, 3);
  EXPECT_EQ(state.attempts.at(id).duration_ms, 5'000);
  now += kHourMs;
  wall_set_ms = kDayMs;
  Restart();
  Arrive("w", {CpuSlot()}, 2, {Gone(id)}, "B");
  Deliver(state.attempts.at(id), journal, 4, 4, 2);
  Finish(state.attempts.at(id), {}, 2);

  const Attempt& ended = state.attempts.at(id);
  EXPECT_EQ(ended.failure_class, "vanished");
  EXPECT_EQ(ended.duration_ms, 5'000);
  EXPECT_EQ(ended.duration_clock, DurationClock::kBoot);
  EXPECT_EQ(state.index.ended.at(task).ran_ms, 5'000);
}

TEST_F(EndTest, AnAttemptThatIsLostRanUntilItsLastRecord) {
  const std::string id = Train().attempt;
  SampleJournal journal = Begin(Current(Train()));
  now += 5'000;
  journal.Append(RecordKind::kWarning, {{"message", "slow"}});
  Deliver(state.attempts.at(id), journal);
  Wait(2 * state.limits.lease_ms);

  EXPECT_EQ(state.attempts.at(id).state, AttemptState::kLost);
  EXPECT_EQ(state.attempts.at(id).duration_ms, 5'000);
}

// Its worker was killed, and is started again after the lease: its trainer had gone on alone. The
// coordinator may have been started again meanwhile.
class LateEndTest : public EndTest, public testing::WithParamInterface<bool> {};

TEST_P(LateEndTest, AnAttemptThatWasLostRanUntilItsLastRecordWheneverThatComes) {
  const std::string id = Train().attempt, task = Train().id;
  SampleJournal journal = Begin(Current(Train()));
  now += 14'000;
  journal.t_ms = 14'000;
  journal.Append(RecordKind::kWarning, {{"message", "slow"}});
  Deliver(state.attempts.at(id), journal);
  Wait(2 * state.limits.lease_ms);
  ASSERT_EQ(state.attempts.at(id).state, AttemptState::kLost);
  ASSERT_EQ(state.attempts.at(id).duration_ms, 14'000);
  const std::int64_t ended_ms = state.attempts.at(id).ended_wall_ms;
  if (GetParam()) Restart();
  now += 3'600'000;
  for (const std::int64_t t_ms : {60'000, 126'000}) {
    journal.t_ms = t_ms;
    journal.Append(RecordKind::kWarning, {{"message", "slower"}});
  }
  Arrive("w", {CpuSlot()}, 2, {Gone(id)}, "B");
  Deliver(state.attempts.at(id), journal, 4, 4, 2);
  EXPECT_EQ(state.attempts.at(id).duration_ms, 60'000);
  Deliver(state.attempts.at(id), journal, 5, 5, 2);
  Finish(state.attempts.at(id), {}, 2);

  const Attempt& lost = state.attempts.at(id);
  EXPECT_EQ(lost.state, AttemptState::kLost);
  EXPECT_EQ(lost.durable_seq, 5);
  EXPECT_EQ(lost.duration_ms, 126'000);
  EXPECT_EQ(lost.duration_clock, DurationClock::kBoot);
  EXPECT_EQ(lost.ended_wall_ms, ended_ms);
  EXPECT_EQ(state.index.ended.at(task).ran_ms, 126'000);
  Restart();
  EXPECT_EQ(state.attempts.at(id).duration_ms, 126'000);
  EXPECT_EQ(state.index.ended.at(task).ran_ms, 126'000);
}
INSTANTIATE_TEST_SUITE_P(EndTest, LateEndTest, testing::Bool());

// Its trainer is still running then, and is stopped.
TEST_F(EndTest, ALostAttemptThatIsListedAsRunningRanUntilItsLastRecordAndNeverBeyondNow) {
  const std::string id = Train().attempt;
  SampleJournal journal = Begin(Current(Train()));
  Wait(2 * state.limits.lease_ms);
  const Instant lost_for_ms = now - state.attempts.at(id).started_boot_ms;
  journal.t_ms = kDayMs;
  journal.Append(RecordKind::kWarning, {{"message", "slow"}});
  Arrive("w", {CpuSlot()}, 2, {Listed(state.attempts.at(id))}, "B");
  Deliver(state.attempts.at(id), journal, 3, 3, 2);
  EXPECT_EQ(state.attempts.at(id).duration_ms, lost_for_ms);
}

// Nobody saw when it ended, only how: the time until the coordinator was there again is not its.
class UnheardEndTest : public EndTest, public testing::WithParamInterface<bool> {};

TEST_P(UnheardEndTest, ATrainerThatEndedWhileNobodyListenedRanUntilItsLastRecordByItsClock) {
  constexpr std::int64_t kHourMs = 3'600'000;
  const bool is_complete = GetParam();
  const std::string id = Train().attempt;
  SampleJournal journal = Begin(Current(Train()));
  now += 5'000;
  journal.t_ms = 5'000;
  journal.Append(RecordKind::kWarning, {{"message", "slow"}});
  Deliver(state.attempts.at(id), journal);
  now += kHourMs;
  Restart();
  journal.t_ms += 2'000;
  if (is_complete) {
    journal.Checkpoint(Sha256Hex("final"), 125, true);
    journal.t_ms += 100;
    journal.Final();
  } else {
    journal.Append(RecordKind::kWarning, {{"message", "slower"}});
  }
  Arrive("w", {CpuSlot()}, 2, {Gone(id)});
  now += 3'000;
  Do(WorkerHeard{.session = 2, .number = 1, .attempts = {Gone(id)}});
  Deliver(state.attempts.at(id), journal, 4, std::ssize(journal.entries), 2);
  Finish(state.attempts.at(id), is_complete ? Exit(0) : Signal(11), 2);

  const Attempt& ended = state.attempts.at(id);
  EXPECT_EQ(ended.state, is_complete ? AttemptState::kSucceeded : AttemptState::kFailed);
  EXPECT_EQ(ended.duration_ms, is_complete ? 7'100 : 7'000);
  EXPECT_EQ(ended.duration_clock, DurationClock::kBoot);
}
INSTANTIATE_TEST_SUITE_P(EndTest, UnheardEndTest, testing::Bool());

TEST_F(EndTest, ATrainersClockThatWasSetMakesADurationNeitherShorterNorLongerThanSinceItsOffer) {
  using Limits = std::numeric_limits<std::int64_t>;
  for (const auto& [before, after, is_since_offer] :
       {std::tuple(Limits::max(), Limits::min(), true), std::tuple(0l, -1l, false),
        std::tuple(0l, kDayMs, true), std::tuple(Limits::min(), Limits::max(), true)}) {
    const std::string id = Train().attempt;
    now += 500;
    const Instant offered_ms = now - state.attempts.at(id).offered_boot_ms;
    ASSERT_GE(offered_ms, 500);
    SampleJournal journal = Begin(Current(Train()));
    now += 5'000;
    journal.t_ms = before;
    journal.Append(RecordKind::kWarning, {{"message", "slow"}});
    journal.t_ms = after;
    journal.Append(RecordKind::kWarning, {{"message", "slower"}});
    Deliver(state.attempts.at(id), journal, 3, 3);
    Do(WorkerHeard{.session = 1, .number = 1, .attempts = {Gone(id)}});
    now += 3'000;
    Deliver(state.attempts.at(id), journal, 4, 4);
    EXPECT_EQ(state.attempts.at(id).duration_ms, is_since_offer ? offered_ms + 8'000 : 5'000)
        << before << ", " << after;
    Finish(state.attempts.at(id), Exit(75));  // asked to stop: it goes on later
    AwaitPlacement();
  }
}

// Its records took a while to come: that time is not counted twice.
TEST_F(EndTest, RecordsThatWereLateBeforeTheEndMakeNoDurationLonger) {
  const std::string id = Train().attempt;
  SampleJournal journal = Begin(Current(Train()));
  journal.t_ms = 5'000;
  journal.Append(RecordKind::kWarning, {{"message", "slow"}});
  now += 10'000;
  Deliver(state.attempts.at(id), journal);
  journal.t_ms = 12'000;
  journal.Append(RecordKind::kWarning, {{"message", "slower"}});
  now += 2'000;
  Do(WorkerHeard{.session = 1, .number = 1, .attempts = {Gone(id)}});
  now += 60'000;
  Deliver(state.attempts.at(id), journal);
  Finish(state.attempts.at(id), Exit(75));
  EXPECT_EQ(state.attempts.at(id).duration_ms, 12'000);
}

// The worker was stopped by a signal when it had accepted the task. The trainer began 2 s later,
// and ended before the worker went on.
struct LateStart {
  bool is_listed = false;  // as ended, before its journal came
  bool restarts = false;   // the coordinator
  std::int64_t wall_set_ms = 0;
};
class LateStartTest : public EndTest, public testing::WithParamInterface<LateStart> {};

TEST_P(LateStartTest, AnAttemptWhoseWholeJournalComesLateRanForAsLongAsItsTrainerSays) {
  const std::string id = Train().attempt;
  const std::int64_t offered_wall_ms = 1'700'000'000'000 + now;
  Accept(state.attempts.at(id));
  SampleJournal journal = Begun(state.attempts.at(id));
  journal.t_ms = 28'500;
  journal.Checkpoint(Sha256Hex("final"), 125, true);
  journal.t_ms = 28'800;
  journal.Final();
  now += 31'000;
  wall_set_ms = GetParam().wall_set_ms;
  if (GetParam().restarts) Restart();
  const SessionId session = GetParam().restarts ? 2 : 1;
  if (GetParam().restarts) Arrive("w", {CpuSlot()}, session, {Listed(state.attempts.at(id))});
  if (GetParam().is_listed) {
    LiveAttempt listed = Gone(id);
    listed.last_seq = 4;
    Do(WorkerHeard{.session = session, .number = 1, .attempts = {listed}});
  }
  for (std::int64_t seq = 1; seq <= 3; ++seq) {
    Deliver(state.attempts.at(id), journal, seq, seq, session);
    now += 100;
  }
  EXPECT_EQ(state.attempts.at(id).duration_ms, 28'500);
  Deliver(state.attempts.at(id), journal, 4, 4, session);
  Finish(state.attempts.at(id), Exit(0), session);

  const Attempt& ended = state.attempts.at(id);
  EXPECT_EQ(ended.state, AttemptState::kSucceeded);
  EXPECT_EQ(ended.duration_ms, 28'800);
  EXPECT_EQ(ended.duration_clock, DurationClock::kBoot);
  EXPECT_EQ(ended.started_wall_ms, offered_wall_ms + 2'500 + wall_set_ms);
  Restart();
  EXPECT_EQ(state.attempts.at(id).duration_ms, 28'800);
}
INSTANTIATE_TEST_SUITE_P(EndTest, LateStartTest,
                         testing::Values(LateStart{}, LateStart{.is_listed = true},
                                         LateStart{.restarts = true},
                                         LateStart{.wall_set_ms = -kDayMs},
                                         LateStart{.restarts = true, .wall_set_ms = kDayMs}));

// Its trainer is still running: what the views show, and the end that the worker sees, count from
// the same start.
TEST_F(EndTest, AStartThatWasHeardLateIsThatOfTheWholeAttempt) {
  const std::string id = Train().attempt;
  now += 12'000;
  SampleJournal journal = Begin(Current(Train()));
  const Instant heard_at = now;
  journal.t_ms = 10'000;
  journal.Append(RecordKind::kWarning, {{"message", "slow"}});
  Deliver(state.attempts.at(id), journal);
  EXPECT_EQ(state.attempts.at(id).started_boot_ms, heard_at - 10'000);
  EXPECT_EQ(state.attempts.at(id).duration_ms, 10'000);
  Restart();
  Arrive("w", {CpuSlot()}, 2, {Listed(state.attempts.at(id))});
  now += 1'000;
  Finish(state.attempts.at(id), Signal(11), 2);
  EXPECT_EQ(state.attempts.at(id).duration_ms, 11'000);
}

// The backup was made before the attempt was placed, so only the attempt's id says when that was. A
// trainer whose clock was set has not run since before that either.
class AdoptedTest : public EndTest, public testing::WithParamInterface<std::int64_t> {};

TEST_P(AdoptedTest, AnAttemptThatARestoredDatabaseDoesNotKnowRanForAsLongAsItsTrainerSays) {
  const std::int64_t ran_ms = GetParam();
  SeededRandom random(3);
  const Attempt unknown = {.id = MakeUlid(1'700'000'000'000 + now, random),
                           .task = Train().id,
                           .epoch = Train().epoch + 1,
                           .worker = "w"};
  now += 20'000;
  Restart(/*restored=*/true);
  Arrive("w", {CpuSlot()}, 2, {Listed(unknown, /*running=*/false)}, "B");
  ASSERT_EQ(Train().attempt, unknown.id);
  SampleJournal journal = Begun(unknown);
  journal.t_ms = ran_ms;
  journal.Checkpoint(Sha256Hex("final"), 125, true);
  journal.Final();
  now += 100;
  Deliver(state.attempts.at(unknown.id), journal, 1, std::ssize(journal.entries), 2);
  Finish(state.attempts.at(unknown.id), Exit(0), 2);

  EXPECT_EQ(state.attempts.at(unknown.id).state, AttemptState::kSucceeded);
  EXPECT_EQ(state.attempts.at(unknown.id).duration_ms, std::min<std::int64_t>(ran_ms, 20'100));
}
INSTANTIATE_TEST_SUITE_P(EndTest, AdoptedTest, testing::Values(14'900, kDayMs));

// Its last checkpoint is uploaded after its trainer has ended.
TEST_F(EndTest, TheTimeOfAnUploadAfterItsEndIsNotPartOfACompleteAttempt) {
  const std::string id = Train().attempt;
  SampleJournal journal = Begin(Current(Train()));
  now += 5'000;
  journal.t_ms = 5'000;
  journal.Append(RecordKind::kWarning, {{"message", "slow"}});
  Deliver(state.attempts.at(id), journal);
  journal.t_ms = 5'400;
  journal.Checkpoint(Sha256Hex("final"), 125, true);
  journal.Final();
  Do(WorkerHeard{.session = 1, .number = 1, .attempts = {Gone(id)}});
  now += 60'000;
  Deliver(state.attempts.at(id), journal);
  EXPECT_EQ(state.attempts.at(id).state, AttemptState::kSucceeded);
  EXPECT_EQ(state.attempts.at(id).duration_ms, 5'400);
}

// An attempt of an earlier release, of which no record has come since.
TEST_F(EndTest, AnAttemptWhoseLastRecordHasNoTimeRanUntilItsEnd) {
  const std::string id = Train().attempt;
  Begin(Current(Train()));
  state.attempts.at(id).duration_clock = DurationClock::kNone;
  now += 5'000;
  Finish(state.attempts.at(id), {});
  EXPECT_EQ(state.attempts.at(id).duration_ms, 5'000);
  EXPECT_EQ(state.attempts.at(id).duration_clock, DurationClock::kBoot);
}

// Another worker process may list the trainer as ended before it finds it again.
TEST_F(EndTest, RecordsOfATrainerThatIsListedAgainAsRunningCount) {
  const std::string id = Train().attempt;
  SampleJournal journal = Begin(Current(Train()));
  for (int i = 0; i < 2; ++i) journal.Append(RecordKind::kWarning, {{"message", "slow"}});
  now += 5'000;
  Do(WorkerHeard{.session = 1, .number = 1, .attempts = {Gone(id)}});
  Deliver(state.attempts.at(id), journal, 3, 3);
  EXPECT_EQ(state.attempts.at(id).duration_ms, 0);
  Do(WorkerHeard{.session = 1, .number = 2, .attempts = {Listed(state.attempts.at(id))}});
  Deliver(state.attempts.at(id), journal, 4, 4);
  EXPECT_EQ(state.attempts.at(id).duration_ms, 5'000);
}

// The trainer began and died while nobody listened.
TEST_F(EndTest, AnAttemptOfWhichOnlyTheJournalCameRanForNoTime) {
  const std::string id = Train().attempt;
  Accept(state.attempts.at(id));
  SampleJournal journal = Begun(state.attempts.at(id));
  journal.Append(RecordKind::kWarning, {{"message", "slow"}});
  LiveAttempt listed = Gone(id);
  listed.last_seq = 3;
  Arrive("w", {CpuSlot()}, 2, {listed}, "B");
  Deliver(state.attempts.at(id), journal, 1, 2, 2);
  now += 5'000;
  Deliver(state.attempts.at(id), journal, 3, 3, 2);
  Finish(state.attempts.at(id), {}, 2);
  EXPECT_EQ(state.attempts.at(id).failure_class, "vanished");
  EXPECT_EQ(state.attempts.at(id).duration_ms, 0);
}

TEST_F(EndTest, TheCheckpointOfAnAttemptThatEndsAsDataIsInDoubt) {
  SampleJournal journal = Begin(Current(Train()));
  journal.Checkpoint(Sha256Hex("step 50"), 50, false);
  Deliver(Current(Train()), journal);
  EXPECT_TRUE(Finish(Current(Train()), Signal(9)).doubtful_checkpoints.empty());
  AwaitPlacement();
  Begin(Current(Train()));
  const StepResult resumed = Finish(Current(Train()), Exit(65));
  EXPECT_EQ(resumed.doubtful_checkpoints, std::vector{Sha256Hex("step 50")});
  AwaitPlacement();
  ASSERT_FALSE(Current(Train()).resume.has_value());
  Complete(Current(Train()));
  Begin(Current(Evaluate()));

  const StepResult evaluated = Finish(Current(Evaluate()), Exit(65));

  EXPECT_EQ(evaluated.doubtful_checkpoints, std::vector{Sha256Hex("final")});
}

TEST_F(EndTest, TheAdviceIsLeftOutWhereTheMessageHasTheRemedy) {
  const std::string advice(FailureOf(FailureClass::kData).advice);
  for (const auto& [message, is_told] :
       {std::pair("cannot open /mnt/backup/tiny: No such file or directory", false),
        std::pair("/data/tiny is cut short; import the dataset again", true)}) {
    if (Train().state == TaskState::kFailed) {
      Do(RetryRequested{.sweep_id = "", .tasks = {Train().id}});
    }
    while (Train().state != TaskState::kFailed) {
      AwaitPlacement();
      const Attempt& attempt = Current(Train());
      SampleJournal journal = Begin(attempt);
      journal.Append(RecordKind::kFailed, {{"class", "data"}, {"message", message}});
      Deliver(attempt, journal);
      Finish(attempt, Exit(65));
    }
    EXPECT_NE(Train().reason.find(message), std::string::npos) << Train().reason;
    EXPECT_EQ(Train().reason.find(advice) == std::string::npos, is_told) << Train().reason;
  }
}

TEST_F(EndTest, TheTimeOfEarlierAttemptsIsKept) {
  const std::string task = Train().id;
  Begin(Current(Train()));
  now += 5'000;
  Finish(Current(Train()), Signal(11));
  AwaitPlacement();
  Begin(Current(Train()));
  now += 2'000;
  Finish(Current(Train()), Signal(11));

  EXPECT_EQ(state.index.ended.at(task).n, 2);
  EXPECT_EQ(state.index.ended.at(task).ran_ms, 7'000);
  Restart();
  EXPECT_EQ(state.index.ended.at(task).ran_ms, 7'000);
}

// Of another boot, or of an earlier release, which did not note it.
TEST_F(EndTest, OverARebootTheWallClockMeasuresADurationAndNeverBelowZero) {
  for (const char* const boot : {"boot-1", ""}) {
    for (const std::int64_t set_ms : {-kDayMs, std::int64_t{3'600'000}}) {
      const std::string id = Train().attempt;
      Begin(state.attempts.at(id));
      state.attempts.at(id).started_boot = boot;
      state.boot = "boot-2";
      wall_set_ms = set_ms;
      Finish(state.attempts.at(id), Signal(11));

      EXPECT_EQ(state.attempts.at(id).duration_ms, std::max<std::int64_t>(set_ms, 0));
      EXPECT_EQ(state.attempts.at(id).duration_clock, DurationClock::kWall);
      state.boot = "boot-1";
      wall_set_ms = 0;
      if (Train().state == TaskState::kFailed)
        Do(RetryRequested{.sweep_id = "", .tasks = {Train().id}});
      AwaitPlacement();
    }
  }
}

TEST_F(EndTest, ATrainerThatVanishedIsTriedAgainAfterAWaitAndAfterARebootAtOnce) {
  Begin(Current(Train()));
  Finish(Current(Train()), {});
  EXPECT_EQ(Current(Train()).failure_class, "vanished");
  EXPECT_EQ(Train().state, TaskState::kReady);
  EXPECT_GT(Train().not_before, now);
  AwaitPlacement();

  const std::string id = Train().attempt;
  Begin(Current(Train()));
  state.boot = "boot-2";
  Finish(Current(Train()), {});
  EXPECT_EQ(state.attempts.at(id).failure_class, "vanished");
  EXPECT_EQ(Train().losses, 2);  // it costs as much
  EXPECT_EQ(Train().state, TaskState::kReserved);
  EXPECT_NE(Train().attempt, id);
}

// All processes of the machine are killed, without a reboot; the worker is restarted, and with it
// the coordinator or not.
TEST_F(EndTest, ATrainerThatEndedWithItsWorkerIsTriedAgainAtOnceAndAfterAWaitIfItHappensAgain) {
  Begin(Current(Train()));
  const std::string first = Train().attempt;
  Arrive("w", {CpuSlot()}, 2, {Gone(first)}, "B");
  Finish(state.attempts.at(first), {}, 2);
  EXPECT_EQ(state.attempts.at(first).failure_class, "vanished");
  EXPECT_EQ(Train().losses, 1);
  EXPECT_EQ(Train().state, TaskState::kReserved);
  // It was alone, so it may be what ends the worker.
  Begin(Current(Train()), 2);
  const std::string second = Train().attempt;
  EXPECT_NE(second, first);
  Restart();
  Arrive("w", {CpuSlot()}, 1, {Gone(second)}, "C");
  Finish(state.attempts.at(second), {});
  EXPECT_EQ(Train().losses, 2);
  EXPECT_EQ(Train().state, TaskState::kReady);
  EXPECT_GT(Train().not_before, now);
}

// The second time, they may be what ends it: two tasks that fill the machine's memory, say.
TEST_F(EndTest, TrainersThatEndedTogetherWithTheirWorkerAreTriedAgainAtOnceTheFirstTime) {
  Arrive("w", {CpuSlot(0), CpuSlot(1)}, 2, {}, "B");
  Submit({.seeds = {7}, .context_lengths = {}, .retry = {.losses_max = 2}}, "sweep-2");
  const std::vector<std::string> tasks = {OfSeed(1).id, OfSeed(7).id};
  for (int i = 1; i <= 2; ++i) {
    std::vector<LiveAttempt> dead;
    for (const std::string& task : tasks) {
      ASSERT_EQ(state.tasks.at(task).state, TaskState::kReserved) << i;
      dead.push_back(Gone(state.tasks.at(task).attempt));
      Begin(Current(state.tasks.at(task)), i == 1 ? 2 : 1);
    }
    if (i == 1) Restart();
    Arrive("w", {CpuSlot(0), CpuSlot(1)}, i == 1 ? 1 : 3, dead, i == 1 ? "C" : "D");
    for (const LiveAttempt& live : dead) {
      Finish(state.attempts.at(live.attempt), {}, i == 1 ? 1 : 3);
    }
    for (const std::string& task : tasks) EXPECT_EQ(state.tasks.at(task).losses, i);
  }
  for (const std::string& task : tasks) {
    EXPECT_EQ(state.tasks.at(task).state, TaskState::kReady);
    EXPECT_GT(state.tasks.at(task).not_before, now);
  }
}

TEST_F(EndTest, ATrainerThatVanishedWhileAnotherOfItsWorkerRunsIsTriedAgainAfterAWait) {
  Arrive("w", {CpuSlot(0), CpuSlot(1)}, 2, {}, "B");
  Submit({.seeds = {7}, .context_lengths = {}}, "sweep-2");
  const std::string gone = OfSeed(7).attempt, alive = OfSeed(1).attempt;
  for (const std::string& id : {gone, alive}) Begin(state.attempts.at(id), 2);
  Arrive("w", {CpuSlot(0), CpuSlot(1)}, 3, {Gone(gone), Listed(state.attempts.at(alive))}, "C");
  Finish(state.attempts.at(gone), {}, 3);
  EXPECT_EQ(OfSeed(7).state, TaskState::kReady);
  EXPECT_GT(OfSeed(7).not_before, now);
  EXPECT_EQ(OfSeed(1).state, TaskState::kRunning);
}

TEST_F(EndTest, AnAttemptThatNeverRanHasNoDuration) {
  const std::string id = Train().attempt;
  Do(AttemptRejected{.session = 1,
                     .attempt = id,
                     .epoch = Current(Train()).epoch,
                     .failure_class = "",
                     .reason = "busy"});

  EXPECT_FALSE(IsLive(state.attempts.at(id).state));
  EXPECT_EQ(state.attempts.at(id).duration_clock, DurationClock::kNone);
}

TEST_F(EndTest, ANumericalFailureIsAResultAndNeverRetried) {
  SampleJournal journal = Begin(Current(Train()));
  journal.Append(RecordKind::kFailed,
                 {{"class", "numerical"}, {"message", "loss is NaN at step 7"}});
  Deliver(Current(Train()), journal);
  Finish(Current(Train()), Exit(80));

  EXPECT_EQ(Train().state, TaskState::kFailed);
  EXPECT_EQ(Train().reason.substr(0, 32), "diverged: loss is NaN at step 7;");
  EXPECT_EQ(Current(Train()).failure_class, "numerical");
}

TEST_F(EndTest, ATrainerThatYieldedGoesOnAtOnceAtNobodysExpense) {
  Begin(Current(Train()));
  Finish(Current(Train()), Exit(75));

  EXPECT_EQ(Train().state, TaskState::kReserved);
  EXPECT_EQ(Train().failures + Train().losses, 0);
  EXPECT_EQ(Current(Train()).n, 2);
}

// Invariant I-18.
TEST_F(EndTest, LossesHaveABudgetOfTheirOwn) {
  for (int i = 0; i < 3; ++i) {
    Begin(Current(Train()));
    Finish(Current(Train()), EndEvidence{});  // no exit.json, no word: vanished
    EXPECT_EQ(Train().failures, 0);
    EXPECT_EQ(Train().losses, i + 1);
    if (i < 2) AwaitPlacement();
  }
  EXPECT_EQ(Train().state, TaskState::kFailed);
}

TEST_F(EndTest, TheEndIsTakenOnlyAfterTheWholeJournal) {
  SampleJournal journal = Begin(Current(Train()));
  const Attempt& attempt = Current(Train());
  const StepResult result = Do(AttemptFinished{.session = 1,
                                               .attempt = attempt.id,
                                               .epoch = attempt.epoch,
                                               .last_seq = 4,
                                               .evidence = Exit(0),
                                               .log_tail = ""});
  EXPECT_EQ(Commands<NackMessage>(result).at(0).expected_seq, 3);
  EXPECT_EQ(Train().state, TaskState::kRunning);
}

// Invariant I-8.
TEST_F(EndTest, ExitCodeZeroAloneIsNoSuccess) {
  Begin(Current(Train()));
  const Attempt& attempt = Current(Train());
  Finish(attempt, Exit(0));
  EXPECT_EQ(attempt.failure_class, "incomplete");
  EXPECT_EQ(Train().state, TaskState::kReady);
}

// Invariant I-18.
TEST_F(EndTest, AnEndToldTwiceCountsOnce) {
  Begin(Current(Train()));
  const Attempt& attempt = Current(Train());
  Finish(attempt, Signal(11));
  const StepResult again = Finish(attempt, Signal(11));
  EXPECT_EQ(Train().failures, 1);
  EXPECT_TRUE(Commands<AckMessage>(again).at(0).ended);
}

TEST_F(EndTest, TheEndOfAnAttemptNobodyKnowsIsAcknowledged) {
  const StepResult result = Do(AttemptFinished{.session = 1,
                                               .attempt = "01ARZ3NDEKTSV4RRFFQ69G5FAV",
                                               .epoch = 9,
                                               .last_seq = 3,
                                               .evidence = Exit(0),
                                               .log_tail = ""});
  EXPECT_TRUE(Commands<AckMessage>(result).at(0).ended);
  EXPECT_EQ(Commands<AckMessage>(result).at(0).durable_seq, 0);
}

TEST_F(EndTest, AfterADamagedCheckpointTheOneBeforeIsUsed) {
  SampleJournal journal = Begin(Current(Train()));
  journal.Checkpoint(Sha256Hex("1"), 10, false);
  journal.Checkpoint(Sha256Hex("2"), 20, false);
  Deliver(Current(Train()), journal);
  Finish(Current(Train()), Exit(75));
  ASSERT_EQ(Current(Train()).resume->step, 20);
  Accept(Current(Train()));
  Finish(Current(Train()), Exit(65));
  AwaitPlacement();
  EXPECT_EQ(Current(Train()).resume->step, 10);
}

TEST_F(EndTest, TheEndOfTheLogTellsAnAbortForWantOfMemoryFromACrash) {
  const Attempt& attempt = Current(Train());
  Do(AttemptFinished{
      .session = 1,
      .attempt = attempt.id,
      .epoch = attempt.epoch,
      .last_seq = attempt.durable_seq,
      .evidence = Signal(6),
      .log_tail = "terminate called after throwing an instance of 'std::bad_alloc'"});
  EXPECT_EQ(attempt.failure_class, "out_of_memory");
  EXPECT_EQ(Train().failures, 1);
  EXPECT_GT(Train().not_before, now);
}

// What no waiting for room mends waits longer each time, and ends as other failures do.
TEST_F(EndTest, AWorkerWithoutMemoryOrAtALimitIsNotAskedForEver) {
  const auto reject = [&](const char* failure_class) {
    return Do(AttemptRejected{.session = 1,
                              .attempt = Train().attempt,
                              .epoch = Train().epoch,
                              .failure_class = failure_class,
                              .reason = "no more"});
  };
  EXPECT_TRUE(Commands<SendStart>(reject("out_of_memory")).empty());
  EXPECT_EQ(Train().failures, 1);
  EXPECT_GE(Train().not_before, now + state.limits.back_off.base_ms / 2);
  AwaitPlacement();
  reject("limit");
  EXPECT_EQ(Train().state, TaskState::kFailed);
  EXPECT_NE(Train().reason.find("limit: no more (2 failures, 1 allowed)"), std::string::npos)
      << Train().reason;
}

TEST_F(EndTest, ARejectionWithAClassCountsByThatClass) {
  const Attempt& attempt = Current(Train());
  Do(AttemptRejected{.session = 1,
                     .attempt = attempt.id,
                     .epoch = attempt.epoch,
                     .failure_class = "data",
                     .reason = "no dataset"});
  EXPECT_EQ(Train().state, TaskState::kReady);
  EXPECT_EQ(Train().failures, 1);
  EXPECT_EQ(attempt.failure_class, "data");
}

}  // namespace
}  // namespace longrun::coordinator
