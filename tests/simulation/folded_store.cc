#include "tests/simulation/folded_store.h"

#include <algorithm>
#include <cstdint>

#include "base/str.h"

namespace longrun::coordinator {
namespace {

// One overload a write; "" or what is wrong.
struct Applier {
  FoldedStore& store;
  std::set<std::string> rows = {};  // written in this transaction

  std::string Once(const std::string& row) {
    return rows.insert(row).second ? "" : Str(row, " is written twice in one transaction");
  }

  std::string operator()(const PutSweep& put) {
    for (const std::string& task : put.tasks) {
      if (!store.tasks.contains(task)) return Str("sweep of an unknown task ", task);
    }
    std::set<std::string> runs;
    for (const PlannedRun& run : put.sweep.runs) {
      if (!store.runs.contains(run.run_key)) return Str("sweep of an unknown run ", run.run_key);
      runs.insert(run.run_key);
    }
    store.sweep_runs[put.sweep_id] = std::move(runs);
    store.sweeps[put.sweep_id] = put.tasks;
    store.sweep_owner.try_emplace(put.sweep_id, put.owner);
    store.sweep_name.try_emplace(put.sweep_id, put.sweep.name);
    store.cancelled_sweeps.erase(put.sweep_id);
    store.paused_sweeps.erase(put.sweep_id);
    return "";
  }
  std::string operator()(const PutSweepRuns& put) {
    if (put.sweep_id != store.submitting) return "runs of a sweep that is not being submitted";
    for (const std::string& task : put.tasks) {
      if (!store.tasks.contains(task)) return Str("sweep of an unknown task ", task);
      std::vector<std::string>& tasks = store.sweeps.at(put.sweep_id);
      if (std::ranges::count(tasks, task) > 0) return "a task becomes a sweep's twice";
      tasks.push_back(task);
    }
    for (const PlannedRun& run : put.runs) {
      if (!store.runs.contains(run.run_key)) return Str("sweep of an unknown run ", run.run_key);
      store.sweep_runs.at(put.sweep_id).insert(run.run_key);
    }
    return "";
  }
  std::string operator()(const PutSubmitting& put) {
    if (put.sweep_id.empty() == store.submitting.empty()) return "submissions are not one by one";
    store.submitting = put.sweep_id;
    return "";
  }
  std::string operator()(const PutOrder& put) {
    if (put.order.has_value() == store.order.has_value()) return "orders are not one by one";
    if (put.order && !store.sweeps.contains(put.order->sweep_id)) return "an order about no sweep";
    store.order = put.order;
    return "";
  }
  std::string operator()(const PutSweepDesired& put) {
    store.cancelled_sweeps.erase(put.sweep_id);
    store.paused_sweeps.erase(put.sweep_id);
    if (put.desired == Desired::kCancelled) store.cancelled_sweeps.insert(put.sweep_id);
    if (put.desired == Desired::kPaused) store.paused_sweeps.insert(put.sweep_id);
    return store.sweeps.contains(put.sweep_id) ? "" : "an unknown sweep is wanted otherwise";
  }
  std::string operator()(const PutRun& put) {
    const auto known = store.runs.find(put.run.run_key);
    if (known != store.runs.end() && known->second.execution &&
        known->second.execution != put.run.execution) {
      return "the execution of a run changed after it was decided";
    }
    store.runs[put.run.run_key] = put.run;
    return Once(Str("run ", put.run.run_key));
  }
  std::string operator()(const PutTask& put) {
    if (!store.runs.contains(put.task.run_key)) return "a task of an unknown run";
    if (put.task.reason.empty()) return "a task without a reason";
    Task& stored = store.tasks[put.task.id];
    std::vector<ExpectedCell> cells = std::move(stored.expected_cells);
    stored = put.task;
    if (!cells.empty()) stored.expected_cells = std::move(cells);
    return Once(Str("task ", put.task.id));
  }
  std::string operator()(const PutCell& put) {
    if (!store.tasks.contains(put.task)) return "a cell of an unknown task";
    store.cells[put.cell] = put.task;
    return "";
  }
  std::string operator()(const PutWorker& put) {
    store.workers[put.worker.id] = put.worker;
    return "";
  }
  std::string operator()(const PutAttempt& put) {
    if (!store.tasks.contains(put.attempt.task)) return "an attempt of an unknown task";
    const bool is_known = store.workers.contains(put.attempt.worker);
    if (!is_known && IsLive(put.attempt.state)) return "a live attempt on an unknown worker";
    store.attempts[put.attempt.id] = put.attempt;
    return Once(Str("attempt ", put.attempt.id));
  }
  std::string operator()(const PutRecord& put) {
    if (!store.attempts.contains(put.attempt)) return "a record of an unknown attempt";
    std::vector<StoredRecord>& records = store.records[put.attempt];
    const auto expected = static_cast<std::int64_t>(records.size()) + 1;
    if (put.record.seq != expected) {
      return Str("I-6: record ", put.record.seq, " of attempt ", put.attempt, " is stored as row ",
                 expected);
    }
    records.push_back({.record = put.record, .line = put.line});
    const auto* const checkpoint = put.record.As<CheckpointRecord>();
    if (checkpoint != nullptr && !put.files_gone) {
      store.checkpoints[{put.task, checkpoint->sha256}] = checkpoint->step.value();
    }
    return "";
  }
  std::string operator()(const PutTransition& put) {
    std::string& state = store.folded[Str(put.subject, " ", put.id)];
    if (state != put.from) {
      return Str("I-21: ", put.subject, " ", put.id, " goes from ", put.from, " to ", put.to,
                 ", but was ", state);
    }
    state = put.to;
    return "";
  }
  std::string operator()(const DropCheckpoint& drop) {
    const Task& task = store.tasks.at(drop.task);
    std::vector<CheckpointRef> held = task.checkpoints;
    if (task.best_checkpoint) held.push_back(*task.best_checkpoint);
    if (task.final_checkpoint) held.push_back(*task.final_checkpoint);
    for (const CheckpointRef& checkpoint : held) {
      if (checkpoint.sha256 == drop.sha256) return "a checkpoint that is in use is dropped";
    }
    store.checkpoints.erase({drop.task, drop.sha256});
    return "";
  }
  std::string operator()(const DropSweep& drop) {
    store.cancelled_sweeps.erase(drop.sweep_id);
    store.paused_sweeps.erase(drop.sweep_id);
    store.sweep_runs.erase(drop.sweep_id);
    store.sweep_owner.erase(drop.sweep_id);
    store.sweep_name.erase(drop.sweep_id);
    return store.sweeps.erase(drop.sweep_id) == 1 ? "" : "an unknown sweep is dropped";
  }
  std::string operator()(const DropTasks& drop) {
    for (const std::string& one : drop.tasks) {
      if (std::string wrong = DropOne(one); !wrong.empty()) return wrong;
    }
    return "";
  }
  std::string DropOne(const std::string& dropped) {
    if (store.HasSweep(dropped)) return "a task of a sweep is dropped";
    for (const auto& [id, task] : store.tasks) {
      if (task.needs == dropped) return "a task that another needs is dropped";
    }
    for (const auto& [id, attempt] : store.attempts) {
      if (attempt.task == dropped && IsLive(attempt.state)) return "a live attempt is dropped";
    }
    std::erase_if(store.checkpoints, [&](const auto& row) { return row.first.first == dropped; });
    std::erase_if(store.cells, [&](const auto& cell) { return cell.second == dropped; });
    std::erase_if(store.attempts, [&](const auto& attempt) {
      if (attempt.second.task != dropped) return false;
      store.records.erase(attempt.first);
      store.folded.erase(Str("attempt ", attempt.first));
      return true;
    });
    store.folded.erase(Str("task ", dropped));
    if (const auto task = store.tasks.find(dropped); task != store.tasks.end()) {
      store.epoch_floor = std::max(store.epoch_floor, task->second.epoch);
    }
    return store.tasks.erase(dropped) == 1 ? "" : "an unknown task is dropped";
  }
  std::string operator()(const DropDamagedResults&) {
    return "results are dropped as damaged, and none is";
  }
  std::string operator()(const DropWorker& drop) {
    if (store.workers.erase(drop.worker) == 0) return "an unknown worker is dropped";
    for (const auto& [id, attempt] : store.attempts) {
      if (attempt.worker != drop.worker || !IsLive(attempt.state)) continue;
      return Str("worker ", drop.worker, " is dropped while attempt ", id, " is live");
    }
    return "";
  }
  std::string operator()(const DropRuns& drop) {
    for (const std::string& one : drop.run_keys) {
      if (std::string wrong = DropOneRun(one); !wrong.empty()) return wrong;
    }
    return "";
  }
  std::string DropOneRun(const std::string& run_key) {
    for (const auto& [id, task] : store.tasks) {
      if (task.run_key == run_key) return "a run with tasks is dropped";
    }
    for (const auto& [sweep, runs] : store.sweep_runs) {
      if (runs.contains(run_key)) return "a run that a sweep lists is dropped";
    }
    for (const auto& [key, run] : store.runs) {
      if (run.run.parent == run_key) return "a run that another continues is dropped";
      if (run.run.BaseKey() == run_key) return "a run that another starts from is dropped";
    }
    return store.runs.erase(run_key) == 1 ? "" : "an unknown run is dropped";
  }
};

}  // namespace

std::string FoldedStore::Commit(const std::vector<Write>& writes) {
  Applier applier{.store = *this};
  for (const Write& write : writes) {
    if (std::string wrong = std::visit(applier, write); !wrong.empty()) return wrong;
  }
  for (const Write& write : writes) {
    if (const auto* const put = std::get_if<PutTask>(&write)) {
      const std::string& needs = put->task.needs;
      if (!needs.empty() && !tasks.contains(needs)) return "a task that needs an unknown task";
      const std::string_view state = EnumName(put->task.state);
      if (folded[Str("task ", put->task.id)] != state) {
        return Str("I-21: task ", put->task.id, " is ", state, " without a transition");
      }
    } else if (const auto* const attempt = std::get_if<PutAttempt>(&write)) {
      const std::string_view state = EnumName(attempt->attempt.state);
      if (folded[Str("attempt ", attempt->attempt.id)] != state) {
        return Str("I-21: attempt ", attempt->attempt.id, " is ", state, " without a transition");
      }
      const auto n_rows = static_cast<std::int64_t>(records[attempt->attempt.id].size());
      if (n_rows != attempt->attempt.durable_seq) {
        return Str("I-6: attempt ", attempt->attempt.id, " has ", n_rows, " rows, but durable_seq ",
                   attempt->attempt.durable_seq);
      }
    }
  }
  return "";
}

void FoldedStore::Apply(const Write& write) {
  Applier applier{.store = *this};
  const std::string wrong = std::visit(applier, write);
  LR_CHECK(wrong.empty());
}

bool FoldedStore::HasSweep(const std::string& task) const {
  return std::ranges::any_of(
      sweeps, [&](const auto& sweep) { return std::ranges::count(sweep.second, task) > 0; });
}

std::vector<std::string> FoldedStore::OrphanTasks() const {
  std::vector<std::pair<std::int64_t, std::string>> ordered;
  for (const auto& [id, task] : tasks) {
    if (HasSweep(id)) continue;
    std::int64_t n_before = 0;  // runs that its run goes on or starts from, and itself
    for (auto run = runs.find(task.run_key); run != runs.end();) {
      const Run& one = run->second.run;
      run = runs.find(one.parent.empty() ? one.BaseKey() : one.parent);
      n_before += 1;
    }
    ordered.emplace_back(task.kind == TaskKind::kTrain ? -n_before : INT64_MIN, id);
  }
  std::ranges::sort(ordered);
  std::vector<std::string> orphans;
  orphans.reserve(ordered.size());
  for (const auto& [place, id] : ordered) orphans.push_back(id);
  return orphans;
}

std::vector<MeasuredNumber> FoldedStore::NumbersOf(const std::string& attempt) const {
  std::vector<MeasuredNumber> numbers;
  const auto rows = records.find(attempt);
  if (rows == records.end()) return numbers;
  for (const StoredRecord& row : rows->second) {
    const auto* const result = row.record.As<ResultRecord>();
    if (result != nullptr) numbers.push_back(NumberOf(*result));
  }
  return numbers;
}

State FoldedStore::Load(const SchedulerLimits& limits, std::uint64_t restore_count, Instant now,
                        std::uint64_t seed, bool restored) const {
  State state;
  state.limits = limits;
  state.restore_count = restore_count;
  state.epoch_floor = epoch_floor;
  state.tasks = tasks;
  state.runs = runs;
  state.workers = workers;
  for (auto& [id, task] : state.tasks) {
    if (task.state == TaskState::kSucceeded) task.expected_cells.clear();
    for (const ExpectedCell& cell : task.expected_cells) state.cell_task[cell.cell] = id;
  }
  state.cancelled_sweeps = cancelled_sweeps;
  state.paused_sweeps = paused_sweeps;
  state.submitting = submitting;
  state.order = order;
  state.sweep_runs = sweep_runs;
  state.sweep_owner = sweep_owner;
  state.sweep_name = sweep_name;
  for (const auto& [id, serving] : sweeps) {
    state.sweep_tasks[id] = {serving.begin(), serving.end()};
  }
  for (const auto& [id, stored] : attempts) {
    Attempt attempt = {.id = stored.id,
                       .task = stored.task,
                       .n = stored.n,
                       .epoch = stored.epoch,
                       .state = stored.state,
                       .worker = stored.worker,
                       .device_index = stored.device_index,
                       .resume = stored.resume,
                       .execution = stored.execution,
                       .durable_seq = stored.durable_seq,
                       .failure_class = stored.failure_class,
                       .message = stored.message,
                       .started_wall_ms = stored.started_wall_ms,
                       .ended_wall_ms = stored.ended_wall_ms,
                       .started_boot_ms = stored.started_boot_ms,
                       .started_boot = stored.started_boot,
                       .offered_boot_ms = stored.offered_boot_ms,
                       .offered_boot = stored.offered_boot,
                       .duration_ms = stored.duration_ms,
                       .duration_clock = stored.duration_clock,
                       .end_stored = stored.end_stored,
                       .outlived = stored.outlived};
    const auto rows = records.find(id);
    if (!attempt.end_stored && rows != records.end()) {
      for (const StoredRecord& row : rows->second) NoteRecord(attempt, row.record, row.line);
    }
    state.attempts.emplace(id, std::move(attempt));
  }
  for (auto& [id, task] : state.tasks) {
    task.earlier.clear();
    if (IsRefreshing(task)) task.earlier = NumbersOf(task.result_attempt);
  }
  AfterLoad(state, now, seed, restored);
  return state;
}

}  // namespace longrun::coordinator
