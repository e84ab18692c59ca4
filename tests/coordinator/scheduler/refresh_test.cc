// Measuring known numbers again: they count until the new ones are complete; nothing is trained.
#include <string>
#include <utility>
#include <vector>

#include "tests/coordinator/scheduler/fixture.h"

namespace longrun::coordinator {
namespace {

class RefreshTest : public SchedulerTest {
 protected:
  // A sweep whose numbers are known, and a worker without work.
  void Measure(const SampleSweep& sample = {}) {
    sample_ = sample;
    Submit(sample);
    Arrive("worker-1", {CpuSlot()}, 1);
    Complete(Current(Train()));
    Measured(Current(Evaluate()), Sums(1.5));
    ASSERT_EQ(Evaluate().state, TaskState::kSucceeded);
    cells_ = store.tasks.at(Evaluate().id).expected_cells;
  }
  StepResult Refresh(const std::string& sweep_id = "sweep-1") {
    const Task& task = Evaluate();
    SweepSubmitted event = {
        .sweep_id = sweep_id, .sweep = MakeSweep(sample_), .dataset_paths = SampleDatasets()};
    for (const ExpectedCell& cell : cells_) event.known_cells[cell.cell] = task.id;
    event.stale.push_back({.task = task.id,
                           .result_attempt = task.result_attempt,
                           .cells = cells_,
                           .numbers = Numbers(Sums(1.5))});
    return Do(event);
  }

  // A row of 1000 tokens for each cell.
  using Rows = std::vector<std::pair<std::string, double>>;  // status, mean nll
  Rows Sums(double nll) const { return Rows(sample_.context_lengths.size(), {"ok", nll}); }
  std::vector<MeasuredNumber> Numbers(const Rows& rows) const {
    std::vector<MeasuredNumber> numbers;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      numbers.push_back({.asked = cells_.at(i),
                         .status = rows[i].first,
                         .n = 1000,
                         .nll_sum = rows[i].second * 1000});
    }
    return numbers;
  }
  StepResult Measured(const Attempt& attempt, const Rows& rows) {
    SampleJournal journal = Begin(attempt);
    const std::vector<ExpectedCell>& cells = state.tasks.at(attempt.task).expected_cells;
    for (std::size_t i = 0; i < cells.size(); ++i) {
      const bool is_ok = rows[i].first == "ok";
      journal.Append(RecordKind::kResult,
                     {{"cell", cells[i].cell},
                      {"metric", cells[i].metric},
                      {"context_length", cells[i].context_length},
                      {"variant", nullptr},
                      {"value", is_ok ? Json(rows[i].second) : Json()},
                      {"nll_sum", is_ok ? Json(rows[i].second * 1000) : Json()},
                      {"n", is_ok ? 1000 : 0},
                      {"status", rows[i].first}});
    }
    journal.Final();
    StepResult result =
        Deliver(attempt, journal, 3, static_cast<std::int64_t>(journal.entries.size()));
    Finish(attempt, Exit(0));
    return result;
  }
  static bool Has(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
  }

