// The loop of `longrun pilot slurm`: looks at the jobs, reports them to the coordinator, and
// submits or cancels. It keeps nothing that it could not find again: the jobs are known by their
// names, and each seat's folder has what its workers need. So it may be killed at any moment.
//
//   FOLDER/                 0700; on a file system that the cluster's nodes share
//     pilot.lock            held by the manager
//     seat-N/               0700; of one worker after the other
//       job.sh              the batch script of its newest job
//       join-token          0600; with it, only the worker of this seat can join, and only once
//       job-ID.log          what the job's worker has logged
//       worker/             the worker's own folder: certificate, cached datasets, journals
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/status.h"
#include "client/pilot/job_plan.h"
#include "client/pilot/slurm.h"
#include "client/wire/messages.h"

namespace longrun::client {

struct ManagerOptions {
  SlurmPilot pilot;
  std::string name;   // of the pilot, for people
  std::string state;  // a state folder, or that of a context
  int jobs_max = 1;
  std::int64_t idle_exit_ms = 0;
};

class PilotManager {
 public:
  // kUnavailable: another manager has the folder.
  static Result<PilotManager> Start(ManagerOptions options);

  // One look, and what follows from it. Says on stderr what has changed.
  void Look(std::int64_t now_ms);
  // Tells the coordinator that the manager ends. The jobs go on.
  void Stop();

 private:
  PilotManager(ManagerOptions options, FileLock lock, SlurmCommands slurm);
  void NoteChanges(const std::vector<PilotJob>& jobs, std::int64_t now_ms);
  void NoteEnd(const PilotJob& job, std::int64_t now_ms);
  Result<v1::ReportPilotResponse> Report(bool stopped) const;
  Status Submit(int seat, std::int64_t now_ms);
  // Makes sure that the seat's worker can join a coordinator over the network.
  Status RenewToken(int seat, std::int64_t now_ms);
  void RenewTokensOfPending(std::int64_t now_ms);
  void Tell(const std::string& problem);  // once for as long as it lasts; "": it is over

  ManagerOptions options_;
  FileLock lock_;
  SlurmCommands slurm_;
  JobPlanner planner_;
  bool looked_ = false;
  std::vector<PilotJob> jobs_;                    // as squeue last showed them
  std::map<std::string, PilotJob> seen_;          // by id; active ones, and those that ended lately
  std::map<std::string, std::int64_t> ended_ms_;  // when a job was first seen to have ended
  std::set<std::string> listed_;                  // of these, jobs that squeue has listed
  std::set<std::string> ran_;     // jobs that were seen to run while the coordinator answered
  std::set<std::string> joined_;  // those of them whose worker the coordinator knew
  std::map<int, std::int64_t> token_ms_;  // when the seat's token was made
  std::string failure_;                   // of the newest job that failed
  std::string problem_;                   // as told
};

}  // namespace longrun::client
