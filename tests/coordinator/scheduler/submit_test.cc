// What is known is never done again; what failed is taken up again; limits.
#include "sweeps/cost.h"
#include "tests/coordinator/scheduler/fixture.h"

namespace longrun::coordinator {
namespace {

class SubmitTest : public SchedulerTest {};

// Invariant I-9.
TEST_F(SubmitTest, ARunBecomesATrainingAndAnEvaluationThatWaitsForIt) {
  const StepResult result = Submit({.seeds = {1}, .context_lengths = {64, 128}});

  EXPECT_TRUE(result.status.ok());
  EXPECT_EQ(result.submit.runs_new, 1);
  EXPECT_EQ(result.submit.train_tasks_new, 1);
  EXPECT_EQ(result.submit.evaluate_tasks_new, 1);
  EXPECT_EQ(result.submit.cells_new, 2);
  EXPECT_EQ(Train().state, TaskState::kReady);
  EXPECT_EQ(Evaluate().state, TaskState::kBlocked);
  EXPECT_EQ(Evaluate().needs, Train().id);
  EXPECT_EQ(SweepStateName(state, "sweep-1"), "PENDING");
}

TEST_F(SubmitTest, TheSameSweepAgainDoesNothingButIsServedByTheSameTasks) {
  Submit({});
  const StepResult again = Submit({}, "sweep-2");

  EXPECT_EQ(again.submit.runs_new, 0);
  EXPECT_EQ(again.submit.runs_reused, 1);
  EXPECT_EQ(again.submit.train_tasks_new + again.submit.evaluate_tasks_new, 0);
  EXPECT_EQ(again.submit.cells_new, 0);
  EXPECT_EQ(again.submit.cells_reused, 2);
  EXPECT_EQ(again.submit.tasks_retried, 0);
  EXPECT_EQ(state.tasks.size(), 2u);
  EXPECT_EQ(store.sweeps.at("sweep-2"), store.sweeps.at("sweep-1"));
}

// Those between, of which `keep` stay, and the final one: of what is new, under way, or given up
// and wanted again.
TEST_F(SubmitTest, WhatTheCheckpointsOfASubmissionTakeIsCountedOnce) {
  Sweep sweep = MakeSweep({.seeds = {1, 2, 1}});
  sweep.checkpoint_keep = 4;
  const std::int64_t one = 5 * CheckpointBytes(sweep.runs[0].run.model);
  const auto submit = [&](const std::string& id) {
    const std::int64_t planned = PlanSubmission(state, sweep).checkpoint_bytes;
    const StepResult result =
        Do(SweepSubmitted{.sweep_id = id, .sweep = sweep, .dataset_paths = SampleDatasets()});
    EXPECT_EQ(result.submit.checkpoint_bytes, planned);
    return planned;
  };
  EXPECT_EQ(submit("first"), 2 * one);
  EXPECT_EQ(submit("second"), 2 * one);  // under way
  Arrive("w", {CpuSlot()}, 1);
  Complete(state.attempts.at(*state.index.live.begin()));
  Do(SweepCancelled{.sweep_id = "first"});
  Do(SweepCancelled{.sweep_id = "second"});
  EXPECT_EQ(submit("third"), one);  // the other one has succeeded
}

TEST_F(SubmitTest, OneMoreContextLengthIsEvaluatedAlone) {
  Arrive("w", {CpuSlot()}, 1);
  Submit({.seeds = {1}, .context_lengths = {64}});
  Complete(Current(Train()));
  Complete(Current(Evaluate()));
  const SampleSweep wider = {.seeds = {1}, .context_lengths = {64, 128}};
  const SubmitCounts plan = PlanSubmission(state, MakeSweep(wider), store.cells);
  const StepResult result = Submit(wider, "sweep-2");

  EXPECT_EQ(plan.cells_new, 1);
  EXPECT_EQ(result.submit.cells_new, 1);
  EXPECT_EQ(result.submit.cells_reused, 1);
  EXPECT_EQ(result.submit.train_tasks_new, 0);
  const auto starts = Commands<SendStart>(result);
  ASSERT_EQ(starts.size(), 1u);
  ASSERT_EQ(starts[0].task.expected_cells.size(), 1u);
  EXPECT_EQ(starts[0].task.expected_cells[0].context_length, 128);
  ASSERT_TRUE(starts[0].task.init.has_value());
  EXPECT_EQ(starts[0].task.init->sha256, Sha256Hex("final"));
}

TEST_F(SubmitTest, AfterItsSuccessATaskTakesNoMemoryForItsCells) {
  Arrive("w", {CpuSlot()}, 1);
  Submit({.seeds = {1}, .context_lengths = {64, 128}});
  Complete(Current(Train()));
  const Attempt& attempt = Current(Evaluate());
  ASSERT_EQ(state.cell_task.size(), 2u);
  Complete(attempt);

  EXPECT_EQ(Evaluate().expected_cells.capacity(), 0u);
  EXPECT_EQ(Evaluate().ready_class.capacity(), std::string().capacity());
  EXPECT_TRUE(attempt.rows.counts.empty());
  EXPECT_TRUE(attempt.rows.expected.empty());
  EXPECT_EQ(attempt.rows.numbers.capacity(), 0u);
  EXPECT_TRUE(state.cell_task.empty());
  EXPECT_EQ(store.tasks.at(Evaluate().id).expected_cells.size(), 2u);
}

TEST_F(SubmitTest, ACellThatOwesABaselineTooIsOneCellWithTwoRows) {
  const SampleSweep sample = {.context_lengths = {64, 128}, .variants = {"", "unigram"}};
  const StepResult first = Submit(sample);
  const StepResult again = Submit(sample, "sweep-2");

  EXPECT_EQ(first.submit.cells_new, 2);
  EXPECT_EQ(first.submit.cells_reused, 0);
  EXPECT_EQ(Evaluate().expected_cells.size(), 4u);
  EXPECT_EQ(again.submit.cells_reused, 2);
}

// Comparing each of these rows with all others would be 2e10 comparisons.
TEST_F(SubmitTest, ManyCellsOfOneEvaluationAreEachLookedUpOnce) {
  SampleSweep sample = {.context_lengths = {}, .variants = {"", "unigram"}};
  for (int length = 64; length < 64 + 100'000; ++length) sample.context_lengths.push_back(length);
  Sweep sweep = MakeSweep(sample);
  std::vector<ExpectedCell>& cells = sweep.runs[0].evaluations[0].cells;
  cells.push_back(cells.front());  // twice

  const SubmitCounts counts = PlanSubmission(state, sweep);

  EXPECT_EQ(counts.cells_new, 100'000);
  EXPECT_EQ(counts.cells_reused, 1);
}

TEST_F(SubmitTest, WhatFailedGetsANewRoundWithFreshCounters) {
  Arrive("w", {CpuSlot()}, 1);
  Submit({});
  Begin(Current(Train()));
  Finish(Current(Train()), Exit(78));
  ASSERT_EQ(Train().state, TaskState::kFailed);
  ASSERT_EQ(Evaluate().state, TaskState::kSkipped);
  const StepResult again = Submit({}, "sweep-2");

  EXPECT_EQ(again.submit.tasks_retried, 2);
  EXPECT_EQ(again.submit.cells_new, 0);
  EXPECT_EQ(Train().retry_round, 1);
  EXPECT_EQ(Train().failures, 0);
  EXPECT_EQ(Train().state, TaskState::kReserved);
  EXPECT_EQ(Evaluate().state, TaskState::kBlocked);
  EXPECT_EQ(Current(Train()).n, 2);
}

// The same seed gives the same NaN: there is nothing to hope for.
// Invariant I-1.
TEST_F(SubmitTest, WhatDivergedIsNotTriedAgainNorWhatIsNewlyAskedOfIt) {
  Arrive("w", {CpuSlot()}, 1);
  Submit({.seeds = {1}, .context_lengths = {64}});
  Begin(Current(Train()));
  Finish(Current(Train()), Exit(80));
  const StepResult again = Submit({.seeds = {1}, .context_lengths = {64, 128}}, "sweep-2");

  EXPECT_EQ(again.submit.tasks_retried, 0);
  EXPECT_EQ(again.submit.tasks_failed_for_good, 3);  // the training, and an evaluation each
  EXPECT_EQ(again.submit.cells_new + again.submit.evaluate_tasks_new, 0);
  EXPECT_EQ(again.submit.cells_reused, 0);
  EXPECT_TRUE(Commands<SendStart>(again).empty());
  EXPECT_EQ(Train().state, TaskState::kFailed);
  for (const auto& [id, task] : state.tasks) {
    EXPECT_TRUE(IsTerminal(task.state));
    EXPECT_TRUE(FailedForGood(state, task));
  }
  EXPECT_EQ(SweepStateName(state, "sweep-2"), "FAILED");
  // By command all the same: another build may compute otherwise.
  EXPECT_EQ(
      Do(RetryRequested{.sweep_id = "sweep-2", .tasks = {Evaluate().id}}).submit.tasks_retried, 2);
}

TEST_F(SubmitTest, MoreTasksThanTheLimitAreRefusedAndNothingIsDone) {
  state.limits.tasks_max = 3;
  const StepResult result = Submit({.seeds = {1, 2}});

  EXPECT_EQ(result.status.code(), Code::kResourceExhausted);
  EXPECT_TRUE(result.writes.empty());
  EXPECT_TRUE(state.tasks.empty());
}

TEST_F(SubmitTest, TasksOfOneOwnerAreLimited) {
  state.limits.owner_tasks_max = 4;  // two runs, each with an evaluation
  const auto submit = [&](const std::string& id, const std::string& owner,
                          const std::vector<std::int64_t>& seeds) {
    return Do(SweepSubmitted{.sweep_id = id,
                             .sweep = MakeSweep({.seeds = seeds}),
                             .dataset_paths = SampleDatasets(),
                             .owner = owner});
  };
  ASSERT_TRUE(submit("a", "anna", {1, 2}).status.ok());
  const StepResult refused = submit("b", "anna", {3});
  EXPECT_EQ(refused.status.code(), Code::kResourceExhausted);
  EXPECT_EQ(refused.status.message(),
            "sweep \"sample\" would add 2 tasks to the 4 of anna's other sweeps; 4 are allowed for "
            "one owner (--owner-tasks-max of longrun-coordinator): make the matrix smaller, or "
            "remove sweeps that have ended (`longrun rm`), and have an operator collect what they "
            "left (`longrun gc`)");
  EXPECT_TRUE(refused.writes.empty());

  EXPECT_TRUE(submit("c", "ben", {3}).status.ok()) << "the limit is of one owner";
  EXPECT_TRUE(submit("d", "anna", {1, 2}).status.ok()) << "its tasks are there already";
  // The owner of a sweep is who submitted it first, also after a restart.
  Restart();
  state.limits.owner_tasks_max = 4;
  EXPECT_FALSE(submit("a", "ben", {1, 2, 4}).status.ok());
  for (const char* const id : {"a", "d"}) {
    ASSERT_TRUE(Do(SweepCancelled{.sweep_id = id}).status.ok());
  }
  EXPECT_FALSE(submit("e", "anna", {5, 6}).status.ok()) << "cancelled tasks can be retried";
  for (const char* const id : {"a", "d"}) {
    ASSERT_TRUE(Do(SweepRemoved{.sweep_id = id}).status.ok());
  }
  Restart();
  state.limits.owner_tasks_max = 4;
  const StepResult left = submit("e", "anna", {5, 6});
  EXPECT_NE(
      left.status.message().find("would add 4 tasks to the 0 of anna's other sweeps and the 4 "
                                 "that removed sweeps left; 4 are allowed"),
      std::string::npos)
      << left.status.message();
  EXPECT_TRUE(submit("b", "ben", {6}).status.ok())
      << "what anna's sweeps left does not count for ben";
  EXPECT_TRUE(submit("f", "anna", {1, 2}).status.ok()) << "these are the tasks that were left";
  ASSERT_TRUE(Do(SweepCancelled{.sweep_id = "f"}).status.ok());
  ASSERT_TRUE(Do(SweepRemoved{.sweep_id = "f"}).status.ok());
  Do(GarbageWanted{.dry_run = false, .orphans = store.OrphanTasks()});
  EXPECT_TRUE(state.index.left.empty());
  EXPECT_TRUE(submit("e", "anna", {5, 7}).status.ok());
}

TEST_F(SubmitTest, AnUnknownDatasetIsRefusedByName) {
  const StepResult result =
      Do(SweepSubmitted{.sweep_id = "s", .sweep = MakeSweep({}), .dataset_paths = {}});

  EXPECT_EQ(result.status.code(), Code::kNotFound);
  EXPECT_NE(result.status.message().find("\"novels\""), std::string::npos);
}

TEST_F(SubmitTest, FiftyThousandTasksAreTakenAndPlacedWithoutALookAtAllOfThem) {
  std::vector<std::int64_t> seeds(25'000);
  for (std::size_t i = 0; i < seeds.size(); ++i) seeds[i] = static_cast<std::int64_t>(i);
  state.limits.busy_ms = 0;
  Arrive("w", {CpuSlot()}, 1);
  const StepResult result = Submit({.seeds = std::move(seeds), .context_lengths = {64}});

  EXPECT_EQ(result.submit.train_tasks_new + result.submit.evaluate_tasks_new, 50'000);
  EXPECT_EQ(Commands<SendStart>(result).size(), 1u);
  // Ten more steps cost next to nothing: they would take minutes if each read all tasks.
  for (int i = 0; i < 10; ++i) {
    ASSERT_EQ(state.index.live.size(), 1u);
    Complete(state.attempts.at(*state.index.live.begin()));
  }
  EXPECT_EQ(state.index.live.size(), 1u);
}

}  // namespace
}  // namespace longrun::coordinator
