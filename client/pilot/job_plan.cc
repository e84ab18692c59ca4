// See job_plan.h.
#include "client/pilot/job_plan.h"

#include <algorithm>
#include <ranges>
#include <set>

namespace longrun::client {
namespace {

constexpr std::int64_t kPauseMsMin = 10'000;
constexpr std::int64_t kPauseMsMax = 600'000;

}  // namespace

bool IsActive(const PilotJob& job) { return job.state != JobState::kEnded; }

JobPlan JobPlanner::Plan(const PilotDemand& demand, const std::vector<PilotJob>& jobs,
                         std::int64_t now_ms) {
  JobPlan plan;
  std::set<int> taken;  // also by jobs that are ending: two workers cannot share a folder
  std::int64_t n_jobs = 0;
  for (const PilotJob& job : jobs) {
    if (!IsActive(job)) continue;
    taken.insert(job.seat);
    if (job.state != JobState::kEnding) n_jobs += 1;
  }
  const std::int64_t n_tasks = demand.tasks_ready + demand.tasks_running;
  const std::int64_t n_needed = (n_tasks + options_.slots - 1) / options_.slots;
  const std::int64_t n_wanted = std::min<std::int64_t>(n_needed, options_.jobs_max);

  if (n_jobs <= n_wanted) {
    surplus_since_ms_ = -1;
    if (now_ms < submit_at_ms_) return plan;
    for (int seat = 1; seat <= options_.jobs_max && n_jobs < n_wanted; ++seat) {
      if (taken.contains(seat)) continue;
      plan.seats.push_back(seat);
      n_jobs += 1;
    }
    return plan;
  }
  if (surplus_since_ms_ < 0) surplus_since_ms_ = now_ms;
  if (now_ms - surplus_since_ms_ < options_.patience_ms) return plan;
  // The newest first: the oldest is the next to start. Running ones leave by themselves.
  for (const PilotJob& job : std::views::reverse(jobs)) {
    if (n_jobs <= n_wanted) break;
    if (job.state != JobState::kPending) continue;
    plan.cancel.push_back(job.id);
    n_jobs -= 1;
  }
  return plan;
}

void JobPlanner::NoteFailure(std::int64_t now_ms) {
  std::int64_t pause_ms = kPauseMsMin;
  for (std::int64_t i = 0; i < n_failures_ && pause_ms < kPauseMsMax; ++i) pause_ms *= 2;
  n_failures_ += 1;
  submit_at_ms_ = now_ms + std::min(pause_ms, kPauseMsMax);
}

void JobPlanner::NoteSuccess() {
  n_failures_ = 0;
  submit_at_ms_ = 0;
}

std::int64_t JobPlanner::PauseMs(std::int64_t now_ms) const {
  return std::max<std::int64_t>(0, submit_at_ms_ - now_ms);
}

}  // namespace longrun::client
