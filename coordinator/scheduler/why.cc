// Why a task does not run, or has not ended: its gate, the first thing that keeps it. It follows
// from the state with the same questions as placement (place.cc), in the same order, and with the
// reasons that the scheduler has already found (ReadyClass::unfit, Task::reason).
#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/shortage.h"
#include "base/str.h"
#include "base/units.h"
#include "coordinator/scheduler/step.h"
#include "coordinator/scheduler/unheard.h"

namespace longrun::coordinator {
namespace {

constexpr std::int64_t kBeforeMax = 100'000;  // tasks are counted up to this number

// What holds all tasks of a ReadyClass that some known slot can run.
struct ClassGate {
  Gate gate = Gate::kNone;
  std::string text = {};
  std::string remedy = {};
  std::optional<Instant> until = {};
  std::vector<FreeSlot> free = {};  // that fit
  std::vector<std::pair<const Worker*, const Slot*>> fitting = {};
};

std::string CountText(std::int64_t n, std::string_view one, std::string_view many) {
  return Str(n, " ", n == 1 ? one : many);
}

// How to get a worker where none is connected.
std::string_view WorkerRemedy(bool is_remote) {
  return is_remote ? "let one join: start longrun-worker on any machine with a token that "
                     "`longrun admin join-token create` makes (docs/security.md), or `longrun "
                     "pilot slurm` on a machine of a cluster"
                   : "start one: `longrun up` on this machine; or, if the coordinator runs with "
                     "--listen HOST:PORT, longrun-worker on another, or `longrun pilot slurm` on "
                     "a machine of a cluster";
}

// The fitting slots of a class that take nothing now, by what keeps them.
struct Taken {
  std::int64_t n_busy = 0, n_pausing = 0, n_no_room = 0, n_no_disk = 0, n_quarantined = 0,
               n_drained = 0, n_outdated = 0, n_full = 0, n_leaving = 0, n_away = 0;
  const Worker* full = nullptr;     // the first worker with a full disk
  std::string refusal;              // why a worker refused a task, for its disk or its trainer
  const Worker* no_disk = nullptr;  // the first worker whose disk lacks room for what it reads
  std::string leaving, away;  // one of these workers; one that is not drained, if there is any
  std::string released_by;    // a command that gives a connected worker's slot work at once
  Instant pause_end = 0, room_at = 0;

  void Add(const State& state, const ReadyClass& ready, const Worker& worker, const Slot& slot,
           const Moment& moment) {
    const bool is_away = worker.lost || !worker.session || IsSilent(state, worker, moment.now);
    const auto pause = worker.pauses.find(slot.index);
    if (worker.draining || WorkLeftMs(state, worker, moment.now, moment.wall_ms) == 0) {
      n_leaving += 1;
      if (leaving.empty() || !worker.drain) leaving = worker.id;
    } else if (is_away) {
      n_away += 1;
      if (away.empty() || !worker.drain) away = worker.id;
    } else if (worker.drain) {
      n_drained += 1;
      released_by = Str("longrun undrain ", worker.id);
    } else if (IsQuarantined(worker, slot)) {
      n_quarantined += 1;
      if (n_drained == 0) {
        released_by = Str("longrun worker release ", worker.id, " --slot ", slot.index);
      }
    } else if (!CanGetFiles(worker)) {
      n_outdated += 1;
    } else if (HasFullDisk(worker)) {
      n_full += 1;
      if (full == nullptr) full = &worker;
    } else if (worker.busy.contains(slot.index)) {
      n_busy += 1;
    } else if (pause != worker.pauses.end() && pause->second.until > moment.now) {
      if (n_pausing++ == 0 || pause->second.until < pause_end) pause_end = pause->second.until;
      if (refusal.empty() && !pause->second.refusal.empty()) {
        refusal = Str("worker ", worker.id, " refused a task: ", pause->second.refusal);
      }
    } else if (HasNoRoom(worker, ready, moment.now)) {
      const RoomPause& no_room = worker.no_room.at({ready.dataset_digest, ready.text_digest});
      const bool is_first = n_no_room + n_no_disk == 0;
      if (is_first || no_room.until < room_at) room_at = no_room.until;
      (no_room.disk_refusal.empty() ? n_no_room : n_no_disk) += 1;
      if (no_disk == nullptr && !no_room.disk_refusal.empty()) {
        no_disk = &worker;
        refusal = Str("worker ", worker.id, " on ", worker.host,
                      " refused a task that reads the same data: ", no_room.disk_refusal);
      }
    }
  }

