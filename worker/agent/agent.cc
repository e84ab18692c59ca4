// The agent's loop and its decisions.
#include "worker/agent/agent.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <system_error>

#include "base/checked_line.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/folder_size.h"
#include "base/hash.h"
#include "base/host_name.h"
#include "base/json.h"
#include "base/log.h"
#include "base/process.h"
#include "base/shared_objects.h"
#include "base/shortage.h"
#include "base/str.h"
#include "base/units.h"
#include "base/version.h"
#include "model/evaluation/evaluation.h"
#include "sweeps/evaluated_dataset.h"
#include "sweeps/failure.h"
#include "sweeps/protocol.h"
#include "sweeps/worker_folder.h"
#include "sweeps/worker_id.h"
#include "worker/agent/datasets.h"
#include "worker/agent/garbage.h"
#include "worker/agent/refusal.h"

namespace longrun::agent {
namespace {

constexpr std::int64_t kPollMs = 20;  // while there is a journal to read
constexpr std::int64_t kIdleMsMax = 1000;
constexpr std::int64_t kFencedGraceMs = 20'000;
constexpr std::size_t kInFlightBytesMax = 4u << 20;
constexpr std::size_t kLogQueueBytesMax = 1u << 20;  // no log pieces while more than this waits
constexpr std::int64_t kTransferAgainMs = 1000;
constexpr int kFoldersMeasuredAtOnce = 200;  // of ended attempts: the folder may be on a slow disk
constexpr std::int64_t kSharingMs = 30'000;  // then, the shared folder is not waited for
constexpr std::int64_t kSharingLookMs = 50;
constexpr int kPrepareTriesMax = 30;
constexpr std::int64_t kRetentionEveryMs = 60'000;
constexpr std::int64_t kSecondMs = 1000;
constexpr std::int64_t kLastWaitMs = 5000;   // for trainers that got SIGKILL when we stop
constexpr std::int64_t kDrainWaitMs = 1000;  // for the coordinator to learn that we are leaving
constexpr int kUploadThreads = 2;
constexpr int kFetchThreads = 4;
constexpr std::size_t kListedMax = 5'000;  // attempts in a Hello; the coordinator accepts 10,000

std::string OwnHost() {
  const std::string name = HostName();
  return name.empty() ? "worker" : name;
}

// Written by each start that had a coordinator to connect to.
std::string MetricsPath(const std::string& state) { return JoinPath(state, "worker.metrics"); }

// Whether the folder's worker may get another id: all its starts ended before it had a coordinator,
// so a coordinator that knows the id has never seen the worker.
Result<bool> NeverCame(const std::string& state) {
  if (HasJoined(state) || PathExists(MetricsPath(state))) return false;
  ASSIGN_OR_RETURN(const std::vector<std::string> attempts, ListFolder(AttemptsFolder(state)));
  return attempts.empty();
}

// The folder's worker id; a new folder gets `wanted`, or an id made from the host's name.
Result<std::string> WorkerId(const std::string& state, const std::string& wanted,
                             SeededRandom& random) {
  const std::string path = JoinPath(state, "worker_id");
  if (!wanted.empty() && !IsSafeName(wanted)) {
    return Status(Code::kInvalidArgument,
                  Str("--id \"", wanted, "\": expected letters, digits, '.', '_', '-'"));
  }
  if (PathExists(path)) {
    ASSIGN_OR_RETURN(const std::string id, ReadWorkerId(path));
    if (wanted.empty() || wanted == id) return id;
    ASSIGN_OR_RETURN(const bool never_came, NeverCame(state));
    if (!never_came) {
      return Status(Code::kFailedPrecondition,
                    Str("the folder ", state, " belongs to worker ", id, ", not ", wanted,
                        ": leave --id out, or choose another folder"));
    }
  }
  std::string id = wanted;
  if (id.empty()) {
    const std::string ulid = MakeUlid(WallMs(), random);
    id = Str(OwnHost().substr(0, 64), "-", ulid.substr(ulid.size() - 6));
    if (!IsSafeName(id)) id = Str("worker-", ulid.substr(ulid.size() - 6));
  }
  RETURN_IF_ERROR(WriteFileAtomic(path, WorkerIdText(id)));
  return id;
}

// The folder's own id, which a new folder gets: with the same worker id, another folder is another
// worker. "" if the id of an older folder is damaged or missing: the coordinator then cannot know
// that the folder is the same, and the next start of the worker has a new id.
Result<std::string> FolderId(const std::string& state, bool is_new, SeededRandom& random) {
  const std::string path = JoinPath(state, "folder_id");
  if (PathExists(path)) {
    Result<std::string> id = ReadFolderId(path);
    if (id.ok() || id.status().code() != Code::kDataLoss) return id;
    LogWarning("folder_id_damaged", {{"file", path}, {"done", "replaced by a new one"}});
  }
  std::string id = MakeUlid(WallMs(), random);
  RETURN_IF_ERROR(WriteFileAtomic(path, CheckedLine(id)));
  return is_new ? id : "";
}

// When trainers are asked to stop: after their grace time, there is as much again for storing what
// they have written.
std::int64_t WorkEndMs(std::int64_t end_ms, std::int64_t grace_ms) { return end_ms - 2 * grace_ms; }

std::string ShortId(const std::string& task) { return task.substr(0, 8); }

Result<DiskSpace> DiskSpaceAt(const std::string& folder) {
  ASSIGN_OR_RETURN(const std::int64_t n_free, DiskFreeBytes(folder));
  ASSIGN_OR_RETURN(const std::int64_t n_bytes, DiskBytes(folder));
  return DiskSpace{.free_bytes = n_free, .bytes = n_bytes};
}

}  // namespace

Agent::Agent(AgentOptions options, FileLock lock)
    : options_(std::move(options)), lock_(std::move(lock)), random_(EntropySeed()) {}

Agent::~Agent() {
  artifacts_.Cancel();
  upkeep_.reset();
  fetches_.reset();
  uploads_.reset();
  link_.reset();
}

Result<std::unique_ptr<Agent>> Agent::Create(AgentOptions options) {
  if (IsFolder(options.trainer)) {
    return Status(
        Code::kInvalidArgument,
        Str("the trainer ", options.trainer,
            " is a folder: give --trainer (or LONGRUN_WORKER_TRAINER) the program, such as ",
            JoinPath(options.trainer, "longrun-trainer")));
  }
  if (access(options.trainer.c_str(), X_OK) != 0) {
    return ErrnoStatus(errno, Str("the trainer ", options.trainer,
                                  " cannot be run (use --trainer to name another)"));
  }
  ASSIGN_OR_RETURN(options.trainer, AbsolutePath(options.trainer));  // trainers run elsewhere
  ASSIGN_OR_RETURN(options.state, AbsolutePath(options.state));
  RETURN_IF_ERROR(MakeFolders(options.state, 0700));
  if (chmod(options.state.c_str(), 0700) != 0) {
    return ErrnoStatus(errno, Str("cannot make ", options.state, " private"));
  }
  if (options.cache_bytes == 0) options.cache_bytes = DefaultCacheBytes(options.state);
  if (!options.shared_artifacts.empty()) {
    ASSIGN_OR_RETURN(options.shared_artifacts, AbsolutePath(options.shared_artifacts));
  }
  const std::string lock_path = WorkerLockPath(options.state);
  ASSIGN_OR_RETURN(FileLock lock, FileLock::Acquire(lock_path, Str("a worker in ", options.state)));
  std::unique_ptr<Agent> agent(new Agent(std::move(options), std::move(lock)));
  ASSIGN_OR_RETURN(agent->held_lock_, HeldFile::Open(lock_path));
  const std::string& state = agent->options_.state;
  RETURN_IF_ERROR(MakeFolders(JoinPath(state, "datasets")));
  RETURN_IF_ERROR(MakeFolders(AttemptsFolder(state)));
  ASSIGN_OR_RETURN(agent->cache_,
                   Cache::Open({.folder = JoinPath(state, "cache"),
                                .bytes_max = agent->options_.cache_bytes,
                                .disk_free_bytes_min = agent->options_.disk_free_bytes_min}));
  const bool is_new_folder = !PathExists(JoinPath(state, "worker_id"));
  ASSIGN_OR_RETURN(agent->worker_id_, WorkerId(state, agent->options_.worker_id, agent->random_));
  ASSIGN_OR_RETURN(agent->folder_id_, FolderId(state, is_new_folder, agent->random_));
  ASSIGN_OR_RETURN(CoordinatorChannel coordinator, agent->Connect());
  agent->artifacts_.Connect(coordinator, agent->worker_id_);
  agent->link_ = std::make_unique<Link>(
      std::move(coordinator),
      Link::Hooks{.post = [raw = agent.get()](
                              std::function<void()> closure) { raw->Post(std::move(closure)); },
                  .on_message =
                      [raw = agent.get()](const DownMessage& message) {
                        std::visit([raw](const auto& m) { raw->On(m); }, message);
                      },
                  .on_unreached =
                      [raw = agent.get()] {
                        if (raw->membership_ != nullptr) raw->membership_->LookWhyUnreached();
                      }},
      SeededRandom(EntropySeed()));
  agent->incarnation_ = MakeUlid(WallMs(), agent->random_);
  ASSIGN_OR_RETURN(Devices devices,
                   DetectDevices(agent->options_.cpu_slots, agent->options_.trainer));
  agent->devices_ = std::move(devices.slots);
  agent->gpus_ = std::move(devices.gpus);
  ASSIGN_OR_RETURN(agent->metrics_, WorkerMetrics::Serve(agent->options_.metrics, state,
                                                         agent->devices_, agent->gpus_));
  RETURN_IF_ERROR(agent->AdoptAttempts());
  agent->NoteCacheUsers();
  agent->disk_.emplace(DiskRoomOptions{.folder = state,
                                       .free_bytes_min = agent->options_.disk_free_bytes_min,
                                       .look = [state] { return DiskSpaceAt(state); },
                                       .start_freeing = [raw = agent.get()] { raw->FreeDisk(); }});
  if (!agent->disk_->Now().ok()) agent->cache_->Trim();
  agent->disk_->Freed();
  // Behind the trim, which makes room on a full disk. Tools read the file; the worker does not
  // need it.
  const std::string metrics_path = MetricsPath(state);
  if (const Status written = WriteFileAtomic(metrics_path, agent->metrics_->address() + "\n");
      !written.ok()) {
    LogWarning("metrics_address_not_written", {{"error", written.message()}});
  }
  agent->busy_at_ms_ = BootMs();
  if (const auto& temporary = agent->options_.temporary; temporary && temporary->end_wall_ms) {
    agent->end_ms_ = BootMs() + *temporary->end_wall_ms - WallMs();
  }
  agent->uploads_ = std::make_unique<JobThreads>(kUploadThreads);
  agent->fetches_ = std::make_unique<JobThreads>(kFetchThreads);
  agent->upkeep_ = std::make_unique<JobThreads>(1);
  const Slot& device = agent->devices_.front();
  LogInfo("worker_started", {{"id", agent->worker_id_},
                             {"state", state},
                             {"coordinator", agent->options_.coordinator},
                             {"slots", Str(agent->devices_.size())},
                             {"device", Str(EnumName(device.kind), ":", device.name)},
                             {"memory_bytes", Str(device.memory_bytes)},
                             {"threads", Str(device.threads)},
                             {"simd", device.simd},
                             {"cache_bytes", Str(agent->options_.cache_bytes)},
                             {"trainer", agent->options_.trainer},
                             {"metrics", agent->metrics_->address()}});
  return agent;
}

Result<CoordinatorChannel> Agent::Connect() {
  if (options_.coordinator.starts_with("unix:")) return ConnectTo(options_.coordinator);
  ASSIGN_OR_RETURN(const HostPort place, ParseHostPort(options_.coordinator));
  ASSIGN_OR_RETURN(membership_,
                   Membership::Enter(options_.state, place, worker_id_, options_.join));
  return membership_->coordinator();
}

Status Agent::AdoptAttempts() {
  const std::string folder = AttemptsFolder(options_.state);
  ASSIGN_OR_RETURN(const std::vector<std::string> names, ListFolder(folder));
  for (const std::string& name : names) {
    if (!IsUlid(name)) continue;
    const std::string path = JoinPath(folder, name);
    Result<std::unique_ptr<LocalAttempt>> attempt = LocalAttempt::Adopt({.path = path});
    if (!attempt && attempt.status().code() == Code::kNotFound) {
      RETURN_IF_ERROR(RemoveAll(path));
      continue;
    }
    // Its trainer goes on; the worker may be started again.
    if (attempt.status().code() == Code::kUnavailable) return attempt.status();
    if (!attempt) {
      const bool is_killed = LocalAttempt::KillUnadopted({.path = path});
      LogError(
          "attempt_not_adopted",
          {{"folder", path},
           {"error", attempt.status().message()},
           {"killed", is_killed ? "yes" : "no process of it was found"},
           {"remedy", "its results are lost, and the task is tried again; remove the folder"}});
      continue;
    }
    Live& live = attempts_.try_emplace(name, std::move(attempt).value()).first->second;
    live.was_running = !live.attempt->acked().ended;
    if (live.was_running) {
      NoteCacheUse(*live.attempt);
      LogInfo("attempt_adopted", {{"attempt", name},
                                  {"task", ShortId(live.attempt->ids().task)},
                                  {"running", Str(live.attempt->running())}});
    }
  }
  return Status();
}

// What a trainer reads that an earlier worker process has started.
void Agent::NoteCacheUse(const LocalAttempt& attempt) {
  const std::string& id = attempt.ids().attempt;
  const Result<TaskFile> read = ReadTaskFile(attempt.folder());
  if (!read.ok()) {
    LogWarning("cache_use_unknown", {{"attempt", id}, {"error", read.status().message()}});
    return cache_->UseAll(id);
  }
  TaskFile task = *read;
  std::vector<std::string> paths = {task.dataset_path};
  if (const auto evaluated = EvaluatedDatasetOf(task.evaluation)) paths.push_back(evaluated->path);
  for (const auto& reference : {task.init, task.resume}) {
    if (reference) paths.push_back(reference->checkpoint);
  }
  for (const Json* const file : InputFilesOf(task.evaluation)) {
    if (file->is_string()) paths.push_back(file->get<std::string>());
  }
  cache_->Use(id, paths);
}

void Agent::NoteCacheUsers() {
  std::set<std::string> users;
  for (const auto& [id, order] : orders_) users.insert(id);
  for (const auto& [id, live] : attempts_) {
    if (!live.attempt->acked().ended) users.insert(id);
  }
  cache_->KeepUsers(users);
}

void Agent::Post(std::function<void()> closure) {
  {
    const std::scoped_lock lock(mutex_);
    posted_.push_back(std::move(closure));
  }
  changed_.notify_one();
}

void Agent::RequestStop() {
  Post([this] {
    if (stopping_) return;
    if (!CheckInPlace().ok()) {
      second_at_ms_ = 0;  // the loop then ends trainers at once, without a checkpoint
      return;
    }
    Leave(BootMs() + options_.grace_ms, "it was asked to stop");
  });
}

void Agent::Leave(std::int64_t report_end_ms, std::string_view why) {
  stopping_ = true;
  const std::int64_t now_ms = BootMs();
  stopped_at_ms_ = now_ms;
  stop_deadline_ms_ = now_ms + options_.grace_ms;
  report_deadline_ms_ = std::max(stop_deadline_ms_, report_end_ms);
  LogInfo("worker_stopping", {{"why", std::string(why)}, {"grace_ms", Str(options_.grace_ms)}});
  // First of all, so that the coordinator does not offer us again what our trainers give back.
  if (link_->welcomed()) link_->Send(DrainMessage{});
  for (auto& [id, order] : orders_) GiveBack(order, "this worker is stopping");
  for (auto& [id, live] : attempts_) live.attempt->RequestStop(now_ms, options_.grace_ms);
}

// Whether it would not be missed. Without a session, what it has not reported waits in its folder.
bool Agent::IsIdle() const {
  return orders_.empty() && std::ranges::none_of(attempts_, [this](const auto& item) {
           const LocalAttempt& attempt = *item.second.attempt;
           return attempt.running() || (link_->welcomed() && !attempt.acked().ended);
         });
}

void Agent::TickTemporary(std::int64_t now_ms) {
  if (!options_.temporary || stopping_) return;
  if (!IsIdle()) busy_at_ms_ = now_ms;
  if (end_ms_ && now_ms >= WorkEndMs(*end_ms_, options_.grace_ms)) {
    return Leave(*end_ms_, "its allocation ends soon");
  }
  const std::optional<std::int64_t> idle_exit_ms = options_.temporary->idle_exit_ms;
  if (idle_exit_ms && now_ms - busy_at_ms_ >= *idle_exit_ms) {
    Leave(now_ms, Str("it was idle for ", FormatDurationMs(now_ms - busy_at_ms_)));
  }
}

Status Agent::Run() {
  for (;;) {
    std::deque<std::function<void()>> closures;
    {
      const bool active = !orders_.empty() || std::ranges::any_of(attempts_, [](const auto& item) {
        return !item.second.attempt->acked().ended;
      });
      std::int64_t wait_ms = kPollMs;
      if (!active && !stopping_) {
        wait_ms = std::clamp<std::int64_t>(link_->next_ms() - BootMs(), 1, kIdleMsMax);
      }
      std::unique_lock lock(mutex_);
      changed_.wait_for(lock, std::chrono::milliseconds(wait_ms), [&] { return !posted_.empty(); });
      closures.swap(posted_);
    }
    for (const std::function<void()>& closure : closures) closure();
    const std::int64_t now_ms = BootMs();
    if (now_ms >= second_at_ms_) {
      second_at_ms_ = now_ms + kSecondMs;
      memory_.GiveBackWhenGrown();
      disk_->Look(now_ms);
      if (Status gone = CheckInPlace(); !gone.ok()) {
        for (auto& [id, live] : attempts_) live.attempt->Kill();
        return gone;
      }
    }
    Tick(now_ms);
    if (IsDone(now_ms)) break;
  }
  for (auto& [id, live] : attempts_) RETURN_IF_ERROR(live.attempt->FlushAcked(BootMs()));
  // Written messages may still be in buffers of this process, which is about to end.
  link_->Finish(kDrainWaitMs);
  LogInfo("worker_stopped", {{"id", worker_id_}});
  return Status();
}

Status Agent::CheckInPlace() const {
  if (held_lock_->IsInPlace()) return Status();
  const std::string now = held_lock_->PathNow();
  return Status(
      Code::kAborted,
      Str("the folder ", options_.state, " of worker ", worker_id_, " was ",
          now.empty() ? "deleted" : "moved", " while the worker was using it: ", held_lock_->path(),
          now.empty() ? " is no longer the file that it opened" : Str(" is now at ", now),
          "; its trainers were ended, since nobody would find their output: their tasks continue "
          "from the last checkpoint that the coordinator has"));
}

bool Agent::IsDone(std::int64_t now_ms) {
  if (!stopping_ && !draining_) return false;
  bool running = !stopping_ && !orders_.empty();  // when we stop, a preparation is abandoned
  bool unreported = false;
  for (const auto& [id, live] : attempts_) {
    running |= live.attempt->running();
    // The end of a fenced one changes nothing, and if it belongs to another worker (this folder had
    // another name), the coordinator never acknowledges it.
    unreported |= !live.attempt->acked().ended && !live.uplink.fenced();
  }
  if (!stopping_) return !running && !unreported;
  if (running) return now_ms >= stop_deadline_ms_ + kLastWaitMs;
  // Wait a moment for the coordinator to confirm that we are leaving,
  // so that it does not count us as lost.
  if (link_->welcomed() && !draining_ && now_ms < stopped_at_ms_ + kDrainWaitMs) return false;
  // What the coordinator has not received stays in the journals; we send it at our next start.
  if (!link_->welcomed() || now_ms >= report_deadline_ms_) return true;
  return !unreported && link_->queued_bytes() == 0;
}

void Agent::TickOrders(std::int64_t now_ms) {
  std::erase_if(orders_, [](const auto& item) {
    const Order& order = item.second;
    return *order.unwanted && !order.is_busy;
  });
  for (auto& [id, order] : orders_) {
    if (!order.is_busy && now_ms >= order.again_ms) Prepare(order);
  }
}

void Agent::Tick(std::int64_t now_ms) {
  TickTemporary(now_ms);
  TickLink(now_ms);
  TickHeldDatasets();
  TickOrders(now_ms);
  for (auto& [id, live] : attempts_) {
    LocalAttempt& attempt = *live.attempt;
    if (attempt.acked().ended) continue;
    attempt.Poll(now_ms);
    if (live.was_running && !attempt.running()) ReportEnded(live);
    if (link_->welcomed() && IsNamed(live)) Pump(live, now_ms);
    if (const Status status = attempt.FlushAcked(now_ms); !status.ok()) {
      LogWarning("acked_not_written", {{"attempt", id}, {"error", status.message()}});
    }
  }
  if (now_ms >= retention_at_ms_) {
    ApplyRetention();
    retention_at_ms_ = now_ms + kRetentionEveryMs;
  }
  UpdateMetrics();
}

std::int64_t Agent::BacklogBytes() const {
  std::int64_t backlog_bytes = 0;
  for (const auto& [id, live] : attempts_) {
    if (live.attempt->acked().ended) continue;
    backlog_bytes += live.attempt->BacklogBytes();
    backlog_bytes += static_cast<std::int64_t>(live.uplink.in_flight_bytes());
  }
  return backlog_bytes;
}

// A trainer started by an earlier worker process has no meter yet:
// its task file describes the task.
void Agent::Measure(Live& live, const JournalRecord& record) {
  const LocalAttempt& attempt = *live.attempt;
  const int slot = attempt.acked().device_index;
  if (!attempt.running() || slot == kUnknownSlot) return;
  if (!live.meter) {
    const Result<TaskFile> task = ReadTaskFile(attempt.folder());
    if (!task.ok())
      return;  // it is adopted, so its ids were read: only numbers for people are missing
    live.meter.emplace(*task);
  }
  if (const auto seconds = live.meter->Note(record)) metrics_->ObserveStepSeconds(slot, *seconds);
}

void Agent::UpdateMetrics() {
  std::int64_t n_busy =
      std::ranges::count_if(orders_, [](const auto& item) { return !*item.second.unwanted; });
  for (auto& [id, live] : attempts_) {
    const bool running = !live.attempt->acked().ended && live.attempt->running();
    n_busy += running ? 1 : 0;
    if (!live.meter) continue;
    const int slot = live.attempt->acked().device_index;
    if (running) {
      metrics_->ShowSlot(slot, *live.meter);
    } else {
      metrics_->HideSlot(slot, *live.meter);
      live.meter.reset();
    }
  }
  const auto n_slots = static_cast<std::int64_t>(devices_.size());
  metrics_->SetSlots(n_busy, std::max<std::int64_t>(0, n_slots - n_busy));
  metrics_->SetBacklogBytes(BacklogBytes());
  metrics_->SetConnected(link_->welcomed());
}

// ---- session -----------------------------------------------------------------------------------

// Lists the newest of the attempts that are reported but still kept, so that a coordinator whose
// database was restored from a backup can ask for them again; one that has them says so.
void Agent::ListKept(std::vector<LiveAttempt>& attempts) const {
  for (auto it = attempts_.rbegin(); it != attempts_.rend(); ++it) {
    if (attempts.size() >= kListedMax) return;
    const auto& [id, live] = *it;
    if (!live.attempt->acked().ended) continue;
    attempts.push_back({.attempt = id,
                        .task = live.attempt->ids().task,
                        .run_key = live.attempt->ids().run_key,
                        .epoch = live.attempt->ids().epoch,
                        .last_seq = live.attempt->acked().durable_seq,
                        .running = false});
  }
}

std::vector<LiveAttempt> Agent::LiveAttempts() const {
  std::vector<LiveAttempt> listed;
  for (const auto& [id, order] : orders_) {
    if (*order.unwanted) continue;
    listed.push_back({.attempt = id,
                      .task = order.task.task,
                      .run_key = order.task.run_key,
                      .epoch = order.task.epoch,
                      .last_seq = 0,
                      .running = false});
  }
  for (const auto& [id, live] : attempts_) {
    if (live.attempt->acked().ended) continue;
    const LocalAttempt& attempt = *live.attempt;
    listed.push_back({.attempt = id,
                      .task = attempt.ids().task,
                      .run_key = attempt.ids().run_key,
                      .epoch = attempt.ids().epoch,
                      .last_seq = attempt.last_seq(),
                      .running = attempt.running()});
  }
  return listed;
}

bool Agent::IsNamed(const Live& live) const { return live.session == link_->session_number(); }

void Agent::TickLink(std::int64_t now_ms) {
  switch (link_->Look(now_ms)) {
    case Link::Next::kNothing:
      return;
    case Link::Next::kHello:
      return link_->Open(Hello(), now_ms);
    case Link::Next::kBeat:
      return link_->Beat(
          {.attempts = LiveAttempts(), .backlog_bytes = BacklogBytes(), .disk = disk_->Report()},
          now_ms);
  }
}

std::vector<std::string> Agent::HeldDatasets() const {
  std::set<std::string> digests(own_datasets_.begin(), own_datasets_.end());
  for (std::string& digest : cache_->DatasetDigests()) digests.insert(std::move(digest));
  return {digests.begin(), digests.end()};
}

void Agent::TickHeldDatasets() {
  if (!link_->welcomed() || !coordinator_takes_datasets_) return;
  const std::int64_t version = cache_->datasets_version();
  if (version == held_version_) return;
  held_version_ = version;
  link_->Send(DatasetsHeldMessage{.digests = HeldDatasets()});
}

HelloMessage Agent::Hello() {
  own_datasets_ = DatasetDigests(JoinPath(options_.state, "datasets"));
  held_version_ = cache_->datasets_version();
  HelloMessage hello = {.protocol_oldest = kProtocolOldest,
                        .protocol_newest = kProtocolNewest,
                        .worker_id = worker_id_,
                        .incarnation = incarnation_,
                        .host = OwnHost(),
                        .version = Str(kVersion, " ", BuildCommit()),
                        .pid = getpid(),
                        .devices = devices_,
                        .dataset_digests = HeldDatasets(),
                        .attempts = LiveAttempts(),
                        .capabilities = OwnCapabilities(),
                        .labels = options_.labels,
                        .disk = disk_->Report(),
                        .folder = options_.state,
                        .folder_id = folder_id_};
  if (options_.temporary) {
    hello.allocation = AllocationSpan{.job = options_.temporary->job};
    if (end_ms_) {
      hello.allocation->work_left_ms =
          std::max<std::int64_t>(0, WorkEndMs(*end_ms_, options_.grace_ms) - BootMs());
    }
  }
  ListKept(hello.attempts);
  return hello;
}

void Agent::On(const WelcomeMessage& welcome) {
  if (!link_->TakeWelcome(welcome, BootMs())) return;
  coordinator_takes_datasets_ =
      std::ranges::find(welcome.capabilities, kDatasetsCapability) != welcome.capabilities.end();
  if (stopping_) link_->Send(DrainMessage{});
  LookAtSharedFolder(welcome);
  LogInfo("session_welcomed", {{"coordinator", welcome.coordinator_id},
                               {"boot_epoch", Str(welcome.boot_epoch)},
                               {"attempts", Str(welcome.attempts.size())}});
  for (const AttemptVerdict& verdict : welcome.attempts) {
    const auto order = orders_.find(verdict.attempt);
    if (order != orders_.end()) ApplyVerdict(verdict, order->second);
    const auto live = attempts_.find(verdict.attempt);
    if (live != attempts_.end()) ApplyVerdict(verdict, live->second);
  }
}

namespace {

SharedSeenMessage SeenIn(const std::string& folder, const std::string& name) {
  constexpr std::size_t kChallengeBytesMax = 4096;
  SharedSeenMessage seen = {.challenge = {}, .name = name, .text = {}, .problem = {}};
  Result<std::string> challenge =
      ReadSharedFile(JoinPath(folder, kSharedChallenge), kChallengeBytesMax);
  Status status = challenge.status();
  const std::string text = Sha256Hex(Str(name, " ", EntropySeed()));
  if (status.ok()) {
    status = WriteFileAtomic(JoinPath(JoinPath(folder, kSharedSeen), name), text, 0600);
  }
  if (!status.ok()) {
    seen.problem = Str("the worker does not see the coordinator's folder in --shared-artifacts: ",
                       status.message(),
                       ": mount the same file system there, and give the same "
                       "folder to both");
    return seen;
  }
  seen.challenge = *std::move(challenge);
  seen.text = text;
  return seen;
}

}  // namespace

void Agent::LookAtSharedFolder(const WelcomeMessage& welcome) {
  if (options_.shared_artifacts.empty()) return;
  if (!welcome.shares_artifacts || !IsSafeName(welcome.coordinator_id)) {
    artifacts_.Share(nullptr);
    LogWarning("folder_not_shared",
               {{"folder", options_.shared_artifacts},
                {"problem", "the coordinator was not started with --shared-artifacts"},
                {"instead", "artifacts come and go over the network"}});
    return;
  }
  shared_folder_ = JoinPath(options_.shared_artifacts, welcome.coordinator_id);
  sharing_until_ms_ = BootMs() + kSharingMs;
  fetches_->Post([this, folder = shared_folder_, session = link_->session_number(),
                  name = Str(worker_id_, "-", incarnation_, "-", link_->session_number())] {
    Post([this, session, seen = SeenIn(folder, name)] {
      if (link_->welcomed() && link_->session_number() == session) link_->Send(seen);
    });
  });
}

void Agent::On(const SharedVerdictMessage& verdict) {
  sharing_until_ms_ = 0;
  if (verdict.same) {
    LogInfo("folder_shared", {{"folder", shared_folder_}});
    artifacts_.Share(std::make_shared<SharedObjects>(shared_folder_));
    return;
  }
  artifacts_.Share(nullptr);
  LogWarning("folder_not_shared", {{"folder", options_.shared_artifacts},
                                   {"problem", verdict.problem},
                                   {"instead", "artifacts come and go over the network"}});
}

void Agent::ApplyVerdict(const AttemptVerdict& verdict, Order& order) {
  if (verdict.verdict == Verdict::kStop) {
    GiveBack(order, "it was stopped before its trainer started");
  } else if (verdict.verdict != Verdict::kContinue) {
    *order.unwanted = true;
  }
}

void Agent::ApplyVerdict(const AttemptVerdict& verdict, Live& live) {
  const bool is_fenced = verdict.verdict == Verdict::kFenced;
  const bool stops = verdict.verdict == Verdict::kStop || is_fenced;
  LocalAttempt& attempt = *live.attempt;
  if (attempt.acked().ended) {
    // A database that does not know the attempt, or has another one for its task,
    // does not need its journal.
    if (verdict.verdict == Verdict::kEnded || is_fenced) return;
    LogInfo("attempt_told_again",
            {{"attempt", verdict.attempt}, {"durable_seq", Str(verdict.durable_seq)}});
    attempt.TakeBackEnd();
    live.kept_bytes.reset();
  }
  if (verdict.verdict == Verdict::kEnded) {
    return On(
        AckMessage{.attempt = verdict.attempt, .durable_seq = verdict.durable_seq, .ended = true});
  }
  live.session = link_->session_number();
  live.uplink.Resume(verdict.durable_seq, is_fenced);
  // Our Accepted message may have been lost with the session.
  if (verdict.durable_seq == 0) {
    link_->Send(AcceptedMessage{.attempt = attempt.ids().attempt, .epoch = attempt.ids().epoch});
  }
  if (stops && attempt.running() && !attempt.stop_requested()) {
    LogInfo("attempt_stopping",
            {{"attempt", verdict.attempt},
             {"why", is_fenced ? "a newer attempt has the task" : "the coordinator asked for it"}});
  }
  live.cancelled = live.cancelled || verdict.verdict == Verdict::kStop;
  if (stops) attempt.RequestStop(BootMs(), kFencedGraceMs);
}

void Agent::On(const StopMessage& stop) {
  if (const auto order = orders_.find(stop.attempt); order != orders_.end()) {
    return GiveBack(order->second, "it was stopped before its trainer started");
  }
  const auto found = attempts_.find(stop.attempt);
  if (found == attempts_.end()) {
    return Reject(stop.attempt, stop.epoch, "", "the attempt is not on this worker");
  }
  Live& live = found->second;
  if (!live.attempt->running()) {
    live.uplink.RepeatEnd();  // the coordinator may not have received it
    return;
  }
  if (!live.attempt->stop_requested()) {
    LogInfo("attempt_stopping", {{"attempt", stop.attempt}, {"why", stop.reason}});
  }
  live.cancelled = true;
  live.attempt->RequestStop(BootMs(), stop.grace_ms);
}

void Agent::On(const FencedMessage& fenced) {
  if (const auto order = orders_.find(fenced.attempt); order != orders_.end()) {
    *order->second.unwanted = true;
    return;
  }
  const auto found = attempts_.find(fenced.attempt);
  if (found == attempts_.end()) return;
  Live& live = found->second;
  if (!live.uplink.fenced()) {
    LogInfo("attempt_fenced", {{"attempt", fenced.attempt},
                               {"epoch", Str(live.attempt->ids().epoch)},
                               {"current_epoch", Str(fenced.current_epoch)}});
  }
  // A database that does not know the attempt cannot store its journal.
  live.uplink.Fence(/*journal_wanted=*/fenced.current_epoch != 0);
  live.attempt->RequestStop(BootMs(), kFencedGraceMs);
}

void Agent::On(const AckMessage& ack) {
  if (const auto order = orders_.find(ack.attempt); order != orders_.end()) {
    if (ack.ended) *order->second.unwanted = true;
    return;
  }
  const auto found = attempts_.find(ack.attempt);
  if (found == attempts_.end()) return;
  Live& live = found->second;
  LocalAttempt& attempt = *live.attempt;
  live.uplink.Acknowledge(ack.durable_seq);
  if (!ack.ended || attempt.acked().ended) return;
  if (attempt.running()) {
    // It is still running although its end is stored: stop it; the answer to a later heartbeat
    // marks it as ended.
    attempt.RequestStop(BootMs(), kFencedGraceMs);
    return;
  }
  live.uplink.Finish();
  if (const Status status = attempt.MarkEnded(WallMs()); !status.ok()) {
    LogWarning("acked_not_written", {{"attempt", ack.attempt}, {"error", status.message()}});
  }
  // The coordinator's store has its checkpoints now, or the trainer itself removed them.
  if (live.uplink.files_damaged() || live.uplink.fenced()) return;
  if (const Status status = RemoveAll(attempt.folder().Checkpoints()); !status.ok()) {
    LogWarning("checkpoints_not_removed", {{"attempt", ack.attempt}, {"error", status.message()}});
  }
}

void Agent::On(const NackMessage& nack) {
  const auto found = attempts_.find(nack.attempt);
  if (found == attempts_.end()) return;
  LogWarning("journal_rewound",
             {{"attempt", nack.attempt}, {"expected_seq", Str(nack.expected_seq)}});
  found->second.uplink.Rewind(std::max<std::int64_t>(0, nack.expected_seq - 1));
}

void Agent::On(const HeartbeatReplyMessage&) {}

// The coordinator gives a held worker nothing; here we only tell those who look at this machine.
void Agent::On(const HoldMessage& hold) {
  if (!hold.held) return LogInfo("worker_released", {{"id", worker_id_}});
  LogInfo("worker_held",
          {{"id", worker_id_},
           {"meaning", "an operator drains this worker: it gets no new work"},
           {"trainers_stop_in_ms", hold.deadline_ms < 0 ? "never" : Str(hold.deadline_ms)}});
}

void Agent::On(const DrainMessage&) {
  if (!draining_) LogInfo("worker_draining", {{"id", worker_id_}});
  draining_ = true;
}

void Agent::Reject(const std::string& attempt, std::uint64_t epoch, std::string_view failure_class,
                   const std::string& reason, const NoRoom& no_room) {
  LogWarning("attempt_rejected",
             {{"attempt", attempt}, {"class", std::string(failure_class)}, {"reason", reason}});
  if (!link_->welcomed()) return;  // the next Hello shows that we do not have it
  link_->Send(
      RejectedMessage{.attempt = attempt,
                      .epoch = epoch,
                      .failure_class = std::string(failure_class),
                      .reason = reason,
                      .cache_needed_bytes = no_room.needed_bytes,
                      .cache_limit_bytes = no_room.needed_bytes == 0 ? 0 : options_.cache_bytes,
                      .lacks_disk = no_room.lacks_disk});
}

// Gives back an accepted task that is still being prepared.
// Files already fetched stay in the cache.
void Agent::GiveBack(Order& order, const std::string& reason) {
  if (order.unwanted->exchange(true)) return;
  Reject(order.start.attempt, order.start.epoch, "", reason);
}

// ---- starting ----------------------------------------------------------------------------------

std::string Agent::WhySlotIsTaken(int device_index) const {
  for (const auto& [id, order] : orders_) {
    if (!*order.unwanted && order.start.device_index == device_index) {
      return Str("attempt ", id, " is being prepared on slot ", device_index);
    }
  }
  for (const auto& [id, live] : attempts_) {
    if (!live.attempt->running()) continue;
    const int slot = live.attempt->acked().device_index;
    if (slot == device_index) return Str("attempt ", id, " still runs on slot ", device_index);
    if (slot == kUnknownSlot) return Str("attempt ", id, " still runs on a slot that is not known");
  }
  return "";
}

void Agent::On(const StartMessage& start) {
  const std::string& id = start.attempt;
  const auto known_order = orders_.find(id);
  const auto known_live = attempts_.find(id);
  if (known_order != orders_.end() && *known_order->second.unwanted) {
    return Reject(id, start.epoch, "", "this worker has returned the attempt already");
  }
  if (known_live != attempts_.end()) known_live->second.session = link_->session_number();
  if (known_order != orders_.end() || known_live != attempts_.end()) {
    return link_->Send(AcceptedMessage{.attempt = id, .epoch = start.epoch});
  }
  if (!IsUlid(id)) return Reject(id, start.epoch, "invalid", "the attempt's id is not a ULID");
  if (stopping_ || draining_) return Reject(id, start.epoch, "", "this worker is stopping");
  if (start.device_index < 0 || start.device_index >= static_cast<int>(devices_.size())) {
    return Reject(id, start.epoch, "",
                  Str("slot ", start.device_index, " does not exist: the number of slots is ",
                      devices_.size()));
  }
  if (const std::string why = WhySlotIsTaken(start.device_index); !why.empty()) {
    return Reject(id, start.epoch, "", why);
  }
  Result<Json> json = ParseJson(start.task_json);
  if (!json) return Reject(id, start.epoch, "invalid", json.status().message());
  Result<TaskFile> task = TaskFile::FromJson(*json);
  if (!task) return Reject(id, start.epoch, "invalid", task.status().message());
  const Slot& slot = devices_[static_cast<std::size_t>(start.device_index)];
  if (const Status status = CheckStart(start, *task, slot); !status.ok()) {
    return Reject(id, start.epoch, "invalid", status.message());
  }
  Order& order =
      orders_.try_emplace(id, Order{.start = start, .task = *std::move(task)}).first->second;
  // Answered before the preparation, which may take minutes:
  // an offer without an answer is withdrawn.
  link_->Send(AcceptedMessage{.attempt = id, .epoch = start.epoch});
  Prepare(order);
}

void Agent::FreeDisk() {
  NoteCacheUsers();
  upkeep_->Post([this] {
    cache_->Trim();
    Post([this] { disk_->Freed(); });
  });
}

Preparation Agent::PrepareNow(const StartMessage& start, const TaskFile& task,
                              const std::atomic<bool>& unwanted) {
  if (!disk_->Now().ok()) cache_->Trim();
  if (const Status full = disk_->Now(); !full.ok()) {
    // Any task needs a disk, whatever the error of asking for its free space was.
    return {.prepared = Status(Code::kResourceExhausted, full.message())};
  }
  return PrepareOrder(start, task, options_.state, *cache_, artifacts_, unwanted);
}

void Agent::Prepare(Order& order) {
  if (const std::int64_t now_ms = BootMs(); now_ms < sharing_until_ms_) {
    order.again_ms = now_ms + kSharingLookMs;
    return;
  }
  order.is_busy = true;
  order.tries += 1;
  NoteCacheUsers();
  fetches_->Post([this, start = order.start, task = order.task, unwanted = order.unwanted] {
    Post([this, id = start.attempt, preparation = PrepareNow(start, task, *unwanted)] {
      OnPrepared(id, preparation);
    });
  });
}

void Agent::OnPrepared(const std::string& id, const Preparation& preparation) {
  const Result<Prepared>& prepared = preparation.prepared;
  const auto found = orders_.find(id);
  LR_CHECK(found != orders_.end() && found->second.is_busy);
  Order& order = found->second;
  order.is_busy = false;
  if (*order.unwanted) {
    orders_.erase(found);
    return;
  }
  if (prepared && prepared->waits) {
    order.tries -= 1;
    order.again_ms = BootMs() + kTransferAgainMs;
    return;
  }
  if (prepared) {
    LaunchAttempt(order, *prepared);
    orders_.erase(found);
    return;
  }
  const Status status = prepared.status();
  const std::string_view failure_class = RefusalClass(status);
  const bool may_pass = failure_class.empty() && order.tries < kPrepareTriesMax;
  if (may_pass || !link_->welcomed()) {  // without a session, refuse later
    order.again_ms = BootMs() + kTransferAgainMs;
    return;
  }
  // Other tasks may still fit into the cache; on a full disk, none do. The coordinator then offers
  // nothing for a while, in which it learns of the full disk.
  const bool lacks_cache = status.code() == Code::kResourceExhausted && !ShortageOf(status);
  Reject(
      id, order.start.epoch, failure_class, status.message(),
      {.needed_bytes = lacks_cache ? preparation.cache_bytes : 0, .lacks_disk = LacksDisk(status)});
  orders_.erase(found);
}

std::string Agent::GpuOf(int device_index) const {
  return gpus_.empty() ? "" : gpus_[static_cast<std::size_t>(device_index)].uuid;
}

void Agent::LaunchAttempt(const Order& order, const Prepared& prepared) {
  const std::string& id = order.start.attempt;
  const std::uint64_t epoch = order.start.epoch;
  const int device_index = order.start.device_index;
  // It may be built or installed anew at this moment. That costs the task nothing.
  if (access(options_.trainer.c_str(), X_OK) != 0) {
    const Status status =
        ErrnoStatus(errno, Str("the trainer ", options_.trainer, " cannot be run"));
    LogWarning("trainer_gone", {{"error", status.message()}});
    return Reject(id, epoch, FailureOf(FailureClass::kStorage).name, status.message());
  }
  const AttemptFolder folder = {.path = JoinPath(AttemptsFolder(options_.state), id)};
  const Result<TaskFile> task = PlacedTask(order, prepared, folder, options_.state);
  if (!task) return Reject(id, epoch, "invalid", task.status().message());
  Result<std::unique_ptr<LocalAttempt>> attempt = LocalAttempt::Start(
      {.ids = {.attempt = id, .task = task->task, .run_key = task->run_key, .epoch = task->epoch},
       .folder = folder,
       .device_index = device_index,
       .task_json = CanonicalJson(task->ToJson()),
       .program = options_.program,
       .trainer = options_.trainer,
       .env = TrainerEnvironment(*task, GpuOf(device_index))});
  if (!attempt) {
    // No failure here is the task's fault: one without a class of its own is retried.
    const std::string_view failure_class = RefusalClass(attempt.status());
    const bool is_data = failure_class == FailureOf(FailureClass::kData).name;
    Reject(id, epoch, is_data ? "" : failure_class, attempt.status().message());
    if (const Status status = RemoveAll(folder.path); !status.ok()) {
      LogWarning("folder_not_removed", {{"folder", folder.path}, {"error", status.message()}});
    }
    return;
  }
  Live& live = attempts_.try_emplace(id, std::move(attempt).value()).first->second;
  live.meter.emplace(*task);
  live.was_running = true;
  live.session = link_->welcomed() ? link_->session_number() : 0;
  metrics_->CountStarted(EnumName(task->kind));
  LogInfo("attempt_started", {{"attempt", id},
                              {"task", ShortId(task->task)},
                              {"kind", std::string(EnumName(task->kind))},
                              {"epoch", Str(epoch)},
                              {"slot", Str(device_index)}});
}

// ---- forwarding --------------------------------------------------------------------------------

// Of all journals that share the session's limit.
std::size_t Agent::InFlightBytes() const {
  std::size_t n_bytes = 0;
  for (const auto& [id, live] : attempts_) {
    if (IsNamed(live) && !live.uplink.fenced()) n_bytes += live.uplink.in_flight_bytes();
  }
  return n_bytes;
}

void Agent::Pump(Live& live, std::int64_t now_ms) {
  while (SendNext(live, now_ms)) {
  }
  if (link_->queued_bytes() > kLogQueueBytesMax) return;
  if (auto piece = live.attempt->NextLogPiece(now_ms)) {
    link_->Send(LogChunkMessage{.attempt = live.attempt->ids().attempt,
                                .offset = piece->offset,
                                .data = std::move(piece->data)});
  }
}

bool Agent::SendNext(Live& live, std::int64_t now_ms) {
  switch (live.uplink.Look(now_ms)) {
    case JournalUplink::Next::kNothing:
      return false;
    case JournalUplink::Next::kUpload:
      StartUpload(live);
      return false;
    case JournalUplink::Next::kBatch:
      return SendBatch(live);
    case JournalUplink::Next::kEnd:
      link_->Send(live.uplink.TakeEnd());
      return false;
  }
  LR_CHECK(false);
}

bool Agent::SendBatch(Live& live) {
  const std::size_t in_flight_bytes = InFlightBytes();
  const bool has_room = in_flight_bytes + live.uplink.batch_bytes() <= kInFlightBytesMax;
  if (in_flight_bytes > 0 && !has_room) return false;
  JournalUplink::Batch batch = live.uplink.TakeBatch();
  for (const JournalRecord& record : batch.records) {
    Measure(live, record);
    // Its copy of the data may be damaged.
    const auto* const failed = record.As<FailedRecord>();
    if (failed != nullptr && failed->failure_class == FailureOf(FailureClass::kData).name) {
      cache_->Doubt(live.attempt->ids().attempt);
    }
  }
  Failpoint("worker_before_batch");
  link_->Send(std::move(batch.message));
  Failpoint("worker_after_batch");
  return true;
}

void Agent::StartUpload(Live& live) {
  const std::string id = live.attempt->ids().attempt;
  JournalUplink::Upload upload = live.uplink.TakeUpload();
  if (!upload.files) {
    OnUploaded(id, upload.seq, Status(Code::kDataLoss, upload.files.status().message()),
               /*is_replaced=*/false);
    return;
  }
  uploads_->Post([this, id, seq = upload.seq, files = *std::move(upload.files),
                  replaceable = std::move(upload.replaceable)] {
    const Status status = artifacts_.Upload(files);
    const bool is_replaced = status.code() == Code::kNotFound && IsReplaced(replaceable);
    Post([this, id, seq, status, is_replaced] { OnUploaded(id, seq, status, is_replaced); });
  });
}

void Agent::OnUploaded(const std::string& id, std::int64_t seq, const Status& status,
                       bool is_replaced) {
  const auto found = attempts_.find(id);
  if (found == attempts_.end()) return;
  JournalUplink& uplink = found->second.uplink;
  if (!status.ok() && IsTransient(status)) {
    const std::int64_t now_ms = BootMs(), again_ms = uplink.RetryUpload(now_ms);
    if (link_->welcomed() && found->second.upload_delayed.IsDue(status.message(), now_ms)) {
      LogWarning("upload_delayed", {{"attempt", id},
                                    {"seq", Str(seq)},
                                    {"error", status.message()},
                                    {"again_in_ms", Str(again_ms - now_ms)}});
    }
    return;
  }
  uplink.NoteUploaded(seq, status);
  if (status.ok()) return;
  if (is_replaced) {
    return LogInfo("upload_not_needed",
                   {{"attempt", id},
                    {"seq", Str(seq)},
                    {"why", "the trainer has replaced this checkpoint by a newer one"}});
  }
  LogWarning("upload_given_up",
             {{"attempt", id}, {"seq", Str(seq)}, {"class", "data"}, {"error", status.message()}});
}

void Agent::ReportEnded(Live& live) {
  live.was_running = false;
  const LocalAttempt& attempt = *live.attempt;
  const std::optional<ExitRecord> exit = attempt.Exit();
  EndEvidence evidence = {.cancel_requested = live.cancelled && attempt.stop_requested(),
                          .exit_known = exit.has_value(),
                          .stop_requested = attempt.stop_requested()};
  if (exit) {
    evidence.exit_code = exit->code;
    evidence.signal = exit->signal;
    evidence.oom_kill = exit->oom_kill;
    evidence.stop_requested |= exit->stop_requested;
  }
  const bool good = exit && exit->code == 0;
  const std::string failure_class(good ? "none" : FailureOf(ClassifyEnd(evidence)).name);
  metrics_->CountEnded(failure_class);
  LogInfo("attempt_ended", {{"attempt", attempt.ids().attempt},
                            {"task", ShortId(attempt.ids().task)},
                            {"exit_code", exit ? Str(exit->code) : "unknown"},
                            {"signal", Str(exit ? exit->signal : 0)},
                            {"class", failure_class},
                            {"rss_bytes_max", Str(exit ? exit->rss_bytes_max : 0)}});
}

// ---- retention ---------------------------------------------------------------------------------

void Agent::ApplyRetention() {
  std::vector<KeptAttempt> kept;
  int n_measured = 0;
  for (auto& [id, live] : attempts_) {
    if (!live.attempt->acked().ended) continue;
    // The next rounds measure the others.
    if (!live.kept_bytes && n_measured < kFoldersMeasuredAtOnce) {
      live.kept_bytes = BytesBelow(live.attempt->folder().path);
      n_measured += 1;
    }
    kept.push_back({.id = id,
                    .path = live.attempt->folder().path,
                    .n_bytes = live.kept_bytes.value_or(0),
                    .ended_wall_ms = live.attempt->acked().ended_wall_ms});
  }
  const std::vector<std::string> removed =
      RemoveOldAttempts(std::move(kept), WallMs() - options_.retain_ms, options_.retain_bytes_max);
  for (const std::string& id : removed) attempts_.erase(id);
  NoteCacheUsers();
  upkeep_->Post([this] { cache_->Trim(); });  // deleting may take long
}

}  // namespace longrun::agent
