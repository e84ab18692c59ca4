// Why there is nothing to do.
#include "client/words/nothing_to_do.h"

#include <gtest/gtest.h>

namespace longrun::client {
namespace {

TEST(NothingToDoTest, TasksThatPauseAreTriedAgainWithoutACommand) {
  Runs runs;
  const auto add = [&runs](const char* state, std::int64_t pause_ms) {
    v1::TaskInfo& task = *runs.Add()->add_tasks();
    task.set_state(state);
    if (pause_ms > 0) task.set_not_before_in_ms(pause_ms);
  };
  add("SUCCEEDED", 0);
  add("FAILED", 0);
  EXPECT_EQ(PausingText("a", runs), "");
  add("READY", 7'100);
  EXPECT_EQ(PausingText("a", runs),
            "1 task pauses after a failure, and is tried again by itself in 8s: `longrun why a` "
            "says why");
  add("READY", 20'000);
  EXPECT_EQ(PausingText("a", runs),
            "2 tasks pause after a failure, and are tried again by themselves, the first in 8s: "
            "`longrun why a` says why");
}

}  // namespace
}  // namespace longrun::client
