// The scheduler: (state, event, now) -> (state, writes, commands). Pure: no clock, no I/O, no thread,
// no randomness but the state's seed. One thread of the coordinator (core.h) feeds it, stores the
// writes in one transaction, and only then sends the commands; the simulator (tests/simulation) runs
// the same code against simulated workers, network, disk and crashes.
//
// It holds every rule that safety rests on: fencing by epoch when rows are
// stored, sequence numbers without gap or repetition, acknowledgement after the commit, success only
// with the complete result set.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "coordinator/scheduler/state.h"
#include "sweeps/event.h"
#include "sweeps/live_attempt.h"

namespace longrun {

// ---- events ------------------------------------------------------------------------------------

// What the store wants to know of a sweep as text, made where nobody waits for it. What is left out
// is made when it is stored.
struct SweepTexts {
  std::string digest = {};                  // of what the sweep asks for
  std::vector<std::string> run_json = {};   // canonical, of each run in order
  std::vector<std::string> axes_json = {};  // the same
};
struct SweepSubmitted {
  std::string sweep_id;  // ULID, made by the caller; a known one is taken up again
  Sweep sweep;
  std::map<std::string, std::string> dataset_paths;  // dataset name -> registered folder
  // Of the sweep's cells those that the store knew a moment ago, with the task that owes or has each:
  // the state need not know cells of tasks that had succeeded when it was loaded.
  std::map<std::string, std::string> known_cells = {};
  // Of these the ones whose own row is damaged, so that only their task knows of them: written anew.
  std::set<std::string> unrecorded_cells = {};
  SweepTexts texts = {};
  bool first = false;  // as SweepPutFirst
};
// Its tasks are placed before those of all other sweeps, until another sweep is put first.
struct SweepPutFirst {
  std::string sweep_id;
};
struct SweepCancelled {
  std::string sweep_id;
};
// Of a sweep that is over. The tasks that no other sweep has are known until they are collected as
// garbage; a run without any task goes with the last sweep that lists it.
struct SweepRemoved {
  std::string sweep_id;
};

// An evaluation that succeeded and of whose numbers one was lost since: its result is taken back.
struct LostResult {
  std::string task;
  std::vector<ExpectedCell> cells;  // all that the task owes
};

// Those of `tasks` that failed, were skipped or cancelled get a new round, if a sweep has them.
// kNotFound: the sweep was removed meanwhile; kFailedPrecondition: no sweep has any of the tasks.
struct RetryWanted {
  std::string sweep_id;  // no longer cancelled, when given
  std::vector<std::string> tasks;
  std::vector<LostResult> lost = {};
};
// A checkpoint of which the database has rows.
struct StoredCheckpoint {
  std::string task;
  std::int64_t step = 0;
  std::string sha256;  // of its manifest
};
// Those of `candidates` that nothing will ask for are named, and without dry_run dropped; so are those of
// `orphans`, tasks that no sweep has: evaluations before trainings, and a training before that of the run
// which its own continues. The caller gives few at a time, so that each step is short and each
// transaction small.
struct GarbageWanted {
  bool dry_run = true;
  std::vector<StoredCheckpoint> candidates = {};
  std::vector<std::string> orphans = {};
  // With dry_run: tasks that were named before, and count as gone.
  std::set<std::string> gone = {};
};

struct WorkerArrived {  // Hello
  SessionId session = 0;
  Worker worker;  // id, incarnation, host, version, slots, dataset_digests
  std::vector<LiveAttempt> attempts;
};
struct WorkerHeard {  // Heartbeat
  SessionId session = 0;
  std::int64_t number = 0;
  std::vector<LiveAttempt> attempts;
};
struct WorkerGone {  // the stream ended; the lease goes on
  SessionId session = 0;
};
struct WorkerLeaves {  // it is stopping, and takes nothing new
  SessionId session = 0;
};
struct AttemptAccepted {
  SessionId session = 0;
  std::string attempt;
  std::uint64_t epoch = 0;
};
struct AttemptRejected {  // also of one that was accepted: nothing has run
  SessionId session = 0;
  std::string attempt;
  std::uint64_t epoch = 0;
  std::string failure_class;  // "" : the slot was busy; not counted
  std::string reason;
};
struct BatchRecord {
  JournalRecord record;
  std::string line;  // its bytes
  // For checkpoint and artifact records: whether all their bytes are in the artifact store (the
  // core looks before it posts the event). A record that lacks them ends the batch with a Nack.
  bool bytes_stored = true;
  // The worker has no files for it any more, so they will never come: the record is stored as
  // history. A final checkpoint that is lost so ends the attempt.
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
  EndEvidence evidence;  // without what the journal said
  std::string log_tail;
};
// About once a second, and when a deadline is near. A longer silence means that this machine
// slept: all leases are extended by it.
struct TimePassed {};

using SchedulerEvent =
    std::variant<SweepSubmitted, SweepPutFirst, SweepCancelled, SweepRemoved, RetryWanted,
                 GarbageWanted, WorkerArrived, WorkerHeard, WorkerGone, WorkerLeaves,
                 AttemptAccepted, AttemptRejected, JournalReceived, AttemptFinished, TimePassed>;

// ---- writes: one transaction ---------------------------------------------------------------------
//
// They come in an order in which what is referred to stands before what refers to it: runs, tasks,
// cells, sweeps, workers, attempts, records, transitions, dropped checkpoints, what is removed. Only
// Task.result_attempt, Task.attempt point ahead. Each row comes at most once a step.

struct PutSweep {  // the sweep, its runs and which tasks serve it; not cancelled
  std::string sweep_id;
  Sweep sweep;
  std::vector<std::string> tasks;  // sorted
  SweepTexts texts = {};
};
struct PutSweepCancelled {
  std::string sweep_id;
  bool cancelled = true;
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
// A journal record as it came. `result` and `series` have tables of their own; the others share one.
struct PutRecord {
  std::string attempt;
  std::string task;
  std::string run_key;
  JournalRecord record;
  std::string line;
  // Of a checkpoint or artifact: nobody can fetch its files, or nobody will, since its attempt counts
  // no more. The record is kept, and refers to no bytes.
  bool files_gone = false;
};
// Every state change has exactly one of these.
struct PutTransition {
  std::string subject;  // "task" | "attempt"
  std::string id;
  std::string from;
  std::string to;
  std::string reason;
};
// A checkpoint that its task refers to no more: its rows go, and its bytes when no other has them.
struct DropCheckpoint {
  std::string task;
  std::string sha256;
};
// The sweep, and its list of runs; its tasks stay.
struct DropSweep {
  std::string sweep_id;
};
// Tasks that no sweep has, each before what it needs, with their attempts, their records and the cells they
// owe or have. Their bytes go when no other has them.
struct DropTasks {
  std::vector<std::string> tasks;
};
// The damaged ones of an attempt that counts no longer; the others stay as history.
struct DropDamagedResults {
  std::string attempt;
};
struct DropRuns {  // of which no task is left, and which no sweep lists
  std::vector<std::string> run_keys;
};
using Write = std::variant<PutSweep, PutSweepCancelled, PutRun, PutTask, PutAttempt, PutWorker,
                           PutCell, PutRecord, PutTransition, DropCheckpoint, DropSweep, DropTasks,
                           DropRuns, DropDamagedResults>;

// ---- commands: sent after the commit ---------------------------------------------------------------

struct AttemptVerdict {
  enum class Verdict { kContinue, kStop, kFenced, kEnded };
  std::string attempt;
  std::int64_t durable_seq = 0;
  Verdict verdict = Verdict::kContinue;
};
struct SendWelcome {
  SessionId session = 0;
  std::vector<AttemptVerdict> attempts = {};
};
struct SendHeartbeatReply {
  SessionId session = 0;
  std::int64_t number = 0;
};
struct SendStart {
  SessionId session = 0;
  TaskFile task;  // without the worker's paths
  std::int64_t device_index = 0;
  std::string dataset_digest;
  std::string dataset_path;
};
struct SendStop {
  SessionId session = 0;
  std::string attempt;
  std::uint64_t epoch = 0;
  std::int64_t grace_ms = 0;
  std::string reason;
};
struct SendAck {
  SessionId session = 0;
  std::string attempt;
  std::int64_t durable_seq = 0;
  bool ended = false;
};
struct SendNack {
  SessionId session = 0;
  std::string attempt;
  std::int64_t expected_seq = 0;
};
struct SendFenced {
  SessionId session = 0;
  std::string attempt;
  std::uint64_t current_epoch = 0;
};
struct SendDrain {  // the word of a worker that leaves is stored
  SessionId session = 0;
};
struct CloseSession {  // a newer incarnation came, or the protocol was broken
  SessionId session = 0;
  std::string reason;
};
using Command = std::variant<SendWelcome, SendHeartbeatReply, SendStart, SendStop, SendAck,
                             SendNack, SendFenced, SendDrain, CloseSession>;

// What the one who asked is told (SweepSubmitted, SweepCancelled, RetryWanted).
struct SubmitCounts {
  std::int64_t runs_new = 0;
  std::int64_t runs_reused = 0;
  std::int64_t train_tasks_new = 0;
  std::int64_t evaluate_tasks_new = 0;
  std::int64_t cells_new = 0;
  std::int64_t cells_reused = 0;
  std::int64_t tasks_retried = 0;
  std::int64_t tasks_failed_for_good = 0;  // that are there already, or only now asked for
  // Bytes of the checkpoints that stay of the trainings that are new, tried again or under way, at most.
  std::int64_t checkpoint_bytes = 0;
};
struct CancelCounts {
  std::int64_t cancelled = 0;
  std::int64_t stopping = 0;
};

// A checkpoint that is not needed any more.
struct GarbageCheckpoint {
  StoredCheckpoint checkpoint;
  bool task_succeeded = false;  // else a later attempt has left it behind
};

struct StepResult {
  // Of SweepSubmitted, SweepPutFirst, SweepCancelled, SweepRemoved, RetryWanted; when not ok, nothing
  // was done.
  Status status;
  std::vector<Write> writes;
  std::vector<Command> commands;
  SubmitCounts submit;
  CancelCounts cancel;
  std::vector<GarbageCheckpoint> garbage;  // of GarbageWanted
  std::vector<std::string> garbage_tasks;  // the same, of `orphans`
  std::int64_t tasks_left = 0;             // of SweepRemoved: that no sweep has now
  std::vector<std::string> warnings;       // for the log: a peer that broke the protocol
  std::optional<Instant> wake_at;          // TimePassed is wanted then at the latest
};

// `wall_ms` is for display columns, and for the duration of an attempt over a reboot.
// The event is taken apart: what a journal brings is moved into the writes.
StepResult Step(State& state, SchedulerEvent event, Instant now, std::int64_t wall_ms);

// The task that owes or has a cell, by the state or by `known_cells` (SweepSubmitted); null: none.
const std::string* OwnerOf(const State& state,
                           const std::map<std::string, std::string>& known_cells,
                           const std::string& cell);
// What Step(SweepSubmitted) would do, without doing it. `known_cells` as there.
SubmitCounts PlanSubmission(const State& state, const Sweep& sweep,
                            const std::map<std::string, std::string>& known_cells = {});

// The newest state of a sweep, derived: PENDING (nothing of it runs now), RUNNING, SUCCEEDED, PARTIAL
// (some of it succeeded, and nothing more comes), FAILED (none of it did), CANCELLED.
std::string_view SweepStateName(const State& state, const std::string& sweep_id);
// Some of it is still to come: PENDING or RUNNING.
bool IsActiveSweep(const State& state, const std::string& sweep_id);

// Whether the task, or the training it needs, has failed as it would again: a training is
// deterministic, so one that diverged is not tried again by submitting it.
bool FailedForGood(const State& state, const Task& task);

// Why nothing is placed of a task that this build cannot read, or of whose run it cannot: to be shown,
// with what ends it, in place of its reason, which is true again once a build knows it. "": it can, or
// the task has ended.
std::string WhyUnknown(const State& state, const Task& task);

// Whether somebody holds what the worker has under way: its session is open, or ended a moment ago, as it
// does when either end is started again. False of one that is silent, that has not come since this process
// began, or in whose place another one of its machine has come.
bool IsHeardOf(const State& state, const std::string& worker, Instant now);

// A worker that has work under way and is not heard of, for longer than a restart takes, or with another
// one of its machine in its place.
struct MissedWorker {
  const Worker* worker = nullptr;
  const Worker* instead = nullptr;  // that other one; null: there is none
  std::int64_t n_tasks = 0;
  Instant lease_end = 0;  // then its tasks are given to others
};
std::vector<MissedWorker> MissedWorkers(const State& state, Instant now);

// What an attempt's record says about it: the same for a record that comes in and for one that is
// read back from the store. The loader calls it for all records, in order, of each live attempt.
void NoteRecord(Attempt& attempt, const JournalRecord& record, std::string_view line);

// Restores what is volatile after the tables were read back into `state`. `restored`: the database
// came from a backup and restore_count has grown; nothing is placed for the length of a lease, so
// that workers tell first what they did since.
void AfterLoad(State& state, Instant now, std::uint64_t seed, bool restored = false);

}  // namespace longrun
