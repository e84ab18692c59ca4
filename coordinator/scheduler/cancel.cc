// Cancelling: waiting tasks are cancelled at once; a running task when it has stopped or its lease
// has ended, unless it finishes first. Its trainer has a grace time for a checkpoint, or is killed
// (StopMode). Tasks that another sweep still needs continue.
#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "base/str.h"
#include "coordinator/scheduler/step.h"

namespace longrun::coordinator {
namespace {

bool WantedElsewhere(const State& state, const std::string& task, const std::string& sweep_id) {
  for (const std::string& other : state.index.task_sweeps.at(task)) {
    if (other != sweep_id && !state.cancelled_sweeps.contains(other)) return true;
  }
  return false;
}

// Whether this cancellation changes nothing for the task.
bool IsCancelled(const Task& task, StopMode mode) {
  if (IsTerminal(task.state)) return true;
  return task.cancel_wanted && (mode == StopMode::kCheckpoint || task.stop_mode == mode);
}

void CancelTask(StepContext& step, Task& task, StopMode mode, const std::string& reason) {
  task.cancel_wanted = true;
  task.stop_mode = mode;
  step.changed_tasks.insert(task.id);
  if (task.state == TaskState::kBlocked || task.state == TaskState::kReady) {
    if (IsRefreshing(task)) {
      KeepEarlier(step, task, reason);
      step.result.cancel.cancelled += 1;
      return;
    }
    MoveTask(step, task, TaskState::kCancelled, reason);
    step.result.cancel.cancelled += 1;
    return;
  }
  step.result.cancel.stopping += 1;
  if (task.state != TaskState::kStopping) {
    MoveTask(step, task, TaskState::kStopping, reason);
  } else if (mode == StopMode::kCheckpoint) {
    return;  // it was asked already
  }
  SendStopTo(step, step.state.attempts.at(task.attempt), reason);
}

// Returns whether it is cancelled now, and was not before.
bool CancelIfUnwanted(StepContext& step, Task& task, const std::string& sweep_id, StopMode mode,
                      const std::string& reason) {
  if (IsCancelled(task, mode)) return false;
  if (WantedElsewhere(step.state, task.id, sweep_id)) {
    HoldIfPaused(step, task);  // the other sweeps may be paused
    return false;
  }
  CancelTask(step, task, mode, reason);
  return task.state == TaskState::kCancelled;
}

}  // namespace

void CancelUnwanted(StepContext& step, const std::set<std::string>& tasks,
                    const std::string& sweep_id, StopMode mode, const std::string& reason) {
  std::vector<const Task*> cancelled;
  for (const std::string& id : tasks) {
    Task& task = step.state.tasks.at(id);
    if (CancelIfUnwanted(step, task, sweep_id, mode, reason)) cancelled.push_back(&task);
  }
  // A retried run may have evaluations that only other, previously cancelled sweeps list.
  for (const Task* const task : cancelled) SkipDependants(step, *task);
}

void CancelOne(StepContext& step, SweepOrder& order, Task& task) {
  const State& state = step.state;
  const std::set<std::string>& tasks = state.sweep_tasks.at(order.sweep_id);
  // First those that would be skipped with it.
  const auto dependants = state.index.dependants.find(task.id);
  if (dependants != state.index.dependants.end()) {
    for (const std::string& id : dependants->second) {
      if (!tasks.contains(id) || order.IsDone(id)) continue;
      order.early.insert(id);
      CancelOne(step, order, step.state.tasks.at(id));
    }
  }
  const std::string reason = Str("cancelled: sweep ", order.sweep_id, " was cancelled");
  // A retried run may have evaluations that only other, previously cancelled sweeps list.
  if (CancelIfUnwanted(step, task, order.sweep_id, order.mode, reason)) SkipDependants(step, task);
}

void HandleEvent(StepContext& step, const SweepCancelled& event) {
  State& state = step.state;
  step.result.status = CheckOrder(state, event.sweep_id, event.n_tasks_max);
  if (!step.result.status.ok()) return;
  const SweepTally& tally = state.index.tallies.at(event.sweep_id);
  const bool has_ended =
      tally.of(TaskState::kBlocked) + tally.of(TaskState::kReady) + NumberRunning(tally) == 0;
  // A sweep that has ended stays what it is.
  if (has_ended && !state.paused_sweeps.contains(event.sweep_id)) return;
  // Also for a sweep that is already cancelled: runs of it may have been retried since.
  state.paused_sweeps.erase(event.sweep_id);
  if (state.cancelled_sweeps.insert(event.sweep_id).second) {
    step.sweeps.push_back(
        PutSweepDesired{.sweep_id = event.sweep_id, .desired = Desired::kCancelled});
  }
  BeginOrder(step, {.kind = OrderKind::kCancel, .sweep_id = event.sweep_id, .mode = event.mode},
             event.n_tasks_max);
}

}  // namespace longrun::coordinator
