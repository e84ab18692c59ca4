#include "tests/simulation/simulation.h"

#include <algorithm>
#include <deque>
#include <memory>

#include "base/str.h"
#include "tests/simulation/server.h"

namespace longrun {
namespace {

constexpr Instant kFaultsEndMs = 300'000;
// Every task fails or ends within its lease, its back-off and its steps; this is far above their sum.
constexpr Instant kDeadlineMs = kFaultsEndMs + 3'000'000;

struct UserSweep {
  std::string id;
  SampleSweep sample;
  bool cancelled = false;
};

// Submits, cancels and tries again; asks again until it was told that it is done.
class SimUser {
 public:
  SimUser(World& world, SimServer& server) : world_(world), server_(server) {}

  void Submit(const UserSweep& sweep) {
    orders_.push_back({.sweep = sweep});
    if (orders_.size() == 1) Ask();
  }
  // All tasks of the run, whichever sweep they belong to.
  void Retry(const std::string& run_key) {
    orders_.push_back({.run_key = run_key});
    if (orders_.size() == 1) Ask();
  }
  void Cancel(const UserSweep& sweep) {
    orders_.push_back({.sweep = sweep, .cancel = true});
    if (orders_.size() == 1) Ask();
  }
  bool idle() const { return orders_.empty(); }

 private:
  struct Order {
    UserSweep sweep = {};
    bool cancel = false;
    std::string run_key = {};  // to try again
  };
  SchedulerEvent RetryOf(const std::string& run_key) {
    RetryWanted retry;
    for (const auto& [id, task] : server_.store().tasks) {
      if (task.run_key == run_key) retry.tasks.push_back(id);
    }
    server_.checker().OnRetryAsked(retry.tasks);
    return retry;
  }
  void Ask() {
    if (orders_.empty()) return;
    const Order order = orders_.front();
    const std::int64_t number = n_done_;
    const auto done = [this, order, number] {
      if (number != n_done_) return;  // told twice
      if (order.cancel) server_.checker().OnCancelConfirmed(order.sweep.id);
      n_done_ += 1;
      orders_.pop_front();
      Ask();
    };
    if (order.cancel) {
      // After a restore the sweep may not be there any more: nothing is left to cancel.
      if (!server_.store().sweeps.contains(order.sweep.id)) {
        n_done_ += 1;
        orders_.pop_front();
        return Ask();
      }
      server_.Ask(SweepCancelled{.sweep_id = order.sweep.id}, done);
    } else if (!order.run_key.empty()) {
      server_.Ask(RetryOf(order.run_key), done);
    } else {
      server_.Ask(SweepSubmitted{.sweep_id = order.sweep.id,
                                 .sweep = MakeSweep(order.sweep.sample),
                                 .dataset_paths = SampleDatasets()},
                  done);
    }
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
      : world_(seed, mutation), server_(world_, Limits(), workers_), user_(world_, server_) {
    // One run of some histories diverges whenever it is trained.
    if (world_.random.Chance(0.3)) trainer_faults_.diverging_seed = 3;
    if (world_.random.Chance(0.3)) trainer_faults_.omits_row = 0.1;
    for (int i = 0; i < 3; ++i) {
      workers_.push_back(std::make_unique<SimWorker>(world_, server_, i, trainer_faults_));
    }
    restores_ = world_.random.Chance(0.2);
    MakeSweeps();
  }

  SimResult Run() {
    server_.Start();
    for (const auto& worker : workers_) worker->Start();
    PlanUsers();
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
    };
    for (UserSweep& sweep : sweeps_) sweep.sample.retry = retry;
  }

