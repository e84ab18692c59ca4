// Checkpoints that nothing will ask for again. A training that has succeeded needs its final
// checkpoint (every evaluation, and every run that continues it, starts there) and its best one;
// those between were there to resume from. A training that has not succeeded keeps all that it may
// resume from, and its best one; what an attempt wrote that has been left behind is neither.
#include <algorithm>

#include "coordinator/scheduler/step.h"

namespace longrun {
namespace {

// What live attempts started from: an older attempt may still be at work with it.
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

}  // namespace

void HandleEvent(StepContext& step, const GarbageWanted& event) {
  const std::set<std::string> in_use = InUse(step.state);
  for (const StoredCheckpoint& candidate : event.candidates) {
    const auto found = step.state.tasks.find(candidate.task);
    if (found == step.state.tasks.end() || found->second.kind != TaskKind::kTrain) continue;
    Task& task = found->second;
    if (!task.unknown.empty()) continue;  // which of them it needs cannot be read
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

}  // namespace longrun
