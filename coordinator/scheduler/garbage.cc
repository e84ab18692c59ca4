// Checkpoints that nothing will ask for again. A training that has succeeded needs its final
// checkpoint (every evaluation, and every run that continues it, starts there) and its best one;
// those between were there to resume from. A training that has not succeeded keeps all of its.
#include <algorithm>

#include "coordinator/scheduler/step.h"

namespace longrun {
namespace {

bool IsNeeded(const State& state, const Task& task, const CheckpointRef& checkpoint) {
  const auto same = [&](const std::optional<CheckpointRef>& other) {
    return other && other->sha256 == checkpoint.sha256;
  };
  if (same(task.final_checkpoint) || same(task.best_checkpoint)) return true;
  // An older attempt may still be at work with it.
  return std::ranges::any_of(
      state.index.live, [&](const std::string& id) { return same(state.attempts.at(id).resume); });
}

}  // namespace

void HandleEvent(StepContext& step, const GarbageWanted& event) {
  for (auto& [id, task] : step.state.tasks) {
    if (task.kind != TaskKind::kTrain || task.state != TaskState::kSucceeded) continue;
    std::vector<CheckpointRef> kept;
    for (const CheckpointRef& checkpoint : task.checkpoints) {
      if (IsNeeded(step.state, task, checkpoint)) {
        kept.push_back(checkpoint);
        continue;
      }
      step.result.garbage.push_back(
          {.task = id, .step = checkpoint.step, .sha256 = checkpoint.sha256});
    }
    if (event.dry_run || kept.size() == task.checkpoints.size()) continue;
    task.checkpoints = std::move(kept);
    step.changed_tasks.insert(id);
  }
  if (event.dry_run) return;
  for (const GarbageCheckpoint& one : step.result.garbage) {
    step.drops.push_back(DropCheckpoint{.task = one.task, .sha256 = one.sha256});
  }
}

}  // namespace longrun
