// See session.h.
#include "coordinator/rpc/session.h"

#include <algorithm>
#include <deque>
#include <mutex>
#include <optional>
#include <set>
#include <utility>

#include "base/check.h"
#include "base/clock.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/random.h"
#include "base/str.h"
#include "base/utf8.h"
#include "coordinator/one_line.h"
#include "coordinator/rpc/caller.h"
#include "coordinator/rpc/names.h"
#include "coordinator/rpc/session_memory.h"
#include "longrun/v1/session.grpc.pb.h"
#include "sweeps/event.h"
#include "sweeps/protocol.h"
#include "sweeps/session_codec.h"

namespace longrun::coordinator {
namespace {

constexpr std::int64_t kUnansweredBytesMax = 4 << 20;
// Approximate memory that a message takes besides its bytes: the event with its answer, and for
// each attempt that it lists, the verdict on it.
constexpr std::int64_t kMessageBytes = 1024;
constexpr std::int64_t kListedBytes = 256;
constexpr std::size_t kDevicesMax = 1024;
constexpr std::size_t kAttemptsMax = 10'000;
constexpr std::size_t kBatchRecordsMax = 512;
constexpr std::size_t kTextBytesMax = 256;
constexpr std::size_t kLabelsMax = 64;
constexpr std::size_t kCapabilitiesMax = 256;
constexpr std::size_t kDatasetsMax = 10'000;
constexpr std::int64_t kThreadsMax = 4096;
constexpr std::int64_t kMemoryBytesMax = std::int64_t{1} << 56;
constexpr std::size_t kOutgoingMax = 1024;
constexpr std::size_t kHeldBytesMax = 64 << 10;  // of a message that was handled
constexpr std::int64_t kAllocationMsMax = std::int64_t{100} * 366 * 24 * 3600 * 1000;

// ---- messages up --------------------------------------------------------------------------------

std::int64_t CostOf(const v1::WorkerMessage& message) {
  const int n_listed = message.hello().attempts_size() + message.heartbeat().attempts_size();
  return static_cast<std::int64_t>(message.ByteSizeLong()) + kMessageBytes +
         n_listed * kListedBytes;
}

Status Malformed(std::string_view what) { return Status(Code::kInvalidArgument, what); }

// A slot's description becomes the permanent execution of every run that begins there.
Status CheckDevice(const Slot& device) {
  if (device.index < 0) return Malformed(Str("has the index ", device.index));
  if (device.threads < 1 || device.threads > kThreadsMax) {
    return Malformed(Str("has ", device.threads, " threads: expected 1 to ", kThreadsMax));
  }
  if (device.memory_bytes < 1 || device.memory_bytes > kMemoryBytesMax) {
    return Malformed(Str("has ", device.memory_bytes, " bytes of memory: expected 1 to 2^56"));
  }
  for (const std::string* text : {&device.name, &device.simd, &device.linear}) {
    if (text->empty() || !IsShortLine(*text, kTextBytesMax)) {
      return Malformed(Str("has a name, simd or linear of ", text->size(), " bytes: expected 1 to ",
                           kTextBytesMax, ", without control characters"));
    }
  }
  for (const std::string* text :
       {&device.bf16, &device.attention, &device.operators, &device.head}) {
    if (!IsShortLine(*text, kTextBytesMax)) {
      return Malformed(Str("has a bf16, attention, operators or head of ", text->size(),
                           " bytes: expected at most ", kTextBytesMax,
                           ", without control characters"));
    }
  }
  return Status();
}

Status CheckLabels(const HelloMessage& hello) {
  if (hello.labels.size() > kLabelsMax) {
    return Malformed(Str("worker ", hello.worker_id, " has ", hello.labels.size(),
                         " labels: at most ", kLabelsMax, " are allowed"));
  }
  for (const auto& [key, value] : hello.labels) {
    if (IsSafeName(key) && IsShortLine(value, kTextBytesMax)) continue;
    return Malformed(Str("worker ", hello.worker_id, " has the label \"", Printable(key),
                         "\" with ", value.size(),
                         " bytes: its key must consist of letters, digits, '.', '_' "
                         "and '-', and its value of at most ",
                         kTextBytesMax, " bytes without control characters"));
  }
  return Status();
}

Status CheckAllocation(const HelloMessage& hello) {
  if (!hello.allocation) return Status();
  if (!IsShortLine(hello.allocation->job, kTextBytesMax)) {
    return Malformed(Str("worker ", hello.worker_id, " has an allocation with a job of ",
                         hello.allocation->job.size(), " bytes: at most ", kTextBytesMax,
                         " are allowed, without control characters"));
  }
  const std::int64_t left_ms = hello.allocation->work_left_ms.value_or(0);
  if (left_ms >= 0 && left_ms <= kAllocationMsMax) return Status();
  return Malformed(Str("worker ", hello.worker_id, " has an allocation that ends in ", left_ms,
                       " ms: expected 0 to ", kAllocationMsMax));
}

Result<std::set<std::string>> DigestsOf(const std::string& worker,
                                        const std::vector<std::string>& digests) {
  if (digests.size() > kDatasetsMax) {
    return Malformed(Str("worker ", worker, " has ", digests.size(), " datasets: at most ",
                         kDatasetsMax, " are allowed"));
  }
  for (const std::string& digest : digests) {
    if (!IsSha256Hex(digest)) return Malformed(Str("\"", digest, "\" is not a dataset digest"));
  }
  return std::set<std::string>(digests.begin(), digests.end());
}

// Why a Hello could not be read.
Status UnreadHello(const v1::Hello& hello) {
  const int newest = std::max(hello.protocol_version(), hello.protocol_newest());
  RETURN_IF_ERROR(
      AgreeOnProtocol({.oldest = hello.protocol_version(), .newest = newest}, ProtocolRange())
          .status());
  RETURN_IF_ERROR(CheckName(hello.worker_id(), "worker"));
  for (const v1::Device& device : hello.devices()) {
    if (FindEnum<DeviceKind>(device.kind())) continue;
    return Malformed(Str("is of kind \"", device.kind(), "\": expected cpu or gpu"))
        .In(Str("device ", device.index(), " of worker ", hello.worker_id()));
  }
  LR_CHECK(false);
}

Result<WorkerArrived> ArrivalOf(HelloMessage hello) {
  ASSIGN_OR_RETURN(const int protocol, AgreeOnProtocol({.oldest = hello.protocol_oldest,
                                                        .newest = hello.protocol_newest},
                                                       ProtocolRange()));
  RETURN_IF_ERROR(CheckName(hello.worker_id, "worker"));
  if (!IsUlid(hello.incarnation)) {
    return Malformed(Str("\"", hello.incarnation, "\" is not an incarnation: expected a ULID"));
  }
  if (!hello.folder_id.empty() && !IsUlid(hello.folder_id)) {
    return Malformed(Str("\"", hello.folder_id, "\" is not the id of a folder: expected a ULID"));
  }
  if (hello.devices.size() > kDevicesMax || hello.attempts.size() > kAttemptsMax) {
    return Malformed(Str("worker ", hello.worker_id, " reports ", hello.devices.size(),
                         " devices and ", hello.attempts.size(), " attempts: at most ", kDevicesMax,
                         " and ", kAttemptsMax, " are allowed"));
  }
  if (!IsShortLine(hello.host, kTextBytesMax) || !IsShortLine(hello.version, kTextBytesMax)) {
    return Malformed(Str("worker ", hello.worker_id, " has a host of ", hello.host.size(),
                         " bytes and a version of ", hello.version.size(), ": at most ",
                         kTextBytesMax, " each are allowed, without control characters"));
  }
  RETURN_IF_ERROR(CheckLabels(hello));
  if (hello.capabilities.size() > kCapabilitiesMax) {
    return Malformed(Str("worker ", hello.worker_id, " has ", hello.capabilities.size(),
                         " capabilities: at most ", kCapabilitiesMax, " are allowed"));
  }
  RETURN_IF_ERROR(CheckAllocation(hello));
  std::set<std::int64_t> indices;
  for (const Slot& device : hello.devices) {
    if (Status status = CheckDevice(device); !status.ok()) {
      return std::move(status).In(Str("device ", device.index, " of worker ", hello.worker_id));
    }
    if (!indices.insert(device.index).second) {
      return Malformed(
          Str("worker ", hello.worker_id, " has two devices with the index ", device.index));
    }
  }
  WorkerArrived arrival;
  ASSIGN_OR_RETURN(arrival.worker.dataset_digests,
                   DigestsOf(hello.worker_id, hello.dataset_digests));
  arrival.worker.id = std::move(hello.worker_id);
  arrival.worker.incarnation = std::move(hello.incarnation);
  arrival.worker.folder_id = std::move(hello.folder_id);
  arrival.worker.host = std::move(hello.host);
  arrival.worker.version = std::move(hello.version);
  arrival.worker.slots = std::move(hello.devices);
  arrival.worker.labels = std::move(hello.labels);
  arrival.worker.protocol = protocol;
  arrival.worker.capabilities = {hello.capabilities.begin(), hello.capabilities.end()};
  arrival.worker.disk = hello.disk;
  // It may be longer than the other texts, and nothing but words to people depends on it.
  if (IsShortLine(hello.folder, kTextBytesMax)) arrival.worker.folder = std::move(hello.folder);
  arrival.attempts = std::move(hello.attempts);
  arrival.allocation = std::move(hello.allocation);
  return arrival;
}

Result<JournalReceived> JournalOf(JournalBatchMessage batch) {
  if (batch.lines.size() > kBatchRecordsMax) {
    return Malformed(Str("the batch has ", batch.lines.size(), " records: at most ",
                         kBatchRecordsMax, " are allowed"));
  }
  JournalReceived received{.session = 0,
                           .attempt = std::move(batch.attempt),
                           .epoch = batch.epoch,
                           .first_seq = batch.first_seq,
                           .records = {}};
  // Unsigned, so that it cannot overflow: a sender may name any number.
  const auto first = static_cast<std::uint64_t>(batch.first_seq);
  for (std::string& line : batch.lines) {
    const auto seq = static_cast<std::int64_t>(first + received.records.size());
    auto record = ParseJournalLine(line);
    if (!record.ok()) {
      return std::move(record).status().In(Str("record ", seq, " of attempt ", received.attempt));
    }
    if (record->seq != seq) {
      return Malformed(Str("attempt ", received.attempt, ": record ", record->seq,
                           " was found where record ", seq, " was expected"));
    }
    received.records.push_back({.record = std::move(record).value(), .line = std::move(line)});
  }
  for (const std::int64_t gone : batch.without_files) {
    const std::uint64_t at = static_cast<std::uint64_t>(gone) - first;
    if (at >= received.records.size()) {
      return Malformed(Str("attempt ", received.attempt, ": record ", gone,
                           " is listed in without_files, but the batch has only ",
                           received.records.size(), " records from ", batch.first_seq, " on"));
    }
    received.records[at].files_gone = true;
  }
  return received;
}

// ---- the stream ---------------------------------------------------------------------------------

using Stream = grpc::ServerBidiReactor<v1::WorkerMessage, v1::CoordinatorMessage>;

// The state of one stream that the core and gRPC's threads share. It outlives the stream while
// commands and answers are still under way.
//
// The mutex is recursive: gRPC may call OnReadDone or OnWriteDone inside StartRead or StartWrite,
// and we hold it over these calls so that the stream cannot end between a check and its use.
class Outbox final : public SessionSink, public std::enable_shared_from_this<Outbox> {
 public:
  Outbox(CoordinatorParts& parts, Stream* stream, v1::WorkerMessage* incoming,
         grpc::CallbackServerContext* context)
      : parts_(parts),
        stream_(stream),
        incoming_(incoming),
        context_(context),
        account_(parts.session_memory.AccountOf(AccountName(parts, *context))) {}
  ~Outbox() override {
    account_->Add(-n_unanswered_ - n_outgoing_bytes_);  // what was still on the way
  }

