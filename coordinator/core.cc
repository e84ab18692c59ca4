// See core.h.
#include "coordinator/core.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <memory>
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
#include "coordinator/earlier_results.h"
#include "coordinator/store/disk_room.h"
#include "model/evaluation/evaluation.h"
#include "model/evaluation/input_file.h"
#include "sweeps/evaluated_dataset.h"
#include "sweeps/limits.h"
#include "sweeps/message_size.h"
#include "sweeps/protocol.h"

namespace longrun::coordinator {
namespace {

constexpr std::int64_t kBatchMs = 5;
constexpr std::size_t kBatchWritesMax = 2000;
constexpr std::int64_t kSecondMs = 1000;
constexpr std::int64_t kWakeMsMin = 5;  // the shortest wait, when a deadline has already passed
constexpr int kOfferThreads = 8;  // they wait for disks: one silent server may have many folders
constexpr std::int64_t kSlowFolderMs = 5'000;
constexpr std::int64_t kWarnAgainMs = 60'000;
constexpr std::int64_t kEarlierBytesMax = std::int64_t{4} << 20;  // in one message
constexpr std::int64_t kIdleMs = 10'000;  // after so long without a commit, the WAL is emptied

double SecondsSince(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

std::string_view RemedyOf(const Status& status) {
  // SQLite refused our write: something in the database is not as we left it.
  if (status.code() == Code::kInternal) {
    return "`longrun doctor --deep` lists the damage: restore a backup (docs/operating.md), "
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
  std::vector<WriteItem> writes;
  std::vector<std::int64_t> newest_record_ms;  // of each journal batch, by the trainer's clock
};

Core::Core(Store& store, ArtifactStore& artifacts, Metrics& metrics, CoreOptions options)
    : store_(store),
      artifacts_(artifacts),
      bytes_(artifacts, store.folder(), {.list = options.list_dataset}),
      metrics_(metrics),
      options_(std::move(options)),
      observer_(metrics),
      stored_parts_(std::make_unique<Batch>()),
      offers_(kOfferThreads),
      checks_(/*n_threads=*/1) {}

Result<std::unique_ptr<Core>> Core::Start(Store& store, ArtifactStore& artifacts, Metrics& metrics,
                                          CoreOptions options) {
  if (!options.on_fatal) options.on_fatal = &EndProcess;
  if (!options.disk_free_bytes) {
    options.disk_free_bytes = [&store] { return DiskFreeBytes(store.folder()); };
  }
  std::unique_ptr<Core> core(new Core(store, artifacts, metrics, std::move(options)));
  ASSIGN_OR_RETURN(core->state_, store.Load());
  RETURN_IF_ERROR(core->ReloadDatasets());
  RETURN_IF_ERROR(core->ReloadModels());
  const bool drops_submission = !core->state_.submitting.empty();
  if (drops_submission) {
    LogInfo("submission_dropped",
            {{"sweep", core->state_.submitting},
             {"meaning",
              "the coordinator stopped during this submission, before it was acknowledged; none "
              "of its new tasks has run"},
             {"remedy", "submit the sweep's file again"}});
  }
  const bool ends_order = core->state_.order.has_value();
  if (ends_order) {
    LogInfo("order_continued",
            {{"order", std::string(EnumName(core->state_.order->kind))},
             {"sweep", core->state_.order->sweep_id},
             {"meaning",
              "the coordinator stopped during this order, before all tasks of the sweep "
              "had it; the others have it now"}});
  }
  core->state_.limits = core->options_.limits;
  core->state_.boot = BootId();
  ASSIGN_OR_RETURN(const std::optional<std::int64_t> restored_wall_ms, store.RestoredWallMs());
  core->waits_for_workers_ = restored_wall_ms.has_value();
  if (restored_wall_ms > 0) core->state_.restored_at = FormatWallMs(*restored_wall_ms);
  AfterLoad(core->state_, BootMs(), core->options_.seed, core->waits_for_workers_);
  if (core->waits_for_workers_) {
    LogInfo(
        "backup_restored",
        {{"restored_at", core->state_.restored_at.empty() ? "unknown" : core->state_.restored_at},
         {"restore_count", Str(core->state_.restore_count)},
         {"waits_ms", Str(core->options_.limits.lease_ms)},
         {"meaning", "workers report what they have done since, before any task is placed"}});
  }
  ASSIGN_OR_RETURN(auto reader, StoreReader::Open(store.database_path()));
  // Nothing records across a restart when bytes of a shared store were last asked for.
  const std::string list_path =
      artifacts.is_shared() ? "" : JoinPath(store.folder(), "dropped_artifacts.json");
  core->garbage_ = std::make_unique<GarbageRemover>(
      artifacts, std::move(reader),
      GarbageRemover::Options{
          .is_kept = [raw = core.get()](
                         const std::string& sha256) { return raw->IsNeededInSharedStore(sha256); },
          .list_path = list_path,
          .database = Str(store.coordinator_id(), "/", core->state_.restore_count)});
  core->garbage_->Start();
  // Before the first message of a worker: ends attempts that were found unreadable before
  // they are judged. Before the first submission: drops an unfinished one. Before the
  // first order: ends an unfinished one.
  core->Post(TimePassed{});
  core->thread_ = StartThread([self = core.get()] { self->Run(); });
  // So that nobody sees what is about to be dropped, or half of an order.
  if (drops_submission || ends_order) RETURN_IF_ERROR(core->PostAndWait(TimePassed{}).status);
  return core;
}

bool Core::IsNeededInSharedStore(const std::string& sha256) const {
  return artifacts_.is_shared() && bytes_.IsSource(sha256);
}

Core::~Core() { Stop(); }

void Core::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  offers_.Drop();
  checks_.Drop();
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

Status Core::Await(const std::function<bool(const std::function<void()>& done)>& give) {
  const auto waiter = std::make_shared<Waiter>();
  {
    const std::lock_guard lock(mutex_);
    waiters_.insert(waiter);
  }
  if (!give([this, waiter] { EndWait(waiter, Status()); })) EndWait(waiter, Stopping());
  return waiter->get_future().get();
}

void Core::EndWait(const std::shared_ptr<Waiter>& waiter, Status status) {
  {
    const std::lock_guard lock(mutex_);
    if (waiters_.erase(waiter) == 0) return;  // EndAllWaits was first
  }
  waiter->set_value(std::move(status));
}

void Core::EndAllWaits() {
  std::set<std::shared_ptr<Waiter>> waiters;
  {
    const std::lock_guard lock(mutex_);
    waiters = std::exchange(waiters_, {});
  }
  for (const auto& waiter : waiters) waiter->set_value(Stopping());
}

StepResult Core::PostAndWait(SchedulerEvent event) {
  StepResult answer;
  const Status status = Await([&](const std::function<void()>& done) {
    return Push(EventItem{.event = std::move(event), .done = [&, done](const StepResult& result) {
                            answer = result;
                            done();
                          }});
  });
  if (!status.ok()) answer.status = status;
  return answer;
}

StepResult Core::SubmitInParts(std::vector<SweepSubmitted> parts) {
  StepResult answer;
  const Status status = Await([&](const std::function<void()>& done) {
    {
      const std::lock_guard lock(mutex_);
      LR_CHECK(parts_.empty() && !parts.empty());
      if (stopping_ || stopped_) return false;
      for (SweepSubmitted& part : parts) parts_.push_back({.event = std::move(part), .done = {}});
      parts_.back().done = [&, done](const StepResult& result) {
        answer = result;
        done();
      };
    }
    queued_.notify_one();
    return true;
  });
  if (!status.ok()) answer.status = status;
  return answer;
}

StepResult Core::Order(const std::string& sweep_id, SchedulerEvent event) {
  StepResult all;
  bool is_large = false;
  all.status = LookAndWait([&](const State& state) {
    const auto tasks = state.sweep_tasks.find(sweep_id);
    is_large = tasks != state.sweep_tasks.end() && tasks->second.size() > kTasksOfStep;
  });
  if (!all.status.ok()) return all;
  std::unique_lock lock(orders_mutex_, std::defer_lock);
  if (is_large) lock.lock();
  all = PostAndWait(std::move(event));
  while (all.goes_on) {
    Failpoint("order_step_committed");
    const StepResult next = PostAndWait(OrderContinued{.n_tasks_max = kTasksOfStep});
    if (!next.status.ok()) {
      all.status = next.status;
      return all;
    }
    all.goes_on = next.goes_on;
    all.cancel.cancelled += next.cancel.cancelled;
    all.cancel.stopping += next.cancel.stopping;
    all.pause.held += next.pause.held;
    all.pause.stopping += next.pause.stopping;
    all.submit.tasks_retried += next.submit.tasks_retried;
  }
  return all;
}

// The caller of a submission that is still under way gets an error, and the next start drops it.
void Core::DropParts() {
  std::deque<EventItem> parts;
  {
    const std::lock_guard lock(mutex_);
    parts = std::exchange(parts_, {});
  }
  if (parts.empty()) return;
  StepResult dropped;
  dropped.status = Stopping();
  parts.back().done(dropped);
}

Status Core::LookAndWait(const std::function<void(const State&)>& look) {
  return Await([&](const std::function<void()>& done) {
    return Push(LookItem{[&, done](const State& state) {
      look(state);
      done();
    }});
  });
}

Status Core::WriteAndWait(WriteItem item) {
  return Await([&](const std::function<void()>& done) {
    item.after = [done, reload = std::move(item.after)]() -> Status {
      if (reload) RETURN_IF_ERROR(reload());
      done();
      return Status();
    };
    return Push(std::move(item));
  });
}

// A refusal is an answer: the transaction goes on without it.
Result<bool> Core::ChangeName(std::size_t n_writes,
                              const std::function<Result<NameChange>(ApplyCounts&)>& change,
                              std::function<Status()> reload) {
  NameChange changed;
  RETURN_IF_ERROR(WriteAndWait({.apply = [&](ApplyCounts& counts) -> Status {
                                  ASSIGN_OR_RETURN(changed, change(counts));
                                  return Status();
                                },
                                .after = std::move(reload),
                                .n_writes = n_writes}));
  RETURN_IF_ERROR(changed.refused);
  return changed.done;
}

Result<bool> Core::RegisterDataset(const DatasetRow& dataset, std::int64_t owned_bytes_max) {
  RETURN_IF_ERROR(CheckDiskSpace());
  return ChangeName(
      1, [&](ApplyCounts&) { return store_.PutDataset(dataset, owned_bytes_max); },
      [this] { return ReloadDatasets(); });
}

Status Core::RemoveDataset(const std::string& name) {
  return WriteAndWait({.apply = [&](ApplyCounts&) { return store_.DropDataset(name); },
                       .after = [this] { return ReloadDatasets(); }});
}

Result<bool> Core::RegisterModel(const ModelRow& model, const std::vector<ArtifactFile>& files,
                                 std::int64_t owned_bytes_max) {
  RETURN_IF_ERROR(CheckDiskSpace());
  return ChangeName(
      1 + files.size(),
      [&](ApplyCounts&) { return store_.PutModel(model, files, owned_bytes_max); },
      [this] { return ReloadModels(); });
}

Result<bool> Core::RemoveModel(const std::string& name, ModelBytes bytes) {
  return ChangeName(
      1, [&](ApplyCounts& counts) { return store_.DropModel(name, counts, bytes); },
      [this] { return ReloadModels(); });
}

Status Core::Annotate(const SweepAnnotation& annotation) {
  RETURN_IF_ERROR(CheckDiskSpace());
  return WriteAndWait({.apply = [&](ApplyCounts&) { return store_.PutAnnotation(annotation); }});
}

Status Core::Write(const std::function<Status(Store&)>& write) {
  return WriteAndWait({.apply = [&](ApplyCounts&) { return write(store_); }});
}

void Core::PostWrite(std::function<Status(Store&)> write) {
  Push(WriteItem{.apply = [this, write = std::move(write)](ApplyCounts&) { return write(store_); },
                 .after = [] { return Status(); }});
}

Status Core::ReloadDatasets() {
  ASSIGN_OR_RETURN(std::vector<DatasetRow> datasets, store_.LoadDatasets());
  std::vector<std::string> folders;
  for (const DatasetRow& dataset : datasets) folders.push_back(dataset.folder);
  bytes_.SetDatasetFolders(std::move(folders));
  auto shared = std::make_shared<const std::vector<DatasetRow>>(std::move(datasets));
  const std::lock_guard lock(mutex_);
  datasets_ = std::move(shared);
  return Status();
}

Status Core::ReloadModels() {
  ASSIGN_OR_RETURN(std::vector<ModelRow> models, store_.LoadModels());
  const std::lock_guard lock(mutex_);
  models_ = std::move(models);
  return Status();
}

std::shared_ptr<const std::vector<DatasetRow>> Core::shared_datasets() const {
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
    sink->Close(reason);
  }
}

Status Core::CheckDiskSpace() const {
  ASSIGN_OR_RETURN(const std::int64_t n_free, options_.disk_free_bytes());
  if (n_free >= options_.disk_low_water_bytes) return Status();
  return Status(
      Code::kResourceExhausted,
      Str(LowDiskText(Str("the state folder ", store_.folder()), options_.disk_low_water_bytes),
          ", so nothing new is stored: ", kMakeRoom, ", then try again"));
}

Status Core::CheckDiskSpaceIfLow() const { return disk_is_low_ ? CheckDiskSpace() : Status(); }

// ---- the core's thread --------------------------------------------------------------------------

bool Core::IsStopping() const {
  const std::lock_guard lock(mutex_);
  return stopping_;
}

std::deque<Core::Item> Core::TakeQueue() {
  std::unique_lock lock(mutex_);
  while (queue_.empty() && parts_.empty() && !stopping_) {
    const Instant until = store_.is_momentary() ? second_at_ : std::min(wake_at_, second_at_);
    const Instant now = BootMs();
    if (now >= until) break;
    queued_.wait_for(lock, std::chrono::milliseconds(until - now));
  }
  return std::exchange(queue_, {});
}

void Core::Run() {
  while (true) {
    std::deque<Item> items = TakeQueue();
    Status status;
    if (items.empty() && IsStopping()) {
      DropParts();
      status = FinishParts();
      const std::lock_guard lock(mutex_);
      if (status.ok() && queue_.empty()) {
        stopped_ = true;
        return;
      }
    }
    const Instant now = BootMs();
    if (!store_.is_momentary() && (now >= second_at_ || now >= wake_at_)) {
      items.push_back(EventItem{.event = TimePassed{}, .done = nullptr});
    }
    while (status.ok() && !items.empty()) status = RunBatch(items);
    if (status.ok()) status = RunPart();
    if (status.ok() && now >= second_at_) status = EachSecond();
    if (status.ok()) continue;
    store_.Rollback();
    // If the folder is gone, SQLite's error names only what it failed on first.
    if (Status gone = store_.CheckInPlace(); !gone.ok()) status = std::move(gone);
    {
      const std::lock_guard lock(mutex_);
      stopped_ = true;
      queue_.clear();
      parts_.clear();
    }
    options_.on_fatal(status);
    EndAllWaits();  // only a test comes here
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
  return Finish(batch);
}

// One part, between what others ask. What only looks at the state does not wait for a commit of
// parts, since nothing is promised of them before the last one. So parts are committed with the
// last one, before anybody else's transaction, and if a step also orders something: each commit
// writes most pages of the indexes again, whose keys are digests.
Status Core::RunPart() {
  std::optional<EventItem> part;
  bool is_last = false;
  {
    const std::lock_guard lock(mutex_);
    if (parts_.empty()) return Status();
    part = std::move(parts_.front());
    parts_.pop_front();
    is_last = parts_.empty();
  }
  if (!stored_parts_->in_transaction) {
    // Others may make parts commit many times a second, with most pages of the indexes each time.
    if (store_.IsWalLarge()) CheckpointWal();
    RETURN_IF_ERROR(store_.KeepPages(PageCache::kForParts));
  }
  RETURN_IF_ERROR(Take(*stored_parts_, std::move(*part)));
  Failpoint("part_stored");
  if (is_last || !stored_parts_->stepped.back().result.commands.empty()) {
    RETURN_IF_ERROR(FinishParts());
  }
  return is_last ? store_.KeepPages(PageCache::kUsual) : Status();
}

Status Core::FinishParts() {
  Batch batch = std::exchange(*stored_parts_, Batch());
  if (batch.stepped.empty()) return Status();
  // The metric of commits does not count the time in between, when others were served.
  batch.begun = std::chrono::steady_clock::now();
  RETURN_IF_ERROR(Finish(batch));
  Failpoint("parts_committed");
  return Status();
}

Status Core::Open(Batch& batch) {
  if (batch.in_transaction) return Status();
  if (&batch != stored_parts_.get()) RETURN_IF_ERROR(FinishParts());
  batch.begun = std::chrono::steady_clock::now();
  RETURN_IF_ERROR(store_.Begin());
  batch.in_transaction = true;
  return Status();
}

Status Core::Finish(Batch& batch) {
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
    if (!batch.counts.dropped.empty()) garbage_->AddDropped(batch.counts.dropped);
    committed_at_ = BootMs();
    version_ += 1;
  }
  for (Stepped& stepped : batch.stepped) {
    for (const Command& command : stepped.result.commands) {
      std::visit([this](const auto& one) { Deliver(one); }, command);
    }
    for (const std::string& sha256 : stepped.result.doubtful_checkpoints) CheckCheckpoint(sha256);
    auto leftover = std::exchange(stepped.result.leftover, nullptr);
    if (stepped.done) stepped.done(stepped.result);
    // Only now: others have waited for the commit, which need not share a processor with this.
    if (leftover) offers_.Post({}, [leftover = std::move(leftover)] {});
  }
  for (const WriteItem& item : batch.writes) RETURN_IF_ERROR(item.after());
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
    RETURN_IF_ERROR(Open(batch));
    RETURN_IF_ERROR(store_.Apply(result.writes, wall_ms, batch.counts));
    batch.n_writes += result.writes.size();
  }
  // Each step returns the next deadline as of its end.
  wake_at_ = result.wake_at ? std::max(*result.wake_at, now + kWakeMsMin) : now + kSecondMs;
  observer_.See(state_, result);
  result.writes.clear();
  batch.stepped.push_back({.result = std::move(result), .done = std::move(item.done)});
  return Status();
}

Status Core::Take(Batch& batch, LookItem item) {
  batch.looks.push_back(std::move(item));
  return Status();
}

Status Core::Take(Batch& batch, WriteItem item) {
  RETURN_IF_ERROR(Open(batch));
  RETURN_IF_ERROR(item.apply(batch.counts));
  batch.n_writes += item.n_writes;
  batch.writes.push_back(std::move(item));
  return Status();
}

// A checkpoint or an artifact counts only once all its bytes are in the store.
void Core::MarkStoredBytes(JournalReceived& event) {
  std::int64_t durable_seq = 0;  // of an attempt that is yet to be adopted
  if (const auto attempt = state_.attempts.find(event.attempt); attempt != state_.attempts.end()) {
    const auto worker = state_.index.sessions.find(event.session);
    const bool is_its_own = worker != state_.index.sessions.end() &&
                            worker->second == attempt->second.worker &&
                            event.epoch == attempt->second.epoch;
    if (!is_its_own) return;  // nothing of it will be stored
    durable_seq = attempt->second.durable_seq;
  }
  for (BatchRecord& batch : event.records) {
    if (batch.record.seq <= durable_seq) continue;
    // A record that names no bytes need not wait for any: it is stored as it came.
    if (const auto* const artifact = batch.record.As<ArtifactRecord>()) {
      batch.bytes_stored = artifacts_.MayBeReferredTo(artifact->sha256);
    } else if (const auto* const checkpoint = batch.record.As<CheckpointRecord>();
               checkpoint != nullptr && checkpoint->is_whole) {
      batch.bytes_stored = artifacts_.MayBeReferredTo(checkpoint->sha256) &&
                           std::ranges::all_of(*checkpoint->files, [&](const ArtifactFile& file) {
                             return artifacts_.MayBeReferredTo(file.sha256);
                           });
    }
  }
}

void Core::CheckCheckpoint(const std::string& sha256) {
  // All evaluations of a run may fail together, and again when they are tried again: because of a
  // dataset, for example.
  constexpr std::int64_t kAgainMs = 3'600'000;
  const std::int64_t now = BootMs();
  std::erase_if(checked_at_, [&](const auto& one) { return one.second + kAgainMs <= now; });
  if (!checked_at_.emplace(sha256, now).second) return;
  auto files = store_.CheckpointFiles(sha256);
  if (!files.ok()) {
    LogWarning("checkpoint_not_checked",
               {{"checkpoint", sha256}, {"error", files.status().message()}});
    return;
  }
  checks_.Post({},
               [this, sha256, files = std::move(files).value()] { NoteDamaged(sha256, files); });
}

void Core::NoteDamaged(const std::string& checkpoint, const std::vector<ArtifactFile>& files) {
  const auto go_on = [this] { return IsStopping() ? Stopping() : Status(); };
  for (const ArtifactFile& file : files) {
    const Result<bool> is_damaged = artifacts_.NoteIfDamaged(file.sha256, go_on);
    if (is_damaged.status().code() == Code::kNotFound) continue;
    if (!is_damaged.ok()) {
      LogWarning("checkpoint_not_checked",
                 {{"checkpoint", checkpoint}, {"error", is_damaged.status().message()}});
      return;
    }
    if (!*is_damaged) continue;
    LogError("artifact_damaged",
             {{"sha256", file.sha256},
              {"checkpoint", checkpoint},
              {"file", file.name},
              {"meaning",
               "an attempt could not start from this checkpoint; the file is stored again when a "
               "worker writes the checkpoint again, or when the model is imported again"},
              {"remedy",
               "look at the disk of the artifact store; `longrun doctor --deep` names the run that "
               "`longrun retry` trains again"}});
  }
}

namespace {

// For a worker on this machine that does not get files by digest: replaces sha256:HEX by
// STATE/files/HEX, the path where the trainer finds a file that its evaluation names
// (model/evaluation/input_file.h); the trainer checks the content against HEX.
void LocateFiles(const std::string& state, Json& evaluation) {
  for (Json* const file : InputFilesOf(evaluation)) {
    *file = KeptFilePath(file->get<std::string>(), JoinPath(state, "files"));
  }
}

// The bytes of a task's results in its JSON; 0 for a task that fits in any case. Counts them one by
// one: all together, those of a task of an earlier release may need more memory than there is.
std::int64_t CellBytes(const TaskFile& task) {
  std::int64_t n_bytes = 0;
  if (std::ssize(task.expected_cells) <= kTaskResultsMax) return n_bytes;
  for (const ExpectedCell& cell : task.expected_cells) {
    n_bytes += std::ssize(CanonicalJson(cell.ToJson())) + 1;
  }
  return n_bytes;
}

}  // namespace

// Of the folders as registered now: datasets may have moved since the submission. One content may
// be registered under several names, of which some have moved.
std::string Core::RegisteredFolder(const std::string& digest) const {
  std::string folder;
  const std::shared_ptr<const std::vector<DatasetRow>> datasets = shared_datasets();
  for (const DatasetRow& dataset : *datasets) {
    if (dataset.info.digest != digest) continue;
    if (folder.empty() || !PathExists(folder)) folder = dataset.folder;
  }
  return folder;
}

// Over the network, a path of this machine is of no use, so its log has the details.
void Core::NameSources(Offer& offer) const {
  const SendStart& start = offer.start;
  const TaskFile& task = start.task;
  const bool over_network = offer.over_network;
  StartMessage& message = offer.message;
  std::set<std::string> digests = {message.dataset_digest};
  if (const auto read = EvaluatedDatasetOf(task.evaluation)) digests.insert(read->digest);
  for (const std::string& digest : digests) {
    DatasetSource source{.digest = digest, .files = {}};
    const std::string folder = RegisteredFolder(digest);
    if (!over_network) source.folder = folder;
    if (folder.empty()) {
      source.problem =
          "no dataset with this digest is registered: import it again (`longrun data import`)";
      // The folder of the submission may still hold it.
      if (!over_network && digest == start.dataset_digest) source.folder = start.dataset_path;
    } else if (Result<DatasetListing> listing = bytes_.List(folder); !listing.ok()) {
      LogWarning("dataset_not_listed", {{"digest", digest}, {"error", listing.status().message()}});
      source.problem = over_network ? std::string(
                                          "the coordinator cannot read it: `longrun data "
                                          "verify` on its machine says what is damaged")
                                    : listing.status().message();
    } else if (listing->digest != digest) {
      source.problem =
          Str(over_network ? std::string("its registered folder") : Str("the folder ", folder),
              " now holds the dataset ", listing->digest,
              ": import this one again, or register its new place (`longrun data register`)");
    } else {
      source.files = std::move(listing->files);
    }
    message.datasets.push_back(std::move(source));
  }
  Json evaluation = task.evaluation;
  for (const Json* const file : InputFilesOf(evaluation)) {
    const std::string id = file->get<std::string>();
    message.input_files.push_back(bytes_.InputFile(id));
  }
}

void Core::Deliver(const SendStart& start) {
  const TaskFile& task = start.task;
  StartMessage message = {.attempt = task.attempt,
                          .epoch = task.epoch,
                          .device_index = static_cast<int>(start.device_index),
                          .task_json = {},
                          .dataset_digest = start.dataset_digest,
                          .dataset_path = {},
                          .checkpoints = {}};
  for (const auto& reference : {task.init, task.resume}) {
    if (!reference) continue;
    auto files = store_.CheckpointFiles(reference->sha256);
    if (!files.ok()) {
      LogError("checkpoint_files_missing",
               {{"attempt", task.attempt}, {"error", files.status().message()}});
      const Code code = files.status().code();
      // The offer expires, and the next one may be complete.
      if (code != Code::kNotFound && code != Code::kDataLoss) return;
      // Each offer would fail so. The attempt ends as it does where a checkpoint's bytes are
      // damaged: an earlier checkpoint is tried, or the task fails.
      return Post(AttemptRejected{.session = start.session,
                                  .attempt = task.attempt,
                                  .epoch = task.epoch,
                                  .failure_class = std::string(FailureOf(FailureClass::kData).name),
                                  .reason = Str("the files of the checkpoint that it starts from "
                                                "cannot be read from the database: ",
                                                files.status().message())});
    }
    message.checkpoints.push_back({.sha256 = reference->sha256, .files = std::move(files).value()});
  }
  const auto id = state_.index.sessions.find(start.session);
  if (id == state_.index.sessions.end()) return;  // it has ended since
  const Worker& worker = state_.workers.at(id->second);
  const auto offer = std::make_shared<Offer>(Offer{.start = start,
                                                   .by_digest = GetsByDigest(worker),
                                                   .over_network = worker.over_network,
                                                   .message = std::move(message),
                                                   .earlier = EarlierEpochs(task, worker)});
  std::set<std::string> digests = {start.dataset_digest};
  if (const auto read = EvaluatedDatasetOf(task.evaluation)) digests.insert(read->digest);
  offers_.Post(std::move(digests), [this, offer] {
    Complete(*offer);
    Look([this, offer](const State& state) { Send(state, *offer); });
  });
}

// While an evaluation is measured again, the rows that still count, and those before them, are what
// is to be replaced.
std::optional<EpochRange> Core::EarlierEpochs(const TaskFile& task, const Worker& worker) const {
  const bool takes = worker.capabilities.contains(std::string(kEarlierResultsCapability));
  if (task.kind != TaskKind::kEvaluate || !takes) return std::nullopt;
  const Task& of_state = state_.tasks.at(task.task);
  if (of_state.attempts < 2) return std::nullopt;
  const auto counting = state_.attempts.find(of_state.result_attempt);
  const std::uint64_t after = counting == state_.attempts.end() ? 0 : counting->second.epoch;
  return EpochRange{.after = after, .before = task.epoch};
}

std::vector<EarlierResults> Core::ReadEarlier(const TaskFile& task,
                                              const EpochRange& epochs) const {
  const auto read = [&]() -> Result<std::vector<EarlierLines>> {
    ASSIGN_OR_RETURN(const auto reader, StoreReader::Open(store_.database_path()));
    return reader->EarlierLinesOf(task.task, epochs, kEarlierBytesMax);
  };
  const Result<std::vector<EarlierLines>> lines = read();
  if (!lines.ok()) {
    LogWarning("earlier_results_not_read",
               {{"attempt", task.attempt},
                {"error", lines.status().message()},
                {"meaning", "this evaluation measures again what it has measured"}});
    return {};
  }
  // In a shared store, a record may refer only to bytes that this process has read.
  return ReadEarlierResults(*lines, [this](const ArtifactRecord& file) {
    const auto go_on = [this] { return IsStopping() ? Stopping() : Status(); };
    return artifacts_.MayBeReferredTo(file.sha256) ||
           artifacts_.Adopt(file.sha256, file.n_bytes, go_on).ok();
  });
}

namespace {

// Adds results as long as they fit; the trainer measures the others again.
void AddEarlier(std::vector<EarlierResults> earlier, std::int64_t room_bytes, TaskFile& task) {
  for (EarlierResults& one : earlier) {
    EarlierResults fitting = {.attempt = one.attempt, .measured_with = one.measured_with};
    room_bytes -= std::ssize(CanonicalJson(fitting.ToJson()));
    for (EarlierResult& result : one.results) {
      room_bytes -= std::ssize(CanonicalJson(result.ToJson())) + 1;
      if (room_bytes < 0) break;
      fitting.results.push_back(std::move(result));
    }
    if (!fitting.results.empty()) task.earlier.push_back(std::move(fitting));
  }
}

}  // namespace

void Core::Complete(Offer& offer) const {
  TaskFile& task = offer.start.task;
  StartMessage& message = offer.message;
  if (offer.by_digest) {
    NameSources(offer);
  } else {
    message.dataset_path = RegisteredFolder(offer.start.dataset_digest);
    if (message.dataset_path.empty()) message.dataset_path = offer.start.dataset_path;
    if (std::optional<EvaluatedDataset> read = EvaluatedDatasetOf(task.evaluation)) {
      read->path = RegisteredFolder(read->digest);
      task.evaluation = WithEvaluatedDataset(std::move(task.evaluation), *read);
    }
    LocateFiles(store_.folder(), task.evaluation);
  }
  const std::int64_t n_cell_bytes = CellBytes(task);
  if (n_cell_bytes <= kSessionMessageBytesMax) message.task_json = CanonicalJson(task.ToJson());
  const std::int64_t n_bytes = std::max(n_cell_bytes, WireBytesMax(message));
  if (n_bytes <= kSessionMessageBytesMax) {
    constexpr std::int64_t kMemberBytesMax = 1024;
    if (!offer.earlier) return;
    AddEarlier(ReadEarlier(task, *offer.earlier),
               std::min(kEarlierBytesMax, kSessionMessageBytesMax - n_bytes - kMemberBytesMax),
               task);
    if (task.earlier.empty()) return;
    std::string with_earlier = CanonicalJson(task.ToJson());
    // What is nested as deep as a line may be is nested deeper in a task.
    if (ParseJson(with_earlier).ok()) message.task_json = std::move(with_earlier);
    return;
  }
  offer.too_large =
      2 * n_cell_bytes > n_bytes
          ? Str("its ", task.expected_cells.size(), " results take ", n_cell_bytes,
                " bytes, but a worker gets a task in one message of at most ",
                kSessionMessageBytesMax,
                " bytes: measure fewer context lengths or depths, or divide the context lengths "
                "among several sweeps")
          : Str("the lists of the files that it reads take most of ", n_bytes,
                " bytes, but a worker gets a task in one message of at most ",
                kSessionMessageBytesMax,
                " bytes: make its dataset or its checkpoint of fewer and larger files");
}

void Core::Send(const State& state, Offer& offer) {
  const auto attempt = state.attempts.find(offer.message.attempt);
  if (attempt == state.attempts.end() || attempt->second.state != AttemptState::kOffered) return;
  // Since the offer was made, its task may have been cancelled or paused, or its worker drained:
  // the worker has got its Stop already.
  if (state.tasks.at(attempt->second.task).state != TaskState::kReserved) return;
  // The session would end with this message, and so would all later ones of the worker.
  if (!offer.too_large.empty()) {
    return Post(
        AttemptRejected{.session = offer.start.session,
                        .attempt = offer.message.attempt,
                        .epoch = offer.message.epoch,
                        .failure_class = std::string(FailureOf(FailureClass::kInvalid).name),
                        .reason = std::move(offer.too_large)});
  }
  const std::shared_ptr<SessionSink> sink = FindSession(offer.start.session);
  if (sink != nullptr) sink->Send(std::move(offer.message));
}

void Core::Deliver(const SendMessage& command) {
  if (std::holds_alternative<FencedMessage>(command.message)) metrics_.CountFenced();
  const std::shared_ptr<SessionSink> sink = FindSession(command.session);
  if (sink == nullptr) return;
  DownMessage message = command.message;
  if (auto* const welcome = std::get_if<WelcomeMessage>(&message)) {
    welcome->capabilities = OwnCapabilities();
    welcome->coordinator_id = store_.coordinator_id();
    welcome->boot_epoch = store_.boot_epoch();
    welcome->heartbeat_ms = options_.limits.heartbeat_ms;
    welcome->lease_ms = options_.limits.lease_ms;
    welcome->shares_artifacts = options_.shares_artifacts;
  }
  sink->Send(std::move(message));
}

void Core::Deliver(const CloseSession& command) {
  const std::shared_ptr<SessionSink> sink = FindSession(command.session);
  if (sink != nullptr) sink->Close(command.reason);
}

std::shared_ptr<SessionSink> Core::FindSession(SessionId session) const {
  const std::lock_guard lock(sessions_mutex_);
  const auto found = sessions_.find(session);
  return found == sessions_.end() ? nullptr : found->second;
}

void Core::NoteSilentFolders() {
  const std::vector<std::string> slow = offers_.SlowKeys(kSlowFolderMs);
  const std::set<std::string> silent(slow.begin(), slow.end());
  if (silent != state_.silent_datasets) Post(DatasetsSilent{.digests = silent}, nullptr);
  if (BootMs() < warn_of_folders_at_) return;
  for (const std::string& digest : silent) {
    warn_of_folders_at_ = BootMs() + kWarnAgainMs;
    LogWarning("dataset_folder_silent",
               {{"digest", digest},
                {"meaning",
                 "the disk of this dataset's folder does not answer; tasks that do not "
                 "read the dataset go on"},
                {"remedy", "`longrun data ls` names the folder: look at the file system there"}});
  }
}

void Core::CheckpointWal() {
  const bool idle = BootMs() - committed_at_ > kIdleMs;
  const Status status = store_.CheckpointWal(idle);
  if (!status.ok()) LogWarning("wal_checkpoint_failed", {{"error", status.message()}});
}

Status Core::EachSecond() {
  second_at_ = BootMs() + kSecondMs;
  RETURN_IF_ERROR(store_.CheckInPlace());
  RETURN_IF_ERROR(artifacts_.CheckInPlace());
  // Workers cannot report to a momentary coordinator: the wait for them ends in a service only.
  const bool may_end_wait = !store_.is_momentary() && BootMs() >= state_.place_not_before;
  if (waits_for_workers_ && may_end_wait) {
    RETURN_IF_ERROR(FinishParts());
    RETURN_IF_ERROR(store_.Begin());
    RETURN_IF_ERROR(store_.ForgetRestored());
    RETURN_IF_ERROR(store_.Commit());
    waits_for_workers_ = false;
  }
  observer_.Count(state_, version_);
  metrics_.SetStore(store_.Sizes());
  disk_is_low_ = !CheckDiskSpace().ok();
  if (disk_is_low_ || artifacts_.LacksRoom()) garbage_->MakeRoom();
  NoteSilentFolders();
  memory_.GiveBackWhenGrown();
  if (!stored_parts_->in_transaction) CheckpointWal();
  return Status();
}

}  // namespace longrun::coordinator
