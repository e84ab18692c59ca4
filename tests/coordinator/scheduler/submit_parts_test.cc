// A submission in parts does what the same submission does as a whole, or nothing.
#include <algorithm>
#include <set>

#include "base/random.h"
#include "tests/commit_seed.h"
#include "tests/coordinator/scheduler/fixture.h"

namespace longrun::coordinator {
namespace {

class SubmitPartsTest : public SchedulerTest {
 protected:
  static SweepSubmitted Event(const SampleSweep& sample, const std::string& id = "sweep-1") {
    return {.sweep_id = id, .sweep = MakeSweep(sample), .dataset_paths = SampleDatasets()};
  }
  bool MayComeInParts(const SweepSubmitted& event) const {
    const std::optional<std::size_t> n_tasks = TasksOfParts(event);
    return n_tasks && MaySubmitInParts(state, event, *n_tasks);
  }
  // In parts of one run, without the last one.
  SweepSubmitted Begin(const SampleSweep& sample, const std::string& id = "sweep-1") {
    std::vector<SweepSubmitted> parts = InParts(Event(sample, id), 1);
    for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
      const StepResult result = Do(parts[i]);
      EXPECT_TRUE(result.status.ok());
      EXPECT_TRUE(Commands<SendStart>(result).empty());
    }
    return parts.back();
  }
  void ExpectRefused(const SchedulerEvent& event) {
    const StepResult result = Do(event);
    EXPECT_EQ(result.status.code(), Code::kFailedPrecondition);
    EXPECT_EQ(result.status.message(),
              "sweep sweep-1 is still being submitted: try again when `longrun submit` has ended");
    EXPECT_TRUE(result.writes.empty());
  }
};

// What a store has of its sweeps, but for the order in which tasks became ready.
Json Told(const FoldedStore& store) {
  Json out;
  out["submitting"] = store.submitting;
  out["runs"] = store.sweep_runs;
  out["cells"] = store.cells;
  for (const auto& [id, tasks] : store.sweeps) {
    out["sweeps"][id] = std::set<std::string>(tasks.begin(), tasks.end());
  }
  for (const auto& [id, task] : store.tasks) {
    out["tasks"][id] = {EnumName(task.state), task.reason,        task.priority, task.retry_round,
                        task.needs,           task.cancel_wanted, task.owner};
  }
  return out;
}

Json Waiting(const State& state) {
  Json out;
  for (const auto& [name, ready] : state.index.ready) {
    for (const ReadyClass::Key& key : ready.tasks) out[name].push_back(key.task);
    std::sort(out[name].begin(), out[name].end());
  }
  return out;
}

Json CountsOf(const SubmitCounts& counts) {
  return {counts.runs_new,        counts.runs_reused,
          counts.train_tasks_new, counts.evaluate_tasks_new,
          counts.cells_new,       counts.cells_reused,
          counts.tasks_retried,   counts.tasks_failed_for_good,
          counts.checkpoint_bytes};
}

// After earlier sweeps, some of whose tasks have succeeded, failed for good, were cancelled or are
// held. `waiting`: of the submission that comes then, in parts of n_runs or, if 0, as a whole.
class Worlds : public SubmitPartsTest {
 public:
  Json End(std::uint64_t seed, std::size_t n_runs) {
    state = State();
    store = FoldedStore();
    now = 1'000'000;
    AfterLoad(state, now, 1);
    SeededRandom random(seed);
    const auto seeds = [&] {
      std::vector<std::int64_t> some;
      for (auto n = 1 + random.Below(6); n > 0; --n) {
        some.push_back(static_cast<std::int64_t>(random.Below(8)));
      }
      return some;
    };
    Arrive("w", {CpuSlot(0), CpuSlot(1)}, 1);
    for (const char* const id : {"a", "b"}) {
      Submit({.seeds = seeds(), .context_lengths = {64}, .priority = 1}, id);
      for (auto n = random.Below(4); n > 0 && !state.index.live.empty(); --n) {
        const Attempt& attempt = state.attempts.at(*state.index.live.begin());
        if (random.Chance(0.8)) {
          Complete(attempt);
        } else {
          Diverge(attempt);
        }
      }
      if (random.Chance(0.3)) Do(SweepCancelled{.sweep_id = id});
      if (random.Chance(0.3)) Do(SweepPaused{.sweep_id = id});
    }
    if (random.Chance(0.3)) Do(SweepRemoved{.sweep_id = "a"});
    Do(WorkerGone{.session = 1});
    now += 100'000;
    Do(TimePassed{});
    SweepSubmitted event = Event({.seeds = seeds(), .priority = 2}, "c");
    event.owner = "ada";
    event.first = random.Chance(0.3);
    StepResult last;
    if (n_runs == 0) {
      last = Do(event);
    } else {
      EXPECT_TRUE(MayComeInParts(event));
      for (const SweepSubmitted& part : InParts(event, n_runs)) last = Do(part);
    }
    EXPECT_TRUE(last.status.ok());
    return {
        {"counts", CountsOf(last.submit)}, {"stored", Told(store)}, {"waiting", Waiting(state)}};
  }