  void Send(DownMessage message) override {
    v1::CoordinatorMessage wire = ToWire(std::move(message));
    const std::int64_t n_bytes = CostOf(wire);
    const std::lock_guard lock(mutex_);
    if (stream_ == nullptr || ending_) return;
    outgoing_.push_back({.message = std::move(wire), .n_bytes = n_bytes});
    n_outgoing_bytes_ += n_bytes;
    account_->Add(n_bytes);
    if (outgoing_.size() == 1) Write();
  }
  void Close(const std::string& reason) override { End(Status(Code::kAborted, reason)); }

  void Written(bool ok) {
    const std::lock_guard lock(mutex_);
    DropFirst();
    while ((!ok || ending_) && !outgoing_.empty()) DropFirst();
    if (ending_) return FinishOnce();
    if (!ok) return End(Status(Code::kUnavailable, "the worker disconnected"));
    if (!outgoing_.empty()) Write();
    Resume();
  }

  // Reads the next message, at once or when enough messages have been answered.
  void Read() {
    const std::lock_guard lock(mutex_);
    if (stream_ == nullptr || ending_) return;
    if (IsFull()) {
      paused_ = true;
      LookLater();
    } else {
      stream_->StartRead(incoming_);
    }
  }

  void AddUnanswered(std::int64_t n_bytes) {
    const std::lock_guard lock(mutex_);
    n_unanswered_ += n_bytes;
    account_->Add(n_bytes);
  }
  void RemoveUnanswered(std::int64_t n_bytes) {
    const std::lock_guard lock(mutex_);
    n_unanswered_ -= n_bytes;
    account_->Add(-n_bytes);
    Resume();
  }

