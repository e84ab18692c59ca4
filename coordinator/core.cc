// See core.h.
#include "coordinator/core.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <future>
#include <utility>

#include "base/boot_id.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/exit_code.h"
#include "base/failpoint.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/random.h"
#include "base/shortage.h"
#include "base/str.h"
#include "base/thread.h"
#include "model/evaluation/evaluation.h"
#include "model/evaluation/input_file.h"

namespace longrun {
namespace {

constexpr std::int64_t kBatchMs = 5;
constexpr std::size_t kBatchWritesMax = 2000;
constexpr std::int64_t kSecondMs = 1000;
constexpr std::int64_t kWakeMsMin = 5;    // the shortest wait, when a deadline has already passed
constexpr std::int64_t kIdleMs = 10'000;  // after so long without a commit, the WAL is emptied

double SecondsSince(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

std::string_view RemedyOf(const Status& status) {
  // SQLite refused our write: something in the database is not as we left it.
  if (status.code() == Code::kInternal) {
    return "`longrun doctor --deep` lists what is damaged: restore a backup (docs/operating.md), "
           "then "
           "start again";
  }
  if (status.code() != Code::kResourceExhausted) {
    return "look at the disk of the state folder, then start again";
  }
  return ShortageOf(status).value_or(Shortage::kDisk) == Shortage::kDisk
             ? "make room on the disk of the state folder, then start again"
             : "raise the limit that the error names, then start again";
}

void EndProcess(const Status& status) {
  if (status.code() == Code::kDataLoss) {
    LogError("store_lost", {{"error", status.message()}});
    _exit(kExitDamaged);
  }
  LogError("store_failed",
           {{"error", status.message()},
            {"meaning", "nothing of the last batch was acknowledged and nothing is lost"},
            {"remedy", std::string(RemedyOf(status))}});
  _exit(IsProcessLimit(status) ? kExitLimit : kExitStorage);
}

Status Stopping() {
  return Status(Code::kUnavailable, "the coordinator is stopping: try again when it is back");
}

}  // namespace

struct Core::Batch {
  bool in_transaction = false;
  std::chrono::steady_clock::time_point begun;
  std::size_t n_writes = 0;
  ApplyCounts counts;
  std::vector<Stepped> stepped;
  std::vector<LookItem> looks;
  std::vector<DatasetItem> datasets;
  std::vector<ModelItem> models;
  std::vector<std::int64_t> newest_record_ms;  // of each journal batch, by the trainer's clock
  std::vector<AnnotationItem> annotations;

