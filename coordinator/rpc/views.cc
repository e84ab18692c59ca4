// See views.h.
#include "coordinator/rpc/views.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

#include "base/clock.h"
#include "base/json.h"
#include "base/shortage.h"
#include "base/str.h"
#include "base/units.h"
#include "base/utf8.h"
#include "coordinator/rpc/call.h"
#include "coordinator/scheduler/paused_text.h"
#include "coordinator/scheduler/unheard.h"
#include "coordinator/store/damage.h"
#include "coordinator/store/disk_room.h"
#include "sweeps/protocol.h"

namespace longrun::coordinator {
namespace {

constexpr std::int64_t kTailPoints = 40;
constexpr std::size_t kPhaseBytesMax = 32;

std::int32_t Count32(std::int64_t n) {
  return static_cast<std::int32_t>(
      std::clamp<std::int64_t>(n, 0, std::numeric_limits<std::int32_t>::max()));
}

void FillProgress(const std::optional<ProgressRecord>& progress, v1::TaskProgress* message) {
  message->set_loss(std::numeric_limits<double>::quiet_NaN());
  if (!progress) return;
  message->set_phase(std::string(CutAt(progress->phase, kPhaseBytesMax)));
  message->set_done(progress->done.value_or(0));
  message->set_of(progress->of.value_or(0));
  message->set_tokens_per_s(progress->tokens_per_s.value_or(0));
  message->set_eta_ms(progress->eta_ms.value_or(0));
}

// The sweeps that want the task: those that have it and are not cancelled, oldest first.
std::vector<std::string> WantedBy(const State& state, const std::string& task) {
  std::vector<std::string> ids;
  const auto found = state.index.task_sweeps.find(task);
  if (found == state.index.task_sweeps.end()) return ids;
  for (const std::string& id : found->second) {
    if (!state.cancelled_sweeps.contains(id)) ids.push_back(id);
  }
  return ids;
}

// The sweeps to cancel so that the task ends, ready for a message.
std::string SweepsOf(const State& state, const Task& task, const std::string& sweep) {
  return sweep.empty() ? Join(WantedBy(state, task.id), "` and `longrun cancel ") : sweep;
}

// Tasks of a cancelled or paused sweep that stay for others. One that is being cancelled does not:
// only its trainer has not ended.
void FillKept(const State& state, const std::string& sweep_id, const std::set<std::string>& tasks,
              v1::SweepInfo* message) {
  const bool is_cancelled = state.cancelled_sweeps.contains(sweep_id);
  if (!is_cancelled && !state.paused_sweeps.contains(sweep_id)) return;
  std::set<std::string> sweeps;
  std::int64_t n_kept = 0;
  for (const std::string& id : tasks) {
    const Task& task = state.tasks.at(id);
    if (IsTerminal(task.state)) continue;
    if (task.state == TaskState::kStopping && task.cancel_wanted) continue;
    if (!is_cancelled && IsHeld(state, id)) continue;
    n_kept += 1;
    for (std::string& sweep : WantedBy(state, id)) {
      if (is_cancelled || !state.paused_sweeps.contains(sweep)) sweeps.insert(std::move(sweep));
    }
  }
  message->set_tasks_kept(Count32(n_kept));
  for (const std::string& sweep : sweeps) message->add_kept_for(sweep);
}

}  // namespace

void FillCounts(const SubmitCounts& counts, v1::SubmitCounts* message) {
  message->set_runs_new(Count32(counts.runs_new));
  message->set_runs_reused(Count32(counts.runs_reused));
  message->set_train_tasks_new(Count32(counts.train_tasks_new));
  message->set_evaluate_tasks_new(Count32(counts.evaluate_tasks_new));
  message->set_cells_new(Count32(counts.cells_new));
  message->set_cells_reused(Count32(counts.cells_reused));
  message->set_tasks_retried(Count32(counts.tasks_retried));
  message->set_tasks_failed_for_good(Count32(counts.tasks_failed_for_good));
}

void FillTime(const Estimate& estimate, v1::TimeEstimate* message) {
  message->set_low_s(estimate.low_s);
  message->set_likely_s(estimate.likely_s);
  message->set_high_s(estimate.high_s);
  message->set_n(static_cast<std::int32_t>(estimate.n));
  message->set_basis(estimate.basis);
}

void FillTimeLeft(const Remaining& remaining, v1::TimeLeft* message) {
  if (remaining.time) FillTime(*remaining.time, message->mutable_time());
  message->set_tasks_not_measured(static_cast<std::int32_t>(remaining.tasks_not_measured));
  message->set_slots(static_cast<std::int32_t>(remaining.slots));
  message->set_tasks_without_slot(static_cast<std::int32_t>(remaining.tasks_without_slot));
  message->set_tasks_of_others(static_cast<std::int32_t>(remaining.tasks_of_others));
  message->set_tasks_of_others_left_out(
      static_cast<std::int32_t>(remaining.tasks_of_others_left_out));
}

void FillSweep(const State& state, const SweepRow& sweep, v1::SweepInfo* message) {
  message->set_sweep_id(sweep.id);
  message->set_name(sweep.name);
  message->set_submitted_ms(sweep.submitted_wall_ms);
  message->set_runs(Count32(sweep.n_runs));
  message->set_note(sweep.note);
  message->set_owner(sweep.owner);
  for (const auto& [key, value] : sweep.labels) {
    v1::Label* label = message->add_labels();
    label->set_key(key);
    label->set_value(value);
  }
  const auto tasks = state.sweep_tasks.find(sweep.id);
  if (tasks == state.sweep_tasks.end()) return;
  message->set_state(std::string(SweepStateName(state, sweep.id)));
  const SweepTally& tally = state.index.tallies.at(sweep.id);
  message->set_tasks(Count32(std::ssize(tasks->second)));
  message->set_tasks_succeeded(Count32(tally.of(TaskState::kSucceeded)));
  message->set_tasks_running(Count32(NumberRunning(tally)));
  message->set_tasks_failed(Count32(tally.of(TaskState::kFailed) + tally.of(TaskState::kSkipped)));
  message->set_tasks_cancelled(Count32(tally.of(TaskState::kCancelled)));
  FillKept(state, sweep.id, tasks->second, message);
}

Status FillActive(Core& core, StoreReader& reader, const std::string& name,
                  const std::string& sweep_id,
                  google::protobuf::RepeatedPtrField<v1::SweepInfo>* others) {
  ASSIGN_OR_RETURN(std::vector<SweepRow> sweeps, reader.Sweeps());
  RETURN_IF_ERROR(core.LookAndWait([&](const State& state) {
    std::erase_if(sweeps, [&](const SweepRow& sweep) {
      const bool is_other = sweep.id != sweep_id && (name.empty() || sweep.name == name);
      return !is_other || !state.sweep_tasks.contains(sweep.id) || !IsActiveSweep(state, sweep.id);
    });
  }));
  RETURN_IF_ERROR(reader.AddLabels(sweeps));
  return core.LookAndWait([&](const State& state) {
    for (const SweepRow& sweep : sweeps) FillSweep(state, sweep, others->Add());
  });
}

RanTime RanTimeOf(const State& state, const Task& task, std::optional<Instant> now) {
  RanTime ran;
  std::int64_t n_known = 0;
  if (const auto ended = state.index.ended.find(task.id); ended != state.index.ended.end()) {
    ran.ms = ended->second.ran_ms;
    n_known = ended->second.n;
  }
  const auto newest = state.attempts.find(task.attempt);
  if (newest != state.attempts.end() && IsLive(newest->second.state)) {
    const Attempt& one = newest->second;
    const bool is_timed = now && one.state == AttemptState::kRunning && !one.started_boot.empty() &&
                          one.started_boot == state.boot && IsHeardOf(state, one.worker, *now);
    if (is_timed) {
      ran.ms += std::max<std::int64_t>(*now - one.started_boot_ms, 0) / 1000 * 1000;
    } else if (now) {
      ran.ms += one.duration_ms;
    }
    n_known += 1;
  }
  ran.is_partial = task.damaged || n_known < task.attempts;
  return ran;
}

void FillDuration(const State& state, std::optional<Instant> now, v1::SweepInfo* message) {
  const auto tally = state.index.tallies.find(message->sweep_id());
  if (tally == state.index.tallies.end()) return;
  std::int64_t sum_ms = 0;
  for (const std::string& id : tally->second.begun) {
    const RanTime ran = RanTimeOf(state, state.tasks.at(id), now);
    sum_ms += ran.ms;
    if (ran.is_partial) message->set_duration_is_partial(true);
  }
  message->set_duration_ms(sum_ms);
}

// Of the paused sweeps that hold a task, each is told to resume itself.
void SayOwnPause(const State& state, const std::string& sweep_id, v1::TaskInfo* message) {
  if (!IsPausedText(message->reason()) || !state.paused_sweeps.contains(sweep_id)) return;
  message->set_reason(PausedText(sweep_id));
}

void FillTask(const State& state, const Task& task, const std::string& sweep, Instant now,
              v1::TaskInfo* message) {
  message->set_task(task.id);
  message->set_run_key(task.run_key);
  message->set_kind(std::string(EnumName(task.kind)));
  message->set_state(std::string(EnumName(task.state)));
  message->set_desired(task.cancel_wanted       ? "CANCELLED"
                       : IsHeld(state, task.id) ? "PAUSED"
                                                : "ACTIVE");
  if (const std::string unknown = WhyUnknown(state, task); !unknown.empty()) {
    const std::string cancel = Str("`longrun cancel ", SweepsOf(state, task, sweep), "`");
    message->set_reason(state.runs.at(task.run_key).damaged
                            ? Str(unknown, ": ", kRestoreRemedy,
                                  ", submit the sweep's file again, which rewrites it, or ", cancel)
                            : Str(unknown, ": use a build that does, or ", cancel));
  } else {
    message->set_reason(task.reason);
  }
  message->set_failed_for_good(IsTerminal(task.state) && FailedForGood(state, task));
  message->set_failures(Count32(task.failures));
  message->set_losses(Count32(task.losses));
  message->set_attempt(task.attempt);
  message->set_attempts(Count32(task.attempts));
  if (const auto ended = state.index.ended.find(task.id); ended != state.index.ended.end()) {
    message->set_withdrawn(Count32(ended->second.n_withdrawn));
  }
  if (!task.evaluation.is_null()) message->set_evaluation_json(CanonicalJson(task.evaluation));
  // In whole seconds, so that a watcher does not get an update for every passing millisecond.
  if (task.state == TaskState::kReady && task.not_before > now) {
    message->set_not_before_in_ms((task.not_before - now + 999) / 1000 * 1000);
  }
  const auto attempt = state.attempts.find(task.attempt);
  if (attempt == state.attempts.end()) {
    FillProgress(std::nullopt, message->mutable_progress());
    return;
  }
  bool shows_progress = !IsTerminal(task.state);
  if (IsLive(attempt->second.state)) {
    message->set_worker(attempt->second.worker);
    if (std::string unheard = WhyUnheard(state, attempt->second, now); !unheard.empty()) {
      shows_progress = false;
      message->set_reason(std::move(unheard));
    }
  }
  FillProgress(shows_progress ? attempt->second.progress : std::nullopt,
               message->mutable_progress());
}

namespace {

// What becomes of the worker's tasks after its lease.
std::string AfterLeaseText(const MissedWorker& missed) {
  const auto n_tasks = std::ssize(missed.tasks);
  const bool is_one = n_tasks == 1;
  if (missed.n_elsewhere == n_tasks) {
    return Str(is_one ? "the task is" : "the tasks are",
               " given to another worker, which continues from the last checkpoint");
  }
  if (missed.n_elsewhere > 0) {
    return Str(missed.n_elsewhere, " of the tasks can be given to other workers, which continue ",
               "from the last checkpoints; ", n_tasks - missed.n_elsewhere,
               " can run on no other connected worker and will wait (`longrun why` says for what)");
  }
  return Str(is_one ? "the task is" : "the tasks are", " taken from it; no other connected worker ",
             "can run ", is_one ? "it, so it waits" : "them, so they wait",
             " until this worker or a fitting one connects");
}

bool HaveCommon(const std::set<std::string>& some, const std::set<std::string>& others) {
  return std::ranges::any_of(some, [&](const std::string& one) { return others.contains(one); });
}

}  // namespace

void AddMissedWorkers(const State& state, Instant now, std::int64_t wall_ms,
                      const std::set<std::string>* of_tasks, Notices* notices) {
  const auto at = [&](Instant then) { return FormatWallMs(wall_ms - now + then); };
  for (const MissedWorker& missed : MissedWorkers(state, now)) {
    if (of_tasks != nullptr && !HaveCommon(missed.tasks, *of_tasks)) continue;
    const std::string& id = missed.worker->id;
    const auto n_tasks = std::ssize(missed.tasks);
    const bool came = missed.worker->last_session != 0;
    v1::Notice* notice = notices->Add();
    notice->set_about(Str("worker ", id));
    notice->set_text(Str(
        "worker ", id, " has ", n_tasks, n_tasks == 1 ? " task" : " tasks", " under way and ",
        came ? Str("was last heard from at ", at(missed.worker->heard_at)) : "has not come back",
        missed.instead == nullptr ? ""
                                  : Str("; worker ", missed.instead->id,
                                        " connected from the same machine. If both are one worker, "
                                        "the file worker_id in its folder was changed or lost: "
                                        "write \"",
                                        id, "\" into that file and start the worker again"),
        ". At ", at(missed.lease_end), " ", AfterLeaseText(missed)));
    notice->set_over(Str("the coordinator no longer waits for worker ", id));
  }
}

void AddQuarantined(const State& state, Notices* notices) {
  for (const auto& [id, worker] : state.workers) {
    if (worker.lost) continue;
    for (const auto& [index, quarantine] : worker.quarantined) {
      const std::string slot = Str("slot ", index, " of worker ", id);
      v1::Notice* notice = notices->Add();
      notice->set_about(slot);
      notice->set_text(Str(slot, " has been quarantined since ",
                           FormatWallMs(quarantine.since_wall_ms), ": ", quarantine.reason,
                           ". Check the device; then `longrun worker release ", id, " --slot ",
                           index, "` gives it work again"));
      notice->set_over(Str(slot, " gets work again"));
    }
  }
}

void AddFullWorkerDisks(const State& state, Notices* notices) {
  for (const auto& [id, worker] : state.workers) {
    if (!TakesWork(worker) || !HasFullDisk(worker)) continue;
    v1::Notice* notice = notices->Add();
    notice->set_about(Str("disk of worker ", id));
    notice->set_text(Str(FullDiskText(worker), ": ", FullDiskRemedy(worker)));
    notice->set_over(Str("the disk of worker ", id, " has room again: it takes tasks"));
  }
}

void LeaveOutConnected(const State& state, RefusedWorkers& refused) {
  std::erase_if(refused, [&](const auto& one) {
    const auto worker = state.workers.find(one.first);
    return worker != state.workers.end() && worker->second.session;
  });
}

void AddRefusedWorkers(const RefusedWorkers& refused, Notices* notices) {
  for (const auto& [id, refusal] : refused) {
    v1::Notice* notice = notices->Add();
    notice->set_about(Str("access of worker ", id));
    notice->set_text(Str("worker ", id, " is refused: ", refusal.cause, "; ", refusal.remedy));
    notice->set_over(Str("worker ", id, " is no longer refused"));
  }
}

void AddUnsharedWorkers(const State& state, Notices* notices) {
  for (const auto& [id, worker] : state.workers) {
    if (!worker.session || worker.sharing_problem.empty()) continue;
    v1::Notice* notice = notices->Add();
    notice->set_about(Str("shared folder of worker ", id));
    notice->set_text(Str("worker ", id,
                         " does not use the shared folder of artifacts, so they come "
                         "and go over the network: ",
                         worker.sharing_problem));
    notice->set_over(Str("worker ", id, " uses the shared folder of artifacts"));
  }
}

void FillSurroundings(const State& state, const std::string& sweep_id, Instant now,
                      v1::WatchSweepResponse* message) {
  for (const auto& [id, worker] : state.workers) {
    FillWorker(state, worker, now, message->add_workers());
  }
  if (const auto tasks = state.sweep_tasks.find(sweep_id); tasks != state.sweep_tasks.end()) {
    AddMissedWorkers(state, now, WallMs(), &tasks->second, message->mutable_notices());
  }
  AddQuarantined(state, message->mutable_notices());
  AddFullWorkerDisks(state, message->mutable_notices());
  AddQuietTrainers(state, now, WallMs(), message->mutable_notices());
}

void AddQuietTrainers(const State& state, Instant now, std::int64_t wall_ms, Notices* notices) {
  for (const Attempt* const attempt : QuietAttempts(state, now)) {
    const std::string task = attempt->task.substr(0, 8);
    const Worker& worker = state.workers.at(attempt->worker);
    const std::string room = WaitForRoomText(worker, *attempt, now);
    v1::Notice* notice = notices->Add();
    notice->set_about(Str("task ", task));
    notice->set_text(Str(
        "the trainer of task ", task, " on ", worker.host, " has reported nothing since ",
        FormatWallMs(wall_ms - now + attempt->recorded_at), ", but still runs",
        room.empty() ? Str(". It may be computing a long step, waiting for memory or a disk, or "
                           "stopped by a signal (`pkill -CONT longrun-trainer` on that machine "
                           "resumes it); `longrun logs ",
                           task, "` shows its last lines")
                     : Str("; ", room)));
    notice->set_over(Str("the trainer of task ", task, " reports again, or has ended"));
  }
}

std::string StateFolderName(const Core& core, bool is_remote) {
  return is_remote ? "the coordinator's state folder"
                   : Str("the state folder ", core.store().folder());
}

void AddFullDisk(const CoordinatorParts& parts, bool is_remote, Notices* notices) {
  const Core& core = parts.core;
  const std::string folder = StateFolderName(core, is_remote);
  std::string text;
  if (!core.CheckDiskSpaceIfLow().ok()) {
    text = Str(LowDiskText(folder, core.disk_low_water_bytes()),
               ", so nothing new is stored: ", kMakeRoom,
               "; then work continues by itself, and nothing is lost (a trainer that writes to the "
               "same disk waits for ",
               FormatDurationMs(kRoomPatienceMs), " before it gives up)");
  } else if (const std::optional<NoRoom> no_room = parts.artifacts.LacksRoom()) {
    text = Str(NoRoomText(folder, *no_room),
               "; until then, tasks wait that have such a file to store, and nothing is lost");
  } else {
    return;
  }
  v1::Notice* notice = notices->Add();
  notice->set_about("disk");
  notice->set_text(std::move(text));
  notice->set_over("the disk of the state folder has room again: work continues");
}

void FillWorker(const State& state, const Worker& worker, Instant now, v1::WorkerInfo* message) {
  message->set_worker_id(worker.id);
  message->set_host(worker.host);
  message->set_version(worker.version);
  const std::int64_t silent_ms = std::max<std::int64_t>(now - worker.heard_at, 0);
  message->set_state(std::string(WorkerStateName(state, worker, now)));
  message->set_drain_wanted(worker.drain.has_value());
  if (const auto left_ms = DrainLeftMs(state, worker, now, WallMs())) {
    message->set_drain_left_ms(*left_ms);
  }
  if (worker.allocation) message->set_job(worker.allocation->job);
  if (const auto left_ms = WorkLeftMs(state, worker, now, WallMs())) {
    message->set_work_left_ms(*left_ms);
  }
  if (IsMissed(state, worker, now)) message->set_heard_ms_ago(silent_ms / 1000 * 1000);
  message->set_protocol(worker.protocol);
  for (const auto& [key, value] : worker.labels) {
    v1::Label* const label = message->add_labels();
    label->set_key(key);
    label->set_value(value);
  }
  message->set_disk_free_bytes(worker.disk.free_bytes);
  message->set_disk_bytes(worker.disk.bytes);
  if (worker.session) message->set_disk_wanted_bytes(worker.disk.wanted_bytes);
  if (worker.session) {
    for (const std::string& name : worker.capabilities) {
      if (name != kSharedCapability) message->add_capabilities(name);
    }
    // Proved in this session, unlike what the worker only says about itself.
    if (worker.shares_artifacts) message->add_capabilities(std::string(kSharedCapability));
  }
  for (const Slot& slot : worker.slots) {
    v1::WorkerDeviceInfo* device = message->add_devices();
    device->set_index(static_cast<std::int32_t>(slot.index));
    device->set_kind(std::string(EnumName(slot.kind)));
    device->set_name(slot.name);
    device->set_memory_bytes(slot.memory_bytes);
    if (const auto held = worker.quarantined.find(slot.index); held != worker.quarantined.end()) {
      device->set_quarantine_reason(held->second.reason);
      device->set_quarantined_wall_ms(held->second.since_wall_ms);
    }
    const auto busy = worker.busy.find(slot.index);
    if (busy == worker.busy.end()) continue;
    const auto attempt = state.attempts.find(busy->second);
    if (attempt != state.attempts.end()) device->set_task(attempt->second.task);
  }
}

void FillUnknownRuns(const State& state, v1::GetServerInfoResponse* message) {
  std::map<std::string_view, v1::UnknownRun> unknown;
  for (const auto& [key, run] : state.runs) {
    if (!run.unknown.empty() && !run.damaged) unknown[key].set_why(run.unknown);
  }
  for (const auto& [id, task] : state.tasks) {
    const auto found = unknown.find(task.run_key);
    if (task.unknown.empty() && found == unknown.end()) continue;
    v1::UnknownRun& run = found == unknown.end() ? unknown[task.run_key] : found->second;
    if (run.why().empty()) run.set_why(task.unknown);
    if (!IsTerminal(task.state)) run.set_tasks_waiting(run.tasks_waiting() + 1);
  }
  for (auto& [key, run] : unknown) {
    run.set_run_key(std::string(key));
    *message->add_unknown_runs() = std::move(run);
  }
}

void SweepView::ForgetRunJson() {
  for (SweepRunRow& run : runs_) run.run_json = std::string();
}

Status SweepView::Fill(StoreReader& reader, v1::WatchSweepResponse* message) {
  // Rows of runs never change, except that a run gets its execution, which the state has as well.
  if (runs_.empty() || may_grow_) {
    // Before the rows are read: the last of them may be stored right after that.
    RETURN_IF_ERROR(
        core_.LookAndWait([&](const State& state) { may_grow_ = sweep_.id == state.submitting; }));
    ASSIGN_OR_RETURN(runs_, reader.RunsOfSweep(sweep_.id));
    without_execution_.clear();
    for (std::size_t i = 0; i < runs_.size(); ++i) {
      if (runs_[i].execution_json.empty()) without_execution_.push_back(i);
    }
  }
  std::map<std::string, v1::RunInfo*> run_of;
  for (const SweepRunRow& row : runs_) {
    v1::RunInfo* run = message->add_runs();
    run->set_run_key(row.run_key);
    run->set_axes_json(row.axes_json);
    run->set_dataset(row.dataset);
    run->set_execution_json(row.execution_json);
    run_of[row.run_key] = run;
  }
  struct Curve {
    std::string task, as_of;
    v1::TaskInfo* info = nullptr;
  };
  std::vector<Curve> curves;
  std::vector<std::pair<std::size_t, Execution>> new_executions;  // by index in runs_
  bool is_gone = false;
  if (!looked_for_lost_) {
    RETURN_IF_ERROR(reader.IsWhole(sweep_.id, runs_, &lengths_).status());
  }
  looked_for_lost_ = true;
  RETURN_IF_ERROR(core_.LookAndWait([&](const State& state) {
    const Instant now = BootMs();
    FillSweep(state, sweep_, message->mutable_info());
    const bool counts_live = durations_ == Durations::kAlsoOfLive;
    const std::optional<Instant> live_until = counts_live ? std::optional(now) : std::nullopt;
    FillDuration(state, live_until, message->mutable_info());
    const bool grows = sweep_.id == state.submitting;
    may_grow_ = may_grow_ || grows;
    bool finished = !grows;
    const auto ids = state.sweep_tasks.find(sweep_.id);
    is_gone = ids == state.sweep_tasks.end();
    if (is_gone) return;
    for (const std::size_t i : without_execution_) {
      const auto run = state.runs.find(runs_[i].run_key);
      if (run == state.runs.end() || !run->second.execution) continue;
      new_executions.emplace_back(i, *run->second.execution);
    }
    std::vector<const Task*> tasks;
    for (const std::string& id : ids->second) tasks.push_back(&state.tasks.at(id));
    std::ranges::sort(tasks, [](const Task* a, const Task* b) {
      return std::tie(a->kind, a->ready_seq, a->id) < std::tie(b->kind, b->ready_seq, b->id);
    });
    time_left_.Look(state, tasks, now, WallMs());
    for (const Task* task : tasks) {
      finished = finished && IsTerminal(task->state);
      const auto run = run_of.find(task->run_key);
      if (run == run_of.end()) continue;
      v1::TaskInfo* info = run->second->add_tasks();
      FillTask(state, *task, sweep_.name, now, info);
      SayOwnPause(state, sweep_.id, info);
      const RanTime ran = RanTimeOf(state, *task, live_until);
      if (!ran.is_partial) info->set_duration_ms(ran.ms);
      if (task->kind != TaskKind::kTrain || losses_ == Losses::kLeftOut) continue;
      const auto attempt = state.attempts.find(task->attempt);
      if (attempt == state.attempts.end()) continue;
      curves.push_back(
          {.task = task->id,
           .as_of = Str(task->attempt, "/", attempt->second.durable_seq, "/", task->result_attempt),
           .info = info});
    }
    FillSurroundings(state, sweep_.id, now, message);
    message->set_finished(finished);
  }));
  if (is_gone) return Status(Code::kNotFound, Str("sweep ", sweep_.id, " was removed"));
  for (const auto& [i, execution] : new_executions) {
    SweepRunRow& row = runs_[i];
    row.execution_json = CanonicalJson(execution.ToJson());
    run_of.at(row.run_key)->set_execution_json(row.execution_json);
  }
  std::erase_if(without_execution_,
                [&](std::size_t i) { return !runs_[i].execution_json.empty(); });
  // Nothing runs in a momentary coordinator.
  if (!message->finished() && !core_.store().is_momentary()) {
    ASSIGN_OR_RETURN(const Remaining remaining, time_left_.Predict(reader, core_.datasets()));
    FillTimeLeft(remaining, message->mutable_time_left());
  }
  StoreReader::Series series(reader);
  for (const Curve& curve : curves) {
    Tail& tail = tails_[curve.task];
    if (tail.as_of != curve.as_of) {
      RETURN_IF_ERROR(series.Next());
      ASSIGN_OR_RETURN(const std::vector<CurvePoint> points,
                       reader.Curve(curve.task, "loss", kTailPoints));
      tail.as_of = curve.as_of;
      tail.losses.clear();
      for (const CurvePoint& point : points) {
        tail.losses.push_back(static_cast<float>(point.value));
      }
      if (!points.empty()) tail.step = points.back().step;
    }
    v1::TaskProgress* progress = curve.info->mutable_progress();
    for (const float loss : tail.losses) progress->add_loss_tail(loss);
    if (tail.losses.empty()) continue;
    progress->set_loss(static_cast<double>(tail.losses.back()));
    // A trainer reports its progress once a second and its loss at each step, and the curve was
    // read after the state: the step that is shown is that of the loss.
    if (progress->phase() == "train") progress->set_done(tail.step);
  }
  return Status();
}

}  // namespace longrun::coordinator
