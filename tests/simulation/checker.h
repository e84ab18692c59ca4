// The invariants of the scheduler (its README), checked after every step and every commit. They
// know the promises, not the scheduler's code.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "coordinator/scheduler/scheduler.h"
#include "tests/simulation/folded_store.h"
#include "tests/simulation/worker.h"
#include "tests/simulation/world.h"

namespace longrun::coordinator {

class SimChecker {
 public:
  SimChecker(World& world, const FoldedStore& store,
             const std::vector<std::unique_ptr<SimWorker>>& workers)
      : world_(world), store_(store), workers_(workers) {}

  // I-19, I-44. `BeforeStep` remembers what a stale attempt, or the worker in a Hello, must not
  // change. And: what was put first is placed first; an attempt took the time that passed, or (if
  // nobody saw its end) until its last record, whatever the wall clock says, and at least the time
  // of its trainer's clock, however late its journal comes.
  void BeforeStep(const State& state, const SchedulerEvent& event);
  void AfterStep(const State& state, const SchedulerEvent& event, const StepResult& result);
  // I-1, I-2, I-3, I-6, I-8, I-9, I-16, I-18, I-23, I-42, after the writes are in the store. And: a
  // task that no sweep has is over, and not placed; epochs go on where a task was that was
  // collected.
  void AfterCommit(const std::vector<Write>& writes);
  // I-5: what is acknowledged is in the store, now and after any crash.
  void OnAck(const AckMessage& ack);
  void AfterRestart();
  // A Start that is sent is of an attempt that is committed.
  void OnStart(const SendStart& start);
  // I-16, when the user was told that a sweep is cancelled.
  void OnCancelConfirmed(const std::string& sweep_id);
  // I-39, when the user was told that a sweep is paused.
  void OnPauseConfirmed(const std::string& sweep_id);
  // The user was told that a sweep is removed.
  void OnRemovalConfirmed(const std::string& sweep_id);
  // What was cancelled may start again.
  void OnRetryAsked(const std::vector<std::string>& tasks);
  // I-38. The operator was told that a worker is drained, with a deadline from the time at which
  // the order was carried out. A worker that was removed is a new one.
  void OnDrainConfirmed(const std::string& worker);
  // The operator takes that back, or gives another deadline, which counts before it is committed.
  void OnNewOrderAsked(const std::string& worker) { drained_.erase(worker); }
  // The database was replaced by an older one: what was promised of it starts anew.
  void OnRestore();
  // The coordinator forgets what was put first.
  void OnBoot();

 private:
  struct SeenTask {
    TaskState state = TaskState::kBlocked;
    std::int64_t retry_round = 0;
    std::uint64_t epoch = 0;
    std::string result_attempt = {};
  };
  void CheckTask(const Task& task);
  void CheckBudget(const Task& task);
  void CountUnprepared(const Attempt& attempt, std::int64_t& n_in_row);
  void CheckSuccess(const Task& task);
  void CheckAttempt(const Attempt& attempt);
  void CheckQuarantine(const Attempt& placed);
  void CheckRecord(const PutRecord& put);
  void NoteRecords(const State& state, const SchedulerEvent& event, const StepResult& result);
  Instant UntilLastRecord(const std::string& attempt) const;
  Instant OfferedAt(const Attempt& attempt) const;
  void CheckHonest(const Attempt& attempt);
  void CheckDuration(const Attempt& attempt, Instant expected);
  void CheckDurationAtEnd(const Attempt& attempt, const SchedulerEvent& event);
  void CheckLateDuration(const State& state, const StepResult& result);
  void CheckPlacement(const State& state, const std::string& id);
  void CheckPreference(const State& state, const SendStart& start);
  void CheckExecution(const State& state, const SendStart& start);
  void CheckBinding(const RunRecord& run);
  const Execution* BoundTo(const State& state, const std::string& run_key) const;
  std::optional<Execution> BoundTo(const State& state, const std::string& run_key,
                                   TaskKind kind) const;
  void CheckDeadlines(const State& state);
  void CheckSlotIndexes(const State& state);
  void CheckTallies(const State& state);
  void CheckReady(const State& state);
  // A temporary worker, as the coordinator was told of it.
  struct Allocated {
    std::string incarnation = {};
    Instant work_end = 0;
    bool leaves = false;
    bool IsOver(Instant now) const { return leaves || work_end <= now; }
  };
  void CheckTwin(const State& state, const WorkerArrived& hello);
  void NoteAllocation(const State& state, const WorkerArrived& hello);
  void NoteLeaving(const State& state, const WorkerLeaves& event);
  void CheckAllocation(const Attempt& attempt);
  void CheckCutOff(const Attempt& attempt);
  bool IsHeld(const std::string& task) const;
  bool IsOnlyBeingSubmitted(const std::string& task) const;
  void CheckNothingIsHalfSubmitted();
  void CheckOrphans();
  void Forget(const std::string& task);
  const SimFolder* FolderOf(const std::string& attempt) const;

  World& world_;
  const FoldedStore& store_;
  const std::vector<std::unique_ptr<SimWorker>>& workers_;
  std::optional<Task> fenced_task_;  // of the step in progress, as it was before
  bool takes_id_ = false;  // the step in progress: the id in a Hello is that of a worker elsewhere
  std::string over_;       // the attempt of that step, if it had ended before, or ""
  Instant over_ms_ = 0;    // its duration before
  std::map<std::string, SeenTask> tasks_;
  std::map<std::string, std::int64_t> attempt_round_;         // attempt -> retry_round
  std::map<std::string, std::int64_t> round_before_restore_;  // of those that a backup did not have
  std::map<std::string, std::vector<std::string>> task_attempts_;
  std::map<std::string, std::string> live_of_task_;
  std::map<std::pair<std::string, std::int64_t>, std::string> live_of_slot_;
  std::map<std::string, std::int64_t> acked_;
  std::set<std::string> never_to_start_;
  std::map<std::string, Instant> running_since_;  // attempts, in virtual time
  std::map<std::string, Instant> offered_at_;     // the same
  std::map<std::string, Instant> earliest_;  // when they may have begun, as the scheduler can know
  struct Recorded {
    Instant begun = 0, at = 0;  // from when and until when the attempt had run, in virtual time
    std::int64_t t_ms = 0, run_ms = 0;  // the same on its trainer's clock
  };
  // attempt -> seq of a record
  std::map<std::string, std::map<std::int64_t, Recorded>> recorded_;
  std::set<std::string> ended_;                    // attempts that ended, as workers list them
  std::set<std::string> collected_;                // attempts that went as garbage
  std::set<std::string> drained_;                  // workers
  std::map<std::string, Allocated> allocated_;     // temporary workers
  std::map<std::string, std::string> placed_on_;   // attempt -> its temporary worker
  std::set<std::string> outlived_;                 // attempts of an earlier allocation
  std::set<std::string> first_;                    // tasks of the sweep that was put first
  std::map<std::string, Execution> execution_of_;  // of attempts, for ever
  std::map<std::string, Execution> bound_;         // of runs of which an attempt has started
  std::map<std::string, std::uint64_t> greatest_epoch_;  // of a task's placed attempts, for ever
};

}  // namespace longrun::coordinator
