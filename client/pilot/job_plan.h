// How many jobs a pilot has in its batch system's queue: as many as there is work, and no more.
// Pure: the time and the jobs are passed in.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace longrun::client {

enum class JobState {
  kPending,  // waits in the queue
  kHeld,     // the same, until somebody releases it
  kRunning,
  kEnding,  // its processes are being ended
  kEnded,
};

// A job of a pilot. Each job has a seat: the folder of the worker that it is. The next job of the
// same seat finds there what the last one has left: its certificate, its datasets, its journals.
struct PilotJob {
  std::string id;  // in the batch system
  int seat = 0;    // from 1
  JobState state = JobState::kPending;
  std::string reason = {};  // why it waits, or how it ended, in the batch system's words
  bool failed = false;      // it ended by an error, of its own or of its node
};

// Whether it has a place in the queue, or a machine.
bool IsActive(const PilotJob& job);

// The work for a pilot, as the coordinator counts it.
struct PilotDemand {
  std::int64_t tasks_ready = 0;    // that wait for a slot
  std::int64_t tasks_running = 0;  // on the pilot's workers
};

struct JobPlan {
  std::vector<int> seats;           // to submit a job for
  std::vector<std::string> cancel;  // jobs that wait and that nothing needs
};

struct JobPlannerOptions {
  int jobs_max = 1;
  int slots = 1;  // of each job's worker
  // How long a job may wait in the queue without being needed. Work often comes back in a moment.
  std::int64_t patience_ms = 0;
};

class JobPlanner {
 public:
  explicit JobPlanner(const JobPlannerOptions& options) : options_(options) {}

  // `now_ms` never goes back.
  JobPlan Plan(const PilotDemand& demand, const std::vector<PilotJob>& jobs, std::int64_t now_ms);

  // A job has failed, or could not be submitted: the next one waits, each time longer.
  void NoteFailure(std::int64_t now_ms);
  // A job has become a worker.
  void NoteSuccess();
  // The time until a job may be submitted again.
  std::int64_t PauseMs(std::int64_t now_ms) const;

 private:
  const JobPlannerOptions options_;
  std::int64_t surplus_since_ms_ = -1;  // -1: no job is unneeded
  std::int64_t n_failures_ = 0;         // since the last success
  std::int64_t submit_at_ms_ = 0;
};

}  // namespace longrun::client
