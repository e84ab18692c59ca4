// The context of one Step(). Each concern has its own file, and adds its writes and commands to
// this context. Private to this folder.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/scheduler/scheduler.h"
#include "coordinator/scheduler/state.h"

namespace longrun::coordinator {

struct StepContext {
  State& state;
  const Instant now;
  const std::int64_t wall_ms;
  StepResult result;
  // Rows that have changed. Each is written once, in its form at the end of the step.
  std::set<std::string> changed_runs;
  std::set<std::string> changed_tasks;
  std::set<std::string> changed_attempts;
  std::set<std::string> changed_workers;
  // Rows that are only added. (A Write is as large as its largest alternative.)
  std::map<std::string, std::string> run_json;  // of changed runs, if already made
  std::vector<PutCell> cells;
  std::vector<Write> sweeps;
  std::vector<PutRecord> records;
  std::vector<PutTransition> transitions;
  std::vector<DropCheckpoint> drops;
  std::vector<Write> removals;
  bool judges_slots = false;  // JudgeDoubtfulSlots has something to do
  bool freed_slot = false;    // a slot may take work again, though no row has changed

  void Send(Command command) { result.commands.push_back(std::move(command)); }
  void Send(SessionId session, DownMessage message) {
    Send(SendMessage{.session = session, .message = std::move(message)});
  }
};

// Empties a container, and gives back its memory, which clear() and an assignment of {} keep.
template <typename Container>
void Release(Container& container) {
  Container().swap(container);
}

// ---- transition.cc: the only place where a state changes ----------------------------------------

// The edges of the state machines: transition.cc lists them. Anything else is a bug (LR_CHECK).
bool IsTaskEdge(TaskState from, TaskState to);
bool IsAttemptEdge(AttemptState from, AttemptState to);

// Adds a new task, in kBlocked or kReady.
Task& AddTask(StepContext& step, Task&& task, std::string reason);
void MoveTask(StepContext& step, Task& task, TaskState to, std::string reason);
// Starts a new round, with fresh counters, for a task that is FAILED, CANCELLED or SKIPPED, or that
// is SUCCEEDED but lost its result. RetryTask and RefreshTask are the only ways out of a terminal
// state.
void RetryTask(StepContext& step, Task& task, TaskState to, std::string reason);
// The same for a succeeded evaluation that is measured again; its result stays.
void RefreshTask(StepContext& step, Task& task, std::string reason);
Attempt& AddAttempt(StepContext& step, Attempt&& attempt, const std::string& reason);
// When an attempt ended: now; or at its last record, or at an unknown time since then, which does
// not count, since its machine may have been off.
enum class EndTime : std::uint8_t { kLastRecord, kNow };
void MoveAttempt(StepContext& step, Attempt& attempt, AttemptState to, const std::string& reason,
                 EndTime end = EndTime::kLastRecord);
// A record of the attempt has come (after NoteRecord): it has run until now, and for at least as
// long as its trainer's clock says, but not since before its offer. If its worker has said that
// the trainer is not running, or the attempt was given up, only its journal comes late: then the
// attempt has run for as long as its trainer's clock says.
void NoteRan(StepContext& step, Attempt& attempt);
// Adds a task to Index::dependants or Index::untrained, if it belongs there.
void NoteNeeds(Index& index, const Task& task);
// Add a live attempt to Index::live, unanswered and live_of, or one that has ended to Index::ended.
void NoteLive(Index& index, const Attempt& attempt);
void NoteUnanswered(Index& index, const Attempt& attempt);  // if it is
void NoteEnded(Index& index, const Attempt& attempt);
// Takes those before `attempt`, which has recorded something, out of Index::unprepared.
void NoteBegun(Index& index, const Attempt& attempt);
// In the order of their ids.
std::vector<Attempt*> LiveAttemptsOf(State& state, const std::string& worker);

// What a slot must have to run the task.
ReadyClass ClassOf(const State& state, const Task& task);
std::string ClassName(const ReadyClass& ready);  // its key in Index::ready
// The place of a READY task in its class.
ReadyClass::Key ReadyKey(const State& state, const Task& task);
// Add a task to Index::ready or Index::waiting (depending on task.not_before), and remove it.
void IndexReady(State& state, Task& task, Instant now);
void UnindexReady(State& state, Task& task);

// ---- end.cc: what the end of an attempt means for its task --------------------------------------

// A message from a worker or a trainer may have any length, and control characters that a terminal
// would obey, but every view of a sweep shows the reason in a row.
std::string InShort(const std::string& message);
// Ends a live, current attempt as a failure; the class decides what happens to the task.
void EndAttempt(StepContext& step, Attempt& attempt, FailureClass failure_class,
                const std::string& message, EndTime end = EndTime::kLastRecord);
// Ends an offer that was not accepted: nothing has run, nothing is counted.
void WithdrawOffer(StepContext& step, Attempt& attempt, const std::string& message);
// Ends an accepted attempt of which nothing is recorded, since its worker died while it prepared
// it: a withdrawal, unless this has happened too often in a row.
void EndUnprepared(StepContext& step, Attempt& attempt);
// Whether the attempt with this epoch was placed before the database was restored from a backup for
// the last time.
bool IsOfEarlierDatabase(const State& state, std::uint64_t epoch);
// Ends an attempt that cannot be completed only because a backup was restored: nothing is counted.
void LoseToRestore(StepContext& step, Attempt& attempt, const std::string& message);
// The attempt has delivered everything: its task gets its result, and dependants may start.
void Succeed(StepContext& step, Attempt& attempt);
void HandleEvent(StepContext& step, const AttemptFinished& event);
// The slot of the attempt is idle, if it was the attempt's.
void ReleaseSlot(State& state, const Attempt& attempt);

// Drops what a stopped coordinator had of a submission in parts.
void DropUnfinishedSubmission(StepContext& step);  // garbage.cc
// Cancels those of `tasks` that no active sweep but `sweep_id` wants.
void CancelUnwanted(StepContext& step, const std::set<std::string>& tasks,
                    const std::string& sweep_id, StopMode mode,
                    const std::string& reason);  // cancel.cc
// Cancels the task of the order's sweep, unless another sweep wants it; before it, those of the
// sweep that need it.
void CancelOne(StepContext& step, SweepOrder& order, Task& task);  // cancel.cc
// Skips the tasks that wait for `task`, which will never succeed.
void SkipDependants(StepContext& step, const Task& task);

// ---- the other concerns -------------------------------------------------------------------------

void HandleEvent(StepContext& step, SweepSubmitted& event);        // submit.cc
void HandleEvent(StepContext& step, const SweepCancelled& event);  // cancel.cc
void HandleEvent(StepContext& step, const SweepPaused& event);     // pause.cc
void HandleEvent(StepContext& step, const SweepResumed& event);
void HandleEvent(StepContext& step, const SweepRemoved& event);    // garbage.cc
void HandleEvent(StepContext& step, const RetryRequested& event);  // retry.cc
void HandleEvent(StepContext& step, GarbageWanted& event);         // garbage.cc
void HandleEvent(StepContext& step, const WorkerArrived& event);   // session.cc
void HandleEvent(StepContext& step, const WorkerHeard& event);
void HandleEvent(StepContext& step, const WorkerGone& event);
void HandleEvent(StepContext& step, const WorkerHolds& event);
void HandleEvent(StepContext& step, const WorkerShares& event);
void HandleEvent(StepContext& step, const WorkerLeaves& event);
void HandleEvent(StepContext& step, const WorkerDrained& event);  // drain.cc
void HandleEvent(StepContext& step, const WorkerUndrained& event);
void HandleEvent(StepContext& step, const WorkerRemoved& event);
void HandleEvent(StepContext& step, const SlotReleased& event);     // quarantine.cc
void HandleEvent(StepContext& step, const AttemptAccepted& event);  // session.cc
void HandleEvent(StepContext& step, const AttemptRejected& event);
void HandleEvent(StepContext& step, JournalReceived& event);   // ingest.cc
void HandleEvent(StepContext& step, const TimePassed& event);  // lease.cc
void ExtendLeasesOverSleep(StepContext& step);                 // lease.cc
Instant NextDeadline(const State& state, Instant now);         // lease.cc
// Whether the worker has said nothing for so long that it gets no new work.
bool IsSilent(const State& state, const Worker& worker, Instant now);  // lease.cc
// The end of the worker's lease if nothing more is heard from it.
Instant LeaseEnd(const State& state, const Worker& worker);  // lease.cc
// Tells the log that a worker's state has changed, and why.
void NoteWorker(StepContext& step, const Worker& worker, std::string reason);  // presence.cc
// Asks trainers on drained workers to stop if their time has come.
void StopDrained(StepContext& step);  // drain.cc
// Tells a connected worker that it is held, or no longer held, if it understands that.
void SendHold(StepContext& step, const Worker& worker);              // drain.cc
Status UnknownWorker(const std::string& id);                         // drain.cc
void HandleEvent(StepContext& step, const SweepPrioritized& event);  // place.cc
void HandleEvent(StepContext& step, const DatasetsSilent& event);    // place.cc
void PlaceReadyTasks(StepContext& step);
// The checkpoint from which the training's next attempt starts: the newest one, or an older one if
// the last attempt could not read the one that it was given. If the training has none, the final
// checkpoint of the run that it continues. nullopt: the attempt starts from the beginning.
std::optional<CheckpointRef> ResumePoint(const State& state, const Task& task);  // place.cc
// The start of an attempt if not a checkpoint of its own task: an evaluation's weights, or those of
// the imported model or the other run with which a training begins.
std::optional<CheckpointRef> InitOf(const State& state, const Attempt& attempt);  // place.cc

// ---- fit.cc -------------------------------------------------------------------------------------

// Whether the slot has what the tasks of the class need.
bool Fits(const ReadyClass& ready, const Worker& worker, const Slot& slot);
// Whether the slot has what the task needs, and may get work at all.
bool FitsSlot(const State& state, const Task& task, const Worker& worker, const Slot& slot);
// The same for a worker that is still to come: with slots like these or, if none are given, any
// slots of this kind.
bool FitsNewWorker(const ReadyClass& ready, DeviceKind kind, const std::vector<Slot>& slots);
// What a worker must offer for the class, for a remedy: "connect a worker with …".
std::string WantedText(const ReadyClass& ready);
bool IsQuarantined(const Worker& worker, const Slot& slot);
// Whether what others use in the worker's cache leaves no room for what the class reads.
bool HasNoRoom(const Worker& worker, const ReadyClass& ready, Instant now);
// Whether the folder of a dataset that the class reads does not answer.
bool WaitsForFolder(const State& state, const ReadyClass& ready);
// Updates the reason of a class's tasks when the class becomes unplaceable, or placeable again, and
// that of tasks that have joined the class.
void RefreshUnfit(StepContext& step, const std::string& name, ReadyClass& ready);

struct Moment {
  Instant now = 0;
  std::int64_t wall_ms = 0;
};

constexpr std::int64_t kNoEndMs = std::numeric_limits<std::int64_t>::max();

struct FreeSlot {
  const Worker* worker = nullptr;
  const Slot* slot = nullptr;
  std::int64_t left_ms = kNoEndMs;  // until its worker stops its trainers
};
// FreeSlot::left_ms of the worker's slots; nullopt: none of them can get work now.
std::optional<std::int64_t> TimeForWork(const State& state, const Worker& worker,
                                        const Moment& moment);
// Whether the slot can get work now, if its worker can.
bool IsFree(const Worker& worker, const Slot& slot, Instant now);
std::vector<FreeSlot> FreeSlots(const State& state, const Moment& moment);
// Whether nothing runs there, and the worker may get work when it is connected.
bool IsIdle(const Worker& worker, const Slot& slot);
// Updates Index::idle after a change of Worker::busy. All else that IsIdle() depends on changes
// Index::workers_version, after which PlaceReadyTasks() finds the idle slots again.
void IndexIdle(State& state, const Worker& worker);
// All slots that fit the class, whether they are free or not; kept in Index::fitting. Null: it
// keeps too many classes already.
const std::vector<FittingSlotsOf::At>* AllFitting(State& state, const std::string& name,
                                                  const ReadyClass& ready);

// A task waits for so long until another slot is free than the one on which it failed.
constexpr std::int64_t kAvoidMs = 120'000;
// Where a task failed last, and should not run again if it can run elsewhere.
struct Avoided {
  std::string worker;                     // "": nowhere
  std::optional<std::int64_t> slot = {};  // only this one; nullopt: the whole worker

