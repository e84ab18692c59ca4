// The agent's loop and its decisions.
#include "worker/agent/agent.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <system_error>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/folder_size.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "base/process.h"
#include "base/str.h"
#include "base/version.h"
#include "model/instruction_set.h"
#include "model/matrix_path.h"
#include "sweeps/failure.h"
#include "sweeps/worker_id.h"
#include "worker/agent/datasets.h"
#include "worker/agent/refusal.h"

namespace longrun::agent {
namespace {

constexpr std::int64_t kPollMs = 20;  // while there is a journal to read
constexpr std::int64_t kIdleMsMax = 1000;
constexpr std::int64_t kBackOffMs = 200;
constexpr double kBackOffGrowth = 1.6;
constexpr std::int64_t kBackOffMsMax = 10'000;
constexpr std::int64_t kBackOffHeartbeats = 2;  // at most, so that no lease ends meanwhile
constexpr std::int64_t kHeartbeatMs = 5000;     // if Welcome does not give one
constexpr std::int64_t kSilenceMsMax = 30'000;  // coordinator silent so long: a new session
constexpr std::int64_t kFencedGraceMs = 20'000;
constexpr std::size_t kInFlightBytesMax = 4u << 20;
constexpr std::size_t kLogQueueBytesMax = 1u << 20;  // no log pieces while more than this waits
constexpr std::int64_t kTransferAgainMs = 1000;
constexpr int kPrepareTriesMax = 30;
constexpr std::int64_t kRetentionEveryMs = 60'000;
constexpr std::int64_t kSecondMs = 1000;
constexpr std::int64_t kLastWaitMs = 5000;   // for trainers that got SIGKILL when we stop
constexpr std::int64_t kDrainWaitMs = 1000;  // for the coordinator to learn that we are leaving
constexpr int kTransferThreads = 2;
constexpr std::size_t kListedMax = 5'000;  // attempts in a Hello; the coordinator accepts 10,000

std::string HostName() {
  char name[256] = {};
  if (gethostname(name, sizeof name - 1) != 0 || name[0] == '\0') return "worker";
  return name;
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
    if (!wanted.empty() && wanted != id) {
      return Status(Code::kFailedPrecondition,
                    Str("the folder ", state, " belongs to worker ", id, ", not ", wanted,
                        ": leave --id out, or take another folder"));
    }
    return id;
  }
  std::string id = wanted;
  if (id.empty()) {
    const std::string ulid = MakeUlid(WallMs(), random);
    id = Str(HostName().substr(0, 64), "-", ulid.substr(ulid.size() - 6));
    if (!IsSafeName(id)) id = Str("worker-", ulid.substr(ulid.size() - 6));
  }
  RETURN_IF_ERROR(WriteFileAtomic(path, WorkerIdText(id)));
  return id;
}

std::string ShortId(const std::string& task) { return task.substr(0, 8); }

// The code paths of an Execution or a Slot, for a message.
template <typename T>
std::string PathsText(const T& paths) {
  return Str(paths.linear, " and ", paths.simd,
             paths.bf16.empty() ? std::string() : Str(", bf16 by ", paths.bf16));
}

}  // namespace

Agent::Agent(AgentOptions options, FileLock lock)
    : options_(std::move(options)), lock_(std::move(lock)), random_(EntropySeed()) {}

Agent::~Agent() {
  artifacts_.Cancel();
  jobs_.reset();
  session_.reset();
}

Result<std::unique_ptr<Agent>> Agent::Create(AgentOptions options) {
  ASSIGN_OR_RETURN(CoordinatorChannel coordinator, ConnectTo(options.coordinator));
  if (access(options.trainer.c_str(), X_OK) != 0) {
    return ErrnoStatus(
        errno, Str("the trainer ", options.trainer, " cannot be run (--trainer names another)"));
  }
  ASSIGN_OR_RETURN(options.state, AbsolutePath(options.state));
  RETURN_IF_ERROR(MakeFolders(options.state, 0700));
  if (chmod(options.state.c_str(), 0700) != 0) {
    return ErrnoStatus(errno, Str("cannot make ", options.state, " private"));
  }
  const std::string lock_path = JoinPath(options.state, "lock");
  ASSIGN_OR_RETURN(FileLock lock, FileLock::Acquire(lock_path, Str("a worker in ", options.state)));
  std::unique_ptr<Agent> agent(new Agent(std::move(options), std::move(lock)));
  ASSIGN_OR_RETURN(agent->held_lock_, HeldFile::Open(lock_path));
  const std::string& state = agent->options_.state;
  for (const char* const name : {"datasets", "cache", "attempts"}) {
    RETURN_IF_ERROR(MakeFolders(JoinPath(state, name)));
  }
  agent->coordinator_ = coordinator;
  agent->artifacts_.Connect(std::move(coordinator));
  ASSIGN_OR_RETURN(agent->worker_id_, WorkerId(state, agent->options_.worker_id, agent->random_));
  agent->incarnation_ = MakeUlid(WallMs(), agent->random_);
  ASSIGN_OR_RETURN(agent->devices_, DetectDevices(agent->options_.cpu_slots));
  ASSIGN_OR_RETURN(agent->metrics_,
                   WorkerMetrics::Serve(agent->options_.metrics, state, agent->devices_));
  RETURN_IF_ERROR(
      WriteFileAtomic(JoinPath(state, "worker.metrics"), agent->metrics_->address() + "\n"));
  RETURN_IF_ERROR(agent->AdoptAttempts());
  agent->jobs_ = std::make_unique<JobThreads>(kTransferThreads);
  const Slot& device = agent->devices_.front();
  LogInfo("worker_started", {{"id", agent->worker_id_},
                             {"state", state},
                             {"coordinator", agent->options_.coordinator},
                             {"slots", Str(agent->devices_.size())},
                             {"device", Str(device.kind, ":", device.name)},
                             {"memory_bytes", Str(device.memory_bytes)},
                             {"threads", Str(device.threads)},
                             {"simd", device.simd},
                             {"trainer", agent->options_.trainer},
                             {"metrics", agent->metrics_->address()}});
  return agent;
}

