// Which slots can run the tasks of a class, and why none can.
#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "base/str.h"
#include "base/units.h"
#include "coordinator/scheduler/step.h"
#include "model/matrix_path.h"

namespace longrun::coordinator {
namespace {

// How a task's reason begins if no slot can run the task. After a restart, this tells such a reason
// from all others.
constexpr std::string_view kSilentFolder = "the folder of a dataset that it reads does not answer";
constexpr std::string_view kEverySlot = "every slot that can run it is ";
constexpr std::string_view kEveryWorker = "every worker that can run it is ";
constexpr std::string_view kNobodyCan = "no worker can run it";
constexpr std::array kBeginnings = {kSilentFolder, kEverySlot, kEveryWorker, kNobodyCan};

bool IsUnfitReason(std::string_view reason) {
  return std::ranges::any_of(
      kBeginnings, [&](std::string_view beginning) { return reason.starts_with(beginning); });
}

// An evaluation requires no memory of a GPU.
bool Trains(const ReadyClass& ready) { return ready.gpu_memory_bytes > 0; }

// What the required memory is for.
std::string WorkText(const ReadyClass& ready) {
  if (!Trains(ready)) return "the evaluation";
  return Str("training with micro-batch ", ready.execution ? ready.execution->micro_batch : 1);
}

// What the worker has said of its cache, if the cache can never hold what the class reads.
const CacheTooSmall* SmallCache(const ReadyClass& ready, const Worker& worker) {
  const auto cache = ready.too_large_for.find(worker.id);
  const bool is_said =
      cache != ready.too_large_for.end() && cache->second.incarnation == worker.incarnation;
  return is_said ? &cache->second : nullptr;
}

// Calls `lack` for each thing that the class needs and the slot lacks, with a function that makes
// its text, until `lack` returns false.
template <typename Lack>
void ForEachLack(const ReadyClass& ready, const Worker& worker, const Slot& slot,
                 const Lack& lack) {
  // False: stop.
  const auto same = [&lack](std::string_view what, const auto& has, const auto& wants) {
    return has == wants || lack([&] { return Str(what, " is ", has, ", not ", wants); });
  };
  const auto same_kind = [&](std::string_view wants) {
    const std::string_view has = EnumName(slot.kind);
    return has == wants ||
           lack([&] { return Str("it is a ", has, " slot, not a ", wants, " slot"); });
  };
  if (!Admits(ready.device_kind, slot.kind) && !same_kind(EnumName(ready.device_kind))) return;
  if (ready.execution) {
    const Execution& execution = *ready.execution;
    if (ready.device_kind == DeviceChoice::kAny && !same_kind(EnumName(execution.device_kind))) {
      return;
    }
    const bool is_gpu = execution.device_kind == DeviceKind::kGpu;
    if (is_gpu && !same("its device", slot.name, execution.device_name)) return;
    if (is_gpu && execution.attention == AttentionBackend::kFused &&
        !same("its attention", BestAttention(slot, ready.head_dim),
              EnumName(execution.attention))) {
      return;
    }
    if (is_gpu && execution.operators == OperatorSet::kLongrun &&
        !same("its set of operators", BestOperators(slot), EnumName(OperatorSet::kLongrun))) {
      return;
    }
    // A slot with more threads starts the trainer with the number that the run began with.
    if (slot.threads < execution.threads &&
        !same("its number of threads", slot.threads, execution.threads)) {
      return;
    }
    if (!same("its instruction set", slot.simd, execution.simd)) return;
    if (!HonoursMatrixPath(slot.linear, execution.linear) &&
        !same("its matrix path", slot.linear, execution.linear)) {
      return;
    }
    if (!execution.bf16.empty() &&
        !same("its path of products in bf16", slot.bf16, execution.bf16)) {
      return;
    }
    if (execution.head == HeadChunks::kByWidth &&
        !same("its way of cutting logits into chunks", BestHead(slot), EnumName(execution.head))) {
      return;
    }
  }
  const bool is_fused = ready.head_dim <= FusedHeadDimMax(slot);
  const std::int64_t needed = slot.kind == DeviceKind::kCpu ? ready.cpu_memory_bytes
                              : is_fused                    ? ready.gpu_fused_memory_bytes
                                                            : ready.gpu_memory_bytes;
  if (slot.memory_bytes < needed && !lack([&] {
        return Str("its memory is ", FormatBytes(slot.memory_bytes), ", less than the ",
                   FormatBytes(needed), " that ", WorkText(ready), " needs on a ",
                   EnumName(slot.kind));
      })) {
    return;
  }
  if (const CacheTooSmall* const cache = SmallCache(ready, worker)) {
    lack([&] {
      return Str("the worker's cache may take ", FormatBytes(cache->limit_bytes),
                 ", less than the ", FormatBytes(cache->needed_bytes),
                 " that the task reads: start the worker with larger --cache-bytes");
    });
  }
}

// One entry each; empty if the class fits.
std::vector<std::string> Lacks(const ReadyClass& ready, const Worker& worker, const Slot& slot) {
  std::vector<std::string> lacks;
  ForEachLack(ready, worker, slot, [&](const auto& text) {
    lacks.push_back(text());
    return true;
  });
  return lacks;
}

std::size_t CountLacks(const ReadyClass& ready, const Worker& worker, const Slot& slot) {
  std::size_t n = 0;
  ForEachLack(ready, worker, slot, [&n](const auto&) {
    n += 1;
    return true;
  });
  return n;
}

// How a worker whose CPU slots have too little memory or too few threads could run the class; "" if
// it could not, or lacks something else.
std::string FewerSlotsText(const ReadyClass& ready, const Worker& worker, const Slot& slot) {
  const auto threads = ready.execution ? ready.execution->threads : slot.threads;
  const bool has_memory = slot.memory_bytes >= ready.cpu_memory_bytes;
  const bool has_threads = slot.threads >= threads;
  if (slot.kind != DeviceKind::kCpu || has_memory == has_threads) return "";
  Slot all = slot;
  all.memory_bytes = all.threads = 0;
  for (const Slot& one : worker.slots) {
    if (one.kind != DeviceKind::kCpu) continue;
    all.memory_bytes += one.memory_bytes;
    all.threads += one.threads;
  }
  const bool suffices = all.memory_bytes >= ready.cpu_memory_bytes && all.threads >= threads;
  if (CountLacks(ready, worker, slot) > 1 || !suffices) return "";
  return Str("give each slot of worker ", worker.id, has_memory ? " more threads" : " more memory",
             " (fewer --cpu-slots), or ");
}

// Why no known slot can run the tasks of a class, and what ends that.
struct Unfit {
  Gate gate = Gate::kNone;
  std::string reason = {};
  std::string remedy = {};
};

// What the slots have that could run the tasks, and may not.
struct Withheld {
  std::string drained, outdated;             // workers
  std::string quarantined, why_quarantined;  // the commands that end it, and why it began

