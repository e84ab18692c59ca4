#include "tests/simulation/worker.h"

#include <algorithm>
#include <csignal>
#include <utility>

namespace longrun::coordinator {
namespace {

constexpr Instant kTickMs = 1000;
constexpr Instant kBeatMs = 5000;
constexpr Instant kDeafMs = 12'000;  // nothing came down for so long: the stream is half open
constexpr Instant kResendMs = 5000;
constexpr Instant kLeavingMs = 12'000;  // from its work's end to the end of an allocation
constexpr std::int64_t kBatchRecords = 4;
constexpr std::int64_t kSlots = 2;

std::int64_t Size(const SimFolder& folder) {
  return static_cast<std::int64_t>(folder.journal.entries.size());
}
void Sync(SimFolder& folder) { folder.n_synced = folder.journal.entries.size(); }

}  // namespace

SimWorker::SimWorker(World& world, SimServerDoor& server, int index,
                     SimTrainerFaults trainer_faults)
    : world_(world),
      server_(server),
      index_(index),
      trainer_faults_(trainer_faults),
      id_(Str("worker-", index)) {}

void SimWorker::BeTemporary(std::uint64_t seed) {
  allocation_random_.emplace(seed);
  BeginAllocation();
}

void SimWorker::BeginAllocation() {
  n_allocations_ += 1;
  leaving_ = false;
  const auto work_ms = static_cast<Instant>(5'000 + allocation_random_->Below(85'000));
  work_end_ = world_.now + work_ms;
  world_.After(work_ms + kLeavingMs, [this] { EndAllocation(); });
}

// Whatever still runs is killed, and the next job begins a while later.
void SimWorker::EndAllocation() {
  world_.stats.fired["allocation ended"] += 1;
  paused_until_ = std::min(paused_until_, world_.now);
  for (auto& [attempt, folder] : folders_) {
    if (folder.running) folder.exit.reset();
    folder.running = false;
  }
  const auto away_ms = static_cast<Instant>(1'000 + allocation_random_->Below(60'000));
  CrashDaemon(away_ms + 1);
  world_.After(away_ms, [this] { BeginAllocation(); });
}

// What has not begun is given back; the trainers write a checkpoint.
void SimWorker::LeaveInTime() {
  if (!allocation_random_ || leaving_ || world_.now < work_end_) return;
  leaving_ = true;
  if (session_ && welcomed_) Send(WorkerLeaves{.session = *session_});
  while (!preparing_.empty()) GiveBack(std::string(preparing_.begin()->first));
  for (auto& [attempt, folder] : folders_) folder.stop = folder.stop || folder.running;
}

void SimWorker::Start() {
  world_.After(world_.Between(1, kTickMs), [this] { Tick(); });
}

void SimWorker::Tick() {
  world_.After(kTickMs + world_.Between(0, 50), [this] { Tick(); });
  if (!up_ || paused_until_ > world_.now) return;
  LeaveInTime();
  if (!session_) return Connect();
  const bool deaf = world_.now - heard_at_ > kDeafMs;
  if (deaf) {
    session_.reset();
    return;
  }
  if (!welcomed_) return;
  if (world_.now - beat_at_ >= kBeatMs) Beat();
  for (auto& [attempt, folder] : folders_) {
    if (!folder.ended) Ship(folder);
  }
}

void SimWorker::Connect() {
  session_ = server_.Open(index_);
  if (!session_) return;
  welcomed_ = false;
  opened_at_ = heard_at_ = world_.now;
  std::vector<LiveAttempt> listed = Inventory(/*with_ended=*/true);
  n_greeted_ = listed.size();
  WorkerArrived hello = {.session = *session_, .worker = Describe(), .attempts = std::move(listed)};
  if (allocation_random_) {
    hello.allocation = AllocationSpan{.job = Str("job ", n_allocations_)};
    hello.allocation->work_left_ms = std::max<Instant>(0, work_end_ - world_.now);
  }
  Send(std::move(hello));
}

