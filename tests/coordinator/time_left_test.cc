// The time left of a sweep: two training tasks of the same size, one at work,
// whose speed is known by hand.
#include "coordinator/time_left.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "base/clock.h"
#include "base/str.h"
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

  // As sweep-1, with other runs.
  void SubmitOther(const std::string& sweep_id, int seed = 2) {
    std::string yaml = kSampleYaml;
    const std::string seeds = "seed: [1]";
    yaml.replace(yaml.find(seeds), seeds.size(), Str("seed: [", seed, "]"));
    SweepSubmitted event = SampleSubmission(sweep_id);
    event.sweep = SampleSweep(yaml);
    Do(event);
  }
  void Arrive(const Worker& worker, SessionId session = 1) {
    Do(WorkerArrived{.session = session, .worker = worker, .attempts = {}});
  }
  static Worker Named(const std::string& id, int n_slots) {
    Worker worker = SampleWorker(n_slots);
    worker.id = id;
    return worker;
  }

  std::vector<const Task*> Tasks(const std::string& sweep_id) const {
    std::vector<const Task*> tasks;
    for (const std::string& id : state_.sweep_tasks.at(sweep_id)) {
      tasks.push_back(&state_.tasks.at(id));
    }
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
                 const std::vector<TimeLeft::New>& all_new = {},
                 LastSlots last_slots = LastSlots::kLeftOut,
                 const std::string& sweep_id = "sweep-1") {
    TimeLeft left;
    left.Look(state_, Tasks(sweep_id), now_, 1'700'000'000'000 + now_, last_slots);
    CellCosts costs({});  // no dataset: nobody knows what an evaluation costs
    return left.PredictFrom(measured, costs, all_new);
  }
  // Of a sweep whose training tasks take 50 s each.
  Remaining LeftOf(const std::string& sweep_id) {
    return Left(Measured(TaskKind::kTrain, TrainingFlops(), 50), {}, LastSlots::kLeftOut, sweep_id);
  }

  Instant now_ = 1000;
  State state_;
};

TEST_F(TimeLeftTest, IsNotKnownBeforeAnythingLikeItWasMeasured) {
  Arrive(SampleWorker(1));
  const Remaining left = Left({});
  EXPECT_FALSE(left.time.has_value());
  EXPECT_EQ(left.tasks_not_measured, 4);
}

