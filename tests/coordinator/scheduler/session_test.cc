// Sessions, inventories, leases, offers and cancelling.
#include <csignal>

#include "tests/coordinator/scheduler/fixture.h"

namespace longrun::coordinator {
namespace {

class SessionTest : public SchedulerTest {
 protected:
  SessionTest() {
    Arrive("w", {CpuSlot()}, 1);
    Submit({});
  }
  static AttemptVerdict OnlyVerdict(const StepResult& result) {
    const auto welcomes = Commands<WelcomeMessage>(result);
    EXPECT_EQ(welcomes.size(), 1u);
    return welcomes.at(0).attempts.at(0);
  }
  StepResult Reject(const Attempt& attempt, const std::string& failure_class) {
    return Do(AttemptRejected{.session = 1,
                              .attempt = attempt.id,
                              .epoch = attempt.epoch,
                              .failure_class = failure_class,
                              .reason = "for a reason"});
  }
};

TEST_F(SessionTest, AMessageOfAWorkerIsKeptOnOneLineWithoutControlCharacters) {
  const Attempt& attempt = Current(Train());
  Do(AttemptRejected{.session = 1,
                     .attempt = attempt.id,
                     .epoch = attempt.epoch,
                     .failure_class = "",
                     .reason = "\x1b]0;a\a\nb\r \u009b1m"});
  EXPECT_EQ(attempt.message, "\\x1b]0;a\\x07\\nb\\r \\x9b1m");
}

TEST_F(SessionTest, AnOfferWithoutAnswerIsWithdrawnAndNotCounted) {
  const Attempt& first = Current(Train());
  Wait(state.limits.offer_ms);
  EXPECT_EQ(first.state, AttemptState::kRejected);
  EXPECT_EQ(Train().failures + Train().losses, 0);
  EXPECT_EQ(Current(Train()).n, 2);
  // Its answer comes late: a newer attempt has the task.
  EXPECT_EQ(Commands<FencedMessage>(Accept(first)).size(), 1u);
}

TEST_F(SessionTest, ABusySlotIsNotAskedAgainAtOnce) {
  const StepResult result = Do(AttemptRejected{.session = 1,
                                               .attempt = Train().attempt,
                                               .epoch = Train().epoch,
                                               .failure_class = "",
                                               .reason = "a trainer still ends there"});
  EXPECT_TRUE(Commands<SendStart>(result).empty());
  EXPECT_EQ(Commands<SendStart>(Wait(1000)).size(), 1u);
  EXPECT_EQ(Train().failures + Train().losses, 0);
}

TEST_F(SessionTest, AWorkerThatWasStartedAgainIsNotMissed) {
  Begin(Current(Train()));
  EXPECT_TRUE(IsHeardOf(state, "w", now));

  Do(WorkerGone{.session = 1});
  EXPECT_TRUE(IsHeardOf(state, "w", now));
  EXPECT_TRUE(MissedWorkers(state, now).empty());
  Arrive("w", {CpuSlot()}, 2, {Listed(Current(Train()))}, "B");

  EXPECT_TRUE(IsHeardOf(state, "w", now));
}

TEST_F(SessionTest, AWorkerThatStaysAwayIsMissedWithTheEndOfItsLease) {
  Begin(Current(Train()));
  const Instant heard_at = now;
  Do(WorkerGone{.session = 1});
  Wait(state.limits.suspect_ms);
  EXPECT_TRUE(MissedWorkers(state, now).empty());

  Wait(1000);

  EXPECT_FALSE(IsHeardOf(state, "w", now));
  const std::vector<MissedWorker> missed = MissedWorkers(state, now);
  ASSERT_EQ(missed.size(), 1u);
  EXPECT_EQ(missed[0].worker->id, "w");
  EXPECT_EQ(missed[0].instead, nullptr);
  EXPECT_EQ(missed[0].tasks, std::set{Train().id});
  EXPECT_EQ(missed[0].n_elsewhere, 0);
  EXPECT_EQ(missed[0].lease_end, heard_at + state.limits.lease_ms);
  // It has a slot for the task while it takes work.
  Arrive("v", {CpuSlot()}, 7);
  EXPECT_EQ(MissedWorkers(state, now).at(0).n_elsewhere, 1);
  Do(WorkerDrained{.worker = "v"});
  EXPECT_EQ(MissedWorkers(state, now).at(0).n_elsewhere, 0);
  // Then the task is lost, as it was said, and nobody is missed any more.
  Wait(missed[0].lease_end - now);
  EXPECT_EQ(Train().losses, 1);
  EXPECT_TRUE(MissedWorkers(state, now).empty());
}

// As after a damaged worker_id: the machine comes back under another name.
TEST_F(SessionTest, AnotherNameOfTheSameMachineIsToldAtOnce) {
  Begin(Current(Train()));
  Restart();
  // Until somebody has come, nobody holds what is under way.
  EXPECT_FALSE(IsHeardOf(state, "w", now));
  EXPECT_TRUE(MissedWorkers(state, now).empty());
  state.workers.at("w").folder_id = "folder of both";
  WorkerArrived other{.session = 1, .worker = state.workers.at("w"), .attempts = {}};
  other.worker.id = "v";
  other.worker.incarnation = "B";

  Do(other);

  const std::vector<MissedWorker> missed = MissedWorkers(state, now);
  ASSERT_EQ(missed.size(), 1u);
  EXPECT_EQ(missed[0].worker->id, "w");
  ASSERT_NE(missed[0].instead, nullptr);
  EXPECT_EQ(missed[0].instead->id, "v");
}

// Two folders are two workers: renaming the healthy one would cost it its own tasks.
TEST_F(SessionTest, AWorkerOfAnotherFolderDoesNotComeInPlaceOfTheMissedOne) {
  Begin(Current(Train()));
  Restart();
  WorkerArrived other{.session = 1, .worker = state.workers.at("w"), .attempts = {}};
  other.worker.id = "v";
  other.worker.folder_id = "folder of v";
  other.worker.incarnation = "B";

  state.workers.at("w").folder_id = "folder of w";
  Do(other);
  EXPECT_TRUE(MissedWorkers(state, now).empty());
  Wait(state.limits.suspect_ms + 1000);

  const std::vector<MissedWorker> missed = MissedWorkers(state, now);
  ASSERT_EQ(missed.size(), 1u);
  EXPECT_EQ(missed[0].worker->id, "w");
  EXPECT_EQ(missed[0].instead, nullptr);
}

// A stopped trainer, or one that waits for a disk, while its worker goes on.
class QuietTest : public SessionTest {
 protected:
  void WaitHearing(std::int64_t ms) {
    for (; ms > 0; ms -= 1000) {
      Wait(1000);
      LiveAttempt live = Listed(Current(Train()), running);
      live.last_seq = seq + n_held_back;
      Do(WorkerHeard{.session = 1, .number = ++number, .attempts = {live}});
    }
  }
  void Report() {
    journal.Append(RecordKind::kProgress, {{"phase", "train"}, {"done", 1}, {"of", 9}});
    seq += 1;
    Deliver(Current(Train()), journal, seq, seq);
  }
  std::size_t NQuiet() const { return QuietAttempts(state, now).size(); }

