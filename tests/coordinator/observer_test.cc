#include "coordinator/observer.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <string_view>

#include "base/str.h"
#include "coordinator/metrics.h"

namespace longrun::coordinator {
namespace {

// The lines of an attempt's seconds that are not 0, after it has ended so.
std::string SecondsOf(AttemptState end, const std::string& failure_class) {
  State state;
  Task& task = state.tasks["task"];
  task.id = "task";
  task.kind = TaskKind::kTrain;
  Attempt attempt;
  attempt.id = "attempt";
  attempt.task = "task";
  attempt.worker = "gpu-1";
  attempt.state = end;
  attempt.failure_class = failure_class;
  attempt.duration_ms = 2'500;
  attempt.duration_clock = DurationClock::kBoot;
  state.attempts["attempt"] = attempt;
  StepResult result;
  result.writes.push_back(PutTransition{.subject = "attempt",
                                        .id = "attempt",
                                        .from = "RUNNING",
                                        .to = std::string(EnumName(end)),
                                        .reason = "a test"});
  Metrics metrics;
  Observer(metrics).See(state, result);
  std::string out;
  const std::string page = metrics.Page();
  for (std::size_t begin = 0, end_of = 0; begin < page.size(); begin = end_of + 1) {
    end_of = page.find('\n', begin);
    const std::string line = page.substr(begin, end_of - begin);
    if (line.starts_with("longrun_attempt_seconds_total{") && !line.ends_with(" 0")) {
      out += line + "\n";
    }
  }
  return out;
}

std::string Seconds(const std::string& outcome) {
  return Str("longrun_attempt_seconds_total{kind=\"train\",outcome=\"", outcome, "\"} 2.5\n");
}

TEST(ObserverTest, SecondsOfAnAttemptAreCountedByItsEnd) {
  EXPECT_EQ(SecondsOf(AttemptState::kSucceeded, ""), Seconds("succeeded"));
  EXPECT_EQ(SecondsOf(AttemptState::kFailed, "out_of_memory"), Seconds("out_of_memory"));
  EXPECT_EQ(SecondsOf(AttemptState::kLost, "lost"), Seconds("lost"));
}

// As after a restore: another attempt was adopted for its task.
TEST(ObserverTest, AnAttemptThatWasLostWithoutAClassHasNotSucceeded) {
  EXPECT_EQ(SecondsOf(AttemptState::kLost, ""), Seconds("lost"));
}

// The lines of longrun_sweep_tasks that are not 0, sorted, without the metric's name.
std::string SweepLines(const Metrics& metrics) {
  constexpr std::string_view kName = "longrun_sweep_tasks{";
  std::set<std::string> found;
  const std::string page = metrics.Page();
  for (std::size_t begin = 0, end_of = 0; begin < page.size(); begin = end_of + 1) {
    end_of = page.find('\n', begin);
    const std::string line = page.substr(begin, end_of - begin);
    if (line.starts_with(kName) && !line.ends_with(" 0")) found.insert(line.substr(kName.size()));
  }
  std::string out;
  for (const std::string& line : found) out += line + "\n";
  return out;
}

void SetSweep(State& state, const std::string& id, std::int64_t n_ready, std::int64_t n_succeeded) {
  state.sweep_name[id] = Str("name of ", id);
  for (std::int64_t i = 0; i < n_ready + n_succeeded; ++i) {
    state.sweep_tasks[id].insert(Str(id, i));
  }
  SweepTally& tally = state.index.tallies[id];
  tally.n[static_cast<std::size_t>(TaskState::kReady)] = n_ready;
  tally.n[static_cast<std::size_t>(TaskState::kSucceeded)] = n_succeeded;
}

TEST(ObserverTest, TasksOfSweepsAreShownFromTheirBeginningUntilAfterTheirEnd) {
  State state;
  SetSweep(state, "a", 2, 1);
  SetSweep(state, "b", 0, 5);  // ended before this process has begun
  Metrics metrics;
  Observer observer(metrics);
  observer.Count(state, 1);
  EXPECT_EQ(SweepLines(metrics),
            "state=\"READY\",sweep=\"name of a\"} 2\n"
            "state=\"SUCCEEDED\",sweep=\"name of a\"} 1\n");
  SetSweep(state, "a", 0, 3);
  observer.Count(state, 2);
  EXPECT_EQ(SweepLines(metrics), "state=\"SUCCEEDED\",sweep=\"name of a\"} 3\n");
  SetSweep(state, "b", 1, 5);  // `retry`
  observer.Count(state, 3);
  EXPECT_EQ(SweepLines(metrics),
            "state=\"READY\",sweep=\"name of b\"} 1\n"
            "state=\"SUCCEEDED\",sweep=\"name of a\"} 3\n"
            "state=\"SUCCEEDED\",sweep=\"name of b\"} 5\n");
  SetSweep(state, "c", 4, 0);
  state.sweep_name["c"] = "name of b";
  observer.Count(state, 4);
  EXPECT_NE(SweepLines(metrics).find("state=\"READY\",sweep=\"name of b\"} 5\n"),
            std::string::npos);
  state.index.tallies.erase("a");  // `longrun rm`
  state.sweep_tasks.erase("a");
  observer.Count(state, 5);
  EXPECT_EQ(metrics.Page().find("name of a"), std::string::npos);
}

TEST(ObserverTest, ASweepWhoseRowIsDamagedIsLeftOut) {
  State state;
  SetSweep(state, "a", 2, 1);
  state.sweep_name.clear();
  Metrics metrics;
  Observer(metrics).Count(state, 1);
  EXPECT_EQ(SweepLines(metrics), "");
}

TEST(ObserverTest, ItSaysHowManySweepsItLeavesOut) {
  State state;
  for (int i = 0; i < 503; ++i) SetSweep(state, Str("s", 1'000 + i), 1, 0);
  Metrics metrics;
  Observer(metrics).Count(state, 1);
  EXPECT_NE(metrics.Page().find("\nlongrun_sweeps_left_out 3\n"), std::string::npos);
  EXPECT_NE(SweepLines(metrics).find("\"name of s1499\""), std::string::npos);
  EXPECT_EQ(SweepLines(metrics).find("\"name of s1500\""), std::string::npos);
}

}  // namespace
}  // namespace longrun::coordinator
