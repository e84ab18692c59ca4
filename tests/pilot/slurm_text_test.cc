// What a pilot writes for Slurm, and reads from it.
#include <gtest/gtest.h>

#include "base/str.h"
#include "client/pilot/slurm.h"

namespace longrun::client {
namespace {

SlurmPilot Pilot() {
  return {.prefix = "longrun-gpu-3fa21c-",
          .folder = "/shared/pilots/gpu",
          .partition = "gpu",
          .time_ms = 90'500,
          .gpus = 2,
          .cpus = 8,
          .sbatch = {"--account=lab"},
          .program = "/opt/long run/longrun-worker",
          .coordinator = "gpu.example.org:7443",
          .ca_fingerprint = "ab12",
          .idle_exit = "5min",
          .grace_ms = 20'000,
          .labels = {"note=it's"}};
}

TEST(SbatchScriptTest, ItAsksForTheResourcesAndBecomesTheWorker) {
  EXPECT_EQ(SbatchScript(Pilot(), 3), R"(#!/bin/bash
#SBATCH --job-name=longrun-gpu-3fa21c-3
#SBATCH --partition=gpu
#SBATCH --time=2
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --gpus=2
#SBATCH --cpus-per-task=8
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=/shared/pilots/gpu/seat-3/job-%j.log
#SBATCH --account=lab

# When this job ends, in seconds since 1970: after its time limit, or earlier if Slurm says so.
end=$(( $(date +%s) + 90 ))
slurm_end=$(squeue -h -j "$SLURM_JOB_ID" -o %e 2>/dev/null)
if [ -n "$slurm_end" ] && slurm_end=$(date -d "$slurm_end" +%s 2>/dev/null) &&
    [ "$slurm_end" -lt "$end" ]; then
  end=$slurm_end
fi
exec '/opt/long run/longrun-worker' --state '/shared/pilots/gpu/seat-3/worker' --id longrun-gpu-3fa21c-3 --coordinator 'gpu.example.org:7443' --join '/shared/pilots/gpu/seat-3/join-token' --ca-fingerprint ab12 --job "slurm $SLURM_JOB_ID" --allocation-end "$end" --idle-exit '5min' --grace-ms 20000 --label 'note=it'\''s'
)");
}

TEST(SbatchScriptTest, AJobWithoutGpusHasOneSlotAndOverASocketNobodyJoins) {
  SlurmPilot pilot = Pilot();
  pilot.gpus = 0;
  pilot.ca_fingerprint = "";
  pilot.coordinator = "unix:/tmp/socket";
  const std::string text = SbatchScript(pilot, 1);
  EXPECT_EQ(text.find("--gpus"), std::string::npos);
  EXPECT_EQ(text.find("--join"), std::string::npos);
  EXPECT_NE(text.find(" --cpu-slots 1 "), std::string::npos);
}

TEST(CheckSlurmPilotTest, WhatCannotStandInABatchScriptIsRefused) {
  EXPECT_TRUE(CheckSlurmPilot(Pilot()).ok());
  for (const char* const folder : {"", "/a b", "/a%j", "/a\"b", "/a\n"}) {
    SlurmPilot pilot = Pilot();
    pilot.folder = folder;
    EXPECT_EQ(CheckSlurmPilot(pilot).code(), Code::kInvalidArgument) << folder;
  }
  for (const char* const option : {"account", "-A", "--a b", "--a\n#SBATCH --b"}) {
    SlurmPilot pilot = Pilot();
    pilot.sbatch = {option};
    EXPECT_EQ(CheckSlurmPilot(pilot).code(), Code::kInvalidArgument) << option;
  }
}

// A job with another name, or in another cluster, is not known as the pilot's again.
TEST(CheckSlurmPilotTest, WhatThePilotKnowsItsJobsByIsRefused) {
  for (const char* const option : {"--job-name=x", "--job=x", "--array=0-3", "--clusters=b",
                                   "--output=x", "--nodes=2", "--ntasks=4"}) {
    SlurmPilot pilot = Pilot();
    pilot.sbatch = {option};
    const Status status = CheckSlurmPilot(pilot);
    EXPECT_EQ(status.code(), Code::kInvalidArgument) << option;
    EXPECT_NE(status.message().find(Str("--sbatch \"", option, "\": the pilot decides --")),
              std::string::npos)
        << status.message();
  }
  SlurmPilot pilot = Pilot();
  pilot.sbatch = {"--account=lab", "--ntasks-per-node=1", "--qos=short", "--exclude=n[1-3]"};
  EXPECT_TRUE(CheckSlurmPilot(pilot).ok());
}

TEST(ParseSqueueTest, OnlyThePilotsJobsAreTaken) {
  const auto jobs = ParseSqueue(
      "11|RUNNING|longrun-gpu-3fa21c-2|None\n"
      "9|PENDING|longrun-gpu-3fa21c-1|Priority\n"
      "12|PENDING|longrun-gpu-3fa21c-|Priority\n"
      "13|PENDING|longrun-gpu-3fa21c-x|Priority\n"
      "14|RUNNING|longrun-gpu-000000-1|None\n"
      "15|RUNNING|bash|None\n",
      "longrun-gpu-3fa21c-");
  ASSERT_TRUE(jobs.ok()) << jobs.status().message();
  ASSERT_EQ(jobs->size(), 2u);
  EXPECT_EQ((*jobs)[0].id, "9");
  EXPECT_EQ((*jobs)[0].seat, 1);
  EXPECT_EQ((*jobs)[0].state, JobState::kPending);
  EXPECT_EQ((*jobs)[0].reason, "Priority");
  EXPECT_EQ((*jobs)[1].state, JobState::kRunning);
  EXPECT_EQ((*jobs)[1].reason, "");
}

TEST(ParseSqueueTest, EachStateOfSlurmHasItsMeaning) {
  const struct {
    const char* line;
    JobState state;
    bool failed;
  } rows[] = {
      {"1|PENDING|p-1|JobHeldUser", JobState::kHeld, false},
      {"1|PENDING|p-1|launch failed requeued held", JobState::kHeld, false},
      {"1|PENDING|p-1|BeginTime", JobState::kPending, false},
      {"1|REQUEUE_HOLD|p-1|None", JobState::kHeld, false},
      {"1|CONFIGURING|p-1|None", JobState::kPending, false},
      {"1|SUSPENDED|p-1|None", JobState::kRunning, false},
      {"1|COMPLETING|p-1|None", JobState::kEnding, false},
      {"1|COMPLETED|p-1|None", JobState::kEnded, false},
      {"1|CANCELLED|p-1|None", JobState::kEnded, false},
      {"1|TIMEOUT|p-1|None", JobState::kEnded, false},
      {"1|PREEMPTED|p-1|None", JobState::kEnded, false},
      {"1|FAILED|p-1|NonZeroExitCode", JobState::kEnded, true},
      {"1|NODE_FAIL|p-1|None", JobState::kEnded, true},
      {"1|BOOT_FAIL|p-1|None", JobState::kEnded, true},
      {"1|OUT_OF_MEMORY|p-1|None", JobState::kEnded, true},
  };
  for (const auto& row : rows) {
    const auto jobs = ParseSqueue(row.line, "p-");
    ASSERT_TRUE(jobs.ok() && jobs->size() == 1) << row.line;
    EXPECT_EQ(jobs->front().state, row.state) << row.line;
    EXPECT_EQ(jobs->front().failed, row.failed) << row.line;
  }
}

TEST(ParseSqueueTest, AnotherFormIsAnError) {
  EXPECT_EQ(ParseSqueue("slurm_load_jobs error\n", "p-").status().code(), Code::kDataLoss);
  EXPECT_TRUE(ParseSqueue("", "p-")->empty());
}

}  // namespace
}  // namespace longrun::client