  // Whether the task waits only for room on a disk.
  bool IsHeldByDisk() const {
    return full != nullptr && n_busy == 0 && n_no_room == 0 && n_no_disk == 0 && n_pausing == 0;
  }

  std::string Text() const {
    std::vector<std::string> parts;
    const auto add = [&](std::int64_t n, std::string_view one, std::string_view many) {
      if (n > 0) parts.push_back(CountText(n, one, many));
    };
    add(n_busy, "is busy", "are busy");
    add(n_no_room, "is on a worker whose cache is in use by other tasks",
        "are on workers whose caches are in use by other tasks");
    add(n_no_disk, "is on a worker whose disk has too little room for what it reads",
        "are on workers whose disks have too little room for what it reads");
    add(n_pausing, "pauses after a failure or a refusal", "pause after failures or refusals");
    add(n_full, "is on a worker whose disk is full", "are on workers whose disks are full");
    add(n_drained, "is drained", "are drained");
    add(n_quarantined, "is quarantined", "are quarantined");
    add(n_outdated, "is on a worker of an older release", "are on workers of older releases");
    add(n_leaving, Str("is on worker ", leaving, ", which is stopping or has stopped"),
        Str("are on workers that are stopping or have stopped, such as ", leaving));
    add(n_away, Str("is on worker ", away, ", which is not heard from"),
        Str("are on workers that are not heard from, such as ", away));
    std::string text = Str("no slot that can run it is free: ", Join(parts, ", "));
    if (full != nullptr) text += Str("; ", FullDiskText(*full));
    if (full != nullptr && !IsHeldByDisk()) text += Str(": ", FullDiskRemedy(*full));
    if (!refusal.empty()) text += Str("; ", refusal);
    return text;
  }
};

void Choose(const Taken& taken, const ReadyClass& ready, ClassGate& of) {
  // Where nothing ends by itself, the connected workers come first: one command is enough.
  const std::string released_by =
      taken.released_by.empty() ? "" : Str("`", taken.released_by, "`, or ");
  if (taken.n_busy > 0) {
    of.gate = Gate::kNoFreeSlot;
    of.remedy =
        Str("nothing to do; it starts by itself when a slot is free (`longrun workers` shows what "
            "they run); ",
            released_by, "another worker would take it sooner");
  } else if (taken.n_no_room > 0) {
    of.gate = Gate::kCacheInUse;
    of.until = taken.room_at;
    of.remedy =
        "nothing to do; it is offered again by itself; a worker with larger --cache-bytes would "
        "take it sooner";
  } else if (taken.n_no_disk > 0) {
    of.gate = Gate::kWorkerDiskFull;
    of.until = taken.room_at;
    of.remedy =
        Str("make room in that folder on ", taken.no_disk->host,
            "; it is then offered again by itself; or let a worker with a larger disk join");
  } else if (taken.n_pausing > 0) {
    of.gate = Gate::kSlotPauses;
    of.until = taken.pause_end;
    of.remedy = Str(taken.refusal.empty() ? "nothing to do; it is offered again by itself"
                                          : "resolve what the worker names; it is then offered "
                                            "again by itself",
                    "; another worker would take it sooner");
  } else if (taken.IsHeldByDisk()) {
    of.gate = Gate::kWorkerDiskFull;
    of.remedy = FullDiskRemedy(*taken.full);
  } else if (taken.n_leaving > 0) {
    of.gate = Gate::kWorkerLeaves;
    of.remedy = Str(released_by, "start worker ", taken.leaving, " again, or another one");
  } else {
    of.gate = Gate::kWorkerAway;
    of.remedy = Str(released_by, "look at the machine of worker ", taken.away,
                    ", and whether its daemon longrun-worker runs; or ", WantedText(ready));
  }
}

// How the run was begun, if that keeps its tasks from other slots of present workers.
std::string BoundText(const State& state, const ReadyClass& ready, std::size_t n_fitting) {
  if (!ready.execution) return "";
  std::size_t n_all = 0;
  for (const auto& [id, worker] : state.workers) {
    if (!worker.lost) n_all += worker.slots.size();
  }
  if (n_all <= n_fitting) return "";
  const Execution& execution = *ready.execution;
  return Str(
      "; ",
      CountText(static_cast<std::int64_t>(n_all - n_fitting), "other slot does", "other slots do"),
      " not have the settings with which its run began (",
      execution.device_kind == DeviceKind::kGpu
          ? Str("device ", execution.device_name)
          : Str(execution.threads, " threads, instruction set ", execution.simd, ", matrix path ",
                execution.linear),
      ")");
}

// What holds a task, without the words that only its own text needs: tasks with the same value are
// told together.
struct Held {
  Gate gate = Gate::kNone;
  std::string by = {};
  auto operator<=>(const Held&) const = default;
};

class Finder {
 public:
  Finder(const State& state, const Moment& moment, bool is_remote)
      : state_(state), moment_(moment), is_remote_(is_remote), free_(FreeSlots(state, moment)) {
    for (const Attempt* const attempt : QuietAttempts(state, moment.now)) {
      quiet_.insert(attempt->id);
    }
  }

