// What `longrun up` tells of its sweeps, and what stays of a cancelled one.
#include "client/words/sweep_news.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "client/words/kept_work.h"

namespace longrun::client {
namespace {

using Lines = std::vector<std::string>;

void Add(v1::ListSweepsResponse& sweeps, const std::string& name, const std::string& state,
         std::int32_t n_failed) {
  v1::SweepInfo& sweep = *sweeps.add_sweeps();
  sweep.set_sweep_id("id of " + name);
  sweep.set_name(name);
  sweep.set_state(state);
  sweep.set_tasks(4);
  sweep.set_tasks_failed(n_failed);
}

TEST(SweepNewsTest, TellsEachChangeOnceAndNothingOfWhatHadEndedBefore) {
  SweepNews news;
  v1::ListSweepsResponse sweeps;  // oldest first
  Add(sweeps, "ended", "FAILED", 2);
  Add(sweeps, "old", "RUNNING", 0);
  Add(sweeps, "young", "PENDING", 0);
  EXPECT_EQ(news.Of(sweeps), (Lines{"old RUNNING  0 of 4 tasks done, 0 running, 0 failed",
                                    "young PENDING  0 of 4 tasks done, 0 running, 0 failed"}));
  sweeps.mutable_sweeps(1)->set_tasks_succeeded(3);
  sweeps.mutable_sweeps(1)->set_tasks_running(1);
  EXPECT_EQ(news.Of(sweeps), Lines{});
  sweeps.mutable_sweeps(1)->set_tasks_failed(1);
  EXPECT_EQ(news.Of(sweeps), Lines{"old RUNNING  3 of 4 tasks done, 1 running, 1 failed: `longrun "
                                   "get old` says why"});
  sweeps.mutable_sweeps(2)->set_state("SUCCEEDED");
  sweeps.mutable_sweeps(2)->set_tasks_succeeded(4);
  EXPECT_EQ(news.Of(sweeps), Lines{"young SUCCEEDED  4 of 4 tasks done, 0 running, 0 failed"});
  Add(sweeps, "quick", "SUCCEEDED", 0);  // submitted and finished between two calls
  EXPECT_EQ(news.Of(sweeps), Lines{"quick SUCCEEDED  0 of 4 tasks done, 0 running, 0 failed"});
}

TEST(KeptWorkTest, SaysWhoWantsItOrThatNobodyDoes) {
  v1::ListSweepsResponse sweeps;
  Add(sweeps, "other", "RUNNING", 0);
  v1::SweepInfo cancelled;
  cancelled.set_name("mine");
  EXPECT_EQ(KeptWorkText(cancelled, sweeps.sweeps()), "");
  cancelled.set_tasks_kept(2);
  EXPECT_EQ(KeptWorkText(cancelled, sweeps.sweeps()),
            "2 tasks of mine go on, although only cancelled sweeps want them: `longrun cancel "
            "mine` ends them");
  cancelled.add_kept_for("id of other");
  EXPECT_EQ(KeptWorkText(cancelled, sweeps.sweeps()),
            "2 tasks of mine are kept because sweep other needs them");
}

TEST(KeptWorkTest, SweepsOfOneNameAreToldApartByTheirIds) {
  v1::ListSweepsResponse sweeps;
  Add(sweeps, "mine", "CANCELLED", 0);
  Add(sweeps, "other", "RUNNING", 0);
  Add(sweeps, "mine", "RUNNING", 0);
  sweeps.mutable_sweeps(0)->set_sweep_id("first");
  sweeps.mutable_sweeps(2)->set_sweep_id("second");
  v1::SweepInfo cancelled = sweeps.sweeps(0);
  cancelled.set_tasks_kept(2);
  cancelled.add_kept_for("second");
  cancelled.add_kept_for("id of other");
  EXPECT_EQ(KeptWorkText(cancelled, sweeps.sweeps()),
            "2 tasks of mine are kept because sweeps mine (second), other need them");
}

}  // namespace
}  // namespace longrun::client
