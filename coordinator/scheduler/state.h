// The scheduler's state: everything that the coordinator knows about tasks, attempts and workers,
// as plain data. Only Step() (scheduler.h) changes it.
//
// transition.cc has the edges between states. Step() writes the durable parts as Writes; the parts
// marked volatile are lost with the process and can be rebuilt.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/enum_names.h"
#include "base/json.h"
#include "base/random.h"
#include "sweeps/event.h"
#include "sweeps/failure.h"
#include "sweeps/run.h"
#include "sweeps/session_messages.h"
#include "sweeps/slot.h"
#include "sweeps/sweep.h"
#include "sweeps/task.h"

namespace longrun::coordinator {

using Instant = std::int64_t;    // milliseconds of the coordinator's boot-time clock
using SessionId = std::int64_t;  // one open worker stream; never reused within a process

enum class TaskState {
  kBlocked,  // waits for the task that it needs
  kReady,
  kReserved,   // bound to a slot; not started yet
  kRunning,    // its `started` record is durable
  kStopping,   // asked to stop
  kSucceeded,  // terminal from here on
  kFailed,
  kCancelled,
  kSkipped,  // the task that it needs failed or was cancelled
};
bool IsTerminal(TaskState state);

// What its user wants a sweep to do.
enum class Desired {
  kActive,
  kPaused,     // its tasks wait
  kCancelled,  // its tasks end
};

// A user's order about all tasks of a sweep.
enum class OrderKind {
  kCancel,
  kPause,
  kResume,
  kRetry,
};

enum class AttemptState {
  kOffered,    // Start was sent
  kAccepted,   // the worker accepted it, and prepares it or waits for its trainer's first record
  kRunning,    // its `started` record is durable
  kSucceeded,  // terminal from here on
  kFailed,
  kPreempted,
  kCancelled,
  kLost,
  kRejected,
};
bool IsLive(AttemptState state);

// How a cancelled task's trainer is stopped.
enum class StopMode {
  kCheckpoint,  // it has a grace time, in which it writes a checkpoint
  kNow,         // it is killed
};

// The clock that measured a duration.
enum class DurationClock {
  kNone,  // the attempt is live, or never ran
  kBoot,  // the boot clock, which nobody can set
  kWall,  // two readings of the wall clock, which may have been set between them: never below 0
};

// What the newest list of its worker says of an attempt's trainer.
enum class ListedTrainer : std::uint8_t {
  kNone,     // there has been no trainer yet
  kRunning,  // it is running
  kEnded,    // it ended, some time ago; what it wrote last may still come
};

// What keeps a task from running, or from ending: the first thing that does (why.cc).
enum class Gate {
  kNone,   // nothing: it runs, or is offered to a worker in a moment
  kEnded,  // the task is in a terminal state
  // Of waiting tasks, the first one that applies:
  kUnreadable,  // this build cannot read it
  kPaused,
  kNeedsTask,     // waits for a training
  kBackOff,       // pauses after a failure
  kRestored,      // a backup was restored, and workers may still report
  kSilentFolder,  // the folder of a dataset does not answer
  kNoFit,         // no known slot has what it needs
  kCacheTooSmall,
  kDrained,
  kQuarantined,
  kOutdated,        // a worker's release cannot get what the task reads
  kNoWorker,        // there is none
  kTooShort,        // what is left of the workers' allocations is less than it needs
  kAvoids,          // it failed on the free slot, and waits for another
  kNoFreeSlot,      // others run there
  kCacheInUse,      // by other tasks
  kSlotPauses,      // after failures of other tasks, or after the worker refused one
  kWorkerDiskFull,  // their disks have too little room
  kWorkerLeaves,    // those that could run it are stopping
  kWorkerAway,      // they are not connected
  // Of tasks that have an attempt:
  kOffered,        // a worker prepares it
  kWorkerSilent,   // its worker is not heard from
  kTrainerSilent,  // its trainer reports nothing
  kStopping,
};

}  // namespace longrun::coordinator

