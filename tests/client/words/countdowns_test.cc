// `watch -o json` prints a line for each change, and the passing of time is none.
#include "client/words/countdowns.h"

#include <gtest/gtest.h>

namespace longrun::client {
namespace {

// A task that is tried again after a pause, and workers that count down to their end.
v1::WatchSweepResponse Message(int seconds) {
  v1::WatchSweepResponse message;
  v1::TaskInfo& task = *message.add_runs()->add_tasks();
  task.set_state("READY");
  task.set_not_before_in_ms(60'000 - 1'000 * seconds);
  v1::WorkerInfo& worker = *message.add_workers();
  worker.set_state("SUSPECT");
  worker.set_heard_ms_ago(1'000 * seconds);
  worker.set_drain_left_ms(90'000 - 1'000 * seconds);
  worker.set_work_left_ms(80'000 - 1'000 * seconds);
  return message;
}

bool AreAlike(const v1::WatchSweepResponse& a, const v1::WatchSweepResponse& b) {
  return WithoutCountdowns(a).SerializeAsString() == WithoutCountdowns(b).SerializeAsString();
}

TEST(CountdownsTest, ThePassingOfTimeIsNoChange) {
  EXPECT_NE(Message(0).SerializeAsString(), Message(1).SerializeAsString());
  EXPECT_TRUE(AreAlike(Message(0), Message(1)));
}

TEST(CountdownsTest, AnyOtherDifferenceIsAChange) {
  v1::WatchSweepResponse later = Message(1);
  later.mutable_runs(0)->mutable_tasks(0)->set_state("RESERVED");
  EXPECT_FALSE(AreAlike(Message(0), later));
  later = Message(1);
  later.mutable_workers(0)->set_state("LOST");
  EXPECT_FALSE(AreAlike(Message(0), later));
  later = Message(1);
  later.mutable_workers(0)->clear_drain_left_ms();
  EXPECT_FALSE(AreAlike(Message(0), later));
  later = Message(1);
  later.set_finished(true);
  EXPECT_FALSE(AreAlike(Message(0), later));
}

}  // namespace
}  // namespace longrun::client
