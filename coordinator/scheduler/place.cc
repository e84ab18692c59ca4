// Placement: which ready task gets which free slot. The order is total and every tie is broken by
// an id, so that the same state always gives the same placement.
//
// Tasks that the same slots can run are in one ReadyClass: slots are checked once per class, and
// only heads of classes are compared.
#include <algorithm>
#include <limits>
#include <tuple>
#include <utility>

#include "base/str.h"
#include "base/units.h"
#include "coordinator/scheduler/step.h"
#include "model/matrix_path.h"
#include "sweeps/cost.h"
#include "sweeps/evaluated_dataset.h"

namespace longrun::coordinator {
namespace {

constexpr std::int64_t kNoEndMs = std::numeric_limits<std::int64_t>::max();

struct FreeSlot {
  const Worker* worker = nullptr;
  const Slot* slot = nullptr;
  std::int64_t left_ms = kNoEndMs;  // until its worker stops its trainers
};

std::string Gigabytes(std::int64_t bytes) {
  // One decimal is enough to compare by eye.
  const std::int64_t tenths = (bytes + 50'000'000) / 100'000'000;
  return Str(tenths / 10, ".", tenths % 10, " GB");
}

// What the class needs and the slot lacks, one entry each; empty if the class fits.
std::vector<std::string> Mismatches(const ReadyClass& ready, const Worker& worker,
                                    const Slot& slot) {
  std::vector<std::string> out;
  const auto differ = [&out](std::string_view what, const auto& has, const auto& wants) {
    if (has != wants) out.push_back(Str(what, " is ", has, ", not ", wants));
  };
  if (!Admits(ready.device_kind, slot.kind)) {
    differ("its kind", EnumName(slot.kind), EnumName(ready.device_kind));
  }
  if (ready.execution) {
    const Execution& execution = *ready.execution;
    if (ready.device_kind == DeviceChoice::kAny) {
      differ("its kind", EnumName(slot.kind), EnumName(execution.device_kind));
    }
    if (execution.device_kind == DeviceKind::kGpu) {
      differ("its device", slot.name, execution.device_name);
    }
    // A slot with more threads starts the trainer with the number that the run began with.
    if (slot.threads < execution.threads) {
      differ("its number of threads", slot.threads, execution.threads);
    }
    differ("its instruction set", slot.simd, execution.simd);
    if (!HonoursMatrixPath(slot.linear, execution.linear)) {
      differ("its matrix path", slot.linear, execution.linear);
    }
    if (!execution.bf16.empty()) {
      differ("its path of products in bf16", slot.bf16, execution.bf16);
    }
  }
  const std::int64_t needed =
      slot.kind == DeviceKind::kCpu ? ready.cpu_memory_bytes : ready.gpu_memory_bytes;
  if (slot.memory_bytes < needed) {
    out.push_back(Str("its memory is ", Gigabytes(slot.memory_bytes), ", less than the required ",
                      Gigabytes(needed)));
  }
  const auto cache = ready.too_large_for.find(worker.id);
  if (cache != ready.too_large_for.end() && cache->second.incarnation == worker.incarnation) {
    out.push_back(Str("the worker's cache may take ", FormatBytes(cache->second.limit_bytes),
                      ", less than the ", FormatBytes(cache->second.needed_bytes),
                      " that the task reads: start the worker with larger --cache-bytes"));
  }
  return out;
}

bool Fits(const ReadyClass& ready, const Worker& worker, const Slot& slot) {
  return Mismatches(ready, worker, slot).empty();
}

bool IsQuarantined(const Worker& worker, const Slot& slot) {
  return worker.quarantined.contains(slot.index);
}

// Whether what others use in the worker's cache leaves no room for what the class reads.
bool HasNoRoom(const Worker& worker, const ReadyClass& ready, Instant now) {
  const auto full = worker.cache_full_until.find({ready.dataset_digest, ready.text_digest});
  return full != worker.cache_full_until.end() && full->second > now;
}

// Whether the folder of a dataset that the class reads does not answer.
bool WaitsForFolder(const State& state, const ReadyClass& ready) {
  return state.silent_datasets.contains(ready.dataset_digest) ||
         state.silent_datasets.contains(ready.text_digest);
}

struct Moment {
  Instant now = 0;
  std::int64_t wall_ms = 0;
};

std::string WhyUnfit(const State& state, const ReadyClass& ready) {
  if (WaitsForFolder(state, ready)) {
    return "the folder of a dataset that it reads does not answer: look at the file system of the "
           "folders that `longrun data ls` shows, on the coordinator's machine";
  }
  std::size_t n_least = std::numeric_limits<std::size_t>::max();
  std::string nearest, drained, outdated, quarantined;
  for (const auto& [id, worker] : state.workers) {
    if (worker.lost) continue;
    for (const Slot& slot : worker.slots) {
      const std::vector<std::string> lacks = Mismatches(ready, worker, slot);
      if (lacks.empty() && IsQuarantined(worker, slot)) {
        quarantined = Str("`longrun worker release ", id, " --slot ", slot.index, "` gives slot ",
                          slot.index, " of worker ", id, " work again. It is quarantined, since ",
                          worker.quarantined.at(slot.index).reason);
        continue;
      }
      if (lacks.empty() && !worker.drain && CanGetFiles(worker)) return "";
      if (lacks.empty() && !CanGetFiles(worker)) {
        outdated = id;
        continue;
      }
      if (lacks.empty()) {
        drained = id;
        continue;
      }
      if (lacks.size() >= n_least) continue;
      n_least = lacks.size();
      nearest = Str("slot ", slot.index, " of worker ", id, " (", worker.host,
                    ") comes closest, but ", Join(lacks, ", and "));
    }
  }
  if (!drained.empty() && !quarantined.empty()) {
    return Str("every slot that can run it is drained or quarantined: `longrun undrain ", drained,
               "` gives worker ", drained, " work again, and ", quarantined);
  }
  if (!drained.empty()) {
    return Str("every worker that can run it is drained: `longrun undrain ", drained,
               "` gives worker ", drained, " work again");
  }
  if (!quarantined.empty()) {
    return Str("every slot that can run it is quarantined: ", quarantined);
  }
  if (!outdated.empty()) {
    return Str("worker ", outdated,
               " can run it, but cannot get datasets over the network: update "
               "it to this release");
  }
  if (nearest.empty()) return "";  // there is no worker yet: it just waits
  return Str("no worker can run it",
             ready.execution ? " with the settings with which its run began: " : ": ", nearest);
}

// Updates the reason of a class's tasks when the class becomes unplaceable, or placeable again.
void RefreshUnfit(StepContext& step, ReadyClass& ready) {
  if (ready.checked_version == step.state.index.workers_version) return;
  ready.checked_version = step.state.index.workers_version;
  std::string unfit = WhyUnfit(step.state, ready);
  if (unfit == ready.unfit) return;
  ready.unfit = std::move(unfit);
  for (const ReadyClass::Key& key : ready.tasks) {
    Task& task = step.state.tasks.at(key.task);
    task.reason = ready.unfit.empty() ? "waits for a free slot" : ready.unfit;
    step.changed_tasks.insert(task.id);
  }
}

std::vector<FreeSlot> FreeSlots(const State& state, Instant now, std::int64_t wall_ms) {
  std::vector<FreeSlot> free;
  for (const auto& [id, worker] : state.workers) {
    const bool suspect = now - worker.heard_at > state.limits.suspect_ms;
    if (!TakesWork(worker) || suspect) continue;
    const std::int64_t left_ms = WorkLeftMs(state, worker, now, wall_ms).value_or(kNoEndMs);
    if (left_ms == 0) continue;
    for (const Slot& slot : worker.slots) {
      const auto refused = worker.refused_until.find(slot.index);
      const bool waits = refused != worker.refused_until.end() && refused->second > now;
      if (!waits && !worker.busy.contains(slot.index) && !IsQuarantined(worker, slot)) {
        free.push_back({.worker = &worker, .slot = &slot, .left_ms = left_ms});
      }
    }
  }
  return free;
}

// Where a task failed last, and should not run again if it can run elsewhere.
struct Avoided {
  std::string worker;                     // "": nowhere
  std::optional<std::int64_t> slot = {};  // only this one; nullopt: the whole worker

