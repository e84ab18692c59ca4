// Sweeps on which no service works are never said to run.
#include "client/words/no_service.h"

#include <gtest/gtest.h>

#include "client/words/sweep_view.h"

namespace longrun {
namespace {

Json Task(const char* state, const char* worker) {
  return {{"kind", "train"},
          {"task", "7a6b5c4d"},
          {"state", state},
          {"worker", worker},
          {"attempts", 1},
          {"reason", "attempt 1 runs on worker box-1"},
          {"attempt_list", Json::array({{{"state", state}}})},
          {"progress", {{"phase", ""}, {"loss_tail", Json::array()}}}};
}

Json Message() {
  return {{"info",
           {{"name", "a"},
            {"state", "RUNNING"},
            {"tasks", 2},
            {"tasks_succeeded", 1},
            {"tasks_running", 1},
            {"tasks_failed", 0}}},
          {"runs", Json::array({{{"run_key", "1a2b3c4d"},
                                 {"axes", {{"position", "rope"}, {"train_length", 64}}},
                                 {"tasks", {Task("RUNNING", "box-1"), Task("SUCCEEDED", "")}}}})},
          {"notices", Json::array({{{"about", "worker box-1"}, {"text", "has not come back"}},
                                   {{"about", "disk"}, {"text", "full"}}})}};
}

TEST(NoServiceTest, NothingRunsAndWorkersAreNotWaitedFor) {
  Json message = Message();
  ShowInterrupted(message);
  EXPECT_EQ(message.dump().find("RUNNING"), std::string::npos) << message.dump(2);
  EXPECT_EQ(message["info"]["state"], "INTERRUPTED");
  EXPECT_EQ(message["runs"][0]["tasks"][0]["state"], "INTERRUPTED");
  EXPECT_EQ(message["runs"][0]["tasks"][0]["reason"], "attempt 1 began on worker box-1");
  EXPECT_EQ(message["runs"][0]["tasks"][1]["state"], "SUCCEEDED");
  ASSERT_EQ(message["notices"].size(), 1U);
  EXPECT_EQ(message["notices"][0]["about"], "disk");
  EXPECT_EQ(RenderProgress(message),
            "a INTERRUPTED  1 of 2 tasks done, 1 interrupted, 0 failed\n"
            "position  train_length    now                loss  tokens/s  ETA\n"
            "rope      64              train interrupted\n");
}

TEST(NoServiceTest, TheNewestWordOfAWorkerIsToldWithWhatGoesOn) {
  const Json workers = Json::array({{{"worker_id", "box-1"}, {"heard_wall_ms", 1767323045000}},
                                    {{"worker_id", "box-2"}, {"heard_wall_ms", 1767323044000}},
                                    {{"worker_id", "box-3"}, {"heard_wall_ms", 0}}});
  EXPECT_EQ(NoServiceText(workers, "/state"),
            "no service runs on /state; worker box-1 was last heard of at 2026-01-02T03:04:05Z: "
            "`longrun up` continues all work, `longrun run FILE` that of one sweep");
  EXPECT_EQ(NoServiceText(Json::array(), "/state"),
            "no service runs on /state: `longrun up` continues all work, `longrun run FILE` that "
            "of one sweep");
}

}  // namespace
}  // namespace longrun