  // Ends the stream after the message in progress has been written.
  void End(const Status& status) {
    const std::lock_guard lock(mutex_);
    if (stream_ == nullptr || ending_) return;
    ending_ = true;
    status_ = status;
    if (outgoing_.empty()) {
      FinishOnce();
    } else {
      while (outgoing_.size() > 1) DropLast();  // all but the one being written
      // A peer that does not read would hold the stream open, so cancel it;
      // one that reads gets the reason.
      parts_.ticker.Add([self = shared_from_this()] {
        self->parts_.ticker.Add([self] { self->CancelUnlessFinished(); });
      });
    }
  }

  // The stream is about to be destroyed.
  void Detach() {
    const std::lock_guard lock(mutex_);
    stream_ = nullptr;
  }

 private:
  struct Outgoing {
    v1::CoordinatorMessage message;
    std::int64_t n_bytes = 0;
  };
  static std::int64_t CostOf(const v1::CoordinatorMessage& message) {
    return static_cast<std::int64_t>(message.ByteSizeLong()) + kMessageBytes;
  }
  // All streams of a worker share its account, and so do those that have not said Hello. Callers on
  // this machine are all the same user, so each of their streams has one of its own.
  static std::string AccountName(const CoordinatorParts& parts,
                                 const grpc::CallbackServerContext& context) {
    const Result<Principal> caller = CallerOf(parts.access, context);
    return caller.ok() && caller->kind != Principal::Kind::kLocal ? caller->Name() : "";
  }

