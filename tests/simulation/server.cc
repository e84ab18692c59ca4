#include "tests/simulation/server.h"

#include <algorithm>
#include <utility>

#include "base/str.h"

namespace longrun::coordinator {
namespace {

constexpr Instant kTickMs = 1000;

struct SessionOf {
  SessionId operator()(const WorkerArrived& e) const { return e.session; }
  SessionId operator()(const WorkerHeard& e) const { return e.session; }
  SessionId operator()(const WorkerHolds& e) const { return e.session; }
  SessionId operator()(const WorkerShares& e) const { return e.session; }
  SessionId operator()(const WorkerGone& e) const { return e.session; }
  SessionId operator()(const WorkerLeaves& e) const { return e.session; }
  SessionId operator()(const AttemptAccepted& e) const { return e.session; }
  SessionId operator()(const AttemptRejected& e) const { return e.session; }
  SessionId operator()(const JournalReceived& e) const { return e.session; }
  SessionId operator()(const AttemptFinished& e) const { return e.session; }
  template <typename Other>
  SessionId operator()(const Other&) const {
    return 0;
  }
};

}  // namespace

SimServer::SimServer(World& world, SchedulerLimits limits,
                     std::vector<std::unique_ptr<SimWorker>>& workers, std::uint64_t seed)
    : world_(world),
      limits_(limits),
      workers_(workers),
      checker_(world, store_, workers),
      order_random_(seed ^ 0x6f7264657273) {}

void SimServer::Start() { Boot(false); }

void SimServer::Boot(bool restored) {
  up_ = true;
  n_boots_ += 1;
  checker_.OnBoot();
  state_ = store_.Load(limits_, restore_count_, world_.now, world_.random.Next(), restored);
  state_.boot = "the machine's only boot";
  if (world_.mutation == Mutation::kUnfinishedKept) state_.submitting.clear();
  submits_in_parts_ = false;
  orders_in_steps_ = false;
  if (world_.mutation == Mutation::kOrderForgotten) state_.order.reset();
  if (store_.order) world_.stats.fired["unfinished order ended"] += 1;
  if (!store_.submitting.empty()) world_.stats.fired["unfinished submission dropped"] += 1;
  Process(TimePassed{}, nullptr);
  const std::int64_t boot = n_boots_;
  world_.After(kTickMs, [this, boot] { Tick(boot); });
}

void SimServer::Tick(std::int64_t boot) {
  if (!up_ || boot != n_boots_) return;
  const Instant delay = std::max<Instant>(kTickMs, paused_until_ - world_.now + 1);
  world_.After(delay, [this, boot] { Tick(boot); });
  if (paused_until_ <= world_.now) Process(TimePassed{}, nullptr);
}

std::optional<SessionId> SimServer::Open(int worker) {
  if (!up_) return std::nullopt;
  const SessionId session = next_session_++;
  session_worker_[session] = worker;
  return session;
}

void SimServer::Receive(const SchedulerEvent& received) {
  if (!up_) return;
  if (paused_until_ > world_.now) {
    const std::int64_t boot = n_boots_;
    world_.After(paused_until_ - world_.now + 1, [this, boot, received] {
      if (boot == n_boots_) Receive(received);
    });
    return;
  }
  // A stream begins with one Hello; what comes before it or says it again breaks the protocol.
  const SessionId session = std::visit(SessionOf{}, received);
  const bool is_hello = std::holds_alternative<WorkerArrived>(received);
  if (is_hello ? !said_hello_.insert(session).second : !said_hello_.contains(session)) return;
  SchedulerEvent event = received;
  if (auto* const batch = std::get_if<JournalReceived>(&event)) {
    for (BatchRecord& record : batch->records) {
      const auto* const checkpoint = record.record.As<CheckpointRecord>();
      if (checkpoint == nullptr) continue;
      record.bytes_stored = world_.uploaded.contains(checkpoint->sha256);
    }
  }
  Process(event, nullptr);
}

void SimServer::Ask(const SchedulerEvent& event, Done done) {
  if (!up_ || paused_until_ > world_.now) return;
  const auto* const cancelled = std::get_if<SweepCancelled>(&event);
  const bool ignored = world_.mutation == Mutation::kCancelIgnored && cancelled != nullptr &&
                       state_.sweep_tasks.contains(cancelled->sweep_id);
  const auto* const submitted = std::get_if<SweepSubmitted>(&event);
  if (ignored) {
    Process(TimePassed{}, std::move(done));
  } else if (submitted != nullptr) {
    Submit(*submitted, std::move(done));
  } else {
    Order(event, std::move(done));
  }
}

// As the real one does, with few tasks in a step: others have their turn in between.
void SimServer::Order(SchedulerEvent event, Done done) {
  if (orders_in_steps_) return;  // the user asks again
  std::size_t* n_tasks_max = nullptr;
  if (auto* const cancelled = std::get_if<SweepCancelled>(&event)) {
    n_tasks_max = &cancelled->n_tasks_max;
  } else if (auto* const paused = std::get_if<SweepPaused>(&event)) {
    n_tasks_max = &paused->n_tasks_max;
  } else if (auto* const resumed = std::get_if<SweepResumed>(&event)) {
    n_tasks_max = &resumed->n_tasks_max;
  } else if (auto* const retry = std::get_if<RetryRequested>(&event);
             retry != nullptr && !retry->sweep_id.empty()) {
    n_tasks_max = &retry->n_tasks_max;
  }
  if (n_tasks_max == nullptr || !order_random_.Chance(0.5)) {
    return Process(event, std::move(done));
  }
  *n_tasks_max = 1 + order_random_.Below(3);
  if (auto* const retry = std::get_if<RetryRequested>(&event)) {
    // Only the tasks of a whole sweep are tried again in steps.
    const auto sweep = store_.sweeps.find(retry->sweep_id);
    if (sweep != store_.sweeps.end()) retry->tasks = sweep->second;
    checker_.OnRetryAsked(retry->tasks);
  }
  orders_in_steps_ = true;
  GoOn(event, *n_tasks_max, std::move(done));
}

void SimServer::GoOn(const SchedulerEvent& event, std::size_t n_tasks_max, Done done) {
  const std::int64_t boot = n_boots_;
  Process(event, [this, boot, n_tasks_max, done = std::move(done)](const Status& status) {
    if (!status.ok() || !state_.order) {
      orders_in_steps_ = false;
      if (done) done(status);
      return;
    }
    world_.stats.fired["order in steps"] += 1;
    const Instant resumed = std::max(world_.now, paused_until_);
    const auto later = static_cast<Instant>(1 + order_random_.Below(2'000));
    world_.After(resumed - world_.now + later, [this, boot, n_tasks_max, done] {
      if (up_ && boot == n_boots_) GoOn(OrderContinued{n_tasks_max}, n_tasks_max, done);
    });
  });
}

// As the real one does, with parts of few runs: one submission after the other, and each part when
// the one before it was committed.
void SimServer::Submit(SweepSubmitted event, Done done) {
  if (submits_in_parts_) return;  // the user asks again
  event.known_cells = store_.cells;
  const std::optional<std::size_t> n_tasks = TasksOfParts(event);
  if (!world_.random.Chance(0.5) || !n_tasks || !MaySubmitInParts(state_, event, *n_tasks)) {
    return Process(event, std::move(done));
  }
  world_.stats.fired["submitted in parts"] += 1;
  submits_in_parts_ = true;
  SubmitFrom(InParts(event, 1 + world_.random.Below(2)), 0, std::move(done));
}

void SimServer::SubmitFrom(std::vector<SweepSubmitted> parts, std::size_t next, Done done) {
  SweepSubmitted part = parts[next];
  if (next + 1 == parts.size()) {
    return Process(part, [this, done = std::move(done)](const Status& status) {
      submits_in_parts_ = false;
      if (done) done(status);
    });
  }
  const std::int64_t boot = n_boots_;
  Process(part, [this, boot, parts = std::move(parts), next,
                 done = std::move(done)](const Status& status) {
    if (!status.ok()) return world_.Violate(Str("a part is refused: ", status.message()));
    const Instant resumed = std::max(world_.now, paused_until_);
    world_.After(resumed - world_.now + world_.Between(1, 2'000), [this, boot, parts, next, done] {
      if (up_ && boot == n_boots_) SubmitFrom(parts, next + 1, done);
    });
  });
}

// Tasks that only a paused sweep wants, and that a cancelled one wants again with this.
void SimServer::CountHeldTriedAgain(const RetryRequested& event) {
  if (!state_.cancelled_sweeps.contains(event.sweep_id)) return;
  for (const std::string& id : state_.sweep_tasks.at(event.sweep_id)) {
    const bool waits = state_.tasks.at(id).state == TaskState::kReady;
    if (waits && IsHeld(state_, id)) world_.stats.fired["held task tried again"] += 1;
  }
}

StepResult SimServer::StepOnce(const SchedulerEvent& event) {
  if (const auto* const retry = std::get_if<RetryRequested>(&event)) CountHeldTriedAgain(*retry);
  const auto* const removed = std::get_if<SweepRemoved>(&event);
  const auto* const first = std::get_if<SweepPrioritized>(&event);
  if (world_.mutation == Mutation::kPutFirstIgnored && first != nullptr &&
      state_.sweep_tasks.contains(first->sweep_id)) {
    return Step(state_, TimePassed{}, world_.now, world_.WallMs());
  }
  const auto* const paused = std::get_if<SweepPaused>(&event);
  if (world_.mutation == Mutation::kPauseIgnored && paused != nullptr &&
      state_.sweep_tasks.contains(paused->sweep_id)) {
    StepResult result = Step(state_, TimePassed{}, world_.now, world_.WallMs());
    result.writes.emplace_back(
        PutSweepDesired{.sweep_id = paused->sweep_id, .desired = Desired::kPaused});
    return result;
  }
  if (world_.mutation == Mutation::kRefreshForgets) {
    StepResult result = Step(state_, event, world_.now, world_.WallMs());
    for (const std::string& id : result.refreshed) state_.tasks.at(id).result_attempt.clear();
    for (Write& write : result.writes) {
      auto* const put = std::get_if<PutTask>(&write);
      if (put != nullptr && std::ranges::count(result.refreshed, put->task.id) > 0) {
        put->task.result_attempt.clear();
      }
    }
    return result;
  }
  if (world_.mutation == Mutation::kRemovedEarly && removed != nullptr) {
    const auto tasks = state_.sweep_tasks.extract(removed->sweep_id);
    if (tasks.empty()) return Step(state_, event, world_.now, world_.WallMs());
    for (const std::string& id : tasks.mapped()) {
      state_.index.task_sweeps.at(id).erase(removed->sweep_id);
    }
    state_.sweep_runs.erase(removed->sweep_id);
    state_.cancelled_sweeps.erase(removed->sweep_id);
    StepResult result = Step(state_, TimePassed{}, world_.now, world_.WallMs());
    result.writes.emplace_back(DropSweep{.sweep_id = removed->sweep_id});
    return result;
  }
  if (world_.mutation == Mutation::kBasesForgotten) {
    if (const auto* const sweep = std::get_if<SweepSubmitted>(&event)) {
      SweepSubmitted without = *sweep;
      for (PlannedRun& run : without.sweep.runs) run.run.init.reset();
      return Step(state_, std::move(without), world_.now, world_.WallMs());
    }
  }
  std::map<std::string, std::string> parents;
  if (world_.mutation == Mutation::kParentsForgotten &&
      std::holds_alternative<GarbageWanted>(event)) {
    for (auto& [key, run] : state_.runs) parents[key] = std::exchange(run.run.parent, "");
  }
  std::map<std::string, std::set<std::string>> held;
  if (world_.mutation == Mutation::kDatasetsIgnored) {
    for (auto& [id, worker] : state_.workers) {
      held[id] = std::exchange(worker.dataset_digests, {});
    }
  }
  StepResult result = Step(state_, event, world_.now, world_.WallMs());
  if (world_.mutation == Mutation::kOfferBinds) BindByOffers(result.writes);
  for (auto& [id, digests] : held) {
    const auto worker = state_.workers.find(id);
    if (worker != state_.workers.end()) worker->second.dataset_digests.merge(digests);
  }
  for (auto& [key, parent] : parents) {
    const auto run = state_.runs.find(key);
    if (run != state_.runs.end()) run->second.run.parent = std::move(parent);
  }
  return result;
}

void SimServer::BindByOffers(std::vector<Write>& writes) {
  std::vector<RunRecord> bound;
  for (const Write& write : writes) {
    const auto* const put = std::get_if<PutAttempt>(&write);
    if (put == nullptr || put->attempt.execution == nullptr) continue;
    RunRecord& run = state_.runs.at(state_.tasks.at(put->attempt.task).run_key);
    run.execution = *put->attempt.execution;
    bound.push_back(run);
  }
  for (RunRecord& run : bound) {
    const auto is_there = [&](Write& write) {
      auto* const put = std::get_if<PutRun>(&write);
      if (put == nullptr || put->run.run_key != run.run_key) return false;
      put->run.execution = run.execution;
      return true;
    };
    if (std::ranges::any_of(writes, is_there)) continue;
    writes.emplace_back(PutRun{.run = std::move(run), .run_json = {}});
  }
}

// What a dry run names, asked in slices, is what goes.
void SimServer::CheckDryRun(const GarbageWanted& event, const State& before,
                            const StepResult& result) {
  State copy = before;
  std::vector<std::string> named;
  for (const std::string& id : event.orphans) {
    GarbageWanted slice{.orphans = {id}, .gone = {named.begin(), named.end()}};
    const StepResult one = Step(copy, std::move(slice), world_.now, world_.WallMs());
    named.insert(named.end(), one.garbage_tasks.begin(), one.garbage_tasks.end());
  }
  if (named != result.garbage_tasks) {
    world_.Violate(Str("gc: a dry run names ", named.size(), " tasks, and ",
                       result.garbage_tasks.size(), " go: ", Join(named, " "), "; ",
                       Join(result.garbage_tasks, " ")));
  }
}

// As the real one does: bytes go that no row refers to any more.
void SimServer::RemoveBytes(const std::vector<Write>& transaction) {
  bool drops = false;
  for (const Write& write : transaction) {
    drops = drops || std::holds_alternative<DropTasks>(write) ||
            std::holds_alternative<DropCheckpoint>(write);
    const auto* const put = std::get_if<PutRecord>(&write);
    if (put == nullptr || put->files_gone) continue;
    const auto* const checkpoint = put->record.As<CheckpointRecord>();
    if (checkpoint != nullptr) referred_.insert(checkpoint->sha256);
  }
  if (!drops) return;
  std::set<std::string> referred;
  for (const auto& [row, step] : store_.checkpoints) referred.insert(row.second);
  for (const std::string& sha256 : referred_) {
    if (referred.contains(sha256)) continue;
    world_.stats.fired["bytes removed"] += 1;
    world_.uploaded.erase(sha256);
  }
  referred_ = std::move(referred);
}

void SimServer::Process(const SchedulerEvent& received, Done done) {
  SchedulerEvent event = received;
  checker_.BeforeStep(state_, event);
  RemoveRule(event);
  const auto* const garbage = std::get_if<GarbageWanted>(&event);
  const bool is_mutated = world_.mutation == Mutation::kParentsForgotten;
  const std::optional<State> before =
      garbage != nullptr && !is_mutated ? std::optional(state_) : std::nullopt;
  StepResult result = StepOnce(event);
  if (before) CheckDryRun(*garbage, *before, result);
  checker_.AfterStep(state_, received, result);
  if (world_.mutation == Mutation::kLostTransition && world_.random.Chance(0.01)) {
    std::erase_if(result.writes,
                  [](const Write& write) { return std::holds_alternative<PutTransition>(write); });
  }
  if (world_.mutation == Mutation::kEarlyAck) SendAll(std::exchange(result.commands, {}));
  pending_.push_back({.writes = std::move(result.writes),
                      .commands = std::move(result.commands),
                      .status = result.status,
                      .done = std::move(done)});
  if (committing_) return;
  committing_ = true;
  const bool slow = world_.Fault("commit slow", 0.02);
  const std::int64_t boot = n_boots_;
  world_.After(slow ? world_.Between(300, 3000) : world_.Between(1, 20),
               [this, boot] { Commit(boot); });
}

void SimServer::Commit(std::int64_t boot) {
  if (!up_ || boot != n_boots_) return;
  committing_ = false;
  if (world_.Fault("crash before commit", 0.0005)) {
    return Crash(world_.Between(500, 20'000), false, false);
  }
  const std::vector<Pending> committed = std::exchange(pending_, {});
  std::vector<Write> transaction;
  for (const Pending& step : committed) {
    if (std::string wrong = store_.Commit(step.writes); !wrong.empty()) {
      return world_.Violate(std::move(wrong));
    }
    checker_.AfterCommit(step.writes);
    transaction.insert(transaction.end(), step.writes.begin(), step.writes.end());
  }
  RemoveBytes(transaction);
  if (!transaction.empty()) log_.push_back(std::move(transaction));
  if (world_.Fault("crash between commit and sending", 0.0005)) {
    return Crash(world_.Between(500, 20'000), false, false);
  }
  for (const Pending& step : committed) {
    SendAll(step.commands);
    if (step.done) step.done(step.status);
  }
}

void SimServer::SendAll(const std::vector<Command>& commands) {
  const std::int64_t boot = n_boots_;
  for (const Command& command : commands) {
    if (const auto* const start = std::get_if<SendStart>(&command)) checker_.OnStart(*start);
    if (const auto* const sent = std::get_if<SendMessage>(&command)) {
      if (const auto* const ack = std::get_if<AckMessage>(&sent->message)) checker_.OnAck(*ack);
    }
    const SessionId session = std::visit([](const auto& c) { return c.session; }, command);
    const auto worker = session_worker_.find(session);
    if (worker == session_worker_.end()) continue;
    const int index = worker->second;
    world_.Carry(index, /*up=*/false, [this, boot, index, session, command] {
      if (boot != n_boots_) return;
      workers_[static_cast<std::size_t>(index)]->Receive(session, command);
    });
  }
}

// ---- faults -------------------------------------------------------------------------------------

void SimServer::ReplayLog(std::size_t n_kept) {
  log_.resize(std::min(n_kept, log_.size()));
  store_ = FoldedStore();
  for (const std::vector<Write>& transaction : log_) {
    // Row by row: a transaction holds several steps, each with its own rows.
    for (const Write& write : transaction) store_.Apply(write);
  }
}

void SimServer::Crash(Instant down_ms, bool power_loss, bool restore_backup) {
  if (!up_) return;
  world_.stats.fired["coordinator crashed"] += 1;
  up_ = false;
  pending_.clear();
  committing_ = false;
  said_hello_.clear();
  if (power_loss && world_.mutation == Mutation::kCommitNotDurable) {
    ReplayLog(log_.size() - std::min<std::size_t>(log_.size(), world_.random.Below(4)));
  }
  if (restore_backup && !log_.empty()) {
    world_.stats.fired["backup restored"] += 1;
    ReplayLog(log_.size() / 2 + world_.random.Below(log_.size() / 2 + 1));
    restore_count_ += 1;
    restored_ = true;
    // A backup has the bytes that its rows refer to.
    for (const auto& [row, step] : store_.checkpoints) world_.uploaded.insert(row.second);
    checker_.OnRestore();
  }
  for (const auto& [session, worker] : session_worker_) {
    workers_[static_cast<std::size_t>(worker)]->Disconnect(session);
  }
  session_worker_.clear();
  const std::int64_t boot = n_boots_;
  world_.After(down_ms, [this, boot] {
    if (boot == n_boots_) Heal();
  });
}

void SimServer::Pause(Instant pause_ms) { paused_until_ = world_.now + pause_ms; }

void SimServer::Heal() {
  if (up_) return;
  checker_.AfterRestart();
  Boot(std::exchange(restored_, false));
}

// ---- rules taken away ---------------------------------------------------------------------------

void SimServer::RemoveRule(SchedulerEvent& event) {
  switch (world_.mutation) {
    case Mutation::kDoubleSlot:
      for (auto& [id, worker] : state_.workers) worker.busy.clear();
      state_.index.workers_version += 1;  // as after every change of what is idle
      return;
    case Mutation::kEpochFloorLost:
      state_.epoch_floor = 0;
      return;
    case Mutation::kDrainForgotten:
      for (auto& [id, worker] : state_.workers) worker.drain.reset();
      state_.index.workers_version += 1;
      return;
    case Mutation::kQuarantineIgnored:
      for (auto& [id, worker] : state_.workers) worker.quarantined.clear();
      return;
    case Mutation::kFolderIgnored:
      if (auto* const hello = std::get_if<WorkerArrived>(&event)) {
        const auto known = state_.workers.find(hello->worker.id);
        if (known != state_.workers.end()) hello->worker.folder_id = known->second.folder_id;
      }
      return;
    case Mutation::kDeadlineIgnored:
      for (auto& [id, worker] : state_.workers) {
        if (worker.drain) worker.drain->deadline.reset();
      }
      return;
    case Mutation::kAllocationIgnored:
      for (auto& [id, worker] : state_.workers) {
        if (worker.allocation) worker.allocation->work_end.reset();
      }
      return;
    case Mutation::kUnpreparedFree:
      state_.index.unprepared.clear();
      return;
    case Mutation::kFreeRetries:
      for (auto& [id, task] : state_.tasks) task.failures = task.losses = 0;
      return;
    case Mutation::kNoFencing:
    case Mutation::kNoDedupe:
    case Mutation::kNoGapCheck:
    case Mutation::kNoCompleteness:
    case Mutation::kCheckpointEarly:
      break;
    case Mutation::kNone:
    case Mutation::kEarlyAck:
    case Mutation::kCommitNotDurable:
    case Mutation::kShipUnsynced:
    case Mutation::kCancelIgnored:
    case Mutation::kPauseIgnored:
    case Mutation::kLostTransition:
    case Mutation::kPutFirstIgnored:
    case Mutation::kRemovedEarly:
    case Mutation::kRefreshForgets:
    case Mutation::kBasesForgotten:
    case Mutation::kDatasetsIgnored:
    case Mutation::kParentsForgotten:
    case Mutation::kOfferBinds:
    case Mutation::kUnfinishedKept:
    case Mutation::kOrderForgotten:
      return;
  }
  auto* const batch = std::get_if<JournalReceived>(&event);
  if (batch == nullptr) return;
  const auto found = state_.attempts.find(batch->attempt);
  if (found == state_.attempts.end()) return;
  Attempt& attempt = found->second;
  Task& task = state_.tasks.at(attempt.task);
  const std::int64_t before = batch->first_seq - 1;
  if (world_.mutation == Mutation::kNoDedupe) {
    attempt.durable_seq = std::min(attempt.durable_seq, before);
  } else if (world_.mutation == Mutation::kNoGapCheck) {
    attempt.durable_seq = std::max(attempt.durable_seq, before);
  } else if (world_.mutation == Mutation::kCheckpointEarly) {
    for (BatchRecord& record : batch->records) record.bytes_stored = true;
  } else if (world_.mutation == Mutation::kNoCompleteness) {
    for (BatchRecord& record : batch->records) {
      if (record.record.kind != RecordKind::kFinal || record.record.seq != attempt.durable_seq + 1)
        continue;
      record.record.body = attempt.tally.Final();
      attempt.rows = {.numbers = std::vector<MeasuredNumber>(task.expected_cells.size())};
      for (const ExpectedCell& cell : task.expected_cells) attempt.rows.counts[cell] = 1;
    }
  } else if (!IsLive(attempt.state) && task.state == TaskState::kRunning) {  // kNoFencing
    state_.index.live.erase(task.attempt);
    state_.index.live_of[state_.attempts.at(task.attempt).worker].erase(task.attempt);
    state_.attempts.at(task.attempt).state = AttemptState::kLost;
    attempt.state = AttemptState::kRunning;
    state_.index.live.insert(attempt.id);
    state_.index.live_of[attempt.worker].insert(attempt.id);
    task.attempt = attempt.id;
    task.epoch = attempt.epoch;
  }
}

}  // namespace longrun::coordinator
