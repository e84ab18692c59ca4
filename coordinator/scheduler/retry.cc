// Retries by command: tasks that failed, were skipped or were cancelled get a new round, keeping
// their history and the checkpoints to resume from. Succeeded tasks stay unchanged, unless one of
// their numbers was lost.
#include <algorithm>

#include "base/str.h"
#include "coordinator/scheduler/step.h"

namespace longrun::coordinator {
namespace {

// A successful evaluation has the attempt that counts, unless its result was taken back.
bool IsTakenBack(const Task& task) {
  return task.kind == TaskKind::kEvaluate && task.result_attempt.empty();
}

bool GaveUp(const Task& task) {
  if (task.state == TaskState::kSucceeded) return IsTakenBack(task);
  return IsTerminal(task.state);
}

// Whether the event tries a task again that has a sweep: one that is not cancelled, or will not be
// any more. A number that was measured and is lost is measured again in any case.
bool IsWanted(const State& state, const Task& task, const RetryRequested& event) {
  if (task.state == TaskState::kSucceeded && IsTakenBack(task)) return true;
  return !OnlyCancelledSweepsHave(state, task.id) ||
         state.index.task_sweeps.at(task.id).contains(event.sweep_id);
}

// Makes the task owe all its numbers again.
void TakeBackResult(StepContext& step, const LostResult& lost) {
  const auto found = step.state.tasks.find(lost.task);
  if (found == step.state.tasks.end()) return;
  Task& task = found->second;
  const bool has_result = task.kind == TaskKind::kEvaluate && task.state == TaskState::kSucceeded;
  if (!has_result || lost.cells.empty()) return;
  step.removals.push_back(DropDamagedResults{.attempt = task.result_attempt});
  task.result_attempt.clear();
  task.expected_cells = lost.cells;
  for (const ExpectedCell& cell : lost.cells) {
    step.state.cell_task[cell.cell] = task.id;
    step.cells.push_back(PutCell{.cell = cell.cell, .task = task.id});
  }
}

}  // namespace

std::string WaitReason(const Task& task) {
  if (task.needs.empty()) return "waits for a free slot";
  return Str("waits for ",
             task.kind == TaskKind::kTrain ? "the training that it starts from" : "its training",
             " (task ", ShortId(task.needs), ")");
}

void RetryGivenUp(StepContext& step, const std::set<std::string>& tasks, std::string_view why) {
  // Trainings first, since evaluations wait for them.
  for (const TaskKind kind : {TaskKind::kTrain, TaskKind::kEvaluate}) {
    for (const std::string& id : tasks) {
      Task& task = step.state.tasks.at(id);
      if (task.kind != kind || !GaveUp(task)) continue;
      const bool blocked =
          !task.needs.empty() && step.state.tasks.at(task.needs).state != TaskState::kSucceeded;
      RetryTask(step, task, blocked ? TaskState::kBlocked : TaskState::kReady,
                Str(why, ": ", blocked ? WaitReason(task) : "waits for a free slot"));
    }
  }
}

void HandleEvent(StepContext& step, const RetryRequested& event) {
  State& state = step.state;
  if (!event.sweep_id.empty()) step.result.status = CheckSubmitted(state, event.sweep_id);
  if (!step.result.status.ok()) return;
  std::set<std::string> retried;
  bool has_sweep = false, was_removed = false;
  std::string cancelled;  // the newest sweep of a task that only cancelled sweeps have
  for (const LostResult& lost : event.lost) {
    if (HasSweep(state, lost.task)) TakeBackResult(step, lost);
  }
  for (const std::string& id : event.tasks) {
    const auto found = state.tasks.find(id);
    if (found == state.tasks.end()) continue;
    // Nobody could see or cancel a task without a sweep, and its dataset may be removed.
    if (!HasSweep(state, id)) {
      was_removed = true;
      continue;
    }
    if (!IsWanted(state, found->second, event)) {
      cancelled = std::max(cancelled, NewestSweepOf(state, id));
      continue;
    }
    has_sweep = true;
    Task& task = found->second;
    // Takes back a cancellation that is not finished yet.
    if (!IsTerminal(task.state) && task.cancel_wanted) {
      task.cancel_wanted = false;
      step.changed_tasks.insert(id);
    }
    if (!GaveUp(task)) continue;
    retried.insert(id);
    // Without its training it would wait forever.
    const Task* waits = &task;
    while (!waits->needs.empty() && GaveUp(state.tasks.at(waits->needs))) {
      waits = &state.tasks.at(waits->needs);
      retried.insert(waits->id);
    }
  }
  if (!cancelled.empty() && !has_sweep) {
    step.result.status =
        Status(Code::kFailedPrecondition,
               Str("only cancelled sweeps want this run: `longrun retry ", cancelled,
                   "` takes back the cancellation of the newest one, and tries its tasks again"));
    return;
  }
  if (was_removed && !has_sweep) {
    step.result.status =
        Status(Code::kFailedPrecondition,
               "the sweep that asked for this task was removed: submit the sweep again");
    return;
  }
  if (!event.sweep_id.empty() && state.cancelled_sweeps.erase(event.sweep_id) > 0) {
    step.sweeps.push_back(PutSweepDesired{.sweep_id = event.sweep_id, .desired = Desired::kActive});
    // While it was cancelled, paused sweeps alone may have wanted some of its tasks.
    for (const std::string& id : state.sweep_tasks.at(event.sweep_id)) {
      ReleaseIfActive(step, state.tasks.at(id));
    }
  }
  step.result.submit.tasks_retried = static_cast<std::int64_t>(retried.size());
  RetryGivenUp(step, retried, "tried again by command");
}

}  // namespace longrun::coordinator
