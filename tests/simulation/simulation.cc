#include "tests/simulation/simulation.h"

#include <algorithm>
#include <deque>
#include <functional>
#include <memory>

#include "base/str.h"
#include "tests/simulation/server.h"

namespace longrun::coordinator {
namespace {

constexpr Instant kFaultsEndMs = 300'000;
// Every task fails or ends within its lease, its back-off and its steps;
// this is far above their sum.
constexpr Instant kDeadlineMs = kFaultsEndMs + 3'000'000;

struct UserSweep {
  std::string id;
  SampleSweep sample;
  bool unwanted = false;  // cancelled, and perhaps removed
  bool refused = false;   // what it goes on or starts from was not there
};

// Asks one thing after the other, each again until it was told that it is done, or refused.
class SimUser {
 public:
  SimUser(World& world, SimServer& server) : world_(world), server_(server) {}

  // `refused`: it goes on from a run that has no final checkpoint.
  void Submit(const UserSweep& sweep, bool first, const std::function<void()>& refused) {
    const SweepSubmitted event = {.sweep_id = sweep.id,
                                  .sweep = MakeSweep(sweep.sample),
                                  .dataset_paths = SampleDatasets(),
                                  .first = first};
    Add({.event = [event] { return event; },
         .refused =
             [refused](const Status&) {
               refused();
               return true;
             }});
  }
  // The same, and the sweep's known numbers are measured again.
  void Refresh(const UserSweep& sweep, const std::function<void()>& refused) {
    Add({.event =
             [this, sweep] {
               SweepSubmitted event = {.sweep_id = sweep.id,
                                       .sweep = MakeSweep(sweep.sample),
                                       .dataset_paths = SampleDatasets()};
               for (const auto& [id, task] : server_.store().tasks) {
                 const bool is_known =
                     task.kind == TaskKind::kEvaluate && task.state == TaskState::kSucceeded;
                 if (!is_known) continue;
                 world_.stats.fired["refresh asked"] += 1;
                 event.stale.push_back({.task = id,
                                        .result_attempt = task.result_attempt,
                                        .cells = task.expected_cells,
                                        .numbers = server_.store().NumbersOf(task.result_attempt)});
               }
               return event;
             },
         .refused =
             [refused](const Status&) {
               refused();
               return true;
             }});
  }
  // All tasks of the run, whichever sweep they belong to; if a sweep is named, it is no longer
  // cancelled. Refused when they have none.
  void Retry(const std::string& run_key, const std::string& sweep) {
    Add({.event = [this, run_key, sweep] {
      RetryRequested retry;
      retry.sweep_id = sweep;
      for (const auto& [id, task] : server_.store().tasks) {
        if (task.run_key == run_key) retry.tasks.push_back(id);
      }
      server_.checker().OnRetryAsked(retry.tasks);
      return retry;
    }});
  }
  // Refused when the sweep is not there, after a removal or a restore.
  void Cancel(const std::string& id) {
    const StopMode mode = world_.random.Chance(0.3) ? StopMode::kNow : StopMode::kCheckpoint;
    Add({.event = [id, mode] { return SweepCancelled{.sweep_id = id, .mode = mode}; },
         .done = [this, id] { server_.checker().OnCancelConfirmed(id); }});
  }
  void PutFirst(const std::string& id) {
    Add({.event = [id] { return SweepPrioritized{.sweep_id = id}; }});
  }
  // While some of it is to come it is refused: asked again for a while, since it may be stopping.
  void Remove(const std::string& id) {
    constexpr int kTries = 12;
    const auto n_refused = std::make_shared<int>(0);
    Add({.event = [id] { return SweepRemoved{.sweep_id = id}; },
         .done =
             [this, id] {
               world_.stats.fired["sweep removed"] += 1;
               server_.checker().OnRemovalConfirmed(id);
             },
         .refused =
             [this, n_refused](const Status& status) {
               if (status.code() == Code::kNotFound) return true;
               world_.stats.fired["removal refused"] += 1;
               return ++*n_refused == kTries;
             }});
  }
  // Refused when the sweep is not there, has ended or was cancelled.
  void Pause(const std::string& id) {
    Add({.event = [id] { return SweepPaused{.sweep_id = id}; },
         .done = [this, id] { server_.checker().OnPauseConfirmed(id); }});
  }
  void Resume(const std::string& id) {
    Add({.event = [id] { return SweepResumed{.sweep_id = id}; }});
  }
  void Drain(const std::string& worker, std::optional<std::int64_t> deadline_ms) {
    Add({.event =
             [this, worker, deadline_ms] {
               server_.checker().OnNewOrderAsked(worker);
               return WorkerDrained{.worker = worker, .deadline_ms = deadline_ms};
             },
         .done = [this, worker] { server_.checker().OnDrainConfirmed(worker); }});
  }
  void Undrain(const std::string& worker) {
    Add({.event = [this, worker] {
      server_.checker().OnNewOrderAsked(worker);
      return WorkerUndrained{.worker = worker};
    }});
  }
  void Release(const std::string& worker) {
    Add({.event = [worker] { return SlotReleased{.worker = worker}; }});
  }
  // Refused while the worker is connected, or may come back to its attempts.
  void RemoveWorker(const std::string& worker) {
    Add({.event = [worker] { return WorkerRemoved{.worker = worker}; },
         .refused =
             [this](const Status& status) {
               if (status.code() != Code::kNotFound) world_.stats.fired["worker kept"] += 1;
               return true;
             }});
  }
  void CollectGarbage() {
    Add({.event = [this] {
      GarbageWanted garbage{.dry_run = false, .orphans = server_.store().OrphanTasks()};
      for (const auto& [row, step] : server_.store().checkpoints) {
        garbage.candidates.push_back({.task = row.first, .step = step, .sha256 = row.second});
      }
      return garbage;
    }});
  }
  bool idle() const { return orders_.empty(); }