  Held HeldBy(const Task& task) {
    switch (task.state) {
      case TaskState::kBlocked: {
        if (const std::string* const sweep = HoldingSweep(state_, task.id)) {
          return {.gate = Gate::kPaused, .by = *sweep};
        }
        const auto needed = state_.tasks.find(task.needs);
        if (needed == state_.tasks.end()) return {.gate = Gate::kNeedsTask};
        const Held held = HeldBy(needed->second);
        return {.gate = Gate::kNeedsTask,
                .by = Str(EnumName(needed->second.state), " ", EnumName(held.gate), " ", held.by)};
      }
      case TaskState::kReady:
        return OfReady(task);
      case TaskState::kReserved:
      case TaskState::kRunning:
      case TaskState::kStopping:
        return OfLive(task);
      case TaskState::kSucceeded:
      case TaskState::kCancelled:
        return {.gate = Gate::kEnded};
      case TaskState::kFailed:
      case TaskState::kSkipped:
        return {.gate = Gate::kEnded, .by = ClassOfFailure(RootOf(task))};
    }
    LR_CHECK(false);
  }

  // After a restore, the pause may end before anything is placed.
  void FillBackOff(const Task& task, Why& why) {
    why.until = std::max(task.not_before, state_.place_not_before);
    why.remedy = task.not_before < state_.place_not_before
                     ? "nothing to do; it is tried again by itself once the workers have had time "
                       "to report what "
                       "they did since the backup"
                     : "nothing to do; it is tried again by itself after the pause";
  }