namespace longrun {

// The names used in the database, on the wire and in messages.
template <>
struct EnumNames<coordinator::TaskState> {
  static constexpr std::array<std::string_view, 9> kNames = {"BLOCKED", "READY",     "RESERVED",
                                                             "RUNNING", "STOPPING",  "SUCCEEDED",
                                                             "FAILED",  "CANCELLED", "SKIPPED"};
};
template <>
struct EnumNames<coordinator::AttemptState> {
  static constexpr std::array<std::string_view, 9> kNames = {"OFFERED",   "ACCEPTED", "RUNNING",
                                                             "SUCCEEDED", "FAILED",   "PREEMPTED",
                                                             "CANCELLED", "LOST",     "REJECTED"};
};
template <>
struct EnumNames<coordinator::Gate> {
  static constexpr std::array<std::string_view, 26> kNames = {
      "NONE",          "ENDED",        "UNREADABLE",    "PAUSED",        "NEEDS_TASK",
      "BACK_OFF",      "RESTORED",     "SILENT_FOLDER", "NO_FIT",        "CACHE_TOO_SMALL",
      "DRAINED",       "QUARANTINED",  "OUTDATED",      "NO_WORKER",     "TOO_SHORT",
      "AVOIDS",        "NO_FREE_SLOT", "CACHE_IN_USE",  "SLOT_PAUSES",   "WORKER_DISK_FULL",
      "WORKER_LEAVES", "WORKER_AWAY",  "OFFERED",       "WORKER_SILENT", "TRAINER_SILENT",
      "STOPPING"};
};
template <>
struct EnumNames<coordinator::OrderKind> {
  static constexpr std::array<std::string_view, 4> kNames = {"cancel", "pause", "resume", "retry"};
};
template <>
struct EnumNames<coordinator::StopMode> {
  static constexpr std::array<std::string_view, 2> kNames = {"checkpoint", "now"};
};
template <>
struct EnumNames<coordinator::DurationClock> {
  static constexpr std::array<std::string_view, 3> kNames = {"", "boot", "wall"};
};

}  // namespace longrun

