// The coordinator's store as the simulator and the tests of the scheduler see it: committed writes
// folded into tables, and tables read back into a State. Checks what a database would (keys,
// references) and what the scheduler promises of every transaction: exactly one transition for each
// state change, records without gap or repetition.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/scheduler/scheduler.h"

namespace longrun::coordinator {

struct StoredRecord {
  JournalRecord record;
  std::string line;
};

struct FoldedStore {
  std::map<std::string, std::vector<std::string>> sweeps;   // -> tasks
  std::map<std::string, std::set<std::string>> sweep_runs;  // -> runs
  std::map<std::string, std::string> sweep_owner;
  std::map<std::string, std::string> sweep_name;
  std::set<std::string> cancelled_sweeps;
  std::set<std::string> paused_sweeps;
  std::string submitting;
  std::optional<SweepOrder> order;
  std::map<std::string, RunRecord> runs;
  std::map<std::string, Task> tasks;
  std::map<std::string, Attempt> attempts;
  std::map<std::string, Worker> workers;
  std::map<std::string, std::string> cells;
  std::uint64_t epoch_floor = 0;
  std::map<std::string, std::vector<StoredRecord>> records;  // attempt -> seq 1, 2, 3
  // Those whose bytes somebody refers to: task and digest -> step.
  std::map<std::pair<std::string, std::string>, std::int64_t> checkpoints;
  // State by folding the transitions alone; "task ID" and "attempt ID" -> name.
  std::map<std::string, std::string> folded;

  // One transaction. Empty, or what is wrong with it.
  std::string Commit(const std::vector<Write>& writes);
  // One row of a transaction that was checked before.
  void Apply(const Write& write);
  // Tasks that no sweep has: evaluations, then training,
  // each before the one that its run goes on from.
  std::vector<std::string> OrphanTasks() const;
  bool HasSweep(const std::string& task) const;
  // What the rows of an attempt say.
  std::vector<MeasuredNumber> NumbersOf(const std::string& attempt) const;
  // Reads the tables back, as after a restart: nothing volatile survives.
  State Load(const SchedulerLimits& limits, std::uint64_t restore_count, Instant now,
             std::uint64_t seed, bool restored) const;
};

}  // namespace longrun::coordinator