 private:
  struct Order {
    std::function<SchedulerEvent()> event;
    std::function<void()> done = [] {};
    // Whether that is the end of it.
    std::function<bool(const Status&)> refused = [](const Status&) { return true; };
  };
  void Add(Order order) {
    orders_.push_back(std::move(order));
    if (orders_.size() == 1) Ask();
  }
  void Ask() {
    if (orders_.empty()) return;
    const std::int64_t number = n_done_;
    server_.Ask(orders_.front().event(), [this, number](const Status& status) {
      if (number != n_done_) return;  // told twice
      if (status.ok()) {
        orders_.front().done();
      } else if (!orders_.front().refused(status)) {
        return;
      }
      n_done_ += 1;
      orders_.pop_front();
      Ask();
    });
    world_.After(5000, [this, number] {
      if (number == n_done_) Ask();
    });
  }

  World& world_;
  SimServer& server_;
  std::deque<Order> orders_;
  std::int64_t n_done_ = 0;
};

class Simulation {
 public:
  Simulation(std::uint64_t seed, Mutation mutation)
      : world_(seed, mutation),
        server_(world_, Limits(), workers_, seed),
        user_(world_, server_),
        refresh_random_(~seed),
        operator_random_(seed ^ 0x6f70657261746f72),
        sharing_random_(seed ^ 0x73686172696e67) {
    // One run of some histories diverges whenever it is trained.
    if (world_.random.Chance(0.3)) trainer_faults_.diverging_seed = 3;
    if (world_.random.Chance(0.3)) trainer_faults_.omits_row = 0.1;
    // One slot of some worlds is broken.
    const std::uint64_t broken = operator_random_.Below(12);
    for (int i = 0; i < 3; ++i) {
      SimTrainerFaults faults = trainer_faults_;
      if (broken / 2 == static_cast<std::uint64_t>(i)) {
        faults.broken_slot = static_cast<std::int64_t>(broken % 2);
      }
      workers_.push_back(std::make_unique<SimWorker>(world_, server_, i, faults));
    }
    world_.mixed = SeededRandom(seed ^ 0x6d69786564).Chance(0.5);
    world_.has_older = SeededRandom(seed ^ 0x6f6c646572).Chance(0.5);
    world_.kills = SeededRandom(seed ^ 0x6b696c6c73).Chance(0.1);
    SeededRandom allocations(seed ^ 0x616c6c6f63617465);
    if (allocations.Chance(0.5)) workers_.back()->BeTemporary(allocations.Next());
    restores_ = world_.random.Chance(0.2);
    MakeSweeps();
  }