  SampleJournal journal = Begin(Current(Train()));
  std::int64_t number = 0, seq = 2, n_held_back = 0;
  bool running = true;
};

TEST_F(QuietTest, ATrainerThatReportsNothingIsQuietUntilItReportsAgain) {
  WaitHearing(1000);
  Report();
  const Instant reported_at = now;
  WaitHearing(180'000);
  EXPECT_EQ(NQuiet(), 0u);
  WaitHearing(1000);
  const std::vector<const Attempt*> quiet = QuietAttempts(state, now);
  ASSERT_EQ(quiet.size(), 1u);
  EXPECT_EQ(quiet[0]->recorded_at, reported_at);
  Report();
  EXPECT_EQ(NQuiet(), 0u);
  // It once took three minutes, so fifteen are not unusual.
  WaitHearing(900'000);
  EXPECT_EQ(NQuiet(), 0u);
  WaitHearing(10'000);
  EXPECT_EQ(NQuiet(), 1u);
  // The worker is missed instead.
  Do(WorkerGone{.session = 1});
  Wait(state.limits.suspect_ms + 1000);
  EXPECT_EQ(NQuiet(), 0u);
}

TEST_F(QuietTest, NothingIsKnownUntilTwoRecordsHaveCome) {
  WaitHearing(500'000);  // reading a large dataset
  EXPECT_EQ(NQuiet(), 0u);
  WaitHearing(101'000);
  EXPECT_EQ(NQuiet(), 1u);
}

TEST_F(QuietTest, WhatTheWorkerHoldsBackIsNotTheTrainersSilence) {
  WaitHearing(1000);
  Report();
  n_held_back = 1;  // a checkpoint, whose files are being sent
  WaitHearing(300'000);
  EXPECT_EQ(NQuiet(), 0u);
  n_held_back = 0;
  running = false;  // its end has still to come
  WaitHearing(300'000);
  EXPECT_EQ(NQuiet(), 0u);
}

TEST_F(SessionTest, AWorkerWithoutWorkIsNotMissed) {
  Complete(Current(Train()));
  Complete(Current(Evaluate()));
  Do(WorkerGone{.session = 1});
  Wait(state.limits.suspect_ms + 1000);

  EXPECT_TRUE(MissedWorkers(state, now).empty());
}

// A full disk is not the task's fault, however long it stays full: five losses would end it.
TEST_F(SessionTest, AWorkerWithoutRoomCostsNothingAndIsAskedAgain) {
  for (int i = 0; i < 20; ++i) {
    EXPECT_TRUE(Commands<SendStart>(Reject(Current(Train()), "storage")).empty());
    EXPECT_EQ(Train().state, TaskState::kReady);
    EXPECT_EQ(Train().reason, "offered again: for a reason");
    EXPECT_EQ(Commands<SendStart>(Wait(15'000)).size(), 1u);
  }
  EXPECT_EQ(Train().failures + Train().losses, 0);
}

// Checkpoints may be large, and a disk slow: no deadline holds for what was taken.
TEST_F(SessionTest, WhatWasTakenMayBePreparedForAnyTime) {
  const Attempt& attempt = Current(Train());
  Accept(attempt);
  for (int i = 1; i <= 60; ++i) {
    Wait(5'000);
    Do(WorkerHeard{.session = 1, .number = i, .attempts = {Listed(attempt, false)}});
  }
  EXPECT_EQ(attempt.state, AttemptState::kAccepted);
  EXPECT_EQ(Train().attempts, 1);
}

TEST_F(SessionTest, APreparationThatFailedCountsByItsClass) {
  const Attempt& attempt = Current(Train());
  Accept(attempt);
  Reject(attempt, "data");
  EXPECT_EQ(attempt.state, AttemptState::kFailed);
  EXPECT_EQ(attempt.failure_class, "data");
  EXPECT_EQ(Train().failures, 1);
  Wait(120'000);
  EXPECT_EQ(Current(Train()).n, 2) << "its slot is free again";
}

TEST_F(SessionTest, WhatIsGivenBackBeforeItsTrainerStartedIsNotCounted) {
  const Attempt& attempt = Current(Train());
  Accept(attempt);
  Reject(attempt, "");
  EXPECT_EQ(attempt.state, AttemptState::kRejected);
  EXPECT_EQ(Train().failures + Train().losses, 0);
  Wait(2'000);
  EXPECT_EQ(Current(Train()).n, 2);
}

TEST_F(SessionTest, WhatHasRunCannotBeGivenBack) {
  const Attempt& attempt = Current(Train());
  Accept(attempt);
  Deliver(attempt, Begun(attempt), 1, 1);
  Reject(attempt, "");
  EXPECT_EQ(attempt.state, AttemptState::kAccepted);
  Deliver(attempt, Begun(attempt), 2, 2);
  Reject(attempt, "data");
  EXPECT_EQ(attempt.state, AttemptState::kRunning);
}

// Invariant I-16.
TEST_F(SessionTest, WhatIsCancelledWhileItIsPreparedEndsWithoutAStart) {
  const Attempt& attempt = Current(Train());
  Accept(attempt);
  EXPECT_EQ(Commands<StopMessage>(Do(SweepCancelled{.sweep_id = "sweep-1"})).size(), 1u);
  EXPECT_EQ(Train().state, TaskState::kStopping);
  Reject(attempt, "");
  EXPECT_EQ(Train().state, TaskState::kCancelled);
}

TEST_F(SessionTest, TheLeaseEndsAfterSilenceAndTheTaskGoesElsewhere) {
  const Attempt& first = Current(Train());
  Begin(first);
  Wait(state.limits.lease_ms - 1000);
  EXPECT_EQ(first.state, AttemptState::kRunning);
  const StepResult result = Wait(1000);
  EXPECT_EQ(first.state, AttemptState::kLost);
  EXPECT_EQ(Train().losses, 1);
  EXPECT_EQ(Train().state, TaskState::kReady);
  EXPECT_EQ(Commands<CloseSession>(result).size(), 1u);
  // It comes back: fenced, and its slot is not used while the trainer is there.
  const StepResult back = Arrive("w", {CpuSlot()}, 2, {Listed(first)});
  EXPECT_EQ(OnlyVerdict(back).verdict, Verdict::kFenced);
  EXPECT_TRUE(Commands<SendStart>(back).empty());
  EXPECT_EQ(Commands<SendStart>(Finish(first, Signal(15), 2)).size(), 1u);
}

TEST_F(SessionTest, AnyWordRenewsTheLease) {
  SampleJournal journal = Begin(Current(Train()));
  for (int i = 0; i < 4; ++i) {
    Wait(60'000);
    journal.Append(RecordKind::kSeries, {{"loss", 1}});
    Deliver(Current(Train()), journal);
  }
  EXPECT_EQ(Train().state, TaskState::kRunning);
}

TEST_F(SessionTest, LeasesCountFromTheStartOfTheCoordinatorAtTheEarliest) {
  Begin(Current(Train()));
  Wait(60'000);
  Restart();
  Wait(60'000);
  EXPECT_EQ(Train().state, TaskState::kRunning);
  Wait(30'000);
  EXPECT_EQ(Train().state, TaskState::kReady);
}

TEST_F(SessionTest, AMachineThatSleptExtendsAllLeases) {
  Begin(Current(Train()));
  now += 3'600'000;  // suspended for an hour: nobody could be heard
  Do(TimePassed{});
  EXPECT_EQ(Train().state, TaskState::kRunning);
}

TEST_F(SessionTest, ALostWordOfAcceptanceIsMadeUpByTheInventory) {
  const Attempt& attempt = Current(Train());
  const StepResult result = Arrive("w", {CpuSlot()}, 2, {Listed(attempt)});
  EXPECT_EQ(OnlyVerdict(result).verdict, Verdict::kContinue);
  EXPECT_EQ(attempt.state, AttemptState::kAccepted);
}

TEST_F(SessionTest, AnOfferThatTheWorkerDoesNotListWasNotReceived) {
  const Attempt& attempt = Current(Train());
  Arrive("w", {CpuSlot()}, 2);
  EXPECT_EQ(attempt.state, AttemptState::kRejected);
  EXPECT_EQ(Train().losses, 0);
  EXPECT_EQ(Current(Train()).n, 2);
}

TEST_F(SessionTest, ARunningAttemptThatTheWorkerDoesNotListHasVanished) {
  const Attempt& attempt = Current(Train());
  Begin(attempt);
  Arrive("w", {CpuSlot()}, 2);
  EXPECT_EQ(attempt.failure_class, "vanished");
  EXPECT_EQ(Train().losses, 1);
}

// Somebody kills the worker while it fetches a dataset; or fetching it takes all memory.
class UnpreparedTest : public SessionTest {
 protected:
  // An offer is accepted; then its worker dies, and comes back.
  std::string DiePreparing() {
    const std::string id = Train().attempt;
    Accept(Current(Train()), session_);
    session_ += 1;
    Arrive("w", {CpuSlot()}, session_, {}, Str("again-", session_));
    return id;
  }
  void AwaitOffer() {
    for (int i = 0; i < 2000 && Train().state == TaskState::kReady; ++i) {
      Wait(1000);
      Do(WorkerHeard{.session = session_, .number = ++number_, .attempts = {}});
    }
    ASSERT_EQ(Train().state, TaskState::kReserved);
  }
  SessionId session_ = 1;
  std::int64_t number_ = 0;
};

// Invariant I-18.
TEST_F(UnpreparedTest, AWorkerThatDiesWhilePreparingCostsItsTaskNothing) {
  const std::string first = DiePreparing();
  const Attempt& attempt = state.attempts.at(first);
  EXPECT_EQ(attempt.state, AttemptState::kRejected);
  EXPECT_EQ(attempt.message,
            "worker w died while it was preparing the task (it had not started a trainer yet)");
  EXPECT_EQ(Train().losses + Train().failures, 0);
  EXPECT_EQ(Train().avoid_worker, "");
  // It has it again at once.
  EXPECT_EQ(Train().state, TaskState::kReserved);
  EXPECT_NE(Train().attempt, first);
}

// Invariant I-18.
TEST_F(UnpreparedTest, ATaskWhosePreparationKillsItsWorkerAgainAndAgainFails) {
  for (const int losses : {0, 0, 0, 1, 2, 3, 4, 5}) {
    const std::string id = DiePreparing();
    EXPECT_EQ(Train().losses, losses) << id;
    if (losses == 1) {
      // The count is that of the stored attempts.
      Restart();
      session_ = 1;
      Arrive("w", {CpuSlot()}, 1, {}, "after-the-restart");
    }
    AwaitOffer();
  }
  const std::string last = DiePreparing();
  EXPECT_EQ(state.attempts.at(last).failure_class, "vanished");
  EXPECT_EQ(Train().state, TaskState::kFailed);
  EXPECT_EQ(
      Train().reason,
      "vanished: worker w died while it was preparing the task (it had not started a trainer "
      "yet), as its workers did at least 3 times before: the task may be the cause, if what it "
      "reads does not fit into the memory that the worker may use; look at the system log of "
      "the worker's machine (6 losses, 5 allowed)");
}

TEST_F(UnpreparedTest, OnlyTimesInARowCountAsLosses) {
  for (int i = 0; i < 3; ++i) DiePreparing();
  // What is withdrawn for another reason is none of them, and does not end the row.
  Do(AttemptRejected{.session = session_,
                     .attempt = Train().attempt,
                     .epoch = Train().epoch,
                     .failure_class = "",
                     .reason = "a trainer still ends there"});
  AwaitOffer();
  // Once its trainer has begun, preparing it has not killed its worker.
  Begin(Current(Train()), session_);
  Finish(Current(Train()), Exit(75), session_);
  AwaitOffer();
  for (int i = 0; i < 3; ++i) DiePreparing();
  EXPECT_EQ(Train().losses, 0);
  Restart();
  session_ = 1;
  Arrive("w", {CpuSlot()}, 1, {}, "after-the-restart");
  AwaitOffer();
  DiePreparing();
  EXPECT_EQ(Train().losses, 1);
}

// Its process is the same one: it has forgotten what it accepted, or somebody removed its folder.
TEST_F(UnpreparedTest, AWorkerThatGoesOnWithoutAnAcceptedAttemptHasLostIt) {
  const Attempt& attempt = Current(Train());
  Accept(attempt);
  Arrive("w", {CpuSlot()}, 2);
  EXPECT_EQ(attempt.failure_class, "vanished");
  EXPECT_EQ(attempt.state, AttemptState::kFailed);
  EXPECT_EQ(Train().losses, 1);
}

TEST_F(SessionTest, AnAttemptThatHeartbeatsNoLongerListHasVanished) {
  const Attempt& attempt = Current(Train());
  Begin(attempt);
  for (int i = 1; i <= 3; ++i) {
    Wait(5'000);
    Do(WorkerHeard{.session = 1, .number = i, .attempts = {}});
    const AttemptState expected = i < 3 ? AttemptState::kRunning : AttemptState::kFailed;
    EXPECT_EQ(attempt.state, expected) << "the first words may be old ones";
  }
  EXPECT_EQ(attempt.failure_class, "vanished");
}

TEST_F(SessionTest, ANewerIncarnationWinsAndAnOlderOneIsTurnedAway) {
  const StepResult newer = Arrive("w", {CpuSlot()}, 2, {}, "B");
  EXPECT_EQ(Commands<CloseSession>(newer).at(0).session, 1);
  const StepResult older = Arrive("w", {CpuSlot()}, 3, {}, "A");
  EXPECT_EQ(Commands<CloseSession>(older).at(0).session, 3);
  EXPECT_TRUE(Commands<WelcomeMessage>(older).empty());
  EXPECT_EQ(state.workers.at("w").session, 2);
}

// A second worker process with the id of the first one, but with a folder of its own.
class SameIdTest : public SessionTest {
 protected:
  SameIdTest() { ArriveFrom("folder-1", 2); }
  StepResult ArriveFrom(const std::string& folder_id, SessionId session,
                        const std::string& host = "w.example",
                        std::vector<LiveAttempt> attempts = {}, const std::string& start = "A") {
    WorkerArrived arrival = Arrival("w", {CpuSlot()}, session, std::move(attempts), start);
    arrival.worker.folder_id = folder_id;
    arrival.worker.host = host;
    return Do(arrival);
  }
  // The first worker keeps all that it has.
  void ExpectRefused(const StepResult& result, SessionId session) {
    ASSERT_EQ(Commands<CloseSession>(result).size(), 1u);
    EXPECT_EQ(Commands<CloseSession>(result)[0].session, session);
    EXPECT_TRUE(Commands<WelcomeMessage>(result).empty());
    EXPECT_TRUE(result.writes.empty());
    EXPECT_EQ(state.workers.at("w").host, "w.example");
    EXPECT_EQ(Train().state, TaskState::kRunning);
    EXPECT_EQ(Train().losses, 0);
  }
};

// Invariant I-44.
TEST_F(SameIdTest, WhileTheFirstHasASessionTheSecondIsRefusedAndNothingIsLost) {
  Begin(Current(Train()), 2);
  const StepResult result = ArriveFrom("folder-2", 3, "other.example", {}, "B");
  ExpectRefused(result, 3);
  EXPECT_EQ(state.workers.at("w").session, 2);
  EXPECT_EQ(Commands<CloseSession>(result)[0].reason,
            "worker w on host w.example already has this id, in another folder: start this worker "
            "with another --id and a new --state folder. If it is to replace the worker on "
            "w.example, stop the one there first: this one gets the session once the other has "
            "stopped, or was silent for 90 s");
  // The log says it once for each folder.
  ASSERT_EQ(result.warnings.size(), 1u);
  EXPECT_TRUE(result.warnings[0].starts_with("the Hello of a worker on host other.example"));
  EXPECT_TRUE(ArriveFrom("folder-2", 4, "other.example", {}, "B").warnings.empty());
  EXPECT_EQ(ArriveFrom("folder-3", 5, "other.example", {}, "B").warnings.size(), 1u);
}

// Invariant I-44.
TEST_F(SameIdTest, WhileTheLeaseOfTheFirstLivesTheSecondIsRefusedAlsoAfterARestart) {
  const Attempt& attempt = Current(Train());
  Begin(attempt, 2);
  Do(WorkerGone{.session = 2});
  ExpectRefused(ArriveFrom("folder-2", 3, "other.example", {}, "B"), 3);
  Restart();
  ExpectRefused(ArriveFrom("folder-2", 1, "other.example", {}, "B"), 1);

  // Killed or rebooted, the first one takes its place at once.
  const StepResult back = ArriveFrom("folder-1", 2, "w.example", {Listed(Current(Train()))}, "C");
  EXPECT_EQ(OnlyVerdict(back).verdict, Verdict::kContinue);
  EXPECT_EQ(Train().losses, 0);
}

TEST_F(SameIdTest, OnceTheFirstIsLostTheSecondTakesItsPlaceAndTheFirstIsRefused) {
  Begin(Current(Train()), 2);
  Wait(state.limits.lease_ms);
  EXPECT_EQ(Train().losses, 1);
  EXPECT_EQ(Commands<WelcomeMessage>(ArriveFrom("folder-2", 3, "other.example", {}, "B")).size(),
            1u);
  EXPECT_EQ(state.workers.at("w").host, "other.example");
  EXPECT_EQ(worker_log.back(),
            "I w READY: a worker with another folder took the place of the one on host w.example");
  EXPECT_EQ(Commands<CloseSession>(ArriveFrom("folder-1", 4)).at(0).session, 4);
  EXPECT_EQ(state.workers.at("w").session, 3);
}

TEST_F(SameIdTest, AWorkerThatHasStoppedAsItAnnouncedCanBeReplacedAtOnce) {
  Complete(Current(Train()), 2);
  Do(SweepCancelled{.sweep_id = "sweep-1"});
  Accept(Current(Evaluate()), 2);
  Finish(Current(Evaluate()), Signal(15), 2);
  Do(WorkerLeaves{.session = 2});
  Do(WorkerGone{.session = 2});
  EXPECT_EQ(Commands<WelcomeMessage>(ArriveFrom("folder-2", 3)).size(), 1u);
}

// A worker of an earlier release does not say its folder's id, nor does a restored database know
// who has come since the backup.
TEST_F(SameIdTest, AnUnknownFolderIsNotRefused) {
  EXPECT_EQ(Commands<WelcomeMessage>(ArriveFrom("", 3)).size(), 1u);
  EXPECT_EQ(Commands<WelcomeMessage>(ArriveFrom("folder-2", 4)).size(), 1u);
  Restart(/*restored=*/true);
  EXPECT_EQ(Commands<WelcomeMessage>(ArriveFrom("folder-3", 1)).size(), 1u);
}

// The lines of the log since the last call.
class PresenceTest : public SessionTest {
 protected:
  std::vector<std::string> Log() { return std::exchange(worker_log, {}); }
  using Lines = std::vector<std::string>;
};

TEST_F(PresenceTest, TheLogSaysThatAWorkerJoinsAndThatASessionReplacesAnother) {
  EXPECT_EQ(Log(), Lines{"I w READY: the worker joined with 1 slot"});
  Arrive("w", {CpuSlot()}, 2);
  EXPECT_EQ(Log(), Lines{"I w READY: the worker replaced its open session by a newer one"});
  Arrive("w", {CpuSlot()}, 3, {}, "B");
  EXPECT_EQ(Log(),
            Lines{"I w READY: the worker was started again, and its open session was replaced"});
  Do(WorkerGone{.session = 2});  // the one that was replaced
  EXPECT_EQ(Log(), Lines{});
}

TEST_F(PresenceTest, TheLogSaysOnceThatAWorkerIsSilentAndThatItIsHeardFromAgain) {
  Log();
  Wait(state.limits.suspect_ms);
  EXPECT_EQ(Log(), Lines{});
  Wait(20'000);
  EXPECT_EQ(Log(), Lines{"W w SUSPECT: nothing was heard from worker w for 16 s"});
  Do(WorkerHeard{.session = 1, .number = 1, .attempts = {}});
  Do(WorkerHeard{.session = 1, .number = 2, .attempts = {}});
  EXPECT_EQ(Log(), Lines{"I w READY: the worker was heard from again after 35 s of silence"});
}

TEST_F(PresenceTest, TheLogSaysOnceThatAWorkerIsLostAndThatItComesBack) {
  Log();
  Do(WorkerGone{.session = 1});
  EXPECT_EQ(Log(), Lines{"W w SUSPECT: the worker's session has ended"});
  Wait(2 * state.limits.lease_ms);
  EXPECT_EQ(Log(), Lines{"W w LOST: nothing was heard from worker w for 90 s"});
  Arrive("w", {CpuSlot()}, 2);
  EXPECT_EQ(Log(), Lines{"I w READY: the worker came back after it had been lost"});
  Restart();
  Arrive("w", {CpuSlot()}, 1);
  EXPECT_EQ(Log(), Lines{"I w READY: the worker has connected again"});
}

TEST_F(PresenceTest, AWorkerThatAnnouncesItsEndIsNotMissed) {
  Log();
  Do(WorkerLeaves{.session = 1});
  Do(WorkerGone{.session = 1});
  Wait(2 * state.limits.lease_ms);
  EXPECT_EQ(Log(), (Lines{"I w DRAINING: the worker announced that it is stopping",
                          "I w STOPPED: the worker has stopped, as it had announced"}));
}

TEST_F(SessionTest, AStreamThatWasOpenedEarlierSpeaksTooLate) {
  Arrive("w", {CpuSlot()}, 5);
  const StepResult late = Arrive("w", {CpuSlot()}, 4);
  EXPECT_EQ(Commands<CloseSession>(late).at(0).session, 4);
  EXPECT_EQ(state.workers.at("w").session, 5);
}

TEST_F(SessionTest, WordsOfAClosedSessionAreIgnored) {
  Do(WorkerGone{.session = 1});
  EXPECT_TRUE(Accept(Current(Train())).writes.empty());
}

TEST_F(SessionTest, AnEndThatIsStoredIsToldAgain) {
  const Attempt& attempt = Current(Train());
  Complete(attempt);
  EXPECT_EQ(OnlyVerdict(Arrive("w", {CpuSlot()}, 2, {Listed(attempt, false)})).verdict,
            Verdict::kEnded);
}

// Invariant I-16.
TEST_F(SessionTest, CancellingIsFinalAtOnceForWhatWaitsAndStopsWhatRuns) {
  const Attempt& attempt = Current(Train());
  Begin(attempt);
  const StepResult result = Do(SweepCancelled{.sweep_id = "sweep-1"});
  EXPECT_EQ(result.cancel.cancelled, 1);
  EXPECT_EQ(result.cancel.stopping, 1);
  EXPECT_EQ(Evaluate().state, TaskState::kCancelled);
  EXPECT_EQ(Train().state, TaskState::kStopping);
  EXPECT_EQ(Commands<StopMessage>(result).at(0).attempt, attempt.id);
  // Repeated with each heartbeat.
  const StepResult beat = Do(WorkerHeard{.session = 1, .number = 1, .attempts = {Listed(attempt)}});
  EXPECT_EQ(Commands<StopMessage>(beat).size(), 1u);
  Finish(attempt, {.exit_known = true, .exit_code = 75, .stop_requested = true});
  EXPECT_EQ(Train().state, TaskState::kCancelled);
  EXPECT_EQ(attempt.state, AttemptState::kCancelled);
  EXPECT_EQ(SweepStateName(state, "sweep-1"), "CANCELLED");
  EXPECT_EQ(Do(SweepCancelled{.sweep_id = "sweep-1"}).cancel.cancelled, 0);
}

TEST_F(SessionTest, ACancellationMayKillAlsoWhatStopsAlready) {
  const Attempt& attempt = Current(Train());
  Begin(attempt);
  const SweepCancelled gently = {.sweep_id = "sweep-1"};
  const SweepCancelled at_once = {.sweep_id = "sweep-1", .mode = StopMode::kNow};
  const auto grace_of = [](const StepResult& result) {
    const auto stops = Commands<StopMessage>(result);
    return stops.size() == 1 ? stops[0].grace_ms : -1;
  };
  EXPECT_EQ(grace_of(Do(gently)), state.limits.stop_grace_ms);
  const StepResult killed = Do(at_once);
  EXPECT_EQ(grace_of(killed), 0);
  EXPECT_EQ(killed.cancel.stopping, 1);
  EXPECT_EQ(store.tasks.at(Train().id).stop_mode, StopMode::kNow);
  // Also when the order is repeated. Neither cancellation says anything new.
  EXPECT_EQ(grace_of(Do(WorkerHeard{.session = 1, .number = 1, .attempts = {Listed(attempt)}})), 0);
  EXPECT_EQ(Do(at_once).cancel.stopping, 0);
  EXPECT_TRUE(Commands<StopMessage>(Do(gently)).empty());
  EXPECT_EQ(Train().stop_mode, StopMode::kNow);
  Finish(attempt, {.exit_known = true, .signal = SIGKILL, .stop_requested = true});
  EXPECT_EQ(Train().state, TaskState::kCancelled);
  EXPECT_EQ(attempt.message, "its trainer was killed (--now)");

  // The next cancellation has its own mode.
  Submit({}, "again");
  Begin(Current(Train()));
  EXPECT_EQ(grace_of(Do(SweepCancelled{.sweep_id = "again"})), state.limits.stop_grace_ms);
}

TEST_F(SessionTest, AKilledTrainerCountsAsNothingIfItsTaskIsWantedAgain) {
  const Attempt& attempt = Current(Train());
  Begin(attempt);
  Do(SweepCancelled{.sweep_id = "sweep-1", .mode = StopMode::kNow});
  Submit({}, "again");
  EXPECT_FALSE(Train().cancel_wanted);
  Finish(attempt, {.exit_known = true, .signal = SIGKILL, .stop_requested = true});
  EXPECT_EQ(attempt.state, AttemptState::kPreempted);
  EXPECT_EQ(Train().failures + Train().losses, 0);
  EXPECT_FALSE(IsTerminal(Train().state));
}

// It is cancelled all the same, but somebody may have to look at why.
TEST_F(SessionTest, ATrainerThatDiesWhileItIsCancelledSaysOfWhat) {
  const struct {
    EndEvidence evidence;
    std::string message;
  } cases[] = {
      {{.exit_known = true, .exit_code = 75, .stop_requested = true},
       "the trainer stopped as it was asked to"},
      {{.exit_known = true, .signal = 9, .stop_requested = true}, "the trainer died of signal 9"},
      {{.exit_known = true, .signal = 15, .stop_requested = true},
       "the trainer was asked to stop while it was starting"},
      {{.exit_known = true, .signal = 11, .stop_requested = true},
       "crashed while it was being cancelled: the trainer died of signal 11"},
      {{.exit_known = true, .signal = 7, .stop_requested = true},
       "crashed while it was being cancelled: the trainer died of signal 7 (SIGBUS): a file that "
       "it had mapped, such as a checkpoint or a program, became shorter or cannot be read from "
       "its disk, or a device failed: look at the system log of the worker's machine"},
      {{.exit_known = true, .signal = 9, .oom_kill = true, .stop_requested = true},
       "out_of_memory while it was being cancelled: the trainer died of signal 9"},
      {{.exit_known = true, .exit_code = 74, .stop_requested = true},
       "storage while it was being cancelled: the trainer ended with exit code 74"},
  };
  std::int64_t n = 1;
  for (const auto& [evidence, message] : cases) {
    const Attempt& attempt = Current(Train());
    Begin(attempt);
    const std::string sweep = Str("sweep-", n);
    Do(SweepCancelled{.sweep_id = sweep});
    Finish(attempt, evidence);
    EXPECT_EQ(attempt.state, AttemptState::kCancelled);
    EXPECT_EQ(attempt.failure_class, "cancelled");
    EXPECT_EQ(attempt.message, message);
    EXPECT_EQ(Train().reason, Str("cancelled: ", message));
    Submit({}, Str("sweep-", ++n));
  }
}

TEST_F(SessionTest, SuccessMayWinTheRaceAgainstCancelling) {
  const Attempt& attempt = Current(Train());
  SampleJournal journal = Begin(attempt);
  Do(SweepCancelled{.sweep_id = "sweep-1"});
  journal.Checkpoint(Sha256Hex("final"), 125, true);
  journal.Final();
  Deliver(attempt, journal);
  EXPECT_EQ(Train().state, TaskState::kSucceeded);
}

// Invariant I-16.
TEST_F(SessionTest, CancellingLeavesWhatAnotherSweepWants) {
  Submit({.seeds = {1}, .context_lengths = {64, 128, 256}}, "sweep-2");
  Begin(Current(Train()));
  const StepResult result = Do(SweepCancelled{.sweep_id = "sweep-2"});
  EXPECT_EQ(result.cancel.cancelled, 1);  // the evaluation at 256
  EXPECT_EQ(result.cancel.stopping, 0);
  EXPECT_EQ(Train().state, TaskState::kRunning);
}

TEST_F(SessionTest, SubmittingAgainTakesACancellationBack) {
  const Attempt& attempt = Current(Train());
  Begin(attempt);
  Do(SweepCancelled{.sweep_id = "sweep-1"});
  const StepResult again = Submit({}, "sweep-2");
  EXPECT_EQ(again.submit.tasks_retried, 1);  // the evaluation
  EXPECT_EQ(Train().state, TaskState::kStopping);
  Finish(attempt, {.exit_known = true, .exit_code = 75, .stop_requested = true});
  EXPECT_EQ(Train().state, TaskState::kReserved);
  EXPECT_EQ(Current(Train()).n, 2);
}

TEST_F(SessionTest, CancellingAnOfferEndsItWithoutAStart) {
  const Attempt& attempt = Current(Train());
  Do(SweepCancelled{.sweep_id = "sweep-1"});
  EXPECT_EQ(Train().state, TaskState::kStopping);
  Do(AttemptRejected{.session = 1,
                     .attempt = attempt.id,
                     .epoch = attempt.epoch,
                     .failure_class = "",
                     .reason = "told to stop"});
  EXPECT_EQ(Train().state, TaskState::kCancelled);
}

TEST_F(SessionTest, AnUnknownSweepCannotBeCancelled) {
  EXPECT_EQ(Do(SweepCancelled{.sweep_id = "?"}).status.code(), Code::kNotFound);
}

TEST_F(SessionTest, NothingIsLostByARestartAtAnyMoment) {
  Begin(Current(Train()));
  Restart();
  EXPECT_EQ(Train().state, TaskState::kRunning);
  const Attempt& attempt = Current(Train());
  const AttemptVerdict verdict = OnlyVerdict(Arrive("w", {CpuSlot()}, 1, {Listed(attempt)}));
  EXPECT_EQ(verdict.verdict, Verdict::kContinue);
  EXPECT_EQ(verdict.durable_seq, 2);
}

}  // namespace
}  // namespace longrun::coordinator