  void PlanUsers() {
    for (UserSweep& sweep : sweeps_) {
      world_.After(world_.Between(0, 120'000), [this, &sweep] { user_.Submit(sweep); });
      if (world_.random.Chance(0.3)) {  // the same again
        world_.After(world_.Between(0, 150'000), [this, &sweep] {
          world_.stats.fired["submitted twice"] += 1;
          user_.Submit(sweep);
          sweep.cancelled = false;
        });
      }
      if (world_.random.Chance(0.4)) {
        world_.After(world_.Between(20'000, 200'000), [this, &sweep] {
          world_.stats.fired["cancelled"] += 1;
          user_.Cancel(sweep);
          sweep.cancelled = true;
        });
      }
    }
    if (world_.random.Chance(0.3)) TryARunAgain();
  }

  // A run that two sweeps share, of which both may be cancelled by then; and it is cancelled again.
  void TryARunAgain() {
    const Instant when = world_.Between(60'000, 240'000);
    UserSweep& sweep = sweeps_[world_.random.Below(2)];
    world_.After(when, [this] {
      world_.stats.fired["tried again"] += 1;
      user_.Retry(MakeSweep({.seeds = {2}}).runs.front().run_key);
    });
    world_.After(when + world_.Between(1, 20'000), [this, &sweep] {
      user_.Cancel(sweep);
      sweep.cancelled = true;
    });
  }

  void Nemesis() {
    if (!world_.faults) return;
    world_.After(world_.Between(500, 14'000), [this] { Nemesis(); });
    const int index = static_cast<int>(world_.random.Below(workers_.size()));
    SimWorker& worker = *workers_[static_cast<std::size_t>(index)];
    const Instant a_while = PickLength();
    const auto fired = [this](const std::string& name) { world_.stats.fired[name] += 1; };
    switch (world_.random.Below(9)) {
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
      if (!sweep.cancelled && !Served(sweep)) all_there = false;
    }
    if (all_ended && all_there) {
      finished_ = true;
      return;
    }
    if (all_ended || !asked_again_) {
      asked_again_ = true;
      for (const UserSweep& sweep : sweeps_) {
        if (!sweep.cancelled) user_.Submit(sweep);
      }
    }
    world_.After(5000, [this] { Finish(); });
  }

  // All tasks have succeeded, but those of a run that always diverges.
  bool Served(const UserSweep& sweep) const {
    const auto tasks = server_.store().sweeps.find(sweep.id);
    if (tasks == server_.store().sweeps.end()) return false;
    return std::ranges::all_of(tasks->second, [this](const std::string& id) {
      const Task& task = server_.store().tasks.at(id);
      return task.state == TaskState::kSucceeded || (Diverges(task) && IsTerminal(task.state));
    });
  }

  std::string WhatIsOpen() const {
    std::string out = server_.up() ? "not finished:" : "the coordinator is down:";
    for (const auto& [id, task] : server_.store().tasks) {
      if (task.state == TaskState::kSucceeded) continue;
      out += Str(" ", id.substr(0, 8), " ", TaskStateName(task.state), " (", task.reason, ");");
    }
    return out;
  }

  // Every number of every sweep that is wanted, against the oracle.
  void CheckTable() {
    for (const UserSweep& sweep : sweeps_) {
      if (sweep.cancelled) continue;
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

  void CheckDiverged(const PlannedRun& run) {
    const Task& task = server_.store().tasks.at(TrainTaskKey(run.run_key));
    if (task.state != TaskState::kFailed || !task.reason.starts_with("diverged")) {
      world_.Violate(
          Str("I-35: a run that diverges is ", TaskStateName(task.state), ": ", task.reason));
    }
  }

  void CheckCell(const PlannedRun& run, const ExpectedCell& cell) {
    const LogStore& store = server_.store();
    const Task& task = store.tasks.at(store.cells.at(cell.cell));
    const double truth = EvaluatedValue(TrainedValue(run.run_key, kSimSteps), cell.context_length);
    int n_rows = 0;
    for (const StoredRecord& row : store.records.at(task.result_attempt)) {
      if (row.record.kind != "result" || row.record.body.at("cell") != cell.cell) continue;
      n_rows += 1;
      const double value = row.record.body.at("value").get<double>();
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
  std::vector<UserSweep> sweeps_;
  bool restores_ = false;
  bool asked_again_ = false;
  bool finished_ = false;
};

}  // namespace

SimResult RunSimulation(std::uint64_t seed, Mutation mutation) {
  return Simulation(seed, mutation).Run();
}

}  // namespace longrun