TEST_F(TimeLeftTest, CountsTrainingsThatHaveNotBegun) {
  Arrive(SampleWorker(1));
  // One training takes 50 s; there are two, and one slot.
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
  const Remaining left =
      Left(Measured(TaskKind::kTrain, TrainingFlops(), 50),
           {{.run_key = "new", .time = new_time}, {.run_key = "newer"}}, LastSlots::kCounted);
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

TEST_F(TimeLeftTest, IsNotKnownWhileNoWorkerIsConnected) {
  const Remaining left = LeftOf("sweep-1");
  EXPECT_FALSE(left.time.has_value());
  EXPECT_EQ(left.slots, 0);
  EXPECT_EQ(left.tasks_without_slot, 4);
  EXPECT_EQ(left.tasks_not_measured, 0);
}

// Of four workers with two slots each, only the first one takes tasks: the others were silent for
// longer than 15 s, are drained, or are stopping.
TEST_F(TimeLeftTest, OnlySlotsOfWorkersThatTakeTasksCount) {
  const auto measured = Measured(TaskKind::kTrain, TrainingFlops(), 50);
  const std::vector<std::string> ids = {"a", "silent", "drained", "stopping"};
  for (std::size_t i = 0; i < ids.size(); ++i) {
    Arrive(Named(ids[i], 2), static_cast<SessionId>(i) + 1);
  }
  ASSERT_EQ(Left(measured).slots, 8);
  Do(WorkerDrained{.worker = "drained"});
  EXPECT_EQ(Left(measured).slots, 6);
  Do(WorkerLeaves{.session = 4});
  EXPECT_EQ(Left(measured).slots, 4);
  for (int i = 0; i < 20; ++i) {
    now_ += 1'000;
    Do(WorkerHeard{.session = 1, .number = i + 1, .attempts = {}});
  }
  EXPECT_EQ(Left(measured).slots, 2);
  Do(WorkerGone{.session = 1});
  EXPECT_EQ(Left(measured).slots, 0);
}

// A training needs more than a MiB.
TEST_F(TimeLeftTest, OnlySlotsThatFitItsTasksCount) {
  Worker small = Named("small", 3);
  for (Slot& slot : small.slots) slot.memory_bytes = 1 << 20;
  Arrive(small);
  Arrive(Named("large", 1), 2);
  const Remaining left = LeftOf("sweep-1");
  EXPECT_EQ(left.slots, 1);
  ASSERT_TRUE(left.time.has_value());
  EXPECT_NEAR(left.time->likely_s, 100, 2);
}

TEST_F(TimeLeftTest, AfterARestoreTheWaitForTheWorkersCounts) {
  AfterLoad(state_, now_, 1, /*restored=*/true);
  EXPECT_EQ(LeftOf("sweep-1").tasks_without_slot, 4);
  Arrive(SampleWorker(1));
  ASSERT_TRUE(state_.attempts.empty());
  const Remaining left = LeftOf("sweep-1");
  EXPECT_EQ(left.slots, 1);
  EXPECT_NEAR(left.time->likely_s, 90 + 100, 2);
}

// Its lease ends 90 s after the worker was heard for the last time; then the free slot of the other
// worker takes the task, beside the second training.
TEST_F(TimeLeftTest, ATaskOfASilentWorkerWaitsForTheEndOfItsLease) {
  Arrive(Named("silent", 1));
  Arrive(Named("there", 2), 2);
  ASSERT_EQ(state_.attempts.size(), 2u);
  std::vector<LiveAttempt> listed;
  for (auto& [id, attempt] : state_.attempts) {
    attempt.state = AttemptState::kRunning;
    if (attempt.worker != "there") continue;
    listed.push_back({.attempt = id,
                      .task = attempt.task,
                      .run_key = "",
                      .epoch = attempt.epoch,
                      .last_seq = 0,
                      .running = true});
  }
  for (int i = 0; i < 20; ++i) {
    now_ += 1'000;
    Do(WorkerHeard{.session = 2, .number = i + 1, .attempts = listed});
  }
  const Remaining left = LeftOf("sweep-1");
  EXPECT_EQ(left.slots, 2);
  EXPECT_NEAR(left.time->likely_s, 70 + 50, 2);
}

TEST_F(TimeLeftTest, TasksOfOtherSweepsThatAreForTheSameSlotsAndComeFirstCount) {
  SubmitOther("sweep-2");
  Arrive(SampleWorker(1));
  const Remaining first = LeftOf("sweep-1");
  EXPECT_NEAR(first.time->likely_s, 100, 2);
  EXPECT_EQ(first.tasks_of_others, 0);
  EXPECT_EQ(first.tasks_of_others_left_out, 0);

  const Remaining second = LeftOf("sweep-2");
  EXPECT_NEAR(second.time->likely_s, 200, 4);
  EXPECT_EQ(second.tasks_of_others, 2);
  EXPECT_EQ(second.tasks_of_others_left_out, 2);  // their evaluations

  // One training task of sweep-1 has the slot already.
  Do(SweepPrioritized{.sweep_id = "sweep-2"});
  EXPECT_NEAR(LeftOf("sweep-2").time->likely_s, 150, 4);
  EXPECT_EQ(LeftOf("sweep-2").tasks_of_others, 1);
  EXPECT_NEAR(LeftOf("sweep-1").time->likely_s, 200, 4);
}

// Two slots, and one of them has a task of another sweep for 1000 s: both training tasks follow
// each other on the second slot.
TEST_F(TimeLeftTest, ATaskOfAnotherSweepThatTakesLongHoldsUpOnlyItsSlot) {
  Arrive(Named("a", 1));
  ASSERT_EQ(state_.attempts.size(), 1u);
  Attempt& live = state_.attempts.begin()->second;
  live.state = AttemptState::kRunning;
  live.progress = ProgressRecord{.phase = "train", .done = 1, .of = 100, .eta_ms = 1'000'000};
  SubmitOther("sweep-2");
  Do(SweepPrioritized{.sweep_id = "sweep-2"});
  Arrive(Named("b", 1), 2);
  const Remaining left = LeftOf("sweep-2");
  EXPECT_EQ(left.slots, 2);
  EXPECT_NEAR(left.time->likely_s, 100, 4);
  EXPECT_EQ(left.tasks_of_others, 1);
}

TEST_F(TimeLeftTest, TasksOfAPausedSweepDoNotHoldUpOthers) {
  SubmitOther("sweep-2");
  Do(SweepPaused{.sweep_id = "sweep-1"});
  Arrive(SampleWorker(1));
  const Remaining left = LeftOf("sweep-2");
  EXPECT_NEAR(left.time->likely_s, 100, 2);
  EXPECT_EQ(left.tasks_of_others, 0);
}

// Three slots of two kinds. Tasks of the first group fit all slots, those of the second one only
// the last slot. By hand: at first, the slots take tasks 0 (10 s), 1 (10 s) and 2 (4 s); the last
// slot then takes task 4 (3 s), since task 3 needs task 0. At 10 s, task 3 (5 s) starts.
TEST(SlotScheduleTest, EachFreeSlotTakesTheFirstTaskThatMayStartAndFits) {
  SlotSchedule schedule = {.n_slots = 3, .fits = {{true, true, true}, {false, false, true}}};
  for (std::int64_t i = 0; i < 5; ++i) schedule.tasks.push_back({.order = {.ready_seq = i + 1}});
  schedule.tasks[2].group = 1;
  schedule.tasks[3].needs = 0;
  schedule.tasks[4].group = 1;
  const std::vector<double> seconds = {10, 10, 4, 5, 3};
  EXPECT_EQ(EndOf(schedule, seconds).seconds, 15);
  schedule.tasks[3].counts = false;
  EXPECT_EQ(EndOf(schedule, seconds).seconds, 10);
  EXPECT_EQ(EndOf(schedule, seconds).n_others, 0);

  // At work on the last slot for 20 s: tasks 2 and 4 follow it there.
  schedule.tasks.push_back({.counts = false, .is_at_work = true, .slot = 2});
  const ScheduleEnd end = EndOf(schedule, {10, 10, 4, 5, 3, 20});
  EXPECT_EQ(end.seconds, 27);
  EXPECT_EQ(end.n_others, 2);  // task 3 started at 10 s
  schedule.tasks[2].not_before_s = 30;
  EXPECT_EQ(EndOf(schedule, {10, 10, 4, 5, 3, 20}).seconds, 34);
}

TEST(SlotScheduleTest, TasksThatNoSlotFitsHoldUpNothing) {
  SlotSchedule schedule = {.n_slots = 1, .fits = {{true}, {false}}};
  schedule.tasks = {{.group = 1}, {.group = 0}, {.needs = 0}};
  EXPECT_EQ(EndOf(schedule, {100, 7, 100}).seconds, 7);
}

}  // namespace
}  // namespace longrun::coordinator