  bool Covers(const Worker& at, const Slot& s) const {
    return at.id == worker && (!slot || *slot == s.index);
  }
};
// The worker where the task failed last if another worker fits; else the slot, if the slot may be
// at fault and another one fits.
Avoided AvoidedBy(const State& state, const ReadyClass& ready, const Task& task,
                  const Moment& moment);

// ---- execution.cc -------------------------------------------------------------------------------

// How the run is computed, or would be by the open offers of its tasks; null if any slot may still
// decide it.
const Execution* ExecutionOf(const State& state, const RunRecord& run);
// What an offer of the task on this slot decides; null if the run has an execution.
std::shared_ptr<const Execution> ExecutionToOffer(const State& state, const Task& task,
                                                  const RunRecord& run, const Slot& slot);
// The attempt is offered: no other offer of its run may decide otherwise.
void NoteOffer(StepContext& step, const Attempt& attempt);
// The attempt has started or ended.
void EndOffer(StepContext& step, Attempt& attempt);
// The current attempt has computed something, so its run is computed in its way from now on.
// `started` names the way of an attempt that was adopted; null: this is another record.
void BindExecution(StepContext& step, Attempt& attempt, const StartedRecord* started);

// ---- quarantine.cc ------------------------------------------------------------------------------

// Notes an end that can be the fault of the attempt's slot.
void NoteSlotFailure(StepContext& step, const Attempt& attempt);
// Notes that a task was not stopped by its slot.
void ForgetSlotFailures(State& state, const std::string& worker, std::int64_t index);
// If an attempt has succeeded or failed in this step, quarantines the slots in doubt whose tasks
// succeeded elsewhere.
void JudgeDoubtfulSlots(StepContext& step);
// Forgets what is known of slots that are now other devices. `now`: the worker as it says it is.
void ForgetChangedSlots(Worker& worker, const Worker& now);
// ---- allocation.cc ------------------------------------------------------------------------------

// The time until a deadline, at least 0.
std::int64_t LeftMs(const State& state, const Deadline& deadline, Instant now,
                    std::int64_t wall_ms);
// Whether the attempt ended as `failure_class` only because its worker's allocation was over: then
// it counts as preempted.
bool IsCutOff(const StepContext& step, const Attempt& attempt, FailureClass failure_class);
// Whether it is a temporary worker that has said that it is leaving, or that must have stopped its
// trainers by now.
bool IsOver(const StepContext& step, const Worker& worker);
// A new process of a temporary worker has come after its allocation was over, so that of its
// attempts is.
void NoteOutlived(StepContext& step, const Worker& worker);
// An attempt has ended as preempted. If its worker's allocation ended before it reached a
// checkpoint, notes that its task needs more time.
void NoteCutShort(StepContext& step, const Attempt& attempt);
std::string NeedsText(const Task& task);  // "", or a clause about `needs_ms`
// Forgets temporary workers that have left, or are lost, and have nothing in progress.
void ForgetGoneWorkers(StepContext& step);

// ---- pause.cc -----------------------------------------------------------------------------------

// A paused sweep that wants the task if no active one does, else null.
const std::string* HoldingSweep(const State& state, const std::string& task);
// Why a task waits that only paused sweeps want; "" if it is not held.
std::string HoldReason(const State& state, const std::string& task);
// Keeps the task from running if it is held: it waits, or is asked to stop.
void HoldIfPaused(StepContext& step, Task& task);
// Lets a ready task run again if it is not held.
void ReleaseIfActive(StepContext& step, Task& task);

// ---- submit.cc ----------------------------------------------------------------------------------

// Whether the task is new with a submission in parts that has not ended: then it is not placed.
bool IsBeingSubmitted(const State& state, const std::string& task);
// Whether an order about the sweep can be carried out. kNotFound: there is no such sweep;
// kFailedPrecondition: it is still being submitted, in parts.
Status CheckSubmitted(const State& state, const std::string& sweep_id);

// ---- order.cc ----------------------------------------------------------------------------------

// Whether an order about the sweep can be carried out with so many tasks in a step.
Status CheckOrder(const State& state, const std::string& sweep_id, std::size_t n_tasks_max);
// The first step of an order, after CheckOrder().
void BeginOrder(StepContext& step, SweepOrder order, std::size_t n_tasks_max);
void HandleEvent(StepContext& step, const OrderContinued& event);
// Ends the order of a coordinator that stopped before its last step.
void FinishOrder(StepContext& step);
// Whether the order is about to take the READY task from the slots: then it is not placed.
bool IsAboutToLeave(const State& state, const std::string& task);
// Whether a READY task is not among those that can be placed because the order has not come to it.
bool IsAboutToReturn(const State& state, const Task& task);

// ---- kept.cc ------------------------------------------------------------------------------------

// Notes those of the attempts listed in a Hello that are unknown and were not adopted.
void NoteKept(StepContext& step, const Worker& worker, const std::vector<LiveAttempt>& listed);
// Adopts noted attempts of tasks that became READY in this step.
void AdoptKept(StepContext& step);

// ---- load.cc ------------------------------------------------------------------------------------

// Whether any sweep has the task; false once all of its sweeps were removed.
bool HasSweep(const State& state, const std::string& task);
// Whether it has sweeps, all of which are cancelled.
bool OnlyCancelledSweepsHave(const State& state, const std::string& task);
std::string NewestSweepOf(const State& state, const std::string& task);  // "": it has none
// Counts a task that becomes the sweep's.
void CountIn(SweepTally& tally, const Task& task);
// Counts the task in Index::left if no sweep has it, and otherwise not.
void CountLeft(State& state, Task& task);

// ---- retry.cc -----------------------------------------------------------------------------------

// The reason that a task in kBlocked or kReady has before any worker is considered.
std::string WaitReason(const Task& task);
// Starts new rounds for those of `tasks` that failed or were skipped or cancelled, training before
// the tasks that need it. The reasons of the tasks then begin with `why`.
void RetryGivenUp(StepContext& step, const std::set<std::string>& tasks, std::string_view why);
// Tries the task again if it was given up, after those that it needs; takes back a cancellation
// that is not finished.
void RetryOne(StepContext& step, SweepOrder& order, Task& task);
// Whether the training that the task needs, if any, has not succeeded, or is tried again.
bool WaitsForTraining(const State& state, const Task& task);
// If a task in kReady waits for its training, it is not placed before that has succeeded.
void BlockUntilTrained(StepContext& step, Task& task);

// ---- refresh.cc ---------------------------------------------------------------------------------

// Whether the stale result still counts, and the weights to measure it again are known.
bool MayRefresh(const State& state, const StaleResult& stale);
// Starts a new round for tasks that may be refreshed.
void StartRefresh(StepContext& step, std::vector<StaleResult> stale);
// Ends a refresh without new numbers: the task has succeeded with its earlier ones.
void KeepEarlier(StepContext& step, Task& task, const std::string& why);
// Ends a refresh with a complete attempt. Its numbers count from now on, unless it lacks one that
// the earlier attempt has.
void TakeRefreshed(StepContext& step, Task& task, const Attempt& attempt);

// ---- ingest.cc ----------------------------------------------------------------------------------

std::string Describe(const ExpectedCell& cell);  // "nll at 64 (unigram)"
// Drops a checkpoint of the task to which the task no longer refers.
void DropUnlessUsed(StepContext& step, const Task& task, const CheckpointRef& checkpoint);

// ---- session.cc ---------------------------------------------------------------------------------

// The worker of an open session, or null. Every message renews its lease.
Worker* Hear(StepContext& step, SessionId session);
// Notes that the worker speaks of an attempt that is another worker's, if it is.
void NoteForeign(StepContext& step, const Worker& worker, const Attempt& attempt);
// What the attempt's trainer has between SIGTERM and SIGKILL.
std::int64_t GraceMs(const State& state, const Attempt& attempt);
// Tells a worker to stop a live attempt, if its session is open.
void SendStopTo(StepContext& step, const Attempt& attempt, const std::string& reason);
// Whether this is its task's current attempt, which may still change the task.
bool IsCurrent(const State& state, const Attempt& attempt);
// Returns the attempt with this id. If this database was restored from a backup after the attempt
// was placed, and so does not know the attempt but knows its task with an older epoch, adopts the
// attempt. Null if the attempt is of no use any more, or no coordinator can have placed it.
Attempt* FindOrAdopt(StepContext& step, const Worker& worker, const std::string& attempt,
                     const std::string& task, std::uint64_t epoch);

// Whether its id and epoch could have been given by a coordinator.
bool IsAdoptable(const LiveAttempt& live);
// Tells a worker, after its Welcome, about an attempt that was adopted since.
void SendVerdict(StepContext& step, const Worker& worker, AttemptVerdict verdict);

inline Attempt* FindAttempt(State& state, const std::string& id) {
  const auto it = state.attempts.find(id);
  return it == state.attempts.end() ? nullptr : &it->second;
}
inline Task& TaskOf(State& state, const Attempt& attempt) { return state.tasks.at(attempt.task); }
inline std::string_view ShortId(std::string_view id) { return id.substr(0, 8); }

}  // namespace longrun::coordinator
