// Broken slots: a GPU on which every trainer crashes would otherwise spend the budgets of all tasks.
//
// A slot is in doubt once kDoubtful different tasks in a row have failed there in a way that can be
// the device's fault (FailureRow::blames_slot). That alone proves nothing, since a sweep may be
// wrong: while another slot could take the tasks, the slot only pauses, longer after each further
// failure. It is quarantined when one of these tasks does better on another slot. Then it gets
// nothing new until an operator releases it.
#include <algorithm>
#include <utility>

#include "base/str.h"
#include "coordinator/scheduler/step.h"

namespace longrun::coordinator {
namespace {

constexpr std::size_t kDoubtful = 3;
constexpr std::int64_t kPauseMs = 60'000, kPauseMsMax = 600'000;

std::int64_t Done(const Attempt& attempt) {
  return attempt.progress ? attempt.progress->done.value_or(0) : 0;
}

// Where the task's newest attempt did better than the failed one did; null: nowhere.
const Attempt* BetterElsewhere(const State& state, const std::string& worker, std::int64_t index,
                               const SlotFailure& failure) {
  const auto task = state.tasks.find(failure.task);
  if (task == state.tasks.end()) return nullptr;
  const auto found = state.attempts.find(task->second.attempt);
  if (found == state.attempts.end()) return nullptr;
  const Attempt& attempt = found->second;
  const bool is_better = attempt.state == AttemptState::kSucceeded ||
                         (attempt.state == AttemptState::kRunning && Done(attempt) > failure.done);
  if (!is_better || attempt.device_index < 0) return nullptr;
  if (attempt.worker == worker && attempt.device_index == index) return nullptr;
  const auto there = state.workers.find(attempt.worker);
  if (there == state.workers.end()) return nullptr;
  const auto slot = std::ranges::find(there->second.slots, attempt.device_index, &Slot::index);
  if (slot == there->second.slots.end()) return nullptr;
  // More memory would explain why the task does better there.
  return slot->memory_bytes <= failure.memory_bytes ? &attempt : nullptr;
}

bool IsDoubtful(const Worker& worker, std::int64_t index) {
  const auto failures = worker.slot_failures.find(index);
  return failures != worker.slot_failures.end() && failures->second.size() >= kDoubtful;
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

void Isolate(StepContext& step, Worker& worker, std::int64_t index, const Attempt& better) {
  const SlotFailure& last = worker.slot_failures.at(index).back();
  const std::string reason =
      Str(worker.slot_failures.at(index).size(), " tasks in a row failed here, and task ",
          ShortId(better.task), " did better on slot ", better.device_index, " of worker ",
          better.worker, "; the last one ended as ", last.failure_class, ": ", last.message);
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
  std::vector<SlotFailure>& failures = worker.slot_failures[attempt.device_index];
  std::erase_if(failures, [&](const SlotFailure& one) { return one.task == attempt.task; });
  failures.push_back({.task = attempt.task,
                      .done = Done(attempt),
                      .memory_bytes = slot->memory_bytes,
                      .failure_class = attempt.failure_class,
                      .message = attempt.message});
  if (failures.size() < kDoubtful) return;
  step.state.index.doubtful.insert({worker.id, attempt.device_index});
  if (!SoundSlotFits(step.state, TaskOf(step.state, attempt))) return;
  std::int64_t pause_ms = kPauseMs;
  for (std::size_t n = kDoubtful; n < failures.size() && pause_ms < kPauseMsMax; ++n) pause_ms *= 2;
  worker.refused_until[attempt.device_index] = step.now + std::min(pause_ms, kPauseMsMax);
}

void ForgetSlotFailures(State& state, const std::string& worker, std::int64_t index) {
  state.index.doubtful.erase({worker, index});
  const auto found = state.workers.find(worker);
  if (found != state.workers.end()) found->second.slot_failures.erase(index);
}

void JudgeDoubtfulSlots(StepContext& step) {
  auto& doubtful = step.state.index.doubtful;
  for (auto it = doubtful.begin(); it != doubtful.end();) {
    const auto& [id, index] = *it;
    const auto found = step.state.workers.find(id);
    if (found == step.state.workers.end() || !found->second.slot_failures.contains(index)) {
      it = doubtful.erase(it);
      continue;
    }
    Worker& worker = found->second;
    const Attempt* better = nullptr;
    for (const SlotFailure& failure : worker.slot_failures.at(index)) {
      better = BetterElsewhere(step.state, id, index, failure);
      if (better != nullptr) break;
    }
    if (better == nullptr) {
      ++it;
      continue;
    }
    Isolate(step, worker, index, *better);
    worker.slot_failures.erase(index);
    it = doubtful.erase(it);
  }
}

void ForgetChangedSlots(Worker& worker, const std::vector<Slot>& slots) {
  const auto is_changed = [&](const auto& entry) {
    const auto of_index = [&](const Slot& slot) { return slot.index == entry.first; };
    const auto was = std::ranges::find_if(worker.slots, of_index);
    const auto is = std::ranges::find_if(slots, of_index);
    return was == worker.slots.end() || is == slots.end() || was->kind != is->kind ||
           was->name != is->name;
  };
  std::erase_if(worker.quarantined, is_changed);
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