  void Write() {
    written_at_ms_ = BootMs();
    stream_->StartWrite(&outgoing_.front().message);
  }
  void Forget(const Outgoing& one) {
    n_outgoing_bytes_ -= one.n_bytes;
    account_->Add(-one.n_bytes);
  }
  void DropFirst() {
    Forget(outgoing_.front());
    outgoing_.pop_front();
  }
  void DropLast() {
    Forget(outgoing_.back());
    outgoing_.pop_back();
  }
  // We stop reading from a peer that sends but does not read its answers, and from one that takes
  // more than its share while all together take too much.
  bool IsFull() const {
    return n_unanswered_ > kUnansweredBytesMax || outgoing_.size() > kOutgoingMax ||
           account_->IsOverShare();
  }
  // Nobody says when other sessions have made room, so a session that is paused looks.
  void LookLater() {
    if (looks_ || parts_.stopping) return;
    looks_ = true;
    parts_.ticker.Add([self = shared_from_this()] { self->Look(); });
  }
  void Look() {
    const std::lock_guard lock(mutex_);
    looks_ = false;
    if (stream_ == nullptr || ending_ || !paused_) return;
    const bool is_unread =
        !outgoing_.empty() && BootMs() - written_at_ms_ > parts_.session_memory.unread_ms_max();
    if (is_unread && account_->IsOverShare()) {
      const Status refusal = account_->Refusal();
      LogWarning("session_refused", {{"why", refusal.message()}});
      return End(refusal);
    }
    Resume();
    if (paused_) LookLater();
  }
  void Resume() {
    if (!paused_ || IsFull()) return;
    paused_ = false;
    Read();
  }
  void CancelUnlessFinished() {
    const std::lock_guard lock(mutex_);
    if (stream_ != nullptr && !finished_) context_->TryCancel();
  }
  void FinishOnce() {
    if (std::exchange(finished_, true)) return;
    stream_->Finish(EndCall(parts_, "Session", status_,
                            {.reason = "SESSION_ENDED", .subject = "worker session"}, context_));
  }