 private:
  void TestBody() override {}
  // Its run diverges: the training would fail again.
  void Diverge(const Attempt& attempt) {
    SampleJournal journal = SchedulerTest::Begin(attempt);
    journal.Append(RecordKind::kFailed, {{"class", "numerical"}, {"message", "loss is NaN"}});
    Deliver(attempt, journal);
    Finish(attempt, Exit(80));
  }
};

TEST(SubmitInPartsTest, PartsDoWhatTheWholeDoes) {
  Worlds world;
  for (std::uint64_t i = 0; i < 100; ++i) {
    const std::uint64_t seed = longrun::testing::CommitSeed() + i;
    SCOPED_TRACE(Str("seed ", seed));
    const Json whole = world.End(seed, 0);
    for (const std::size_t n_runs : {1U, 2U, 3U}) {
      EXPECT_EQ(Json::diff(whole, world.End(seed, n_runs)), Json::array());
    }
  }
}

TEST_F(SubmitPartsTest, NothingIsPlacedBeforeTheLastPart) {
  Arrive("w", {CpuSlot(0), CpuSlot(1)}, 1);
  const SweepSubmitted last = Begin({.seeds = {1, 2, 3}});
  EXPECT_TRUE(Commands<SendStart>(Wait(5'000)).empty());
  EXPECT_EQ(store.submitting, "sweep-1");
  EXPECT_EQ(SweepStateName(state, "sweep-1"), "PENDING");
  EXPECT_EQ(WhyHeld(state, state.tasks.begin()->second, now, 0).text,
            "its sweep is still being submitted");

  const StepResult result = Do(last);
  EXPECT_EQ(result.submit.runs_new, 3);
  EXPECT_EQ(Commands<SendStart>(result).size(), 2u);
  EXPECT_EQ(store.submitting, "");
}

// So whoever drops this destroys the tables.
TEST_F(SubmitPartsTest, TheLastPartHandsOverItsTablesAndKeepsNoneOfThem) {
  const std::vector<SweepSubmitted> parts = InParts(Event({.seeds = {1, 2}}), 1);
  EXPECT_EQ(Do(parts[0]).leftover, nullptr);
  const StepResult last = Do(parts[1]);
  ASSERT_NE(last.leftover, nullptr);
  EXPECT_EQ(last.leftover.use_count(), 1);
  EXPECT_EQ(Do(TimePassed{}).leftover, nullptr);
}

TEST_F(SubmitPartsTest, ARestartDropsWhatThereIsOfIt) {
  Submit({.seeds = {1}}, "other");
  const Json before = Told(store);
  Begin({.seeds = {1, 2, 3}});
  EXPECT_NE(Told(store), before);
  Restart();
  Do(TimePassed{});
  EXPECT_EQ(Told(store), before);
  EXPECT_EQ(state.sweep_tasks.size(), 1u);
  // It may come again.
  const SweepSubmitted last = Begin({.seeds = {1, 2, 3}});
  EXPECT_EQ(Do(last).submit.runs_new, 2);
}

TEST_F(SubmitPartsTest, MeanwhileTheSweepCannotBeChanged) {
  const SweepSubmitted last = Begin({.seeds = {1, 2}});
  ExpectRefused(SweepCancelled{.sweep_id = "sweep-1"});
  ExpectRefused(SweepPaused{.sweep_id = "sweep-1"});
  ExpectRefused(SweepResumed{.sweep_id = "sweep-1"});
  ExpectRefused(SweepRemoved{.sweep_id = "sweep-1"});
  ExpectRefused(SweepPrioritized{.sweep_id = "sweep-1"});
  ExpectRefused(RetryRequested{.sweep_id = "sweep-1", .tasks = {}});
  EXPECT_EQ(Submit({.seeds = {9}}, "other").status.code(), Code::kUnavailable);
  EXPECT_TRUE(Do(last).status.ok());
  EXPECT_TRUE(Do(SweepPaused{.sweep_id = "sweep-1"}).status.ok());
}

// The other sweep's tasks go on for the one that is being submitted, and then for nobody.
TEST_F(SubmitPartsTest, AfterARestartNothingRunsForIt) {
  Arrive("w", {CpuSlot()}, 1);
  Submit({.seeds = {1}}, "other");
  SchedulerTest::Begin(Current(Train()));
  Begin({.seeds = {1, 2}});
  Do(SweepCancelled{.sweep_id = "other"});
  const std::string train = store.sweeps.at("other").front();
  Restart();
  Do(TimePassed{});
  for (const std::string& id : store.sweeps.at("other")) {
    const Task& task = state.tasks.at(id);
    EXPECT_TRUE(IsTerminal(task.state) || task.cancel_wanted) << EnumName(task.state);
  }
  EXPECT_EQ(state.tasks.size(), store.sweeps.at("other").size());
}

// The training of another sweep, which a new evaluation needs, succeeds between the parts.
TEST_F(SubmitPartsTest, WhatBecomesReadyBetweenThePartsIsPlaced) {
  Arrive("w", {CpuSlot()}, 1);
  Submit({.seeds = {1}, .context_lengths = {}}, "other");
  const std::string training = Train().id;
  const SweepSubmitted last = Begin({.seeds = {1, 2}, .context_lengths = {64}});
  Complete(Current(state.tasks.at(training)));
  Do(last);
  for (const auto& [id, task] : state.tasks) {
    EXPECT_EQ(task.state == TaskState::kReady, !task.ready_class.empty()) << id;
  }
  // The evaluation comes before the other training.
  const Attempt& live = state.attempts.at(*state.index.live.begin());
  EXPECT_EQ(state.tasks.at(live.task).needs, training);
}

// The training of a sweep that was cancelled stops between the parts; the new sweep wants it.
TEST_F(SubmitPartsTest, WhatEndsBetweenThePartsIsTriedAgain) {
  Arrive("w", {CpuSlot()}, 1);
  Submit({.seeds = {1}, .context_lengths = {64}}, "other");
  const std::string training = Train().id, evaluation = Evaluate().id;
  const std::string attempt = state.tasks.at(training).attempt;
  SchedulerTest::Begin(state.attempts.at(attempt));
  Do(SweepCancelled{.sweep_id = "other"});
  ASSERT_EQ(state.tasks.at(training).state, TaskState::kStopping);
  const SweepSubmitted last = Begin({.seeds = {1, 2}, .context_lengths = {64, 128}});
  SampleJournal journal = Begun(state.attempts.at(attempt));
  Finish(state.attempts.at(attempt), Exit(143));
  ASSERT_EQ(state.tasks.at(training).state, TaskState::kCancelled);

  const StepResult result = Do(last);

  for (const auto& [id, task] : state.tasks) {
    EXPECT_FALSE(IsTerminal(task.state)) << EnumName(task.kind) << " " << EnumName(task.state);
  }
  EXPECT_EQ(state.tasks.at(evaluation).state, TaskState::kBlocked);
  EXPECT_EQ(result.submit.tasks_retried, 3);  // and the new evaluation, which was skipped with it
}

TEST_F(SubmitPartsTest, EachPartHasWhatIsKnownOfItsRuns) {
  SweepSubmitted event = Event({.seeds = {1, 2, 3}});
  for (const PlannedRun& run : event.sweep.runs) {
    for (const ExpectedCell& cell : run.evaluations[0].cells) event.known_cells[cell.cell] = "a";
  }
  for (const SweepSubmitted& part : InParts(event, 1)) EXPECT_EQ(part.known_cells.size(), 2u);
}

TEST_F(SubmitPartsTest, WhatMayBeRefusedComesAsAWhole) {
  EXPECT_TRUE(MayComeInParts(Event({.seeds = {1, 2}})));
  EXPECT_FALSE(MayComeInParts(Event({.seeds = {1, 2}, .goes_on = true})));
  EXPECT_FALSE(MayComeInParts(Event({.seeds = {1, 2}, .tunes = true})));
  SweepSubmitted elsewhere = Event({.seeds = {1, 2}});
  elsewhere.dataset_paths.clear();
  EXPECT_FALSE(MayComeInParts(elsewhere));
  state.limits.tasks_max = 3;
  EXPECT_FALSE(MayComeInParts(Event({.seeds = {1, 2}})));
  state.limits.tasks_max = 4;
  EXPECT_TRUE(MayComeInParts(Event({.seeds = {1, 2}})));
  SweepSubmitted owned = Event({.seeds = {1, 2}});
  owned.owner = "ada";
  state.limits.owner_tasks_max = 3;
  EXPECT_FALSE(MayComeInParts(owned));
  state.limits.owner_tasks_max = 4;
  EXPECT_TRUE(MayComeInParts(owned));
  Do(owned);
  EXPECT_FALSE(MayComeInParts(owned));  // it is known
}

}  // namespace
}  // namespace longrun::coordinator