Worker SimWorker::Describe() const {
  Worker worker;
  worker.id = id_;
  worker.incarnation = Str("incarnation-", 1000 + incarnation_);
  worker.folder_id = Str("folder-", index_);
  worker.host = id_;
  worker.version = "sim";
  for (std::int64_t slot = 0; slot < kSlots; ++slot) {
    worker.slots.push_back({.index = slot,
                            .kind = DeviceKind::kCpu,
                            .name = "sim",
                            .memory_bytes = 4'000'000'000,
                            .threads = 1,
                            .simd = world_.mixed && index_ == 0 ? "other" : "default",
                            .linear = "sim",
                            .head = world_.has_older && index_ == 0 ? "" : "width"});
  }
  worker.dataset_digests = held_;
  worker.disk = Disk();
  return worker;
}

std::vector<LiveAttempt> SimWorker::Inventory(bool with_ended) const {
  std::vector<LiveAttempt> listed;
  for (const auto& [attempt, folder] : folders_) {
    if (folder.ended && !with_ended) continue;
    listed.push_back({.attempt = attempt,
                      .task = folder.task.task,
                      .run_key = folder.task.run_key,
                      .epoch = folder.task.epoch,
                      .last_seq = Size(folder),
                      .running = folder.running});
  }
  for (const auto& [attempt, start] : preparing_) {
    listed.push_back({.attempt = attempt,
                      .task = start.task.task,
                      .run_key = start.task.run_key,
                      .epoch = start.task.epoch,
                      .last_seq = 0,
                      .running = false});
  }
  return listed;
}

void SimWorker::Send(SchedulerEvent event) {
  const std::int64_t boot = server_.n_boots();
  world_.Carry(index_, /*up=*/true, [this, boot, event = std::move(event)] {
    if (server_.n_boots() == boot) server_.Receive(event);  // a stream ends with its server
  });
}

void SimWorker::Beat() {
  beat_at_ = world_.now;
  if (world_.Fault("disk full", 0.005)) full_until_ = world_.now + world_.Between(1'000, 120'000);
  Send(WorkerHeard{.session = *session_,
                   .number = ++n_beats_,
                   .attempts = Inventory(/*with_ended=*/false),
                   .disk = Disk()});
}

DiskSpace SimWorker::Disk() const {
  return {.free_bytes = 1, .bytes = 3, .wanted_bytes = full_until_ > world_.now ? 2 : 0};
}

// Sends what is on disk and not acknowledged; pipelined, and again after a while without an answer.
void SimWorker::Ship(SimFolder& folder) {
  const bool unsynced = world_.mutation == Mutation::kShipUnsynced;
  if (!unsynced) Sync(folder);
  const std::int64_t last = Size(folder);
  folder.sent = std::max(folder.sent, folder.acked);
  if (folder.sent > folder.acked && world_.now - folder.sent_at > kResendMs) {
    folder.sent = folder.acked;
  }
  if (folder.sent < last) {
    JournalReceived batch = {.session = *session_,
                             .attempt = folder.task.attempt,
                             .epoch = folder.task.epoch,
                             .first_seq = folder.sent + 1,
                             .records = {}};
    const std::int64_t end = std::min(folder.sent + kBatchRecords, last);
    for (std::int64_t i = folder.sent; i < end; ++i) {
      const SampleJournal::Entry& entry = folder.journal.entries[static_cast<std::size_t>(i)];
      batch.records.push_back({.record = entry.record, .line = entry.line});
      const auto* const checkpoint = entry.record.As<CheckpointRecord>();
      if (checkpoint == nullptr) continue;
      // The upload usually ends before its record is sent.
      if (!world_.Fault("upload late", 0.2)) {
        world_.uploaded.insert(checkpoint->sha256);
      }
    }
    folder.sent = end;
    folder.sent_at = world_.now;
    Send(std::move(batch));
  }
  const bool told = folder.fenced || folder.acked >= last;
  if (!folder.running && told && world_.now - folder.finished_at > 2000) {
    folder.finished_at = world_.now;
    Send(AttemptFinished{.session = *session_,
                         .attempt = folder.task.attempt,
                         .epoch = folder.task.epoch,
                         .last_seq = last,
                         .evidence = folder.exit.value_or(EndEvidence{}),
                         .log_tail = ""});
  }
}

