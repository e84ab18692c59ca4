// Submitting a sweep: work whose result is already known is never done again. A submission, or each
// part of it, is first planned without changing the state, then carried out.
#include <algorithm>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "base/str.h"
#include "coordinator/scheduler/step.h"
#include "sweeps/cost.h"

namespace longrun::coordinator {

struct Submission {
  SubmitCounts counts;
  std::unordered_set<std::string> runs;          // that were planned
  std::unordered_set<std::string> created_runs;  // of these, those that did not exist before
  std::unordered_set<std::string> tasks;         // all that serve the sweep
  std::set<std::string> reused;             // of these, those that existed before the submission
  std::set<std::string> retried;            // existing tasks that failed or were given up
  std::set<std::string> failed;             // tasks that would fail again in the same way
  std::set<std::string> created_tasks;      // if in parts: new ones of all parts so far
  std::map<std::string, ReadyClass> ready;  // of these, ready ones, as Index::ready will have them
  std::vector<std::string> ready_later;     // ready ones whose class may still change
  // What only this part has:
  std::vector<const PlannedRun*> runs_to_store;            // new ones, and damaged ones
  std::vector<Task> new_tasks;                             // training before its evaluations
  std::unordered_map<std::string, std::string> new_cells;  // cell -> task
  std::vector<std::string> added;                          // to `tasks`