  Why Of(const Task& task) {
    if (IsBeingSubmitted(state_, task.id)) {
      return {.gate = Gate::kNone, .text = "its sweep is still being submitted"};
    }
    const Held held = HeldBy(task);
    Why why = {.gate = held.gate, .text = task.reason};
    switch (held.gate) {
      case Gate::kNone:
        FillUnheld(task, why);
        break;
      case Gate::kEnded:
        FillEnded(task, why);
        break;
      case Gate::kUnreadable:
        why.text = WhyUnknown(state_, task);
        why.remedy = state_.runs.at(task.run_key).damaged
                         ? "restore a backup, or submit the sweep's file again, which rewrites it"
                         : "use a build that can read it, or cancel its sweep";
        break;
      case Gate::kPaused:
        why.text = HoldReason(state_, task.id);
        why.remedy = Str("`longrun resume ", *HoldingSweep(state_, task.id), "`");
        break;
      case Gate::kNeedsTask:
        FillBlocked(task, why);
        break;
      case Gate::kBackOff:
        FillBackOff(task, why);
        break;
      case Gate::kRestored:
        why.text = Str(
            "a backup was restored", state_.restored_at.empty() ? "" : " at ", state_.restored_at,
            ", and nothing is started until the workers have had time to report what they did "
            "since");
        why.until = state_.place_not_before;
        why.remedy = "nothing to do; it starts by itself";
        break;
      case Gate::kSilentFolder:
      case Gate::kNoFit:
      case Gate::kCacheTooSmall:
      case Gate::kDrained:
      case Gate::kQuarantined:
      case Gate::kOutdated: {
        const ReadyClass& ready = state_.index.ready.at(task.ready_class);
        why.text = Str(ready.unfit, held.gate == Gate::kNoFit ? LostText(ready) : "");
        why.remedy = ready.unfit_remedy;
        break;
      }
      case Gate::kNoWorker:
      case Gate::kCacheInUse:
      case Gate::kSlotPauses:
      case Gate::kWorkerDiskFull:
      case Gate::kWorkerLeaves:
      case Gate::kWorkerAway:
      case Gate::kNoFreeSlot:
        FillWaiting(task, why);
        break;
      case Gate::kTooShort:
        why.text =
            Str("what is left of the free workers' allocations is too short", NeedsText(task));
        why.remedy = "let a worker with more time left connect: a pilot with a longer --time";
        break;
      case Gate::kAvoids:
        why.text = Str("it failed on worker ", task.avoid_worker,
                       " and waits for a slot elsewhere, since another one fits");
        why.until = task.not_before + kAvoidMs;
        why.remedy =
            Str("nothing to do; it starts by itself, at the latest after that time on worker ",
                task.avoid_worker, " again");
        break;
      case Gate::kOffered:
      case Gate::kWorkerSilent:
      case Gate::kTrainerSilent:
      case Gate::kStopping:
        FillLive(task, why);
        break;
    }
    return why;
  }

 private:
  // The task at the end of the chain of those that it needs and that do not succeed: itself, if it
  // needs none.
  const Task& RootOf(const Task& task) const {
    const Task* root = &task;
    while (true) {
      const auto needed = state_.tasks.find(root->needs);
      if (needed == state_.tasks.end() || needed->second.state == TaskState::kSucceeded) {
        return *root;
      }
      root = &needed->second;
    }
  }

  const Attempt* NewestOf(const Task& task) const {
    const auto attempt = state_.attempts.find(task.attempt);
    return attempt == state_.attempts.end() ? nullptr : &attempt->second;
  }

  std::string ClassOfFailure(const Task& task) const {
    const Attempt* const attempt = NewestOf(task);
    return attempt == nullptr ? "" : attempt->failure_class;
  }

  Held OfReady(const Task& task) {
    const auto ready = state_.index.ready.find(task.ready_class);
    if (ready == state_.index.ready.end()) {
      if (std::string unknown = WhyUnknown(state_, task); !unknown.empty()) {
        return {.gate = Gate::kUnreadable, .by = std::move(unknown)};
      }
      if (const std::string* const sweep = HoldingSweep(state_, task.id)) {
        return {.gate = Gate::kPaused, .by = *sweep};
      }
      if (IsBeingSubmitted(state_, task.id)) return {.gate = Gate::kNone};
      if (IsAboutToReturn(state_, task)) return {.gate = Gate::kNone};
      return {.gate = Gate::kBackOff, .by = ClassOfFailure(task)};
    }
    if (state_.place_not_before > moment_.now) return {.gate = Gate::kRestored};
    if (!ready->second.unfit.empty()) {
      return {.gate = ready->second.unfit_gate, .by = ready->second.unfit};
    }
    const ClassGate& of = GateOf(ready->first, ready->second);
    if (of.gate != Gate::kNone) return {.gate = of.gate, .by = of.text};
    const auto is_too_short = [&](const FreeSlot& slot) { return slot.left_ms <= task.needs_ms; };
    if (std::ranges::all_of(of.free, is_too_short)) return {.gate = Gate::kTooShort};
    if (task.avoid_worker.empty()) return {};
    const Avoided avoided = AvoidedBy(state_, ready->second, task, moment_);
    const bool avoids = std::ranges::all_of(of.free, [&](const FreeSlot& slot) {
      return is_too_short(slot) || avoided.Covers(*slot.worker, *slot.slot);
    });
    return avoids ? Held{.gate = Gate::kAvoids, .by = task.avoid_worker} : Held();
  }