// ---- what comes down ----------------------------------------------------------------------------

void SimWorker::Receive(SessionId session, const Command& command) {
  if (paused_until_ > world_.now) {
    world_.After(paused_until_ - world_.now + 1,
                 [this, session, command] { Receive(session, command); });
    return;
  }
  if (!up_ || session_ != session) return;
  heard_at_ = world_.now;
  const auto* const sent = std::get_if<SendMessage>(&command);
  const auto* const welcome =
      sent == nullptr ? nullptr : std::get_if<WelcomeMessage>(&sent->message);
  // The answer to the Hello has a verdict for each attempt; here, a later Welcome may overtake it.
  const bool is_answer = welcome != nullptr && welcome->attempts.size() >= n_greeted_;
  if (!welcomed_ && !is_answer && !std::holds_alternative<CloseSession>(command)) return;
  std::visit([this](const auto& c) { Take(c); }, command);
}

void SimWorker::Take(const SendMessage& sent) {
  std::visit([this](const auto& message) { Take(message); }, sent.message);
}

void SimWorker::Disconnect(SessionId session) {
  if (session_ == session) session_.reset();
}

SimFolder* SimWorker::Find(const std::string& attempt) {
  const auto it = folders_.find(attempt);
  return it == folders_.end() ? nullptr : &it->second;
}

void SimWorker::Take(const WelcomeMessage& welcome) {
  if (std::exchange(welcomed_, true)) world_.stats.fired["adopted after its Hello"] += 1;
  for (const AttemptVerdict& verdict : welcome.attempts) {
    SimFolder* const folder = Find(verdict.attempt);
    if (folder == nullptr && verdict.verdict == Verdict::kStop) {
      GiveBack(verdict.attempt);
    } else if (folder == nullptr && verdict.verdict != Verdict::kContinue) {
      preparing_.erase(verdict.attempt);
    }
    if (folder == nullptr) continue;
    if (folder->ended) {
      if (verdict.verdict == Verdict::kEnded || verdict.verdict == Verdict::kFenced) {
        continue;
      }
      world_.stats.fired["told again after its end"] += 1;
      folder->ended = false;
    }
    folder->acked = folder->sent = verdict.durable_seq;
    switch (verdict.verdict) {
      case Verdict::kContinue:
        break;
      case Verdict::kStop:
        folder->stop = true;
        break;
      case Verdict::kFenced:
        Take(FencedMessage{.attempt = verdict.attempt});
        break;
      case Verdict::kEnded:
        folder->ended = true;
        break;
    }
  }
}

void SimWorker::Take(const SendStart& start) {
  const std::string& attempt = start.task.attempt;
  if (Find(attempt) != nullptr || preparing_.contains(attempt)) {
    return Send(
        AttemptAccepted{.session = *session_, .attempt = attempt, .epoch = start.task.epoch});
  }
  if (leaving_) return Reject(start.task, "", "this worker is stopping");
  if (IsBusy(start.device_index)) {
    world_.stats.fired["slot busy"] += 1;
    return Reject(start.task, "", "a trainer is on the slot");
  }
  if (full_until_ > world_.now) return Reject(start.task, "storage", "no space");
  if (world_.Fault("no disk space", 0.02)) return Reject(start.task, "storage", "no space");
  if (world_.Fault("cache in use", 0.02)) return RefuseForCache(start.task, 1, 2);
  // Never by all workers of a kind: the task must find one in the end.
  if (index_ > (world_.mixed || world_.has_older ? 1 : 0) &&
      world_.Fault("cache too small", 0.02)) {
    return RefuseForCache(start.task, 2, 1);
  }
  for (const auto& from : {start.task.resume, start.task.init}) {
    if (!from) continue;
    // They were when it was sent (SimChecker::OnStart), and the attempt has been given up since.
    if (!world_.uploaded.contains(from->sha256)) {
      return Reject(start.task, "data", "its checkpoint is not in the store");
    }
  }
  preparing_.emplace(attempt, start);
  Send(AttemptAccepted{.session = *session_, .attempt = attempt, .epoch = start.task.epoch});
  // Longer than an offer waits, and than a lease; and, seldom, in vain.
  const bool slow = world_.Fault("preparation slow", 0.1);
  const bool fails = world_.Fault("preparation failed", 0.03);
  world_.After(slow ? world_.Between(5'000, 60'000) : world_.Between(1, 200),
               [this, attempt, fails] { EndPreparation(attempt, fails); });
}

