// What is said of a pilot whose jobs do not become workers.
#include "coordinator/rpc/pilots.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "base/clock.h"
#include "base/str.h"

namespace longrun::coordinator {
namespace {

v1::PilotInfo Pilot() {
  v1::PilotInfo pilot;
  pilot.set_name("gpu");
  pilot.set_system("slurm");
  pilot.set_queue("a100");
  pilot.set_device_kind("gpu");
  pilot.set_slots(1);
  pilot.set_jobs_max(2);
  return pilot;
}

v1::PilotInfo WithJob(const std::string& state, const std::string& reason,
                      const std::string& job = "7") {
  v1::PilotInfo pilot = Pilot();
  v1::PilotJob& added = *pilot.add_jobs();
  added.set_job(job);
  added.set_state(state);
  added.set_reason(reason);
  return pilot;
}

void ExpectNext(const v1::PilotInfo& pilot, const std::string& gate, const std::string& text,
                const std::string& remedy) {
  const PilotObstacle next = NextStepOf(pilot);
  EXPECT_EQ(next.gate, gate);
  EXPECT_EQ(next.text, "pilot gpu (slurm, a100)" + text);
  EXPECT_NE(next.remedy.find(remedy), std::string::npos) << next.remedy;
}

TEST(PilotObstacleTest, AJobThatWaitsSaysForWhat) {
  ExpectNext(WithJob("PENDING", "Priority"), "JOB_PENDING",
             ": none of its jobs runs; waiting in the queue: 1 job (Priority)",
             "`squeue --start` shows Slurm's estimate");
  ExpectNext(WithJob("PENDING", "BeginTime"), "JOB_PENDING",
             ": none of its jobs runs; waiting in the queue: 1 job (BeginTime)",
             "Slurm starts the job by itself");
  for (const char* const reason :
       {"ReqNodeNotAvail, UnavailableNodes:n1",
        "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority "
        "partitions"}) {
    ExpectNext(WithJob("PENDING", reason), "JOB_PENDING",
               Str(": none of its jobs runs; waiting in the queue: 1 job (", reason, ")"),
               "`sinfo -R` says why; `scancel 7` if it should not wait");
  }
  ExpectNext(WithJob("PENDING", "QOSMaxJobsPerUserLimit"), "JOB_PENDING",
             ": none of its jobs runs; waiting in the queue: 1 job (QOSMaxJobsPerUserLimit)",
             "a limit of Slurm holds the job");
}

TEST(PilotObstacleTest, AHeldJobNamesTheCommandThatReleasesIt) {
  ExpectNext(WithJob("HELD", "JobHeldUser", "12"), "JOB_HELD",
             ": held in the queue until somebody releases them: 1 job (JobHeldUser)",
             "`scontrol release 12`");
}

TEST(PilotObstacleTest, APilotThatCannotSubmitSaysWhy) {
  v1::PilotInfo pilot = Pilot();
  pilot.set_problem("no job can be submitted: sbatch: the queue is full");
  ExpectNext(pilot, "PILOT_PROBLEM", ": no job can be submitted: sbatch: the queue is full",
             "tries again by itself");
}

TEST(PilotObstacleTest, APilotThatIsSilentOrWasStoppedIsToBeStartedAgain) {
  v1::PilotInfo pilot = Pilot();
  pilot.set_reported_ms_ago(121'000);
  ExpectNext(pilot, "PILOT_SILENT",
             " has reported nothing for more than 2min: its jobs go on, but it submits none; start "
             "`longrun pilot` there again",
             "start `longrun pilot` there again");
  pilot.set_stopped(true);
  ExpectNext(pilot, "PILOT_STOPPED", " was stopped: its jobs go on, but it submits none",
             "start `longrun pilot` there again");
}

TEST(PilotObstacleTest, APilotWithoutAnObstacleSaysWhatComesNext) {
  EXPECT_FALSE(ObstacleOf(Pilot()).has_value());
  ExpectNext(Pilot(), "PILOT_SUBMITS", " has no job in the queue yet", "submits a job");
  EXPECT_FALSE(ObstacleOf(WithJob("RUNNING", "")).has_value());
  ExpectNext(WithJob("RUNNING", ""), "JOB_STARTS",
             ": running: 1 job; the task waits until one is connected and has a free slot",
             "by itself");
}

TEST(PilotObstacleTest, JobsThatHaveEndedCountNoMoreAmongThoseThatItMayHave) {
  v1::PilotInfo pilot = WithJob("RUNNING", "");
  pilot.add_jobs()->set_state("ENDED");
  EXPECT_FALSE(IsAtMost(pilot));
  pilot.add_jobs()->set_state("PENDING");
  EXPECT_TRUE(IsAtMost(pilot));
}

TEST(EndedJobsTest, TheNewestOfThoseThatWereCutShortAreNamed) {
  PilotBoard board;
  v1::PilotInfo pilot = Pilot();
  const std::pair<const char*, const char*> jobs[] = {
      {"10", "NODE_FAIL"}, {"11", "COMPLETED"}, {"12", "TIMEOUT"},  {"7", "CANCELLED"},
      {"8", "CANCELLED"},  {"9", "PREEMPTED"},  {"13", "CANCELLED"}};
  for (const auto& [id, reason] : jobs) {
    v1::PilotJob& job = *pilot.add_jobs();
    job.set_job(id);
    job.set_state("ENDED");
    job.set_reason(reason);
  }
  ASSERT_TRUE(board.Put(pilot, BootMs()).ok());
  Notices notices;
  AddEndedJobs(board, &notices);

  ASSERT_EQ(notices.size(), 1);
  EXPECT_EQ(notices[0].text(),
            "pilot gpu (slurm, a100): job 13 has ended: CANCELLED (with `scancel`, or by the pilot "
            "for lack of work); job 10 has ended: NODE_FAIL (its node died); job 9 has ended: "
            "PREEMPTED (Slurm needed its node for others); and 2 before. Their tasks continue in "
            "other jobs");
}

}  // namespace
}  // namespace longrun::coordinator