  CoordinatorParts& parts_;
  std::recursive_mutex mutex_;  // guards everything below
  Stream* stream_;
  v1::WorkerMessage* incoming_;
  grpc::CallbackServerContext* context_;
  const std::shared_ptr<SessionMemory::Account> account_;
  std::deque<Outgoing> outgoing_;  // the first one is being written now
  std::int64_t n_outgoing_bytes_ = 0;
  std::int64_t n_unanswered_ = 0;
  std::int64_t written_at_ms_ = 0;  // boot clock: when the first one was given to gRPC
  bool looks_ = false;              // at the next tick
  bool paused_ = false;
  bool ending_ = false;
  bool finished_ = false;
  Status status_;
};

class Session final : public Stream {
 public:
  Session(CoordinatorParts& parts, grpc::CallbackServerContext* context)
      : parts_(parts),
        context_(context),
        outbox_(std::make_shared<Outbox>(parts, this, &incoming_, context)) {
    outbox_->Read();
  }

  void OnReadDone(bool ok) override {
    if (!ok) return outbox_->End(Status());  // the worker closed its side, or is gone
    if (Status status = Take(); !status.ok()) return outbox_->End(status);
    // A message keeps its memory until the next one takes it.
    if (incoming_.SpaceUsedLong() > kHeldBytesMax) incoming_ = v1::WorkerMessage();
    outbox_->Read();
  }
  void OnWriteDone(bool ok) override { outbox_->Written(ok); }
  void OnDone() override {
    outbox_->Detach();
    if (session_ != 0) {
      parts_.core.RemoveSession(session_);
      parts_.metrics.ForgetBacklog(worker_);
    }
    delete this;
  }

 private:
  Status Take() {
    std::optional<UpMessage> message = FromWire(incoming_);
    if (session_ == 0 && !incoming_.has_hello()) {
      return Malformed("the first message of a session must be Hello");
    }
    if (!message && incoming_.has_hello()) return UnreadHello(incoming_.hello());
    if (!message) return Malformed("this coordinator does not know this kind of message");
    return std::visit([this](auto& one) { return On(std::move(one)); }, *message);
  }

  Status On(HelloMessage hello) {
    if (session_ != 0) return Malformed("a session must have only one Hello");
    RETURN_IF_ERROR(CheckService(parts_));
    ASSIGN_OR_RETURN(WorkerArrived arrival, ArrivalOf(std::move(hello)));
    ASSIGN_OR_RETURN(const Principal caller, CallerOf(parts_.access, *context_));
    RETURN_IF_ERROR(CheckCertificate(caller, arrival.worker.id));
    arrival.worker.over_network = caller.kind != Principal::Kind::kLocal;
    session_ = parts_.core.AddSession(outbox_);
    arrival.session = session_;
    worker_ = arrival.worker.id;
    Post(std::move(arrival));
    return Status();
  }

