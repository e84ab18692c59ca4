// How many jobs there are in the queue, for how much work.
#include "client/pilot/job_plan.h"

#include <gtest/gtest.h>

#include "base/str.h"

namespace longrun::client {
namespace {

constexpr std::int64_t kPatienceMs = 60'000;

std::vector<PilotJob> Jobs(const std::vector<JobState>& states) {
  std::vector<PilotJob> jobs;
  for (const JobState state : states) {
    const int seat = static_cast<int>(jobs.size()) + 1;
    jobs.push_back({.id = Str(100 + seat), .seat = seat, .state = state});
  }
  return jobs;
}

JobPlanner Planner(int jobs_max, int slots = 1) {
  return JobPlanner({.jobs_max = jobs_max, .slots = slots, .patience_ms = kPatienceMs});
}

TEST(JobPlanTest, ThereAreAsManyJobsAsTasks) {
  JobPlanner planner = Planner(20);
  EXPECT_EQ(planner.Plan({.tasks_ready = 3}, {}, 0).seats, (std::vector<int>{1, 2, 3}));
  EXPECT_EQ(planner
                .Plan({.tasks_ready = 1, .tasks_running = 2},
                      Jobs({JobState::kRunning, JobState::kRunning}), 0)
                .seats,
            (std::vector<int>{3}));
  const JobPlan none = planner.Plan({.tasks_ready = 1, .tasks_running = 1},
                                    Jobs({JobState::kRunning, JobState::kPending}), 0);
  EXPECT_TRUE(none.seats.empty() && none.cancel.empty());
}

TEST(JobPlanTest, WithoutWorkThereIsNoJob) {
  EXPECT_TRUE(Planner(20).Plan({}, {}, 0).seats.empty());
}

TEST(JobPlanTest, ThereAreNeverMoreThanTheMost) {
  EXPECT_EQ(Planner(2).Plan({.tasks_ready = 50}, {}, 0).seats, (std::vector<int>{1, 2}));
}

TEST(JobPlanTest, AJobWithSeveralSlotsTakesAsManyTasks) {
  EXPECT_EQ(Planner(20, 4).Plan({.tasks_ready = 9}, {}, 0).seats, (std::vector<int>{1, 2, 3}));
}

// Two workers cannot share a folder.
TEST(JobPlanTest, ASeatIsFreeOnlyOnceItsJobHasEnded) {
  EXPECT_EQ(Planner(3)
                .Plan({.tasks_ready = 2},
                      Jobs({JobState::kEnding, JobState::kEnded, JobState::kRunning}), 0)
                .seats,
            (std::vector<int>{2}));
  EXPECT_TRUE(Planner(1).Plan({.tasks_ready = 1}, Jobs({JobState::kEnding}), 0).seats.empty());
}

TEST(JobPlanTest, WhatNothingNeedsIsCancelledAfterAWhileTheNewestFirst) {
  JobPlanner planner = Planner(20);
  const std::vector<PilotJob> jobs =
      Jobs({JobState::kRunning, JobState::kPending, JobState::kPending, JobState::kPending});
  const PilotDemand demand = {.tasks_ready = 1, .tasks_running = 1};
  EXPECT_TRUE(planner.Plan(demand, jobs, 0).cancel.empty());
  EXPECT_TRUE(planner.Plan(demand, jobs, kPatienceMs - 1).cancel.empty());
  EXPECT_EQ(planner.Plan(demand, jobs, kPatienceMs).cancel,
            (std::vector<std::string>{"104", "103"}));
}

TEST(JobPlanTest, WorkThatComesBackSavesTheJobsThatWait) {
  JobPlanner planner = Planner(20);
  const std::vector<PilotJob> jobs = Jobs({JobState::kPending});
  planner.Plan({}, jobs, 0);
  planner.Plan({.tasks_ready = 1}, jobs, kPatienceMs - 1);
  EXPECT_TRUE(planner.Plan({}, jobs, kPatienceMs).cancel.empty());
  EXPECT_EQ(planner.Plan({}, jobs, 2 * kPatienceMs).cancel.size(), 1u);
}

TEST(JobPlanTest, RunningAndHeldJobsAreNeverCancelled) {
  JobPlanner planner = Planner(20);
  const std::vector<PilotJob> jobs = Jobs({JobState::kRunning, JobState::kHeld});
  planner.Plan({}, jobs, 0);
  EXPECT_TRUE(planner.Plan({}, jobs, kPatienceMs).cancel.empty());
}

TEST(JobPlanTest, AfterEachFailureTheNextJobWaitsLonger) {
  JobPlanner planner = Planner(20);
  const PilotDemand demand = {.tasks_ready = 1};
  planner.NoteFailure(0);
  EXPECT_EQ(planner.PauseMs(0), 10'000);
  EXPECT_TRUE(planner.Plan(demand, {}, 9'999).seats.empty());
  EXPECT_EQ(planner.Plan(demand, {}, 10'000).seats.size(), 1u);
  planner.NoteFailure(10'000);
  EXPECT_EQ(planner.PauseMs(10'000), 20'000);
  for (int i = 0; i < 30; ++i) planner.NoteFailure(10'000);
  EXPECT_EQ(planner.PauseMs(10'000), 600'000);
  planner.NoteSuccess();
  EXPECT_EQ(planner.Plan(demand, {}, 10'000).seats.size(), 1u);
}

}  // namespace
}  // namespace longrun::client
