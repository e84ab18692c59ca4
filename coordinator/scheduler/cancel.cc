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

}  // namespace

void CancelUnwanted(StepContext& step, const std::set<std::string>& tasks,
                    const std::string& sweep_id, StopMode mode, const std::string& reason) {
  std::vector<const Task*> cancelled;
  for (const std::string& id : tasks) {
    Task& task = step.state.tasks.at(id);
    if (IsCancelled(task, mode)) continue;
    if (WantedElsewhere(step.state, id, sweep_id)) {
      HoldIfPaused(step, task);  // the other sweeps may be paused
      continue;
    }
    CancelTask(step, task, mode, reason);
    if (task.state == TaskState::kCancelled) cancelled.push_back(&task);
  }
  // A retried run may have evaluations that only other, previously cancelled sweeps list.
  for (const Task* const task : cancelled) SkipDependants(step, *task);
}

void HandleEvent(StepContext& step, const SweepCancelled& event) {
  State& state = step.state;
  step.result.status = CheckSubmitted(state, event.sweep_id);
  if (!step.result.status.ok()) return;
  const std::set<std::string>& tasks = state.sweep_tasks.at(event.sweep_id);
  const bool has_ended = std::ranges::all_of(
      tasks, [&](const std::string& id) { return IsTerminal(state.tasks.at(id).state); });
  // A sweep that has ended stays what it is.
  if (has_ended && !state.paused_sweeps.contains(event.sweep_id)) return;
  // Also for a sweep that is already cancelled: runs of it may have been retried since.
  state.paused_sweeps.erase(event.sweep_id);
  if (state.cancelled_sweeps.insert(event.sweep_id).second) {
    step.sweeps.push_back(
        PutSweepDesired{.sweep_id = event.sweep_id, .desired = Desired::kCancelled});
  }
  CancelUnwanted(step, tasks, event.sweep_id, event.mode,
                 Str("cancelled: sweep ", event.sweep_id, " was cancelled"));
}

}  // namespace longrun::coordinator
