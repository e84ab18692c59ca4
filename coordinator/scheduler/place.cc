// Placement: which ready task gets which free slot (fit.cc: which slots can run it). The order is
// total and every tie is broken by an id, so that the same state always gives the same placement.
//
// Tasks that the same slots can run are in one ReadyClass: slots are checked once per class, and
// only for classes whose first task may be the next.
#include <algorithm>
#include <limits>
#include <map>
#include <set>
#include <string_view>
#include <tuple>
#include <utility>

#include "base/str.h"
#include "coordinator/scheduler/step.h"
#include "sweeps/cost.h"
#include "sweeps/evaluated_dataset.h"

namespace longrun::coordinator {
namespace {

// The worker that has the checkpoint from which the task starts, or "".
std::string HomeOf(const State& state, const Task& task) {
  const CheckpointRef* from = nullptr;
  if (!task.checkpoints.empty()) {
    from = &task.checkpoints.back();
  } else if (const auto training = state.tasks.find(task.needs); training != state.tasks.end()) {
    if (training->second.final_checkpoint) from = &*training->second.final_checkpoint;
  }
  if (from == nullptr) return "";
  const auto attempt = state.attempts.find(from->attempt);
  return attempt == state.attempts.end() ? std::string() : attempt->second.worker;
}

// Which free slots fit a class, looked up once in a step. There may be thousands of slots, most of
// them busy, or of no use to the class: it walks the shorter of the two lists that are kept.
class FittingSlots {
 public:
  FittingSlots(State& state, const Moment& moment) : state_(state), moment_(moment) {
    Index& index = state.index;
    if (index.idle_version == index.workers_version) return;
    index.idle_version = index.workers_version;
    index.idle.clear();
    for (const auto& [id, worker] : state.workers) IndexIdle(state, worker);
  }

  bool empty() const { return state_.index.idle.empty(); }
  const std::vector<FreeSlot>& Of(const std::string& name, const ReadyClass& ready) {
    const auto [found, is_new] = of_class_.try_emplace(name);
    if (!is_new) return found->second;
    // Both lists have the slots of a worker one after the other.
    const Worker* asked = nullptr;
    std::optional<std::int64_t> left_ms;
    const auto add = [&](const Worker& worker, const Slot& slot) {
      if (asked != &worker) {
        asked = &worker;
        left_ms = HasNoRoom(worker, ready, moment_.now) ? std::nullopt
                                                        : TimeForWork(state_, worker, moment_);
      }
      if (!left_ms || !IsFree(worker, slot, moment_.now)) return;
      found->second.push_back({.worker = &worker, .slot = &slot, .left_ms = *left_ms});
    };
    constexpr std::size_t kFewIdle = 64;  // not worth the search for all that fit
    const std::size_t n_idle = state_.index.idle.size();
    const std::vector<FittingSlotsOf::At>* const fitting =
        n_idle <= kFewIdle ? nullptr : AllFitting(state_, name, ready);
    if (fitting != nullptr && fitting->size() <= n_idle) {
      for (const auto& [worker, slot] : *fitting) add(*worker, worker->slots[slot]);
      return found->second;
    }
    for (const auto& [id, slot_index] : state_.index.idle) {
      const Worker& worker = state_.workers.at(id);
      for (const Slot& slot : worker.slots) {
        if (slot.index == slot_index && Fits(ready, worker, slot)) add(worker, slot);
      }
    }
    return found->second;
  }
  void Take(const FreeSlot& taken) {
    for (auto& [name, slots] : of_class_) {
      std::erase_if(slots, [&](const FreeSlot& slot) { return slot.slot == taken.slot; });
    }
  }

