// Pausing a sweep: its tasks wait until the sweep is resumed; running ones are asked to stop with a
// checkpoint, and this counts as nothing. Tasks that an active sweep wants as well go on.
//
// A task is held if paused sweeps want it, and no other sweep does. That follows from its sweeps,
// so it is not stored: a held task is READY or BLOCKED, and IndexReady leaves it out.
#include <vector>

#include "base/str.h"
#include "coordinator/scheduler/paused_text.h"
#include "coordinator/scheduler/step.h"

namespace longrun::coordinator {
namespace {

constexpr std::string_view kPausedPrefix = "paused: `longrun resume ";

Status CheckSweep(const State& state, const std::string& id, std::size_t n_tasks_max) {
  RETURN_IF_ERROR(CheckOrder(state, id, n_tasks_max));
  if (!state.cancelled_sweeps.contains(id)) return Status();
  return Status(Code::kFailedPrecondition,
                Str("sweep ", id, " was cancelled: `longrun retry ", id, "` continues it"));
}

}  // namespace

const std::string* HoldingSweep(const State& state, const std::string& task) {
  if (state.paused_sweeps.empty()) return nullptr;
  const auto sweeps = state.index.task_sweeps.find(task);
  if (sweeps == state.index.task_sweeps.end()) return nullptr;
  const std::string* holding = nullptr;
  for (const std::string& id : sweeps->second) {
    // One that is being submitted releases no paused task before its last part.
    if (state.cancelled_sweeps.contains(id) || id == state.submitting) continue;
    if (!state.paused_sweeps.contains(id)) return nullptr;
    holding = &id;
  }
  return holding;
}

bool IsHeld(const State& state, const std::string& task) {
  return HoldingSweep(state, task) != nullptr;
}

std::string HoldReason(const State& state, const std::string& task) {
  const std::string* const sweep = HoldingSweep(state, task);
  if (sweep == nullptr) return "";
  return PausedText(*sweep);
}

std::string PausedText(const std::string& sweep) {
  return Str(kPausedPrefix, sweep, "` continues it");
}

bool IsPausedText(std::string_view text) { return text.starts_with(kPausedPrefix); }

void HoldIfPaused(StepContext& step, Task& task) {
  if (IsTerminal(task.state) || task.cancel_wanted) return;
  const std::string reason = HoldReason(step.state, task.id);
  if (reason.empty()) return;
  if (task.state == TaskState::kReady || task.state == TaskState::kBlocked) {
    if (task.state == TaskState::kReady) {
      UnindexReady(step.state, task);
      task.reason = reason;
      step.changed_tasks.insert(task.id);
    }
    step.result.pause.held += 1;
    return;
  }
  step.result.pause.stopping += 1;
  if (task.state == TaskState::kStopping) return;
  MoveTask(step, task, TaskState::kStopping, reason);
  SendStopTo(step, step.state.attempts.at(task.attempt), reason);
}

void ReleaseIfActive(StepContext& step, Task& task) {
  const State& state = step.state;
  const bool is_indexed =
      !task.ready_class.empty() || state.index.waiting.contains({task.not_before, task.id});
  // After a restart it is indexed, and may still say that it is paused.
  if (task.state != TaskState::kReady || (is_indexed && !IsPausedText(task.reason))) return;
  if (!HoldReason(state, task.id).empty() || !WhyUnknown(state, task).empty()) return;
  task.reason = "waits for a free slot";
  step.changed_tasks.insert(task.id);
  if (!is_indexed) IndexReady(step.state, task, step.now);
}

void HandleEvent(StepContext& step, const SweepPaused& event) {
  State& state = step.state;
  step.result.status = CheckSweep(state, event.sweep_id, event.n_tasks_max);
  if (!step.result.status.ok()) return;
  if (!IsActiveSweep(state, event.sweep_id)) {
    step.result.status =
        Status(Code::kFailedPrecondition,
               Str("sweep ", event.sweep_id, " has already ended (",
                   SweepStateName(state, event.sweep_id), "): there is nothing to pause"));
    return;
  }
  step.result.pause.was_paused = !state.paused_sweeps.insert(event.sweep_id).second;
  if (!step.result.pause.was_paused) {
    step.sweeps.push_back(PutSweepDesired{.sweep_id = event.sweep_id, .desired = Desired::kPaused});
  }
  BeginOrder(step, {.kind = OrderKind::kPause, .sweep_id = event.sweep_id}, event.n_tasks_max);
}

void HandleEvent(StepContext& step, const SweepResumed& event) {
  State& state = step.state;
  step.result.status = CheckSweep(state, event.sweep_id, event.n_tasks_max);
  if (!step.result.status.ok() || state.paused_sweeps.erase(event.sweep_id) == 0) return;
  step.sweeps.push_back(PutSweepDesired{.sweep_id = event.sweep_id, .desired = Desired::kActive});
  BeginOrder(step, {.kind = OrderKind::kResume, .sweep_id = event.sweep_id}, event.n_tasks_max);
}

}  // namespace longrun::coordinator
