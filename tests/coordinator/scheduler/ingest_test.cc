// Records come in once, in order, and count only from the attempt that is current.
#include "tests/coordinator/scheduler/fixture.h"

namespace longrun::coordinator {
namespace {

class IngestTest : public SchedulerTest {
 protected:
  IngestTest() {
    Arrive("w", {CpuSlot()}, 1);
    Submit({});
  }
  std::size_t Rows(const Attempt& attempt) { return store.records[attempt.id].size(); }
  // Lets time pass, with a worker that is heard, until the training is offered again.
  void AwaitOffer() {
    for (int i = 0; i < 120 && Train().state == TaskState::kReady; ++i) {
      Wait(1000);
      Do(WorkerHeard{.session = 1, .number = ++n_heard, .attempts = {}});
    }
    ASSERT_NE(Train().state, TaskState::kReady);
  }

  int n_heard = 0;
};

TEST_F(IngestTest, StartedMakesTheTaskRun) {
  Accept(Current(Train()));
  EXPECT_EQ(Current(Train()).state, AttemptState::kAccepted);
  EXPECT_EQ(Train().state, TaskState::kReserved);
  Deliver(Current(Train()), Begun(Current(Train())));
  EXPECT_EQ(Current(Train()).state, AttemptState::kRunning);
  EXPECT_EQ(Train().state, TaskState::kRunning);
}

// Invariant I-6.
TEST_F(IngestTest, AGapIsRefusedWithTheNumberThatIsExpected) {
  SampleJournal journal = Begin(Current(Train()));
  for (int i = 0; i < 4; ++i) journal.Append(RecordKind::kSeries, {{"loss", 1}});
  const StepResult result = Deliver(Current(Train()), journal, 5, 6);

  ASSERT_EQ(Commands<NackMessage>(result).size(), 1u);
  EXPECT_EQ(Commands<NackMessage>(result)[0].expected_seq, 3);
  EXPECT_EQ(Rows(Current(Train())), 2u);
}

// Invariant I-5.
TEST_F(IngestTest, WhatIsStoredIsNotStoredAgainButAcknowledgedAgain) {
  SampleJournal journal = Begin(Current(Train()));
  journal.Append(RecordKind::kSeries, {{"loss", 1}});
  const StepResult result = Deliver(Current(Train()), journal, 1, 3);

  EXPECT_EQ(Rows(Current(Train())), 3u);
  ASSERT_EQ(Commands<AckMessage>(result).size(), 1u);
  EXPECT_EQ(Commands<AckMessage>(result)[0].durable_seq, 3);
}

// Invariant I-23.
TEST_F(IngestTest, ACheckpointWithoutItsBytesEndsTheBatchBeforeIt) {
  SampleJournal journal = Begin(Current(Train()));
  const auto& series = journal.Append(RecordKind::kSeries, {{"loss", 1}});
  JournalReceived event = {.session = 1,
                           .attempt = Train().attempt,
                           .epoch = Train().epoch,
                           .first_seq = 3,
                           .records = {{.record = series.record, .line = series.line}}};
  const auto& checkpoint = journal.Checkpoint(Sha256Hex("c"), 10, false);
  event.records.push_back(
      {.record = checkpoint.record, .line = checkpoint.line, .bytes_stored = false});
  const StepResult result = Do(event);

  EXPECT_EQ(Commands<AckMessage>(result).at(0).durable_seq, 3);
  EXPECT_EQ(Commands<NackMessage>(result).at(0).expected_seq, 4);
  EXPECT_TRUE(Train().checkpoints.empty());
}

// The trainer keeps its last few: after an outage the worker has no files of the older ones.
TEST_F(IngestTest, ACheckpointWhoseFilesAreGoneIsHistoryAndTheJournalGoesOn) {
  SampleJournal journal = Begin(Current(Train()));
  const auto& gone = journal.Checkpoint(Sha256Hex("c"), 10, false);
  JournalReceived event = {
      .session = 1,
      .attempt = Train().attempt,
      .epoch = Train().epoch,
      .first_seq = 3,
      .records = {
          {.record = gone.record, .line = gone.line, .bytes_stored = false, .files_gone = true}}};
  const auto& kept = journal.Checkpoint(Sha256Hex("d"), 20, false);
  event.records.push_back({.record = kept.record, .line = kept.line});
  const StepResult result = Do(event);

  EXPECT_EQ(Commands<AckMessage>(result).at(0).durable_seq, 4);
  EXPECT_TRUE(Commands<NackMessage>(result).empty());
  ASSERT_EQ(Train().checkpoints.size(), 1u);
  EXPECT_EQ(Train().checkpoints[0].step, 20);
}

TEST_F(IngestTest, AFinalCheckpointWhoseFilesAreGoneEndsTheAttemptAndItIsTriedAgain) {
  SampleJournal journal = Begin(Current(Train()));
  const std::string attempt = Train().attempt;
  const auto& gone = journal.Checkpoint(Sha256Hex("c"), 10, true);
  Do(JournalReceived{
      .session = 1,
      .attempt = attempt,
      .epoch = Train().epoch,
      .first_seq = 3,
      .records = {
          {.record = gone.record, .line = gone.line, .bytes_stored = false, .files_gone = true}}});

  EXPECT_EQ(state.attempts.at(attempt).failure_class, "data");
  EXPECT_EQ(Train().state, TaskState::kReady);
  EXPECT_TRUE(Train().checkpoints.empty());
}

TEST_F(IngestTest, OnlyTheNewestCheckpointsAndTheBestAreKept) {
  SampleJournal journal = Begin(Current(Train()));
  journal.Checkpoint(Sha256Hex("1"), 10, false);
  journal.Checkpoint(Sha256Hex("2"), 20, false, /*best=*/true);
  journal.Checkpoint(Sha256Hex("3"), 30, false);
  journal.Checkpoint(Sha256Hex("4"), 40, false);
  const StepResult result = Deliver(Current(Train()), journal);

  ASSERT_EQ(Train().checkpoints.size(), 2u);  // checkpoint_keep
  EXPECT_EQ(Train().checkpoints[0].step, 30);
  EXPECT_EQ(Train().checkpoints[1].step, 40);
  EXPECT_EQ(Train().best_checkpoint->sha256, Sha256Hex("2"));
  std::vector<std::string> dropped;
  for (const Write& write : result.writes) {
    if (const auto* drop = std::get_if<DropCheckpoint>(&write)) dropped.push_back(drop->sha256);
  }
  EXPECT_EQ(dropped, std::vector<std::string>{Sha256Hex("1")});
}

TEST_F(IngestTest, TheCheckpointThatAnAttemptStartedFromStays) {
  SampleJournal journal = Begin(Current(Train()));
  journal.Checkpoint(Sha256Hex("1"), 10, false);
  Deliver(Current(Train()), journal);
  Finish(Current(Train()), Exit(75));
  const Attempt& second = Current(Train());
  ASSERT_TRUE(second.resume.has_value());
  EXPECT_EQ(second.resume->step, 10);
  SampleJournal resumed = Begin(second);
  for (const int step : {20, 30, 40}) resumed.Checkpoint(Sha256Hex(Str(step)), step, false);
  Deliver(second, resumed);

  ASSERT_EQ(Train().checkpoints.size(), 2u);
  EXPECT_EQ(Train().checkpoints[0].step, 10);
  EXPECT_EQ(Train().checkpoints[1].step, 40);
}

// Checkpoints 10 and 20 cannot be used: 20 is damaged. What is written after 10 takes 20's place,
// so that the way forward is kept, whatever happens next.
TEST_F(IngestTest, ACheckpointThatWasPassedOverMakesRoomForWhatIsWrittenAfterTheFallBack) {
  SampleJournal journal = Begin(Current(Train()));
  for (const int step : {10, 20}) journal.Checkpoint(Sha256Hex(Str(step)), step, false);
  Deliver(Current(Train()), journal);
  Finish(Current(Train()), Exit(75));
  ASSERT_EQ(Current(Train()).resume->step, 20);
  Accept(Current(Train()));
  Finish(Current(Train()), Exit(65));
  AwaitOffer();
  const Attempt& third = Current(Train());
  ASSERT_EQ(third.resume->step, 10);
  SampleJournal resumed = Begin(third);
  resumed.Checkpoint(Sha256Hex("15"), 15, false);

  const StepResult result = Deliver(third, resumed);

  ASSERT_EQ(Train().checkpoints.size(), 2u);
  EXPECT_EQ(Train().checkpoints[0].step, 10);
  EXPECT_EQ(Train().checkpoints[1].step, 15);
  std::vector<std::string> dropped;
  for (const Write& write : result.writes) {
    if (const auto* drop = std::get_if<DropCheckpoint>(&write)) dropped.push_back(drop->sha256);
  }
  EXPECT_EQ(dropped, std::vector<std::string>{Sha256Hex("20")});
  Finish(third, Exit(75));
  EXPECT_EQ(Current(Train()).resume->step, 15);
}

// Nor is a damaged checkpoint tried again if the attempt after the fall-back is lost before it has
// written anything: that would count as a second failure.
TEST_F(IngestTest, ACheckpointThatWasPassedOverIsNotTriedAgainAfterALostAttempt) {
  SampleJournal journal = Begin(Current(Train()));
  for (const int step : {10, 20}) journal.Checkpoint(Sha256Hex(Str(step)), step, false);
  Deliver(Current(Train()), journal);
  Finish(Current(Train()), Exit(75));
  Accept(Current(Train()));
  Finish(Current(Train()), Exit(65));
  AwaitOffer();
  ASSERT_EQ(Current(Train()).resume->step, 10);

  Wait(state.limits.offer_ms + 1);
  AwaitOffer();

  EXPECT_EQ(Current(Train()).n, 4);
  EXPECT_EQ(Current(Train()).resume->step, 10);
  EXPECT_EQ(Train().failures, 1);
}

// The failures were the dataset's, which has been restored since.
TEST_F(IngestTest, AfterARetryTheCheckpointsThatWerePassedOverAreTriedAgain) {
  SampleJournal journal = Begin(Current(Train()));
  journal.Checkpoint(Sha256Hex("20"), 20, false);
  Deliver(Current(Train()), journal);
  Finish(Current(Train()), Exit(75));
  Accept(Current(Train()));
  Finish(Current(Train()), Exit(65));
  AwaitOffer();
  ASSERT_FALSE(Current(Train()).resume.has_value());
  Accept(Current(Train()));
  Finish(Current(Train()), Exit(65));
  ASSERT_EQ(Train().state, TaskState::kFailed);

  Do(RetryRequested{.sweep_id = "", .tasks = {Train().id}});

  ASSERT_TRUE(Current(Train()).resume.has_value());
  EXPECT_EQ(Current(Train()).resume->step, 20);
}

// Invariant I-9.
TEST_F(IngestTest, TrainingSucceedsWithItsFinalCheckpointAndTheEvaluationMayStart) {
  Complete(Current(Train()));

  EXPECT_EQ(Train().state, TaskState::kSucceeded);
  EXPECT_EQ(Train().result_attempt, Train().attempt);
  EXPECT_EQ(Train().final_checkpoint->sha256, Sha256Hex("final"));
  EXPECT_EQ(Evaluate().state, TaskState::kReserved);
  Complete(Current(Evaluate()));
  EXPECT_EQ(Evaluate().state, TaskState::kSucceeded);
  EXPECT_EQ(SweepStateName(state, "sweep-1"), "SUCCEEDED");
}

// Invariant I-8.
TEST_F(IngestTest, FinalWithoutTheFinalCheckpointIsIncomplete) {
  SampleJournal journal = Begin(Current(Train()));
  journal.Final();
  const Attempt& attempt = Current(Train());
  Deliver(attempt, journal);

  EXPECT_EQ(attempt.failure_class, "incomplete");
  EXPECT_EQ(Train().state, TaskState::kReady);
  EXPECT_EQ(Train().failures, 1);
}

// Invariant I-8.
TEST_F(IngestTest, FinalWithAMissingRowIsIncomplete) {
  Complete(Current(Train()));
  const Attempt& attempt = Current(Evaluate());
  SampleJournal journal = Begin(attempt);
  journal.Result(Evaluate().expected_cells[0], 1.0);
  journal.Final();
  Deliver(attempt, journal);

  EXPECT_EQ(attempt.failure_class, "incomplete");
  EXPECT_NE(attempt.message.find("0 rows of nll at 128"), std::string::npos) << attempt.message;
}

// Invariant I-8.
TEST_F(IngestTest, ARowThatIsNotExpectedIsWarnedOfAndNeverCounts) {
  Complete(Current(Train()));
  const Attempt& attempt = Current(Evaluate());
  SampleJournal journal = Begin(attempt);
  for (const ExpectedCell& cell : Evaluate().expected_cells) journal.Result(cell, 1.0);
  journal.Result({.cell = Sha256Hex("?"), .metric = "nll", .context_length = 4096}, 1.0);
  journal.Final();
  const StepResult result = Deliver(attempt, journal);

  ASSERT_EQ(result.warnings.size(), 1u);
  EXPECT_NE(result.warnings[0].find("nll at 4096"), std::string::npos);
  EXPECT_EQ(attempt.failure_class, "incomplete");
  EXPECT_TRUE(Evaluate().result_attempt.empty());
}

// Invariant I-8.
TEST_F(IngestTest, AResultOfAnotherFormIsStoredWarnedOfAndNoRow) {
  Complete(Current(Train()));
  const Attempt& attempt = Current(Evaluate());
  SampleJournal journal = Begin(attempt);
  const std::vector<ExpectedCell>& cells = Evaluate().expected_cells;
  journal.Append(RecordKind::kResult, {{"cell", cells[0].cell},
                                       {"metric", "nll"},
                                       {"context_length", 64},
                                       {"status", "ok"},
                                       {"n", "many"}});
  journal.Result(cells[1], 1.0);
  journal.Final();
  const StepResult result = Deliver(attempt, journal);

  EXPECT_EQ(Rows(attempt), 5u);
  ASSERT_EQ(result.warnings.size(), 1u);
  EXPECT_NE(result.warnings[0].find("is not a result: n: expected an integer"), std::string::npos)
      << result.warnings[0];
  EXPECT_EQ(attempt.failure_class, "incomplete");
  EXPECT_NE(attempt.message.find("0 rows of nll at 64"), std::string::npos) << attempt.message;
}

// They are kept in memory while it runs.
TEST_F(IngestTest, AnAttemptThatGivesRowsWithoutEndIsIncomplete) {
  Complete(Current(Train()));
  const std::string id = Current(Evaluate()).id;
  SampleJournal journal = Begin(Current(Evaluate()));
  const std::string metric(100'000, 'm');
  for (int i = 0; i < 1010; ++i) {
    journal.Result({.cell = Sha256Hex("?"), .metric = metric, .context_length = 4096}, 1.0);
  }
  const StepResult result = Deliver(Current(Evaluate()), journal);

  const Attempt& attempt = state.attempts.at(id);
  EXPECT_EQ(attempt.state, AttemptState::kFailed);
  EXPECT_EQ(attempt.failure_class, "incomplete");
  EXPECT_EQ(attempt.message, "it gave 1003 rows, but 2 were expected");
  EXPECT_EQ(attempt.rows.numbers.size(), 1003u);
  EXPECT_EQ(Rows(attempt), 2u + 1010u);  // as history
  for (const std::string& warning : result.warnings) EXPECT_LT(warning.size(), 500u);
}

TEST_F(IngestTest, ACheckpointThatIsNotWholeIsStoredWarnedOfAndNotResumedFrom) {
  SampleJournal journal = Begin(Current(Train()));
  journal.Append(RecordKind::kCheckpoint, {{"path", "checkpoints/10"},
                                           {"sha256", Sha256Hex("c")},
                                           {"step", 10},
                                           {"files", Json::array()},
                                           {"final", true}});
  const StepResult result = Deliver(Current(Train()), journal);

  EXPECT_EQ(Rows(Current(Train())), 3u);
  ASSERT_EQ(result.warnings.size(), 1u);
  EXPECT_NE(result.warnings[0].find("is not a checkpoint from which"), std::string::npos);
  EXPECT_TRUE(Train().checkpoints.empty());
  EXPECT_FALSE(Current(Train()).final_checkpoint.has_value());
}

TEST_F(IngestTest, RowsOfOneCellAreToldApartByTheirDepth) {
  Complete(Current(Train()));
  const ExpectedCell shallow = Evaluate().expected_cells[0];
  ExpectedCell deep = shallow;
  deep.depth = 0.5;
  Evaluate().expected_cells = {shallow, deep};
  const Attempt& attempt = Current(Evaluate());
  SampleJournal journal = Begin(attempt);
  journal.Result(shallow, 1.0);
  journal.Result(deep, 2.0);
  journal.Final();
  const StepResult result = Deliver(attempt, journal);

  EXPECT_EQ(result.warnings, std::vector<std::string>());
  EXPECT_EQ(Evaluate().state, TaskState::kSucceeded);
}

TEST_F(IngestTest, ARowOfAnotherDepthIsMissingWithItsDepthNamed) {
  Complete(Current(Train()));
  const ExpectedCell shallow = Evaluate().expected_cells[0];
  ExpectedCell deep = shallow;
  deep.depth = 0.5;
  Evaluate().expected_cells = {shallow, deep};
  const Attempt& attempt = Current(Evaluate());
  SampleJournal journal = Begin(attempt);
  journal.Result(shallow, 1.0);
  deep.depth = 0.75;
  journal.Result(deep, 2.0);
  journal.Final();
  const StepResult result = Deliver(attempt, journal);

  ASSERT_EQ(result.warnings.size(), 1u);
  EXPECT_NE(result.warnings[0].find(" at depth 0.75"), std::string::npos) << result.warnings[0];
  EXPECT_EQ(attempt.failure_class, "incomplete");
  EXPECT_NE(attempt.message.find("0 rows of nll at 64 at depth 0.5 instead of 1"),
            std::string::npos)
      << attempt.message;
}

// Invariant I-8.
TEST_F(IngestTest, ADigestThatDoesNotHoldIsIncomplete) {
  Complete(Current(Train()));
  const Attempt& attempt = Current(Evaluate());
  SampleJournal journal = Begin(attempt);
  for (const ExpectedCell& cell : Evaluate().expected_cells) journal.Result(cell, 1.0);
  journal.Final();
  std::get<FinalRecord>(journal.entries.back().record.body).digest = Sha256Hex("another");
  Deliver(attempt, journal);

  EXPECT_EQ(attempt.failure_class, "incomplete");
  EXPECT_EQ(Evaluate().state, TaskState::kReady);
}

TEST_F(IngestTest, CompletenessIsJudgedTheSameAfterARestartInBetween) {
  Complete(Current(Train()));
  SampleJournal journal = Begin(Current(Evaluate()));
  for (const ExpectedCell& cell : Evaluate().expected_cells) journal.Result(cell, 1.0);
  journal.Final();
  Deliver(Current(Evaluate()), journal, 3, 4);
  Restart();
  const Attempt& attempt = Current(Evaluate());
  Arrive("w", {CpuSlot()}, 2, {Listed(attempt)});
  Deliver(attempt, journal, 5, 5, 2);

  EXPECT_EQ(Evaluate().state, TaskState::kSucceeded);
}

// Invariant I-19.
TEST_F(IngestTest, AnOlderAttemptIsKeptAsHistoryChangesNothingAndIsFenced) {
  Attempt& first = Current(Train());
  SampleJournal journal = Begin(first);
  Wait(state.limits.lease_ms);
  ASSERT_EQ(first.state, AttemptState::kLost);
  Arrive("v", {CpuSlot()}, 2);
  ASSERT_NE(Train().attempt, first.id);
  Arrive("w", {CpuSlot()}, 3, {Listed(first)});
  journal.Checkpoint(Sha256Hex("c"), 125, true);
  journal.Final();
  const Task before = Train();
  const StepResult result = Deliver(first, journal, 3, 4, 3);

  EXPECT_EQ(Rows(first), 4u);
  // Its checkpoint refers to no bytes: nobody will ask for them.
  const auto stored = std::ranges::find_if(result.writes, [](const Write& write) {
    const auto* put = std::get_if<PutRecord>(&write);
    return put != nullptr && put->record.kind == RecordKind::kCheckpoint;
  });
  ASSERT_NE(stored, result.writes.end());
  EXPECT_TRUE(std::get<PutRecord>(*stored).files_gone);
  EXPECT_EQ(Train().state, before.state);
  EXPECT_EQ(Train().attempt, before.attempt);
  EXPECT_TRUE(Train().checkpoints.empty());
  ASSERT_EQ(Commands<FencedMessage>(result).size(), 1u);
  EXPECT_EQ(Commands<FencedMessage>(result)[0].current_epoch, Train().epoch);
  EXPECT_EQ(Commands<AckMessage>(result).at(0).durable_seq, 4);
}

TEST_F(IngestTest, AnUnknownAttemptIsFenced) {
  Attempt stranger = Current(Train());
  stranger.id = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
  const StepResult result = Deliver(stranger, Begun(stranger), 1, 2);

  EXPECT_EQ(Commands<FencedMessage>(result).size(), 1u);
  EXPECT_TRUE(Commands<AckMessage>(result).empty());
}

TEST_F(IngestTest, AnAttemptThatARestoredDatabaseDoesNotKnowIsTakenIn) {
  Attempt later = Current(Train());
  later.id = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
  later.epoch += 5;
  const std::string older = Train().attempt;
  state.restore_count = 1;
  Deliver(later, Begun(later), 1, 2);

  EXPECT_EQ(Train().attempt, later.id);
  EXPECT_EQ(Train().state, TaskState::kRunning);
  EXPECT_EQ(state.attempts.at(older).state, AttemptState::kLost);
  EXPECT_EQ(Train().losses, 0);
}

TEST_F(IngestTest, AnAttemptOfAnotherWorkerIsFencedAndWarnedOf) {
  Arrive("v", {CpuSlot()}, 2);
  const StepResult result = Deliver(Current(Train()), Begun(Current(Train())), 1, 2, /*session=*/2);

  EXPECT_EQ(result.warnings.size(), 1u);
  EXPECT_EQ(result.foreign.size(), 1u);
  EXPECT_EQ(Commands<FencedMessage>(result).size(), 1u);
  EXPECT_EQ(Rows(Current(Train())), 0u);
}

// The audit log names whoever speaks of what is another worker's, in any message.
TEST_F(IngestTest, EveryMessageAboutAnAttemptOfAnotherWorkerIsNoted) {
  Arrive("v", {CpuSlot()}, 2);
  const Attempt& attempt = Current(Train());
  const auto foreign = [&](const SchedulerEvent& event) { return Do(event).foreign.size(); };

  EXPECT_EQ(foreign(AttemptAccepted{.session = 2, .attempt = attempt.id, .epoch = attempt.epoch}),
            1u);
  EXPECT_EQ(foreign(AttemptRejected{.session = 2,
                                    .attempt = attempt.id,
                                    .epoch = attempt.epoch,
                                    .failure_class = "",
                                    .reason = ""}),
            1u);
  AttemptFinished finished;
  finished.session = 2;
  finished.attempt = attempt.id;
  finished.epoch = attempt.epoch;
  EXPECT_EQ(foreign(finished), 1u);
  EXPECT_EQ(foreign(WorkerHeard{.session = 2, .number = 1, .attempts = {Listed(attempt)}}), 1u);
  EXPECT_EQ(Current(Train()).worker, "w");
}

}  // namespace
}  // namespace longrun::coordinator