  Held OfLive(const Task& task) const {
    const Attempt& attempt = state_.attempts.at(task.attempt);
    if (!WhyUnheard(state_, attempt, moment_.now).empty()) {
      return {.gate = Gate::kWorkerSilent, .by = attempt.worker};
    }
    if (task.state == TaskState::kStopping) return {.gate = Gate::kStopping};
    if (task.state == TaskState::kReserved) return {.gate = Gate::kOffered};
    return {.gate = quiet_.contains(attempt.id) ? Gate::kTrainerSilent : Gate::kNone};
  }

  // Looks at the slots once for all tasks of a class.
  const ClassGate& GateOf(const std::string& name, const ReadyClass& ready) {
    const auto [known, is_new] = gates_.try_emplace(name);
    ClassGate& of = known->second;
    if (!is_new) return of;
    Taken taken;
    for (const auto& [id, worker] : state_.workers) {
      for (const Slot& slot : worker.slots) {
        if (!Fits(ready, worker, slot)) continue;
        of.fitting.emplace_back(&worker, &slot);
        taken.Add(state_, ready, worker, slot, moment_);
      }
    }
    for (const FreeSlot& slot : free_) {
      const bool takes =
          !HasNoRoom(*slot.worker, ready, moment_.now) && Fits(ready, *slot.worker, *slot.slot);
      if (takes) of.free.push_back(slot);
    }
    if (!of.free.empty()) return of;
    if (of.fitting.empty()) {
      of.gate = Gate::kNoWorker;
      of.text = "no worker is connected";
      of.remedy = WorkerRemedy(is_remote_);
      return of;
    }
    of.text = taken.Text() + BoundText(state_, ready, of.fitting.size());
    Choose(taken, ready, of);
    return of;
  }

  // How many READY tasks a slot that fits the task would take before it.
  std::int64_t CountBefore(const Task& task, const ClassGate& of) const {
    const ReadyClass& own = state_.index.ready.at(task.ready_class);
    const ReadyClass::Key mine = ReadyKey(state_, task);
    std::int64_t n_before = 0;
    for (const auto& [name, other] : state_.index.ready) {
      const auto fits = [&](const auto& at) { return Fits(other, *at.first, *at.second); };
      if (&other != &own && std::ranges::none_of(of.fitting, fits)) continue;
      for (const ReadyClass::Key& key : other.tasks) {
        if (!(key < mine) || n_before == kBeforeMax) break;
        n_before += 1;
      }
    }
    return n_before;
  }

  void FillWaiting(const Task& task, Why& why) {
    const ClassGate& of = GateOf(task.ready_class, state_.index.ready.at(task.ready_class));
    why.text = of.text;
    why.remedy = of.remedy;
    why.until = of.until;
    if (why.gate != Gate::kNoFreeSlot) return;
    why.n_before = CountBefore(task, of);
    why.text += *why.n_before == 0
                    ? std::string("; it is the next one")
                    : Str("; ", *why.n_before >= kBeforeMax ? "at least " : "",
                          CountText(*why.n_before, "task is", "tasks are"), " placed before it");
  }

  void FillUnheld(const Task& task, Why& why) const {
    if (task.state == TaskState::kRunning) return FillLive(task, why);
    why.text = "nothing holds it: it is offered to a worker in a moment";
  }