  Status On(HeartbeatMessage heartbeat) {
    if (heartbeat.attempts.size() > kAttemptsMax) {
      return Malformed(Str("the heartbeat lists ", heartbeat.attempts.size(), " attempts: at most ",
                           kAttemptsMax, " are allowed"));
    }
    parts_.metrics.SetBacklog(worker_, heartbeat.backlog_bytes);
    Post(WorkerHeard{.session = session_,
                     .number = heartbeat.number,
                     .attempts = std::move(heartbeat.attempts),
                     .disk = heartbeat.disk});
    return Status();
  }

  Status On(const AcceptedMessage& accepted) {
    Post(
        AttemptAccepted{.session = session_, .attempt = accepted.attempt, .epoch = accepted.epoch});
    return Status();
  }

  Status On(const RejectedMessage& rejected) {
    Post(AttemptRejected{.session = session_,
                         .attempt = rejected.attempt,
                         .epoch = rejected.epoch,
                         .failure_class = rejected.failure_class,
                         .reason = rejected.reason,
                         .cache_needed_bytes = rejected.cache_needed_bytes,
                         .cache_limit_bytes = rejected.cache_limit_bytes,
                         .lacks_disk = rejected.lacks_disk});
    return Status();
  }

  Status On(JournalBatchMessage batch) {
    RETURN_IF_ERROR(parts_.core.CheckDiskSpaceIfLow());
    ASSIGN_OR_RETURN(JournalReceived received, JournalOf(std::move(batch)));
    received.session = session_;
    Post(std::move(received));
    return Status();
  }

  Status On(AttemptEndedMessage ended) {
    if (!ended.log_tail.empty()) {
      // If no chunk of the log has come, the tail is all there is.
      const auto n_bytes = static_cast<std::int64_t>(ended.log_tail.size());
      outbox_->AddUnanswered(n_bytes);
      auto append = [&parts = parts_, outbox = outbox_, n_bytes, worker = worker_,
                     attempt = ended.attempt, tail = ended.log_tail](StoreReader& reader) {
        const auto here = parts.logs.Read(attempt, 0, 1);
        if (here.ok() && here->empty()) AppendLog(parts, reader, worker, attempt, 0, tail);
        outbox->RemoveUnanswered(n_bytes);
      };
      if (!parts_.log_writer.Post(std::move(append), WithoutLog(n_bytes)))
        outbox_->RemoveUnanswered(n_bytes);
    }
    AttemptFinished finished;
    finished.session = session_;
    finished.attempt = std::move(ended.attempt);
    finished.epoch = ended.epoch;
    finished.last_seq = ended.last_seq;
    finished.evidence.exit_known = ended.exit_known;
    finished.evidence.exit_code = ended.exit_code;
    finished.evidence.signal = ended.signal;
    finished.evidence.oom_kill = ended.oom_kill;
    finished.evidence.stop_requested = ended.stop_requested;
    finished.log_tail = std::move(ended.log_tail);
    Post(std::move(finished));
    return Status();
  }

  // The log is a copy for people: if it cannot be written or too much is waiting, we drop it.
  Status On(LogChunkMessage chunk) {
    const auto n_bytes = static_cast<std::int64_t>(chunk.data.size());
    outbox_->AddUnanswered(n_bytes);
    auto append = [&parts = parts_, outbox = outbox_, n_bytes, worker = worker_,
                   chunk = std::move(chunk)](StoreReader& reader) {
      AppendLog(parts, reader, worker, chunk.attempt, chunk.offset, chunk.data);
      outbox->RemoveUnanswered(n_bytes);
    };
    if (!parts_.log_writer.Post(std::move(append), WithoutLog(n_bytes)))
      outbox_->RemoveUnanswered(n_bytes);
    return Status();
  }

  Status On(const DatasetsHeldMessage& held) {
    ASSIGN_OR_RETURN(std::set<std::string> digests, DigestsOf(worker_, held.digests));
    Post(WorkerHolds{.session = session_, .dataset_digests = std::move(digests)});
    return Status();
  }

