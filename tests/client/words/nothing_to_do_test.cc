// Why there is nothing to do.
#include "client/words/nothing_to_do.h"

#include <gtest/gtest.h>

namespace longrun::client {
namespace {

TEST(NothingToDoTest, TasksThatPauseAreTriedAgainWithoutACommand) {
  Runs runs;
  for (const int pause_ms : {0, 0, 7'100, 20'000}) {
    v1::TaskInfo& task = *runs.Add()->add_tasks();
    task.set_state(pause_ms > 0 ? "READY" : "SUCCEEDED");
    if (pause_ms > 0) task.set_not_before_in_ms(pause_ms);
    if (runs.size() == 2) EXPECT_EQ(PausingText("a", runs), "");
    if (runs.size() == 3) {
      EXPECT_EQ(PausingText("a", runs),
                "1 task pauses after a failure, and is tried again by itself in 8s: `longrun why "
                "a` says why");
    }
  }
  EXPECT_EQ(PausingText("a", runs),
            "2 tasks pause after a failure, and are tried again by themselves, the first in 8s: "
            "`longrun why a` says why");
}

}  // namespace
}  // namespace longrun::client