  void FillLive(const Task& task, Why& why) const {
    const Attempt& attempt = state_.attempts.at(task.attempt);
    const auto worker = state_.workers.find(attempt.worker);
    const std::string where =
        Str("worker ", attempt.worker,
            attempt.device_index >= 0 ? Str(", slot ", attempt.device_index) : "");
    const std::string room =
        worker == state_.workers.end() ? "" : WaitForRoomText(worker->second, attempt, moment_.now);
    switch (why.gate) {
      case Gate::kOffered:
        why.text = attempt.state == AttemptState::kOffered
                       ? Str("attempt ", attempt.n, " is offered to ", where,
                             ", which has not answered yet")
                       : Str("attempt ", attempt.n, " is prepared on ", where,
                             ": the worker fetches what the task reads, and starts its trainer");
        why.remedy = "it begins by itself";
        break;
      case Gate::kWorkerSilent:
        why.text = WhyUnheard(state_, attempt, moment_.now);
        if (worker != state_.workers.end()) why.until = LeaseEnd(state_, worker->second);
        why.remedy = Str("look at the machine of worker ", attempt.worker,
                         " and at its daemon; after the time of its lease, another worker that "
                         "fits continues the task from its last checkpoint");
        break;
      case Gate::kTrainerSilent:
        why.text = Str("its trainer on ", where,
                       " has reported nothing for unusually long, but still runs");
        why.remedy = room.empty()
                         ? Str("it may be computing a long step, waiting for memory or a disk, or "
                               "stopped by a signal: `longrun logs ",
                               ShortId(task.id), "` shows its last lines")
                         : room;
        break;
      case Gate::kStopping: {
        const std::int64_t grace_ms = GraceMs(state_, attempt);
        why.remedy =
            grace_ms == 0
                ? std::string("its trainer is being killed: there is nothing to do")
                : Str("its trainer has ", grace_ms / 1000, " s to write a checkpoint and end");
        break;
      }
      default:
        why.text = Str("nothing holds it: attempt ", attempt.n, " runs on ", where);
        why.remedy = room;
    }
  }

  void FillBlocked(const Task& task, Why& why) {
    const auto needed = state_.tasks.find(task.needs);
    if (needed == state_.tasks.end()) return;
    const Why of_needed = Of(needed->second);
    why.text =
        Str(WaitReason(task), ", which is ", EnumName(needed->second.state), ": ", of_needed.text);
    why.remedy =
        of_needed.remedy.empty() ? "it starts when that task has succeeded" : of_needed.remedy;
    why.root = of_needed.root.empty() ? needed->first : of_needed.root;
  }

  void FillEnded(const Task& task, Why& why) const {
    if (task.state == TaskState::kSucceeded) return;
    const Task& root = RootOf(task);
    if (&root != &task) why.root = root.id;
    // A run that only cancelled sweeps want is not tried again by itself (retry.cc).
    const bool is_unwanted = OnlyCancelledSweepsHave(state_, task.id);
    const std::string retry =
        Str("`longrun retry ",
            is_unwanted ? NewestSweepOf(state_, task.id) : std::string(ShortId(task.run_key)), "`");
    // Another sweep has had the training tried again since.
    const bool is_stale =
        task.state == TaskState::kSkipped && (&root == &task || !IsTerminal(root.state));
    if (is_stale) {
      why.text = Str("the training it needs (task ", ShortId(task.needs),
                     ") had ended without a result; since then it ",
                     &root == &task ? "has succeeded" : "is tried again");
      why.remedy =
          Str(&root == &task ? "" : "when it has succeeded, ", retry, " tries this task again");
      return;
    }
    if (root.state == TaskState::kCancelled) {
      why.remedy = Str("submit its sweep again, or ", retry, ", to continue it");
      return;
    }
    const std::string logs = Str("`longrun logs ", ShortId(root.id), "` shows its log");
    why.remedy = FailedForGood(state_, task)
                     ? Str(logs, "; it would diverge again, so change the sweep file and submit it")
                     : Str(logs, "; once the cause is gone, ", retry, " tries it again");
  }

  // Workers that could run the class, and that have been silent for too long.
  std::string LostText(const ReadyClass& ready) const {
    for (const auto& [id, worker] : state_.workers) {
      const auto fits = [&](const Slot& slot) { return Fits(ready, worker, slot); };
      if (!worker.lost || std::ranges::none_of(worker.slots, fits)) continue;
      return Str("; worker ", id, " (", worker.host,
                 ") could run it, but nothing has been heard from it for longer than its lease");
    }
    return "";
  }

