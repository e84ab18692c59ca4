// Retries by command: tasks that failed, were skipped or were cancelled get a new round, keeping
// their history and the checkpoints to resume from. Succeeded tasks stay unchanged, unless what
// they gave was lost: one of an evaluation's numbers, or a training's final checkpoint. The numbers
// of evaluations that read a lost checkpoint stay.
#include <algorithm>

#include "base/str.h"
#include "coordinator/scheduler/step.h"

namespace longrun::coordinator {
namespace {

// A successful task has the attempt that counts, unless its result was taken back.
bool IsTakenBack(const Task& task) {
  return task.state == TaskState::kSucceeded && task.result_attempt.empty();
}

bool GaveUp(const Task& task) {
  if (task.state == TaskState::kSucceeded) return IsTakenBack(task);
  return IsTerminal(task.state);
}

bool IsFinal(const Task& task, const std::set<std::string>& checkpoints) {
  return task.final_checkpoint && checkpoints.contains(task.final_checkpoint->sha256);
}

// Of the tasks of the event, those that have succeeded and whose result was lost, if a sweep has
// them: what cannot be computed again is not dropped.
std::set<std::string> LostTasks(const State& state, const RetryRequested& event) {
  std::set<std::string> lost;
  const auto succeeded = [&](const std::string& id, TaskKind kind) -> const Task* {
    const auto found = state.tasks.find(id);
    if (found == state.tasks.end() || !HasSweep(state, id)) return nullptr;
    const Task& task = found->second;
    return task.kind == kind && task.state == TaskState::kSucceeded ? &task : nullptr;
  };
  for (const LostResult& one : event.lost) {
    const bool has_result = succeeded(one.task, TaskKind::kEvaluate) != nullptr;
    if (has_result && !one.cells.empty()) lost.insert(one.task);
  }
  for (const LostCheckpoints& one : event.lost_checkpoints) {
    const Task* const training = succeeded(one.task, TaskKind::kTrain);
    if (training != nullptr && IsFinal(*training, one.sha256)) lost.insert(one.task);
  }
  return lost;
}

constexpr std::string_view kByCommand = "tried again by command";

void StartAgain(StepContext& step, Task& task, std::string_view why) {
  const bool blocked = WaitsForTraining(step.state, task);
  const bool lost_weights = task.kind == TaskKind::kTrain && IsTakenBack(task);
  RetryTask(step, task, blocked ? TaskState::kBlocked : TaskState::kReady,
            Str(why, lost_weights ? ", since its final checkpoint is missing or damaged: " : ": ",
                blocked ? WaitReason(task) : "waits for a free slot"));
}

// What an event asks for.
struct Retries {
  std::set<std::string> tasks = {};      // that are to get a new round
  std::vector<std::string> wanted = {};  // of the event's tasks, those that a sweep wants
  bool was_removed = false;              // the sweep that asked for a task
  std::string cancelled = {};            // the newest sweep of a task that only cancelled ones have
};

Retries RetriesOf(const State& state, const RetryRequested& event) {
  const std::set<std::string> lost = LostTasks(state, event);
  const auto gave_up = [&](const Task& task) { return GaveUp(task) || lost.contains(task.id); };
  // Whether a sweep has the task that is not cancelled, or will not be any more. What was computed
  // and is lost is computed again in any case.
  const auto is_wanted = [&](const std::string& id) {
    return lost.contains(id) || !OnlyCancelledSweepsHave(state, id) ||
           state.index.task_sweeps.at(id).contains(event.sweep_id);
  };
  Retries retries;
  for (const std::string& id : event.tasks) {
    const auto found = state.tasks.find(id);
    if (found == state.tasks.end()) continue;
    // Nobody could see or cancel a task without a sweep, and its dataset may be removed.
    if (!HasSweep(state, id)) {
      retries.was_removed = true;
      continue;
    }
    if (!is_wanted(id)) {
      retries.cancelled = std::max(retries.cancelled, NewestSweepOf(state, id));
      continue;
    }
    retries.wanted.push_back(id);
    const Task* task = &found->second;
    if (!gave_up(*task)) continue;
    retries.tasks.insert(id);
    // Without its training it would wait forever.
    while (!task->needs.empty() && gave_up(state.tasks.at(task->needs))) {
      task = &state.tasks.at(task->needs);
      retries.tasks.insert(task->id);
    }
  }
  return retries;
}

// Makes the task owe all its numbers again.
void TakeBackResult(StepContext& step, const LostResult& lost) {
  Task& task = step.state.tasks.at(lost.task);
  if (task.state != TaskState::kSucceeded) return;  // it has lost them before
  step.removals.push_back(DropDamagedResults{.attempt = task.result_attempt});
  task.result_attempt.clear();
  task.expected_cells = lost.cells;
  for (const ExpectedCell& cell : lost.cells) {
    step.state.cell_task[cell.cell] = task.id;
    step.cells.push_back(PutCell{.cell = cell.cell, .task = task.id});
  }
}

// The training resumes from none of these. Its final checkpoint stays known until there is another
// one: runs that go on from it must never begin without it.
void TakeBackCheckpoints(StepContext& step, const LostCheckpoints& lost) {
  Task& task = step.state.tasks.at(lost.task);
  std::vector<CheckpointRef> dropped;
  std::erase_if(task.checkpoints, [&](const CheckpointRef& one) {
    if (!lost.sha256.contains(one.sha256)) return false;
    dropped.push_back(one);
    return true;
  });
  for (const CheckpointRef& one : dropped) DropUnlessUsed(step, task, one);
  step.changed_tasks.insert(task.id);
  if (IsFinal(task, lost.sha256)) task.result_attempt.clear();
}

}  // namespace

std::string WaitReason(const Task& task) {
  if (task.needs.empty()) return "waits for a free slot";
  return Str("waits for ",
             task.kind == TaskKind::kTrain ? "the training that it starts from" : "its training",
             " (task ", ShortId(task.needs), ")");
}

bool WaitsForTraining(const State& state, const Task& task) {
  if (task.needs.empty()) return false;
  const auto needed = state.tasks.find(task.needs);
  return needed == state.tasks.end() || needed->second.state != TaskState::kSucceeded ||
         IsTakenBack(needed->second);
}

void BlockUntilTrained(StepContext& step, Task& task) {
  if (task.state != TaskState::kReady || !WaitsForTraining(step.state, task)) return;
  if (IsRefreshing(task)) {
    return KeepEarlier(step, task, "the weights that it reads are missing or damaged");
  }
  MoveTask(step, task, TaskState::kBlocked, WaitReason(task));
  const auto needed = step.state.tasks.find(task.needs);
  if (needed == step.state.tasks.end()) return;  // a submission is about to add it
  if (IsTerminal(needed->second.state)) SkipDependants(step, needed->second);
}

void RetryGivenUp(StepContext& step, const std::set<std::string>& tasks, std::string_view why) {
  // Trainings first, since evaluations wait for them.
  for (const TaskKind kind : {TaskKind::kTrain, TaskKind::kEvaluate}) {
    for (const std::string& id : tasks) {
      Task& task = step.state.tasks.at(id);
      if (task.kind == kind && GaveUp(task)) StartAgain(step, task, why);
    }
  }
}

void RetryOne(StepContext& step, SweepOrder& order, Task& task) {
  State& state = step.state;
  if (GaveUp(task)) {
    // Without its training it would wait forever. A training that an earlier step has tried again,
    // and that has failed since, is not tried once more: this task is skipped like the others.
    const auto needed = state.tasks.find(task.needs);
    const bool gave_up = needed != state.tasks.end() && GaveUp(needed->second);
    const bool is_of_sweep = state.sweep_tasks.at(order.sweep_id).contains(task.needs);
    const bool was_tried =
        is_of_sweep ? order.IsDone(task.needs) : order.early.contains(task.needs);
    if (gave_up && !was_tried) {
      RetryOne(step, order, needed->second);
      order.early.insert(task.needs);
    }
    StartAgain(step, task, kByCommand);
    step.result.submit.tasks_retried += 1;
    if (gave_up && was_tried) SkipDependants(step, needed->second);
    return;
  }
  if (!IsTerminal(task.state) && task.cancel_wanted) {
    task.cancel_wanted = false;
    step.changed_tasks.insert(task.id);
  }
  // While the sweep was cancelled, only paused sweeps may have wanted the task.
  ReleaseIfActive(step, task);
}

std::set<std::string> TasksToRetry(const State& state, const RetryRequested& event) {
  return RetriesOf(state, event).tasks;
}

void HandleEvent(StepContext& step, const RetryRequested& event) {
  State& state = step.state;
  if (!event.sweep_id.empty()) {
    step.result.status = CheckOrder(state, event.sweep_id, event.n_tasks_max);
  }
  if (!step.result.status.ok()) return;
  if (event.n_tasks_max != kAllTasks && !event.sweep_id.empty() && event.lost.empty() &&
      event.lost_checkpoints.empty() &&
      event.tasks.size() == state.sweep_tasks.at(event.sweep_id).size()) {
    if (state.cancelled_sweeps.erase(event.sweep_id) > 0) {
      step.sweeps.push_back(
          PutSweepDesired{.sweep_id = event.sweep_id, .desired = Desired::kActive});
    }
    return BeginOrder(step, {.kind = OrderKind::kRetry, .sweep_id = event.sweep_id},
                      event.n_tasks_max);
  }
  const Retries retries = RetriesOf(state, event);
  if (!retries.cancelled.empty() && retries.wanted.empty()) {
    step.result.status =
        Status(Code::kFailedPrecondition,
               Str("only cancelled sweeps want this run: `longrun retry ", retries.cancelled,
                   "` takes back the cancellation of the newest one, and tries its tasks again"));
    return;
  }
  if (retries.was_removed && retries.wanted.empty()) {
    step.result.status =
        Status(Code::kFailedPrecondition,
               "the sweep that asked for this task was removed: submit the sweep again");
    return;
  }
  for (const LostResult& lost : event.lost) {
    if (retries.tasks.contains(lost.task)) TakeBackResult(step, lost);
  }
  for (const LostCheckpoints& lost : event.lost_checkpoints) {
    if (retries.tasks.contains(lost.task)) TakeBackCheckpoints(step, lost);
  }
  for (const std::string& id : retries.wanted) {
    Task& task = state.tasks.at(id);
    // Takes back a cancellation that is not finished yet.
    if (IsTerminal(task.state) || !task.cancel_wanted) continue;
    task.cancel_wanted = false;
    step.changed_tasks.insert(id);
  }
  if (!event.sweep_id.empty() && state.cancelled_sweeps.erase(event.sweep_id) > 0) {
    step.sweeps.push_back(PutSweepDesired{.sweep_id = event.sweep_id, .desired = Desired::kActive});
    // While it was cancelled, paused sweeps alone may have wanted some of its tasks.
    for (const std::string& id : state.sweep_tasks.at(event.sweep_id)) {
      ReleaseIfActive(step, state.tasks.at(id));
    }
  }
  step.result.submit.tasks_retried = static_cast<std::int64_t>(retries.tasks.size());
  RetryGivenUp(step, retries.tasks, kByCommand);
  for (const LostCheckpoints& lost : event.lost_checkpoints) {
    const auto dependants = state.index.dependants.find(lost.task);
    if (dependants == state.index.dependants.end()) continue;
    for (const std::string& id : dependants->second) BlockUntilTrained(step, state.tasks.at(id));
  }
}

}  // namespace longrun::coordinator
