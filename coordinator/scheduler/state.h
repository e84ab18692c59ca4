// What the scheduler knows: the coordinator's whole truth about tasks, attempts and workers, as plain
// data. Step() (scheduler.h) is the only thing that changes it.
//
// The edges between states: transition.cc. What is durable is written by Step() as Writes; what is
// marked volatile is lost with the process and does not matter.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/random.h"
#include "sweeps/event.h"
#include "sweeps/failure.h"
#include "sweeps/run.h"
#include "sweeps/sweep.h"
#include "sweeps/task.h"

namespace longrun {

using Instant = std::int64_t;    // milliseconds of the coordinator's boot-time clock
using SessionId = std::int64_t;  // one open worker stream; never used again within a process

enum class TaskState {
  kBlocked,  // waits for the task it needs
  kReady,
  kReserved,   // bound to a slot; not started yet
  kRunning,    // its `started` record is durable
  kStopping,   // asked to stop
  kSucceeded,  // terminal from here on
  kFailed,
  kCancelled,
  kSkipped,  // what it needs failed or was cancelled
};
std::string_view TaskStateName(TaskState state);  // "BLOCKED", ...
bool IsTerminal(TaskState state);

enum class AttemptState {
  kOffered,    // Start was sent
  kAccepted,   // the worker has taken it: it prepares, or its trainer has not said yet that it runs
  kRunning,    // its `started` record is durable
  kSucceeded,  // terminal from here on
  kFailed,
  kPreempted,
  kCancelled,
  kLost,
  kRejected,
};
std::string_view AttemptStateName(AttemptState state);
bool IsLive(AttemptState state);

// What a duration was measured by.
enum class DurationClock {
  kNone,  // it lives, or never ran
  kBoot,  // the boot clock, which no one sets
  kWall,  // two readings of the wall clock, which may have been set between them: never below 0
};
std::string_view DurationClockName(DurationClock clock);  // "", boot, wall

struct Attempt {
  std::string id;  // ULID
  std::string task;
  std::int64_t n = 0;  // 1, 2, 3: for display
  std::uint64_t epoch = 0;
  AttemptState state = AttemptState::kOffered;
  std::string worker;
  std::int64_t device_index = 0;  // of the slot; -1: adopted from its worker, slot unknown
  std::optional<CheckpointRef> resume = {};
  std::int64_t durable_seq = 0;    // records stored
  std::string failure_class = {};  // by name, once it has ended badly
  std::string message = {};        // for people
  std::int64_t started_wall_ms = 0;
  std::int64_t ended_wall_ms = 0;
  // By the boot clock of the coordinator's machine, and which boot it counts from ("": not known):
  Instant started_boot_ms = 0;
  std::string started_boot = {};
  // From RUNNING to its end; see MoveAttempt.
  std::int64_t duration_ms = 0;
  DurationClock duration_clock = DurationClock::kNone;
  bool end_stored = false;  // AttemptEnded is stored: nothing more will come
  // From its records, rebuilt with NoteRecord after a restart while it is live, and dropped once the
  // end is stored:
  JournalTally tally = {};                 // of the records before `final`
  std::vector<ExpectedCell> results = {};  // rows stored
  std::optional<CheckpointRef> final_checkpoint = {};
  bool final_seen = false;
  std::string unreadable = {};    // which of its stored records cannot be read, and why
  std::string failed_class = {};  // of a `failed` record
  std::string failed_message = {};
  // Volatile:
  Instant offered_at = 0;
  Instant listed_at = 0;  // when its worker last spoke of it
  Json progress = {};     // body of the newest `progress` record
};

struct Task {
  std::string id;  // task key
  std::string run_key;
  TaskKind kind = TaskKind::kTrain;
  TaskState state = TaskState::kReady;
  bool cancel_wanted = false;  // desired = CANCELLED
  std::string reason;          // why it is in this state; never empty
  std::int64_t priority = 0;
  std::int64_t ready_seq = 0;  // order of becoming ready
  std::int64_t retry_round = 0;
  std::uint64_t epoch = 0;  // of the newest attempt
  std::int64_t attempts = 0;
  std::string attempt;         // newest attempt, "" before the first
  std::string result_attempt;  // the attempt that counts, once succeeded
  std::int64_t failures = 0;
  std::int64_t losses = 0;
  RetryPolicy retry;
  std::string needs;  // task key that must succeed first, or ""
  std::string device_kind = "any";
  std::string avoid_worker;                  // where it failed last
  Json evaluation;                           // evaluate: {"perplexity": {...}}; train: null
  std::vector<ExpectedCell> expected_cells;  // may be left out of a state loaded after its success
  std::int64_t checkpoint_every_ms = 0;
  std::int64_t checkpoint_keep = 0;
  bool activation_checkpointing = false;
  std::vector<CheckpointRef> checkpoints;         // train: verified ones in the store, by step
  std::optional<CheckpointRef> best_checkpoint;   // train: of the lowest validation loss so far
  std::optional<CheckpointRef> final_checkpoint;  // train, once succeeded
  // Volatile:
  std::string unknown;      // why this build cannot read what is stored of it; "": it can
  bool damaged = false;     // what was stored of it is lost; until the next start
  Instant not_before = 0;   // end of the back-off
  std::string ready_class;  // where it stands in Index::ready; "" when it does not
};

struct RunRecord {
  std::string run_key;
  Run run;
  std::string dataset_name;
  std::string dataset_path;
  std::optional<Execution> execution;  // decided with the first attempt
  // Volatile: why this build cannot read what is stored of it, as after a position method was taken
  // out; `run` says nothing then, and none of its tasks is placed. "": it can.
  std::string unknown = {};
  bool damaged =
      false;  // `unknown` since what is stored of it is: submitted again, it is written anew
};

struct Slot {
  std::int64_t index = 0;
  std::string kind;  // cpu | gpu
  std::string name;
  std::int64_t memory_bytes = 0;
  std::int64_t threads = 1;
  std::string simd;
  std::string linear;
};

struct Worker {
  std::string id;
  std::string incarnation;
  std::string host;
  std::string version;
  std::vector<Slot> slots;
  std::set<std::string> dataset_digests;
  bool draining = false;  // its last word was that it takes nothing new
  // Volatile:
  std::optional<SessionId> session;
  SessionId last_session = 0;  // the newest of this process: an older stream speaks too late
  Instant heard_at = 0;
  bool lost = false;                              // the lease ended and nothing was heard since
  std::map<std::int64_t, std::string> busy;       // slot -> attempt whose trainer may be there
  std::map<std::int64_t, Instant> refused_until;  // slot -> when an offer makes sense again
};

struct SchedulerLimits {
  std::int64_t heartbeat_ms = 5'000;
  std::int64_t suspect_ms = 15'000;  // no new work after this silence
  std::int64_t lease_ms = 90'000;    // reassignment after this silence (lease 60 s + grace 30 s)
  std::int64_t offer_ms = 10'000;    // from Start to Accepted
  std::int64_t stop_grace_ms = 20'000;
  std::int64_t busy_ms = 1'000;     // no offer to a slot that has just refused one as busy
  std::int64_t suspend_ms = 5'000;  // a gap between two events that means we were asleep
  BackOffRange back_off;
  std::int64_t tasks_max = 1'000'000;
};

// READY tasks that the same slots can run: asked once for all of them.
struct ReadyClass {
  std::string device_kind;             // any | cpu | gpu
  std::optional<Execution> execution;  // once decided; micro_batch is not compared
  // That a slot of each kind must have: the two compute on different paths. An evaluation needs none of a
  // GPU, where it is told that there is no more, and gives the answer `out_of_memory` for the cell; on a CPU
  // nobody says so, and the machine suffers.
  std::int64_t gpu_memory_bytes = 0, cpu_memory_bytes = 0;
  // In the order of placement: of the sweep that was put first, priority, evaluate before train, who
  // was ready first, id.
  struct Key {
    bool later = false;  // not of that sweep
    std::int64_t minus_priority = 0;
    bool trains = false;
    std::int64_t ready_seq = 0;
    std::string task;
    auto operator<=>(const Key&) const = default;
  };
  std::set<Key> tasks;
  std::int64_t checked_version = -1;  // of Index::workers_version, when `unfit` was found
  std::string unfit;                  // why no known worker fits, or ""
};

// What Step() finds quickly instead of looking at all tasks. Derived, volatile; AfterLoad makes it.
struct Index {
  std::map<std::string, ReadyClass> ready;
  std::set<std::pair<Instant, std::string>> waiting;         // back-off: until when, task
  std::set<std::string> live;                                // attempts
  std::map<std::string, std::set<std::string>> dependants;   // task -> tasks that need it
  std::map<std::string, std::set<std::string>> task_sweeps;  // task -> sweeps it belongs to
  std::map<SessionId, std::string> sessions;                 // open session -> worker
  std::set<std::string> first;                               // tasks of the sweep put first
  std::int64_t workers_version = 0;                          // grows when workers or slots change
};

struct State {
  SchedulerLimits limits;
  std::uint64_t restore_count = 0;  // grows when the database is restored from a backup
  // The greatest epoch of the tasks that gc dropped. A task begins there, since its key may be of one of
  // those, and an attempt of that one may still come back.
  std::uint64_t epoch_floor = 0;
  std::map<std::string, Task> tasks;
  std::map<std::string, Attempt> attempts;  // all: an old one may still speak
  std::map<std::string, RunRecord> runs;
  std::map<std::string, Worker> workers;
  // cell -> the task that owes or has it; those of tasks that had succeeded when the state was loaded
  // may be left out, since they are as many as there are results (SweepSubmitted::known_cells).
  std::map<std::string, std::string> cell_task;
  // sweep id -> its tasks; a task may belong to several. A run may be listed without any.
  std::map<std::string, std::set<std::string>> sweep_tasks;
  std::map<std::string, std::set<std::string>> sweep_runs;  // sweep id -> the runs that it lists
  std::set<std::string> cancelled_sweeps;
  std::int64_t next_ready_seq = 1;
  // Volatile:
  std::string boot = {};         // which boot of this machine `now` counts from; "": not known
  Instant booted_at = 0;         // leases count from here at the earliest
  Instant place_not_before = 0;  // after a restore, until workers have told what they have
  Instant last_event_at = 0;
  SeededRandom random{0};  // attempt ids, jitter
  Index index;
};

}  // namespace longrun
