// Finds checkpoints that nothing will need again. A training that has succeeded needs its final
// checkpoint (every evaluation, and every run that continues it or starts from its weights, starts
// there) and its best one;
// those in between were only for resuming. A training that has not succeeded keeps all checkpoints
// from which it may resume, and its best one; checkpoints of a superseded attempt are neither.
//
// Also finds tasks that belong to no sweep since theirs was removed, unless a run continues theirs
// or a task needs them.
#include <algorithm>
#include <string_view>
#include <utility>

#include "base/str.h"
#include "coordinator/scheduler/step.h"

namespace longrun::coordinator {
namespace {

// Checkpoints that live attempts started from: an older attempt may still be using its checkpoint.
std::set<std::string> InUse(const State& state) {
  std::set<std::string> digests;
  for (const std::string& id : state.index.live) {
    const Attempt& attempt = state.attempts.at(id);
    if (attempt.resume) digests.insert(attempt.resume->sha256);
  }
  return digests;
}

bool IsNeeded(const Task& task, const std::string& sha256) {
  const auto same = [&](const CheckpointRef& other) { return other.sha256 == sha256; };
  if (task.final_checkpoint && same(*task.final_checkpoint)) return true;
  if (task.best_checkpoint && same(*task.best_checkpoint)) return true;
  return task.state != TaskState::kSucceeded && std::ranges::any_of(task.checkpoints, same);
}

bool IsWantedByOthers(const State& state, const std::string& task, const std::string& sweep_id) {
  return std::ranges::any_of(state.index.task_sweeps.at(task), [&](const std::string& other) {
    return other != sweep_id && !state.cancelled_sweeps.contains(other);
  });
}

// What depends on the tasks in question, looked up once for all of them. Leaves out tasks that a
// dry run already counts as gone.
struct Uses {
  std::map<std::string, std::vector<std::string>> attempts = {};  // by task
  std::map<std::string, std::int64_t> tasks = {};                 // by run, also of `children`
  std::set<std::string> listed = {};                              // of these, what a sweep lists
  // By run, the runs that continue it.
  std::map<std::string, std::set<std::string>> children = {};
  bool any_parent = false;          // a run that this build cannot read may continue any other
  std::set<std::string> busy = {};  // attempts that still hold a slot
};

Uses UsesOf(const State& state, const GarbageWanted& event) {
  Uses uses;
  std::set<std::string> runs;
  for (const std::string& id : event.orphans) {
    const auto found = state.tasks.find(id);
    if (found == state.tasks.end()) continue;
    uses.attempts[id];
    runs.insert(found->second.run_key);
  }
  if (runs.empty()) return uses;
  for (const auto& [key, run] : state.runs) {
    if (runs.contains(run.run.parent)) uses.children[run.run.parent].insert(key);
    uses.any_parent = uses.any_parent || !run.unknown.empty();
  }
  for (const std::string& key : runs) uses.tasks[key] = 0;
  for (const auto& [parent, children] : uses.children) {
    for (const std::string& key : children) uses.tasks[key] = 0;
  }
  std::set<std::string> dropped;  // runs all of whose tasks are gone
  for (const std::string& id : event.gone) {
    const auto found = state.tasks.find(id);
    if (found != state.tasks.end()) dropped.insert(found->second.run_key);
  }
  for (const auto& [id, task] : state.tasks) {
    if (event.gone.contains(id)) continue;
    const auto run = uses.tasks.find(task.run_key);
    if (run != uses.tasks.end()) run->second += 1;
    dropped.erase(task.run_key);
  }
  for (const auto& [sweep_id, listed] : state.sweep_runs) {
    for (const std::string& key : listed) {
      if (uses.tasks.contains(key)) uses.listed.insert(key);
      dropped.erase(key);
    }
  }
  for (auto& [parent, children] : uses.children) {
    std::erase_if(children, [&](const std::string& key) { return dropped.contains(key); });
  }
  for (const auto& [id, attempt] : state.attempts) {
    const auto task = uses.attempts.find(attempt.task);
    if (task != uses.attempts.end()) task->second.push_back(id);
  }
  for (const auto& [id, worker] : state.workers) {
    for (const auto& [slot, attempt] : worker.busy) uses.busy.insert(attempt);
  }
  return uses;
}

// Whether no sweep has the task and nothing uses it. Tasks that need it come before it,
// and are in `gone`.
bool IsOrphan(const State& state, const Task& task, const Uses& uses,
              const std::set<std::string>& gone) {
  if (HasSweep(state, task.id) || !IsTerminal(task.state)) return false;
  const auto children = uses.children.find(task.run_key);
  const bool is_continued = children != uses.children.end() && !children->second.empty();
  if (task.kind == TaskKind::kTrain && (uses.any_parent || is_continued)) return false;
  const auto holds = [&](const std::string& attempt) {
    return uses.busy.contains(attempt) || state.index.live.contains(attempt);
  };
  if (std::ranges::any_of(uses.attempts.at(task.id), holds)) return false;
  const auto dependants = state.index.dependants.find(task.id);
  if (dependants == state.index.dependants.end()) return true;
  return std::ranges::all_of(dependants->second,
                             [&](const std::string& id) { return gone.contains(id); });
}

// Counts a task as gone. Returns true if its run is gone with it,
// and so no longer continues its parent.
bool CountGone(const State& state, const Task& task, Uses& uses) {
  // A sweep may list a run that has no task of its own: it evaluates an imported model, or nothing.
  if (--uses.tasks.at(task.run_key) > 0 || uses.listed.contains(task.run_key)) return false;
  const auto siblings = uses.children.find(state.runs.at(task.run_key).run.parent);
  if (siblings != uses.children.end()) siblings->second.erase(task.run_key);
  return true;
}

// The tasks and runs dropped in one step.
struct Dropped {
  DropTasks tasks = {};
  DropRuns runs = {};
};

void DropOrphan(State& state, const std::string& id, Uses& uses, Dropped& dropped) {
  const Task task = std::move(state.tasks.at(id));
  if (const auto left = state.index.left.find(task.owner); task.is_left && --left->second == 0) {
    state.index.left.erase(left);
  }
  state.epoch_floor = std::max(state.epoch_floor, task.epoch);
  dropped.tasks.tasks.push_back(id);
  for (const std::string& attempt : uses.attempts.at(id)) state.attempts.erase(attempt);
  if (!task.needs.empty()) state.index.dependants.at(task.needs).erase(id);
  state.index.dependants.erase(id);
  if (const auto others = state.index.untrained.find(task.run_key);
      others != state.index.untrained.end()) {
    others->second.erase(id);
    if (others->second.empty()) state.index.untrained.erase(others);
  }
  state.index.ended.erase(id);
  state.index.unprepared.erase(id);
  state.index.task_sweeps.erase(id);
  state.index.first.erase(id);
  state.tasks.erase(id);
  if (!CountGone(state, task, uses)) return;
  state.runs.erase(task.run_key);
  dropped.runs.run_keys.push_back(task.run_key);
}

void PutDropped(StepContext& step, Dropped dropped) {
  if (dropped.tasks.tasks.empty()) return;
  // One pass over all cells for all dropped tasks.
  const std::set<std::string_view> gone(dropped.tasks.tasks.begin(), dropped.tasks.tasks.end());
  std::erase_if(step.state.cell_task,
                [&](const auto& owned) { return gone.contains(owned.second); });
  step.removals.push_back(std::move(dropped.tasks));
  if (!dropped.runs.run_keys.empty()) step.removals.push_back(std::move(dropped.runs));
}

void CollectOrphans(StepContext& step, GarbageWanted& event) {
  if (event.orphans.empty()) return;
  Uses uses = UsesOf(step.state, event);
  Dropped dropped;
  for (const std::string& id : event.orphans) {
    const auto found = step.state.tasks.find(id);
    if (found == step.state.tasks.end() || event.gone.contains(id)) continue;
    if (!IsOrphan(step.state, found->second, uses, event.gone)) continue;
    step.result.garbage_tasks.push_back(id);
    if (event.dry_run) {
      CountGone(step.state, found->second, uses);
      event.gone.insert(id);
    } else {
      DropOrphan(step.state, id, uses, dropped);
    }
  }
  PutDropped(step, std::move(dropped));
}

// Removes the sweep; returns its runs. Its tasks stay.
std::set<std::string> Unbind(StepContext& step, const std::string& sweep_id) {
  State& state = step.state;
  for (const std::string& id : state.sweep_tasks.at(sweep_id)) {
    state.index.task_sweeps.at(id).erase(sweep_id);
    CountLeft(state, state.tasks.at(id));
    if (!HasSweep(state, id)) step.result.tasks_left += 1;
  }
  state.sweep_tasks.erase(sweep_id);
  state.index.tallies.erase(sweep_id);
  state.cancelled_sweeps.erase(sweep_id);
  state.paused_sweeps.erase(sweep_id);
  step.removals.push_back(DropSweep{.sweep_id = sweep_id});
  std::set<std::string> runs = std::move(state.sweep_runs.at(sweep_id));
  state.sweep_runs.erase(sweep_id);
  state.sweep_owner.erase(sweep_id);
  state.sweep_name.erase(sweep_id);
  return runs;
}

// Drops those of `runs` that no sweep lists and that have no task:
// no dropped task would take them along.
void DropBareRuns(StepContext& step, std::set<std::string> runs) {
  for (const auto& [sweep_id, listed] : step.state.sweep_runs) {
    for (const std::string& key : listed) runs.erase(key);
  }
  if (runs.empty()) return;
  for (const auto& [id, task] : step.state.tasks) runs.erase(task.run_key);
  if (runs.empty()) return;
  for (const std::string& key : runs) step.state.runs.erase(key);
  step.removals.push_back(DropRuns{.run_keys = {runs.begin(), runs.end()}});
}

}  // namespace

void DropUnfinishedSubmission(StepContext& step) {
  State& state = step.state;
  if (state.submitting.empty() || state.index.submission != nullptr) return;
  const std::string id = std::exchange(state.submitting, "");
  step.sweeps.push_back(PutSubmitting{});
  const auto sweep = state.sweep_tasks.find(id);
  if (sweep == state.sweep_tasks.end()) return;  // all its rows were lost
  GarbageWanted event = {.dry_run = false};
  // Not those that another sweep has. Those that removed sweeps left have ended.
  for (const TaskKind kind : {TaskKind::kEvaluate, TaskKind::kTrain}) {
    for (const std::string& task_id : sweep->second) {
      const Task& task = state.tasks.at(task_id);
      const bool waits = task.state == TaskState::kReady || task.state == TaskState::kBlocked;
      const bool is_shared = state.index.task_sweeps.at(task_id).size() > 1;
      if (task.kind == kind && waits && !is_shared) event.orphans.push_back(task_id);
    }
  }
  std::set<std::string> kept = sweep->second;
  std::set<std::string> runs = Unbind(step, id);
  Uses uses = UsesOf(state, event);
  Dropped dropped;
  for (const std::string& task_id : event.orphans) {
    UnindexReady(state, state.tasks.at(task_id));
    DropOrphan(state, task_id, uses, dropped);
    kept.erase(task_id);
  }
  // The sweep that they began for may have been cancelled since.
  CancelUnwanted(step, kept, id, StopMode::kCheckpoint,
                 Str("cancelled: the submission of sweep ", id, " was interrupted"));
  for (const std::string& run_key : dropped.runs.run_keys) runs.erase(run_key);
  PutDropped(step, std::move(dropped));
  DropBareRuns(step, std::move(runs));
}

void HandleEvent(StepContext& step, const SweepRemoved& event) {
  State& state = step.state;
  step.result.status = CheckSubmitted(state, event.sweep_id);
  if (!step.result.status.ok()) return;
  bool is_to_come = IsActiveSweep(state, event.sweep_id), is_stopping = false;
  for (const std::string& id : state.sweep_tasks.at(event.sweep_id)) {
    const Task& task = state.tasks.at(id);
    if (IsTerminal(task.state) || IsWantedByOthers(state, id, event.sweep_id)) continue;
    is_to_come = true;
    is_stopping = is_stopping || task.cancel_wanted;
  }
  if (is_to_come) {
    const std::string why =
        is_stopping ? Str("is still stopping: try again once `longrun get ", event.sweep_id,
                          "` shows no task at work; if no service is running, `longrun up` "
                          "stops the tasks")
                    : Str("is ", SweepStateName(state, event.sweep_id),
                          ": end it first with `longrun cancel ", event.sweep_id, "`");
    step.result.status = Status(Code::kFailedPrecondition, Str("sweep ", event.sweep_id, " ", why));
    return;
  }
  DropBareRuns(step, Unbind(step, event.sweep_id));
}

void HandleEvent(StepContext& step, GarbageWanted& event) {
  CollectOrphans(step, event);
  const std::set<std::string> in_use = InUse(step.state);
  for (const StoredCheckpoint& candidate : event.candidates) {
    const auto found = step.state.tasks.find(candidate.task);
    if (found == step.state.tasks.end() || found->second.kind != TaskKind::kTrain) continue;
    Task& task = found->second;
    if (!task.unknown.empty() || task.damaged) continue;  // unreadable: any of them may be needed
    if (in_use.contains(candidate.sha256) || IsNeeded(task, candidate.sha256)) continue;
    step.result.garbage.push_back(
        {.checkpoint = candidate, .task_succeeded = task.state == TaskState::kSucceeded});
    if (event.dry_run) continue;
    step.drops.push_back(DropCheckpoint{.task = task.id, .sha256 = candidate.sha256});
    const auto n_erased = std::erase_if(
        task.checkpoints, [&](const CheckpointRef& one) { return one.sha256 == candidate.sha256; });
    if (n_erased > 0) step.changed_tasks.insert(task.id);
  }
}

}  // namespace longrun::coordinator
