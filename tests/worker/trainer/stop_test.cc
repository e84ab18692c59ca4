// Stop signals: who sees them, and when they end the program.
#include "worker/trainer/stop.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>

#include "tests/deadline.h"
#include "tests/wait_until.h"

namespace longrun::trainer {
namespace {

// Each begins in a process of its own, whose threads have not blocked the signals yet.
class StopDeathTest : public testing::Test {
 protected:
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

// Asks whether there was a stop while it waits for the end.
void InterruptWhileWaiting() {
  HoldStopSignals();
  EndWhenStopped();
  if (StopRequestedWhileWaiting()) _exit(1);
  kill(getpid(), SIGINT);
  _exit(WaitUntil(DeadlineMs(60'000), [] { return StopRequestedWhileWaiting(); }) ? 2 : 3);
}

TEST_F(StopDeathTest, ALookWhileTheInputsAreReadLetsASignalEndTheProgram) {
  EXPECT_EXIT(InterruptWhileWaiting(), testing::KilledBySignal(SIGINT), "nothing was computed");
}

void InterruptAfterwards() {
  HoldStopSignals();
  EndWhenStopped();
  if (StopRequested()) _exit(1);
  kill(getpid(), SIGINT);
  _exit(StopRequestedWhileWaiting() && StopRequested() ? 0 : 2);
}

TEST_F(StopDeathTest, AfterwardsBothSeeTheSignal) {
  EXPECT_EXIT(InterruptAfterwards(), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace longrun::trainer
