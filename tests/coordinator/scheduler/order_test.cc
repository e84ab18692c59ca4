// An order about a large sweep, some of its tasks in each step, does what it does in one step.
#include <algorithm>
#include <functional>
#include <map>
#include <set>

#include "base/random.h"
#include "tests/commit_seed.h"
#include "tests/coordinator/scheduler/fixture.h"

namespace longrun::coordinator {
namespace {

// What a store has of its tasks, but for the order in which they became ready.
Json Told(const FoldedStore& store) {
  Json out;
  out["cancelled"] = store.cancelled_sweeps;
  out["paused"] = store.paused_sweeps;
  out["order"] = store.order.has_value();
  for (const auto& [id, task] : store.tasks) {
    out["tasks"][id] = {EnumName(task.state), task.reason,        task.retry_round,
                        task.needs,           task.cancel_wanted, EnumName(task.stop_mode)};
  }
  return out;
}

Json Waiting(const State& state) {
  Json out;
  for (const auto& [name, ready] : state.index.ready) {
    std::set<std::string> tasks;
    for (const ReadyClass::Key& key : ready.tasks) tasks.insert(key.task);
    out[name] = tasks;
  }
  return out;
}

Json CountsOf(const StepResult& result) {
  return {result.cancel.cancelled, result.cancel.stopping, result.pause.held, result.pause.stopping,
          result.submit.tasks_retried};
}

class OrderTest : public SchedulerTest {
 protected:
  static std::size_t& LimitOf(SchedulerEvent& event) {
    if (auto* const one = std::get_if<SweepCancelled>(&event)) return one->n_tasks_max;
    if (auto* const one = std::get_if<SweepPaused>(&event)) return one->n_tasks_max;
    if (auto* const one = std::get_if<SweepResumed>(&event)) return one->n_tasks_max;
    return std::get<RetryRequested>(event).n_tasks_max;
  }
  SchedulerEvent Retry(const std::string& sweep) const {
    const std::set<std::string>& tasks = state.sweep_tasks.at(sweep);
    return RetryRequested{.sweep_id = sweep, .tasks = {tasks.begin(), tasks.end()}};
  }
  // With at most n tasks in a step. `between` happens after each step but the last.
  Json Carry(
      SchedulerEvent event, std::size_t n, const std::function<void()>& between = [] {}) {
    LimitOf(event) = n;
    StepResult all = Do(event);
    EXPECT_TRUE(all.status.ok()) << all.status.message();
    n_steps = 1;
    while (all.goes_on) {
      EXPECT_TRUE(store.order.has_value());
      between();
      const StepResult next = Do(OrderContinued{.n_tasks_max = n});
      std::int64_t n_tasks = 0;
      for (const Write& write : next.writes) n_tasks += std::holds_alternative<PutTask>(write);
      widest = std::max(widest, n_tasks);
      all.cancel.cancelled += next.cancel.cancelled;
      all.cancel.stopping += next.cancel.stopping;
      all.pause.held += next.pause.held;
      all.pause.stopping += next.pause.stopping;
      all.submit.tasks_retried += next.submit.tasks_retried;
      all.goes_on = next.goes_on;
      n_steps += 1;
    }
    EXPECT_FALSE(state.order.has_value());
    return CountsOf(all);
  }

  int n_steps = 0;
  std::int64_t widest = 0;  // tasks that one step wrote
};

// Two sweeps with tasks in common, in any state that a task may have.
class OrderWorlds : public OrderTest {
 public:
  enum class How { kAtOnce, kInSteps, kWithARestart };

