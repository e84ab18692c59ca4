// Slurm, by its commands: the batch script of a pilot's job, and sbatch, squeue and scancel.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "client/pilot/job_plan.h"

namespace longrun::client {

struct SlurmPilot {
  // The beginning of every job's name and of every worker's id; the number of the seat follows.
  std::string prefix;
  std::string folder;  // of the seats; the login node and the cluster's nodes share it
  std::string partition;
  std::int64_t time_ms = 0;               // the time limit of a job
  std::int64_t gpus = 0;                  // 0: its worker uses the CPU
  std::optional<std::int64_t> cpus = {};  // nullopt: the partition's default
  std::vector<std::string> sbatch = {};   // further options, "--account=lab"
  // Of the worker:
  std::string program;         // longrun-worker, on the cluster's nodes
  std::string coordinator;     // unix:PATH or HOST:PORT
  std::string ca_fingerprint;  // for HOST:PORT
  std::string idle_exit;       // as the worker reads it: "5min"
  std::int64_t grace_ms = 0;
  std::vector<std::string> labels = {};
};

// Files of a seat.
std::string SeatFolder(const SlurmPilot& pilot, int seat);
std::string SeatWorkerFolder(const SlurmPilot& pilot, int seat);
std::string SeatTokenFile(const SlurmPilot& pilot, int seat);
std::string SeatJobLog(const SlurmPilot& pilot, int seat, const std::string& job);
// The job's name, and its worker's id.
std::string SeatName(const SlurmPilot& pilot, int seat);

// Whether the values can stand in a batch script. kInvalidArgument names the one that cannot.
Status CheckSlurmPilot(const SlurmPilot& pilot);
// The same for the partition only, by which a pilot may be named.
Status CheckSlurmPartition(std::string_view partition);
// The batch script of the seat's job.
std::string SbatchScript(const SlurmPilot& pilot, int seat);

// The pilot's jobs in squeue's answer to kSqueueFormat, in the order of their ids. Other jobs of
// the user are left out.
inline constexpr const char* kSqueueFormat = "%i|%T|%j|%r";
Result<std::vector<PilotJob>> ParseSqueue(const std::string& text, const std::string& prefix);

// The commands of Slurm. kNotFound: they are not on the PATH; kUnavailable: Slurm does not answer.
class SlurmCommands {
 public:
  static Result<SlurmCommands> Find();

  Result<std::vector<PilotJob>> Jobs(const std::string& prefix) const;
  // Returns the job's id. kFailedPrecondition with Slurm's words if it refuses the job.
  Result<std::string> Submit(const std::string& script) const;
  Status Cancel(const std::string& job) const;

 private:
  std::string sbatch_, squeue_, scancel_;
};

}  // namespace longrun::client