namespace longrun::coordinator {

// A number as stored in its row, for comparing two measurements of a cell.
struct MeasuredNumber {
  ExpectedCell asked;
  std::string status;                  // ok, or why there is no number
  std::int64_t n = 0;                  // scored tokens
  std::optional<double> nll_sum = {};  // nats
  bool operator==(const MeasuredNumber&) const = default;
};

// The stored rows of an attempt.
struct GivenRows {
  std::map<ExpectedCell, std::int64_t> counts = {};  // how many there are of each
  std::vector<MeasuredNumber> numbers = {};
  std::set<ExpectedCell> expected = {};  // its task's, once there is a row
};

struct Attempt {
  std::string id;  // ULID
  std::string task;
  std::int64_t n = 0;  // 1, 2, 3: for display
  std::uint64_t epoch = 0;
  AttemptState state = AttemptState::kOffered;
  std::string worker;
  std::int64_t device_index = 0;  // of the slot; -1: adopted from its worker, slot unknown
  std::optional<CheckpointRef> resume = {};
  // How it is to be computed if its run has not begun; dropped once the attempt starts or ends.
  // Shared, since few attempts have one, and each write copies its attempt.
  std::shared_ptr<const Execution> execution = {};
  std::int64_t durable_seq = 0;    // number of records stored
  std::string failure_class = {};  // its name, once the attempt has failed
  std::string message = {};        // for people
  // When its trainer started: when the coordinator heard of it, or as long before that as its later
  // records show (NoteRan).
  std::int64_t started_wall_ms = 0;
  std::int64_t ended_wall_ms = 0;
  // On the boot clock of the coordinator's machine. `started_boot` is the boot from which this
  // clock counts; it is empty if unknown.
  Instant started_boot_ms = 0;
  std::string started_boot = {};
  // The same of its offer. Unknown if it was adopted, or offered by an earlier release: then only
  // its id has that time, on the wall clock.
  Instant offered_boot_ms = 0;
  std::string offered_boot = {};
  // From RUNNING to its end (MoveAttempt), or, while it runs, to its newest record (NoteRan).
  // If its worker has listed its trainer as ended, or it was given up before its journal was
  // complete, to its last record, whenever that comes.
  std::int64_t duration_ms = 0;
  DurationClock duration_clock = DurationClock::kNone;
  bool end_stored = false;  // AttemptEnded is stored: nothing more will come
  bool outlived = false;    // its worker has a newer allocation: the attempt's is over
  // Derived from its records: rebuilt with NoteRecord after a restart while the attempt is live,
  // and dropped once its end is stored.
  JournalTally tally = {};  // of the records before `final`
  GivenRows rows = {};
  std::optional<CheckpointRef> final_checkpoint = {};
  bool final_seen = false;
  std::string unreadable = {};    // which stored record cannot be read, and why
  std::string failed_class = {};  // from a `failed` record
  std::string failed_message = {};
  // By its trainer's wall clock: of the newest record, and how long it has run until that. After a
  // restart, those of `started` if the attempt has ended and its end is not stored.
  std::int64_t recorded_wall_ms = 0, recorded_run_ms = 0;
  // Volatile:
  Instant offered_at = 0;
  Instant listed_at = 0;  // when its worker last reported it
  // The number of the worker's attempts, including this one, that ended together: after a restart
  // of the worker, none of them still had a trainer, so all of the machine's processes had ended.
  // Otherwise 0.
  std::int64_t died_together = 0;
  std::optional<ProgressRecord> progress = {};  // the newest
  Instant recorded_at = 0;                      // when the newest records (or the offer) came
  // The longest time between the arrivals of records while it runs; -1: none have come since
  // `started`.
  std::int64_t record_gap_ms = -1;
  // From its worker's newest list: the last record in its journal, and its trainer.
  std::int64_t listed_seq = 0;
  ListedTrainer listed_trainer = ListedTrainer::kNone;
};

// A worker's cache can never hold what a task reads.
struct CacheTooSmall {
  std::string incarnation;  // of the worker's process that said so; a later one may have more
  std::int64_t needed_bytes = 0;
  std::int64_t limit_bytes = 0;
  bool operator==(const CacheTooSmall&) const = default;
};

struct Task {
  std::string id;  // task key
  std::string run_key;
  TaskKind kind = TaskKind::kTrain;
  TaskState state = TaskState::kReady;
  bool cancel_wanted = false;                  // desired = CANCELLED
  StopMode stop_mode = StopMode::kCheckpoint;  // of no meaning unless cancel_wanted
  std::string reason;                          // why it is in this state; never empty
  std::int64_t priority = 0;
  std::int64_t ready_seq = 0;  // order of becoming ready
  std::int64_t retry_round = 0;
  std::uint64_t epoch = 0;  // of the newest attempt
  std::int64_t attempts = 0;
  std::string attempt;  // newest attempt, "" before the first
  // The attempt whose numbers count, after success. During a refresh, it counts until the new
  // numbers are complete (refresh.cc).
  std::string result_attempt;
  std::int64_t failures = 0;
  std::int64_t losses = 0;
  RetryPolicy retry;
  // The task key that must succeed first, or "": of the training whose final weights an evaluation
  // reads or a training begins with.
  std::string needs;
  std::string owner = {};  // who submitted it first; "": unknown
  DeviceChoice device_kind = DeviceChoice::kAny;
  std::string avoid_worker;                  // the worker on which it failed last
  Json evaluation;                           // evaluate: {"perplexity": {...}}; train: null
  std::vector<ExpectedCell> expected_cells;  // absent after its success; the store has them
  std::int64_t checkpoint_every_ms = 0;
  std::int64_t checkpoint_keep = 0;
  bool activation_checkpointing = false;
  std::vector<CheckpointRef> checkpoints;         // train: verified ones in the store, by step
  std::optional<CheckpointRef> best_checkpoint;   // train: of the lowest validation loss so far
  std::optional<CheckpointRef> final_checkpoint;  // train, once succeeded
  // Volatile:
  bool is_left = false;  // counted in Index::left
  std::string unknown;   // why this build cannot read its stored row; "": it can be read
  bool damaged = false;  // its stored row was lost when the state was loaded
  // The numbers that count during a refresh; rebuilt after a restart.
  std::vector<MeasuredNumber> earlier;
  Instant not_before = 0;  // end of the back-off
  // At least so long must a temporary worker still work: in less, the task reached no checkpoint,
  // or no further result.
  std::int64_t needs_ms = 0;
  std::int64_t results_reached = 0;  // the most that an attempt gave before it was cut short
  std::string ready_class;           // its class in Index::ready; "" if not there
  std::map<std::string, CacheTooSmall> too_large_for;  // by worker
};

struct RunRecord {
  std::string run_key;
  Run run;
  std::string dataset_name;
  std::string dataset_path;
  std::optional<Execution> execution;  // that of the first attempt that started, for good
  // Volatile: why this build cannot read its stored row, for example because a position method was
  // removed. `run` then has no meaning, and none of its tasks is placed. "": it can be read.
  std::string unknown = {};
  bool damaged = false;  // `unknown` because its row is damaged: a new submission writes it again
};

// A time on the boot clock of one boot of the coordinator's machine, and the same time on the wall
// clock, which counts after a reboot.
struct Deadline {
  Instant boot_ms = 0;
  std::string boot = {};  // "": unknown
  std::int64_t wall_ms = 0;
  bool operator==(const Deadline&) const = default;
};
// An operator drains a worker: it gets nothing new until the operator takes that back.
struct Drain {
  std::optional<Deadline> deadline = {};  // by then, trainers have stopped; else they finish
  bool operator==(const Drain&) const = default;
};

// A slot that gets nothing new for a moment, after a failure or a refusal.
struct SlotPause {
  Instant until = 0;  // when to offer again
  // Why the worker refused the slot's task: its disk is full, or it has no trainer. "": the slot
  // was busy, or a task failed there.
  std::string refusal = {};
};
// Tasks that read certain data and get no offer of a worker for a moment.
struct RoomPause {
  Instant until = 0;
  // Why the worker's disk has no room for the data; "": others use what its cache may take.
  std::string disk_refusal = {};
};
// A slot that gets nothing new until an operator releases it (quarantine.cc).
struct Quarantine {
  std::string reason;  // for people
  std::int64_t since_wall_ms = 0;
  bool operator==(const Quarantine&) const = default;
};
// The last failure of a task on a slot.
struct SlotFailure {
  std::string task;
  std::int64_t memory_bytes = 0;  // of the slot
  std::string failure_class;
  std::string message;
};
// Since a task was not stopped by the slot.
struct SlotFailures {
  std::int64_t n = 0;
  std::vector<SlotFailure> last = {};  // of different tasks, the newest last
};

// What a temporary worker has of its machine: the job of a cluster, for example (allocation.cc).
struct Allocation {
  std::string job = {};                   // for people: "slurm 1234"
  std::optional<Deadline> work_end = {};  // when it asks its trainers to stop; nullopt: never
};

struct Worker {
  std::string id;
  std::string incarnation;
  std::string folder_id = {};  // of its folder; "": not known
  std::string host;
  std::string version;
  std::vector<Slot> slots;
  std::set<std::string> dataset_digests;
  std::map<std::string, std::string> labels = {};  // given to the worker at its start, for people
  int protocol = 1;                                // the version of its newest session
  bool draining = false;                           // it announced that it accepts no new work
  std::optional<Drain> drain = {};  // an operator's; unlike `draining`, it survives Hello
  std::map<std::int64_t, Quarantine> quarantined = {};  // by slot
  std::optional<Allocation> allocation = {};            // of a temporary worker
  // Volatile:
  std::set<std::string> capabilities = {};  // of the open session (sweeps/protocol.h)
  bool over_network = false;                // its open session: it may be on another machine
  DiskSpace disk = {};                      // as the worker last reported it
  std::string folder = {};                  // on its machine, for people; "": not known
  bool shares_artifacts = false;            // it and the coordinator see the same shared folder
  std::string sharing_problem = {};         // why it does not, although it was given a folder
  std::optional<SessionId> session;
  SessionId last_session = 0;  // the newest in this process; messages of an older one are ignored
  Instant heard_at = 0;
  bool lost = false;                         // the lease ended, and it has been silent since
  bool silence_noted = false;                // in the log: it is SUSPECT
  std::string refused_folder = {};           // in the log: the last one that had its id, too
  std::map<std::int64_t, std::string> busy;  // slot -> attempt whose trainer may run there
  std::map<std::int64_t, SlotPause> pauses;  // by slot
  std::map<std::int64_t, SlotFailures> slot_failures = {};  // by slot (quarantine.cc)
  // Of tasks that read these datasets: the run's, and the evaluated one.
  std::map<std::pair<std::string, std::string>, RoomPause> no_room = {};
};

struct SchedulerLimits {
  std::int64_t heartbeat_ms = 5'000;
  std::int64_t suspect_ms = 15'000;  // no new work after this silence
  std::int64_t lease_ms = 90'000;    // a worker's tasks are reassigned after this silence
  std::int64_t offer_ms = 10'000;    // from Start to Accepted
  std::int64_t stop_grace_ms = 20'000;
  std::int64_t busy_ms = 1'000;     // pause after a slot refused an offer as busy
  std::int64_t suspend_ms = 5'000;  // a longer gap between events means that we were suspended
  BackOffRange back_off;
  std::int64_t tasks_max = 1'000'000;
  std::int64_t owner_tasks_max = 500'000;  // of one owner's sweeps, also of removed ones until `gc`
};

// An order that goes through the tasks of a large sweep in several steps (order.cc). What the sweep
// itself becomes is stored with the first step, and nothing else: after a restart, the order comes
// to all tasks again, and tries those once more that were retried and have failed since.
struct SweepOrder {
  OrderKind kind = OrderKind::kCancel;
  std::string sweep_id;
  StopMode mode = StopMode::kCheckpoint;  // of no meaning unless it cancels
  // Volatile:
  bool is_driven = false;            // by this process, which takes one step after the other
  std::string done_to = {};          // the tasks up to this one are done
  std::set<std::string> early = {};  // and these, which come later
  bool IsDone(const std::string& task) const { return task <= done_to || early.contains(task); }
};

// READY tasks that the same slots can run; slots are checked once for all of them.
struct ReadyClass {
  DeviceChoice device_kind = DeviceChoice::kAny;
  // That of the run, or of an offer of the run; compared without micro_batch.
  std::optional<Execution> execution;
  // The memory that a slot of each kind must have, since the two kinds compute on different paths.
  // An evaluation requires none of a GPU: if its memory runs out, the cell's answer is
  // `out_of_memory`. On a CPU, nothing reports exhausted memory, and the whole machine suffers.
  // gpu_fused: on a GPU with fused attention for heads of `head_dim` channels (Slot::attention).
  std::int64_t gpu_memory_bytes = 0, gpu_fused_memory_bytes = 0, cpu_memory_bytes = 0;
  std::int64_t head_dim = 0;                                // of the model
  std::map<std::string, CacheTooSmall> too_large_for = {};  // by worker
  // What the tasks read: the run's dataset, and the evaluated one (the same, where there is none).
  std::string dataset_digest, text_digest;
  // In the order of placement: the sweep that was put first, priority, evaluate before train, time
  // of becoming ready, id.
  struct Key {
    bool later = false;  // not in the sweep put first
    std::int64_t minus_priority = 0;
    bool trains = false;
    std::int64_t ready_seq = 0;
    std::string task;
    auto operator<=>(const Key&) const = default;
  };
  std::set<Key> tasks;
  std::int64_t checked_version = -1;  // Index::workers_version when `unfit` was determined
  std::string unfit;                  // why no known worker fits, or ""
  Gate unfit_gate = Gate::kNone;      // the same as a gate
  std::string unfit_remedy;           // what ends that
  std::vector<std::string> joined;    // tasks whose reason may not fit `unfit` yet
};

// A task's attempts that have ended.
struct EndedAttempts {
  std::int64_t n = 0;
  std::int64_t n_withdrawn = 0;  // of these: offers that ended before anything had run
  std::int64_t ran_ms = 0;       // all of them together
};

// What the tasks of a sweep do: `ls` asks it of every sweep, and a sweep may have 200,000.
struct SweepTally {
  std::array<std::int64_t, 9> n = {};  // by TaskState
  std::set<std::string> begun;         // tasks that may have an attempt

