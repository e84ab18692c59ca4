// Trying again by command, leaving in order, and which checkpoints may go.
#include <set>

#include "base/random.h"
#include "tests/coordinator/scheduler/fixture.h"

namespace longrun::coordinator {
namespace {

class UpkeepTest : public SchedulerTest {
 protected:
  StepResult Retry(const std::string& sweep_id = "sweep-1") {
    RetryRequested event{.sweep_id = sweep_id, .tasks = {}};
    for (const auto& [id, task] : state.tasks) event.tasks.push_back(id);
    return Do(event);
  }
};

// ---- retry --------------------------------------------------------------------------------------

TEST_F(UpkeepTest, WhatFailedGetsANewRoundAndWhatNeedsItWaitsAgain) {
  Submit({.retry = {.failures_max = 0, .losses_max = 5}});
  Arrive("worker-1", {CpuSlot()}, 1);
  Begin(Current(Train()));
  Finish(Current(Train()), Signal(6));
  ASSERT_EQ(Train().state, TaskState::kFailed);
  ASSERT_EQ(Evaluate().state, TaskState::kSkipped);

  const StepResult result = Retry();

  EXPECT_EQ(result.submit.tasks_retried, 2);
  EXPECT_EQ(Train().retry_round, 1);
  EXPECT_EQ(Train().failures, 0);
  EXPECT_FALSE(IsTerminal(Train().state));
  EXPECT_EQ(Evaluate().state, TaskState::kBlocked);
}

TEST_F(UpkeepTest, ASkippedEvaluationTakesItsFailedTrainingAlong) {
  Submit({.retry = {.failures_max = 0, .losses_max = 5}});
  Arrive("worker-1", {CpuSlot()}, 1);
  Begin(Current(Train()));
  Finish(Current(Train()), Signal(6));

  const StepResult result = Do(RetryRequested{.sweep_id = "", .tasks = {Evaluate().id}});

  EXPECT_EQ(result.submit.tasks_retried, 2);
  EXPECT_FALSE(IsTerminal(Train().state));
}

TEST_F(UpkeepTest, ACancelledSweepIsWantedAgain) {
  Submit({});
  Do(SweepCancelled{.sweep_id = "sweep-1"});
  ASSERT_EQ(SweepStateName(state, "sweep-1"), "CANCELLED");

  EXPECT_EQ(Retry().submit.tasks_retried, 2);

  EXPECT_EQ(SweepStateName(state, "sweep-1"), "PENDING");
  Restart();
  EXPECT_EQ(SweepStateName(state, "sweep-1"), "PENDING");
}

TEST_F(UpkeepTest, WhatOnlyCancelledSweepsHaveIsNotTriedAgain) {
  Submit({.context_lengths = {64}}, "A");
  Submit({.context_lengths = {64, 128}}, "B");
  RetryRequested run{.sweep_id = "", .tasks = {}};
  for (const auto& [id, task] : state.tasks) run.tasks.push_back(id);
  Do(SweepCancelled{.sweep_id = "B"});
  Arrive("worker-1", {CpuSlot()}, 1);
  Begin(Current(Train()));
  Finish(Current(Train()), Exit(78));
  ASSERT_EQ(Train().state, TaskState::kFailed);

  EXPECT_EQ(Do(run).submit.tasks_retried, 2);  // not the evaluation of 128
  EXPECT_FALSE(IsTerminal(Train().state));

  Do(SweepCancelled{.sweep_id = "A"});
  const StepResult none = Do(run);
  EXPECT_EQ(none.status.code(), Code::kFailedPrecondition);
  EXPECT_NE(none.status.message().find("only cancelled sweeps want this run: `longrun retry B`"),
            std::string::npos)
      << none.status.message();
  EXPECT_TRUE(none.writes.empty());
}

// The user has named the run whose number is damaged, and nothing else of the sweep begins.
TEST_F(UpkeepTest, ALostNumberIsMeasuredAgainAlthoughItsSweepIsCancelled) {
  Submit({.context_lengths = {64}});
  Arrive("worker-1", {CpuSlot()}, 1);
  Complete(Current(Train()));
  const LostResult lost = {.task = Evaluate().id, .cells = Evaluate().expected_cells};
  Complete(Current(Evaluate()));
  ASSERT_EQ(Evaluate().state, TaskState::kSucceeded);
  Do(SweepCancelled{.sweep_id = "sweep-1"});

  const RetryRequested run{.sweep_id = "", .tasks = {Train().id, Evaluate().id}, .lost = {lost}};
  // Without the store of these tests, which has no damaged rows.
  EXPECT_EQ(Step(state, run, now, 1'700'000'000'000 + now).submit.tasks_retried, 1);
  EXPECT_EQ(Train().state, TaskState::kSucceeded);
  EXPECT_FALSE(IsTerminal(Evaluate().state));
}

// What cannot be measured again must not be dropped.
TEST_F(UpkeepTest, ALostNumberOfARemovedSweepStaysAsItIs) {
  Submit({.context_lengths = {64}});
  Arrive("worker-1", {CpuSlot()}, 1);
  Complete(Current(Train()));
  const LostResult lost = {.task = Evaluate().id, .cells = Evaluate().expected_cells};
  Complete(Current(Evaluate()));
  Do(SweepRemoved{.sweep_id = "sweep-1"});

  const StepResult refused =
      Do(RetryRequested{.sweep_id = "", .tasks = {Evaluate().id}, .lost = {lost}});
  EXPECT_EQ(refused.status.code(), Code::kFailedPrecondition);
  EXPECT_TRUE(refused.writes.empty());
  EXPECT_FALSE(Evaluate().result_attempt.empty());
}

// A training that wrote checkpoints of steps 50 and 125, whose evaluation has succeeded.
class LostCheckpointTest : public UpkeepTest {
 protected:
  void Train50And125() {
    Submit({.context_lengths = {64}});
    Arrive("worker-1", {CpuSlot()}, 1);
    SampleJournal journal = Begin(Current(Train()));
    journal.Checkpoint(Sha256Hex("step 50"), 50, false);
    journal.Checkpoint(Sha256Hex("final"), 125, true);
    journal.Final();
    Deliver(Current(Train()), journal);
    Finish(Current(Train()), Exit(0));
    ASSERT_EQ(Train().state, TaskState::kSucceeded);
  }
  RetryRequested Lost(std::set<std::string> checkpoints) {
    return {.sweep_id = "",
            .tasks = {Train().id, Evaluate().id},
            .lost_checkpoints = {{.task = Train().id, .sha256 = std::move(checkpoints)}}};
  }
  // Another attempt, which writes other bytes.
  void TrainAgain() {
    SampleJournal journal = Begin(Current(Train()));
    journal.Checkpoint(Sha256Hex("another final"), 125, true);
    journal.Final();
    Deliver(Current(Train()), journal);
    Finish(Current(Train()), Exit(0));
  }
};

TEST_F(LostCheckpointTest, ATrainingThatLostItsFinalCheckpointContinuesFromTheOneBefore) {
  Train50And125();
  Complete(Current(Evaluate()));
  const std::string evaluated = Evaluate().result_attempt;

  EXPECT_EQ(Do(Lost({Sha256Hex("final")})).submit.tasks_retried, 1);

  EXPECT_EQ(Train().state, TaskState::kReserved);
  ASSERT_TRUE(Current(Train()).resume.has_value());
  EXPECT_EQ(Current(Train()).resume->step, 50);
  EXPECT_EQ(Evaluate().state, TaskState::kSucceeded);
  EXPECT_EQ(Evaluate().result_attempt, evaluated);
  // A run that goes on from it must not begin without weights meanwhile.
  EXPECT_TRUE(Train().final_checkpoint.has_value());
  Restart();
  Arrive("worker-1", {CpuSlot()}, 1, {Listed(Current(Train()))});
  TrainAgain();
  EXPECT_EQ(Train().state, TaskState::kSucceeded);
  EXPECT_EQ(Train().final_checkpoint->sha256, Sha256Hex("another final"));
  EXPECT_FALSE(store.checkpoints.contains({Train().id, Sha256Hex("final")}));
  EXPECT_EQ(Evaluate().result_attempt, evaluated);
}

TEST_F(LostCheckpointTest, WithoutAnIntactCheckpointTheTrainingBeginsAgain) {
  Train50And125();
  Complete(Current(Evaluate()));
  Do(SweepCancelled{.sweep_id = "sweep-1"});  // its numbers stay, so its weights may be wanted

  Do(Lost({Sha256Hex("step 50"), Sha256Hex("final")}));

  ASSERT_EQ(Train().state, TaskState::kReserved);
  EXPECT_FALSE(Current(Train()).resume.has_value());
  EXPECT_FALSE(store.checkpoints.contains({Train().id, Sha256Hex("step 50")}));
}

TEST_F(LostCheckpointTest, ATrainingThatHasItsFinalCheckpointIsNotTriedAgain) {
  Train50And125();
  Complete(Current(Evaluate()));
  const StepResult result = Do(Lost({Sha256Hex("step 50")}));
  EXPECT_EQ(result.submit.tasks_retried, 0);
  EXPECT_TRUE(result.writes.empty());
}

TEST_F(LostCheckpointTest, AFailedTrainingDoesNotResumeFromALostCheckpoint) {
  Submit({.context_lengths = {64}, .retry = {.failures_max = 0, .losses_max = 5}});
  Arrive("worker-1", {CpuSlot()}, 1);
  SampleJournal journal = Begin(Current(Train()));
  journal.Checkpoint(Sha256Hex("step 50"), 50, false);
  journal.Checkpoint(Sha256Hex("step 100"), 100, false);
  Deliver(Current(Train()), journal);
  Finish(Current(Train()), Signal(6));
  ASSERT_EQ(Train().state, TaskState::kFailed);

  EXPECT_EQ(Do(Lost({Sha256Hex("step 100")})).submit.tasks_retried, 2);

  ASSERT_TRUE(Current(Train()).resume.has_value());
  EXPECT_EQ(Current(Train()).resume->step, 50);
}

// Invariant I-9.
TEST_F(LostCheckpointTest, AnEvaluationThatWaitsOrFailsMeanwhileWaitsForTheTraining) {
  Train50And125();
  const Attempt at_work = Current(Evaluate());
  Begin(at_work);

  EXPECT_EQ(Do(Lost({Sha256Hex("final")})).submit.tasks_retried, 1);
  EXPECT_EQ(Evaluate().state, TaskState::kRunning);
  Finish(at_work, Exit(65));
  EXPECT_EQ(Evaluate().state, TaskState::kBlocked);
  ASSERT_EQ(Train().state, TaskState::kReserved);
  TrainAgain();
  for (int i = 0; i < 60 && Evaluate().state != TaskState::kReserved; ++i) Wait(1000);
  EXPECT_EQ(Evaluate().state, TaskState::kReserved);
}

TEST_F(LostCheckpointTest, AnEvaluationThatFailsAfterItsTrainingHasFailedAgainIsSkipped) {
  Submit({.context_lengths = {64}, .retry = {.failures_max = 0, .losses_max = 5}});
  Arrive("worker-1", {CpuSlot(0), CpuSlot(1)}, 1);
  Complete(Current(Train()));
  const Attempt at_work = Current(Evaluate());
  Begin(at_work);
  Do(Lost({Sha256Hex("final")}));
  Begin(Current(Train()));
  Finish(Current(Train()), Signal(6));
  ASSERT_EQ(Train().state, TaskState::kFailed);

  Finish(at_work, Signal(9));  // a loss, after which it would be tried again

  EXPECT_EQ(Evaluate().state, TaskState::kSkipped);
  EXPECT_EQ(Retry().submit.tasks_retried, 2);
}

TEST_F(LostCheckpointTest, TheFailureOfAnEvaluationNamesTheRunToTrainAgain) {
  Submit({.context_lengths = {64}, .retry = {.failures_max = 0, .losses_max = 5}});
  Arrive("worker-1", {CpuSlot()}, 1);
  Complete(Current(Train()));
  const Attempt& attempt = Current(Evaluate());
  Do(AttemptRejected{.session = 1,
                     .attempt = attempt.id,
                     .epoch = attempt.epoch,
                     .failure_class = "data",
                     .reason = Str("fetching model.safetensors of checkpoint ", Sha256Hex("final"),
                                   ": it is missing")});
  ASSERT_EQ(Evaluate().state, TaskState::kFailed);
  const std::string& reason = Evaluate().reason;
  EXPECT_NE(reason.find(Str("`longrun retry ", Train().run_key.substr(0, 8),
                            "` first trains again what the store has lost")),
            std::string::npos)
      << reason;
  EXPECT_EQ(reason.find("import the dataset"), std::string::npos) << reason;
}

// Its evaluation may read a dataset that is gone.
TEST_F(UpkeepTest, WhatOnlyACancelledSweepHasIsNotAmongTheTasksToRetry) {
  Submit({.context_lengths = {64}}, "A");
  Submit({.context_lengths = {64, 128}}, "B");
  Do(SweepCancelled{.sweep_id = "B"});
  Arrive("worker-1", {CpuSlot()}, 1);
  Begin(Current(Train()));
  Finish(Current(Train()), Exit(78));
  RetryRequested run{.sweep_id = "", .tasks = {}};
  for (const auto& [id, task] : state.tasks) run.tasks.push_back(id);

  const std::set<std::string> tasks = TasksToRetry(state, run);

  EXPECT_EQ(tasks.size(), 2u);
  for (const std::string& id : tasks) EXPECT_TRUE(state.sweep_tasks.at("A").contains(id));
  run.sweep_id = "B";
  EXPECT_EQ(TasksToRetry(state, run).size(), 3u);
}

// The evaluation of 128 belongs to sweep B alone, which is cancelled. An earlier release tried it
// again all the same.
TEST_F(UpkeepTest, WhatNeedsATrainingThatIsCancelledDoesNotWaitForItForEver) {
  Submit({.context_lengths = {64}}, "A");
  Submit({.context_lengths = {64, 128}}, "B");
  state.cancelled_sweeps.insert("B");

  Do(SweepCancelled{.sweep_id = "A"});

  ASSERT_EQ(state.tasks.size(), 3u);
  std::map<TaskState, int> n_in;
  for (const auto& [id, task] : state.tasks) n_in[task.state] += 1;
  EXPECT_EQ(n_in[TaskState::kCancelled], 2);
  EXPECT_EQ(n_in[TaskState::kSkipped], 1);
}

TEST_F(UpkeepTest, WhatSucceededOrIsUnderWayStays) {
  Submit({});
  Arrive("worker-1", {CpuSlot()}, 1);
  const Attempt before = Current(Train());

  const StepResult result = Retry();

  EXPECT_EQ(result.submit.tasks_retried, 0);
  EXPECT_TRUE(result.writes.empty());
  EXPECT_EQ(Train().attempt, before.id);
  EXPECT_EQ(Do(RetryRequested{.sweep_id = "", .tasks = {"unknown"}}).submit.tasks_retried, 0);
}

// ---- removing -----------------------------------------------------------------------------------

// As the store gives those that no sweep has: evaluations, then training, each before the one that
// its run goes on from.
std::vector<std::string> AllTasks(const State& state) {
  std::vector<std::pair<int, std::string>> ordered;
  for (const auto& [id, task] : state.tasks) {
    int order = task.kind == TaskKind::kEvaluate ? -100 : 0;
    for (auto run = state.runs.find(task.run_key); run != state.runs.end();
         run = state.runs.find(run->second.run.parent)) {
      order -= 1;
    }
    ordered.emplace_back(order, id);
  }
  std::ranges::sort(ordered);
  std::vector<std::string> tasks;
  tasks.reserve(ordered.size());
  for (const auto& [order, id] : ordered) tasks.push_back(id);
  return tasks;
}

TEST_F(UpkeepTest, ASweepThatIsNotOverIsNotRemoved) {
  Submit({});
  const StepResult pending = Do(SweepRemoved{.sweep_id = "sweep-1"});
  EXPECT_EQ(pending.status.code(), Code::kFailedPrecondition);
  EXPECT_NE(pending.status.message().find("`longrun cancel sweep-1`"), std::string::npos);
  EXPECT_EQ(Do(SweepRemoved{.sweep_id = "?"}).status.code(), Code::kNotFound);

  Arrive("w", {CpuSlot()}, 1);
  Begin(Current(Train()));
  Do(SweepCancelled{.sweep_id = "sweep-1"});
  const StepResult stopping = Do(SweepRemoved{.sweep_id = "sweep-1"});
  EXPECT_EQ(stopping.status.code(), Code::kFailedPrecondition);
  EXPECT_NE(stopping.status.message().find("still stopping"), std::string::npos);
  EXPECT_TRUE(state.sweep_tasks.contains("sweep-1"));
}

TEST_F(UpkeepTest, OfARemovedSweepThatGoesAsGarbageWhichNoOtherSweepHas) {
  Arrive("w", {CpuSlot()}, 1);
  Submit({.seeds = {1}, .context_lengths = {64}}, "short");
  Complete(Current(Train()));
  Complete(Current(Evaluate()));
  Submit({.seeds = {1}, .context_lengths = {64, 128}}, "long");
  const std::string longer = state.attempts.at(*state.index.live.begin()).task;
  Complete(state.attempts.at(*state.index.live.begin()));

  EXPECT_EQ(Do(SweepRemoved{.sweep_id = "long"}).tasks_left, 1);
  EXPECT_EQ(Do(GarbageWanted{.dry_run = true, .orphans = AllTasks(state)}).garbage_tasks,
            std::vector<std::string>{longer});
  EXPECT_EQ(state.tasks.size(), 3u);
  Do(GarbageWanted{.dry_run = false, .orphans = AllTasks(state)});
  EXPECT_EQ(state.tasks.size(), 2u);
  EXPECT_FALSE(state.tasks.contains(longer));
  EXPECT_EQ(state.runs.size(), 1u);
  // It may be asked for again, and is done again.
  EXPECT_EQ(Submit({.seeds = {1}, .context_lengths = {64, 128}}, "again").submit.cells_new, 1);
}

TEST_F(UpkeepTest, ARemovedSweepSubmittedAgainBeforeItIsCollectedIsKnown) {
  Arrive("w", {CpuSlot()}, 1);
  Submit({.seeds = {1}, .context_lengths = {64}});
  Complete(Current(Train()));
  Complete(Current(Evaluate()));
  EXPECT_EQ(Do(SweepRemoved{.sweep_id = "sweep-1"}).tasks_left, 2);
  const StepResult again = Submit({.seeds = {1}, .context_lengths = {64}}, "sweep-2");

  EXPECT_EQ(again.submit.train_tasks_new + again.submit.cells_new, 0);
  EXPECT_TRUE(
      Do(GarbageWanted{.dry_run = false, .orphans = AllTasks(state)}).garbage_tasks.empty());
  EXPECT_EQ(SweepStateName(state, "sweep-2"), "SUCCEEDED");

  // Without it, all goes, and what a worker still says of it is of no use and does no harm.
  const Attempt attempt = Current(Train());
  Do(SweepRemoved{.sweep_id = "sweep-2"});
  Do(GarbageWanted{.dry_run = false, .orphans = AllTasks(state)});
  EXPECT_TRUE(state.tasks.empty() && state.runs.empty() && state.attempts.empty());
  const auto acks = Commands<AckMessage>(Finish(attempt, Exit(0)));
  ASSERT_EQ(acks.size(), 1u);
  EXPECT_TRUE(acks[0].ended);
  Restart();
  EXPECT_EQ(Submit({.seeds = {1}, .context_lengths = {64}}).submit.train_tasks_new, 1);
}

// An imported model that is measured as it is, by one of two sweeps.
TEST_F(UpkeepTest, ARunWithoutATaskStaysAsLongAsASweepListsIt) {
  const auto submit = [this](const std::string& id, std::vector<std::int64_t> lengths) {
    Sweep sweep = MakeSweep({.context_lengths = std::move(lengths)});
    sweep.runs[0].run.train.tokens = 0;
    Do(SweepSubmitted{.sweep_id = id, .sweep = sweep, .dataset_paths = SampleDatasets()});
  };
  submit("measured", {64});
  submit("listed", {});
  ASSERT_EQ(state.tasks.size(), 1u);
  Do(SweepCancelled{.sweep_id = "measured"});
  Do(SweepRemoved{.sweep_id = "measured"});
  Do(GarbageWanted{.dry_run = false, .orphans = AllTasks(state)});
  EXPECT_TRUE(state.tasks.empty());
  EXPECT_EQ(state.runs.size(), 1u);
  Restart();

  Do(SweepRemoved{.sweep_id = "listed"});
  EXPECT_TRUE(state.runs.empty() && store.runs.empty());

  submit("measured", {64});
  submit("listed", {});
  Do(SweepRemoved{.sweep_id = "listed"});
  EXPECT_EQ(state.runs.size(), 1u);
}

TEST_F(UpkeepTest, WhatNoSweepHasIsNotTriedAgain) {
  Submit({.seeds = {1}}, "removed");
  Submit({.seeds = {1, 2}}, "stays");
  Do(SweepCancelled{.sweep_id = "stays"});
  Do(SweepCancelled{.sweep_id = "removed"});
  Do(SweepRemoved{.sweep_id = "stays"});
  RetryRequested all{.sweep_id = "removed", .tasks = AllTasks(state)};
  EXPECT_EQ(Do(all).submit.tasks_retried, 2);
  EXPECT_EQ(Do(RetryRequested{.sweep_id = "stays", .tasks = {}}).status.code(), Code::kNotFound);

  Do(SweepCancelled{.sweep_id = "removed"});
  Do(SweepRemoved{.sweep_id = "removed"});
  all.sweep_id = "";
  const StepResult none = Do(all);
  EXPECT_EQ(none.status.code(), Code::kFailedPrecondition);
  EXPECT_NE(none.status.message().find("submit the sweep again"), std::string::npos);
  EXPECT_TRUE(none.writes.empty());
}

// ---- leaving ------------------------------------------------------------------------------------

TEST_F(UpkeepTest, AWorkerThatLeavesIsOfferedNothingMoreAndToldSo) {
  Arrive("worker-1", {CpuSlot()}, 1);
  const StepResult left = Do(WorkerLeaves{.session = 1});
  ASSERT_EQ(Commands<DrainMessage>(left).size(), 1u);

  const StepResult submitted = Submit({});

  EXPECT_TRUE(Commands<SendStart>(submitted).empty());
  EXPECT_EQ(Train().state, TaskState::kReady);
}

TEST_F(UpkeepTest, ThatAWorkerLeftSurvivesARestartAndItsNextHelloTakesItBack) {
  Arrive("worker-1", {CpuSlot()}, 1);
  Do(WorkerLeaves{.session = 1});
  Do(WorkerGone{.session = 1});
  Restart();
  EXPECT_TRUE(state.workers.at("worker-1").draining);

  Submit({});
  const StepResult arrived = Arrive("worker-1", {CpuSlot()}, 2, {}, "B");

  EXPECT_FALSE(state.workers.at("worker-1").draining);
  EXPECT_EQ(Commands<SendStart>(arrived).size(), 1u);
}

// ---- continuing ---------------------------------------------------------------------------------

Sweep Continuing(const std::string& parent, std::vector<std::int64_t> context_lengths = {}) {
  Sweep sweep = MakeSweep({.context_lengths = std::move(context_lengths)});
  sweep.name = "more";
  sweep.runs[0].run.parent = parent;
  sweep.runs[0].run.train.tokens *= 2;
  sweep.runs[0].run_key = Sha256Hex("goes on from " + parent);
  for (PlannedEvaluation& evaluation : sweep.runs[0].evaluations) {
    for (ExpectedCell& cell : evaluation.cells) {
      cell.cell = CellKey(sweep.runs[0].run_key, evaluation.evaluation, cell.context_length);
    }
  }
  return sweep;
}

TEST_F(UpkeepTest, ARunThatGoesOnStartsWhereItsParentEndedAndIsCarriedOutAsItWas) {
  Submit({.context_lengths = {}});
  Arrive("worker-1", {CpuSlot()}, 1);
  const Task parent = Train();
  Complete(Current(Train()));
  ASSERT_EQ(Train().state, TaskState::kSucceeded);
  const Execution execution = *state.runs.at(parent.run_key).execution;
  Slot slot = CpuSlot();
  slot.memory_bytes *= 64;  // would decide for a larger micro-batch
  Arrive("worker-1", {slot}, 2, {}, "B");

  const StepResult result = Do(SweepSubmitted{.sweep_id = "sweep-2",
                                              .sweep = Continuing(parent.run_key),
                                              .dataset_paths = SampleDatasets()});

  const auto starts = Commands<SendStart>(result);
  ASSERT_EQ(starts.size(), 1u);
  ASSERT_TRUE(starts[0].task.resume.has_value());
  EXPECT_EQ(starts[0].task.resume->sha256, Sha256Hex("final"));
  EXPECT_EQ(starts[0].task.resume->step, 125);
  EXPECT_EQ(starts[0].task.execution, execution);
  EXPECT_EQ(starts[0].task.run.parent, parent.run_key);
}

TEST_F(UpkeepTest, ATrainingThatAnotherRunContinuesIsNoGarbage) {
  Submit({.context_lengths = {}});
  Arrive("worker-1", {CpuSlot()}, 1);
  const std::string parent = Train().id;
  Complete(Current(Train()));
  const Sweep more = Continuing(Train().run_key);
  Do(SweepSubmitted{.sweep_id = "more", .sweep = more, .dataset_paths = SampleDatasets()});
  Complete(state.attempts.at(*state.index.live.begin()));
  Do(SweepRemoved{.sweep_id = "sweep-1"});
  EXPECT_TRUE(
      Do(GarbageWanted{.dry_run = false, .orphans = AllTasks(state)}).garbage_tasks.empty());

  Do(SweepRemoved{.sweep_id = "more"});
  const std::string child = TrainTaskKey(more.runs[0].run_key);
  EXPECT_EQ(Do(GarbageWanted{.dry_run = false, .orphans = AllTasks(state)}).garbage_tasks,
            (std::vector<std::string>{child, parent}));
  EXPECT_TRUE(state.runs.empty());
}

// Three runs, each of which goes on from the one before, each with an evaluation;
// of slices of any size.
TEST_F(UpkeepTest, ADryRunNamesWhatGoesInOneCallThatIsParentsToo) {
  Arrive("worker-1", {CpuSlot()}, 1);
  const auto complete_all = [this] {
    while (!state.index.live.empty()) Complete(state.attempts.at(*state.index.live.begin()));
  };
  const auto in_slices = [this](bool dry_run, std::size_t n) {
    const std::vector<std::string> all = AllTasks(state);
    std::vector<std::string> named;
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (i % n != 0) continue;
      GarbageWanted event{.dry_run = dry_run};
      for (std::size_t k = i; k < std::min(i + n, all.size()); ++k) event.orphans.push_back(all[k]);
      if (dry_run) event.gone = {named.begin(), named.end()};
      const StepResult result = Do(event);
      EXPECT_EQ(result.writes.empty(), dry_run || result.garbage_tasks.empty());
      named.insert(named.end(), result.garbage_tasks.begin(), result.garbage_tasks.end());
    }
    return named;
  };
  std::string parent;
  const auto submit = [&](const std::string& id, std::vector<std::int64_t> lengths) {
    const Sweep sweep = parent.empty() ? MakeSweep({.context_lengths = std::move(lengths)})
                                       : Continuing(parent, std::move(lengths));
    Do(SweepSubmitted{.sweep_id = id, .sweep = sweep, .dataset_paths = SampleDatasets()});
    complete_all();
    parent = sweep.runs[0].run_key;
  };
  for (const std::size_t n : {1u, 2u, 3u, 6u}) {
    parent.clear();
    for (const char* const id : {"a", "b", "c"}) submit(id, {64});
    ASSERT_EQ(state.tasks.size(), 6u);
    for (const char* const id : {"a", "b", "c"}) Do(SweepRemoved{.sweep_id = id});

    const std::vector<std::string> named = in_slices(true, n);
    EXPECT_EQ(named.size(), 6u) << "slices of " << n;
    EXPECT_EQ(state.tasks.size(), 6u);
    EXPECT_EQ(in_slices(false, n), named);
    EXPECT_TRUE(state.tasks.empty() && state.runs.empty());
  }