  const State& state_;
  const Moment moment_;
  const bool is_remote_;
  const std::vector<FreeSlot> free_;
  std::set<std::string> quiet_;             // attempts
  std::map<std::string, ClassGate> gates_;  // by class
};

std::string FreeSpaceText(const Worker& worker) {
  return Str("free some space ", worker.folder.empty() ? "there" : Str("in ", worker.folder),
             " on ", worker.host);
}

// What a reader wants to see first: what waits, what failed, what runs, what has succeeded.
int RankOf(const WhyGroup& group) {
  if (group.state == TaskState::kSucceeded) return 3;
  if (group.gate == Gate::kNone || group.gate == Gate::kOffered) return 2;
  return group.gate == Gate::kEnded ? 1 : 0;
}

}  // namespace

std::string FullDiskRemedy(const Worker& worker) {
  return Str(FreeSpaceText(worker), "; worker ", worker.id, " then takes tasks by itself");
}

std::string FullDiskText(const Worker& worker) {
  return Str("worker ", worker.id, " takes no tasks, since only ",
             FormatBytes(worker.disk.free_bytes), " are free on its disk, ",
             FormatBytes(worker.disk.wanted_bytes), " required (--disk-free-bytes-min)");
}

std::string WaitForRoomText(const Worker& worker, const Attempt& attempt, Instant now) {
  constexpr std::int64_t kLittleBytes = 16 << 20;  // less than most checkpoints
  constexpr std::int64_t kSilentMs = 60'000;       // a trainer reports about once a second
  // A trainer that waits for room reports nothing.
  if (now - attempt.recorded_at <= std::max(kSilentMs, attempt.record_gap_ms)) return "";
  const bool is_known = worker.disk.bytes > 0;
  if (!HasFullDisk(worker) && !(is_known && worker.disk.free_bytes < kLittleBytes)) return "";
  return Str("only ", FormatBytes(worker.disk.free_bytes),
             " are free on the worker's disk, so the trainer may be waiting for room, for ",
             FormatDurationMs(kRoomPatienceMs), " at most: ", FreeSpaceText(worker),
             ", and it goes on");
}

std::string NotHeardText(const Attempt& attempt) {
  return Str("attempt ", attempt.n, " is on worker ", attempt.worker,
             ", which has not been heard from");
}

Why WhyHeld(const State& state, const Task& task, Instant now, std::int64_t wall_ms,
            bool is_remote) {
  return Finder(state, {.now = now, .wall_ms = wall_ms}, is_remote).Of(task);
}

std::vector<WhyGroup> GroupByGate(const State& state, const std::set<std::string>& tasks,
                                  Instant now, std::int64_t wall_ms, bool is_remote) {
  Finder finder(state, {.now = now, .wall_ms = wall_ms}, is_remote);
  using Key = std::tuple<TaskState, TaskKind, Held>;
  std::map<Key, WhyGroup> groups;
  for (const std::string& id : tasks) {
    const Task& task = state.tasks.at(id);
    Held held = finder.HeldBy(task);
    const Gate gate = held.gate;
    WhyGroup& group = groups[Key(task.state, task.kind, std::move(held))];
    group.state = task.state;
    group.gate = gate;
    group.n_tasks += 1;
    const auto order = [](const Task& one) { return std::pair(-one.priority, one.ready_seq); };
    if (group.example == nullptr || order(task) < order(*group.example)) group.example = &task;
  }
  std::vector<WhyGroup> listed;
  for (auto& [key, group] : groups) {
    group.why = finder.Of(*group.example);
    listed.push_back(std::move(group));
  }
  const auto order = [](const WhyGroup& group) {
    return std::tuple(RankOf(group), group.gate == Gate::kNeedsTask, -group.n_tasks);
  };
  std::ranges::stable_sort(
      listed, [&](const WhyGroup& a, const WhyGroup& b) { return order(a) < order(b); });
  return listed;
}

bool CouldTake(const State& state, const Task& task, DeviceKind kind,
               const std::vector<Slot>& slots, std::int64_t work_ms) {
  const auto ready = state.index.ready.find(task.ready_class);
  return ready != state.index.ready.end() && task.needs_ms < work_ms &&
         FitsNewWorker(ready->second, kind, slots);
}

}  // namespace longrun::coordinator