  std::int64_t of(TaskState state) const { return n[static_cast<std::size_t>(state)]; }
};

// An attempt that a worker has and that the database does not know (kept.cc).
struct KeptAttempt {
  std::string worker;
  std::string attempt;
  std::uint64_t epoch = 0;
};

// Slots of workers, by their index.
using SlotIds = std::set<std::pair<std::string, std::int64_t>>;

// Which slots fit the tasks of a class (fit.cc), found once until workers or slots change. A copy
// starts empty, since the pointers are into the state that it belongs to.
struct FittingSlotsOf {
  struct At {
    const Worker* worker = nullptr;
    std::size_t slot = 0;  // its place in Worker::slots
  };
  std::int64_t version = -1;  // Index::workers_version
  std::map<std::string, std::vector<At>> classes = {};

  FittingSlotsOf() = default;
  FittingSlotsOf(const FittingSlotsOf&) {}
  FittingSlotsOf& operator=(const FittingSlotsOf&) {
    version = -1;
    classes.clear();
    return *this;
  }
};

struct Submission;  // submit.cc

// Lets Step() find things without a search through all tasks. Derived and volatile;
// AfterLoad builds it.
struct Index {
  std::map<std::string, ReadyClass> ready;
  std::set<std::pair<Instant, std::string>> waiting;  // back-off: (end, task)
  std::set<std::string> live;                         // attempts
  std::set<std::pair<Instant, std::string>>
      unanswered;  // those that are only offered: (since, attempt)
  std::map<std::string, std::set<std::string>> live_of;    // worker -> its live attempts
  std::map<std::string, std::set<std::string>> offered;    // run -> live attempts with an execution
  std::map<std::string, std::set<std::string>> untrained;  // run without training -> its tasks
  std::map<std::string, EndedAttempts> ended;              // by task
  // By task: the numbers of the attempts since the last one that recorded anything that were
  // withdrawn because their worker died while it prepared them.
  std::map<std::string, std::set<std::int64_t>> unprepared;
  std::map<std::string, std::set<std::string>> dependants;   // task -> tasks that need it
  std::map<std::string, std::set<std::string>> task_sweeps;  // task -> sweeps it belongs to
  std::map<std::string, SweepTally> tallies;                 // sweep -> its tasks
  std::map<std::string, std::int64_t> left;                  // owner -> tasks that no sweep has
  std::map<SessionId, std::string> sessions;                 // open session -> worker
  std::set<std::string> first;                               // tasks of the sweep put first
  std::map<std::string, std::vector<KeptAttempt>> kept;      // by task, which may be unknown too
  SlotIds doubtful;                                          // quarantine.cc
  std::int64_t workers_version = 0;                          // grows when workers or slots change
  SlotIds idle;                                              // nothing runs there
  std::int64_t idle_version = -1;  // the version for which `idle` is right
  FittingSlotsOf fitting;
  std::shared_ptr<Submission> submission;  // what its parts have done; null: none is in progress
};

struct State {
  SchedulerLimits limits;
  std::uint64_t restore_count = 0;  // grows when the database is restored from a backup
  // The greatest epoch of all tasks that gc dropped. New tasks start with it, since a new task may
  // have the key of a dropped one, whose attempt may still come back.
  std::uint64_t epoch_floor = 0;
  std::map<std::string, Task> tasks;
  std::map<std::string, Attempt> attempts;  // also old ones: they may still send messages
  std::map<std::string, RunRecord> runs;
  std::map<std::string, Worker> workers;
  // cell -> the task that owes it. Cells of tasks that have succeeded are absent, since there are
  // as many of them as results: only the store knows them (SweepSubmitted::known_cells).
  std::map<std::string, std::string> cell_task;
  // sweep id -> its tasks. A task may belong to several sweeps, and a run may be listed without any
  // task.
  std::map<std::string, std::set<std::string>> sweep_tasks;
  std::map<std::string, std::set<std::string>> sweep_runs;  // sweep id -> its runs
  std::map<std::string, std::string>
      sweep_owner;  // sweep id -> who submitted it first; "": unknown
  std::map<std::string, std::string> sweep_name;
  std::set<std::string> cancelled_sweeps;
  std::set<std::string> paused_sweeps;  // never cancelled ones
  // The sweep whose submission in parts has not ended; "": none. Its new tasks are not placed.
  std::string submitting;
  std::optional<SweepOrder> order = {};  // that has not ended
  std::int64_t next_ready_seq = 1;
  // Volatile:
  std::string boot = {};         // the boot of this machine from which `now` counts; "": unknown
  Instant booted_at = 0;         // leases count from this time at the earliest
  Instant place_not_before = 0;  // after a restore, until workers have reported
  std::string restored_at = {};  // when that restore was, for people; "": not known
  Instant last_event_at = 0;
  std::set<std::string> silent_datasets = {};  // digests; their folders do not answer
  SeededRandom random{0};                      // attempt ids, jitter
  Index index;
};

}  // namespace longrun::coordinator