  void Serve(const std::string& task) {
    if (tasks.insert(task).second) added.push_back(task);
  }
};

namespace {

// The keys of a hash table, in order: what follows from them must not depend on the table.
template <typename Table>
std::vector<std::string> SortedKeys(const Table& table) {
  std::vector<std::string> keys;
  keys.reserve(table.size());
  for (const auto& entry : table) {
    if constexpr (std::is_same_v<typename Table::key_type, typename Table::value_type>) {
      keys.push_back(entry);
    } else {
      keys.push_back(entry.first);
    }
  }
  std::ranges::sort(keys);
  return keys;
}

bool GaveUp(TaskState state) { return IsTerminal(state) && state != TaskState::kSucceeded; }

void TakePolicy(Task& task, const Sweep& sweep) {
  task.priority = sweep.priority;
  task.retry = sweep.retry;
  task.device_kind = sweep.device_kind;
  task.checkpoint_every_ms = sweep.checkpoint_every_ms;
  task.checkpoint_keep = sweep.checkpoint_keep;
  task.activation_checkpointing = sweep.activation_checkpointing;
}

using KnownCells = std::map<std::string, std::string>;  // SweepSubmitted::known_cells

// Whether a task that has ended is tried again.
void Judge(const State& state, const std::string& id, Submission& plan) {
  const Task& task = state.tasks.at(id);
  if (!GaveUp(task.state)) return;
  (FailedForGood(state, task) ? plan.failed : plan.retried).insert(id);
}

// Counts and records a task that exists already.
void Reuse(const State& state, const std::string& id, Submission& plan) {
  plan.Serve(id);
  if (plan.created_tasks.contains(id)) return;
  plan.reused.insert(id);
  Judge(state, id, plan);
}

// Whether the task that is needed, if any, has succeeded.
bool IsThere(const State& state, const std::string& needs) {
  const auto needed = state.tasks.find(needs);
  return needs.empty() ||
         (needed != state.tasks.end() && needed->second.state == TaskState::kSucceeded);
}

void PlanTraining(const State& state, const Sweep& sweep, const PlannedRun& run,
                  const std::string& id, Submission& plan) {
  if (!run.run.trains()) return;
  const bool is_again = plan.tasks.contains(id);  // a sweep may list a run twice
  const bool is_there = state.tasks.contains(id);
  if (is_there) Reuse(state, id, plan);
  // Unfinished training, for whichever sweep, still has checkpoints to write.
  const bool is_done =
      is_there && IsTerminal(state.tasks.at(id).state) && !plan.retried.contains(id);
  if (!is_again && !is_done) {
    plan.counts.checkpoint_bytes += (sweep.checkpoint_keep + 1) * CheckpointBytes(run.run.model);
  }
  if (is_again || is_there) return;
  plan.Serve(id);
  Task task;
  task.id = id;
  task.run_key = run.run_key;
  task.kind = TaskKind::kTrain;
  if (const std::string base = run.run.BaseKey(); !base.empty()) task.needs = TrainTaskKey(base);
  TakePolicy(task, sweep);
  task.state = IsThere(state, task.needs) ? TaskState::kReady : TaskState::kBlocked;
  if (plan.failed.contains(task.needs)) {
    plan.failed.insert(task.id);  // stored, so that a table shows why there is no number
  } else {
    plan.counts.train_tasks_new += 1;
  }
  plan.new_tasks.push_back(std::move(task));
}

// Makes one task of the cells that nobody has or owes. A cell may owe several rows (a baseline is a
// variant of the same cell); it is counted once.
void PlanEvaluation(const State& state, const KnownCells& known, const Sweep& sweep,
                    const PlannedRun& run, const std::string& training,
                    const PlannedEvaluation& evaluation, Submission& plan) {
  std::vector<ExpectedCell> missing;
  std::unordered_multimap<std::string_view, const ExpectedCell*> missing_cells;  // of `evaluation`
  std::set<std::string> reused_cells;
  const auto is_missing = [&missing_cells](const ExpectedCell& cell) {
    const auto [begin, end] = missing_cells.equal_range(cell.cell);
    return std::any_of(begin, end, [&cell](const auto& entry) { return *entry.second == cell; });
  };
  std::int64_t n_missing = 0;  // cells, not their rows
  for (const ExpectedCell& cell : evaluation.cells) {
    const std::string* const owner = OwnerOf(state, known, cell.cell);
    if (owner != nullptr && plan.created_tasks.contains(*owner)) {
      reused_cells.insert(cell.cell);  // asked for twice in one sweep
    } else if (owner != nullptr) {
      Reuse(state, *owner, plan);
      if (!plan.retried.contains(*owner) && !plan.failed.contains(*owner)) {
        reused_cells.insert(cell.cell);
      }
    } else if (plan.new_cells.contains(cell.cell) || is_missing(cell)) {
      reused_cells.insert(cell.cell);  // asked for twice in one sweep
    } else {
      if (!missing_cells.contains(cell.cell)) n_missing += 1;
      missing.push_back(cell);
      missing_cells.emplace(cell.cell, &cell);
    }
  }
  plan.counts.cells_reused += static_cast<std::int64_t>(reused_cells.size());
  if (missing.empty()) return;
  Task task;
  task.id = EvaluateTaskKey(run.run_key, evaluation.text, missing);
  task.run_key = run.run_key;
  task.kind = TaskKind::kEvaluate;
  if (run.run.trains()) task.needs = training;
  task.evaluation = evaluation.evaluation;
  TakePolicy(task, sweep);
  task.state = IsThere(state, task.needs) ? TaskState::kReady : TaskState::kBlocked;
  for (const ExpectedCell& cell : missing) plan.new_cells[cell.cell] = task.id;
  // The task exists, but its damaged rows hid its cells from the lookup: they are written again.
  if (state.tasks.contains(task.id)) {
    Reuse(state, task.id, plan);
    plan.counts.cells_reused += n_missing;
    return;
  }
  if (FailedForGood(state, task) || plan.failed.contains(task.needs)) {
    plan.failed.insert(task.id);  // stored, so that a table shows why there is no number
  } else {
    plan.counts.cells_new += n_missing;
    plan.counts.evaluate_tasks_new += 1;
  }
  plan.Serve(task.id);
  task.expected_cells = std::move(missing);
  plan.new_tasks.push_back(std::move(task));
}

// Adds the runs of `sweep`, which are all or the next ones.
void AddToPlan(const State& state, const Sweep& sweep, const KnownCells& known, Submission& plan) {
  std::size_t n_tasks = 0, n_cells = 0;  // at most
  for (const PlannedRun& run : sweep.runs) {
    n_tasks += 1 + run.evaluations.size();
    for (const PlannedEvaluation& evaluation : run.evaluations) n_cells += evaluation.cells.size();
  }
  plan.new_tasks.reserve(n_tasks);
  plan.new_cells.reserve(n_cells);
  for (const PlannedRun& run : sweep.runs) {
    const std::string training = TrainTaskKey(run.run_key);
    if (plan.runs.insert(run.run_key).second) {
      const auto record = state.runs.find(run.run_key);
      if (record != state.runs.end()) {
        plan.counts.runs_reused += 1;
        // The key fixes the run's content, so the same file rewrites the damaged row.
        if (record->second.damaged) plan.runs_to_store.push_back(&run);
      } else {
        plan.counts.runs_new += 1;
        plan.runs_to_store.push_back(&run);
        plan.created_runs.insert(run.run_key);
      }
    }
    PlanTraining(state, sweep, run, training, plan);
    for (const PlannedEvaluation& evaluation : run.evaluations) {
      PlanEvaluation(state, known, sweep, run, training, evaluation, plan);
    }
  }
  plan.counts.tasks_retried = std::ssize(plan.retried);
  plan.counts.tasks_failed_for_good = std::ssize(plan.failed);
}

// Whether it is the first part, or all of the submission.
bool Begins(const SweepSubmitted& event) { return !event.part || event.part->first_run == 0; }
// Whether it is the last part, or all of the submission.
bool Ends(const SweepSubmitted& event) { return !event.part || event.part->is_last; }

const std::string& OwnerOfSweep(const State& state, const SweepSubmitted& event) {
  const auto known = state.sweep_owner.find(event.sweep_id);
  return known == state.sweep_owner.end() ? event.owner : known->second;
}

// So that one person's sweeps do not use up what all may have together. Tasks that have ended count
// as well, as in tasks_max: each takes memory, and may be retried. So do those that removed sweeps
// left.
Status CheckOwner(const State& state, const SweepSubmitted& event, const Submission& plan) {
  const std::string& owner = OwnerOfSweep(state, event);
  if (owner.empty()) return Status();
  const auto limit = static_cast<std::size_t>(state.limits.owner_tasks_max);
  std::vector<const std::set<std::string>*> others;
  const auto left = state.index.left.find(owner);
  std::size_t n_left = left == state.index.left.end() ? 0 : static_cast<std::size_t>(left->second);
  for (const std::string& id : plan.tasks) {  // has a sweep again
    const auto task = state.tasks.find(id);
    if (task != state.tasks.end() && task->second.is_left && task->second.owner == owner) n_left--;
  }
  std::size_t n_at_most = plan.tasks.size() + n_left;
  for (const auto& [sweep, of] : state.sweep_owner) {
    if (of != owner || sweep == event.sweep_id) continue;
    others.push_back(&state.sweep_tasks.at(sweep));
    n_at_most += others.back()->size();
  }
  if (n_at_most <= limit) return Status();
  std::set<std::string_view> tasks;  // a task may belong to several sweeps
  for (const std::set<std::string>* const of_sweep : others) {
    tasks.insert(of_sweep->begin(), of_sweep->end());
  }
  const std::size_t n_before = tasks.size();
  tasks.insert(plan.tasks.begin(), plan.tasks.end());
  if (tasks.size() + n_left <= limit) return Status();
  return Status(
      Code::kResourceExhausted,
      Str("sweep \"", event.sweep.name, "\" would add ", tasks.size() - n_before, " tasks to the ",
          n_before, " of ", owner, "'s other sweeps",
          n_left == 0 ? "" : Str(" and the ", n_left, " that removed sweeps left"), "; ", limit,
          " are allowed for one owner (--owner-tasks-max of longrun-coordinator): make the matrix "
          "smaller, or remove sweeps that have ended (`longrun rm`), and have an operator collect "
          "what they left (`longrun gc`)"));
}

Status Check(const State& state, const SweepSubmitted& event, const Submission& plan) {
  for (const PlannedRun* const run : plan.runs_to_store) {
    if (!event.dataset_paths.contains(run->dataset_name)) {
      return Status(Code::kNotFound, Str("dataset \"", run->dataset_name, "\" is not registered: ",
                                         "`longrun data import` makes one"));
    }
  }
  for (const PlannedRun* const run : plan.runs_to_store) {
    const std::string& parent = run->run.parent;
    if (parent.empty()) continue;
    const auto training = state.tasks.find(TrainTaskKey(parent));
    if (training == state.tasks.end() || !training->second.final_checkpoint) {
      return Status(Code::kFailedPrecondition,
                    Str("run ", ShortId(parent), " has no final checkpoint to continue from"));
    }
  }
  for (const Task& task : plan.new_tasks) {
    if (task.kind != TaskKind::kTrain || task.needs.empty()) continue;
    if (IsThere(state, task.needs) || plan.tasks.contains(task.needs)) continue;
    return Status(
        Code::kFailedPrecondition,
        Str("run ", ShortId(task.run_key),
            " starts from a run that has not finished training: submit this sweep when it "
            "has"));
  }
  const std::size_t n_tasks = state.tasks.size() + plan.new_tasks.size();
  if (n_tasks > static_cast<std::size_t>(state.limits.tasks_max)) {
    return Status(Code::kResourceExhausted,
                  Str("sweep \"", event.sweep.name, "\" would add ", plan.new_tasks.size(),
                      " tasks to the existing ", state.tasks.size(), "; at most ",
                      state.limits.tasks_max, " are allowed: make the matrix smaller"));
  }
  return CheckOwner(state, event, plan);
}

// The highest priority of its sweeps is a task's priority;
// a new submission takes back its cancellation.
void WantAgain(StepContext& step, const Sweep& sweep, const std::set<std::string>& tasks) {
  for (const std::string& id : tasks) {
    Task& task = step.state.tasks.at(id);
    if (IsTerminal(task.state)) continue;
    if (task.cancel_wanted) {
      task.cancel_wanted = false;
      step.changed_tasks.insert(id);
    }
    if (task.priority >= sweep.priority) continue;
    const bool ready = task.state == TaskState::kReady;
    if (ready) UnindexReady(step.state, task);
    task.priority = sweep.priority;
    if (ready) IndexReady(step.state, task, step.now);
    step.changed_tasks.insert(id);
  }
}

// Moves the sweep out of the event: nothing reads it afterwards.
// `tasks`: those that no earlier part has bound.
void BindSweep(StepContext& step, SweepSubmitted& event, std::vector<std::string> tasks) {
  State& state = step.state;
  std::ranges::sort(tasks);
  std::set<std::string>& bound = state.sweep_tasks[event.sweep_id];
  std::set<std::string>& runs = state.sweep_runs[event.sweep_id];
  std::set<std::string> before;
  SweepTally& tally = state.index.tallies[event.sweep_id];
  if (Begins(event)) {
    before = std::exchange(bound, {});
    runs.clear();
    tally = SweepTally();
  }
  for (const std::string& id : before) state.index.task_sweeps[id].erase(event.sweep_id);
  for (const std::string& id : tasks) {
    state.index.task_sweeps[id].insert(event.sweep_id);
    CountIn(tally, state.tasks.at(id));
    bound.insert(bound.end(), id);
  }
  for (const std::string& id : before) CountLeft(state, state.tasks.at(id));
  for (const std::string& id : tasks) CountLeft(state, state.tasks.at(id));
  for (const PlannedRun& run : event.sweep.runs) runs.insert(run.run_key);
  if (!Begins(event)) {
    step.sweeps.push_back(PutSweepRuns{.sweep_id = event.sweep_id,
                                       .first_run = event.part->first_run,
                                       .runs = std::move(event.sweep.runs),
                                       .tasks = std::move(tasks),
                                       .axes_json = std::move(event.texts.axes_json)});
    return;
  }
  state.sweep_owner.try_emplace(event.sweep_id, event.owner);
  state.sweep_name.try_emplace(event.sweep_id, event.sweep.name);
  state.cancelled_sweeps.erase(event.sweep_id);
  state.paused_sweeps.erase(event.sweep_id);
  step.sweeps.push_back(PutSweep{.sweep_id = event.sweep_id,
                                 .sweep = std::move(event.sweep),
                                 .tasks = std::move(tasks),
                                 .texts = std::move(event.texts),
                                 .owner = std::move(event.owner)});
  if (event.part) step.sweeps.push_back(PutSubmitting{.sweep_id = event.sweep_id});
}

// While its run was damaged, and the training of its base was lost as well, a training forgot what
// it needs (store/mend.cc).
void RestoreNeeds(StepContext& step, Task& task) {
  const std::string base = step.state.runs.at(task.run_key).run.BaseKey();
  if (task.kind != TaskKind::kTrain || base.empty() || !task.needs.empty()) return;
  task.needs = TrainTaskKey(base);
  step.state.index.dependants[task.needs].insert(task.id);
  step.changed_tasks.insert(task.id);
  BlockUntilTrained(step, task);
}

// An order about the sweep is still under way.
Status CheckUnordered(const State& state, const std::string& sweep_id) {
  if (!state.order || state.order->sweep_id != sweep_id) return Status();
  return Status(Code::kFailedPrecondition,
                Str("`longrun ", EnumName(state.order->kind), "` of sweep ", sweep_id,
                    " is still going through its tasks: try again when it has ended"));
}

// Submissions come one after the other, and the parts of one in order.
Status CheckTurn(const State& state, const SweepSubmitted& event) {
  RETURN_IF_ERROR(CheckUnordered(state, event.sweep_id));
  if (Begins(event) ? state.submitting.empty()
                    : state.submitting == event.sweep_id && state.index.submission != nullptr) {
    return Status();
  }
  return Status(Code::kUnavailable, "another sweep is being submitted: try again");
}

void ForgetPart(Submission& plan) {
  plan.runs_to_store.clear();
  plan.new_tasks.clear();
  plan.new_cells.clear();
  plan.added.clear();
}

// The tasks that the part adds are not placed before the submission ends.
void NotePart(State& state, const SweepSubmitted& event,
              const std::shared_ptr<Submission>& submission) {
  state.submitting = event.sweep_id;
  state.index.submission = submission;
  for (const Task& task : submission->new_tasks) submission->created_tasks.insert(task.id);
}

// The tasks that would fail again in the same way.
void SkipFailed(StepContext& step, const Submission& plan) {
  for (const std::string& id : plan.failed) {
    const Task& task = step.state.tasks.at(id);
    if (task.state != TaskState::kBlocked) continue;
    // The evaluations of a training that is skipped itself go with it.
    const Task& needed = step.state.tasks.at(task.needs);
    if (IsTerminal(needed.state)) SkipDependants(step, needed);
  }
}

void MeasureAgain(StepContext& step, SweepSubmitted& event, const Submission& plan) {
  std::erase_if(event.stale, [&](const StaleResult& one) {
    return !plan.tasks.contains(one.task) || !MayRefresh(step.state, one);
  });
  for (const StaleResult& one : event.stale) TakePolicy(step.state.tasks.at(one.task), event.sweep);
  StartRefresh(step, std::move(event.stale));
}

// New tasks that need one that existed before.
template <typename Visit>
void ForEachCreatedDependant(const State& state, const Submission& plan, const Visit& visit) {
  for (const std::string& needed : plan.reused) {
    const auto dependants = state.index.dependants.find(needed);
    if (dependants == state.index.dependants.end()) continue;
    for (const std::string& id : dependants->second) {
      if (plan.created_tasks.contains(id)) visit(id);
    }
  }
}

// Since their parts came, tasks that existed before may have ended, and new ones that need them may
// have been skipped.
void JudgeAgain(const State& state, Submission& plan) {
  for (const std::string& id : plan.reused) {
    plan.retried.erase(id);
    plan.failed.erase(id);
  }
  for (const std::string& id : plan.reused) Judge(state, id, plan);
  ForEachCreatedDependant(state, plan, [&](const std::string& id) { Judge(state, id, plan); });
  plan.counts.tasks_retried = std::ssize(plan.retried);
  plan.counts.tasks_failed_for_good = std::ssize(plan.failed);
}

// The new tasks of the parts may be placed from now on.
void EndParts(StepContext& step, Submission& plan) {
  State& state = step.state;
  state.submitting.clear();
  state.index.submission.reset();
  step.sweeps.push_back(PutSubmitting{});
  for (auto& [name, of_plan] : plan.ready) {
    for (const ReadyClass::Key& key : of_plan.tasks) state.tasks.at(key.task).ready_class = name;
    const auto [ready, is_new] = state.index.ready.try_emplace(name, std::move(of_plan));
    if (is_new) continue;
    ready->second.tasks.merge(of_plan.tasks);
    ready->second.joined.insert(ready->second.joined.end(), of_plan.joined.begin(),
                                of_plan.joined.end());
  }
  for (const std::string& id : plan.ready_later) IndexReady(state, state.tasks.at(id), step.now);
  // What they needed may have succeeded since their part came.
  ForEachCreatedDependant(state, plan, [&](const std::string& id) {
    Task& task = state.tasks.at(id);
    if (task.state == TaskState::kReady && task.ready_class.empty()) {
      IndexReady(state, task, step.now);
    }
  });
  for (const auto& [id, kept] : state.index.kept) {
    if (plan.created_tasks.contains(id)) step.changed_tasks.insert(id);  // for AdoptKept
  }
}

// Prepares what EndParts does for a new task.
void PrepareReady(const State& state, const Task& task, Submission& plan) {
  // Otherwise other sweeps may decide how the run is computed.
  const bool is_decided =
      plan.created_runs.contains(task.run_key) || state.runs.at(task.run_key).execution.has_value();
  if (!is_decided || !WhyUnknown(state, task).empty()) {
    plan.ready_later.push_back(task.id);
    return;
  }
  ReadyClass wanted = ClassOf(state, task);
  std::string name = ClassName(wanted);
  ReadyClass& ready = plan.ready.try_emplace(std::move(name), std::move(wanted)).first->second;
  ready.tasks.insert(ReadyKey(state, task));
  ready.joined.push_back(task.id);
}

// Stores the new runs, and the current folders of datasets that were registered again elsewhere.
void PutRuns(StepContext& step, SweepSubmitted& event, const Submission& plan) {
  std::set<std::string> mended;  // runs that were damaged
  for (const PlannedRun* const run : plan.runs_to_store) {
    // A run that continues another must be executed as that one was, or its bits would differ.
    const auto parent = step.state.runs.find(run->run.parent);
    const auto damaged = step.state.runs.find(run->run_key);
    const std::optional<Execution> execution =
        damaged != step.state.runs.end()  ? damaged->second.execution
        : parent == step.state.runs.end() ? std::nullopt
                                          : parent->second.execution;
    if (damaged != step.state.runs.end()) mended.insert(run->run_key);
    step.state.runs[run->run_key] = {.run_key = run->run_key,
                                     .run = run->run,
                                     .dataset_name = run->dataset_name,
                                     .dataset_path = event.dataset_paths.at(run->dataset_name),
                                     .execution = execution};
    step.changed_runs.insert(run->run_key);
    const auto i = static_cast<std::size_t>(run - event.sweep.runs.data());
    if (i < event.texts.run_json.size()) {
      step.run_json[run->run_key] = std::move(event.texts.run_json[i]);
    }
  }
  for (const PlannedRun& run : event.sweep.runs) {
    RunRecord& record = step.state.runs.at(run.run_key);
    const auto path = event.dataset_paths.find(record.dataset_name);
    if (path == event.dataset_paths.end() || path->second == record.dataset_path) continue;
    if (!record.unknown.empty()) continue;  // not overwritten
    record.dataset_path = path->second;
    step.changed_runs.insert(run.run_key);
  }
  if (mended.empty()) return;
  for (auto& [id, task] : step.state.tasks) {
    if (!mended.contains(task.run_key)) continue;
    RestoreNeeds(step, task);
    if (task.state == TaskState::kReady) IndexReady(step.state, task, step.now);
  }
}

// All of the submission is planned: it takes up what was given up before.
void TryAgain(StepContext& step, const SweepSubmitted& event, Submission& plan) {
  if (event.part) JudgeAgain(step.state, plan);
  for (const std::string& id : plan.retried) TakePolicy(step.state.tasks.at(id), event.sweep);
  RetryGivenUp(step, plan.retried, "submitted again");
}

void AddTasks(StepContext& step, const SweepSubmitted& event, Submission& plan) {
  for (Task& task : plan.new_tasks) {
    task.owner = OwnerOfSweep(step.state, event);
    std::string reason =
        task.state == TaskState::kReady ? std::string("waits for a free slot") : WaitReason(task);
    const Task& added = AddTask(step, std::move(task), std::move(reason));
    if (event.part && added.state == TaskState::kReady) PrepareReady(step.state, added, plan);
  }
}

void PutCells(StepContext& step, const SweepSubmitted& event, Submission& plan) {
  for (const std::string& cell : event.unrecorded_cells) {
    if (const std::string* const owner = OwnerOf(step.state, event.known_cells, cell)) {
      plan.new_cells.emplace(cell, *owner);
    }
  }
  for (const std::string& cell : SortedKeys(plan.new_cells)) {
    const std::string& task = plan.new_cells.at(cell);
    step.state.cell_task[cell] = task;
    step.cells.push_back(PutCell{.cell = cell, .task = task});
  }
}

// All tasks of the submission are there, and from now on all of them may be placed.
void EndSubmission(StepContext& step, SweepSubmitted& event, Submission& plan) {
  State& state = step.state;
  SkipFailed(step, plan);
  MeasureAgain(step, event, plan);
  WantAgain(step, event.sweep, plan.reused);
  const bool any_paused = !state.paused_sweeps.empty();
  BindSweep(step, event, std::move(plan.added));
  if (event.part) EndParts(step, plan);
  if (any_paused) {
    for (const std::string& id : plan.reused) ReleaseIfActive(step, state.tasks.at(id));
  }
  if (event.first) HandleEvent(step, SweepPrioritized{.sweep_id = event.sweep_id});
}

}  // namespace

const std::string* OwnerOf(const State& state, const KnownCells& known_cells,
                           const std::string& cell) {
  if (const auto owner = state.cell_task.find(cell); owner != state.cell_task.end()) {
    return &owner->second;
  }
  // A cell that the store knew a moment ago may have been collected as garbage since.
  const auto owner = known_cells.find(cell);
  const bool is_known = owner != known_cells.end() && state.tasks.contains(owner->second);
  return is_known ? &owner->second : nullptr;
}

SubmitCounts PlanSubmission(const State& state, const Sweep& sweep, const KnownCells& known_cells) {
  Submission plan;
  AddToPlan(state, sweep, known_cells, plan);
  return plan.counts;
}

std::optional<std::size_t> TasksOfParts(const SweepSubmitted& event) {
  if (!event.stale.empty() || !event.unrecorded_cells.empty()) return std::nullopt;
  std::size_t n_tasks = 0;
  for (const PlannedRun& run : event.sweep.runs) {
    if (!event.dataset_paths.contains(run.dataset_name)) return std::nullopt;
    if (!run.run.parent.empty() || !run.run.BaseKey().empty()) return std::nullopt;
    n_tasks += 1 + run.evaluations.size();
  }
  return n_tasks;
}

bool MaySubmitInParts(const State& state, const SweepSubmitted& event, std::size_t n_tasks) {
  if (state.sweep_tasks.contains(event.sweep_id)) return false;
  if (state.tasks.size() + n_tasks > static_cast<std::size_t>(state.limits.tasks_max)) return false;
  if (event.owner.empty()) return true;
  for (const auto& [sweep, of] : state.sweep_owner) {
    if (of == event.owner) n_tasks += state.sweep_tasks.at(sweep).size();
  }
  const auto left = state.index.left.find(event.owner);
  if (left != state.index.left.end()) n_tasks += static_cast<std::size_t>(left->second);
  return n_tasks <= static_cast<std::size_t>(state.limits.owner_tasks_max);
}

std::vector<SweepSubmitted> InParts(SweepSubmitted event, std::size_t n_runs) {
  std::vector<PlannedRun> runs = std::exchange(event.sweep.runs, {});
  SweepTexts texts = std::exchange(event.texts, {});
  const KnownCells known_cells = std::exchange(event.known_cells, {});
  const auto take = [](auto& from, auto& to, std::size_t begin, std::size_t end) {
    if (from.size() < end) return;  // texts need not have been made
    to.assign(std::make_move_iterator(from.begin() + static_cast<std::ptrdiff_t>(begin)),
              std::make_move_iterator(from.begin() + static_cast<std::ptrdiff_t>(end)));
  };
  std::vector<SweepSubmitted> parts;
  for (std::size_t begin = 0; begin < runs.size(); begin += n_runs) {
    const std::size_t end = std::min(begin + n_runs, runs.size());
    SweepSubmitted& part = parts.emplace_back(event);
    part.part = {.first_run = static_cast<std::int64_t>(begin), .is_last = end == runs.size()};
    take(runs, part.sweep.runs, begin, end);
    part.texts.digest = texts.digest;
    take(texts.run_json, part.texts.run_json, begin, end);
    take(texts.axes_json, part.texts.axes_json, begin, end);
    for (const PlannedRun& run : part.sweep.runs) {
      for (const PlannedEvaluation& evaluation : run.evaluations) {
        for (const ExpectedCell& cell : evaluation.cells) {
          const auto known = known_cells.find(cell.cell);
          if (known != known_cells.end()) part.known_cells.insert(*known);
        }
      }
    }
    // The first part stores what the sweep is.
    if (begin == 0) {
      event.sweep.yaml.clear();
      event.sweep.overrides.clear();
    }
  }
  return parts;
}

bool IsBeingSubmitted(const State& state, const std::string& task) {
  return state.index.submission != nullptr && state.index.submission->created_tasks.contains(task);
}

Status CheckSubmitted(const State& state, const std::string& sweep_id) {
  if (!state.sweep_tasks.contains(sweep_id)) {
    return Status(Code::kNotFound,
                  Str("there is no sweep ", sweep_id, ": `longrun ls` shows all sweeps"));
  }
  RETURN_IF_ERROR(CheckUnordered(state, sweep_id));
  if (state.submitting != sweep_id) return Status();
  return Status(Code::kFailedPrecondition,
                Str("sweep ", sweep_id,
                    " is still being submitted: try again when `longrun submit` has ended"));
}

void HandleEvent(StepContext& step, SweepSubmitted& event) {
  State& state = step.state;
  step.result.status = CheckTurn(state, event);
  if (!step.result.status.ok()) return;
  const std::shared_ptr<Submission> submission =
      Begins(event) ? std::make_shared<Submission>() : state.index.submission;
  Submission& plan = *submission;
  ForgetPart(plan);
  AddToPlan(state, event.sweep, event.known_cells, plan);
  if (event.part) {  // never refused: MaySubmitInParts
    NotePart(state, event, submission);
  } else {
    step.result.status = Check(state, event, plan);
    if (!step.result.status.ok()) return;
  }
  PutRuns(step, event, plan);
  if (Ends(event)) TryAgain(step, event, plan);
  AddTasks(step, event, plan);
  PutCells(step, event, plan);
  if (Ends(event)) {
    EndSubmission(step, event, plan);
  } else {
    BindSweep(step, event, std::move(plan.added));
  }
  step.result.submit = plan.counts;
  if (event.part && Ends(event)) step.result.leftover = submission;
}

}  // namespace longrun::coordinator