  SampleSweep sample_;
  std::vector<ExpectedCell> cells_;
};

TEST_F(RefreshTest, OnlyTheEvaluationRunsAgainAndItsNewRowsCount) {
  Measure();
  const std::string first = Evaluate().result_attempt;

  const StepResult result = Refresh();

  EXPECT_EQ(result.refreshed, (std::vector<std::string>{Evaluate().id}));
  EXPECT_EQ(result.submit.train_tasks_new + result.submit.cells_new, 0);
  const std::vector<SendStart> starts = Commands<SendStart>(result);
  ASSERT_EQ(starts.size(), 1u);
  EXPECT_EQ(starts[0].task.kind, TaskKind::kEvaluate);
  EXPECT_EQ(starts[0].task.init->sha256, Sha256Hex("final"));
  EXPECT_EQ(Train().attempts, 1);
  EXPECT_EQ(Evaluate().result_attempt, first);

  Measured(Current(Evaluate()), Sums(1.5));
  EXPECT_EQ(Evaluate().state, TaskState::kSucceeded);
  EXPECT_NE(Evaluate().result_attempt, first);
  EXPECT_EQ(Evaluate().reason,
            "complete with attempt 2; its numbers equal those of attempt 1, bit for bit");
  EXPECT_EQ(Train().attempts, 1);
}

TEST_F(RefreshTest, TheEarlierNumbersCountWhateverDiesMeanwhile) {
  Measure();
  const std::string first = Evaluate().result_attempt;
  Refresh();
  Begin(Current(Evaluate()));

  Restart();
  EXPECT_EQ(Evaluate().result_attempt, first);
  EXPECT_EQ(Evaluate().state, TaskState::kRunning);
  EXPECT_EQ(Evaluate().earlier, Numbers(Sums(1.5)));
  Arrive("worker-1", {CpuSlot()}, 2, {}, "B");  // it was killed as well, and has nothing of it
  Wait(state.limits.lease_ms * 2);
  EXPECT_EQ(Evaluate().result_attempt, first);
  EXPECT_GE(Evaluate().attempts, 3);
}

TEST_F(RefreshTest, ARefreshThatFailsKeepsTheEarlierNumbers) {
  Measure({.retry = {.failures_max = 0, .losses_max = 0}});
  const std::string first = Evaluate().result_attempt;
  Refresh();
  Begin(Current(Evaluate()));

  Finish(Current(Evaluate()), Signal(6));

  EXPECT_EQ(Evaluate().state, TaskState::kSucceeded);
  EXPECT_EQ(Evaluate().result_attempt, first);
  EXPECT_TRUE(Has(Evaluate().reason, "keeps the numbers of attempt 1")) << Evaluate().reason;
  EXPECT_TRUE(Has(Evaluate().reason, "signal 6")) << Evaluate().reason;
  EXPECT_EQ(SweepStateName(state, "sweep-1"), "SUCCEEDED");
}

TEST_F(RefreshTest, CancellingItKeepsTheEarlierNumbersAtAnyMoment) {
  Measure();
  const std::string first = Evaluate().result_attempt;
  // Waiting for a slot.
  Do(WorkerGone{.session = 1});
  Wait(state.limits.suspect_ms + 1000);
  Refresh();
  ASSERT_EQ(Evaluate().state, TaskState::kReady);
  Do(SweepCancelled{.sweep_id = "sweep-1"});
  EXPECT_EQ(Evaluate().state, TaskState::kSucceeded);
  EXPECT_EQ(Evaluate().result_attempt, first);
  EXPECT_FALSE(Evaluate().cancel_wanted);
  // At work.
  Arrive("worker-1", {CpuSlot()}, 2);
  Refresh();
  Begin(Current(Evaluate()), 2);
  Do(SweepCancelled{.sweep_id = "sweep-1"});
  EXPECT_EQ(Evaluate().state, TaskState::kStopping);
  EndEvidence evidence = Exit(75);
  evidence.stop_requested = true;
  Finish(Current(Evaluate()), evidence, 2);
  EXPECT_EQ(Evaluate().state, TaskState::kSucceeded);
  EXPECT_EQ(Evaluate().result_attempt, first);
}

TEST_F(RefreshTest, ADifferenceBeyondRoundingIsLoggedAndTheNewRowsCount) {
  Measure();
  Refresh();
  Rows rows = Sums(1.5);
  rows[1].second = 1.6;

  const StepResult result = Measured(Current(Evaluate()), rows);

  EXPECT_EQ(Evaluate().result_attempt, Evaluate().attempt);
  EXPECT_EQ(Evaluate().reason,
            "complete with attempt 2; its numbers differ from those of attempt 1 by more than "
            "rounding: nll at 128 is 1.6 instead of 1.5");
  ASSERT_EQ(result.differences.size(), 1u);
  EXPECT_TRUE(Has(result.differences[0], "1.6 instead of 1.5")) << result.differences[0];
}

TEST_F(RefreshTest, ADifferenceWithinRoundingIsSaidAndNotLogged) {
  Measure();
  Refresh();

  const StepResult result = Measured(Current(Evaluate()), Sums(1.5 + 1e-7));

  EXPECT_TRUE(Has(Evaluate().reason, "up to rounding (6.6")) << Evaluate().reason;
  EXPECT_TRUE(result.differences.empty());
}

TEST_F(RefreshTest, ANumberIsNeverReplacedByNone) {
  Measure();
  const std::string first = Evaluate().result_attempt;
  Refresh();
  Rows rows = Sums(1.5);
  rows[1] = {"out_of_memory", 0};

  Measured(Current(Evaluate()), rows);

  EXPECT_EQ(Evaluate().state, TaskState::kSucceeded);
  EXPECT_EQ(Evaluate().result_attempt, first);
  EXPECT_EQ(
      Evaluate().reason,
      "keeps the numbers of attempt 1, which were not measured again: attempt 2 has no nll at "
      "128: out_of_memory");
}

TEST_F(RefreshTest, WhatIsMeasuredAgainAlreadyIsNotStartedTwice) {
  Measure();
  Refresh();
  const std::string attempt = Evaluate().attempt;

  EXPECT_TRUE(Refresh().refreshed.empty());
  EXPECT_EQ(Evaluate().attempt, attempt);
}

TEST_F(RefreshTest, AResultThatIsAnotherOneByNowIsLeftAlone) {
  Measure();
  Refresh();
  Measured(Current(Evaluate()), Sums(1.5));
  SweepSubmitted event = {
      .sweep_id = "sweep-1", .sweep = MakeSweep(sample_), .dataset_paths = SampleDatasets()};
  event.stale.push_back(
      {.task = Evaluate().id, .result_attempt = "an earlier one", .cells = cells_, .numbers = {}});

  EXPECT_TRUE(Do(event).refreshed.empty());
  EXPECT_EQ(Evaluate().state, TaskState::kSucceeded);
}

// Another sweep owns the task, too: its table shows the same rows at all times.
TEST_F(RefreshTest, ASweepThatSharesTheCellsMeasuresThemAgainForBoth) {
  Measure();
  Do(SweepSubmitted{
      .sweep_id = "other", .sweep = MakeSweep(sample_), .dataset_paths = SampleDatasets()});

  EXPECT_EQ(Refresh("other").refreshed.size(), 1u);
  EXPECT_EQ(SweepStateName(state, "sweep-1"), "RUNNING");
  Measured(Current(Evaluate()), Sums(1.5));
  EXPECT_EQ(SweepStateName(state, "sweep-1"), "SUCCEEDED");
  EXPECT_EQ(SweepStateName(state, "other"), "SUCCEEDED");
}

TEST_F(RefreshTest, WithoutAFinalCheckpointNothingStarts) {
  Measure();
  Train().final_checkpoint.reset();

  EXPECT_TRUE(Refresh().refreshed.empty());
  EXPECT_EQ(Evaluate().state, TaskState::kSucceeded);
  EXPECT_EQ(Train().attempts, 1);
}

}  // namespace
}  // namespace longrun::coordinator