 private:
  State& state_;
  Moment moment_;
  std::map<std::string, std::vector<FreeSlot>> of_class_;
};

// The best of the slots for the task, or null if it waits for another worker.
const FreeSlot* ChooseSlot(const State& state, const ReadyClass& ready, const Task& task,
                           const std::vector<FreeSlot>& fitting, const Moment& moment) {
  const Avoided avoided = AvoidedBy(state, ready, task, moment);
  const std::string home = HomeOf(state, task);
  const std::string& dataset = state.runs.at(task.run_key).run.dataset_digest;
  const std::string text = DigestOfText(task.evaluation, dataset);
  const FreeSlot* best = nullptr;
  const auto rank = [&](const FreeSlot& slot) {
    const std::set<std::string>& there = slot.worker->dataset_digests;
    return std::tuple(slot.worker->id != home, !there.contains(dataset) + !there.contains(text),
                      std::string_view(slot.worker->id), slot.slot->index);
  };
  decltype(rank(FreeSlot())) best_rank;
  for (const FreeSlot& slot : fitting) {
    if (avoided.Covers(*slot.worker, *slot.slot)) continue;
    if (slot.left_ms <= task.needs_ms) continue;
    const auto its_rank = rank(slot);
    if (best != nullptr && best_rank <= its_rank) continue;
    best = &slot;
    best_rank = its_rank;
  }
  return best;
}

struct Placement {
  std::string task;
  FreeSlot slot;
};

// The first task in order that a free slot can take.
std::optional<Placement> NextPlacement(const State& state, FittingSlots& free,
                                       const Moment& moment) {
  // Tasks of one class that an order is about to take away. What is behind more of them waits until
  // the order has done so, rather than everybody while these are counted.
  constexpr int kLeavingMax = 1000;
  std::optional<Placement> next;
  const ReadyClass::Key* next_key = nullptr;
  for (const auto& [name, ready] : state.index.ready) {
    if (WaitsForFolder(state, ready)) continue;
    int n_leaving = 0;
    for (const ReadyClass::Key& key : ready.tasks) {
      if (next_key != nullptr && *next_key < key) break;
      const std::vector<FreeSlot>& fitting = free.Of(name, ready);
      if (fitting.empty()) break;
      if (IsAboutToLeave(state, key.task)) {
        if (++n_leaving > kLeavingMax) break;
        continue;
      }
      const FreeSlot* const slot =
          ChooseSlot(state, ready, state.tasks.at(key.task), fitting, moment);
      if (slot == nullptr) continue;  // it avoids the free slots: try the next task
      next = Placement{.task = key.task, .slot = *slot};
      next_key = &key;
      break;
    }
  }
  return next;
}

TaskFile MakeTaskFile(const State& state, const Task& task, const Attempt& attempt,
                      const RunRecord& run, const Slot& slot) {
  TaskFile file;
  file.attempt = attempt.id;
  file.task = task.id;
  file.run_key = task.run_key;
  file.epoch = attempt.epoch;
  file.kind = task.kind;
  file.run = run.run;
  file.evaluation = task.evaluation;
  file.init = InitOf(state, attempt);
  file.resume = attempt.resume;
  file.dataset_name = run.dataset_name;
  file.execution = *ExecutionOf(state, run);
  if (task.kind != TaskKind::kTrain) ClearTraining(file.execution);
  if (slot.kind == DeviceKind::kGpu) file.devices = {static_cast<int>(slot.index)};
  file.checkpoint_every_ms = task.checkpoint_every_ms;
  file.checkpoint_keep = task.checkpoint_keep;
  file.activation_checkpointing = task.activation_checkpointing;
  file.grace_ms = state.limits.stop_grace_ms;
  file.expected_cells = task.expected_cells;
  return file;
}

void Place(StepContext& step, Task& task, const FreeSlot& free) {
  State& state = step.state;
  Worker& worker = state.workers.at(free.worker->id);
  const Slot& slot = *free.slot;
  const RunRecord& run = state.runs.at(task.run_key);
  const auto resume =
      task.kind == TaskKind::kTrain ? ResumePoint(state, task) : std::optional<CheckpointRef>();
  const std::string reason = Str("offered to worker ", worker.id, " slot ", slot.index);

  MoveTask(step, task, TaskState::kReserved, reason);
  task.attempts += 1;
  // Greater than any earlier epoch: in one database by the count,
  // after a restore by the upper half.
  const std::uint64_t low = static_cast<std::uint32_t>(task.attempts);
  task.epoch = std::max(task.epoch + 1, (state.restore_count << 32) + low);
  const Attempt& attempt = AddAttempt(step,
                                      Attempt{.id = MakeUlid(step.wall_ms, state.random),
                                              .task = task.id,
                                              .n = task.attempts,
                                              .epoch = task.epoch,
                                              .state = AttemptState::kOffered,
                                              .worker = worker.id,
                                              .device_index = slot.index,
                                              .resume = resume,
                                              .execution = ExecutionToOffer(state, task, run, slot),
                                              .offered_boot_ms = step.now,
                                              .offered_boot = state.boot,
                                              .offered_at = step.now,
                                              .listed_at = step.now,
                                              .recorded_at = step.now},
                                      reason);
  task.attempt = attempt.id;
  NoteOffer(step, attempt);
  worker.busy[slot.index] = attempt.id;
  IndexIdle(state, worker);
  worker.pauses.erase(slot.index);
  step.Send(SendStart{.session = *worker.session,
                      .task = MakeTaskFile(state, task, attempt, run, slot),
                      .device_index = slot.index,
                      .dataset_digest = run.run.dataset_digest,
                      .dataset_path = run.dataset_path});
}

void EndBackOffs(StepContext& step) {
  auto& waiting = step.state.index.waiting;
  while (!waiting.empty() && waiting.begin()->first <= step.now) {
    Task& task = step.state.tasks.at(waiting.begin()->second);
    waiting.erase(waiting.begin());
    IndexReady(step.state, task, step.now);
  }
}

}  // namespace

std::optional<CheckpointRef> InitOf(const State& state, const Attempt& attempt) {
  if (attempt.resume) return std::nullopt;
  const Task& task = state.tasks.at(attempt.task);
  if (!task.needs.empty()) return state.tasks.at(task.needs).final_checkpoint;
  const Run& run = state.runs.at(task.run_key).run;
  if (!run.init) return std::nullopt;
  return CheckpointRef{.attempt = "", .checkpoint = "", .sha256 = run.init->sha256, .step = 0};
}

std::optional<CheckpointRef> ResumePoint(const State& state, const Task& task) {
  const auto last = state.attempts.find(task.attempt);
  const auto is_usable = [&](const CheckpointRef& checkpoint) {
    if (last == state.attempts.end() || checkpoint.attempt == last->first) return true;
    const Attempt& attempt = last->second;
    const bool is_data = attempt.failure_class == FailureOf(FailureClass::kData).name;
    if (is_data && attempt.resume) return checkpoint.step < attempt.resume->step;
    // What the last attempt passed over stays passed over if that attempt wrote nothing: its worker
    // may not even have taken the offer. A round of retries without a failure has passed over none,
    // and what an adopted attempt started from is not known before its first record.
    const bool is_adopted = attempt.device_index < 0 && attempt.durable_seq == 0;
    if (task.failures == 0 || is_adopted) return true;
    return attempt.resume && checkpoint.step <= attempt.resume->step;
  };
  for (auto it = task.checkpoints.rbegin(); it != task.checkpoints.rend(); ++it) {
    if (is_usable(*it)) return *it;
  }
  // Without a checkpoint of its own, it starts where its parent ended.
  const std::string& parent = state.runs.at(task.run_key).run.parent;
  if (parent.empty()) return std::nullopt;
  return state.tasks.at(TrainTaskKey(parent)).final_checkpoint;
}

void HandleEvent(StepContext& step, const SweepPrioritized& event) {
  State& state = step.state;
  step.result.status = CheckSubmitted(state, event.sweep_id);
  if (!step.result.status.ok()) return;
  const std::set<std::string>& tasks = state.sweep_tasks.at(event.sweep_id);
  std::set<std::string> moved = state.index.first;
  moved.insert(tasks.begin(), tasks.end());
  const auto each_ready = [&](void (*move)(State&, Task&, Instant)) {
    for (const std::string& id : moved) {
      Task& task = state.tasks.at(id);
      if (task.state == TaskState::kReady) move(state, task, step.now);
    }
  };
  each_ready([](State& s, Task& task, Instant) { UnindexReady(s, task); });
  state.index.first = tasks;
  each_ready(&IndexReady);
}

std::int64_t CountWaiting(const State& state, DeviceKind kind, const std::vector<Slot>& slots,
                          std::int64_t work_ms) {
  std::int64_t n_tasks = 0;
  for (const auto& [name, ready] : state.index.ready) {
    if (!FitsNewWorker(ready, kind, slots)) continue;
    n_tasks += std::ranges::count_if(ready.tasks, [&](const ReadyClass::Key& key) {
      return state.tasks.at(key.task).needs_ms < work_ms;
    });
  }
  return n_tasks;
}

void HandleEvent(StepContext& step, const DatasetsSilent& event) {
  State& state = step.state;
  if (state.silent_datasets == event.digests) return;
  state.silent_datasets = event.digests;
  state.index.workers_version += 1;
  std::vector<Attempt*> unsent;
  for (const std::string& id : state.index.live) {
    Attempt& attempt = state.attempts.at(id);
    if (attempt.state != AttemptState::kOffered) continue;
    if (WaitsForFolder(state, ClassOf(state, TaskOf(state, attempt)))) unsent.push_back(&attempt);
  }
  for (Attempt* const attempt : unsent) {
    WithdrawOffer(step, *attempt, "the folder of a dataset that the task reads does not answer");
  }
}

void PlaceReadyTasks(StepContext& step) {
  State& state = step.state;
  EndBackOffs(step);
  if (state.index.ready.empty() || step.now < state.place_not_before) return;
  for (auto& [name, ready] : state.index.ready) RefreshUnfit(step, name, ready);
  const Moment moment = {.now = step.now, .wall_ms = step.wall_ms};
  FittingSlots free(state, moment);
  while (!free.empty()) {
    const std::optional<Placement> next = NextPlacement(state, free, moment);
    if (!next) return;
    Place(step, state.tasks.at(next->task), next->slot);
    free.Take(next->slot);
  }
}

}  // namespace longrun::coordinator