  SimResult Run() {
    server_.Start();
    for (const auto& worker : workers_) worker->Start();
    PlanUsers();
    PlanOperator();
    world_.After(3000, [this] { Nemesis(); });
    world_.After(kFaultsEndMs, [this] { HealAll(); });
    world_.After(kFaultsEndMs + 10'000, [this] { Finish(); });
    while (world_.violation.empty() && !finished_ && world_.now < kDeadlineMs) world_.RunNext();
    if (world_.violation.empty() && !finished_) world_.Violate(Str("I-29: ", WhatIsOpen()));
    if (world_.violation.empty()) CheckTable();
    return {.violation = world_.violation, .ended_ms = world_.now, .stats = world_.stats};
  }

 private:
  static SchedulerLimits Limits() {
    SchedulerLimits limits;
    limits.lease_ms = 30'000;
    limits.back_off = {.base_ms = 1000, .limit_ms = 8000};
    return limits;
  }

  void MakeSweeps() {
    const bool small = world_.random.Chance(0.3);  // budgets that faults use up
    const RetryPolicy retry = {.failures_max = small ? 1 : 100, .losses_max = small ? 2 : 100};
    sweeps_ = {
        {.id = "sweep-a", .sample = {.seeds = {1, 2}, .context_lengths = {64, 128}}},
        {.id = "sweep-b", .sample = {.seeds = {2, 3}, .context_lengths = {128, 256}}},
        {.id = "sweep-c", .sample = {.seeds = {1, 4}, .context_lengths = {64}, .priority = 5}},
        {.id = "sweep-d", .sample = {.seeds = {4}, .context_lengths = {64}, .goes_on = true}},
        // The first runs are those of other sweeps, which may be cancelled and removed.
        {.id = "sweep-e", .sample = {.seeds = {1, 3}, .context_lengths = {64}, .tunes = true}},
        {.id = "sweep-f", .sample = {.seeds = {2}, .context_lengths = {64}, .only_tunes = true}},
    };
    for (UserSweep& sweep : sweeps_) {
      sweep.sample.retry = retry;
      sweep.sample.has_large_vocabularies = true;
    }
  }

  void Submit(UserSweep& sweep) {
    sweep.unwanted = sweep.refused = false;
    const bool first = world_.random.Chance(0.2);
    if (first) world_.stats.fired["submitted first"] += 1;
    user_.Submit(sweep, first, [&sweep] { sweep.refused = true; });
  }

  void PlanUsers() {
    for (UserSweep& sweep : sweeps_) {
      // What goes on from a run of others comes when that may have ended.
      const bool is_later = sweep.sample.goes_on || sweep.sample.only_tunes;
      const Instant earliest = is_later ? 60'000 : 0;
      world_.After(earliest + world_.Between(0, 120'000), [this, &sweep] { Submit(sweep); });
      if (world_.random.Chance(0.3)) {  // the same again
        world_.After(world_.Between(0, 150'000), [this, &sweep] {
          world_.stats.fired["submitted twice"] += 1;
          Submit(sweep);
        });
      }
      if (world_.random.Chance(0.4)) {
        world_.After(world_.Between(20'000, 200'000), [this, &sweep] {
          world_.stats.fired["cancelled"] += 1;
          user_.Cancel(sweep.id);
          sweep.unwanted = true;
        });
      }
      for (auto n = world_.random.Below(3); n > 0; --n) {
        world_.After(world_.Between(5'000, 200'000), [this, &sweep] {
          world_.stats.fired["put first"] += 1;
          user_.PutFirst(sweep.id);
        });
      }
      if (world_.random.Chance(0.4)) CleanUp(sweep);
    }
    if (world_.random.Chance(0.3)) TryARunAgain();
    if (sharing_random_.Chance(0.5)) DisagreeAboutARun();
    if (refresh_random_.Chance(0.4)) {
      for (std::uint64_t n = 1 + refresh_random_.Below(3); n > 0; --n) RefreshASweep();
    }
    for (auto n = world_.random.Below(3); n > 0; --n) {  // also while much is to come
      world_.After(world_.Between(60'000, 280'000), [this] { user_.CollectGarbage(); });
    }
  }

  const std::string& AnyWorker() { return workers_[operator_random_.Below(workers_.size())]->id(); }
  Instant OperatorTime() { return static_cast<Instant>(5'000 + operator_random_.Below(280'000)); }

  // A sweep is paused for a while; another pause of it may come in between.
  void PauseASweep() {
    const std::string sweep = sweeps_[operator_random_.Below(sweeps_.size())].id;
    const Instant when = OperatorTime();
    world_.After(when, [this, sweep] { user_.Pause(sweep); });
    const auto later = static_cast<Instant>(1 + operator_random_.Below(60'000));
    world_.After(when + later, [this, sweep] { user_.Resume(sweep); });
  }

  // Workers are drained, with a deadline or without, and get work again; some that are gone are
  // removed, and come back.
  void PlanOperator() {
    for (std::uint64_t n = operator_random_.Below(5); n > 0; --n) {
      const std::string worker = AnyWorker();
      const Instant when = OperatorTime();
      std::optional<std::int64_t> deadline_ms;
      if (operator_random_.Chance(0.7)) {
        deadline_ms = static_cast<std::int64_t>(operator_random_.Below(60'000));
      }
      world_.After(when, [this, worker, deadline_ms] { user_.Drain(worker, deadline_ms); });
      const auto later = static_cast<Instant>(1 + operator_random_.Below(90'000));
      world_.After(when + later, [this, worker] { user_.Undrain(worker); });
    }
    for (std::uint64_t n = operator_random_.Below(12); n > 0; --n) {
      const std::string worker = AnyWorker();
      world_.After(OperatorTime(), [this, worker] { user_.RemoveWorker(worker); });
    }
    for (std::uint64_t n = operator_random_.Below(3); n > 0; --n) {
      const std::string worker = AnyWorker();
      world_.After(OperatorTime(), [this, worker] { user_.Release(worker); });
    }
    for (std::uint64_t n = operator_random_.Below(4); n > 0; --n) PauseASweep();
    // What is to end must be able to run.
    world_.After(kFaultsEndMs + 60'000, [this] {
      for (const auto& worker : workers_) {
        user_.Undrain(worker->id());
        user_.Release(worker->id());
      }
      for (const UserSweep& sweep : sweeps_) user_.Resume(sweep.id);
    });
  }

  // It may be cancelled while it is measured again.
  void RefreshASweep() {
    UserSweep& sweep = sweeps_[refresh_random_.Below(sweeps_.size())];
    const auto when = static_cast<std::int64_t>(100'000 + refresh_random_.Below(180'000));
    world_.After(when, [this, &sweep] {
      sweep.unwanted = sweep.refused = false;
      user_.Refresh(sweep, [&sweep] { sweep.refused = true; });
    });
    if (!refresh_random_.Chance(0.3)) return;
    const auto later = static_cast<std::int64_t>(1 + refresh_random_.Below(15'000));
    world_.After(when + later, [this, &sweep] {
      user_.Cancel(sweep.id);
      sweep.unwanted = true;
    });
  }

  // A sweep is given up, removed and collected; it may be asked for again, before or after that.
  void CleanUp(UserSweep& sweep) {
    const Instant when = world_.Between(40'000, 200'000);
    const bool collects = world_.random.Chance(0.7);
    world_.After(when, [this, &sweep, collects] {
      sweep.unwanted = true;
      user_.Cancel(sweep.id);
      user_.Remove(sweep.id);
      if (collects) user_.CollectGarbage();
    });
    if (world_.random.Chance(0.6)) {
      world_.After(when + world_.Between(1, 60'000), [this, &sweep] {
        world_.stats.fired["submitted after its removal"] += 1;
        Submit(sweep);
      });
    }
  }

  // A run that two sweeps share, of which both may be cancelled by then; and it is cancelled again.
  void TryARunAgain() {
    const Instant when = world_.Between(60'000, 240'000);
    UserSweep& sweep = sweeps_[world_.random.Below(2)];
    const std::string of_sweep = world_.random.Chance(0.5) ? sweep.id : "";
    world_.After(when, [this, of_sweep] {
      world_.stats.fired["tried again"] += 1;
      user_.Retry(MakeSweep({.seeds = {2}}).runs.front().run_key, of_sweep);
    });
    world_.After(when + world_.Between(1, 20'000), [this, &sweep] {
      user_.Cancel(sweep.id);
      sweep.unwanted = true;
    });
  }

  // Of two sweeps that share a run, one is paused, and the other is cancelled and then tried again
  // before the first goes on (PlanOperator resumes all).
  void DisagreeAboutARun() {
    const std::size_t i = sharing_random_.Below(2);
    UserSweep& paused = sweeps_[i];
    UserSweep& cancelled = sweeps_[1 - i];
    const auto within = [this](std::uint64_t ms) {
      return static_cast<Instant>(1 + sharing_random_.Below(ms));
    };
    const Instant when = within(60'000);
    const Instant retried = when + within(40'000);
    world_.After(when, [this, &paused, &cancelled] {
      Submit(paused);
      Submit(cancelled);
    });
    world_.After(within(retried), [this, &paused] { user_.Pause(paused.id); });
    world_.After(within(retried), [this, &cancelled] {
      user_.Cancel(cancelled.id);
      cancelled.unwanted = true;
    });
    world_.After(retried, [this, &cancelled] {
      world_.stats.fired["shared run tried again"] += 1;
      user_.Retry(MakeSweep({.seeds = {2}}).runs.front().run_key, cancelled.id);
    });
    if (sharing_random_.Chance(0.5)) {
      world_.After(retried + within(30'000), [this, &paused] { user_.Resume(paused.id); });
    }
  }

  void Nemesis() {
    if (!world_.faults) return;
    world_.After(world_.Between(500, 14'000), [this] { Nemesis(); });
    const int index = static_cast<int>(world_.random.Below(workers_.size()));
    SimWorker& worker = *workers_[static_cast<std::size_t>(index)];
    const Instant a_while = PickLength();
    const auto fired = [this](const std::string& name) { world_.stats.fired[name] += 1; };
    switch (world_.random.Below(10)) {
      case 0:
        return server_.Crash(world_.Between(500, 30'000), /*power_loss=*/false, false);
      case 1:
        fired("coordinator lost power");
        return server_.Crash(world_.Between(500, 30'000), /*power_loss=*/true, false);
      case 2:
        fired("worker crashed");
        return worker.CrashDaemon(a_while);
      case 3:
        return worker.CrashTrainer();
      case 4:
        fired("host lost power");
        return worker.LosePower(a_while);
      case 5:
        fired("worker paused");
        return worker.Pause(a_while);
      case 6:
        fired("coordinator slept");
        return server_.Pause(a_while);
      case 7: {
        const auto ways = world_.random.Below(3);  // one way only, or both
        if (ways != 0) world_.cut_up.insert(index);
        if (ways != 1) world_.cut_down.insert(index);
        world_.After(a_while, [this, index] {
          world_.cut_up.erase(index);
          world_.cut_down.erase(index);
        });
        return fired("partition");
      }
      case 8:
        if (restores_ && world_.random.Chance(0.3)) {
          server_.Crash(world_.Between(500, 10'000), /*power_loss=*/false, /*restore=*/true);
        }
        return;
      case 9:
        return worker.StartTwin();
    }
  }

  Instant PickLength() {
    constexpr Instant kLengths[] = {2'000, 12'000, 50'000};
    return kLengths[world_.random.Below(std::size(kLengths))];
  }

  void HealAll() {
    world_.faults = false;
    world_.cut_up.clear();
    world_.cut_down.clear();
    for (const auto& worker : workers_) worker->Heal();
    server_.Pause(0);
    server_.Heal();
  }

  // ---- the end: what is wanted is asked for until it is there

  bool Diverges(const Task& task) const {
    const RunRecord& run = server_.store().runs.at(task.run_key);
    return run.run.seed == trainer_faults_.diverging_seed;
  }

  void Finish() {
    if (!user_.idle()) {
      world_.After(1000, [this] { Finish(); });
      return;
    }
    bool all_ended = true;
    for (const auto& [id, task] : server_.store().tasks) {
      all_ended = all_ended && IsTerminal(task.state);
    }
    bool all_there = asked_again_;
    for (const UserSweep& sweep : sweeps_) {
      if (IsWanted(sweep) && !Served(sweep)) all_there = false;
    }
    if (all_ended && all_there) {
      finished_ = true;
      return;
    }
    if (all_ended || !asked_again_) {
      asked_again_ = true;
      for (UserSweep& sweep : sweeps_) {
        if (IsWanted(sweep)) Submit(sweep);
      }
    }
    world_.After(5000, [this] { Finish(); });
  }

  // A run that goes on from another, or starts from its weights, is, when that one is there.
  bool IsWanted(const UserSweep& sweep) const {
    if (sweep.unwanted) return false;
    if (!sweep.refused) return true;
    const longrun::Run run = MakeSweep(sweep.sample).runs.front().run;
    const auto training =
        server_.store().tasks.find(TrainTaskKey(run.parent.empty() ? run.BaseKey() : run.parent));
    return training != server_.store().tasks.end() && training->second.final_checkpoint.has_value();
  }

  // All tasks have succeeded, but those of a run that always diverges. Crashes may have used up its
  // budget before it could diverge: then it is to be tried again.
  bool Served(const UserSweep& sweep) const {
    const auto tasks = server_.store().sweeps.find(sweep.id);
    if (tasks == server_.store().sweeps.end()) return false;
    return std::ranges::all_of(tasks->second, [this](const std::string& id) {
      const Task& task = server_.store().tasks.at(id);
      if (task.state == TaskState::kSucceeded) return true;
      const bool has_crashed =
          task.state == TaskState::kFailed && !task.reason.starts_with("diverged");
      return Diverges(task) && IsTerminal(task.state) && !has_crashed;
    });
  }

  std::string WhatIsOpen() const {
    std::string out = server_.up() ? "not finished:" : "the coordinator is down:";
    for (const auto& [id, task] : server_.store().tasks) {
      if (task.state == TaskState::kSucceeded) continue;
      out += Str(" ", id.substr(0, 8), " ", EnumName(task.state), " (", task.reason, ");");
    }
    return out;
  }

  // Every number of every sweep that is wanted, against the oracle.
  void CheckTable() {
    for (const UserSweep& sweep : sweeps_) {
      if (!IsWanted(sweep)) continue;
      for (const PlannedRun& run : MakeSweep(sweep.sample).runs) {
        if (run.run.seed == trainer_faults_.diverging_seed) {
          CheckDiverged(run);
          continue;
        }
        for (const PlannedEvaluation& evaluation : run.evaluations) {
          for (const ExpectedCell& cell : evaluation.cells) CheckCell(run, cell);
        }
      }
    }
  }

  // What starts from it was skipped, or cancelled before that, and stays so.
  void CheckDiverged(const PlannedRun& run) {
    const Task& task = server_.store().tasks.at(TrainTaskKey(run.run_key));
    const bool is_told =
        run.run.BaseKey().empty()
            ? task.state == TaskState::kFailed && task.reason.starts_with("diverged")
            : task.state == TaskState::kCancelled || task.state == TaskState::kSkipped;
    if (!is_told) {
      world_.Violate(Str("I-35: a run that diverges is ", EnumName(task.state), ": ", task.reason));
    }
  }

  void CheckCell(const PlannedRun& run, const ExpectedCell& cell) {
    const FoldedStore& store = server_.store();
    const Task& task = store.tasks.at(store.cells.at(cell.cell));
    const double truth = EvaluatedValue(FinalValue(run.run_key, run.run), cell.context_length);
    int n_rows = 0;
    for (const StoredRecord& row : store.records.at(task.result_attempt)) {
      const auto* const result = row.record.As<ResultRecord>();
      if (result == nullptr || result->cell != cell.cell) continue;
      n_rows += 1;
      const double value = result->value.value();
      if (value != truth) {
        world_.Violate(Str("I-35: cell ", cell.cell, " is ", value, ", not ", truth));
      }
    }
    if (n_rows != 1) world_.Violate(Str("I-35: cell ", cell.cell, " has ", n_rows, " rows"));
  }

  World world_;
  SimTrainerFaults trainer_faults_;
  std::vector<std::unique_ptr<SimWorker>> workers_;
  SimServer server_;
  SimUser user_;
  SeededRandom refresh_random_;   // of its own, so that a history without a refresh stays the same
  SeededRandom operator_random_;  // likewise
  SeededRandom sharing_random_;
  std::vector<UserSweep> sweeps_;
  bool restores_ = false;
  bool asked_again_ = false;
  bool finished_ = false;
};

}  // namespace

SimResult RunSimulation(std::uint64_t seed, Mutation mutation) {
  return Simulation(seed, mutation).Run();
}

}  // namespace longrun::coordinator
