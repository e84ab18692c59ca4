#include "tests/simulation/checker.h"

#include <algorithm>

#include "base/str.h"
#include "base/ulid.h"
#include "coordinator/scheduler/step.h"  // what Step() itself asks of slots

namespace longrun::coordinator {
namespace {

// The attempt that an event speaks of, or "".
struct SubjectOf {
  std::string operator()(const JournalReceived& e) const { return e.attempt; }
  std::string operator()(const AttemptFinished& e) const { return e.attempt; }
  std::string operator()(const AttemptAccepted& e) const { return e.attempt; }
  std::string operator()(const AttemptRejected& e) const { return e.attempt; }
  template <typename Other>
  std::string operator()(const Other&) const {
    return "";
  }
};

const Slot& SlotOf(const State& state, const Attempt& attempt) {
  return state.workers.at(attempt.worker).slots.at(static_cast<std::size_t>(attempt.device_index));
}
// In what the slots of the simulated workers differ.
bool Honours(const Slot& slot, const Execution& execution) {
  return execution.simd == slot.simd &&
         (execution.head == HeadChunks::kByLogits || HasWideHead(slot));
}

// Whether a worker with the id in the Hello, but with another folder, has a session or attempts in
// progress.
bool IsOfAnother(const State& state, const Worker& hello) {
  const auto known = state.workers.find(hello.id);
  if (known == state.workers.end() || known->second.folder_id.empty()) return false;
  const bool has_attempts = std::ranges::any_of(state.index.live, [&](const std::string& id) {
    return state.attempts.at(id).worker == hello.id;
  });
  return known->second.folder_id != hello.folder_id && (known->second.session || has_attempts);
}

// A start that is heard so long after it is late.
constexpr Instant kLateMs = 5'000;

// `sweeps`: the tasks of each. `of`: a State or a FoldedStore.
bool OnlyPausedSweepsWant(const std::string& task, const auto& sweeps, const auto& of) {
  bool held = false;
  for (const auto& [id, tasks] : sweeps) {
    if (of.cancelled_sweeps.contains(id) || std::ranges::count(tasks, task) == 0) continue;
    // What is being submitted releases no task before its last part.
    if (id == of.submitting) continue;
    if (!of.paused_sweeps.contains(id)) return false;
    held = true;
  }
  return held;
}

// Whether the step moved the attempt to RUNNING.
bool IsSaidToRun(const StepResult& result, const std::string& attempt) {
  return std::ranges::any_of(result.writes, [&](const Write& write) {
    const auto* const put = std::get_if<PutTransition>(&write);
    return put && put->subject == "attempt" && put->id == attempt && put->to == "RUNNING";
  });
}

// An order about a sweep of the task has not ended.
bool IsAwaitingOrder(const State& state, const std::string& task) {
  return state.order && state.sweep_tasks.at(state.order->sweep_id).contains(task);
}

}  // namespace

void SimChecker::BeforeStep(const State& state, const SchedulerEvent& event) {
  fenced_task_.reset();
  const auto* const hello = std::get_if<WorkerArrived>(&event);
  takes_id_ = hello != nullptr && IsOfAnother(state, hello->worker);
  over_.clear();
  const auto attempt = state.attempts.find(std::visit(SubjectOf{}, event));
  if (attempt == state.attempts.end()) return;
  if (!IsLive(attempt->second.state)) over_ = attempt->first;
  over_ms_ = attempt->second.duration_ms;
  const Task& task = state.tasks.at(attempt->second.task);
  if (!IsLive(attempt->second.state) || attempt->second.epoch < task.epoch) fenced_task_ = task;
}

// I-44.
void SimChecker::CheckTwin(const State& state, const WorkerArrived& hello) {
  const Worker& worker = state.workers.at(hello.worker.id);
  const bool is_twin = hello.worker.incarnation.starts_with("twin");
  if (worker.session != hello.session) {
    if (is_twin) world_.stats.fired["twin refused"] += 1;
    return;
  }
  if (is_twin) world_.stats.fired["twin took a free place"] += 1;
  if (!takes_id_) return;
  world_.Violate(Str("I-44: another worker has taken the place of worker ", hello.worker.id));
}

// A temporary worker says how long it still works; the older one of two processes is not heard. A
// message takes a while, so of two ends that a process names, the earlier one is closer to the
// truth.
void SimChecker::NoteAllocation(const State& state, const WorkerArrived& hello) {
  const auto worker = state.workers.find(hello.worker.id);
  if (worker == state.workers.end() || worker->second.session != hello.session) return;
  const auto known = allocated_.find(hello.worker.id);
  const bool goes_on =
      known != allocated_.end() && known->second.incarnation == hello.worker.incarnation;
  if (known != allocated_.end() && !goes_on && known->second.IsOver(world_.now)) {
    for (const auto& [attempt, on] : placed_on_) {
      // What a restored database does not know, and does not adopt now, it may adopt later.
      if (on == hello.worker.id && state.attempts.contains(attempt)) outlived_.insert(attempt);
    }
  }
  if (!hello.allocation) {
    allocated_.erase(hello.worker.id);
    return;
  }
  Instant work_end = world_.now + hello.allocation->work_left_ms.value();
  if (goes_on) work_end = std::min(work_end, known->second.work_end);
  allocated_[hello.worker.id] = {.incarnation = hello.worker.incarnation, .work_end = work_end};
}

void SimChecker::NoteLeaving(const State& state, const WorkerLeaves& event) {
  const auto session = state.index.sessions.find(event.session);
  if (session == state.index.sessions.end()) return;
  const auto allocated = allocated_.find(session->second);
  if (allocated != allocated_.end()) allocated->second.leaves = true;
}

// Nothing is placed where its trainer would have to stop at once.
void SimChecker::CheckAllocation(const Attempt& attempt) {
  const auto allocated = allocated_.find(attempt.worker);
  if (attempt.device_index < 0 || allocated == allocated_.end()) return;  // adopted, or it stays
  world_.stats.fired["placed on an allocation"] += 1;
  placed_on_[attempt.id] = attempt.worker;
  if (!allocated->second.IsOver(world_.now)) return;
  world_.Violate(Str("I-40: attempt ", attempt.id, " is placed on worker ", attempt.worker,
                     ", whose work was to end at ", allocated->second.work_end));
}

// What its allocation has ended counts as nothing: it is over once the end has come that the worker
// named last, or once the worker has said that it leaves. A later process of the worker may name
// another end, but not for an allocation that was over when it came.
void SimChecker::CheckCutOff(const Attempt& attempt) {
  const auto worker = placed_on_.find(attempt.id);
  if (worker == placed_on_.end() || IsLive(attempt.state)) return;
  const auto allocated = allocated_.find(worker->second);
  const bool is_over = allocated != allocated_.end() && allocated->second.IsOver(world_.now);
  if (!is_over && !outlived_.contains(attempt.id)) return;
  if (attempt.state == AttemptState::kPreempted) {
    world_.stats.fired["cut off by an allocation's end"] += 1;
  }
  const FailureRow* const row = FindFailure(attempt.failure_class);
  const bool is_loss = row != nullptr && row->counted_as == CountedAs::kLoss;
  if (!is_loss || row->failure_class == FailureClass::kStorage) return;
  world_.Violate(Str("I-40: attempt ", attempt.id, " counts as ", row->name,
                     ", though its worker's allocation was over"));
}

void SimChecker::OnBoot() {
  first_.clear();
  bound_.clear();  // what was not committed is bound to nothing
  for (const auto& [key, run] : store_.runs) {
    if (run.execution) bound_.emplace(key, *run.execution);
  }
  // What was said and not committed is forgotten.
  allocated_.clear();
  for (const auto& [id, worker] : store_.workers) {
    if (!worker.allocation || !worker.allocation->work_end) continue;
    allocated_[id] = {.incarnation = worker.incarnation,
                      .work_end = worker.allocation->work_end->boot_ms,
                      .leaves = worker.draining};
  }
  std::erase_if(outlived_, [&](const std::string& id) {
    const auto stored = store_.attempts.find(id);
    return stored == store_.attempts.end() || !stored->second.outlived;
  });
  ended_.clear();  // each worker lists its attempts anew
  for (auto& [id, came] : recorded_) {
    const auto stored = store_.attempts.find(id);
    const std::int64_t n = stored == store_.attempts.end() ? 0 : stored->second.durable_seq;
    std::erase_if(came, [&](const auto& record) { return record.first > n; });
  }
  // What was not committed did not begin, or not as early as its lost records show.
  std::erase_if(running_since_, [&](const auto& begun) {
    const auto stored = store_.attempts.find(begun.first);
    return stored == store_.attempts.end() || stored->second.started_boot.empty();
  });
  for (auto& [id, since] : running_since_) {
    since = recorded_.at(id).rbegin()->second.begun;
    const Instant stored = store_.attempts.at(id).started_boot_ms;
    if (stored == since) continue;
    world_.Violate(
        Str("attempt ", id, " began at ", since, ", and is stored as begun at ", stored));
  }
}

// When the attempt was offered. Of one that was adopted only its id tells, on a clock that is set.
Instant SimChecker::OfferedAt(const Attempt& attempt) const {
  if (attempt.device_index >= 0) return offered_at_.at(attempt.id);
  const std::int64_t passed_ms = world_.WallMs() - UlidWallMs(attempt.id).value();
  return world_.now - std::max<std::int64_t>(0, passed_ms);
}

// A record that comes while the trainer is running, as far as the worker has said, shows that it
// has run until now, and since then for as long as its clock says, but not since before its offer.
// Of what comes later, or after the attempt was given up, only the trainer's clock tells.
void SimChecker::NoteRecords(const State& state, const SchedulerEvent& event,
                             const StepResult& result) {
  const auto note_list = [&](SessionId session, const std::vector<LiveAttempt>& listed) {
    if (!state.index.sessions.contains(session)) return;  // not heard: it has a newer one
    for (const LiveAttempt& live : listed) {
      if (!state.attempts.contains(live.attempt)) continue;  // not adopted: nobody knows it
      if (live.running) {
        ended_.erase(live.attempt);
      } else if (live.last_seq > 0 || running_since_.contains(live.attempt)) {
        ended_.insert(live.attempt);
      }
    }
  };
  if (const auto* const hello = std::get_if<WorkerArrived>(&event)) {
    note_list(hello->session, hello->attempts);
  }
  if (const auto* const heard = std::get_if<WorkerHeard>(&event)) {
    note_list(heard->session, heard->attempts);
  }
  for (const Write& write : result.writes) {
    const auto* const put = std::get_if<PutRecord>(&write);
    if (put == nullptr || !state.attempts.contains(put->attempt)) continue;
    Recorded recorded = {.begun = world_.now, .at = world_.now, .t_ms = put->record.t_ms};
    const auto earlier = recorded_[put->attempt].find(put->record.seq - 1);
    if (put->record.kind == RecordKind::kStarted && IsSaidToRun(result, put->attempt)) {
      running_since_[put->attempt] = world_.now;
      earliest_[put->attempt] = OfferedAt(state.attempts.at(put->attempt));
    }
    // An attempt begins when its `started` comes.
    if (put->record.kind != RecordKind::kStarted && earlier != recorded_[put->attempt].end()) {
      const Recorded& before = earlier->second;
      recorded.begun = before.begun;
      recorded.run_ms = before.run_ms + std::max<std::int64_t>(0, recorded.t_ms - before.t_ms);
      if (const auto since = running_since_.find(put->attempt); since != running_since_.end()) {
        const Instant by_trainer = world_.now - recorded.run_ms;
        recorded.begun = std::min(since->second, std::max(earliest_.at(put->attempt), by_trainer));
        if (recorded.begun + kLateMs < since->second) {
          world_.stats.fired["began long before it was heard"] += 1;
        }
        since->second = recorded.begun;
      }
      if (ended_.contains(put->attempt) || put->attempt == over_) {
        recorded.at = std::max(before.at, std::min(world_.now, recorded.begun + recorded.run_ms));
        if (recorded.at < world_.now) world_.stats.fired["ran by its trainer's clock"] += 1;
      }
    }
    recorded_[put->attempt][put->record.seq] = recorded;
  }
}

Instant SimChecker::UntilLastRecord(const std::string& attempt) const {
  const Instant since = running_since_.at(attempt);
  const auto came = recorded_.find(attempt);
  const bool has_records = came != recorded_.end() && !came->second.empty();
  return has_records ? std::max<Instant>(0, came->second.rbegin()->second.at - since) : 0;
}

// An attempt has run for at least as long as its trainer says, however late the coordinator hears
// of it; unless somebody set a clock: the trainer's, or that of an adopted attempt's offer.
void SimChecker::CheckHonest(const Attempt& attempt) {
  const SimFolder* const folder = FolderOf(attempt.id);
  const auto came = recorded_.find(attempt.id);
  if (folder == nullptr || folder->clock_was_set || came == recorded_.end()) return;
  if (came->second.empty() || earliest_.at(attempt.id) > offered_at_.at(attempt.id)) return;
  const Instant ran_ms = came->second.rbegin()->second.run_ms;
  if (attempt.duration_ms >= ran_ms) return;
  world_.Violate(Str("attempt ", attempt.id, " ran for ", ran_ms,
                     " ms, as its trainer says, and is said to have taken ", attempt.duration_ms));
}

void SimChecker::CheckDuration(const Attempt& attempt, Instant expected) {
  CheckHonest(attempt);
  if (attempt.duration_clock == DurationClock::kBoot && attempt.duration_ms == expected) return;
  world_.Violate(Str("attempt ", attempt.id, " took ", expected, " ms, and is said to have taken ",
                     attempt.duration_ms, " by the clock ", EnumName(attempt.duration_clock)));
}

void SimChecker::CheckDurationAtEnd(const Attempt& attempt, const SchedulerEvent& event) {
  const auto since = running_since_.find(attempt.id);
  if (IsLive(attempt.state) || since == running_since_.end()) return;
  const auto* const finished = std::get_if<AttemptFinished>(&event);
  const bool is_end_seen =
      finished != nullptr && finished->evidence.exit_known && !ended_.contains(attempt.id);
  const Instant until_now = world_.now - since->second;
  if (is_end_seen) return CheckDuration(attempt, until_now);
  const Instant to_last = UntilLastRecord(attempt.id);
  if (to_last < until_now) world_.stats.fired["ended unseen"] += 1;
  CheckDuration(attempt, to_last);
}

// Of an attempt that was over before this step.
void SimChecker::CheckLateDuration(const State& state, const StepResult& result) {
  const auto attempt = state.attempts.find(over_);
  if (attempt == state.attempts.end() || !running_since_.contains(over_)) return;
  const bool has_come = std::ranges::any_of(result.writes, [&](const Write& write) {
    const auto* const put = std::get_if<PutRecord>(&write);
    return put != nullptr && put->attempt == over_;
  });
  if (!has_come) return;
  const Instant expected = UntilLastRecord(over_);
  if (expected > over_ms_) world_.stats.fired["ran beyond its loss"] += 1;
  CheckDuration(attempt->second, expected);
}

// A run that goes on from another is computed as that one was.
const Execution* SimChecker::BoundTo(const State& state, const std::string& run_key) const {
  const auto own = bound_.find(run_key);
  if (own != bound_.end()) return &own->second;
  const std::string& parent = state.runs.at(run_key).run.parent;
  return parent.empty() ? nullptr : BoundTo(state, parent);
}

// How a task of the run is computed. An evaluation does not depend on what only training uses.
std::optional<Execution> SimChecker::BoundTo(const State& state, const std::string& run_key,
                                             TaskKind kind) const {
  const Execution* const bound = BoundTo(state, run_key);
  if (bound == nullptr) return std::nullopt;
  Execution execution = *bound;
  if (kind != TaskKind::kTrain) ClearTraining(execution);
  return execution;
}

// I-42. Nothing here is offered at the same time as another task of its run that has not started.
void SimChecker::CheckExecution(const State& state, const SendStart& start) {
  const Execution& execution = start.task.execution;
  execution_of_[start.task.attempt] = execution;
  const Attempt& attempt = state.attempts.at(start.task.attempt);
  if (!Honours(SlotOf(state, attempt), execution)) {
    world_.Violate(Str("I-42: attempt ", attempt.id, " is to use ", execution.simd, " and ",
                       EnumName(execution.head), ", which its slot does not have"));
  }
  const std::optional<Execution> bound =
      BoundTo(state, start.task.run_key, state.tasks.at(start.task.task).kind);
  if (!bound) {
    world_.stats.fired[attempt.n > 1 ? "offered again, unbound" : "offered unbound"] += 1;
  } else if (*bound != execution) {
    world_.Violate(Str("I-42: attempt ", attempt.id,
                       " is to compute its run in another way than "
                       "the attempt that started first"));
  }
}

// I-42: what a run is bound to is what an attempt of it started with.
void SimChecker::CheckBinding(const RunRecord& run) {
  if (!run.execution || !run.run.parent.empty()) return;
  const auto bound = bound_.find(run.run_key);
  if (bound != bound_.end() && bound->second == *run.execution) return;
  world_.Violate(Str(
      "I-42: run ", run.run_key, " is bound to ", run.execution->simd, ", and ",
      bound == bound_.end() ? "none of its attempts has started" : "started with something else"));
}

void SimChecker::AfterStep(const State& state, const SchedulerEvent& event,
                           const StepResult& result) {
  NoteRecords(state, event, result);
  CheckLateDuration(state, result);
  if (const auto* const hello = std::get_if<WorkerArrived>(&event)) {
    CheckTwin(state, *hello);
    NoteAllocation(state, *hello);
  }
  if (const auto* const leaves = std::get_if<WorkerLeaves>(&event)) NoteLeaving(state, *leaves);
  if (const auto* const put = std::get_if<SweepPrioritized>(&event); put && result.status.ok()) {
    first_ = state.sweep_tasks.at(put->sweep_id);
  }
  if (const auto* const sweep = std::get_if<SweepSubmitted>(&event);
      sweep && sweep->first && result.status.ok() && (!sweep->part || sweep->part->is_last)) {
    first_ = state.sweep_tasks.at(sweep->sweep_id);
  }
  for (const Write& write : result.writes) {
    if (const auto* const drop = std::get_if<DropTasks>(&write)) {
      for (const std::string& task : drop->tasks) first_.erase(task);
    } else if (const auto* const runs = std::get_if<DropRuns>(&write)) {
      for (const std::string& key : runs->run_keys) bound_.erase(key);
    } else if (const auto* const worker = std::get_if<DropWorker>(&write)) {
      if (allocated_.erase(worker->worker) > 0) {
        world_.stats.fired["temporary worker forgotten"] += 1;
      }
    }
  }
  for (const std::string& warning : result.warnings) {
    if (warning.find("is quarantined") != std::string::npos) {
      world_.stats.fired["slot quarantined"] += 1;
    }
  }
  for (const Write& write : result.writes) {
    const auto* const put = std::get_if<PutTransition>(&write);
    const bool is_placed = put && put->subject == "task" && put->from == "READY";
    if (is_placed && put->to == "RESERVED") {
      CheckPlacement(state, put->id);
      CheckAllocation(state.attempts.at(state.tasks.at(put->id).attempt));
    }
    if (put == nullptr || put->subject != "attempt") continue;
    if (put->to == "OFFERED") offered_at_[put->id] = world_.now;
    if (put->to == "RUNNING") {
      const Attempt& started = state.attempts.at(put->id);
      bound_.emplace(state.tasks.at(started.task).run_key, execution_of_.at(put->id));
    }
    const auto attempt = state.attempts.find(put->id);
    if (attempt == state.attempts.end()) continue;
    CheckDurationAtEnd(attempt->second, event);
    CheckCutOff(attempt->second);
  }
  for (const Command& command : result.commands) {
    const auto* const start = std::get_if<SendStart>(&command);
    if (start == nullptr) continue;
    CheckPreference(state, *start);
    CheckExecution(state, *start);
  }
  if (std::holds_alternative<TimePassed>(event)) CheckDeadlines(state);
  CheckSlotIndexes(state);
  CheckTallies(state);
  CheckReady(state);
  if (!fenced_task_) return;
  const auto wrong = [&](const std::string& what) {
    world_.Violate(Str("I-19: a fenced attempt of task ", fenced_task_->id, " ", what));
  };
  for (const Write& write : result.writes) {
    if (const auto* const put = std::get_if<PutTransition>(&write)) {
      // Another task's slot may have become free in the same step.
      const bool placed = put->from == "READY" && put->to == "RESERVED";
      if (put->id == fenced_task_->id && !placed) wrong(Str("moved it to ", put->to));
    } else if (const auto* const task = std::get_if<PutTask>(&write)) {
      if (task->task.id != fenced_task_->id) continue;
      if (task->task.checkpoints != fenced_task_->checkpoints) wrong("changed its checkpoints");
      if (task->task.result_attempt != fenced_task_->result_attempt) wrong("changed its result");
    } else if (const auto* const drop = std::get_if<DropCheckpoint>(&write)) {
      if (drop->task == fenced_task_->id) wrong("dropped a checkpoint");
    }
  }
}

// All slots of a kind are alike, so that what waits could have had this one; but for a task that
// has just failed on the worker, or is too large for its cache, or whose run is bound to the other
// kind.
void SimChecker::CheckPlacement(const State& state, const std::string& id) {
  if (first_.empty()) return;
  if (first_.contains(id)) {
    world_.stats.fired["placed first"] += 1;
    return;
  }
  const Attempt& attempt = state.attempts.at(state.tasks.at(id).attempt);
  if (attempt.device_index < 0) return;  // adopted
  for (const std::string& waits : first_) {
    const Task& task = state.tasks.at(waits);
    if (task.state != TaskState::kReady || task.not_before > world_.now) continue;
    if (task.avoid_worker == attempt.worker) continue;
    if (task.too_large_for.contains(attempt.worker)) continue;
    if (!state.workers.at(attempt.worker).no_room.empty()) continue;  // no room for it
    if (task.needs_ms > 0) continue;  // it waits for a worker that stays for longer
    const std::optional<Execution> bound = BoundTo(state, task.run_key, task.kind);
    if (bound && !Honours(SlotOf(state, attempt), *bound)) continue;
    // A pause counts at once, also before it is committed.
    if (OnlyPausedSweepsWant(waits, state.sweep_tasks, state)) continue;
    if (IsAwaitingOrder(state, waits)) continue;
    world_.Violate(Str("put first: task ", id, " is placed while task ", waits,
                       " of the sweep that was put first waits"));
  }
}

void SimChecker::CheckTallies(const State& state) {
  for (const auto& [sweep, tasks] : state.sweep_tasks) {
    SweepTally tally;
    for (const std::string& id : tasks) CountIn(tally, state.tasks.at(id));
    const SweepTally& kept = state.index.tallies.at(sweep);
    if (tally.n == kept.n && std::ranges::includes(kept.begun, tally.begun)) continue;
    world_.Violate(Str("sweep ", sweep, " has other tasks than its tally says"));
  }
}

// Every task that may be placed can be found.
void SimChecker::CheckReady(const State& state) {
  for (const auto& [id, task] : state.tasks) {
    if (task.state != TaskState::kReady || coordinator::IsHeld(state, id)) continue;
    const bool is_found =
        !task.ready_class.empty() || state.index.waiting.contains({task.not_before, id});
    if (is_found || !WhyUnknown(state, task).empty() || !state.submitting.empty()) continue;
    if (IsAwaitingOrder(state, id)) continue;
    world_.Violate(Str("task ", id, " is READY, and nothing holds it, but it is not in the index"));
  }
}

// What is kept of the slots between steps is what a search would find.
void SimChecker::CheckSlotIndexes(const State& state) {
  const Index& index = state.index;
  std::set<std::pair<Instant, std::string>> unanswered;
  for (const std::string& id : index.live) {
    const Attempt& attempt = state.attempts.at(id);
    if (attempt.state == AttemptState::kOffered) unanswered.insert({attempt.offered_at, id});
  }
  if (unanswered != index.unanswered) {
    world_.Violate(Str("the index has ", index.unanswered.size(),
                       " offers without an answer, and there are ", unanswered.size()));
  }
  if (index.idle_version == index.workers_version) {  // else it is found again when needed
    SlotIds idle;
    for (const auto& [id, worker] : state.workers) {
      for (const Slot& slot : worker.slots) {
        if (IsIdle(worker, slot)) idle.insert({id, slot.index});
      }
    }
    if (idle != index.idle) {
      world_.Violate(
          Str("the index has ", index.idle.size(), " idle slots, and there are ", idle.size()));
    }
  }
  if (index.fitting.version != index.workers_version) return;
  for (const auto& [name, kept] : index.fitting.classes) {
    const auto ready = index.ready.find(name);
    if (ready == index.ready.end()) continue;
    std::size_t n_fitting = 0;
    for (const auto& [id, worker] : state.workers) {
      for (std::size_t i = 0; i < worker.slots.size(); ++i) {
        if (!Fits(ready->second, worker, worker.slots[i])) continue;
        const bool is_kept = n_fitting < kept.size() && kept[n_fitting].worker == &worker &&
                             kept[n_fitting].slot == i;
        n_fitting += 1;
        if (!is_kept) world_.Violate(Str("slot ", i, " of worker ", id, " fits, and is not kept"));
      }
    }
    if (n_fitting != kept.size()) {
      world_.Violate(Str(kept.size(), " slots are kept as fitting, and ", n_fitting, " fit"));
    }
  }
}

// I-38: who is drained by now has been asked to stop, whatever the wall clock says.
void SimChecker::CheckDeadlines(const State& state) {
  for (const std::string& id : state.index.live) {
    const Attempt& attempt = state.attempts.at(id);
    const auto stored = store_.workers.find(attempt.worker);
    if (stored == store_.workers.end() || !drained_.contains(attempt.worker)) continue;
    const std::optional<Drain>& drain = stored->second.drain;
    if (!drain || !drain->deadline || drain->deadline->boot_ms > world_.now) continue;
    // A removal or an undrain that is not committed yet. CheckAttempt() finds a lost drain.
    if (!state.workers.at(attempt.worker).drain) continue;
    const Task& task = state.tasks.at(attempt.task);
    if (task.state == TaskState::kStopping) {
      world_.stats.fired["stopped by a drain"] += 1;
      continue;
    }
    world_.Violate(Str("I-38: worker ", attempt.worker, " had to be free at ",
                       drain->deadline->boot_ms, ", and its attempt ", id, " goes on"));
  }
}

bool SimChecker::IsHeld(const std::string& task) const {
  return OnlyPausedSweepsWant(task, store_.sweeps, store_);
}

bool SimChecker::IsOnlyBeingSubmitted(const std::string& task) const {
  if (store_.submitting.empty()) return false;
  return std::ranges::all_of(store_.sweeps, [&](const auto& sweep) {
    return sweep.first == store_.submitting || std::ranges::count(sweep.second, task) == 0;
  });
}

void SimChecker::CheckNothingIsHalfSubmitted() {
  for (const auto& [id, task] : store_.tasks) {
    if (IsTerminal(task.state) || task.cancel_wanted || store_.HasSweep(id)) continue;
    world_.Violate(Str("I-43: task ", id, " is ", EnumName(task.state), " and no sweep has it"));
  }
}

void SimChecker::OnPauseConfirmed(const std::string& sweep_id) {
  world_.stats.fired["paused"] += 1;
  // A later submission or resumption may have been committed together with the pause.
  if (!store_.paused_sweeps.contains(sweep_id)) return;
  for (const std::string& id : store_.sweeps.at(sweep_id)) {
    const Task& task = store_.tasks.at(id);
    const bool runs = task.state == TaskState::kReserved || task.state == TaskState::kRunning;
    if (!runs || !IsHeld(id)) continue;
    world_.Violate(Str("I-39: sweep ", sweep_id, " is paused, but its task ", id, " is ",
                       EnumName(task.state)));
  }
}

void SimChecker::OnDrainConfirmed(const std::string& worker) {
  world_.stats.fired["drained"] += 1;
  const auto stored = store_.workers.find(worker);
  // A temporary one may have been forgotten in the same transaction.
  const bool is_temporary = std::ranges::any_of(
      workers_, [&](const auto& one) { return one->id() == worker && one->is_temporary(); });
  if (stored == store_.workers.end() && is_temporary) return;
  drained_.insert(worker);
  if (stored == store_.workers.end() || !stored->second.drain) {
    world_.Violate(Str("I-38: worker ", worker, " is said to be drained, and is not"));
  }
}

// Over once a sweep is removed; and nothing makes it go on but a sweep that asks for it again.
void SimChecker::CheckOrphans() {
  for (const auto& [id, task] : store_.tasks) {
    if (IsTerminal(task.state) || store_.HasSweep(id)) continue;
    world_.Violate(Str("removed: task ", id, ", which no sweep has, is ", EnumName(task.state)));
  }
}

// It was collected. Under its key it may come again, as another one, whose epochs go on; or as it
// was, when a backup is restored.
void SimChecker::Forget(const std::string& task) {
  world_.stats.fired["task collected"] += 1;
  tasks_.erase(task);
  never_to_start_.erase(task);
  live_of_task_.erase(task);
  for (const std::string& attempt : task_attempts_[task]) {
    acked_.erase(attempt);
    collected_.insert(attempt);
    std::erase_if(live_of_slot_, [&](const auto& slot) { return slot.second == attempt; });
  }
  task_attempts_.erase(task);
}

void SimChecker::AfterCommit(const std::vector<Write>& writes) {
  for (const Write& write : writes) {  // a slot of its attempts may be taken in the same step
    if (const auto* const drop = std::get_if<DropTasks>(&write)) {
      for (const std::string& task : drop->tasks) Forget(task);
    }
  }
  for (const Write& write : writes) {  // wanted again: it may start in the same step
    if (const auto* const sweep = std::get_if<PutSweep>(&write)) {
      for (const std::string& id : sweep->tasks) never_to_start_.erase(id);
    } else if (const auto* const runs = std::get_if<PutSweepRuns>(&write)) {
      for (const std::string& id : runs->tasks) never_to_start_.erase(id);
    } else if (const auto* const put = std::get_if<PutSubmitting>(&write)) {
      if (put->sweep_id.empty()) CheckNothingIsHalfSubmitted();
    }
  }
  for (const Write& write : writes) {
    if (const auto* const put = std::get_if<PutAttempt>(&write)) {
      // As it stands now: a later step of the same transaction may have changed it again.
      CheckAttempt(store_.attempts.at(put->attempt.id));
    } else if (const auto* const record = std::get_if<PutRecord>(&write)) {
      CheckRecord(*record);
    } else if (const auto* const drop = std::get_if<DropWorker>(&write)) {
      // Even if the operator never gets the answer. If the worker comes back, it is a new one.
      world_.stats.fired["worker removed"] += 1;
      drained_.erase(drop->worker);
    }
  }
  for (const Write& write : writes) {
    if (const auto* const put = std::get_if<PutTask>(&write)) {
      CheckTask(store_.tasks.at(put->task.id));
    } else if (const auto* const run = std::get_if<PutRun>(&write)) {
      CheckBinding(run->run);
    }
  }
  CheckOrphans();
}

// I-41. The store has the worker as it was when the attempt was placed: rows of workers come first.
void SimChecker::CheckQuarantine(const Attempt& placed) {
  const auto worker = store_.workers.find(placed.worker);
  if (worker == store_.workers.end() || !worker->second.quarantined.contains(placed.device_index)) {
    return;
  }
  world_.Violate(Str("I-41: attempt ", placed.id, " is placed on slot ", placed.device_index,
                     " of worker ", placed.worker, ", which is quarantined"));
}

void SimChecker::CheckAttempt(const Attempt& attempt) {
  const Task& task = store_.tasks.at(attempt.task);
  if (attempt_round_.try_emplace(attempt.id, task.retry_round).second) {
    task_attempts_[task.id].push_back(attempt.id);
    world_.stats.fired["attempt"] += 1;
    if (attempt.device_index >= 0) {  // else adopted: it was placed before a restore
      if (!store_.HasSweep(task.id)) {
        world_.Violate(Str("removed: attempt ", attempt.id, " of a task that no sweep has"));
      }
      std::uint64_t& greatest = greatest_epoch_[task.id];
      if (attempt.epoch <= greatest) {
        world_.Violate(Str("epochs: attempt ", attempt.id, " of task ", task.id, " has epoch ",
                           attempt.epoch, ", an earlier one had ", greatest));
      }
      greatest = std::max(greatest, attempt.epoch);
    }
    CheckQuarantine(attempt);
    if (attempt.device_index >= 0 && drained_.contains(attempt.worker)) {
      world_.Violate(Str("I-38: attempt ", attempt.id, " is placed on worker ", attempt.worker,
                         ", which is drained"));
    }
    // Adopted attempts began before the pause.
    if (attempt.device_index >= 0 && IsHeld(task.id)) {
      world_.Violate(Str("I-39: attempt ", attempt.id, " of a paused task"));
    }
    if (IsOnlyBeingSubmitted(task.id)) {
      world_.Violate(Str("I-43: attempt ", attempt.id, " of a task that is still being submitted"));
    }
    if (never_to_start_.contains(task.id)) {
      world_.Violate(Str("I-16: attempt ", attempt.id, " of a task cancelled before its start"));
    }
    // I-9: what it needs has succeeded in the same database.
    if (!task.needs.empty() && store_.tasks.at(task.needs).state != TaskState::kSucceeded) {
      world_.Violate(Str("I-9: task ", task.id, " starts before what it needs has succeeded"));
    }
  }
  // The ends first: a task may be placed again in the transaction that ends its attempt.
  const std::pair<std::string, std::int64_t> slot = {attempt.worker, attempt.device_index};
  const auto free = [&](auto& holders, const auto& key) {
    const auto holder = holders.find(key);
    if (holder == holders.end()) return true;
    if (holder->second == attempt.id) return true;
    const auto held = store_.attempts.find(holder->second);
    if (held == store_.attempts.end()) {
      world_.Violate(Str("I-2: attempt ", holder->second, " was stored as live and is gone"));
      return true;
    }
    return !IsLive(held->second.state);
  };
  if (!IsLive(attempt.state)) return;
  if (!free(live_of_task_, task.id)) {
    world_.Violate(Str("I-2: task ", task.id, " has two live attempts"));
  }
  live_of_task_[task.id] = attempt.id;
  if (attempt.device_index < 0) return;  // adopted: its slot is not known
  if (!free(live_of_slot_, slot)) {
    world_.Violate(Str("I-3: slot ", slot.second, " of ", slot.first, " has two live attempts"));
  }
  live_of_slot_[slot] = attempt.id;
}

void SimChecker::CheckTask(const Task& task) {
  const auto [it, is_new] =
      tasks_.try_emplace(task.id, SeenTask{.state = task.state,
                                           .retry_round = task.retry_round,
                                           .epoch = task.epoch,
                                           .result_attempt = task.result_attempt});
  SeenTask& seen = it->second;
  const bool retried = task.retry_round > seen.retry_round;
  // What succeeded goes on only to be measured again, while its result counts.
  const bool is_refresh =
      retried && IsRefreshing(task) && seen.result_attempt == task.result_attempt;
  if (!is_new && IsTerminal(seen.state) && task.state != seen.state && !is_refresh &&
      (seen.state == TaskState::kSucceeded || !retried)) {
    world_.Violate(Str("I-1: terminal task ", task.id, " went from ", EnumName(seen.state), " to ",
                       EnumName(task.state)));
  }
  if (is_refresh) world_.stats.fired["refresh begun"] += 1;
  if (!seen.result_attempt.empty() && task.result_attempt.empty()) {
    world_.Violate(Str("I-8: task ", task.id, " has lost its result"));
  }
  if (task.epoch < seen.epoch) world_.Violate(Str("I-2: the epoch of task ", task.id, " fell"));
  CheckBudget(task);
  const bool is_refreshed = !is_new && task.kind == TaskKind::kEvaluate &&
                            !seen.result_attempt.empty() &&
                            seen.result_attempt != task.result_attempt;
  if (task.state == TaskState::kSucceeded && (is_new || seen.state != TaskState::kSucceeded)) {
    CheckSuccess(task);
  }
  for (const CheckpointRef& checkpoint : task.checkpoints) {
    if (!world_.uploaded.contains(checkpoint.sha256)) {
      world_.Violate(Str("I-23: a checkpoint of task ", task.id, " counts without its bytes"));
    }
  }
  if (is_refreshed) world_.stats.fired["refresh complete"] += 1;
  seen = {.state = task.state,
          .retry_round = task.retry_round,
          .epoch = task.epoch,
          .result_attempt = task.result_attempt};
}

// Of a task's attempts in their order: none is withdrawn because its worker died while it prepared
// the task, if as many before it were as may be, and none in between has recorded anything.
void SimChecker::CountUnprepared(const Attempt& attempt, std::int64_t& n_in_row) {
  constexpr std::int64_t kMax = 3;
  if (attempt.durable_seq > 0) n_in_row = 0;
  const bool is_withdrawn = attempt.state == AttemptState::kRejected;
  if (!is_withdrawn || attempt.failure_class.empty()) return;
  n_in_row += 1;
  if (n_in_row <= kMax) return;
  world_.Violate(Str("I-18: attempt ", attempt.id, " of task ", attempt.task, " is the ", n_in_row,
                     "th in a row whose worker died while it prepared it, and cost nothing"));
}

// I-18: each counted end of this round's attempts is counted exactly once, and nothing else.
void SimChecker::CheckBudget(const Task& task) {
  std::int64_t failures = 0, losses = 0, n_unprepared = 0;
  for (const std::string& id : task_attempts_[task.id]) {
    const auto stored = store_.attempts.find(id);
    if (stored == store_.attempts.end()) {
      return world_.Violate(
          Str("I-18: attempt ", id, " of task ", task.id, " was stored and is gone"));
    }
    CountUnprepared(stored->second, n_unprepared);
    if (stored->second.state == AttemptState::kRejected) continue;  // withdrawn: nothing is counted
    const FailureRow* const row = FindFailure(stored->second.failure_class);
    if (row == nullptr || attempt_round_.at(id) != task.retry_round) continue;
    failures += row->counted_as == CountedAs::kFailure;
    losses += row->counted_as == CountedAs::kLoss;
  }
  if (failures != task.failures || losses != task.losses) {
    world_.Violate(Str("I-18: task ", task.id, " counts ", task.failures, " failures and ",
                       task.losses, " losses, but its attempts had ", failures, " and ", losses));
  }
  const bool over = task.failures > task.retry.failures_max || task.losses > task.retry.losses_max;
  if (over && !IsTerminal(task.state)) {
    world_.Violate(Str("I-18: task ", task.id, " goes on beyond its budget"));
  }
}

// I-8, counted from the stored rows alone.
void SimChecker::CheckSuccess(const Task& task) {
  const auto wrong = [&](const std::string& what) {
    world_.Violate(Str("I-8: task ", task.id, " has succeeded, but ", what));
  };
  const auto records = store_.records.find(task.result_attempt);
  if (records == store_.records.end()) return wrong("its attempt has no records");
  std::map<std::string, int> n_rows;
  JournalTally tally;
  bool final_checkpoint = false, final = false;
  for (const StoredRecord& stored : records->second) {
    if (const auto* const said = stored.record.As<FinalRecord>()) {
      final = true;
      if (*said != tally.Final()) wrong("its rows are not those that its final record names");
    }
    tally.Add(stored.record.kind, stored.line);
    if (const auto* const row = stored.record.As<ResultRecord>()) n_rows[row->cell] += 1;
    if (const auto* const checkpoint = stored.record.As<CheckpointRecord>()) {
      final_checkpoint = final_checkpoint || checkpoint->is_final;
    }
  }
  if (!final) wrong("there is no final record");
  if (task.kind == TaskKind::kTrain && !final_checkpoint) wrong("its checkpoint is missing");
  for (const ExpectedCell& cell : task.expected_cells) {
    if (n_rows[cell.cell] != 1) wrong(Str("a cell has ", n_rows[cell.cell], " rows"));
  }
  if (n_rows.size() != task.expected_cells.size()) wrong("it has rows that nobody expected");
}

const SimFolder* SimChecker::FolderOf(const std::string& attempt) const {
  for (const auto& worker : workers_) {
    const auto folder = worker->folders().find(attempt);
    if (folder != worker->folders().end()) return &folder->second;
  }
  return nullptr;
}

// I-6: rows are the journal's synced prefix, byte for byte.
void SimChecker::CheckRecord(const PutRecord& put) {
  const SimFolder* const folder = FolderOf(put.attempt);
  const auto index = static_cast<std::size_t>(put.record.seq - 1);
  if (folder == nullptr || index >= folder->n_synced ||
      folder->journal.entries[index].line != put.line) {
    world_.Violate(Str("I-6: row ", put.record.seq, " of attempt ", put.attempt,
                       " is not what its journal holds on disk"));
  }
}

void SimChecker::OnAck(const AckMessage& ack) {
  if (ack.durable_seq == 0 || collected_.contains(ack.attempt)) return;
  const auto rows = store_.records.find(ack.attempt);
  const auto n_rows =
      rows == store_.records.end() ? 0 : static_cast<std::int64_t>(rows->second.size());
  if (ack.durable_seq > n_rows) {
    world_.Violate(Str("I-5: record ", ack.durable_seq, " of attempt ", ack.attempt,
                       " is acknowledged, but only ", n_rows, " are committed"));
  }
  std::int64_t& acked = acked_[ack.attempt];
  acked = std::max(acked, ack.durable_seq);
}

void SimChecker::AfterRestart() {
  for (const auto& [attempt, acked] : acked_) {
    const auto rows = store_.records.find(attempt);
    const auto n_rows =
        rows == store_.records.end() ? 0 : static_cast<std::int64_t>(rows->second.size());
    if (n_rows < acked) {
      world_.Violate(Str("I-5: of ", acked, " acknowledged records of attempt ", attempt, " only ",
                         n_rows, " are left"));
    }
  }
}

void SimChecker::OnRestore() {
  tasks_.clear();
  task_attempts_.clear();
  live_of_task_.clear();
  live_of_slot_.clear();
  acked_.clear();
  never_to_start_.clear();
  collected_.clear();
  drained_.clear();
  // What the older database does not know is new to it when it is taken in again; one that is older
  // still may know what had been collected.
  for (const auto& [id, attempt] : store_.attempts) {
    if (const auto before = round_before_restore_.find(id); before != round_before_restore_.end()) {
      attempt_round_.insert(*before);
    }
  }
  std::erase_if(attempt_round_, [&](const auto& entry) {
    if (store_.attempts.contains(entry.first)) return false;
    round_before_restore_.insert(entry);
    return true;
  });
  for (const auto& [id, attempt] : store_.attempts) {
    task_attempts_[attempt.task].push_back(id);
    if (!IsLive(attempt.state)) continue;
    live_of_task_[attempt.task] = id;
    live_of_slot_[{attempt.worker, attempt.device_index}] = id;
  }
}

void SimChecker::OnRemovalConfirmed(const std::string& sweep_id) {
  if (store_.sweeps.contains(sweep_id) || store_.sweep_runs.contains(sweep_id)) {
    world_.Violate(Str("removed: sweep ", sweep_id, " is said to be gone, and is there"));
  }
}

// All slots of a kind are alike. A task with a checkpoint goes to the worker that has the
// checkpoint; any other one to a worker that has its dataset, if such a worker has a slot left.
void SimChecker::CheckPreference(const State& state, const SendStart& start) {
  const Task& task = state.tasks.at(start.task.task);
  const Worker& chosen = state.workers.at(state.attempts.at(start.task.attempt).worker);
  if (HasFullDisk(chosen)) {
    world_.Violate(
        Str("attempt ", start.task.attempt, " goes to worker ", chosen.id, ", whose disk is full"));
  }
  const std::optional<Execution> bound = BoundTo(state, task.run_key, task.kind);
  const bool has_home = !task.needs.empty() || !task.checkpoints.empty();
  if (has_home || chosen.dataset_digests.contains(start.dataset_digest)) return;
  for (const auto& [id, other] : state.workers) {
    const bool is_suspect = world_.now - other.heard_at > state.limits.suspect_ms;
    if (!TakesWork(other) || is_suspect || id == task.avoid_worker) continue;
    if (HasFullDisk(other)) continue;
    if (task.too_large_for.contains(id) || !other.no_room.empty()) continue;
    const auto allocated = allocated_.find(id);
    if (allocated != allocated_.end() && allocated->second.work_end - world_.now <= task.needs_ms) {
      continue;
    }
    if (!other.dataset_digests.contains(start.dataset_digest)) continue;
    for (const Slot& slot : other.slots) {
      if (bound && !Honours(slot, *bound)) continue;
      const auto pause = other.pauses.find(slot.index);
      const bool waits = pause != other.pauses.end() && pause->second.until > world_.now;
      if (waits || other.busy.contains(slot.index)) continue;
      if (other.quarantined.contains(slot.index)) continue;
      world_.Violate(Str("attempt ", start.task.attempt, " goes to worker ", chosen.id,
                         ", but worker ", id, " has its dataset and a free slot"));
    }
  }
}

void SimChecker::OnRetryAsked(const std::vector<std::string>& tasks) {
  for (const std::string& id : tasks) {
    never_to_start_.erase(id);
    // What cannot do without a training takes it along, and what that one needs.
    for (std::string needs = store_.tasks.at(id).needs; !needs.empty();
         needs = store_.tasks.at(needs).needs) {
      never_to_start_.erase(needs);
    }
  }
}

void SimChecker::OnStart(const SendStart& start) {
  if (!store_.attempts.contains(start.task.attempt)) {
    world_.Violate(Str("attempt ", start.task.attempt, " starts without being committed"));
  }
  for (const auto& from : {start.task.resume, start.task.init}) {
    if (!from) continue;
    if (!world_.checkpoints.contains(from->sha256) || !world_.uploaded.contains(from->sha256)) {
      world_.Violate(Str("I-23: attempt ", start.task.attempt, " is to start from checkpoint ",
                         from->sha256, ", whose bytes are not in the store"));
    }
  }
}

void SimChecker::OnCancelConfirmed(const std::string& sweep_id) {
  for (const std::string& id : store_.sweeps.at(sweep_id)) {
    bool wanted = false;
    for (const auto& [other, tasks] : store_.sweeps) {
      const bool active = other != sweep_id && !store_.cancelled_sweeps.contains(other);
      wanted = wanted || (active && std::ranges::count(tasks, id) > 0);
    }
    const Task& task = store_.tasks.at(id);
    if (wanted || IsTerminal(task.state) || task.state == TaskState::kStopping) {
      if (!wanted && task.state == TaskState::kCancelled) never_to_start_.insert(id);
      continue;
    }
    world_.Violate(Str("I-16: sweep ", sweep_id, " is cancelled, but its task ", id, " is ",
                       EnumName(task.state)));
  }
}

}  // namespace longrun::coordinator