bool SimWorker::IsBusy(std::int64_t device_index) const {
  for (const auto& [id, folder] : folders_) {
    if (folder.running && folder.device_index == device_index) return true;
  }
  return std::ranges::any_of(
      preparing_, [&](const auto& entry) { return entry.second.device_index == device_index; });
}

void SimWorker::Reject(const TaskFile& task, const std::string& failure_class,
                       const std::string& reason) {
  if (!session_ || !welcomed_) return;  // the next Hello shows that it is not here
  Send(AttemptRejected{.session = *session_,
                       .attempt = task.attempt,
                       .epoch = task.epoch,
                       .failure_class = failure_class,
                       .reason = reason});
}

void SimWorker::RefuseForCache(const TaskFile& task, std::int64_t needed_bytes,
                               std::int64_t limit_bytes) {
  Send(AttemptRejected{.session = *session_,
                       .attempt = task.attempt,
                       .epoch = task.epoch,
                       .failure_class = "storage",
                       .reason = "no room in the cache",
                       .cache_needed_bytes = needed_bytes,
                       .cache_limit_bytes = limit_bytes});
}

// Stopped or fenced before its trainer started.
void SimWorker::GiveBack(const std::string& attempt) {
  const auto entry = preparing_.extract(attempt);
  if (!entry.empty()) Reject(entry.mapped().task, "", "it was stopped before it started");
}