  Unfit Told() const {
    if (!drained.empty() && !quarantined.empty()) {
      return {.gate = Gate::kDrained,
              .reason = Str(kEverySlot, "drained or quarantined: `longrun undrain ", drained,
                            "` gives worker ", drained, " work again, and ", why_quarantined),
              .remedy = Str("`longrun undrain ", drained, "` or `", quarantined, "`")};
    }
    if (!drained.empty()) {
      return {.gate = Gate::kDrained,
              .reason = Str(kEveryWorker, "drained: `longrun undrain ", drained, "` gives worker ",
                            drained, " work again"),
              .remedy = Str("`longrun undrain ", drained, "`")};
    }
    if (!quarantined.empty()) {
      return {.gate = Gate::kQuarantined,
              .reason = Str(kEverySlot, "quarantined: ", why_quarantined),
              .remedy = Str("check the device, then `", quarantined, "`")};
    }
    return {.gate = Gate::kOutdated,
            .reason = Str(kEveryWorker, "outdated: worker ", outdated,
                          " cannot get datasets over the network: update it to this release"),
            .remedy = Str("update worker ", outdated, " to this release")};
  }
};

Unfit FindUnfit(const State& state, const ReadyClass& ready) {
  if (WaitsForFolder(state, ready)) {
    return {.gate = Gate::kSilentFolder,
            .reason = Str(kSilentFolder,
                          ": look at the file system of the folders that `longrun data ls` shows, "
                          "on the coordinator's machine"),
            .remedy =
                "look at that file system; when the folder answers, the task starts by "
                "itself"};
  }
  // Texts are made for one slot only: there may be thousands.
  std::size_t n_least = std::numeric_limits<std::size_t>::max();
  const Worker* nearest_worker = nullptr;
  const Slot* nearest_slot = nullptr;
  Withheld withheld;
  for (const auto& [id, worker] : state.workers) {
    if (worker.lost) continue;
    for (const Slot& slot : worker.slots) {
      const std::size_t n_lacks = CountLacks(ready, worker, slot);
      if (n_lacks > 0) {
        const bool is_nearer =
            n_lacks < n_least ||
            (n_lacks == n_least && slot.memory_bytes > nearest_slot->memory_bytes);
        if (!is_nearer) continue;
        n_least = n_lacks;
        nearest_worker = &worker;
        nearest_slot = &slot;
      } else if (IsQuarantined(worker, slot)) {
        withheld.quarantined = Str("longrun worker release ", id, " --slot ", slot.index);
        withheld.why_quarantined =
            Str("`", withheld.quarantined, "` gives slot ", slot.index, " of worker ", id,
                " work again. It is quarantined, since ", worker.quarantined.at(slot.index).reason);
      } else if (!CanGetFiles(worker)) {
        withheld.outdated = id;
      } else if (worker.drain) {
        withheld.drained = id;
      } else {
        return {};
      }
    }
  }
  const bool is_withheld =
      !withheld.drained.empty() || !withheld.quarantined.empty() || !withheld.outdated.empty();
  if (is_withheld) return withheld.Told();
  if (nearest_slot == nullptr) return {};  // without any worker it just waits
  const bool only_cache = n_least == 1 && SmallCache(ready, *nearest_worker) != nullptr;
  return {
      .gate = only_cache ? Gate::kCacheTooSmall : Gate::kNoFit,
      .reason =
          Str(kNobodyCan, ready.execution ? " with the settings with which its run began: " : ": ",
              "slot ", nearest_slot->index, " of worker ", nearest_worker->id, " (",
              nearest_worker->host, ") comes closest, but ",
              Join(Lacks(ready, *nearest_worker, *nearest_slot), ", and ")),
      .remedy = only_cache
                    ? Str("start worker ", nearest_worker->id, " with larger --cache-bytes")
                    : FewerSlotsText(ready, *nearest_worker, *nearest_slot) + WantedText(ready)};
}

void TellUnfit(StepContext& step, const ReadyClass& ready, Task& task) {
  if (ready.unfit.empty() ? !IsUnfitReason(task.reason) : task.reason == ready.unfit) return;
  task.reason = ready.unfit.empty() ? "waits for a free slot" : ready.unfit;
  step.changed_tasks.insert(task.id);
}

// Whether another slot fits the task, now or when it is free.
bool OtherSlotFits(const State& state, const ReadyClass& ready, const Task& task,
                   const Avoided& avoided, const Moment& moment) {
  for (const auto& [id, worker] : state.workers) {
    if (worker.lost || worker.draining || worker.drain || !CanGetFiles(worker)) continue;
    if (HasFullDisk(worker)) continue;
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

}  // namespace

bool Fits(const ReadyClass& ready, const Worker& worker, const Slot& slot) {
  bool fits = true;
  ForEachLack(ready, worker, slot, [&fits](const auto&) {
    fits = false;
    return false;
  });
  return fits;
}

std::string WantedText(const ReadyClass& ready) {
  if (ready.execution) {
    const Execution& execution = *ready.execution;
    const std::int64_t needed = execution.device_kind == DeviceKind::kCpu ? ready.cpu_memory_bytes
                                : execution.attention == AttentionBackend::kFused
                                    ? ready.gpu_fused_memory_bytes
                                    : ready.gpu_memory_bytes;
    const std::string memory =
        needed == 0 ? "" : Str(", at least ", FormatBytes(needed), " for ", WorkText(ready));
    return Str(
        "connect a worker with the settings with which the run began, since others would "
        "change its numbers: ",
        execution.device_kind == DeviceKind::kGpu
            ? Str("device ", execution.device_name, ", ")
            : Str("a CPU slot of at least ", execution.threads, " threads, "),
        "instruction set ", execution.simd,
        execution.linear.empty() ? "" : Str(", matrix path ", execution.linear),
        execution.bf16.empty() ? "" : Str(", products in bf16 by ", execution.bf16),
        execution.head == HeadChunks::kByWidth ? ", a worker of this release or a newer one" : "",
        memory);
  }
  std::vector<std::string> slots;
  const auto add = [&](DeviceKind kind, std::int64_t needed) {
    if (!Admits(ready.device_kind, kind)) return;
    slots.push_back(Str("a ", EnumName(kind), " slot",
                        needed == 0 ? "" : Str(" of at least ", FormatBytes(needed))));
  };
  add(DeviceKind::kCpu, ready.cpu_memory_bytes);
  add(DeviceKind::kGpu, std::min(ready.gpu_memory_bytes, ready.gpu_fused_memory_bytes));
  return Str("connect a worker with ", Join(slots, " or "), ", for ", WorkText(ready),
             " (`longrun plan` shows what the sweep needs, `longrun workers` what there is)");
}

bool IsQuarantined(const Worker& worker, const Slot& slot) {
  return worker.quarantined.contains(slot.index);
}

bool HasNoRoom(const Worker& worker, const ReadyClass& ready, Instant now) {
  const auto no_room = worker.no_room.find({ready.dataset_digest, ready.text_digest});
  return no_room != worker.no_room.end() && no_room->second.until > now;
}

bool WaitsForFolder(const State& state, const ReadyClass& ready) {
  return state.silent_datasets.contains(ready.dataset_digest) ||
         state.silent_datasets.contains(ready.text_digest);
}

bool FitsSlot(const State& state, const Task& task, const Worker& worker, const Slot& slot) {
  return !IsQuarantined(worker, slot) && Fits(ClassOf(state, task), worker, slot);
}

bool FitsNewWorker(const ReadyClass& ready, DeviceKind kind, const std::vector<Slot>& slots) {
  if (slots.empty()) {
    return Admits(ready.device_kind, kind) &&
           (!ready.execution || ready.execution->device_kind == kind);
  }
  const Worker any;
  return std::ranges::any_of(slots, [&](const Slot& slot) { return Fits(ready, any, slot); });
}

void RefreshUnfit(StepContext& step, const std::string& name, ReadyClass& ready) {
  std::map<std::string, Task>& tasks = step.state.tasks;
  const std::vector<std::string> joined = std::exchange(ready.joined, {});
  if (ready.checked_version != step.state.index.workers_version) {
    ready.checked_version = step.state.index.workers_version;
    Unfit found = FindUnfit(step.state, ready);
    ready.unfit_gate = found.gate;
    ready.unfit_remedy = std::move(found.remedy);
    if (found.reason != ready.unfit) {
      ready.unfit = std::move(found.reason);
      for (const ReadyClass::Key& key : ready.tasks) TellUnfit(step, ready, tasks.at(key.task));
      return;
    }
  }
  for (const std::string& id : joined) {
    const auto task = tasks.find(id);
    const bool is_here = task != tasks.end() && task->second.ready_class == name;
    if (is_here) TellUnfit(step, ready, task->second);
  }
}

std::optional<std::int64_t> TimeForWork(const State& state, const Worker& worker,
                                        const Moment& moment) {
  if (!TakesWork(worker) || IsSilent(state, worker, moment.now)) return std::nullopt;
  if (HasFullDisk(worker)) return std::nullopt;
  const std::int64_t left_ms =
      WorkLeftMs(state, worker, moment.now, moment.wall_ms).value_or(kNoEndMs);
  if (left_ms == 0) return std::nullopt;
  return left_ms;
}

bool IsFree(const Worker& worker, const Slot& slot, Instant now) {
  if (worker.busy.contains(slot.index) || IsQuarantined(worker, slot)) return false;
  const auto pause = worker.pauses.find(slot.index);
  return pause == worker.pauses.end() || pause->second.until <= now;
}

std::vector<FreeSlot> FreeSlots(const State& state, const Moment& moment) {
  std::vector<FreeSlot> free;
  for (const auto& [id, worker] : state.workers) {
    const std::optional<std::int64_t> left_ms = TimeForWork(state, worker, moment);
    if (!left_ms) continue;
    for (const Slot& slot : worker.slots) {
      if (!IsFree(worker, slot, moment.now)) continue;
      free.push_back({.worker = &worker, .slot = &slot, .left_ms = *left_ms});
    }
  }
  return free;
}

bool IsIdle(const Worker& worker, const Slot& slot) {
  return !worker.busy.contains(slot.index) && !worker.lost && !worker.draining && !worker.drain;
}

void IndexIdle(State& state, const Worker& worker) {
  SlotIds& idle = state.index.idle;
  for (const Slot& slot : worker.slots) {
    if (IsIdle(worker, slot)) {
      idle.insert({worker.id, slot.index});
    } else {
      idle.erase({worker.id, slot.index});
    }
  }
}

const std::vector<FittingSlotsOf::At>* AllFitting(State& state, const std::string& name,
                                                  const ReadyClass& ready) {
  FittingSlotsOf& kept = state.index.fitting;
  if (kept.version != state.index.workers_version) {
    kept.version = state.index.workers_version;
    kept.classes.clear();
  }
  if (const auto known = kept.classes.find(name); known != kept.classes.end()) {
    return &known->second;
  }
  constexpr std::size_t kClassesMax = 1000;  // they come and go with the settings of runs
  if (kept.classes.size() >= kClassesMax) return nullptr;
  std::vector<FittingSlotsOf::At>& found = kept.classes[name];
  for (const auto& [id, worker] : state.workers) {
    for (std::size_t i = 0; i < worker.slots.size(); ++i) {
      if (!Fits(ready, worker, worker.slots[i])) continue;
      found.push_back({.worker = &worker, .slot = i});
    }
  }
  return &found;
}

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

}  // namespace longrun::coordinator
