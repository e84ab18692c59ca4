// See mend.h.
#include "coordinator/store/mend.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/str.h"
#include "coordinator/scheduler/scheduler.h"
#include "sweeps/sweep.h"

namespace longrun::coordinator {
namespace {

constexpr std::string_view kTaskDamaged = "the stored row of this task is damaged";
constexpr std::string_view kAttemptDamaged =
    "tried again: the stored row of its newest attempt is damaged";
// The policy of a training whose own is lost: the default of a sweep file.
constexpr std::int64_t kCheckpointEveryMs = 600'000;
constexpr std::int64_t kCheckpointKeep = 2;

// Adds a run that something refers to, if only to report that it is damaged.
void NeedRun(State& state, const std::string& run_key, Mended& mended) {
  const auto [run, added] = state.runs.try_emplace(run_key);
  if (!added) return;
  mended.lost.push_back(DescribeLostObject("run", run_key));
  run->second.run_key = run_key;
  run->second.unknown = kRunDamaged;
  run->second.damaged = true;
}

// The run defines its training, so `retry` can start it again although its row is damaged.
void NeedTraining(State& state, const std::string& id, const std::string& run_key, Mended& mended) {
  const auto [task, added] = state.tasks.try_emplace(id);
  if (!added) return;
  mended.lost.push_back(DescribeLostObject("task", id));
  task->second.id = id;
  task->second.run_key = run_key;
  task->second.kind = TaskKind::kTrain;
  task->second.state = TaskState::kFailed;
  task->second.reason = Str(kTaskDamaged, ": train it again with `longrun retry ",
                            run_key.substr(0, 8), "`, or restore a backup");
  task->second.damaged = true;
  task->second.checkpoint_every_ms = kCheckpointEveryMs;
  task->second.checkpoint_keep = kCheckpointKeep;
}

void NeedTrainings(State& state, Mended& mended) {
  std::vector<std::pair<std::string, std::string>> wanted;  // task, run
  std::vector<std::string> orphans;                         // runs that continue a missing training
  for (auto& [id, task] : state.tasks) {
    if (task.needs.empty() || state.tasks.contains(task.needs)) continue;
    const bool is_training = task.kind == TaskKind::kTrain;
    const std::string run_key =
        is_training ? state.runs.at(task.run_key).run.BaseKey() : task.run_key;
    if (run_key.empty()) {
      task.needs.clear();  // its run is damaged as well, so it is not placed
    } else {
      wanted.emplace_back(task.needs, run_key);
    }
  }
  for (const auto& [key, run] : state.runs) {
    const std::string& parent = run.run.parent;
    if (!parent.empty() && !state.tasks.contains(TrainTaskKey(parent))) orphans.push_back(key);
  }
  for (const std::string& key : orphans) {
    RunRecord& run = state.runs.at(key);
    wanted.emplace_back(TrainTaskKey(run.run.parent), run.run.parent);
    run.unknown = Str("the stored data of run ", run.run.parent.substr(0, 8),
                      ", from which it continues, is damaged");
    run.damaged = true;
  }
  for (const auto& [id, run_key] : wanted) {
    NeedRun(state, run_key, mended);
    NeedTraining(state, id, run_key, mended);
  }
}

// Ends the measuring again of a task that has numbers.
void KeepNumbers(Task& task, std::string_view why) {
  task.state = TaskState::kSucceeded;
  task.reason = Str("keeps its earlier numbers, which were not measured again: ", why);
  task.cancel_wanted = false;
  task.earlier.clear();
}

// Skips the tasks that need the weights of a training whose row is damaged, and those that need
// theirs.
void SkipWhatNeeds(State& state) {
  std::set<std::string> lost;
  for (const auto& [id, task] : state.tasks) {
    const bool is_damaged =
        task.state == TaskState::kFailed && task.reason.starts_with(kTaskDamaged);
    if (is_damaged) lost.insert(id);
  }
  for (std::size_t n_before = 0; n_before != lost.size();) {
    n_before = lost.size();
    for (auto& [id, task] : state.tasks) {
      const bool waits = task.state == TaskState::kReady || task.state == TaskState::kBlocked;
      if (!waits || !lost.contains(task.needs)) continue;
      const Task& training = state.tasks.at(task.needs);
      const std::string why = Str(
          "the training it needs (task ", task.needs.substr(0, 8), ") ",
          training.state == TaskState::kSkipped ? "was skipped: " : "failed: ", training.reason);
      if (IsRefreshing(task)) {
        KeepNumbers(task, why);
        continue;
      }
      task.state = TaskState::kSkipped;
      task.reason = why;
      lost.insert(id);
    }
  }
}

void MendTask(State& state, Task& task) {
  const auto attempt = state.attempts.find(task.attempt);
  const bool is_there = attempt != state.attempts.end();
  const bool is_at_work = task.state == TaskState::kReserved || task.state == TaskState::kRunning ||
                          task.state == TaskState::kStopping;
  if (is_at_work && !(is_there && IsLive(attempt->second.state))) {
    if (task.cancel_wanted && IsRefreshing(task)) {
      KeepNumbers(task, kAttemptDamaged);
    } else {
      task.state = task.cancel_wanted ? TaskState::kCancelled : TaskState::kReady;
      task.reason = kAttemptDamaged;
    }
  }
  if (!is_there) task.attempt.clear();
}

}  // namespace

Mended MendReferences(State& state) {
  Mended mended;
  for (const auto& [sweep_id, tasks] : state.sweep_tasks) state.sweep_runs[sweep_id];
  for (const auto& [sweep_id, runs] : state.sweep_runs) {
    for (const std::string& run_key : runs) NeedRun(state, run_key, mended);
  }
  for (const auto& [id, task] : state.tasks) NeedRun(state, task.run_key, mended);
  NeedTrainings(state, mended);
  // An attempt without its task can send nothing any more, but its epoch stays used.
  std::erase_if(state.attempts, [&](const auto& entry) {
    const Attempt& attempt = entry.second;
    const auto task = state.tasks.find(attempt.task);
    if (task == state.tasks.end() && IsLive(attempt.state)) mended.ended.push_back(entry.first);
    if (task != state.tasks.end()) {
      task->second.epoch = std::max(task->second.epoch, attempt.epoch);
      task->second.attempts = std::max(task->second.attempts, attempt.n);
      return false;
    }
    state.epoch_floor = std::max(state.epoch_floor, attempt.epoch);
    return true;
  });
  for (auto& [id, task] : state.tasks) MendTask(state, task);
  for (auto& [id, attempt] : state.attempts) {
    if (!IsLive(attempt.state) || state.tasks.at(attempt.task).attempt == id) continue;
    attempt.state = AttemptState::kLost;
    mended.ended.push_back(id);
  }
  SkipWhatNeeds(state);
  for (auto& [sweep_id, tasks] : state.sweep_tasks) {
    std::erase_if(tasks, [&](const std::string& id) {
      if (state.tasks.contains(id)) return false;
      mended.lost.push_back(DescribeLostObject("task", id));
      return true;
    });
  }
  for (const auto& [id, attempt] : state.attempts) {
    if (!IsLive(attempt.state) || state.workers.contains(attempt.worker)) continue;
    state.workers[attempt.worker].id = attempt.worker;
  }
  return mended;
}

}  // namespace longrun::coordinator
