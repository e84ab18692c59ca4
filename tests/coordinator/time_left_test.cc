// The time left of a sweep: two training tasks of the same size, one at work,
// whose speed is known by hand.
#include "coordinator/time_left.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "base/clock.h"
#include "sweeps/cost.h"
#include "tests/coordinator/sample.h"

namespace longrun::coordinator {
namespace {

class TimeLeftTest : public testing::Test {
 protected:
  TimeLeftTest() {
    AfterLoad(state_, now_, 1);
    Do(SampleSubmission("sweep-1"));
  }

  void Do(const SchedulerEvent& event) { Step(state_, event, now_, 1'700'000'000'000 + now_); }

  // The tasks, those of alibi's run before those of rope's.
  std::vector<const Task*> Tasks() const {
    std::vector<const Task*> tasks;
    for (const auto& [id, task] : state_.tasks) tasks.push_back(&task);
    return tasks;
  }
  std::vector<MeasuredTask> Measured(TaskKind kind, double flops, double seconds) const {
    const longrun::Run& run = state_.runs.begin()->second.run;
    return {{.kind = kind,
             .device = "cpu, 1 thread",
             .position = run.model.position.method,
             .shape = ShapeOf(run),
             .flops = flops,
             .seconds = seconds}};
  }
  double TrainingFlops() const {
    const longrun::Run& run = state_.runs.begin()->second.run;
    return TrainFlops(run.model, run.train);
  }
  Remaining Left(const std::vector<MeasuredTask>& measured,
                 const std::vector<TimeLeft::New>& all_new = {}) {
    TimeLeft left;
    left.Look(state_, Tasks(), now_);
    CellCosts costs({});  // no dataset: nobody knows what an evaluation costs
    return left.PredictFrom(measured, costs, all_new);
  }