  bool Covers(const Worker& at, const Slot& s) const {
    return at.id == worker && (!slot || *slot == s.index);
  }
};

// A task waits for so long until another slot is free.
constexpr std::int64_t kAvoidMs = 120'000;

// Whether another slot fits the task, now or when it is free.
bool OtherSlotFits(const State& state, const ReadyClass& ready, const Task& task,
                   const Avoided& avoided, const Moment& moment) {
  for (const auto& [id, worker] : state.workers) {
    if (worker.lost || worker.draining || worker.drain || !CanGetFiles(worker)) continue;
    if (HasNoRoom(worker, ready, moment.now)) continue;
    const auto left_ms = WorkLeftMs(state, worker, moment.now, moment.wall_ms);
    if (left_ms && *left_ms <= task.needs_ms) continue;
    const auto fits = [&](const Slot& slot) {
      return !avoided.Covers(worker, slot) && !IsQuarantined(worker, slot) &&
             Fits(ready, worker, slot);
    };
    if (std::ranges::any_of(worker.slots, fits)) return true;
  }
  return false;
}

// The worker where the task failed last if another worker fits; else the slot, if the slot may be
// at fault and another one fits.
Avoided AvoidedBy(const State& state, const ReadyClass& ready, const Task& task,
                  const Moment& moment) {
  if (task.avoid_worker.empty() || moment.now - task.not_before > kAvoidMs) return {};
  Avoided avoided = {.worker = task.avoid_worker};
  if (OtherSlotFits(state, ready, task, avoided, moment)) return avoided;
  const auto last = state.attempts.find(task.attempt);
  if (last == state.attempts.end() || last->second.worker != task.avoid_worker) return {};
  const FailureRow* const failure = FindFailure(last->second.failure_class);
  if (failure == nullptr || !failure->blames_slot) return {};
  avoided.slot = last->second.device_index;
  return OtherSlotFits(state, ready, task, avoided, moment) ? avoided : Avoided{};
}

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

// The best free slot for the task, or null if it fits none or waits for another worker.
const FreeSlot* ChooseSlot(const State& state, const ReadyClass& ready, const Task& task,
                           const std::vector<FreeSlot>& free, const Moment& moment) {
  const Avoided avoided = AvoidedBy(state, ready, task, moment);
  const std::string home = HomeOf(state, task);
  const std::string& dataset = state.runs.at(task.run_key).run.dataset_digest;
  const std::string text = DigestOfText(task.evaluation, dataset);
  const FreeSlot* best = nullptr;
  const auto rank = [&](const FreeSlot& slot) {
    const std::set<std::string>& there = slot.worker->dataset_digests;
    return std::tuple(slot.worker->id != home, !there.contains(dataset) + !there.contains(text),
                      slot.worker->id, slot.slot->index);
  };
  for (const FreeSlot& slot : free) {
    if (!Fits(ready, *slot.worker, *slot.slot)) continue;
    if (HasNoRoom(*slot.worker, ready, moment.now)) continue;
    if (avoided.Covers(*slot.worker, *slot.slot)) continue;
    if (slot.left_ms <= task.needs_ms) continue;
    if (best == nullptr || rank(slot) < rank(*best)) best = &slot;
  }
  return best;
}

struct Placement {
  std::string task;
  const FreeSlot* slot = nullptr;
};

// The first task in order that a free slot can take.
std::optional<Placement> NextPlacement(const State& state, const std::vector<FreeSlot>& free,
                                       const Moment& moment) {
  std::optional<Placement> next;
  const ReadyClass::Key* next_key = nullptr;
  for (const auto& entry : state.index.ready) {
    const ReadyClass& ready = entry.second;
    if (WaitsForFolder(state, ready)) continue;
    const auto fits = [&](const FreeSlot& slot) {
      return !HasNoRoom(*slot.worker, ready, moment.now) && Fits(ready, *slot.worker, *slot.slot);
    };
    if (std::ranges::none_of(free, fits)) continue;
    for (const ReadyClass::Key& key : ready.tasks) {
      if (next_key != nullptr && *next_key < key) break;
      const FreeSlot* const slot = ChooseSlot(state, ready, state.tasks.at(key.task), free, moment);
      if (slot == nullptr) continue;  // it avoids the free slots: try the next task
      next = Placement{.task = key.task, .slot = slot};
      next_key = &key;
      break;
    }
  }
  return next;
}

// The start of a task if not a checkpoint of its own: an evaluation's weights, or those of the
// imported model or the other run with which a training begins.
std::optional<CheckpointRef> InitOf(const State& state, const Task& task, const Attempt& attempt,
                                    const Run& run) {
  if (attempt.resume) return std::nullopt;
  if (!task.needs.empty()) return state.tasks.at(task.needs).final_checkpoint;
  if (!run.init) return std::nullopt;
  return CheckpointRef{.attempt = "", .checkpoint = "", .sha256 = run.init->sha256, .step = 0};
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
  file.init = InitOf(state, task, attempt, run.run);
  file.resume = attempt.resume;
  file.dataset_name = run.dataset_name;
  file.execution = *ExecutionOf(state, run);
  if (task.kind != TaskKind::kTrain) file.execution.bf16.clear();  // it computes in fp32
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
                                              .offered_at = step.now,
                                              .listed_at = step.now,
                                              .recorded_at = step.now},
                                      reason);
  task.attempt = attempt.id;
  NoteOffer(step, attempt);
  worker.busy[slot.index] = attempt.id;
  worker.refused_until.erase(slot.index);
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

bool FitsSlot(const State& state, const Task& task, const Worker& worker, const Slot& slot) {
  return !IsQuarantined(worker, slot) && Fits(ClassOf(state, task), worker, slot);
}

std::optional<CheckpointRef> ResumePoint(const State& state, const Task& task) {
  std::int64_t step_end = std::numeric_limits<std::int64_t>::max();
  if (const auto last = state.attempts.find(task.attempt); last != state.attempts.end()) {
    const Attempt& attempt = last->second;
    if (attempt.failure_class == FailureOf(FailureClass::kData).name && attempt.resume) {
      step_end = attempt.resume->step;
    }
  }
  for (auto it = task.checkpoints.rbegin(); it != task.checkpoints.rend(); ++it) {
    if (it->step < step_end) return *it;
  }
  // Without a checkpoint of its own, it starts where its parent ended.
  const std::string& parent = state.runs.at(task.run_key).run.parent;
  if (parent.empty()) return std::nullopt;
  return state.tasks.at(TrainTaskKey(parent)).final_checkpoint;
}

void HandleEvent(StepContext& step, const SweepPrioritized& event) {
  State& state = step.state;
  const auto sweep = state.sweep_tasks.find(event.sweep_id);
  if (sweep == state.sweep_tasks.end()) {
    step.result.status = Status(Code::kNotFound, Str("there is no sweep ", event.sweep_id));
    return;
  }
  std::set<std::string> moved = state.index.first;
  moved.insert(sweep->second.begin(), sweep->second.end());
  const auto each_ready = [&](void (*move)(State&, Task&, Instant)) {
    for (const std::string& id : moved) {
      Task& task = state.tasks.at(id);
      if (task.state == TaskState::kReady) move(state, task, step.now);
    }
  };
  each_ready([](State& s, Task& task, Instant) { UnindexReady(s, task); });
  state.index.first = sweep->second;
  each_ready(&IndexReady);
}

std::int64_t CountWaiting(const State& state, DeviceKind kind, const std::vector<Slot>& slots,
                          std::int64_t work_ms) {
  const Worker any;
  std::int64_t n_tasks = 0;
  for (const auto& [name, ready] : state.index.ready) {
    const bool of_kind = Admits(ready.device_kind, kind) &&
                         (!ready.execution || ready.execution->device_kind == kind);
    const bool fits = slots.empty() ? of_kind : std::ranges::any_of(slots, [&](const Slot& slot) {
      return Fits(ready, any, slot);
    });
    if (!fits) continue;
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
  for (auto& [name, ready] : state.index.ready) RefreshUnfit(step, ready);
  std::vector<FreeSlot> free = FreeSlots(state, step.now, step.wall_ms);
  while (!free.empty()) {
    const std::optional<Placement> next =
        NextPlacement(state, free, {.now = step.now, .wall_ms = step.wall_ms});
    if (!next) return;
    const FreeSlot slot = *next->slot;
    Place(step, state.tasks.at(next->task), slot);
    std::erase_if(free, [&](const FreeSlot& other) { return other.slot == slot.slot; });
  }
}

}  // namespace longrun::coordinator
