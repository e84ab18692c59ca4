// Messages from a worker about itself and its attempts, except journals.
#include <algorithm>
#include <set>
#include <utility>

#include "base/random.h"
#include "base/str.h"
#include "base/utf8.h"
#include "coordinator/scheduler/step.h"
#include "sweeps/evaluated_dataset.h"
#include "sweeps/protocol.h"

namespace longrun::coordinator {
namespace {

// Until a worker is asked again that refused a task because its disk or its cache was full.
constexpr std::int64_t kFullMs = 15'000;

// Larger than any epoch of ours, and far from overflow.
constexpr std::uint64_t kEpochMax = std::uint64_t{1} << 62;

void ForgetSession(StepContext& step, Worker& worker, const std::string& reason) {
  if (!worker.session) return;
  if (!reason.empty()) step.Send(CloseSession{.session = *worker.session, .reason = reason});
  step.state.index.sessions.erase(*worker.session);
  worker.session.reset();
}

// Marks slots that may hold a trainer: those of live attempts,
// and those where the worker still sees one.
void NoteBusySlots(StepContext& step, Worker& worker, const std::vector<LiveAttempt>& listed) {
  State& state = step.state;
  const auto before = std::exchange(worker.busy, {});
  for (const Attempt* const attempt : LiveAttemptsOf(state, worker.id)) {
    if (attempt->device_index >= 0) worker.busy[attempt->device_index] = attempt->id;
  }
  for (const LiveAttempt& live : listed) {
    const Attempt* const attempt = FindAttempt(state, live.attempt);
    const bool here = attempt != nullptr && live.running && attempt->worker == worker.id;
    if (here && attempt->device_index >= 0) {
      worker.busy.try_emplace(attempt->device_index, attempt->id);
    }
  }
  if (worker.busy == before) return;
  step.freed_slot = true;
  IndexIdle(state, worker);
}

// An offer that the worker lists was accepted, even if its Accepted message was lost.
void NoteAccepted(StepContext& step, Attempt& attempt) {
  attempt.listed_at = step.now;
  if (attempt.state != AttemptState::kOffered) return;
  MoveAttempt(step, attempt, AttemptState::kAccepted,
              Str("worker ", attempt.worker, " has accepted the attempt"));
}

ListedTrainer TrainerOf(const Attempt& attempt, const LiveAttempt& live) {
  if (live.running) return ListedTrainer::kRunning;
  const bool has_begun = live.last_seq > 0 || attempt.state == AttemptState::kRunning;
  return has_begun ? ListedTrainer::kEnded : ListedTrainer::kNone;
}

// Whether the worker may still be there, with all that it has in progress. Nothing is left of one
// that has stopped as it had announced, or whose allocation is over, once its attempts have ended.
bool MayBeThere(StepContext& step, const Worker& worker) {
  if (worker.session) return true;
  if (worker.lost) return false;
  const bool has_ended = worker.draining || IsOver(step, worker);
  return !has_ended || !LiveAttemptsOf(step.state, worker.id).empty();
}

bool IsElsewhere(const Worker& holder, const Worker& hello) {
  const bool is_known = !holder.folder_id.empty() && !hello.folder_id.empty();
  return is_known && holder.folder_id != hello.folder_id;
}

// Why a Hello is refused that says the id of `holder`, but comes from another folder. "": it is not
// refused.
std::string WhyTaken(StepContext& step, const Worker& holder, const Worker& hello) {
  if (!IsElsewhere(holder, hello) || !MayBeThere(step, holder)) return "";
  return Str("worker ", holder.id, " on host ", holder.host,
             " already has this id, in another folder: start this worker with another --id and a "
             "new --state folder. If it is to replace the worker on ",
             holder.host,
             ", stop the one there first: this one gets the session once the other has stopped, "
             "or was silent for ",
             step.state.limits.lease_ms / 1000, " s");
}

// What the log says about a Hello. `known`: the worker as it was before; null: it is new.
std::string ArrivalText(const Worker* known, const WorkerArrived& event) {
  if (known == nullptr) {
    const std::size_t n = event.worker.slots.size();
    return Str("the worker joined with ", n, n == 1 ? " slot" : " slots");
  }
  const bool is_restarted = known->incarnation != event.worker.incarnation;
  if (IsElsewhere(*known, event.worker)) {
    return Str("a worker with another folder took the place of the one on host ", known->host);
  }
  if (known->lost) return "the worker came back after it had been lost";
  if (!known->session) {
    return is_restarted ? "the worker was started again" : "the worker has connected again";
  }
  return is_restarted ? "the worker was started again, and its open session was replaced"
                      : "the worker replaced its open session by a newer one";
}

AttemptVerdict Judge(StepContext& step, const Worker& worker, const LiveAttempt& live) {
  Attempt* const attempt = FindOrAdopt(step, worker, live.attempt, live.task, live.epoch);
  if (attempt != nullptr) NoteForeign(step, worker, *attempt);
  if (attempt == nullptr || attempt->worker != worker.id || attempt->epoch != live.epoch) {
    return {.attempt = live.attempt, .verdict = Verdict::kFenced};
  }
  AttemptVerdict verdict = {.attempt = live.attempt, .durable_seq = attempt->durable_seq};
  if (attempt->end_stored) {
    verdict.verdict = Verdict::kEnded;
  } else if (IsCurrent(step.state, *attempt)) {
    NoteAccepted(step, *attempt);
    attempt->listed_seq = live.last_seq;
    attempt->listed_trainer = TrainerOf(*attempt, live);
    const bool stop = TaskOf(step.state, *attempt).state == TaskState::kStopping;
    verdict.verdict = stop ? Verdict::kStop : Verdict::kContinue;
  } else if (attempt->state != AttemptState::kSucceeded) {
    verdict.verdict = Verdict::kFenced;
  }
  return verdict;
}

void EndUnlisted(StepContext& step, const Worker& worker, Attempt& attempt, bool is_restarted) {
  constexpr FailureClass kClass = FailureClass::kVanished;
  if (attempt.state == AttemptState::kOffered) {
    return WithdrawOffer(step, attempt, Str("worker ", worker.id, " did not receive it"));
  }
  // A worker keeps a folder of each attempt whose trainer it has started. What a backup knows of an
  // attempt may be less than what there was.
  const bool is_unprepared =
      is_restarted && attempt.durable_seq == 0 && !IsOfEarlierDatabase(step.state, attempt.epoch);
  if (is_unprepared && !IsCutOff(step, attempt, kClass)) return EndUnprepared(step, attempt);
  EndAttempt(step, attempt, kClass, Str("worker ", worker.id, " no longer has it"));
}

// The worker lists all its live attempts; one that it has not mentioned since `since` is gone.
// `is_restarted`: since it accepted them, its process was started again.
void EndWhatIsNotListed(StepContext& step, const Worker& worker,
                        const std::vector<LiveAttempt>& listed, Instant since, bool is_restarted) {
  std::set<std::string> here;
  for (const LiveAttempt& live : listed) here.insert(live.attempt);
  std::vector<Attempt*> gone;
  for (Attempt* const attempt : LiveAttemptsOf(step.state, worker.id)) {
    if (!here.contains(attempt->id) && attempt->listed_at <= since) gone.push_back(attempt);
  }
  for (Attempt* const attempt : gone) EndUnlisted(step, worker, *attempt, is_restarted);
}

// After a restart of the worker: notes which attempts ended with it. Its trainers outlive it,
// unless all processes of the machine were killed.
void NoteDiedTogether(State& state, const Worker& worker, const std::vector<LiveAttempt>& listed) {
  std::set<std::string> running;
  for (const LiveAttempt& live : listed) {
    if (live.running) running.insert(live.attempt);
  }
  std::vector<Attempt*> dead;
  for (Attempt* const attempt : LiveAttemptsOf(state, worker.id)) {
    if (attempt->state == AttemptState::kOffered) continue;
    if (running.contains(attempt->id)) return;
    dead.push_back(attempt);
  }
  for (Attempt* const attempt : dead) {
    attempt->died_together = static_cast<std::int64_t>(dead.size());
  }
}

// The slot may take other tasks. If the cache is too small for this one, it never comes back to
// this process of the worker. If others use the cache, or the disk is too full, nothing that reads
// the same datasets is offered for a while.
void RefuseForCache(StepContext& step, Worker& worker, Attempt& attempt,
                    const AttemptRejected& event) {
  Task& task = TaskOf(step.state, attempt);
  const bool never_fits = event.cache_needed_bytes > event.cache_limit_bytes;
  if (never_fits) {
    task.too_large_for[worker.id] = {.incarnation = worker.incarnation,
                                     .needed_bytes = event.cache_needed_bytes,
                                     .limit_bytes = event.cache_limit_bytes};
  } else {
    const std::string& dataset = step.state.runs.at(task.run_key).run.dataset_digest;
    worker.no_room[{dataset, DigestOfText(task.evaluation, dataset)}] = {
        .until = step.now + kFullMs, .disk_refusal = event.lacks_disk ? InShort(event.reason) : ""};
  }
  WithdrawOffer(step, attempt, event.reason);
}

// `known`: what the same process has said before. A Hello takes a while to come, so of two ends the
// earlier one is closer to the truth.
std::optional<Allocation> AllocationOf(const StepContext& step,
                                       const std::optional<AllocationSpan>& span,
                                       const std::optional<Allocation>& known) {
  if (!span) return std::nullopt;
  Allocation allocation = {.job = span->job};
  if (!span->work_left_ms) return allocation;
  std::int64_t left_ms = *span->work_left_ms;
  if (known && known->work_end) {
    left_ms = std::min(left_ms, LeftMs(step.state, *known->work_end, step.now, step.wall_ms));
  }
  allocation.work_end = Deadline{
      .boot_ms = step.now + left_ms, .boot = step.state.boot, .wall_ms = step.wall_ms + left_ms};
  return allocation;
}

// Repeats the order to an attempt that must not go on, until the worker has received it.
void RepeatVerdict(StepContext& step, const Worker& worker, const LiveAttempt& live) {
  const SessionId session = *worker.session;
  const AttemptVerdict verdict = Judge(step, worker, live);
  const Attempt* const attempt = FindAttempt(step.state, live.attempt);
  switch (verdict.verdict) {
    case Verdict::kContinue:
      // It was adopted, now or earlier, and the worker may not know this yet: it fenced the attempt
      // before.
      if (attempt->device_index < 0 && attempt->durable_seq == 0) {
        SendVerdict(step, worker, verdict);
      }
      return;
    case Verdict::kStop:
      return SendStopTo(step, *attempt, TaskOf(step.state, *attempt).reason);
    case Verdict::kFenced:
      return step.Send(
          session, FencedMessage{.attempt = live.attempt,
                                 .current_epoch =
                                     attempt == nullptr ? 0 : TaskOf(step.state, *attempt).epoch});
    case Verdict::kEnded:
      return step.Send(
          session,
          AckMessage{.attempt = live.attempt, .durable_seq = verdict.durable_seq, .ended = true});
  }
}

}  // namespace

bool GetsByDigest(const Worker& worker) {
  return worker.capabilities.contains(std::string(kDatasetsCapability));
}

bool CanGetFiles(const Worker& worker) { return !worker.over_network || GetsByDigest(worker); }

bool TakesWork(const Worker& worker) {
  return worker.session && !worker.lost && !worker.draining && !worker.drain && CanGetFiles(worker);
}

bool HasFullDisk(const Worker& worker) { return worker.disk.wanted_bytes > 0; }

Worker* Hear(StepContext& step, SessionId session) {
  const auto id = step.state.index.sessions.find(session);
  if (id == step.state.index.sessions.end()) return nullptr;
  Worker& worker = step.state.workers.at(id->second);
  step.freed_slot |= IsSilent(step.state, worker, step.now);
  const Instant silent_ms = step.now - std::exchange(worker.heard_at, step.now);
  if (std::exchange(worker.silence_noted, false)) {
    NoteWorker(step, worker,
               Str("the worker was heard from again after ", silent_ms / 1000, " s of silence"));
  }
  return &worker;
}

void NoteForeign(StepContext& step, const Worker& worker, const Attempt& attempt) {
  if (attempt.worker == worker.id) return;
  step.result.foreign.push_back(
      Str("worker ", worker.id, " speaks of attempt ", attempt.id, " of worker ", attempt.worker));
}

bool IsCurrent(const State& state, const Attempt& attempt) {
  const Task& task = state.tasks.at(attempt.task);
  return IsLive(attempt.state) && task.attempt == attempt.id && task.epoch == attempt.epoch &&
         !IsTerminal(task.state);
}

std::int64_t GraceMs(const State& state, const Attempt& attempt) {
  const Task& task = state.tasks.at(attempt.task);
  const bool is_killed = task.cancel_wanted && task.stop_mode == StopMode::kNow;
  return is_killed ? 0 : state.limits.stop_grace_ms;
}

void SendStopTo(StepContext& step, const Attempt& attempt, const std::string& reason) {
  const Worker& worker = step.state.workers.at(attempt.worker);
  if (!worker.session) return;
  step.Send(*worker.session, StopMessage{.attempt = attempt.id,
                                         .epoch = attempt.epoch,
                                         .grace_ms = GraceMs(step.state, attempt),
                                         .reason = reason});
}

bool IsAdoptable(const LiveAttempt& live) {
  return IsUlid(live.attempt) && live.epoch <= kEpochMax;
}

void SendVerdict(StepContext& step, const Worker& worker, AttemptVerdict verdict) {
  if (!worker.session) return;
  step.Send(*worker.session, WelcomeMessage{.protocol_version = worker.protocol,
                                            .coordinator_id = {},
                                            .boot_epoch = 0,
                                            .heartbeat_ms = 0,
                                            .lease_ms = 0,
                                            .attempts = {std::move(verdict)}});
}

Attempt* FindOrAdopt(StepContext& step, const Worker& worker, const std::string& attempt_id,
                     const std::string& task_id, std::uint64_t epoch) {
  State& state = step.state;
  if (Attempt* const known = FindAttempt(state, attempt_id)) return known;
  if (!IsUlid(attempt_id) || epoch > kEpochMax) return nullptr;
  const auto found = state.tasks.find(task_id);
  if (found == state.tasks.end()) return nullptr;
  Task& task = found->second;
  const bool open = task.state == TaskState::kReady || task.state == TaskState::kReserved ||
                    task.state == TaskState::kRunning ||
                    (task.state == TaskState::kStopping && !task.cancel_wanted);
  // Else a worker could take any task by naming an attempt that nobody placed.
  if (!IsOfEarlierDatabase(state, epoch)) return nullptr;
  if (!open || epoch <= task.epoch || IsBeingSubmitted(state, task_id)) return nullptr;
  const std::string reason =
      Str("adopted from worker ", worker.id, ", since a restored database did not know it");
  if (task.state != TaskState::kReady) {
    Attempt& older = state.attempts.at(task.attempt);
    MoveAttempt(step, older, AttemptState::kLost, reason);
    MoveTask(step, task, TaskState::kReady, reason);
  }
  task.epoch = epoch;
  task.attempts += 1;
  task.attempt = attempt_id;
  MoveTask(step, task, TaskState::kReserved, reason);
  Attempt& adopted = AddAttempt(step,
                                Attempt{.id = attempt_id,
                                        .task = task.id,
                                        .n = task.attempts,
                                        .epoch = epoch,
                                        .state = AttemptState::kAccepted,
                                        .worker = worker.id,
                                        .device_index = -1,
                                        .offered_at = step.now,
                                        .listed_at = step.now,
                                        .recorded_at = step.now},
                                reason);
  HoldIfPaused(step, task);
  return &adopted;
}

void HandleEvent(StepContext& step, const WorkerArrived& event) {
  State& state = step.state;
  const auto [it, added] = state.workers.try_emplace(event.worker.id, event.worker);
  Worker& worker = it->second;
  if (event.session < worker.last_session) {
    step.Send(CloseSession{.session = event.session,
                           .reason = Str("worker ", worker.id, " has opened a newer session")});
    return;
  }
  if (std::string why = WhyTaken(step, worker, event.worker); !why.empty()) {
    // It tries again and again.
    if (worker.refused_folder != event.worker.folder_id) {
      worker.refused_folder = event.worker.folder_id;
      step.result.warnings.push_back(
          Str("the Hello of a worker on host ", event.worker.host, " was refused: ", why));
    }
    step.Send(CloseSession{.session = event.session, .reason = std::move(why)});
    return;
  }
  // Only an open session proves that the newer start is alive:
  // its id comes from a clock that may jump.
  if (worker.session && worker.incarnation > event.worker.incarnation) {
    step.Send(CloseSession{.session = event.session,
                           .reason = Str("a newer process of worker ", worker.id,
                                         " has a session: is there a copy of its folder?")});
    return;
  }
  std::string arrival = ArrivalText(added ? nullptr : &worker, event);
  if (worker.session != event.session) {
    ForgetSession(step, worker, Str("worker ", worker.id, " has opened a newer session"));
  }
  const bool is_restarted = !added && worker.incarnation != event.worker.incarnation;
  if (added || is_restarted || worker.lost || worker.draining ||
      worker.slots != event.worker.slots || CanGetFiles(worker) != CanGetFiles(event.worker)) {
    state.index.workers_version += 1;
  }
  ForgetChangedSlots(worker, event.worker);
  const bool was_over = is_restarted && IsOver(step, worker);
  if (was_over) NoteOutlived(step, worker);
  worker.incarnation = event.worker.incarnation;
  worker.folder_id = event.worker.folder_id;
  worker.host = event.worker.host;
  worker.version = event.worker.version;
  worker.slots = event.worker.slots;
  worker.dataset_digests = event.worker.dataset_digests;
  worker.labels = event.worker.labels;
  worker.protocol = event.worker.protocol;
  worker.capabilities = event.worker.capabilities;
  worker.over_network = event.worker.over_network;
  worker.disk = event.worker.disk;
  worker.folder = event.worker.folder;
  worker.allocation =
      AllocationOf(step, event.allocation, is_restarted ? std::nullopt : worker.allocation);
  worker.shares_artifacts = false;  // until it has proved it
  worker.sharing_problem.clear();
  worker.session = event.session;
  worker.last_session = event.session;
  worker.heard_at = step.now;
  worker.draining = false;
  worker.lost = false;
  worker.silence_noted = false;
  worker.refused_folder.clear();
  worker.pauses.clear();
  worker.no_room.clear();
  state.index.sessions[event.session] = worker.id;
  step.changed_workers.insert(worker.id);
  NoteWorker(step, worker, std::move(arrival));

  if (is_restarted) NoteDiedTogether(state, worker, event.attempts);
  EndWhatIsNotListed(step, worker, event.attempts, step.now, is_restarted);
  WelcomeMessage welcome;
  welcome.protocol_version = worker.protocol;
  for (const LiveAttempt& live : event.attempts) {
    welcome.attempts.push_back(Judge(step, worker, live));
  }
  if (was_over) NoteOutlived(step, worker);  // also those that were adopted just now
  NoteKept(step, worker, event.attempts);
  NoteBusySlots(step, worker, event.attempts);
  step.Send(event.session, std::move(welcome));
  if (worker.drain) SendHold(step, worker);
}

void HandleEvent(StepContext& step, const WorkerHeard& event) {
  Worker* const worker = Hear(step, event.session);
  if (worker == nullptr) return;
  step.freed_slot |= HasFullDisk(*worker) && event.disk.wanted_bytes == 0;
  worker->disk = event.disk;
  step.Send(event.session, HeartbeatReplyMessage{.number = event.number});
  for (const LiveAttempt& live : event.attempts) RepeatVerdict(step, *worker, live);
  // A heartbeat may have been written before an acceptance that arrived first:
  // only longer silence counts.
  EndWhatIsNotListed(step, *worker, event.attempts, step.now - step.state.limits.suspect_ms,
                     /*is_restarted=*/false);
  NoteBusySlots(step, *worker, event.attempts);
}

void HandleEvent(StepContext& step, const WorkerHolds& event) {
  Worker* const worker = Hear(step, event.session);
  if (worker == nullptr || worker->dataset_digests == event.dataset_digests) return;
  worker->dataset_digests = event.dataset_digests;
  step.changed_workers.insert(worker->id);
}

void HandleEvent(StepContext& step, const WorkerShares& event) {
  Worker* const worker = Hear(step, event.session);
  if (worker == nullptr) return;
  worker->shares_artifacts = event.same;
  worker->sharing_problem = event.problem;
}

void HandleEvent(StepContext& step, const WorkerGone& event) {
  const auto id = step.state.index.sessions.find(event.session);
  if (id == step.state.index.sessions.end()) return;
  Worker& worker = step.state.workers.at(id->second);
  worker.session.reset();
  step.state.index.sessions.erase(id);
  // While it was silent, the log said SUSPECT already.
  if (std::exchange(worker.silence_noted, false) && !worker.draining) return;
  NoteWorker(step, worker,
             worker.draining ? "the worker has stopped, as it had announced"
                             : "the worker's session has ended");
}

void HandleEvent(StepContext& step, const WorkerLeaves& event) {
  Worker* const worker = Hear(step, event.session);
  if (worker == nullptr) return;
  // After the commit: the worker then knows that its announcement is stored.
  step.Send(event.session, DrainMessage{});
  if (worker->draining) return;
  worker->draining = true;
  NoteWorker(step, *worker, "the worker announced that it is stopping");
  step.state.index.workers_version += 1;
  step.changed_workers.insert(worker->id);
}

void HandleEvent(StepContext& step, const AttemptAccepted& event) {
  const Worker* const worker = Hear(step, event.session);
  if (worker == nullptr) return;
  Attempt* const attempt = FindAttempt(step.state, event.attempt);
  if (attempt != nullptr) NoteForeign(step, *worker, *attempt);
  const bool here =
      attempt != nullptr && attempt->worker == worker->id && attempt->epoch == event.epoch;
  if (here && (IsCurrent(step.state, *attempt) || attempt->state == AttemptState::kSucceeded)) {
    return NoteAccepted(step, *attempt);
  }
  step.Send(event.session,
            FencedMessage{.attempt = event.attempt,
                          .current_epoch = here ? TaskOf(step.state, *attempt).epoch : 0});
}

void HandleEvent(StepContext& step, const AttemptRejected& event) {
  Worker* const worker = Hear(step, event.session);
  if (worker == nullptr) return;
  Attempt* const attempt = FindAttempt(step.state, event.attempt);
  if (attempt != nullptr) NoteForeign(step, *worker, *attempt);
  if (attempt == nullptr || attempt->worker != worker->id || attempt->epoch != event.epoch ||
      !IsCurrent(step.state, *attempt) || attempt->durable_seq > 0) {
    return;  // a repeat, a withdrawn offer, or it has run: then its end will come
  }
  attempt->end_stored = true;  // nothing has run, so nothing will come
  // A full disk or a missing trainer before anything has run is not a loss of the task's: it waits,
  // and its reason says for what.
  const bool full = event.failure_class == FailureOf(FailureClass::kStorage).name;
  if (full && event.cache_needed_bytes > 0) return RefuseForCache(step, *worker, *attempt, event);
  if (event.failure_class.empty() || full) {
    worker->pauses[attempt->device_index] = {
        .until = step.now + (full ? kFullMs : step.state.limits.busy_ms),
        .refusal = full ? event.reason : ""};
    WithdrawOffer(step, *attempt, event.reason.empty() ? "the slot was busy" : event.reason);
    return;
  }
  const FailureRow* const row = FindFailure(event.failure_class);
  if (row == nullptr) {
    step.result.warnings.push_back(Str("worker ", worker->id, " rejects attempt ", attempt->id,
                                       " with the unknown class ", Quoted(event.failure_class)));
  }
  ReleaseSlot(step.state, *attempt);
  EndAttempt(step, *attempt, row == nullptr ? FailureClass::kCrashed : row->failure_class,
             event.reason);
}

}  // namespace longrun::coordinator