void SimWorker::EndPreparation(const std::string& attempt, bool fails) {
  if (paused_until_ > world_.now) {
    world_.After(paused_until_ - world_.now + 1,
                 [this, attempt, fails] { EndPreparation(attempt, fails); });
    return;
  }
  const auto entry = preparing_.extract(attempt);
  if (entry.empty()) return;  // given back, or lost with the daemon
  // As the kernel does for lack of memory.
  if (world_.kills && world_.Fault("preparation killed its worker", 0.5)) {
    return CrashDaemon(world_.Between(500, 10'000));
  }
  if (fails) return Reject(entry.mapped().task, "data", "a checkpoint cannot be read");
  Launch(entry.mapped());
}

// Fetches the dataset, for which the cache may have to lose all others first.
void SimWorker::Hold(const std::string& digest) {
  const std::set<std::string> before = held_;
  if (world_.Fault("datasets removed from the cache", 0.05)) held_.clear();
  held_.insert(digest);
  if (held_ == before || !session_ || !welcomed_) return;
  world_.stats.fired["dataset fetched"] += 1;
  Send(WorkerHolds{.session = *session_, .dataset_digests = held_});
}

void SimWorker::Launch(const SendStart& start) {
  const TaskFile& task = start.task;
  Hold(start.dataset_digest);
  SimFolder folder;
  folder.task = task;
  folder.device_index = start.device_index;
  folder.running = true;
  folder.value = Fnv1a64(task.run_key);
  for (const auto& from : {task.resume, task.init}) {
    if (!from) continue;
    const SimCheckpoint& checkpoint = world_.checkpoints.at(from->sha256);
    folder.step = checkpoint.step;
    folder.value = checkpoint.value;
  }
  if (task.init) folder.step = 0;
  if (task.init && task.kind == TaskKind::kTrain) {
    world_.stats.fired["started from another run"] += 1;
    folder.value = BegunValue(task.run_key, folder.value);
  }
  const Json resume = task.resume ? task.resume->ToJson() : Json();
  folder.journal.t_ms = world_.now;
  folder.journal.Append(RecordKind::kAttempt, {{"task", task.task}, {"resume", resume}});
  folders_.emplace(task.attempt, std::move(folder));
  RunTrainer(task.attempt, world_.Between(200, 2000));
}

void SimWorker::Take(const StopMessage& stop) {
  GiveBack(stop.attempt);
  if (SimFolder* const folder = Find(stop.attempt)) {
    folder->stop = true;
    folder->is_killed = folder->is_killed || stop.grace_ms == 0;
  }
}

void SimWorker::Take(const AckMessage& ack) {
  if (ack.ended) preparing_.erase(ack.attempt);
  SimFolder* const folder = Find(ack.attempt);
  if (folder == nullptr) return;
  folder->acked = std::max(folder->acked, ack.durable_seq);
  folder->ended = folder->ended || ack.ended;
}

void SimWorker::Take(const NackMessage& nack) {
  SimFolder* const folder = Find(nack.attempt);
  if (folder != nullptr) folder->sent = nack.expected_seq - 1;
}

void SimWorker::Take(const FencedMessage& fenced) {
  preparing_.erase(fenced.attempt);
  SimFolder* const folder = Find(fenced.attempt);
  if (folder == nullptr) return;
  folder->fenced = true;
  if (!folder->running) return;
  world_.stats.fired["trainer fenced"] += 1;
  folder->stop = true;
  EndTrainer(*folder, -1, 9);
}

void SimWorker::Take(const CloseSession&) { session_.reset(); }

// ---- the trainer --------------------------------------------------------------------------------

void SimWorker::RunTrainer(const std::string& attempt, Instant delay) {
  world_.After(delay, [this, attempt] {
    SimFolder& folder = folders_.at(attempt);
    if (!folder.running) return;
    TrainerStep(folder);
    if (folder.running) RunTrainer(attempt, world_.Between(500, 6000));
  });
}

void SimWorker::TrainerStep(SimFolder& folder) {
  if (world_.Fault("clock of a trainer set", 0.01)) {
    folder.clock_ahead_ms = world_.Between(-600'000, 600'000);
    folder.clock_was_set = true;
  }
  folder.journal.t_ms = world_.now + folder.clock_ahead_ms;
  if (folder.is_killed) {
    world_.stats.fired["killed at once"] += 1;
    return EndTrainer(folder, 0, SIGKILL);
  }
  if (folder.journal.entries.size() == 1) {
    folder.journal.Append(RecordKind::kStarted, {{"execution", folder.task.execution.ToJson()}});
    return;
  }
  if (folder.device_index == trainer_faults_.broken_slot && world_.Fault("slot broken", 1.0)) {
    return EndTrainer(folder, 70, 0);
  }
  if (folder.stop) {
    if (folder.task.kind == TaskKind::kTrain && folder.step > 0) WriteCheckpoint(folder, false);
    return EndTrainer(folder, 75, 0);
  }
  if (folder.task.kind == TaskKind::kTrain) {
    TrainStep(folder);
  } else {
    EvaluateStep(folder);
  }
}

void SimWorker::TrainStep(SimFolder& folder) {
  const std::int64_t n_steps = SimStepsOf(folder.task.run);
  if (folder.step < n_steps) {
    folder.step += 1;
    folder.value = NextValue(folder.value, folder.step);
    folder.journal.Append(RecordKind::kSeries, {{"step", folder.step}, {"value", folder.value}});
    if (world_.random.Chance(0.5)) Sync(folder);
    if (folder.task.run.seed == trainer_faults_.diverging_seed && folder.step > 5) {
      folder.journal.Append(RecordKind::kFailed,
                            {{"class", "numerical"}, {"message", "loss is NaN"}});
      Sync(folder);
      return EndTrainer(folder, 80, 0);
    }
    if (folder.step % kSimCheckpointSteps == 0 && folder.step < n_steps) {
      WriteCheckpoint(folder, false);
    }
    return;
  }
  WriteCheckpoint(folder, true);
  folder.journal.Final();
  Sync(folder);
  EndTrainer(folder, 0, 0);
}

void SimWorker::EvaluateStep(SimFolder& folder) {
  const auto n_cells = static_cast<std::int64_t>(folder.task.expected_cells.size());
  if (folder.step < n_cells) {
    const ExpectedCell& cell = folder.task.expected_cells[static_cast<std::size_t>(folder.step)];
    folder.step += 1;
    if (world_.Fault("row omitted", trainer_faults_.omits_row)) return;
    folder.journal.Result(cell, EvaluatedValue(folder.value, cell.context_length));
    Sync(folder);
    return;
  }
  folder.journal.Final();
  Sync(folder);
  EndTrainer(folder, 0, 0);
}

void SimWorker::WriteCheckpoint(SimFolder& folder, bool final) {
  const std::string sha256 =
      Sha256Hex(Str(folder.task.run_key, " ", folder.step, " ", folder.value));
  world_.checkpoints[sha256] = {.step = folder.step, .value = folder.value};
  folder.journal.Checkpoint(sha256, folder.step, final, folder.step == kSimCheckpointSteps);
  Sync(folder);
}

void SimWorker::EndTrainer(SimFolder& folder, int exit_code, int signal) {
  folder.running = false;
  folder.exit = EndEvidence{
      .exit_known = true, .exit_code = exit_code, .signal = signal, .stop_requested = folder.stop};
}

// ---- faults -------------------------------------------------------------------------------------

void SimWorker::CrashDaemon(Instant down_ms) {
  if (!up_) return;
  up_ = false;
  session_.reset();
  preparing_.clear();
  for (auto& [attempt, folder] : folders_) {
    folder.acked = folder.sent = 0;
    folder.fenced = false;
  }
  world_.After(down_ms, [this] { Heal(); });
}

void SimWorker::CrashTrainer() {
  for (auto& [attempt, folder] : folders_) {
    if (!folder.running) continue;
    world_.stats.fired["trainer crashed"] += 1;
    return EndTrainer(folder, -1, 11);
  }
}

void SimWorker::LosePower(Instant down_ms) {
  for (auto& [attempt, folder] : folders_) {
    if (folder.running) folder.exit.reset();  // nobody was left to write it
    folder.running = false;
    const std::size_t n_kept = std::max<std::size_t>(folder.n_synced, 1);
    if (folder.journal.entries.size() > n_kept) {
      world_.stats.fired["unsynced records lost"] += 1;
      folder.journal.entries.resize(n_kept);
    }
  }
  CrashDaemon(down_ms);
}

void SimWorker::Pause(Instant pause_ms) { paused_until_ = world_.now + pause_ms; }

void SimWorker::StartTwin() {
  const std::optional<SessionId> session = server_.Open(index_);
  if (!session) return;
  n_twins_ += 1;
  WorkerArrived hello = {.session = *session, .worker = Describe(), .attempts = {}};
  hello.worker.incarnation = Str("twin-", 1000 + n_twins_);  // newer than ours
  hello.worker.folder_id = Str("folder-", index_, "-", n_twins_);
  Send(std::move(hello));
  world_.After(world_.Between(500, 30'000),
               [this, session] { Send(WorkerGone{.session = *session}); });
}

void SimWorker::Heal() {
  paused_until_ = std::min(paused_until_, world_.now);
  if (up_) return;
  up_ = true;
  incarnation_ += 1;
}

}  // namespace longrun::coordinator
