// The scheduler: (state, event, now) -> (state, writes, commands). Pure: no clock, no I/O, no
// thread, no randomness except the state's seed. One thread of the coordinator (core.h) feeds it,
// stores the writes in one transaction, and only then sends the commands. The simulator
// (tests/simulation) runs the same code against simulated workers, network, disk and crashes.
//
// It holds every rule on which safety depends: fencing by epoch when rows are stored, sequence
// numbers without gap or repetition, acknowledgement only after the commit, success only with the
// complete result set.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "coordinator/scheduler/state.h"
#include "sweeps/event.h"
#include "sweeps/live_attempt.h"
#include "sweeps/session_messages.h"

namespace longrun::coordinator {

// ---- events ------------------------------------------------------------------------------------

// A sweep's texts for the store, made on a thread that nothing waits for. Texts that are absent are
// made when the sweep is stored.
struct SweepTexts {
  std::string digest = {};                  // of the sweep's content
  std::vector<std::string> run_json = {};   // canonical, of each run in order
  std::vector<std::string> axes_json = {};  // of each run in order
};
// An evaluation whose numbers count, but lack something that this version measures. The old numbers
// count until the new ones are complete.
struct StaleResult {
  std::string task;
  std::string result_attempt;           // has the old numbers; if another counts now: ignored
  std::vector<ExpectedCell> cells;      // all cells that the task must fill
  std::vector<MeasuredNumber> numbers;  // of result_attempt
};
// A large submission comes in parts, each with the next runs of the sweep, so that no step is long.
// It is one submission: nothing of it is placed before the last part has come, and what a stopped
// coordinator has of it is dropped at the next start. Between its parts come no other submission
// and no retry.
struct SubmissionPart {
  std::int64_t first_run = 0;  // the ordinal of the part's first run; 0: it begins the submission
  bool is_last = false;
};
struct SweepSubmitted {
  std::string sweep_id;  // ULID, made by the caller; a known one is submitted again
  Sweep sweep;
  std::map<std::string, std::string> dataset_paths;  // dataset name -> registered folder
  // The sweep's cells that the store knew a moment ago, with the task that owes or has each. The
  // state itself lacks the cells of tasks that have succeeded.
  std::map<std::string, std::string> known_cells = {};
  // The cells in known_cells whose own row is damaged, so that only their task knows of them. Their
  // rows are written again.
  std::set<std::string> unrecorded_cells = {};
  SweepTexts texts = {};
  std::string owner = {};  // who submits it; a sweep stays that of its first submission
  bool first = false;      // also does what SweepPrioritized does
  // Evaluations of the sweep to measure again, from final checkpoints. Nothing is trained for them.
  std::vector<StaleResult> stale = {};
  std::optional<SubmissionPart> part = {};  // nullopt: all of it
};
// Places the sweep's tasks before those of all other sweeps, until another sweep is put first.
struct SweepPrioritized {
  std::string sweep_id;
};
// An order about a sweep does at most so many tasks in its step; while StepResult::goes_on, an
// OrderContinued is needed. Until the last one, the sweep takes no other order
// (kFailedPrecondition), and no other order is carried out in several steps (kUnavailable).
constexpr std::size_t kAllTasks = std::numeric_limits<std::size_t>::max();

// With kNow, trainers that an earlier cancellation lets stop with a checkpoint are killed as well.
struct SweepCancelled {
  std::string sweep_id;
  StopMode mode = StopMode::kCheckpoint;
  std::size_t n_tasks_max = kAllTasks;
};
// Makes the tasks of a sweep wait, except those that an active sweep wants; running ones are asked
// to stop. kNotFound; kFailedPrecondition: it was cancelled, or has ended.
struct SweepPaused {
  std::string sweep_id;
  std::size_t n_tasks_max = kAllTasks;
};
struct SweepResumed {
  std::string sweep_id;
  std::size_t n_tasks_max = kAllTasks;
};
// Removes a sweep that has ended. Tasks that no other sweep has stay known until they are collected
// as garbage; a run without any task is removed with the last sweep that lists it.
struct SweepRemoved {
  std::string sweep_id;
};

// A succeeded evaluation that has since lost one of its numbers. Its result is taken back.
struct LostResult {
  std::string task;
  std::vector<ExpectedCell> cells;  // all cells that the task must fill
};

// Checkpoints of a training task whose files are missing or damaged in the artifact store. If its
// final one is among them, a training that succeeded is tried again, too.
struct LostCheckpoints {
  std::string task;
  std::set<std::string> sha256;  // of their manifests
};

// Gives a new round to those of `tasks` that failed or were skipped or cancelled, if a sweep has
// them that is not cancelled, and to those that succeeded and whose result was lost. kNotFound: the
// sweep was removed meanwhile; kFailedPrecondition: no sweep has any of the tasks, or only
// cancelled ones have.
struct RetryRequested {
  std::string sweep_id;  // if given, this sweep is no longer cancelled
  std::vector<std::string> tasks;
  std::vector<LostResult> lost = {};
  // Of `tasks`, and of those that they need.
  std::vector<LostCheckpoints> lost_checkpoints = {};
  // Heeded only if `tasks` are all tasks of the sweep, and nothing was lost.
  std::size_t n_tasks_max = kAllTasks;
};
// The next tasks of State::order; its counts are only those of this step.
struct OrderContinued {
  std::size_t n_tasks_max = kAllTasks;
};
// A checkpoint that has rows in the database.
struct StoredCheckpoint {
  std::string task;
  std::int64_t step = 0;
  std::string sha256;  // of its manifest
};
// Names the `candidates` that nothing will need, and drops them unless dry_run. Does the same for
// `orphans`, tasks that no sweep has. The caller lists evaluations before training tasks, and a
// training task before the one that it continues, and passes few at a time, so that each step is
// short and each transaction small.
struct GarbageWanted {
  bool dry_run = true;
  std::vector<StoredCheckpoint> candidates = {};
  std::vector<std::string> orphans = {};
  // With dry_run: tasks that earlier steps have named, and that count as removed.
  std::set<std::string> gone = {};
};

struct WorkerArrived {  // Hello
  SessionId session = 0;
  // id, incarnation, folder_id, host, version, slots, dataset_digests, labels, protocol,
  // capabilities, over_network, disk, folder
  Worker worker;
  std::vector<LiveAttempt> attempts;
  std::optional<AllocationSpan> allocation = {};
};
struct WorkerHeard {  // Heartbeat
  SessionId session = 0;
  std::int64_t number = 0;
  std::vector<LiveAttempt> attempts;
  DiskSpace disk = {};
};
struct WorkerHolds {  // DatasetsHeld
  SessionId session = 0;
  std::set<std::string> dataset_digests;  // all that it has now
};
struct WorkerShares {  // what came of SharedSeen
  SessionId session = 0;
  bool same = false;
  std::string problem = {};
};
struct WorkerGone {  // the stream ended; the lease continues
  SessionId session = 0;
};
struct WorkerLeaves {  // it is stopping, and accepts no new work
  SessionId session = 0;
};
// An operator's orders: drain.cc. kNotFound: there is no such worker.
struct WorkerDrained {  // a drained worker may get another deadline, or none
  std::string worker;
  std::optional<std::int64_t> deadline_ms = {};  // from now; by then its trainers have stopped
};
struct WorkerUndrained {
  std::string worker;
};
// Forgets a worker. kFailedPrecondition: it is connected, or has live attempts. If it comes back,
// it is a new one.
struct WorkerRemoved {
  std::string worker;
};
// The datasets whose folders on the coordinator's machine do not answer now, by digest: no task
// that reads them is placed.
struct DatasetsSilent {
  std::set<std::string> digests;
};
// Lets a quarantined slot work again. kFailedPrecondition: it is not quarantined.
struct SlotReleased {
  std::string worker;
  std::optional<std::int64_t> index = {};  // absent: all of the worker's quarantined slots
};
struct AttemptAccepted {
  SessionId session = 0;
  std::string attempt;
  std::uint64_t epoch = 0;
};
struct AttemptRejected {  // possible even after AttemptAccepted; nothing has run
  SessionId session = 0;
  std::string attempt;
  std::uint64_t epoch = 0;
  std::string failure_class;  // "": the slot was busy; not counted
  std::string reason;
  // Not 0: only this task has no room in the worker's cache (Rejected in session.proto).
  std::int64_t cache_needed_bytes = 0;
  std::int64_t cache_limit_bytes = 0;
  bool lacks_disk = false;
};
struct BatchRecord {
  JournalRecord record;
  std::string line;  // its bytes
  // For checkpoint and artifact records: whether all their bytes are in the artifact store (the
  // core checks before it posts the event). If not, the record ends the batch with a Nack.
  bool bytes_stored = true;
  // The worker no longer has the record's files, so they will never come: the record is stored as
  // history. If a final checkpoint is lost in this way, the attempt ends.
  bool files_gone = false;
};
struct JournalReceived {
  SessionId session = 0;
  std::string attempt;
  std::uint64_t epoch = 0;
  std::int64_t first_seq = 0;
  std::vector<BatchRecord> records;
};
struct AttemptFinished {  // AttemptEnded
  SessionId session = 0;
  std::string attempt;
  std::uint64_t epoch = 0;
  std::int64_t last_seq = 0;
  EndEvidence evidence;  // without the journal's part
  std::string log_tail;
};
// Comes about once a second, and when a deadline is near. A much longer gap between two events
// (suspend_ms) means that this machine was suspended, and extends all leases.
struct TimePassed {};

using SchedulerEvent =
    std::variant<SweepSubmitted, SweepPrioritized, SweepCancelled, SweepPaused, SweepResumed,
                 SweepRemoved, RetryRequested, OrderContinued, GarbageWanted, WorkerArrived,
                 WorkerHeard, WorkerHolds, WorkerShares, WorkerGone, WorkerLeaves, WorkerDrained,
                 WorkerUndrained, WorkerRemoved, SlotReleased, DatasetsSilent, AttemptAccepted,
                 AttemptRejected, JournalReceived, AttemptFinished, TimePassed>;

// ---- writes: one transaction --------------------------------------------------------------------
//
// Writes are ordered so that a row comes before the rows that refer to it: runs, tasks, cells,
// sweeps, workers, attempts, records, transitions, dropped checkpoints, removals. Only
// Task.result_attempt and Task.attempt refer to later rows. Each row occurs at most once per step.

// The sweep, its runs and its tasks; it is no longer cancelled or paused.
struct PutSweep {
  std::string sweep_id;
  Sweep sweep;
  std::vector<std::string> tasks;  // sorted
  SweepTexts texts = {};
  std::string owner = {};  // stored with its first submission
};
// Further runs of a sweep that is being submitted in parts, from the ordinal `first_run` on.
struct PutSweepRuns {
  std::string sweep_id;
  std::int64_t first_run = 0;
  std::vector<PlannedRun> runs;
  std::vector<std::string> tasks;  // sorted; those that are not the sweep's yet
  std::vector<std::string> axes_json = {};
};
struct PutSubmitting {  // State::submitting
  std::string sweep_id;
};
struct PutOrder {  // State::order, without what is volatile
  std::optional<SweepOrder> order = {};
};
struct PutSweepDesired {
  std::string sweep_id;
  Desired desired = Desired::kActive;
};
struct PutRun {
  RunRecord run;
  std::string run_json = {};  // canonical; "": not made yet
};
struct PutTask {  // insert or update of all durable columns
  Task task;
};
struct PutAttempt {
  Attempt attempt;  // durable columns only
};
struct PutWorker {
  Worker worker;
};
struct PutCell {  // the task that owes or has a cell
  std::string cell;
  std::string task;
};
// A journal record, unchanged. Results and series have tables of their own; other kinds share one.
struct PutRecord {
  std::string attempt;
  std::string task;
  std::string run_key;
  JournalRecord record;
  std::string line;
  // For a checkpoint or artifact: its files cannot be fetched, or will not be because its attempt
  // no longer counts. The record is kept, but refers to no bytes.
  bool files_gone = false;
};
// Every change of a state has exactly one of these.
struct PutTransition {
  std::string subject;  // "task" | "attempt"
  std::string id;
  std::string from;
  std::string to;
  std::string reason;
};
// Removes the rows of a checkpoint to which its task no longer refers, and its bytes if nothing
// else refers to them.
struct DropCheckpoint {
  std::string task;
  std::string sha256;
};
// Removes the sweep and its list of runs; its tasks stay.
struct DropSweep {
  std::string sweep_id;
};
// Removes tasks that no sweep has, each before the task that it needs, with their attempts, their
// records and the cells that they owe or have. Their bytes are removed if nothing else refers to
// them.
struct DropTasks {
  std::vector<std::string> tasks;
};
// Removes the damaged results of an attempt that no longer counts; the others stay as history.
struct DropDamagedResults {
  std::string attempt;
};
struct DropRuns {  // removes runs without tasks that no sweep lists
  std::vector<std::string> run_keys;
};
struct DropWorker {
  std::string worker;
};
using Write =
    std::variant<PutSweep, PutSweepRuns, PutSubmitting, PutOrder, PutSweepDesired, PutRun, PutTask,
                 PutAttempt, PutWorker, PutCell, PutRecord, PutTransition, DropCheckpoint,
                 DropSweep, DropTasks, DropRuns, DropWorker, DropDamagedResults>;

// ---- commands: sent after the commit ------------------------------------------------------------

// Start a task on a worker's slot. The core makes the StartMessage, since it knows the checkpoints'
// files and this coordinator's folders.
struct SendStart {
  SessionId session = 0;
  TaskFile task;  // without the worker's paths
  std::int64_t device_index = 0;
  std::string dataset_digest;
  std::string dataset_path;  // as registered when the sweep was submitted
};
// Any other message. A Welcome has only its version and its verdicts; the core adds the rest.
struct SendMessage {
  SessionId session = 0;
  DownMessage message;
};
struct CloseSession {  // a newer one came, the id is that of another worker, or it was silent
  SessionId session = 0;
  std::string reason;
};
using Command = std::variant<SendStart, SendMessage, CloseSession>;

// Counts for the answer to SweepSubmitted, SweepCancelled, SweepPaused, RetryRequested.
struct SubmitCounts {
  std::int64_t runs_new = 0;
  std::int64_t runs_reused = 0;
  std::int64_t train_tasks_new = 0;
  std::int64_t evaluate_tasks_new = 0;
  std::int64_t cells_new = 0;
  std::int64_t cells_reused = 0;
  std::int64_t tasks_retried = 0;
  std::int64_t tasks_failed_for_good = 0;  // FailedForGood(); existing tasks or new ones
  // An upper bound of the checkpoint bytes that will stay on the disk from training that is new,
  // retried or in progress.
  std::int64_t checkpoint_bytes = 0;
};
struct CancelCounts {
  std::int64_t cancelled = 0;
  std::int64_t stopping = 0;
};

struct PauseCounts {
  bool was_paused = false;    // already
  std::int64_t held = 0;      // tasks that wait
  std::int64_t stopping = 0;  // running ones, asked to stop
};

// A checkpoint that is no longer needed.
struct GarbageCheckpoint {
  StoredCheckpoint checkpoint;
  bool task_succeeded = false;  // false: a later attempt has superseded it
};

// A worker came, left, fell silent or was heard from again.
struct WorkerChange {
  std::string worker;
  std::string host;
  std::string_view state;  // WorkerStateName
  bool is_missed = false;  // the coordinator does not hear from it: SUSPECT or LOST
  std::string reason;      // for people
};

struct StepResult {
  // For SweepSubmitted, SweepPrioritized, SweepCancelled, SweepPaused, SweepResumed, SweepRemoved,
  // RetryRequested, WorkerDrained, WorkerUndrained, WorkerRemoved. If not ok, nothing was done.
  Status status;
  std::vector<Write> writes;
  std::vector<Command> commands;
  SubmitCounts submit;
  CancelCounts cancel;
  PauseCounts pause;
  bool goes_on = false;                    // the order needs an OrderContinued
  std::vector<GarbageCheckpoint> garbage;  // for GarbageWanted
  std::vector<std::string> garbage_tasks;  // for GarbageWanted: from `orphans`
  std::vector<std::string> refreshed;      // for SweepSubmitted: tasks of `stale` in a new round
  std::int64_t tasks_left = 0;             // for SweepRemoved: tasks that no sweep has now
  std::vector<WorkerChange> workers;       // for the log
  std::vector<std::string> warnings;       // for the log: a peer that broke the protocol
  std::vector<std::string> foreign;        // the same: it spoke of an attempt of another worker
  std::vector<std::string> differences;    // for the log: a number that was measured again differs
  // Checkpoints (the SHA-256 of their manifests) whose stored files may be damaged: an attempt that
  // started from one has ended as `data`.
  std::vector<std::string> doubtful_checkpoints;
  std::optional<Instant> wake_at;  // TimePassed is needed by then
  // Tables that nothing needs any more, and that take long to destroy: not on the core's thread.
  std::shared_ptr<const void> leftover;
};

// `wall_ms` is for display columns, and for the duration of an attempt across a reboot or a
// restore. Step consumes the event: it moves journal records into the writes.
StepResult Step(State& state, SchedulerEvent event, Instant now, std::int64_t wall_ms);

// Returns the task that owes or has a cell, from the state or from `known_cells` (see
// SweepSubmitted); null if there is none.
const std::string* OwnerOf(const State& state,
                           const std::map<std::string, std::string>& known_cells,
                           const std::string& cell);
// A submission comes in parts only if no part of it could be refused. What can be told of that
// without the state need not hold up the core: returns how many tasks the submission has at most;
// nullopt: it must come as a whole.
std::optional<std::size_t> TasksOfParts(const SweepSubmitted& event);
// The rest: whether the sweep is new, and the limits leave room for `n_tasks` of TasksOfParts().
bool MaySubmitInParts(const State& state, const SweepSubmitted& event, std::size_t n_tasks);
// The submission in parts of n_runs runs, each with the known cells of its runs.
std::vector<SweepSubmitted> InParts(SweepSubmitted event, std::size_t n_runs);
// Returns what Step(SweepSubmitted) would do, without doing it. `known_cells`: see SweepSubmitted.
SubmitCounts PlanSubmission(const State& state, const Sweep& sweep,
                            const std::map<std::string, std::string>& known_cells = {});

// The tasks to which Step(RetryRequested) would give a new round.
std::set<std::string> TasksToRetry(const State& state, const RetryRequested& event);

// The current state of a sweep, derived from its tasks: PENDING (none of it runs now), RUNNING,
// SUCCEEDED, PARTIAL (some of it succeeded, and no more will follow), FAILED (none of it
// succeeded), CANCELLED, PAUSED.
std::string_view SweepStateName(const State& state, const std::string& sweep_id);
std::int64_t NumberRunning(const SweepTally& tally);  // tasks on a slot
// Whether the sweep is PENDING, RUNNING or PAUSED.
bool IsActiveSweep(const State& state, const std::string& sweep_id);

// Whether paused sweeps want the task, and no active one does: then it waits.
bool IsHeld(const State& state, const std::string& task);

// Whether the task, or the training that it needs, has failed and would fail again: training is
// deterministic, so a diverged training is not retried when it is submitted again.
bool FailedForGood(const State& state, const Task& task);

// Returns why a task is not placed, if this build cannot read it or its run. The text is shown
// instead of the task's own reason, which becomes valid again once a build can read the task. Empty
// if this build can read it, or if the task has ended.
std::string WhyUnknown(const State& state, const Task& task);

// Why a task does not run, or has not ended.
struct Why {
  Gate gate = Gate::kNone;
  std::string text = {};    // for people
  std::string remedy = {};  // what ends it: a command, or what it waits for; "": nothing holds it
  std::optional<Instant> until = {};  // when the gate opens by itself, if that is known
  std::string root = {};  // the task at which the text's cause is, if this task waits for another
  std::optional<std::int64_t> n_before = {};  // READY tasks that are placed before it, if counted
};
// `is_remote`: for a caller on another machine, where `longrun up` would help nobody.
Why WhyHeld(const State& state, const Task& task, Instant now, std::int64_t wall_ms,
            bool is_remote = false);

// Tasks of a sweep that are held by the same thing.
struct WhyGroup {
  TaskState state = TaskState::kReady;
  Gate gate = Gate::kNone;
  std::int64_t n_tasks = 0;
  const Task* example = nullptr;  // of READY tasks, the one that is placed first
  Why why = {};                   // of the example
};
// First those that wait, then those that failed, then those that run; of these the largest first.
std::vector<WhyGroup> GroupByGate(const State& state, const std::set<std::string>& tasks,
                                  Instant now, std::int64_t wall_ms, bool is_remote = false);

// What to say about a live attempt whose worker is silent (IsHeardOf).
std::string NotHeardText(const Attempt& attempt);

// Whether a new worker could take the READY task: with slots like these or, if none are given, any
// slots of this kind. A temporary one works for `work_ms`.
bool CouldTake(const State& state, const Task& task, DeviceKind kind,
               const std::vector<Slot>& slots, std::int64_t work_ms);
// How many READY tasks such a worker could take.
std::int64_t CountWaiting(const State& state, DeviceKind kind, const std::vector<Slot>& slots,
                          std::int64_t work_ms);

// Whether the worker gets datasets and the files of evaluations by digest.
bool GetsByDigest(const Worker& worker);
// Whether the worker can get what an attempt reads: over the network, only by digest.
bool CanGetFiles(const Worker& worker);

// Whether the worker is connected and may be given tasks, if it has a slot for them.
bool TakesWork(const Worker& worker);

// Whether the worker's disk has too little room for new attempts, as the worker last reported.
bool HasFullDisk(const Worker& worker);
// What to say about such a worker, and what makes it take tasks again.
std::string FullDiskText(const Worker& worker);
std::string FullDiskRemedy(const Worker& worker);

// Why the attempt's trainer may be waiting for room on its worker's disk, and what to do. "": the
// disk has room, as far as is known, or the trainer has reported within its usual time.
std::string WaitForRoomText(const Worker& worker, const Attempt& attempt, Instant now);

// Whether nothing is heard of a worker: it is LOST, has no session, or is silent.
bool IsMissed(const State& state, const Worker& worker, Instant now);
// The state of a worker as people see it, one of WorkerInfo.state in sweeps.proto.
std::string_view WorkerStateName(const State& state, const Worker& worker, Instant now);

// Whether a worker is known to be holding its attempts: its session is open, or ended only a moment
// ago, for example because either end is restarting. False for a worker that is silent, that has
// not connected since this process began, or that was replaced by another worker on its machine.
bool IsHeardOf(const State& state, const std::string& worker, Instant now);

// The time until the deadline of the worker's drain, at least 0; nullopt if it has none.
std::optional<std::int64_t> DrainLeftMs(const State& state, const Worker& worker, Instant now,
                                        std::int64_t wall_ms);

// The time until a temporary worker asks its trainers to stop, at least 0; nullopt if it has no
// such time.
std::optional<std::int64_t> WorkLeftMs(const State& state, const Worker& worker, Instant now,
                                       std::int64_t wall_ms);

// A worker with attempts in progress that has been silent for longer than a restart takes, or that
// was replaced by another worker on its machine.
struct MissedWorker {
  const Worker* worker = nullptr;
  const Worker* instead = nullptr;   // the replacing worker; null: none
  std::set<std::string> tasks = {};  // in progress there
  std::int64_t n_elsewhere = 0;      // of these: another connected worker has a slot that fits
  Instant lease_end = 0;             // when its tasks go to other workers
};
std::vector<MissedWorker> MissedWorkers(const State& state, Instant now);

// Running attempts that have reported nothing for much longer than their longest pause so far,
// although their worker is heard from. Their trainer may have been suspended, or may be waiting for
// memory or a disk.
std::vector<const Attempt*> QuietAttempts(const State& state, Instant now);

// Applies a record to its attempt, in the same way for an incoming record and for one read back
// from the store. The loader calls it for all records of each live attempt, in order.
void NoteRecord(Attempt& attempt, const JournalRecord& record, std::string_view line);

// The number in a result row, for Attempt::numbers and Task::earlier.
MeasuredNumber NumberOf(const ResultRecord& result);
// Whether the task is measured again while its earlier numbers count. After a restart the loader
// fills in Task::earlier for such tasks.
bool IsRefreshing(const Task& task);

// Restores the volatile parts after the tables were read back into `state`. `restored`: the
// database came from a backup, and restore_count has grown. Nothing is then placed for the length
// of a lease, so that workers can first report what they did since the backup.
void AfterLoad(State& state, Instant now, std::uint64_t seed, bool restored = false);

}  // namespace longrun::coordinator