Status Agent::AdoptAttempts() {
  const std::string folder = JoinPath(options_.state, "attempts");
  ASSIGN_OR_RETURN(const std::vector<std::string> names, ListFolder(folder));
  for (const std::string& name : names) {
    if (!IsUlid(name)) continue;
    const std::string path = JoinPath(folder, name);
    Result<std::unique_ptr<LocalAttempt>> attempt = LocalAttempt::Adopt({.path = path});
    if (!attempt && attempt.status().code() == Code::kNotFound) {
      RETURN_IF_ERROR(RemoveAll(path));
      continue;
    }
    if (!attempt) {
      LogWarning("attempt_not_adopted", {{"folder", path}, {"error", attempt.status().message()}});
      continue;
    }
    Entry& entry = entries_[name];
    entry.Hold(std::move(attempt).value());
    entry.was_running = !entry.attempt->acked().ended;
    if (entry.was_running) {
      LogInfo("attempt_adopted", {{"attempt", name},
                                  {"task", ShortId(entry.attempt->ids().task)},
                                  {"running", Str(entry.attempt->running())}});
    }
  }
  return Status();
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
    stopping_ = true;
    const std::int64_t now_ms = BootMs();
    stopped_at_ms_ = now_ms;
    stop_deadline_ms_ = now_ms + options_.grace_ms;
    LogInfo("worker_stopping", {{"grace_ms", Str(options_.grace_ms)}});
    // First of all, so that the coordinator does not offer us again what our trainers give back.
    if (welcomed_) session_->Send(DrainMessage{});
    for (auto& [id, entry] : entries_) {
      if (entry.attempt) {
        entry.attempt->RequestStop(now_ms, options_.grace_ms);
      } else {
        GiveBack(entry, "this worker is stopping");
      }
    }
  });
}

