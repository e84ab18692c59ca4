// Names, derived states, and the indexes that are rebuilt after the tables have been loaded.
#include <algorithm>

#include "base/check.h"
#include "coordinator/scheduler/step.h"

namespace longrun::coordinator {

bool IsTerminal(TaskState state) { return state >= TaskState::kSucceeded; }
bool IsLive(AttemptState state) { return state < AttemptState::kSucceeded; }

bool IsActiveSweep(const State& state, const std::string& sweep_id) {
  if (sweep_id == state.submitting) return true;  // tasks are still to come
  const bool is_retried = state.order && state.order->kind == OrderKind::kRetry;
  if (is_retried && state.order->sweep_id == sweep_id) return true;
  const SweepTally& tally = state.index.tallies.at(sweep_id);
  const std::int64_t n_to_come =
      tally.of(TaskState::kBlocked) + tally.of(TaskState::kReady) + NumberRunning(tally);
  return !state.cancelled_sweeps.contains(sweep_id) && n_to_come > 0;
}

std::string_view SweepStateName(const State& state, const std::string& sweep_id) {
  const SweepTally& tally = state.index.tallies.at(sweep_id);
  if (IsActiveSweep(state, sweep_id)) {
    if (state.paused_sweeps.contains(sweep_id)) return "PAUSED";
    return NumberRunning(tally) > 0 ? "RUNNING" : "PENDING";
  }
  const std::int64_t n_succeeded = tally.of(TaskState::kSucceeded);
  if (n_succeeded == std::ssize(state.sweep_tasks.at(sweep_id))) return "SUCCEEDED";
  if (state.cancelled_sweeps.contains(sweep_id)) return "CANCELLED";
  return n_succeeded > 0 ? "PARTIAL" : "FAILED";
}

std::int64_t NumberRunning(const SweepTally& tally) {
  return tally.of(TaskState::kReserved) + tally.of(TaskState::kRunning) +
         tally.of(TaskState::kStopping);
}

void CountIn(SweepTally& tally, const Task& task) {
  tally.n[static_cast<std::size_t>(task.state)] += 1;
  // A damaged task's count may be wrong.
  if (task.attempts > 0 || task.damaged) tally.begun.insert(task.id);
}

bool HasSweep(const State& state, const std::string& task) {
  const auto sweeps = state.index.task_sweeps.find(task);
  return sweeps != state.index.task_sweeps.end() && !sweeps->second.empty();
}

bool OnlyCancelledSweepsHave(const State& state, const std::string& task) {
  const auto sweeps = state.index.task_sweeps.find(task);
  return sweeps != state.index.task_sweeps.end() && !sweeps->second.empty() &&
         std::ranges::all_of(sweeps->second, [&](const std::string& id) {
           return state.cancelled_sweeps.contains(id);
         });
}

std::string NewestSweepOf(const State& state, const std::string& task) {
  const auto sweeps = state.index.task_sweeps.find(task);
  const bool has_none = sweeps == state.index.task_sweeps.end() || sweeps->second.empty();
  return has_none ? "" : *sweeps->second.rbegin();
}

void CountLeft(State& state, Task& task) {
  const bool is_left = !HasSweep(state, task.id);
  if (is_left == task.is_left) return;
  task.is_left = is_left;
  std::int64_t& n_left = state.index.left[task.owner];
  n_left += is_left ? 1 : -1;
  if (n_left == 0) state.index.left.erase(task.owner);
}

bool FailedForGood(const State& state, const Task& task) {
  if (task.state == TaskState::kSucceeded) return false;
  const Task* failed =
      &task;  // or the one that it needs, which may have been skipped or cancelled itself
  while (true) {
    const auto needed = state.tasks.find(failed->needs);
    if (needed == state.tasks.end()) break;
    const TaskState of_needed = needed->second.state;
    if (!IsTerminal(of_needed) || of_needed == TaskState::kSucceeded) break;
    failed = &needed->second;
  }
  const auto attempt = state.attempts.find(failed->attempt);
  return failed->state == TaskState::kFailed && attempt != state.attempts.end() &&
         attempt->second.failure_class == FailureOf(FailureClass::kNumerical).name;
}

std::string WhyUnknown(const State& state, const Task& task) {
  if (IsTerminal(task.state)) return "";
  const std::string& of_run = state.runs.at(task.run_key).unknown;
  return of_run.empty() ? task.unknown : of_run;
}

void AfterLoad(State& state, Instant now, std::uint64_t seed, bool restored) {
  state.booted_at = now;
  state.last_event_at = now;
  state.place_not_before = restored ? now + state.limits.lease_ms : now;
  state.random = SeededRandom(seed);
  state.index = Index{};
  for (auto& [id, worker] : state.workers) {
    worker.session.reset();
    worker.last_session = 0;
    worker.heard_at = now;
    worker.lost = false;
    worker.silence_noted = false;
    worker.refused_folder.clear();
    // Since the backup, another one may have taken its place.
    if (restored) worker.folder_id.clear();
    worker.busy.clear();
    worker.pauses.clear();
    worker.slot_failures.clear();
    worker.no_room.clear();
  }
  for (auto& [id, attempt] : state.attempts) {
    attempt.offered_at = now;
    attempt.listed_at = now;
    attempt.recorded_at = now;
    if (IsLive(attempt.state)) {
      NoteLive(state.index, attempt);
      if (attempt.execution != nullptr) {
        state.index.offered[state.tasks.at(attempt.task).run_key].insert(id);
      }
    } else {
      NoteEnded(state.index, attempt);
    }
  }
  for (const auto& [id, attempt] : state.attempts) {
    if (attempt.durable_seq > 0) NoteBegun(state.index, attempt);
  }
  for (const auto& [sweep_id, tasks] : state.sweep_tasks) {
    SweepTally& tally = state.index.tallies[sweep_id];
    for (const std::string& task : tasks) {
      state.index.task_sweeps[task].insert(sweep_id);
      CountIn(tally, state.tasks.at(task));
    }
  }
  for (auto& [id, task] : state.tasks) {
    state.next_ready_seq = std::max(state.next_ready_seq, task.ready_seq + 1);
    NoteNeeds(state.index, task);
    task.is_left = false;
    CountLeft(state, task);
    task.not_before = 0;
    task.ready_class.clear();
    task.too_large_for.clear();
    if (task.state == TaskState::kReady) IndexReady(state, task, now);
  }
}

}  // namespace longrun::coordinator