  Instant now_ = 1000;
  State state_;
};

TEST_F(TimeLeftTest, IsNotKnownBeforeAnythingLikeItWasMeasured) {
  const Remaining left = Left({});
  EXPECT_FALSE(left.time.has_value());
  EXPECT_EQ(left.tasks_not_measured, 4);
}

TEST_F(TimeLeftTest, CountsTrainingsThatHaveNotBegun) {
  // One training takes 50 s; there are two, and one slot at the least.
  const Remaining left = Left(Measured(TaskKind::kTrain, TrainingFlops(), 50));
  ASSERT_TRUE(left.time.has_value());
  EXPECT_NEAR(left.time->likely_s, 100, 2);  // alibi and rope differ by their parameters
  EXPECT_LT(left.time->low_s, left.time->likely_s);
  EXPECT_GT(left.time->high_s, left.time->likely_s);
  EXPECT_EQ(left.tasks_not_measured, 2);  // the evaluations
}

TEST_F(TimeLeftTest, APlanAddsWhatIsNewToWhatIsKnownAndHasNotBegun) {
  const Estimate new_time = {
      .low_s = 30, .likely_s = 40, .high_s = 60, .n = 1, .basis = "same kind"};
  const Remaining left = Left(Measured(TaskKind::kTrain, TrainingFlops(), 50),
                              {{.run_key = "new", .time = new_time}, {.run_key = "newer"}});
  ASSERT_TRUE(left.time.has_value());
  EXPECT_NEAR(left.time->likely_s, 100 + 40, 2);
  EXPECT_EQ(left.tasks_not_measured, 2 + 1);
}

TEST_F(TimeLeftTest, AllSlotsShareTheWorkAndARunIsAChain) {
  Do(WorkerArrived{.session = 1, .worker = SampleWorker(8), .attempts = {}});
  const Remaining left = Left(Measured(TaskKind::kTrain, TrainingFlops(), 50));
  EXPECT_EQ(left.slots, 8);
  EXPECT_NEAR(left.time->likely_s, 50, 1);  // not 100 / 8
}

TEST_F(TimeLeftTest, TheFirstTrainingTellsHowLongTheOthersWillTake) {
  Do(WorkerArrived{.session = 1, .worker = SampleWorker(1), .attempts = {}});
  Attempt* live = nullptr;
  for (auto& [id, attempt] : state_.attempts) live = &attempt;
  ASSERT_NE(live, nullptr);
  live->state = AttemptState::kRunning;
  state_.runs.at(state_.tasks.at(live->task).run_key).execution = *live->execution;
  // A quarter done, 30 s to go: 40 s in all, and 40 s for the one that has not begun.
  live->progress = ProgressRecord{.phase = "train", .done = 25, .of = 100, .eta_ms = 30'000};
  const Remaining left = Left({});
  ASSERT_TRUE(left.time.has_value());
  EXPECT_NEAR(left.time->likely_s, 70, 1);
}

// After two of 200 steps, nobody knows the time to the second.
TEST_F(TimeLeftTest, ATaskThatHasJustBegunKnowsItsTimeOnlyRoughly) {
  for (auto& [id, task] : state_.tasks) task.state = TaskState::kSucceeded;
  Task& task = state_.tasks.begin()->second;
  task.state = TaskState::kReady;
  AfterLoad(state_, now_, 1);
  Do(WorkerArrived{.session = 1, .worker = SampleWorker(1), .attempts = {}});
  ASSERT_EQ(state_.attempts.size(), 1u);
  Attempt& live = state_.attempts.begin()->second;
  live.state = AttemptState::kRunning;
  const std::string phase(EnumName(state_.tasks.at(live.task).kind));
  const auto range = [&](std::int64_t done) {
    live.progress = ProgressRecord{.phase = phase, .done = done, .of = 200, .eta_ms = 60'000};
    const Remaining left = Left({});
    return left.time ? std::pair(left.time->low_s, left.time->high_s) : std::pair(0.0, 0.0);
  };
  EXPECT_EQ(range(2), std::pair(30.0, 120.0));
  const auto [low, high] = range(198);
  EXPECT_NEAR(low, 60 / 1.1, 0.1);
  EXPECT_NEAR(high, 60 * 1.1, 0.1);
}

TEST_F(TimeLeftTest, ACancelledTaskThatIsStillStoppingTakesNoTime) {
  Do(WorkerArrived{.session = 1, .worker = SampleWorker(1), .attempts = {}});
  Do(SweepCancelled{.sweep_id = "sweep-1", .mode = StopMode::kCheckpoint});
  const auto stops = [](const auto& task) { return task.second.state == TaskState::kStopping; };
  ASSERT_EQ(std::ranges::count_if(state_.tasks, stops), 1);
  const Remaining left = Left(Measured(TaskKind::kTrain, TrainingFlops(), 50));
  EXPECT_FALSE(left.time.has_value());
  EXPECT_EQ(left.tasks_not_measured, 0);
}

// A run began with two threads, and every slot has one: its training and its evaluation cannot run,
// nor can an evaluation that a plan adds. The other run's training takes 50 s.
TEST_F(TimeLeftTest, TasksThatNoSlotCanRunAreCountedWithoutATime) {
  const std::string begun = state_.runs.begin()->first;
  Execution two_threads;
  two_threads.threads = 2;
  two_threads.simd = "avx2";
  two_threads.linear = "aten/AuthenticAMD";
  state_.runs.begin()->second.execution = two_threads;
  for (auto& [id, task] : state_.tasks) task.ready_class.clear();
  state_.index.ready.clear();
  AfterLoad(state_, now_, 1);
  Do(WorkerArrived{.session = 1, .worker = SampleWorker(1), .attempts = {}});

  const Remaining left =
      Left(Measured(TaskKind::kTrain, TrainingFlops(), 50),
           {{.run_key = begun, .time = Estimate{.likely_s = 40, .n = 1, .basis = "same kind"}}});

  EXPECT_EQ(left.tasks_without_slot, 3);
  EXPECT_EQ(left.tasks_not_measured, 1);  // the other run's evaluation
  ASSERT_TRUE(left.time.has_value());
  EXPECT_NEAR(left.time->likely_s, 50, 1);
}

// One slot: two trainings of 50 s each, and a new evaluation of 40 s. If the slot could not compute
// as the run began, the new evaluation could not run either.
TEST_F(TimeLeftTest, AnEvaluationThatNeedsTooMuchMemoryDoesNotLeaveOutOthersOfItsRun) {
  Do(WorkerArrived{.session = 1, .worker = SampleWorker(1), .attempts = {}});
  const std::string run_key = state_.runs.begin()->first;
  for (auto& [id, task] : state_.tasks) {
    const bool is_its = task.run_key == run_key && task.kind == TaskKind::kEvaluate;
    if (is_its) task.ready_class = "large";
  }
  state_.index.ready["large"].cpu_memory_bytes = std::int64_t{1} << 50;
  state_.index.ready["large"].unfit = "its memory is too small";
  const Estimate new_time = {
      .low_s = 30, .likely_s = 40, .high_s = 60, .n = 1, .basis = "same kind"};

  const Remaining left = Left(Measured(TaskKind::kTrain, TrainingFlops(), 50),
                              {{.run_key = run_key, .time = new_time}});

  EXPECT_EQ(left.tasks_without_slot, 1);
  EXPECT_EQ(left.tasks_not_measured, 1);  // the other run's evaluation
  ASSERT_TRUE(left.time.has_value());
  EXPECT_NEAR(left.time->likely_s, 100 + 40, 2);

  Execution two_threads;
  two_threads.threads = 2;
  two_threads.simd = "avx2";
  two_threads.linear = "aten/AuthenticAMD";
  state_.index.ready["large"].execution = two_threads;
  EXPECT_EQ(Left({}, {{.run_key = run_key, .time = new_time}}).tasks_without_slot, 2);
}

}  // namespace
}  // namespace longrun::coordinator