Status Agent::Run() {
  for (;;) {
    std::deque<std::function<void()>> closures;
    {
      const bool active = std::ranges::any_of(entries_, [](const auto& item) {
        const Entry& entry = item.second;
        return entry.attempt == nullptr || !entry.attempt->acked().ended;
      });
      std::int64_t wait_ms = kPollMs;
      if (!active && !stopping_) {
        const std::int64_t next_ms = session_ != nullptr ? heartbeat_at_ms_ : connect_at_ms_;
        wait_ms = std::clamp<std::int64_t>(next_ms - BootMs(), 1, kIdleMsMax);
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
      if (Status gone = CheckInPlace(); !gone.ok()) {
        for (auto& [id, entry] : entries_) {
          if (entry.attempt) entry.attempt->Kill();
        }
        return gone;
      }
    }
    Tick(now_ms);
    if (IsDone(now_ms)) break;
  }
  for (auto& [id, entry] : entries_) {
    if (entry.attempt) RETURN_IF_ERROR(entry.attempt->FlushAcked(BootMs()));
  }
  // Written messages may still be in buffers of this process, which is about to end.
  if (session_ != nullptr) session_->Close(kDrainWaitMs);
  LogInfo("worker_stopped", {{"id", worker_id_}});
  return Status();
}

Status Agent::CheckInPlace() const {
  if (held_lock_->IsInPlace()) return Status();
  const std::string now = held_lock_->PathNow();
  return Status(
      Code::kAborted,
      Str("the folder ", options_.state, " of worker ", worker_id_, " was ",
          now.empty() ? "deleted" : "moved", " under it: ", held_lock_->path(),
          now.empty() ? " is no longer the file that it opened" : Str(" is now at ", now),
          "; its trainers were ended, since nobody would find their output: their tasks continue "
          "from the last checkpoint that the coordinator has"));
}

bool Agent::IsDone(std::int64_t now_ms) {
  if (!stopping_ && !draining_) return false;
  bool running = false, unreported = false;
  for (const auto& [id, entry] : entries_) {
    if (entry.attempt == nullptr) {
      running |= !stopping_;  // when we stop, a preparation is abandoned
      continue;
    }
    running |= entry.attempt->running();
    // The end of a fenced one changes nothing, and if it belongs to another worker (this folder had
    // another name), the coordinator never acknowledges it.
    unreported |= !entry.attempt->acked().ended && !entry.uplink->fenced();
  }
  if (!stopping_) return !running && !unreported;
  if (running) return now_ms >= stop_deadline_ms_ + kLastWaitMs;
  // Wait a moment for the coordinator to confirm that we are leaving,
  // so that it does not count us as lost.
  if (welcomed_ && !draining_ && now_ms < stopped_at_ms_ + kDrainWaitMs) return false;
  // What the coordinator has not received stays in the journals; we send it at our next start.
  if (!welcomed_ || now_ms >= stop_deadline_ms_) return true;
  return !unreported && session_->queued_bytes() == 0;
}

void Agent::Tick(std::int64_t now_ms) {
  TickSession(now_ms);
  for (auto it = entries_.begin(); it != entries_.end();) {
    Entry& entry = it->second;
    if (entry.attempt == nullptr) {
      const bool idle = entry.prepare_again_ms >= 0;
      if (entry.unwanted && idle) {
        it = entries_.erase(it);
        continue;
      }
      if (idle && now_ms >= entry.prepare_again_ms) Prepare(entry);
      ++it;
      continue;
    }
    LocalAttempt& attempt = *entry.attempt;
    if (!attempt.acked().ended) {
      attempt.Poll(now_ms);
      if (entry.was_running && !attempt.running()) ReportEnded(entry);
      if (welcomed_ && entry.welcomed) Pump(entry, now_ms);
      if (const Status status = attempt.FlushAcked(now_ms); !status.ok()) {
        LogWarning("acked_not_written", {{"attempt", it->first}, {"error", status.message()}});
      }
    }
    ++it;
  }
  if (now_ms >= retention_at_ms_) {
    ApplyRetention();
    retention_at_ms_ = now_ms + kRetentionEveryMs;
  }
  UpdateMetrics();
}

std::int64_t Agent::BacklogBytes() const {
  std::int64_t backlog_bytes = 0;
  for (const auto& [id, entry] : entries_) {
    if (entry.attempt == nullptr || entry.attempt->acked().ended) continue;
    backlog_bytes += entry.attempt->BacklogBytes();
    backlog_bytes += static_cast<std::int64_t>(entry.uplink->in_flight_bytes());
  }
  return backlog_bytes;
}

// A trainer started by an earlier worker process has no meter yet:
// its task file describes the task.
void Agent::Measure(Entry& entry, const JournalRecord& record) {
  const LocalAttempt& attempt = *entry.attempt;
  if (!attempt.running()) return;
  if (!entry.meter) {
    const Result<std::string> text = ReadFile(attempt.folder().TaskFilePath());
    const Result<Json> json = text.ok() ? ParseJson(*text) : Result<Json>(text.status());
    const Result<TaskFile> task = json.ok() ? TaskFile::FromJson(*json) : json.status();
    if (!task.ok())
      return;  // it is adopted, so its ids were read: only numbers for people are missing
    entry.meter.emplace(*task);
  }
  const int slot = attempt.acked().device_index;
  if (const auto seconds = entry.meter->Note(record)) metrics_->ObserveStepSeconds(slot, *seconds);
}

void Agent::UpdateMetrics() {
  std::int64_t n_busy = 0;
  for (auto& [id, entry] : entries_) {
    if (entry.attempt == nullptr) {
      n_busy += entry.unwanted ? 0 : 1;
      continue;
    }
    const bool running = !entry.attempt->acked().ended && entry.attempt->running();
    n_busy += running ? 1 : 0;
    if (!entry.meter) continue;
    const int slot = entry.attempt->acked().device_index;
    if (running) {
      metrics_->ShowSlot(slot, *entry.meter);
    } else {
      metrics_->HideSlot(slot, *entry.meter);
      entry.meter.reset();
    }
  }
  const auto n_slots = static_cast<std::int64_t>(devices_.size());
  metrics_->SetSlots(n_busy, std::max<std::int64_t>(0, n_slots - n_busy));
  metrics_->SetBacklogBytes(BacklogBytes());
  metrics_->SetConnected(welcomed_);
}

// ---- session -----------------------------------------------------------------------------------

// Lists the newest of the attempts that are reported but still kept, so that a coordinator whose
// database was restored from a backup can ask for them again; one that has them says so.
void Agent::ListKept(std::vector<LiveAttempt>& attempts) const {
  for (auto it = entries_.rbegin(); it != entries_.rend(); ++it) {
    if (attempts.size() >= kListedMax) return;
    const auto& [id, entry] = *it;
    if (entry.attempt == nullptr || !entry.attempt->acked().ended) continue;
    attempts.push_back({.attempt = id,
                        .task = entry.attempt->ids().task,
                        .run_key = entry.attempt->ids().run_key,
                        .epoch = entry.attempt->ids().epoch,
                        .last_seq = entry.attempt->acked().durable_seq,
                        .running = false});
  }
}

std::vector<LiveAttempt> Agent::LiveAttempts() const {
  std::vector<LiveAttempt> live;
  for (const auto& [id, entry] : entries_) {
    if (entry.attempt == nullptr) {
      if (entry.unwanted) continue;
      live.push_back({.attempt = id,
                      .task = entry.task->task,
                      .run_key = entry.task->run_key,
                      .epoch = entry.task->epoch,
                      .last_seq = 0,
                      .running = false});
      continue;
    }
    if (entry.attempt->acked().ended) continue;
    const LocalAttempt& attempt = *entry.attempt;
    live.push_back({.attempt = id,
                    .task = attempt.ids().task,
                    .run_key = attempt.ids().run_key,
                    .epoch = attempt.ids().epoch,
                    .last_seq = attempt.last_seq(),
                    .running = attempt.running()});
  }
  return live;
}

void Agent::TickSession(std::int64_t now_ms) {
  if (session_ == nullptr) {
    if (now_ms >= connect_at_ms_) OpenSession(now_ms);
    return;
  }
  if (now_ms - heard_ms_ > std::max(kSilenceMsMax, 4 * heartbeat_ms_)) {
    CloseSession(now_ms, Status(Code::kDeadlineExceeded, "the coordinator does not answer"));
    return;
  }
  if (welcomed_ && now_ms >= heartbeat_at_ms_) {
    heartbeat_at_ms_ = now_ms + heartbeat_ms_;
    session_->Send(HeartbeatMessage{.number = ++heartbeat_number_,
                                    .attempts = LiveAttempts(),
                                    .backlog_bytes = BacklogBytes()});
  }
}

void Agent::OpenSession(std::int64_t now_ms) {
  const std::int64_t number = ++session_number_;
  heard_ms_ = now_ms;
  heartbeat_at_ms_ = now_ms + kIdleMsMax;
  HelloMessage hello = {.protocol_version = kProtocolVersion,
                        .worker_id = worker_id_,
                        .incarnation = incarnation_,
                        .host = HostName(),
                        .version = Str(kVersion, " ", BuildCommit()),
                        .pid = getpid(),
                        .devices = devices_,
                        .dataset_digests = DatasetDigests(JoinPath(options_.state, "datasets")),
                        .attempts = LiveAttempts()};
  ListKept(hello.attempts);
  const auto current = [this, number] { return session_ != nullptr && session_number_ == number; };
  session_ =
      CoordinatorSession::Open(coordinator_, std::move(hello),
                               {.on_message =
                                    [this, current](DownMessage message) {
                                      Post([this, current, message = std::move(message)] {
                                        if (!current()) return;
                                        heard_ms_ = BootMs();
                                        std::visit([this](const auto& m) { On(m); }, message);
                                      });
                                    },
                                .on_end =
                                    [this, current](const Status& status) {
                                      Post([this, current, status] {
                                        if (current()) CloseSession(BootMs(), status);
                                      });
                                    }});
}

void Agent::CloseSession(std::int64_t now_ms, const Status& why) {
  session_.reset();
  const bool was_welcomed = std::exchange(welcomed_, false);
  for (auto& [id, entry] : entries_) entry.welcomed = false;
  const std::int64_t back_off_max_ms =
      heartbeat_ms_ == 0  // no coordinator has welcomed us yet
          ? kBackOffMsMax
          : std::clamp(kBackOffHeartbeats * heartbeat_ms_, kBackOffMs, kBackOffMsMax);
  back_off_ms_ =
      back_off_ms_ == 0
          ? kBackOffMs
          : std::min(back_off_max_ms,
                     static_cast<std::int64_t>(kBackOffGrowth * static_cast<double>(back_off_ms_)));
  connect_at_ms_ =
      now_ms + 1 + static_cast<std::int64_t>(random_.Uniform() * static_cast<double>(back_off_ms_));
  // Log once per outage, not once per try.
  if (was_welcomed || back_off_ms_ == kBackOffMs || why.code() != Code::kUnavailable) {
    LogWarning("session_ended", {{"why", why.ok() ? "the coordinator closed it" : why.message()},
                                 {"again_in_ms", Str(connect_at_ms_ - now_ms)}});
  }
}

void Agent::On(const WelcomeMessage& welcome) {
  const std::int64_t now_ms = BootMs();
  if (welcome.protocol_version != kProtocolVersion) {
    CloseSession(now_ms, Status(Code::kFailedPrecondition,
                                Str("the coordinator speaks protocol ", welcome.protocol_version,
                                    ", this worker ", kProtocolVersion, ": update the older one")));
    return;
  }
  // Do not obey an older copy of the database that we served.
  if (welcome.coordinator_id == coordinator_id_ && welcome.boot_epoch < boot_epoch_) {
    CloseSession(now_ms, Status(Code::kFailedPrecondition,
                                Str("coordinator ", welcome.coordinator_id, " reports start ",
                                    welcome.boot_epoch,
                                    ", but this worker has already served start ", boot_epoch_,
                                    ": two coordinators are running on copies of one database")));
    return;
  }
  coordinator_id_ = welcome.coordinator_id;
  boot_epoch_ = welcome.boot_epoch;
  heartbeat_ms_ = welcome.heartbeat_ms > 0 ? welcome.heartbeat_ms : kHeartbeatMs;
  heartbeat_at_ms_ = now_ms + heartbeat_ms_;
  back_off_ms_ = 0;
  welcomed_ = true;
  if (stopping_) session_->Send(DrainMessage{});
  LogInfo("session_welcomed", {{"coordinator", coordinator_id_},
                               {"boot_epoch", Str(boot_epoch_)},
                               {"attempts", Str(welcome.attempts.size())}});
  for (const AttemptVerdict& verdict : welcome.attempts) {
    const auto found = entries_.find(verdict.attempt);
    if (found != entries_.end()) ApplyVerdict(verdict, found->second);
  }
}

void Agent::ApplyVerdict(const AttemptVerdict& verdict, Entry& entry) {
  const std::int64_t now_ms = BootMs();
  const bool stops = verdict.verdict == Verdict::kStop || verdict.verdict == Verdict::kFenced;
  if (entry.attempt == nullptr) {
    if (verdict.verdict == Verdict::kStop) {
      GiveBack(entry, "it was stopped before its trainer started");
    } else if (verdict.verdict != Verdict::kContinue) {
      entry.unwanted = true;
    }
    return;
  }
  LocalAttempt& attempt = *entry.attempt;
  if (attempt.acked().ended) {
    // A database that does not know the attempt, or has another one for its task,
    // does not need its journal.
    if (verdict.verdict == Verdict::kEnded || verdict.verdict == Verdict::kFenced) return;
    LogInfo("attempt_told_again",
            {{"attempt", verdict.attempt}, {"durable_seq", Str(verdict.durable_seq)}});
    attempt.TakeBackEnd();
  }
  if (verdict.verdict == Verdict::kEnded) {
    return On(
        AckMessage{.attempt = verdict.attempt, .durable_seq = verdict.durable_seq, .ended = true});
  }
  entry.welcomed = true;
  const bool is_fenced = verdict.verdict == Verdict::kFenced;
  entry.uplink->Resume(verdict.durable_seq, is_fenced);
  // Our Accepted message may have been lost with the session.
  if (verdict.durable_seq == 0) {
    session_->Send(AcceptedMessage{.attempt = attempt.ids().attempt, .epoch = attempt.ids().epoch});
  }
  if (stops && attempt.running() && !attempt.stop_requested()) {
    LogInfo("attempt_stopping", {{"attempt", verdict.attempt},
                                 {"why", is_fenced ? "a newer attempt has the task" : "told to"}});
  }
  entry.cancelled = entry.cancelled || verdict.verdict == Verdict::kStop;
  if (stops) attempt.RequestStop(now_ms, kFencedGraceMs);
}

void Agent::On(const StopMessage& stop) {
  const auto found = entries_.find(stop.attempt);
  if (found == entries_.end()) {
    Reject(stop.attempt, stop.epoch, "", "the attempt is not on this worker");
    return;
  }
  Entry& entry = found->second;
  if (entry.attempt == nullptr) return GiveBack(entry, "it was stopped before its trainer started");
  if (!entry.attempt->running()) {
    entry.uplink->RepeatEnd();  // the coordinator may not have received it
    return;
  }
  if (!entry.attempt->stop_requested()) {
    LogInfo("attempt_stopping", {{"attempt", stop.attempt}, {"why", stop.reason}});
  }
  entry.cancelled = true;
  entry.attempt->RequestStop(BootMs(), stop.grace_ms);
}

void Agent::On(const FencedMessage& fenced) {
  const auto found = entries_.find(fenced.attempt);
  if (found == entries_.end()) return;
  Entry& entry = found->second;
  if (entry.attempt == nullptr) {
    entry.unwanted = true;
    return;
  }
  if (!entry.uplink->fenced()) {
    LogInfo("attempt_fenced", {{"attempt", fenced.attempt},
                               {"epoch", Str(entry.attempt->ids().epoch)},
                               {"current_epoch", Str(fenced.current_epoch)}});
  }
  // A database that does not know the attempt cannot store its journal.
  entry.uplink->Fence(/*journal_wanted=*/fenced.current_epoch != 0);
  entry.attempt->RequestStop(BootMs(), kFencedGraceMs);
}

void Agent::On(const AckMessage& ack) {
  const auto found = entries_.find(ack.attempt);
  if (found == entries_.end()) return;
  Entry& entry = found->second;
  if (entry.attempt == nullptr) {
    entry.unwanted |= ack.ended;
    return;
  }
  LocalAttempt& attempt = *entry.attempt;
  entry.uplink->Acknowledge(ack.durable_seq);
  if (!ack.ended || attempt.acked().ended) return;
  if (attempt.running()) {
    // It is still running although its end is stored: stop it; the answer to a later heartbeat
    // marks it as ended.
    attempt.RequestStop(BootMs(), kFencedGraceMs);
    return;
  }
  entry.uplink->Finish();
  if (const Status status = attempt.MarkEnded(WallMs()); !status.ok()) {
    LogWarning("acked_not_written", {{"attempt", ack.attempt}, {"error", status.message()}});
  }
  // The coordinator's store has its checkpoints now, or the trainer itself removed them.
  if (entry.uplink->files_damaged() || entry.uplink->fenced()) return;
  if (const Status status = RemoveAll(attempt.folder().Checkpoints()); !status.ok()) {
    LogWarning("checkpoints_not_removed", {{"attempt", ack.attempt}, {"error", status.message()}});
  }
}

void Agent::On(const NackMessage& nack) {
  const auto found = entries_.find(nack.attempt);
  if (found == entries_.end() || found->second.attempt == nullptr) return;
  LogWarning("journal_rewound",
             {{"attempt", nack.attempt}, {"expected_seq", Str(nack.expected_seq)}});
  found->second.uplink->Rewind(std::max<std::int64_t>(0, nack.expected_seq - 1));
}

void Agent::On(const HeartbeatReplyMessage&) {}

void Agent::On(const DrainMessage&) {
  if (!draining_) LogInfo("worker_draining", {{"id", worker_id_}});
  draining_ = true;
}

void Agent::Reject(const std::string& attempt, std::uint64_t epoch, std::string_view failure_class,
                   const std::string& reason) {
  LogWarning("attempt_rejected",
             {{"attempt", attempt}, {"class", std::string(failure_class)}, {"reason", reason}});
  if (!welcomed_) return;  // the next Hello shows that we do not have it
  session_->Send(RejectedMessage{.attempt = attempt,
                                 .epoch = epoch,
                                 .failure_class = std::string(failure_class),
                                 .reason = reason});
}

// Gives back an accepted task that is still being prepared.
// Files already fetched stay in the cache.
void Agent::GiveBack(Entry& entry, const std::string& reason) {
  if (std::exchange(entry.unwanted, true)) return;
  Reject(entry.start.attempt, entry.start.epoch, "", reason);
}

// ---- starting ----------------------------------------------------------------------------------

std::string Agent::WhySlotIsTaken(int device_index) const {
  for (const auto& [id, entry] : entries_) {
    const bool prepared = entry.attempt == nullptr && !entry.unwanted;
    if (prepared && entry.start.device_index == device_index) {
      return Str("attempt ", id, " is being prepared on slot ", device_index);
    }
    if (entry.attempt && entry.attempt->running() &&
        entry.attempt->acked().device_index == device_index) {
      return Str("attempt ", id, " still runs on slot ", device_index);
    }
  }
  return "";
}

// Everything that can change bits must be the same as in the run's first attempt.
Status Agent::CheckStart(const StartMessage& start, const TaskFile& task) const {
  if (task.attempt != start.attempt || task.epoch != start.epoch ||
      task.run.dataset_digest != start.dataset_digest) {
    return Status(Code::kInvalidArgument,
                  Str("the task file is of attempt ", task.attempt, " and epoch ", task.epoch,
                      ", the order of ", start.attempt, " and ", start.epoch));
  }
  const Slot& slot = devices_[static_cast<std::size_t>(start.device_index)];
  const Execution& wanted = task.execution;
  if (wanted.device_kind != slot.kind || !HonoursMatrixPath(slot.linear, wanted.linear) ||
      (!wanted.simd.empty() && !RunsSimd(slot.simd, wanted.simd)) ||
      (!wanted.bf16.empty() && wanted.bf16 != slot.bf16) ||
      (slot.kind == "gpu" && wanted.device_name != slot.name)) {
    return Status(Code::kFailedPrecondition,
                  Str("the run uses ", wanted.device_kind, " \"", wanted.device_name, "\" with ",
                      PathsText(wanted), "; this worker has ", slot.kind, " \"", slot.name,
                      "\" with ", PathsText(slot), ": its bits would differ"));
  }
  return Status();
}

void Agent::On(const StartMessage& start) {
  const std::string& id = start.attempt;
  if (const auto found = entries_.find(id); found != entries_.end()) {
    if (found->second.unwanted) return Reject(id, start.epoch, "", "it was returned before");
    found->second.welcomed = true;
    session_->Send(AcceptedMessage{.attempt = id, .epoch = start.epoch});
    return;
  }
  if (!IsUlid(id)) return Reject(id, start.epoch, "invalid", "the attempt's id is not a ULID");
  if (stopping_ || draining_) return Reject(id, start.epoch, "", "this worker is stopping");
  if (start.device_index < 0 || start.device_index >= static_cast<int>(devices_.size())) {
    return Reject(id, start.epoch, "",
                  Str("slot ", start.device_index, " does not exist: there are ", devices_.size()));
  }
  if (const std::string why = WhySlotIsTaken(start.device_index); !why.empty()) {
    return Reject(id, start.epoch, "", why);
  }
  const Result<std::int64_t> free_bytes = DiskFreeBytes(options_.state);
  if (!free_bytes) return Reject(id, start.epoch, "storage", free_bytes.status().message());
  if (*free_bytes < options_.disk_free_bytes_min) {
    return Reject(id, start.epoch, "storage",
                  Str(*free_bytes, " bytes free in ", options_.state, ", at least ",
                      options_.disk_free_bytes_min, " required: free some space"));
  }
  Result<Json> json = ParseJson(start.task_json);
  if (!json) return Reject(id, start.epoch, "invalid", json.status().message());
  Result<TaskFile> task = TaskFile::FromJson(*json);
  if (!task) return Reject(id, start.epoch, "invalid", task.status().message());
  if (const Status status = CheckStart(start, *task); !status.ok()) {
    return Reject(id, start.epoch, "invalid", status.message());
  }
  Entry& entry = entries_[id];
  entry.start = start;
  entry.task = *std::move(task);
  // Answered before the preparation, which may take minutes:
  // an offer without an answer is withdrawn.
  session_->Send(AcceptedMessage{.attempt = id, .epoch = start.epoch});
  Prepare(entry);
}

void Agent::Prepare(Entry& entry) {
  entry.prepare_again_ms = -1;
  entry.prepare_tries += 1;
  jobs_->Post([this, start = entry.start, state = options_.state] {
    const auto prepare = [&]() -> Result<Prepared> {
      Prepared prepared;
      ASSIGN_OR_RETURN(
          prepared.dataset_path,
          FindDataset(start.dataset_digest, JoinPath(state, "datasets"), start.dataset_path));
      for (const CheckpointSource& source : start.checkpoints) {
        ASSIGN_OR_RETURN(prepared.checkpoints[source.sha256],
                         artifacts_.FetchCheckpoint(source, JoinPath(state, "cache")));
      }
      return prepared;
    };
    Post([this, id = start.attempt, prepared = prepare()] { OnPrepared(id, prepared); });
  });
}

void Agent::OnPrepared(const std::string& id, const Result<Prepared>& prepared) {
  const auto found = entries_.find(id);
  LR_CHECK(found != entries_.end() && found->second.attempt == nullptr);
  Entry& entry = found->second;
  entry.prepare_again_ms = BootMs();
  if (entry.unwanted) {
    entries_.erase(found);
    return;
  }
  if (prepared) {
    LaunchAttempt(entry, *prepared);
    return;
  }
  const Status status = prepared.status();
  const std::string_view failure_class = RefusalClass(status);
  const bool may_pass = failure_class.empty() && entry.prepare_tries < kPrepareTriesMax;
  if (may_pass || !welcomed_) {  // without a session, refuse later
    entry.prepare_again_ms = BootMs() + kTransferAgainMs;
    return;
  }
  Reject(id, entry.start.epoch, failure_class, status.message());
  entries_.erase(found);
}

std::vector<std::string> Agent::TrainerEnvironment(const TaskFile& task, int device_index) const {
  std::vector<std::string> env = {
      "LANG=C.UTF-8",
      // Threads that spin while waiting take the processor from those that they wait for.
      "OMP_WAIT_POLICY=passive",
      Str("OMP_NUM_THREADS=", task.execution.threads),
      Str("MKL_NUM_THREADS=", task.execution.threads),
      Str("ATEN_CPU_CAPABILITY=", CapabilityOfSimd(task.execution.simd)),
  };
  const bool gpu = task.execution.device_kind == "gpu";
  // NVML numbers GPUs in bus order, so CUDA must as well. An empty list hides all GPUs.
  if (gpu) env.push_back("CUDA_DEVICE_ORDER=PCI_BUS_ID");
  env.push_back(gpu ? Str("CUDA_VISIBLE_DEVICES=", device_index) : "CUDA_VISIBLE_DEVICES=");
  for (const char* const name :
       {"PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "LONGRUN_FAILPOINTS"}) {
    if (const auto value = GetEnv(name)) env.push_back(Str(name, "=", *value));
  }
  return env;
}

void Agent::LaunchAttempt(Entry& entry, const Prepared& prepared) {
  TaskFile task = *entry.task;
  const std::string id = task.attempt;
  const std::uint64_t epoch = task.epoch;
  const AttemptFolder folder = {.path = JoinPath(JoinPath(options_.state, "attempts"), id)};
  for (std::optional<CheckpointRef>* ref : {&task.init, &task.resume}) {
    if (!ref->has_value()) continue;
    const auto found = prepared.checkpoints.find((*ref)->sha256);
    if (found == prepared.checkpoints.end()) {
      Reject(
          id, epoch, "invalid",
          Str("the order does not say where checkpoint ", (*ref)->sha256, " of the task file is"));
      entries_.erase(id);
      return;
    }
    (*ref)->checkpoint = found->second;
  }
  task.dataset_path = prepared.dataset_path;
  task.attempt_dir = folder.path;
  task.cache_dir = JoinPath(options_.state, "cache");
  // CUDA_VISIBLE_DEVICES shows the trainer its one GPU, as ordinal 0.
  if (task.execution.device_kind == "gpu") task.devices = {0};

  const int device_index = entry.start.device_index;
  Result<std::unique_ptr<LocalAttempt>> attempt = LocalAttempt::Start(
      {.ids = {.attempt = id, .task = task.task, .run_key = task.run_key, .epoch = task.epoch},
       .folder = folder,
       .device_index = device_index,
       .task_json = CanonicalJson(task.ToJson()),
       .program = options_.program,
       .trainer = options_.trainer,
       .env = TrainerEnvironment(task, device_index)});
  if (!attempt) {
    // No failure here is the task's fault: one without a class of its own is retried.
    const std::string_view failure_class = RefusalClass(attempt.status());
    const bool is_data = failure_class == FailureOf(FailureClass::kData).name;
    Reject(id, epoch, is_data ? "" : failure_class, attempt.status().message());
    if (const Status status = RemoveAll(folder.path); !status.ok()) {
      LogWarning("folder_not_removed", {{"folder", folder.path}, {"error", status.message()}});
    }
    entries_.erase(id);
    return;
  }
  entry.Hold(std::move(attempt).value());
  entry.meter.emplace(task);
  entry.was_running = true;
  entry.welcomed = welcomed_;
  entry.task.reset();
  entry.start = {};
  metrics_->CountStarted(TaskKindName(task.kind));
  LogInfo("attempt_started", {{"attempt", id},
                              {"task", ShortId(task.task)},
                              {"kind", std::string(TaskKindName(task.kind))},
                              {"epoch", Str(epoch)},
                              {"slot", Str(device_index)}});
}

// ---- forwarding --------------------------------------------------------------------------------

// Of all journals that share the session's limit.
std::size_t Agent::InFlightBytes() const {
  std::size_t n_bytes = 0;
  for (const auto& [id, entry] : entries_) {
    const bool shares = entry.uplink && entry.welcomed && !entry.uplink->fenced();
    if (shares) n_bytes += entry.uplink->in_flight_bytes();
  }
  return n_bytes;
}

void Agent::Pump(Entry& entry, std::int64_t now_ms) {
  while (SendNext(entry, now_ms)) {
  }
  if (session_->queued_bytes() > kLogQueueBytesMax) return;
  if (auto piece = entry.attempt->NextLogPiece(now_ms)) {
    session_->Send(LogChunkMessage{.attempt = entry.attempt->ids().attempt,
                                   .offset = piece->offset,
                                   .data = std::move(piece->data)});
  }
}

bool Agent::SendNext(Entry& entry, std::int64_t now_ms) {
  switch (entry.uplink->Look(now_ms)) {
    case JournalUplink::Next::kNothing:
      return false;
    case JournalUplink::Next::kUpload:
      StartUpload(entry);
      return false;
    case JournalUplink::Next::kBatch:
      return SendBatch(entry);
    case JournalUplink::Next::kEnd:
      session_->Send(entry.uplink->TakeEnd());
      return false;
  }
  LR_CHECK(false);
}

bool Agent::SendBatch(Entry& entry) {
  const std::size_t in_flight_bytes = InFlightBytes();
  const bool has_room = in_flight_bytes + entry.uplink->batch_bytes() <= kInFlightBytesMax;
  if (in_flight_bytes > 0 && !has_room) return false;
  JournalUplink::Batch batch = entry.uplink->TakeBatch();
  for (const JournalRecord& record : batch.records) Measure(entry, record);
  Failpoint("worker_before_batch");
  session_->Send(std::move(batch.message));
  Failpoint("worker_after_batch");
  return true;
}

void Agent::StartUpload(Entry& entry) {
  const std::string id = entry.attempt->ids().attempt;
  JournalUplink::Upload upload = entry.uplink->TakeUpload();
  if (!upload.files) {
    OnUploaded(id, upload.seq, Status(Code::kDataLoss, upload.files.status().message()));
    return;
  }
  jobs_->Post([this, id, seq = upload.seq, files = *std::move(upload.files)] {
    const Status status = artifacts_.Upload(files);
    Post([this, id, seq, status] { OnUploaded(id, seq, status); });
  });
}

void Agent::OnUploaded(const std::string& id, std::int64_t seq, const Status& status) {
  const auto found = entries_.find(id);
  // The attempt may have been offered again meanwhile, and be in preparation.
  if (found == entries_.end() || !found->second.uplink) return;
  JournalUplink& uplink = *found->second.uplink;
  if (!status.ok() && IsTransient(status)) {
    uplink.RetryUpload(BootMs() + kTransferAgainMs);
    if (welcomed_) {
      LogWarning("upload_delayed",
                 {{"attempt", id}, {"seq", Str(seq)}, {"error", status.message()}});
    }
    return;
  }
  uplink.NoteUploaded(seq, status);
  if (status.ok()) return;
  LogWarning("upload_given_up",
             {{"attempt", id}, {"seq", Str(seq)}, {"class", "data"}, {"error", status.message()}});
}

void Agent::ReportEnded(Entry& entry) {
  entry.was_running = false;
  const LocalAttempt& attempt = *entry.attempt;
  const std::optional<ExitRecord> exit = attempt.Exit();
  EndEvidence evidence = {.cancel_requested = entry.cancelled && attempt.stop_requested(),
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

// Journals are kept for a while after their acknowledgement, so that a coordinator restored from a
// backup can have them again; the oldest are removed first.
void Agent::ApplyRetention() {
  struct Kept {
    std::int64_t age_key;  // wall time of the end, or of the last use
    std::string id, path;
    std::int64_t n_bytes;
  };
  const auto remove = [](const std::string& path) {
    const Status status = RemoveAll(path);
    if (!status.ok()) {
      LogWarning("folder_not_removed", {{"folder", path}, {"error", status.message()}});
    }
  };
  std::vector<Kept> kept;
  std::int64_t total_bytes = 0;
  bool cache_in_use = false;
  for (const auto& [id, entry] : entries_) {
    if (entry.attempt == nullptr || !entry.attempt->acked().ended) {
      cache_in_use = true;
      continue;
    }
    const std::string& path = entry.attempt->folder().path;
    kept.push_back({.age_key = entry.attempt->acked().ended_wall_ms,
                    .id = id,
                    .path = path,
                    .n_bytes = BytesBelow(path)});
    total_bytes += kept.back().n_bytes;
  }
  std::ranges::sort(kept, {}, &Kept::age_key);
  const std::int64_t wall_ms = WallMs();
  for (const Kept& folder : kept) {
    const bool old = wall_ms - folder.age_key > options_.retain_ms;
    if (!old && total_bytes <= options_.retain_bytes_max) break;
    total_bytes -= folder.n_bytes;
    remove(folder.path);
    entries_.erase(folder.id);
  }

  // Trim the cache only while nothing here reads it; removed files are fetched again.
  if (cache_in_use) return;
  const std::string cache = JoinPath(options_.state, "cache");
  const Result<std::vector<std::string>> names = ListFolder(cache);
  if (!names) return;
  kept.clear();
  total_bytes = 0;
  for (const std::string& name : *names) {
    if (!IsSha256Hex(name)) continue;
    const std::string path = JoinPath(cache, name);
    struct stat about = {};
    if (stat(path.c_str(), &about) != 0) continue;
    kept.push_back(
        {.age_key = about.st_mtim.tv_sec, .id = name, .path = path, .n_bytes = BytesBelow(path)});
    total_bytes += kept.back().n_bytes;
  }
  std::ranges::sort(kept, {}, &Kept::age_key);
  for (const Kept& folder : kept) {
    if (total_bytes <= options_.cache_bytes_max) break;
    total_bytes -= folder.n_bytes;
    remove(folder.path);
  }
}

}  // namespace longrun::agent