  // Of the last one the evaluation is still wanted: so is the line that it stands on.
  parent.clear();
  for (const char* const id : {"a", "b", "c"}) submit(id, {64});
  for (const char* const id : {"a", "b", "c"}) Do(SweepRemoved{.sweep_id = id});
  Do(SweepSubmitted{.sweep_id = "d",
                    .sweep = Continuing(state.runs.at(parent).run.parent, {64}),
                    .dataset_paths = SampleDatasets()});
  const std::vector<std::string> named = in_slices(true, 1);
  EXPECT_EQ(named.size(), 2u);  // the evaluations of the other two
  EXPECT_EQ(in_slices(false, 1), named);
}

TEST_F(UpkeepTest, ATrainingIsNoGarbageWhileARunThatCannotBeReadMayContinueIt) {
  Submit({.context_lengths = {}});
  Arrive("worker-1", {CpuSlot()}, 1);
  Complete(Current(Train()));
  const std::string training = Train().id;
  Do(SweepRemoved{.sweep_id = "sweep-1"});
  RunRecord& unread = state.runs["unread"];
  unread.unknown = "position method \"later\" is unknown";
  EXPECT_TRUE(
      Do(GarbageWanted{.dry_run = false, .orphans = AllTasks(state)}).garbage_tasks.empty());

  state.runs.erase("unread");
  EXPECT_EQ(Do(GarbageWanted{.dry_run = false, .orphans = AllTasks(state)}).garbage_tasks,
            std::vector<std::string>{training});
}

// Its epochs begin anew with the task; the worker that was away comes back with a larger one.
TEST_F(UpkeepTest, AnAttemptOfATaskThatWasRemovedHasNoSayInTheSameTaskAskedForAnew) {
  Submit({.context_lengths = {}});
  Arrive("worker-1", {CpuSlot()}, 1);
  const Attempt stale = Current(Train());
  const std::string run_key = Train().run_key;
  Do(SweepCancelled{.sweep_id = "sweep-1"});
  Do(WorkerGone{.session = 1});
  Wait(state.limits.lease_ms + 1000);
  Do(SweepRemoved{.sweep_id = "sweep-1"});
  ASSERT_EQ(Do(GarbageWanted{.dry_run = false, .orphans = AllTasks(state)}).garbage_tasks.size(),
            1u);

  Submit({.context_lengths = {}}, "again");
  Arrive("worker-1", {CpuSlot()}, 2,
         {{.attempt = stale.id, .task = stale.task, .run_key = run_key, .epoch = stale.epoch}});
  EXPECT_NE(Train().attempt, stale.id);
  EXPECT_FALSE(state.attempts.contains(stale.id));
}

// An older checkpoint is looked for where the newest is damaged; never the start,
// which would be another run.
TEST_F(UpkeepTest, ARunThatCannotReadItsParentsCheckpointDoesNotStartAnew) {
  Submit({.context_lengths = {}});
  Arrive("worker-1", {CpuSlot()}, 1);
  const std::string parent = Train().run_key;
  Complete(Current(Train()));
  Sweep sweep = Continuing(parent);
  sweep.retry = {.failures_max = 1, .losses_max = 5};
  Do(SweepSubmitted{.sweep_id = "sweep-2", .sweep = sweep, .dataset_paths = SampleDatasets()});
  const Task& child = state.tasks.at(TrainTaskKey(sweep.runs[0].run_key));
  const std::string first = child.attempt;
  Begin(Current(child));
  Finish(Current(child), Exit(65));
  ASSERT_EQ(state.attempts.at(first).failure_class, "data");

  for (int i = 0; i < 200 && child.state == TaskState::kReady; ++i) {  // until the back-off ends
    Wait(5'000);
    Do(WorkerHeard{.session = 1, .number = i, .attempts = {}});
  }

  ASSERT_NE(child.attempt, first);
  ASSERT_TRUE(Current(child).resume.has_value());
  EXPECT_EQ(Current(child).resume->sha256, Sha256Hex("final"));
}

TEST_F(UpkeepTest, ARunWhoseParentHasNotEndedIsRefused) {
  Submit({.context_lengths = {}});
  const StepResult result = Do(SweepSubmitted{.sweep_id = "sweep-2",
                                              .sweep = Continuing(Train().run_key),
                                              .dataset_paths = SampleDatasets()});
  EXPECT_EQ(result.status.code(), Code::kFailedPrecondition);
  EXPECT_EQ(state.runs.size(), 1u);
}

// ---- checkpoints --------------------------------------------------------------------------------

CheckpointRef Checkpoint(std::int64_t step, std::uint64_t name) {
  std::string sha256(64, '0');
  for (std::size_t i = 64; name > 0; name /= 10) sha256[--i] = static_cast<char>('0' + name % 10);
  return {
      .attempt = "01JD0000000000000000000000", .checkpoint = "", .sha256 = sha256, .step = step};
}

// Everything that the tasks know of, as the rows of the database name it.
GarbageWanted Garbage(const State& state, bool dry_run) {
  std::set<std::pair<std::string, std::string>> seen;
  GarbageWanted event{.dry_run = dry_run, .candidates = {}};
  const auto add = [&](const std::string& task, const CheckpointRef& one) {
    if (!seen.insert({task, one.sha256}).second) return;
    event.candidates.push_back({.task = task, .step = one.step, .sha256 = one.sha256});
  };
  for (const auto& [id, task] : state.tasks) {
    for (const CheckpointRef& one : task.checkpoints) add(id, one);
    if (task.best_checkpoint) add(id, *task.best_checkpoint);
    if (task.final_checkpoint) add(id, *task.final_checkpoint);
  }
  return event;
}

// The property that garbage collection stands on, over random tasks: of a training that has not
// succeeded nothing goes, of the others everything but the final one, the best one and what a live
// attempt started from; a dry run changes nothing; a second one finds nothing.
TEST_F(UpkeepTest, NothingGoesThatAResultOrAResumableTaskRefersTo) {
  SeededRandom random(20261120);
  Submit({.seeds = {1, 2, 3, 4, 5, 6, 7, 8}});
  constexpr TaskState kStates[] = {TaskState::kSucceeded, TaskState::kSucceeded, TaskState::kFailed,
                                   TaskState::kCancelled, TaskState::kSkipped};
  for (int round = 0; round < 200; ++round) {
    std::set<std::string> needed, all;
    std::uint64_t name = 1 + static_cast<std::uint64_t>(round) * 1000;
    for (auto& [id, task] : state.tasks) {
      task.checkpoints.clear();
      task.final_checkpoint.reset();
      task.best_checkpoint.reset();
      if (task.kind != TaskKind::kTrain) continue;
      task.state = kStates[random.Next() % std::size(kStates)];
      const auto n = static_cast<std::int64_t>(random.Next() % 5);
      for (std::int64_t i = 0; i < n; ++i) {
        task.checkpoints.push_back(Checkpoint(100 * (i + 1), name++));
        all.insert(task.checkpoints.back().sha256);
      }
      if (n > 0 && random.Next() % 2 == 0) {
        task.best_checkpoint = task.checkpoints[random.Next() % task.checkpoints.size()];
      }
      if (task.state == TaskState::kSucceeded && n > 0) {
        task.final_checkpoint = task.checkpoints.back();
      }
      for (const CheckpointRef& one : task.checkpoints) {
        if (task.state != TaskState::kSucceeded) needed.insert(one.sha256);
      }
      if (task.best_checkpoint) needed.insert(task.best_checkpoint->sha256);
      if (task.final_checkpoint) needed.insert(task.final_checkpoint->sha256);
    }
    std::map<std::string, std::vector<CheckpointRef>> before;
    for (const auto& [id, task] : state.tasks) before[id] = task.checkpoints;

    const StepResult dry = Step(state, Garbage(state, true), now, 0);
    EXPECT_TRUE(dry.writes.empty());
    for (const auto& [id, task] : state.tasks) EXPECT_EQ(task.checkpoints, before[id]);

    const StepResult result = Step(state, Garbage(state, false), now, 0);
    std::set<std::string> gone, kept;
    for (const GarbageCheckpoint& one : result.garbage) gone.insert(one.checkpoint.sha256);
    for (const auto& [id, task] : state.tasks) {
      for (const CheckpointRef& one : task.checkpoints) kept.insert(one.sha256);
    }
    EXPECT_EQ(dry.garbage.size(), result.garbage.size());
    EXPECT_EQ(kept, needed);
    EXPECT_EQ(gone.size() + kept.size(), all.size());
    for (const std::string& one : gone) EXPECT_FALSE(needed.contains(one)) << one;
    EXPECT_TRUE(Step(state, Garbage(state, false), now, 0).garbage.empty());
  }
}

TEST_F(UpkeepTest, WhatALiveAttemptStartedFromStays) {
  Submit({.seeds = {1, 2}});
  Arrive("worker-1", {CpuSlot()}, 1);
  Task* running = nullptr;
  Task* done = nullptr;
  for (auto& [id, task] : state.tasks) {
    if (task.kind != TaskKind::kTrain) continue;
    (IsTerminal(task.state) || task.attempt.empty() ? done : running) = &task;
  }
  ASSERT_NE(running, nullptr);
  ASSERT_NE(done, nullptr);
  done->state = TaskState::kSucceeded;
  done->checkpoints = {Checkpoint(1, 1), Checkpoint(2, 2), Checkpoint(3, 3)};
  done->final_checkpoint = done->checkpoints.back();
  Current(*running).resume = done->checkpoints.front();

  const StepResult result = Step(state, Garbage(state, false), now, 0);

  ASSERT_EQ(result.garbage.size(), 1u);
  EXPECT_EQ(result.garbage[0].checkpoint.step, 2);
}

TEST_F(UpkeepTest, NothingGoesOfATrainingOfWhichNothingIsKnownAnyMore) {
  Submit({.context_lengths = {}});
  Arrive("worker-1", {CpuSlot()}, 1);
  Complete(Current(Train()));
  ASSERT_TRUE(Train().final_checkpoint.has_value());
  GarbageWanted wanted{.dry_run = false};
  wanted.candidates.push_back(
      {.task = Train().id, .step = 125, .sha256 = Train().final_checkpoint->sha256});
  Task lost;
  lost.id = Train().id;
  lost.run_key = Train().run_key;
  lost.state = TaskState::kFailed;
  lost.damaged = true;
  state.tasks.at(lost.id) = lost;

  EXPECT_TRUE(Step(state, wanted, now, 0).garbage.empty());
}

// What an attempt wrote that its task does not stand on any more: rows of before,
// which no state names.
TEST_F(UpkeepTest, WhatAnAttemptLeftBehindGoesAndWhatTheNextOneResumesFromStays) {
  Submit({.context_lengths = {}});
  Task& task = Train();
  task.checkpoints = {Checkpoint(10, 1), Checkpoint(20, 2)};
  task.best_checkpoint = Checkpoint(10, 1);
  GarbageWanted event = Garbage(state, false);
  const CheckpointRef stale = Checkpoint(15, 3);
  event.candidates.push_back({.task = task.id, .step = stale.step, .sha256 = stale.sha256});

  const StepResult result = Step(state, event, now, 0);

  ASSERT_EQ(result.garbage.size(), 1u);
  EXPECT_EQ(result.garbage[0].checkpoint.sha256, stale.sha256);
  EXPECT_FALSE(result.garbage[0].task_succeeded);
  EXPECT_EQ(task.checkpoints.size(), 2u);
}

TEST_F(UpkeepTest, ASliceDecidesOnItsOwnCandidatesAlone) {
  Submit({.context_lengths = {}});
  Task& task = Train();
  task.state = TaskState::kSucceeded;
  task.checkpoints = {Checkpoint(10, 1), Checkpoint(20, 2), Checkpoint(30, 3)};
  task.final_checkpoint = task.checkpoints.back();
  GarbageWanted event = Garbage(state, false);
  event.candidates.resize(1);

  EXPECT_EQ(Step(state, event, now, 0).garbage.size(), 1u);
  EXPECT_EQ(task.checkpoints.size(), 2u);
}

}  // namespace
}  // namespace longrun::coordinator
