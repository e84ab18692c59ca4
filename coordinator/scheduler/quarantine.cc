// Broken slots: a GPU on which each trainer crashes would otherwise spend the budgets of all tasks.
//
// A slot is in doubt once kDoubtful different tasks in a row have failed there in a way that can be
// the device's fault (FailureRow::blames_slot). That alone proves nothing, since a sweep may be
// wrong: while another slot could take the tasks, the slot only pauses, longer after each further
// failure. It is quarantined when one of these tasks succeeds on another slot. Then it gets nothing
// new until an operator releases it.
#include <algorithm>
#include <utility>

#include "base/str.h"
#include "coordinator/scheduler/step.h"

namespace longrun::coordinator {
namespace {

constexpr std::size_t kDoubtful = 3;
constexpr std::int64_t kPauseMs = 60'000, kPauseMsMax = 600'000;

// More failures in a row are only counted.
constexpr std::size_t kRemembered = 16;

// The task's attempt that succeeded on another slot; null: there is none.
const Attempt* SuccessElsewhere(const State& state, const std::string& worker, std::int64_t index,
                                const SlotFailure& failure) {
  const auto task = state.tasks.find(failure.task);
  if (task == state.tasks.end()) return nullptr;
  const auto found = state.attempts.find(task->second.attempt);
  if (found == state.attempts.end()) return nullptr;
  const Attempt& attempt = found->second;
  if (attempt.state != AttemptState::kSucceeded || attempt.device_index < 0) return nullptr;
  if (attempt.worker == worker && attempt.device_index == index) return nullptr;
  const auto there = state.workers.find(attempt.worker);
  if (there == state.workers.end()) return nullptr;
  const auto slot = std::ranges::find(there->second.slots, attempt.device_index, &Slot::index);
  if (slot == there->second.slots.end()) return nullptr;
  // More memory would explain why the task succeeds there.
  return slot->memory_bytes <= failure.memory_bytes ? &attempt : nullptr;
}

bool IsDoubtful(const Worker& worker, std::int64_t index) {
  const auto failures = worker.slot_failures.find(index);
  return failures != worker.slot_failures.end() && failures->second.last.size() >= kDoubtful;
}

// Whether a slot that is not in doubt fits the task, now or when it is free.
bool SoundSlotFits(const State& state, const Task& task) {
  return std::ranges::any_of(state.workers, [&](const auto& entry) {
    const Worker& worker = entry.second;
    if (!TakesWork(worker)) return false;
    return std::ranges::any_of(worker.slots, [&](const Slot& slot) {
      return !IsDoubtful(worker, slot.index) && FitsSlot(state, task, worker, slot);
    });
  });
}

void Isolate(StepContext& step, Worker& worker, std::int64_t index, const Attempt& success) {
  const SlotFailures& failures = worker.slot_failures.at(index);
  const SlotFailure& last = failures.last.back();
  const std::string reason =
      Str(failures.n, " attempts in a row failed here, and task ", ShortId(success.task),
          " succeeded on slot ", success.device_index, " of worker ", success.worker,
          "; the last failure was ", last.failure_class, ": ", last.message);
  worker.quarantined[index] = {.reason = reason, .since_wall_ms = step.wall_ms};
  step.result.warnings.push_back(Str("slot ", index, " of worker ", worker.id,
                                     " is quarantined and gets nothing new: ", reason));
  step.state.index.workers_version += 1;
  step.changed_workers.insert(worker.id);
}

}  // namespace

void NoteSlotFailure(StepContext& step, const Attempt& attempt) {
  const auto found = step.state.workers.find(attempt.worker);
  if (found == step.state.workers.end() || attempt.device_index < 0) return;
  Worker& worker = found->second;
  const auto slot = std::ranges::find(worker.slots, attempt.device_index, &Slot::index);
  if (slot == worker.slots.end()) return;
  SlotFailures& failures = worker.slot_failures[attempt.device_index];
  failures.n += 1;
  std::erase_if(failures.last, [&](const SlotFailure& one) { return one.task == attempt.task; });
  failures.last.push_back({.task = attempt.task,
                           .memory_bytes = slot->memory_bytes,
                           .failure_class = attempt.failure_class,
                           .message = attempt.message});
  if (failures.last.size() > kRemembered) failures.last.erase(failures.last.begin());
  if (failures.last.size() < kDoubtful) return;
  step.state.index.doubtful.insert({worker.id, attempt.device_index});
  step.judges_slots = true;
  if (!SoundSlotFits(step.state, TaskOf(step.state, attempt))) return;
  std::int64_t pause_ms = kPauseMs;
  for (std::int64_t n = kDoubtful; n < failures.n && pause_ms < kPauseMsMax; ++n) pause_ms *= 2;
  worker.pauses[attempt.device_index] = {.until = step.now + std::min(pause_ms, kPauseMsMax)};
}

void ForgetSlotFailures(State& state, const std::string& worker, std::int64_t index) {
  state.index.doubtful.erase({worker, index});
  const auto found = state.workers.find(worker);
  if (found != state.workers.end()) found->second.slot_failures.erase(index);
}

void JudgeDoubtfulSlots(StepContext& step) {
  if (!step.judges_slots) return;
  auto& doubtful = step.state.index.doubtful;
  for (auto it = doubtful.begin(); it != doubtful.end();) {
    const auto& [id, index] = *it;
    const auto found = step.state.workers.find(id);
    if (found == step.state.workers.end() || !found->second.slot_failures.contains(index)) {
      it = doubtful.erase(it);
      continue;
    }
    Worker& worker = found->second;
    const Attempt* success = nullptr;
    for (const SlotFailure& failure : worker.slot_failures.at(index).last) {
      success = SuccessElsewhere(step.state, id, index, failure);
      if (success != nullptr) break;
    }
    if (success == nullptr) {
      ++it;
      continue;
    }
    Isolate(step, worker, index, *success);
    worker.slot_failures.erase(index);
    it = doubtful.erase(it);
  }
}

void ForgetChangedSlots(Worker& worker, const Worker& now) {
  const auto is_changed = [&](const auto& entry) {
    const auto of_index = [&](const Slot& slot) { return slot.index == entry.first; };
    const auto was = std::ranges::find_if(worker.slots, of_index);
    const auto is = std::ranges::find_if(now.slots, of_index);
    return worker.host != now.host || was == worker.slots.end() || is == now.slots.end() ||
           was->kind != is->kind || was->name != is->name;
  };
  std::erase_if(worker.quarantined, is_changed);
  std::erase_if(worker.slot_failures, is_changed);
}

void HandleEvent(StepContext& step, const SlotReleased& event) {
  const auto found = step.state.workers.find(event.worker);
  if (found == step.state.workers.end()) {
    step.result.status = UnknownWorker(event.worker);
    return;
  }
  Worker& worker = found->second;
  const auto is_meant = [&](const auto& entry) {
    return !event.index || *event.index == entry.first;
  };
  for (const auto& [index, quarantine] : worker.quarantined) {
    if (!event.index || *event.index == index) worker.pauses.erase(index);
  }
  if (std::erase_if(worker.quarantined, is_meant) == 0) {
    step.result.status =
        Status(Code::kFailedPrecondition,
               Str(event.index ? Str("slot ", *event.index, " of worker ") : std::string("worker "),
                   event.worker, event.index ? " is not quarantined" : " has no quarantined slot",
                   ": `longrun workers` shows which slots are"));
    return;
  }
  step.state.index.workers_version += 1;
  step.changed_workers.insert(worker.id);
}

}  // namespace longrun::coordinator