  Json End(std::uint64_t seed, How how, std::size_t n = kAllTasks) {
    state = State();
    state.boot = "boot-1";
    store = FoldedStore();
    now = 1'000'000;
    AfterLoad(state, now, 1);
    SeededRandom random(seed);
    const auto seeds = [&] {
      std::vector<std::int64_t> some = {static_cast<std::int64_t>(random.Below(8))};
      for (auto more = 1 + random.Below(6); more > 0; --more) {
        some.push_back(static_cast<std::int64_t>(random.Below(8)));
      }
      return some;
    };
    Arrive("w", {CpuSlot(0), CpuSlot(1)}, 1);
    for (const char* const id : {"a", "b"}) {
      Submit({.seeds = seeds(), .context_lengths = {64}, .tunes = random.Chance(0.3)}, id);
      for (auto ends = random.Below(4); ends > 0 && !state.index.live.empty(); --ends) {
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
    // Nothing is placed from now on; what is at work has not ended.
    Do(WorkerGone{.session = 1});
    SchedulerEvent event = Retry("a");
    switch (random.Below(4)) {
      case 0:
        event = SweepCancelled{.sweep_id = "a",
                               .mode = random.Chance(0.5) ? StopMode::kNow : StopMode::kCheckpoint};
        break;
      case 1:
        Do(SweepResumed{.sweep_id = "a"});
        event = SweepPaused{.sweep_id = "a"};
        break;
      case 2:
        Do(SweepPaused{.sweep_id = "a"});
        event = SweepResumed{.sweep_id = "a"};
        break;
      default:
        break;
    }
    LimitOf(event) = how == How::kAtOnce ? kAllTasks : n;
    if (!Do(event).status.ok()) return "refused";
    if (how == How::kWithARestart) {
      for (auto steps = random.Below(4); steps > 0; --steps) Do(OrderContinued{.n_tasks_max = n});
      // The store has what the sweep became, and that the rest is to come.
      Restart();
      Do(TimePassed{});
    }
    while (state.order) Do(OrderContinued{.n_tasks_max = n});
    return {{"stored", Told(store)}, {"waiting", Waiting(state)}};
  }

 private:
  void TestBody() override {}
  void Diverge(const Attempt& attempt) {
    SampleJournal journal = SchedulerTest::Begin(attempt);
    journal.Append(RecordKind::kFailed, {{"class", "numerical"}, {"message", "loss is NaN"}});
    Deliver(attempt, journal);
    Finish(attempt, Exit(80));
  }
};

// Invariant I-45.
TEST(SweepOrderTest, StepsDoWhatOneStepDoesAndSoDoesARestartBetweenThem) {
  OrderWorlds world;
  for (std::uint64_t i = 0; i < 200; ++i) {
    const std::uint64_t seed = longrun::testing::CommitSeed() + i;
    SCOPED_TRACE(Str("seed ", seed));
    const Json whole = world.End(seed, OrderWorlds::How::kAtOnce);
    for (const std::size_t n : {1U, 2U, 5U}) {
      EXPECT_EQ(Json::diff(whole, world.End(seed, OrderWorlds::How::kInSteps, n)), Json::array());
      EXPECT_EQ(Json::diff(whole, world.End(seed, OrderWorlds::How::kWithARestart, n)),
                Json::array());
    }
  }
}

TEST_F(OrderTest, CountsAllStepsAndDoesFewTasksInEach) {
  Submit({.seeds = {1, 2, 3, 4, 5, 6}, .context_lengths = {64}});
  const std::vector<SchedulerEvent> orders = {
      SweepPaused{.sweep_id = "sweep-1"}, SweepResumed{.sweep_id = "sweep-1"},
      SweepCancelled{.sweep_id = "sweep-1"}, Retry("sweep-1")};
  const std::vector<Json> counts = {
      {0, 0, 12, 0, 0}, {0, 0, 0, 0, 0}, {12, 0, 0, 0, 0}, {0, 0, 0, 0, 12}};
  for (std::size_t i = 0; i < orders.size(); ++i) {
    EXPECT_EQ(Carry(orders[i], 2), counts[i]) << i;
    EXPECT_GE(n_steps, 4) << i;  // a task takes those along that need it, or that it needs
    EXPECT_LE(widest, 4) << i;
  }
}

TEST_F(OrderTest, ATrainingThatFailsBetweenTheStepsOfARetryIsTriedOnce) {
  Arrive("w", {CpuSlot(0), CpuSlot(1)}, 1);
  Submit({.seeds = {1, 2, 3, 4, 5},
          .context_lengths = {64},
          .retry = {.failures_max = 0, .losses_max = 0}});
  const auto fail_all = [&] {
    while (!state.index.live.empty()) {
      const std::string id = *state.index.live.begin();
      SchedulerTest::Begin(state.attempts.at(id));
      Finish(state.attempts.at(id), Exit(81));
    }
  };
  fail_all();
  for (const std::size_t n : {1U, 2U, 3U}) {
    std::map<std::string, std::int64_t> rounds;
    for (const auto& [id, task] : state.tasks) rounds[id] = task.retry_round;
    EXPECT_EQ(Carry(Retry("sweep-1"), n, fail_all).back(), 10);
    fail_all();
    for (const auto& [id, task] : state.tasks) {
      const bool is_training = task.kind == TaskKind::kTrain;
      EXPECT_EQ(task.state, is_training ? TaskState::kFailed : TaskState::kSkipped) << n;
      EXPECT_EQ(task.retry_round, rounds[id] + 1) << EnumName(task.kind) << " " << n;
    }
  }
}

// Invariant I-45.
TEST_F(OrderTest, TasksAtWorkAreStoppedFirstAndNothingOfTheSweepTakesTheirPlace) {
  Arrive("w", {CpuSlot(0), CpuSlot(1)}, 1);
  Submit({.seeds = {1, 2, 3, 4, 5, 6, 7, 8}, .context_lengths = {}});
  ASSERT_EQ(state.index.live.size(), 2u);
  for (const std::string& id : std::set<std::string>(state.index.live)) {
    Begin(state.attempts.at(id));
  }
  const StepResult first = Do(SweepCancelled{.sweep_id = "sweep-1", .n_tasks_max = 2});
  EXPECT_EQ(Commands<StopMessage>(first).size(), 2u);
  EXPECT_EQ(first.cancel.stopping, 2);
  EXPECT_EQ(SweepStateName(state, "sweep-1"), "CANCELLED");
  EXPECT_EQ(store.cancelled_sweeps.count("sweep-1"), 1u);
  // Their slots are free between two steps, while others of the sweep are READY.
  for (const std::string& id : std::set<std::string>(state.index.live)) {
    EXPECT_TRUE(Commands<SendStart>(Finish(state.attempts.at(id), Exit(75))).empty());
  }
  EXPECT_TRUE(Commands<SendStart>(Wait(3'000)).empty());
  const auto n_ready = std::ranges::count_if(
      state.tasks, [](const auto& one) { return one.second.state == TaskState::kReady; });
  EXPECT_EQ(n_ready, 6);
  // Other sweeps have them meanwhile.
  Submit({.seeds = {21, 22}, .context_lengths = {}}, "other");
  EXPECT_EQ(state.index.live.size(), 2u);

  while (state.order) Do(OrderContinued{.n_tasks_max = 2});
  for (const std::string& id : state.sweep_tasks.at("sweep-1")) {
    EXPECT_EQ(state.tasks.at(id).state, TaskState::kCancelled);
  }
  EXPECT_EQ(state.index.live.size(), 2u);
}

// A worker is heard, and its attempt goes on, between the steps of an order about another sweep.
TEST_F(OrderTest, OthersGoOnBetweenTheSteps) {
  Arrive("w", {CpuSlot(0)}, 1);
  Submit({.seeds = {9}, .context_lengths = {}}, "other");
  const std::string attempt = *state.index.live.begin();
  Submit({.seeds = {1, 2, 3, 4}, .context_lengths = {64}});
  int n_heard = 0;
  Carry(SweepPaused{.sweep_id = "sweep-1"}, 1, [&] {
    now += 100;
    Do(WorkerHeard{
        .session = 1, .number = ++n_heard, .attempts = {Listed(state.attempts.at(attempt))}});
    EXPECT_EQ(state.workers.at("w").heard_at, now);
    if (n_heard == 2) Complete(state.attempts.at(attempt));
  });
  EXPECT_GE(n_heard, 4);
  EXPECT_EQ(state.tasks.at(state.attempts.at(attempt).task).state, TaskState::kSucceeded);
  EXPECT_EQ(SweepStateName(state, "sweep-1"), "PAUSED");
}

TEST_F(OrderTest, MeanwhileTheSweepTakesNoOtherOrder) {
  Submit({.seeds = {1, 2, 3}, .context_lengths = {64}});
  Submit({.seeds = {11, 12, 13}, .context_lengths = {64}}, "other");
  Submit({.seeds = {21}, .context_lengths = {64}}, "small");
  ASSERT_TRUE(Do(SweepPaused{.sweep_id = "sweep-1", .n_tasks_max = 2}).goes_on);
  const std::vector<SchedulerEvent> refused = {
      SweepCancelled{.sweep_id = "sweep-1"},   SweepPaused{.sweep_id = "sweep-1"},
      SweepResumed{.sweep_id = "sweep-1"},     SweepRemoved{.sweep_id = "sweep-1"},
      SweepPrioritized{.sweep_id = "sweep-1"}, Retry("sweep-1")};
  for (const SchedulerEvent& event : refused) {
    const StepResult result = Do(event);
    EXPECT_EQ(result.status.code(), Code::kFailedPrecondition);
    EXPECT_EQ(
        result.status.message(),
        "`longrun pause` of sweep sweep-1 is still going through its tasks: try again when it "
        "has ended");
    EXPECT_TRUE(result.writes.empty());
  }
  EXPECT_EQ(Submit({.seeds = {1, 2, 3}, .context_lengths = {64}}).status.code(),
            Code::kFailedPrecondition);
  // Other sweeps do, if it takes one step.
  EXPECT_EQ(Do(SweepCancelled{.sweep_id = "other", .n_tasks_max = 2}).status.code(),
            Code::kUnavailable);
  EXPECT_TRUE(Do(SweepCancelled{.sweep_id = "small", .n_tasks_max = 2}).status.ok());
  EXPECT_TRUE(state.order.has_value());
  while (state.order) Do(OrderContinued{.n_tasks_max = 2});
  EXPECT_EQ(Carry(SweepCancelled{.sweep_id = "sweep-1"}, 2), Json({6, 0, 0, 0, 0}));
}

// Until its tasks have come back, a sweep that is tried again has not ended.
TEST_F(OrderTest, ASweepThatIsTriedAgainIsActiveFromTheFirstStepOn) {
  Submit({.seeds = {1, 2, 3}, .context_lengths = {64}});
  Do(SweepCancelled{.sweep_id = "sweep-1"});
  Arrive("w", {CpuSlot(0)}, 1);
  Carry(Retry("sweep-1"), 1, [&] {
    EXPECT_TRUE(IsActiveSweep(state, "sweep-1"));
    while (!state.index.live.empty()) {
      const Attempt& attempt = state.attempts.at(*state.index.live.begin());
      if (attempt.state != AttemptState::kOffered) break;
      Complete(attempt);
    }
    EXPECT_TRUE(IsActiveSweep(state, "sweep-1"));
  });
}

}  // namespace
}  // namespace longrun::coordinator