  Status Open(Store& store) {
    if (in_transaction) return Status();
    begun = std::chrono::steady_clock::now();
    RETURN_IF_ERROR(store.Begin());
    in_transaction = true;
    return Status();
  }
};

Core::Core(Store& store, ArtifactStore& artifacts, Metrics& metrics, CoreOptions options)
    : store_(store), artifacts_(artifacts), metrics_(metrics), options_(std::move(options)) {}

Result<std::unique_ptr<Core>> Core::Start(Store& store, ArtifactStore& artifacts, Metrics& metrics,
                                          CoreOptions options) {
  if (!options.on_fatal) options.on_fatal = &EndProcess;
  if (!options.disk_free_bytes) {
    options.disk_free_bytes = [&store] { return DiskFreeBytes(store.folder()); };
  }
  std::unique_ptr<Core> core(new Core(store, artifacts, metrics, std::move(options)));
  ASSIGN_OR_RETURN(core->state_, store.Load());
  ASSIGN_OR_RETURN(core->datasets_, store.LoadDatasets());
  ASSIGN_OR_RETURN(core->models_, store.LoadModels());
  core->state_.limits = core->options_.limits;
  core->state_.boot = BootId();
  AfterLoad(core->state_, BootMs(), core->options_.seed);
  ASSIGN_OR_RETURN(auto reader, StoreReader::Open(store.database_path()));
  core->garbage_ = std::make_unique<GarbageRemover>(artifacts, std::move(reader));
  core->garbage_->Start();
  // Before the first message of a worker: ends attempts that were found unreadable before they are judged.
  core->Post(TimePassed{});
  core->thread_ = StartThread([self = core.get()] { self->Run(); });
  return core;
}

Core::~Core() { Stop(); }

void Core::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  queued_.notify_all();
  if (thread_.joinable()) thread_.join();
}

bool Core::Push(Item item) {
  {
    const std::lock_guard lock(mutex_);
    if (stopped_) return false;
    queue_.push_back(std::move(item));
  }
  queued_.notify_one();
  return true;
}

void Core::Post(SchedulerEvent event, Done done) {
  Push(EventItem{.event = std::move(event), .done = std::move(done)});
}

void Core::Look(std::function<void(const State&)> look) { Push(LookItem{std::move(look)}); }

StepResult Core::PostAndWait(SchedulerEvent event) {
  std::promise<StepResult> promise;
  const bool posted =
      Push(EventItem{.event = std::move(event),
                     .done = [&](const StepResult& result) { promise.set_value(result); }});
  if (posted) return promise.get_future().get();
  StepResult dropped;
  dropped.status = Stopping();
  return dropped;
}

Status Core::LookAndWait(const std::function<void(const State&)>& look) {
  std::promise<void> promise;
  const bool posted = Push(LookItem{[&](const State& state) {
    look(state);
    promise.set_value();
  }});
  if (!posted) return Stopping();
  promise.get_future().get();
  return Status();
}

Result<bool> Core::RegisterDataset(const DatasetRow& dataset) {
  RETURN_IF_ERROR(CheckDiskSpace());
  std::promise<bool> promise;
  const bool posted =
      Push(DatasetItem{.dataset = dataset, .removes = false, .done = [&](bool changed) {
                         promise.set_value(changed);
                       }});
  if (!posted) return Stopping();
  return promise.get_future().get();
}

Status Core::RemoveDataset(const std::string& name) {
  std::promise<void> promise;
  DatasetItem item;
  item.dataset.info.name = name;
  item.removes = true;
  item.done = [&](bool) { promise.set_value(); };
  if (!Push(std::move(item))) return Stopping();
  promise.get_future().get();
  return Status();
}

Result<bool> Core::ChangeModels(ModelItem item) {
  std::promise<Result<bool>> promise;
  item.done = [&](Result<bool> result) { promise.set_value(std::move(result)); };
  if (!Push(std::move(item))) return Stopping();
  return promise.get_future().get();
}

Result<bool> Core::RegisterModel(const ModelRow& model, const std::vector<ArtifactFileRow>& files) {
  RETURN_IF_ERROR(CheckDiskSpace());
  return ChangeModels({.model = model, .files = files, .removes = false, .done = nullptr});
}

Result<bool> Core::RemoveModel(const std::string& name) {
  ModelItem item;
  item.model.name = name;
  item.removes = true;
  return ChangeModels(std::move(item));
}

Status Core::Annotate(const SweepAnnotation& annotation) {
  RETURN_IF_ERROR(CheckDiskSpace());
  std::promise<void> promise;
  const bool posted =
      Push(AnnotationItem{.annotation = annotation, .done = [&promise] { promise.set_value(); }});
  if (!posted) return Stopping();
  promise.get_future().get();
  return Status();
}

std::vector<DatasetRow> Core::datasets() const {
  const std::lock_guard lock(mutex_);
  return datasets_;
}

std::vector<ModelRow> Core::models() const {
  const std::lock_guard lock(mutex_);
  return models_;
}

SessionId Core::AddSession(std::shared_ptr<SessionSink> sink) {
  const std::lock_guard lock(sessions_mutex_);
  sessions_[++last_session_] = std::move(sink);
  metrics_.SetSessions(static_cast<std::int64_t>(sessions_.size()));
  return last_session_;
}

void Core::RemoveSession(SessionId session) {
  {
    const std::lock_guard lock(sessions_mutex_);
    sessions_.erase(session);
    metrics_.SetSessions(static_cast<std::int64_t>(sessions_.size()));
  }
  Post(WorkerGone{.session = session});
}

void Core::CloseSessions(const std::string& reason) {
  std::map<SessionId, std::shared_ptr<SessionSink>> open;
  {
    const std::lock_guard lock(sessions_mutex_);
    open = sessions_;
  }
  for (const auto& [session, sink] : open) {
    sink->Deliver(CloseSession{.session = session, .reason = reason}, {});
  }
}

Status Core::CheckDiskSpace() const {
  ASSIGN_OR_RETURN(const std::int64_t n_free, options_.disk_free_bytes());
  if (n_free >= options_.disk_low_water_bytes) return Status();
  return Status(Code::kResourceExhausted,
                Str("the disk of the state folder ", store_.folder(), " has ", n_free,
                    " bytes free, less than the ", options_.disk_low_water_bytes,
                    " of --disk-low-water: make room there, then try again"));
}

Status Core::CheckDiskSpaceIfLow() const { return disk_is_low_ ? CheckDiskSpace() : Status(); }

// ---- the core's thread ----------------------------------------------------------------------------

std::deque<Core::Item> Core::TakeQueue() {
  std::unique_lock lock(mutex_);
  while (queue_.empty() && !stopping_) {
    const Instant until = std::min(wake_at_, second_at_);
    const Instant now = BootMs();
    if (now >= until) break;
    queued_.wait_for(lock, std::chrono::milliseconds(until - now));
  }
  return std::exchange(queue_, {});
}

void Core::Run() {
  while (true) {
    std::deque<Item> items = TakeQueue();
    if (items.empty()) {
      const std::lock_guard lock(mutex_);
      if (stopping_ && queue_.empty()) {
        stopped_ = true;
        return;
      }
    }
    const Instant now = BootMs();
    if (now >= second_at_ || now >= wake_at_) {
      items.push_back(EventItem{.event = TimePassed{}, .done = nullptr});
    }
    Status status;
    while (status.ok() && !items.empty()) status = RunBatch(items);
    if (status.ok() && now >= second_at_) status = EachSecond();
    if (status.ok()) continue;
    store_.Rollback();
    // If the folder is gone, SQLite's error names only what it failed on first.
    if (Status gone = store_.CheckInPlace(); !gone.ok()) status = std::move(gone);
    {
      const std::lock_guard lock(mutex_);
      stopped_ = true;
      queue_.clear();
    }
    options_.on_fatal(status);
    return;
  }
}

Status Core::RunBatch(std::deque<Item>& items) {
  Batch batch;
  const Instant begun = BootMs();
  while (!items.empty() && batch.n_writes < kBatchWritesMax && BootMs() - begun <= kBatchMs) {
    Item item = std::move(items.front());
    items.pop_front();
    RETURN_IF_ERROR(std::visit([&](auto& one) { return Take(batch, std::move(one)); }, item));
  }
  if (batch.in_transaction) {
    Failpoint("before_commit");
    RETURN_IF_ERROR(store_.CheckInPlace());
    RETURN_IF_ERROR(store_.Commit());
    Failpoint("after_commit");
    metrics_.ObserveCommit(SecondsSince(batch.begun), static_cast<std::int64_t>(batch.n_writes));
    metrics_.CountIngest(batch.counts.result_rows, batch.counts.series_rows,
                         batch.counts.record_rows, batch.counts.duplicates, batch.counts.malformed);
    for (const std::int64_t t_ms : batch.newest_record_ms) {
      // The difference of two clocks, either of which may have been set.
      const double lag_ms = static_cast<double>(WallMs()) - static_cast<double>(t_ms);
      metrics_.ObserveIngestLag(std::max(lag_ms, 0.0) / 1000);
    }
    if (!batch.counts.dropped.empty()) garbage_->Add(batch.counts.dropped);
    committed_at_ = BootMs();
    version_ += 1;
  }
  for (Stepped& stepped : batch.stepped) {
    for (const Command& command : stepped.result.commands) Deliver(command);
    if (stepped.done) stepped.done(stepped.result);
  }
  for (DatasetItem& item : batch.datasets) {
    bool changed = false, found = false;
    {
      const std::lock_guard lock(mutex_);
      if (item.removes) {
        found = true;
        std::erase_if(datasets_, [&](const DatasetRow& dataset) {
          return dataset.info.name == item.dataset.info.name;
        });
      }
      for (DatasetRow& dataset : datasets_) {
        if (dataset.info.name != item.dataset.info.name) continue;
        found = true;
        changed = dataset.info.digest != item.dataset.info.digest;
        dataset = item.dataset;
      }
      if (!found) datasets_.push_back(item.dataset);
      std::sort(datasets_.begin(), datasets_.end(),
                [](const DatasetRow& a, const DatasetRow& b) { return a.info.name < b.info.name; });
    }
    item.done(changed);
  }
  if (!batch.models.empty()) {
    ASSIGN_OR_RETURN(std::vector<ModelRow> models, store_.LoadModels());
    const std::lock_guard lock(mutex_);
    models_ = std::move(models);
  }
  for (ModelItem& item : batch.models) item.done(std::move(item.result));
  for (const AnnotationItem& item : batch.annotations) item.done();
  for (LookItem& item : batch.looks) item.look(state_);
  return Status();
}

Status Core::Take(Batch& batch, EventItem item) {
  const auto begun = std::chrono::steady_clock::now();
  const Instant now = BootMs();
  const std::int64_t wall_ms = WallMs();
  if (auto* received = std::get_if<JournalReceived>(&item.event)) {
    MarkStoredBytes(*received);
    if (!received->records.empty()) {
      batch.newest_record_ms.push_back(received->records.back().record.t_ms);
    }
  }
  StepResult result = Step(state_, std::move(item.event), now, wall_ms);
  metrics_.ObserveStep(SecondsSince(begun));
  if (!result.writes.empty()) {
    RETURN_IF_ERROR(batch.Open(store_));
    RETURN_IF_ERROR(store_.Apply(result.writes, wall_ms, batch.counts));
    batch.n_writes += result.writes.size();
  }
  // Each step returns the next deadline as of its end.
  wake_at_ = result.wake_at ? std::max(*result.wake_at, now + kWakeMsMin) : now + kSecondMs;
  Observe(result);
  result.writes.clear();
  batch.stepped.push_back({.result = std::move(result), .done = std::move(item.done)});
  return Status();
}

Status Core::Take(Batch& batch, LookItem item) {
  batch.looks.push_back(std::move(item));
  return Status();
}

Status Core::Take(Batch& batch, DatasetItem item) {
  RETURN_IF_ERROR(batch.Open(store_));
  RETURN_IF_ERROR(item.removes ? store_.DropDataset(item.dataset.info.name)
                               : store_.PutDataset(item.dataset));
  batch.n_writes += 1;
  batch.datasets.push_back(std::move(item));
  return Status();
}

// A refusal (unknown name, name taken) is a valid answer: the transaction goes on without it.
Status Core::Take(Batch& batch, ModelItem item) {
  RETURN_IF_ERROR(batch.Open(store_));
  item.result = item.removes ? store_.DropModel(item.model.name, batch.counts)
                             : store_.PutModel(item.model, item.files);
  const Code code = item.result.status().code();
  if (!item.result.ok() && code != Code::kNotFound && code != Code::kAlreadyExists) {
    return item.result.status();
  }
  batch.n_writes += 1 + item.files.size();
  batch.models.push_back(std::move(item));
  return Status();
}

Status Core::Take(Batch& batch, AnnotationItem item) {
  RETURN_IF_ERROR(batch.Open(store_));
  RETURN_IF_ERROR(store_.PutAnnotation(item.annotation));
  batch.n_writes += 1;
  batch.annotations.push_back(std::move(item));
  return Status();
}

// A checkpoint or an artifact counts only once all its bytes are in the store.
void Core::MarkStoredBytes(JournalReceived& event) {
  const auto attempt = state_.attempts.find(event.attempt);
  const std::int64_t durable_seq =
      attempt == state_.attempts.end() ? 0 : attempt->second.durable_seq;
  const auto has = [&](const Json& object) {
    const auto sha256 = object.is_object() ? GetString(object, "sha256") : Result<std::string>("");
    return sha256.ok() && artifacts_.Has(*sha256);
  };
  for (BatchRecord& record : event.records) {
    if (record.record.seq <= durable_seq) continue;
    const Json& body = record.record.body;
    // A record that names no bytes need not wait for any: it is stored as it came.
    if (record.record.kind == "artifact") {
      const auto sha256 = GetString(body, "sha256");
      record.bytes_stored = !sha256.ok() || !IsSha256Hex(*sha256) || has(body);
    } else if (record.record.kind == "checkpoint" && IsWholeCheckpoint(body)) {
      record.bytes_stored = has(body);
      for (const Json& file : body["files"]) {
        record.bytes_stored = record.bytes_stored && has(file);
      }
    }
  }
}

namespace {

// Replaces sha256:HEX by STATE/files/HEX, the path where the trainer finds the file that its evaluation
// names (model/evaluation/input_file.h); the trainer checks the content against HEX.
void LocateFile(const std::string& state, Json& evaluation) {
  const Result<const Evaluation*> known = FindEvaluation(evaluation.begin().key());
  if (!known.ok() || (*known)->file_param.empty()) return;
  Json& named = evaluation.begin().value().at(std::string((*known)->file_param));
  named = KeptFilePath(named.get<std::string>(), JoinPath(state, "files"));
}

}  // namespace

void Core::Deliver(const Command& command) {
  std::vector<CheckpointSource> checkpoints;
  if (const auto* start = std::get_if<SendStart>(&command)) {
    for (const auto& reference : {start->task.init, start->task.resume}) {
      if (!reference) continue;
      auto files = store_.CheckpointFiles(reference->sha256);
      if (!files.ok()) {
        // The offer expires, and the next placement makes a new one.
        LogError("checkpoint_files_missing",
                 {{"attempt", start->task.attempt}, {"error", files.status().message()}});
        return;
      }
      checkpoints.push_back({.sha256 = reference->sha256, .files = std::move(files).value()});
    }
  }
  if (std::holds_alternative<SendFenced>(command)) metrics_.CountFenced();
  const SessionId session = std::visit([](const auto& sent) { return sent.session; }, command);
  std::shared_ptr<SessionSink> sink;
  {
    const std::lock_guard lock(sessions_mutex_);
    const auto found = sessions_.find(session);
    if (found == sessions_.end()) return;  // it has ended; the next session sends it again
    sink = found->second;
  }
  if (const auto* start = std::get_if<SendStart>(&command)) {
    // Use the dataset's folder as registered now: it may have moved since the submission.
    SendStart current = *start;
    for (const DatasetRow& dataset : datasets()) {
      if (dataset.info.digest == start->dataset_digest) current.dataset_path = dataset.folder;
    }
    if (current.task.evaluation.is_object()) LocateFile(store_.folder(), current.task.evaluation);
    sink->Deliver(current, checkpoints);
    return;
  }
  sink->Deliver(command, checkpoints);
}

void Core::Observe(const StepResult& result) {
  for (const std::string& warning : result.warnings) LogWarning("peer", {{"what", warning}});
  for (const Write& write : result.writes) {
    const auto* moved = std::get_if<PutTransition>(&write);
    if (moved == nullptr) continue;
    if (moved->subject == "task") {
      ObserveTask(*moved);
      continue;
    }
    const auto attempt = state_.attempts.find(moved->id);
    if (attempt == state_.attempts.end()) continue;
    LogInfo("attempt", {{"attempt", moved->id},
                        {"task", attempt->second.task.substr(0, 8)},
                        {"worker", attempt->second.worker},
                        {"state", moved->to},
                        {"reason", moved->reason}});
    ObserveAttempt(*moved, attempt->second);
  }
}

void Core::ObserveTask(const PutTransition& moved) {
  metrics_.CountTaskTransition(moved.from, moved.to);
  const auto is = [&](TaskState state) { return moved.to == TaskStateName(state); };
  // An offer that nobody accepted changes nothing: the task has been waiting since before it.
  if (is(TaskState::kReady)) {
    ready_at_.try_emplace(moved.id, BootMs());
    return;
  }
  const auto ready = ready_at_.find(moved.id);
  if (ready == ready_at_.end()) return;  // unknown: it was waiting before this process started
  const double seconds = static_cast<double>(BootMs() - ready->second) / 1000;
  const std::string_view kind = TaskKindName(state_.tasks.at(moved.id).kind);
  if (is(TaskState::kReserved)) {
    metrics_.ObserveScheduleLatency(kind, seconds);
    return;
  }
  if (is(TaskState::kRunning)) metrics_.ObserveQueue(kind, seconds);
  ready_at_.erase(ready);
}

void Core::ObserveAttempt(const PutTransition& moved, const Attempt& attempt) {
  if (moved.to == AttemptStateName(AttemptState::kLost)) metrics_.CountLeaseExpiration();
  if (!attempt.failure_class.empty()) {
    metrics_.CountAttemptFailure(attempt.failure_class, attempt.worker);
  }
  if (attempt.duration_clock == DurationClock::kNone) return;
  const std::string_view kind = TaskKindName(state_.tasks.at(attempt.task).kind);
  metrics_.CountAttemptEnd(kind, attempt.failure_class,
                           static_cast<double>(attempt.duration_ms) / 1000);
}

void Core::CountTasks() {
  if (counted_version_ == version_) return;
  counted_version_ = version_;
  std::map<std::pair<TaskKind, TaskState>, std::int64_t> counts;
  for (const auto& [id, task] : state_.tasks) counts[{task.kind, task.state}] += 1;
  for (const TaskKind kind : {TaskKind::kTrain, TaskKind::kEvaluate}) {
    for (int i = 0; i <= static_cast<int>(TaskState::kSkipped); ++i) {
      const auto state = static_cast<TaskState>(i);
      metrics_.SetTasks(TaskKindName(kind), TaskStateName(state), counts[{kind, state}]);
    }
  }
}

void Core::CountWorkers() {
  WorkerCounts counts;
  for (const auto& [id, worker] : state_.workers) {
    if (known_workers_.insert(id).second) metrics_.KnowWorker(id);
    const bool suspect = BootMs() - worker.heard_at > state_.limits.suspect_ms;
    const bool connected = worker.session && !suspect;
    std::int64_t& count = worker.lost       ? counts.gone
                          : !connected      ? counts.silent
                          : worker.draining ? counts.draining
                                            : counts.connected;
    count += 1;
    if (!connected) continue;
    const auto n_slots = static_cast<std::int64_t>(worker.slots.size());
    const auto n_busy = std::min(n_slots, static_cast<std::int64_t>(worker.busy.size()));
    counts.slots_busy += n_busy;
    counts.slots_free += n_slots - n_busy;
  }
  metrics_.SetWorkers(counts);
}

void Core::CountUnplaced() {
  UnplacedCounts counts{.back_off = static_cast<std::int64_t>(state_.index.waiting.size())};
  const bool restore = BootMs() < state_.place_not_before;
  for (const auto& [name, ready] : state_.index.ready) {
    std::int64_t& count = restore                         ? counts.restore
                          : !ready.unfit.empty()          ? counts.unfit
                          : state_.index.sessions.empty() ? counts.no_worker
                                                          : counts.no_free_slot;
    count += static_cast<std::int64_t>(ready.tasks.size());
  }
  metrics_.SetUnplaced(counts);
}

Status Core::EachSecond() {
  second_at_ = BootMs() + kSecondMs;
  RETURN_IF_ERROR(store_.CheckInPlace());
  CountTasks();
  CountWorkers();
  CountUnplaced();
  metrics_.SetStore(store_.Sizes());
  disk_is_low_ = !CheckDiskSpace().ok();
  memory_.GiveBackWhenGrown();
  const bool idle = BootMs() - committed_at_ > kIdleMs;
  if (const Status status = store_.CheckpointWal(idle); !status.ok()) {
    LogWarning("wal_checkpoint_failed", {{"error", status.message()}});
  }
  return Status();
}

}  // namespace longrun