  Status On(SharedSeenMessage seen) {
    if (parts_.challenge == nullptr) {
      return Malformed("the artifact store of this coordinator is not shared");
    }
    auto check = [&parts = parts_, outbox = outbox_, session = session_, worker = worker_,
                  seen = std::move(seen)] {
      const Status status = seen.problem.empty()
                                ? parts.challenge->Check(seen.challenge, seen.name, seen.text)
                                : Status(Code::kFailedPrecondition, seen.problem);
      if (!status.ok()) {
        LogWarning("folder_not_shared", {{"worker", worker}, {"problem", status.message()}});
      }
      parts.core.Post(
          WorkerShares{.session = session, .same = status.ok(), .problem = status.message()});
      outbox->Send(SharedVerdictMessage{.same = status.ok(), .problem = status.message()});
    };
    // Where it is not answered, the worker goes on over the network.
    (void)parts_.transfers.PostWithoutReader(std::move(check));
    return Status();
  }

  Status On(const DrainMessage&) {
    Post(WorkerLeaves{.session = session_});
    return Status();
  }

  // For a log that cannot be kept: its attempt cannot be looked for.
  Executor::Failed WithoutLog(std::int64_t n_bytes) const {
    return [outbox = outbox_, n_bytes](const Status&) { outbox->RemoveUnanswered(n_bytes); };
  }

  // Keeps no log of an unknown attempt, or of another worker's.
  static void AppendLog(const CoordinatorParts& parts, StoreReader& reader,
                        const std::string& worker, const std::string& attempt, std::int64_t offset,
                        const std::string& data) {
    const Result<bool> known = reader.HasAttempt(attempt, worker);
    if (known.ok() && *known) (void)parts.logs.Append(attempt, offset, data);
  }

  // Counts the message as unanswered until its effect is committed.
  void Post(SchedulerEvent event) {
    const std::int64_t n_bytes = CostOf(incoming_);
    outbox_->AddUnanswered(n_bytes);
    parts_.core.Post(std::move(event), [outbox = outbox_, n_bytes, worker = worker_,
                                        &audit = parts_.audit](const StepResult& result) {
      outbox->RemoveUnanswered(n_bytes);
      for (const std::string& what : result.foreign) {
        audit.NoteRefusal({.principal = Str("worker ", worker),
                           .role = std::string(kWorkerRole),
                           .method = "Session",
                           .outcome = "PERMISSION_DENIED",
                           .message = what});
      }
    });
  }

  // Over the network, a worker is who its certificate says.
  Status CheckCertificate(const Principal& caller, const std::string& worker) {
    if (caller.kind == Principal::Kind::kLocal || caller.id == worker) return Status();
    Status refused(Code::kPermissionDenied,
                   Str("the certificate is that of worker ", caller.id, ", but Hello says \"",
                       worker, "\": give each worker a folder of its own, and let it join there"));
    NoteRefusal(caller.id, refused.message());
    return refused;
  }

  void NoteRefusal(const std::string& worker, const std::string& message) {
    parts_.audit.NoteRefusal({.principal = Str("worker ", worker),
                              .role = std::string(kWorkerRole),
                              .peer = context_->peer(),
                              .method = "Session",
                              .subject = "",
                              .outcome = "PERMISSION_DENIED",
                              .message = message});
  }

  CoordinatorParts& parts_;
  grpc::CallbackServerContext* context_;
  v1::WorkerMessage incoming_;
  SessionId session_ = 0;
  std::string worker_;              // empty until its Hello
  std::shared_ptr<Outbox> outbox_;  // shared with the core: see there
};

class WorkerSessionService final : public v1::WorkerSessionService::CallbackService {
 public:
  explicit WorkerSessionService(CoordinatorParts& parts) : parts_(parts) {}

  grpc::ServerBidiReactor<v1::WorkerMessage, v1::CoordinatorMessage>* Session(
      grpc::CallbackServerContext* context) override {
    return new coordinator::Session(parts_, context);
  }

 private:
  CoordinatorParts& parts_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeWorkerSessionService(CoordinatorParts& parts) {
  return std::make_unique<WorkerSessionService>(parts);
}

}  // namespace longrun::coordinator
