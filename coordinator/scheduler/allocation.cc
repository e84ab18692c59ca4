// Temporary workers, such as jobs of a cluster: they leave by themselves.
//
// A worker knows until when it works. It stops its trainers then, which write a checkpoint, and
// reports their ends before its allocation is over. So an attempt that its allocation cut short is
// preempted, and counts as nothing, even if its end never arrives. A worker that is gone is
// forgotten once nothing of it is in progress.
#include <algorithm>
#include <set>
#include <utility>

#include "base/str.h"
#include "base/units.h"
#include "coordinator/scheduler/step.h"

namespace longrun::coordinator {

std::int64_t LeftMs(const State& state, const Deadline& deadline, Instant now,
                    std::int64_t wall_ms) {
  const bool same_boot = !deadline.boot.empty() && deadline.boot == state.boot;
  return std::max<std::int64_t>(0, same_boot ? deadline.boot_ms - now : deadline.wall_ms - wall_ms);
}

std::optional<std::int64_t> WorkLeftMs(const State& state, const Worker& worker, Instant now,
                                       std::int64_t wall_ms) {
  if (!worker.allocation || !worker.allocation->work_end) return std::nullopt;
  return LeftMs(state, *worker.allocation->work_end, now, wall_ms);
}

bool IsOver(const StepContext& step, const Worker& worker) {
  if (!worker.allocation) return false;
  return worker.draining || WorkLeftMs(step.state, worker, step.now, step.wall_ms) == 0;
}

bool IsCutOff(const StepContext& step, const Attempt& attempt, FailureClass failure_class) {
  const bool is_loss = failure_class == FailureClass::kLost ||
                       failure_class == FailureClass::kVanished ||
                       failure_class == FailureClass::kKilled;
  if (!is_loss) return false;
  const auto worker = step.state.workers.find(attempt.worker);
  return attempt.outlived || (worker != step.state.workers.end() && IsOver(step, worker->second));
}

void NoteOutlived(StepContext& step, const Worker& worker) {
  for (Attempt* const attempt : LiveAttemptsOf(step.state, worker.id)) {
    attempt->outlived = true;
    step.changed_attempts.insert(attempt->id);
  }
}

void NoteCutShort(StepContext& step, const Attempt& attempt) {
  const auto worker = step.state.workers.find(attempt.worker);
  if (attempt.outlived || worker == step.state.workers.end()) return;
  if (WorkLeftMs(step.state, worker->second, step.now, step.wall_ms) != 0) return;
  Task& task = TaskOf(step.state, attempt);
  // A trainer that was stopped before its first step may have written the checkpoint again with
  // which it began.
  if (task.kind == TaskKind::kTrain) {
    const std::optional<CheckpointRef> point = ResumePoint(step.state, task);
    if (point && (!attempt.resume || point->step > attempt.resume->step)) return;
  }
  // The next attempt takes over the results of this one, unless its trainer is of another release
  // or computes otherwise: then it may not get beyond them.
  const std::int64_t n_results = std::ssize(attempt.rows.numbers);
  if (n_results > std::exchange(task.results_reached, std::max(n_results, task.results_reached))) {
    return;
  }
  const std::int64_t had_ms = std::max<std::int64_t>(0, step.now - attempt.offered_at);
  task.needs_ms = std::max(task.needs_ms, had_ms + had_ms / 8);
}

std::string NeedsText(const Task& task) {
  if (task.needs_ms == 0) return "";
  return Str("; it reached ", task.kind == TaskKind::kTrain ? "no checkpoint" : "no further result",
             " before the end of its worker's allocation, so it is given only to workers that have "
             "at least ",
             FormatDurationMs(task.needs_ms), " left");
}

void ForgetGoneWorkers(StepContext& step) {
  State& state = step.state;
  std::set<std::string> gone;
  for (const auto& [id, worker] : state.workers) {
    if (worker.allocation && !worker.session && (worker.draining || worker.lost)) gone.insert(id);
  }
  if (gone.empty()) return;
  for (const std::string& id : state.index.live) gone.erase(state.attempts.at(id).worker);
  for (const std::string& id : gone) {
    state.workers.erase(id);
    state.index.workers_version += 1;
    step.changed_workers.erase(id);
    step.removals.push_back(DropWorker{.worker = id});
  }
}

}  // namespace longrun::coordinator
