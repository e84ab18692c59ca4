#include "coordinator/observer.h"

#include <gtest/gtest.h>

#include <string>

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

}  // namespace
}  // namespace longrun::coordinator
