// See session.h.
#include "coordinator/rpc/session.h"

#include <algorithm>
#include <deque>
#include <mutex>
#include <set>
#include <utility>

#include "base/files.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/random.h"
#include "base/str.h"
#include "base/version.h"
#include "longrun/v1/session.grpc.pb.h"
#include "sweeps/event.h"

namespace longrun {
namespace {

constexpr std::int64_t kUnansweredBytesMax = 4 << 20;
// Approximate memory that a message takes besides its bytes: the event with its answer, and for
// each attempt that it lists, the verdict on it.
constexpr std::int64_t kMessageBytes = 1024;
constexpr std::int64_t kListedBytes = 256;
constexpr int kDevicesMax = 1024;
constexpr int kAttemptsMax = 10'000;
constexpr int kBatchRecordsMax = 512;
constexpr std::size_t kTextBytesMax = 256;
constexpr std::int32_t kThreadsMax = 4096;
constexpr std::int64_t kMemoryBytesMax = std::int64_t{1} << 56;
constexpr std::size_t kOutgoingMax = 1024;

// ---- messages up --------------------------------------------------------------------------------

std::vector<LiveAttempt> LiveAttempts(
    const google::protobuf::RepeatedPtrField<v1::LiveAttempt>& messages) {
  std::vector<LiveAttempt> attempts;
  attempts.reserve(static_cast<std::size_t>(messages.size()));
  for (const v1::LiveAttempt& message : messages) {
    attempts.push_back({.attempt = message.attempt(),
                        .task = message.task(),
                        .run_key = message.run_key(),
                        .epoch = message.epoch(),
                        .last_seq = message.last_seq(),
                        .running = message.running()});
  }
  return attempts;
}

std::int64_t CostOf(const v1::WorkerMessage& message) {
  const int n_listed = message.hello().attempts_size() + message.heartbeat().attempts_size();
  return static_cast<std::int64_t>(message.ByteSizeLong()) + kMessageBytes +
         n_listed * kListedBytes;
}

Status Malformed(std::string_view what) { return Status(Code::kInvalidArgument, what); }

// Whether the text is fit to be shown unchanged.
bool IsShortText(const std::string& text) {
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
  return text.size() <= kTextBytesMax && std::ranges::none_of(text, is_control);
}

// A slot's description becomes the permanent execution of every run that begins there.
Status CheckDevice(const v1::Device& device) {
  if (device.index() < 0) return Malformed(Str("has the index ", device.index()));
  if (device.kind() != "cpu" && device.kind() != "gpu") {
    return Malformed(Str("is of kind \"", device.kind(), "\": expected cpu or gpu"));
  }
  if (device.threads() < 1 || device.threads() > kThreadsMax) {
    return Malformed(Str("has ", device.threads(), " threads: expected 1 to ", kThreadsMax));
  }
  if (device.memory_bytes() < 1 || device.memory_bytes() > kMemoryBytesMax) {
    return Malformed(Str("has ", device.memory_bytes(), " bytes of memory: expected 1 to 2^56"));
  }
  for (const std::string* text : {&device.name(), &device.simd(), &device.linear()}) {
    if (text->empty() || !IsShortText(*text)) {
      return Malformed(Str("has a name, simd or linear of ", text->size(), " bytes: expected 1 to ",
                           kTextBytesMax, ", without control characters"));
    }
  }
  if (!IsShortText(device.bf16())) {
    return Malformed(Str("has a bf16 of ", device.bf16().size(), " bytes: expected at most ",
                         kTextBytesMax, ", without control characters"));
  }
  return Status();
}

Result<WorkerArrived> ArrivalOf(const v1::Hello& hello) {
  if (hello.protocol_version() != kProtocolVersion) {
    return Status(
        Code::kFailedPrecondition,
        Str("the worker speaks protocol version ", hello.protocol_version(), ", this coordinator (",
            kVersion, ") speaks version ", kProtocolVersion, ": run both from the same release"));
  }
  if (!IsSafeName(hello.worker_id())) {
    return Malformed(Str("\"", hello.worker_id(), "\" is not a name for a worker"));
  }
  if (!IsUlid(hello.incarnation())) {
    return Malformed(Str("\"", hello.incarnation(), "\" is not an incarnation: expected a ULID"));
  }
  if (hello.devices_size() > kDevicesMax || hello.attempts_size() > kAttemptsMax) {
    return Malformed(Str("worker ", hello.worker_id(), " reports ", hello.devices_size(),
                         " devices and ", hello.attempts_size(), " attempts: at most ", kDevicesMax,
                         " and ", kAttemptsMax, " are taken"));
  }
  if (!IsShortText(hello.host()) || !IsShortText(hello.version())) {
    return Malformed(Str("worker ", hello.worker_id(), " has a host of ", hello.host().size(),
                         " bytes and a version of ", hello.version().size(), ": at most ",
                         kTextBytesMax, " each are taken, without control characters"));
  }
  WorkerArrived arrival;
  arrival.worker.id = hello.worker_id();
  arrival.worker.incarnation = hello.incarnation();
  arrival.worker.host = hello.host();
  arrival.worker.version = hello.version();
  std::set<std::int32_t> indices;
  for (const v1::Device& device : hello.devices()) {
    if (Status status = CheckDevice(device); !status.ok()) {
      return std::move(status).In(Str("device ", device.index(), " of worker ", hello.worker_id()));
    }
    if (!indices.insert(device.index()).second) {
      return Malformed(
          Str("worker ", hello.worker_id(), " has two devices with the index ", device.index()));
    }
    arrival.worker.slots.push_back({.index = device.index(),
                                    .kind = device.kind(),
                                    .name = device.name(),
                                    .memory_bytes = device.memory_bytes(),
                                    .threads = device.threads(),
                                    .simd = device.simd(),
                                    .linear = device.linear(),
                                    .bf16 = device.bf16()});
  }
  for (const std::string& digest : hello.dataset_digests()) {
    if (!IsSha256Hex(digest)) return Malformed(Str("\"", digest, "\" is not a dataset digest"));
    arrival.worker.dataset_digests.insert(digest);
  }
  arrival.attempts = LiveAttempts(hello.attempts());
  return arrival;
}

Result<JournalReceived> JournalOf(const v1::JournalBatch& batch) {
  if (batch.lines_size() > kBatchRecordsMax) {
    return Malformed(Str("a batch of ", batch.lines_size(), " records: at most ", kBatchRecordsMax,
                         " are taken"));
  }
  JournalReceived received{.session = 0,
                           .attempt = batch.attempt(),
                           .epoch = batch.epoch(),
                           .first_seq = batch.first_seq(),
                           .records = {}};
  // Unsigned, so that it cannot overflow: a sender may name any number.
  const auto first = static_cast<std::uint64_t>(batch.first_seq());
  for (const std::string& line : batch.lines()) {
    const auto seq = static_cast<std::int64_t>(first + received.records.size());
    auto record = ParseJournalLine(line);
    if (!record.ok()) {
      return std::move(record).status().In(Str("record ", seq, " of attempt ", batch.attempt()));
    }
    if (record->seq != seq) {
      return Malformed(Str("attempt ", batch.attempt(), ": record ", record->seq,
                           " is where record ", seq, " belongs"));
    }
    received.records.push_back({.record = std::move(record).value(), .line = line});
  }
  for (const std::int64_t gone : batch.without_files()) {
    const std::uint64_t at = static_cast<std::uint64_t>(gone) - first;
    if (at >= received.records.size()) {
      return Malformed(Str("attempt ", batch.attempt(), ": record ", gone,
                           " has no files, but the batch has ", received.records.size(),
                           " records from ", batch.first_seq(), " on"));
    }
    received.records[at].files_gone = true;
  }
  return received;
}

// ---- messages down ------------------------------------------------------------------------------

v1::AttemptVerdict::Verdict VerdictOf(AttemptVerdict::Verdict verdict) {
  switch (verdict) {
    case AttemptVerdict::Verdict::kContinue:
      return v1::AttemptVerdict::VERDICT_CONTINUE;
    case AttemptVerdict::Verdict::kStop:
      return v1::AttemptVerdict::VERDICT_STOP;
    case AttemptVerdict::Verdict::kFenced:
      return v1::AttemptVerdict::VERDICT_FENCED;
    case AttemptVerdict::Verdict::kEnded:
      return v1::AttemptVerdict::VERDICT_ENDED;
  }
  LR_CHECK(false);
}

// One command as a message; CloseSession has none.
class Encoder {
 public:
  Encoder(const CoordinatorParts& parts, const SchedulerLimits& limits,
          const std::vector<StartCheckpoint>& checkpoints)
      : parts_(parts), limits_(limits), checkpoints_(checkpoints) {}

  v1::CoordinatorMessage message;

  void operator()(const SendWelcome& command) {
    v1::Welcome* welcome = message.mutable_welcome();
    welcome->set_protocol_version(kProtocolVersion);
    welcome->set_coordinator_id(parts_.core.store().coordinator_id());
    welcome->set_boot_epoch(parts_.core.store().boot_epoch());
    welcome->set_heartbeat_ms(limits_.heartbeat_ms);
    welcome->set_lease_ms(limits_.lease_ms);
    for (const AttemptVerdict& verdict : command.attempts) {
      v1::AttemptVerdict* one = welcome->add_attempts();
      one->set_attempt(verdict.attempt);
      one->set_durable_seq(verdict.durable_seq);
      one->set_verdict(VerdictOf(verdict.verdict));
    }
  }
  void operator()(const SendHeartbeatReply& command) {
    message.mutable_heartbeat_reply()->set_number(command.number);
  }
  void operator()(const SendStart& command) {
    v1::Start* start = message.mutable_start();
    start->set_attempt(command.task.attempt);
    start->set_epoch(command.task.epoch);
    start->set_device_index(static_cast<std::int32_t>(command.device_index));
    start->set_task_json(CanonicalJson(command.task.ToJson()));
    start->set_dataset_digest(command.dataset_digest);
    start->set_dataset_path(command.dataset_path);
    for (const StartCheckpoint& checkpoint : checkpoints_) {
      v1::CheckpointSource* source = start->add_checkpoints();
      source->set_sha256(checkpoint.sha256);
      for (const ArtifactFileRow& row : checkpoint.files) {
        v1::ArtifactFile* file = source->add_files();
        file->set_name(row.name);
        file->set_sha256(row.sha256);
        file->set_bytes(row.n_bytes);
      }
    }
  }
  void operator()(const SendStop& command) {
    v1::Stop* stop = message.mutable_stop();
    stop->set_attempt(command.attempt);
    stop->set_epoch(command.epoch);
    stop->set_grace_ms(command.grace_ms);
    stop->set_reason(command.reason);
  }
  void operator()(const SendAck& command) {
    v1::Ack* ack = message.mutable_ack();
    ack->set_attempt(command.attempt);
    ack->set_durable_seq(command.durable_seq);
    ack->set_ended(command.ended);
  }
  void operator()(const SendNack& command) {
    v1::Nack* nack = message.mutable_nack();
    nack->set_attempt(command.attempt);
    nack->set_expected_seq(command.expected_seq);
  }
  void operator()(const SendFenced& command) {
    v1::Fenced* fenced = message.mutable_fenced();
    fenced->set_attempt(command.attempt);
    fenced->set_current_epoch(command.current_epoch);
  }
  void operator()(const SendDrain&) { message.mutable_drain(); }
  void operator()(const CloseSession&) {}

 private:
  const CoordinatorParts& parts_;
  const SchedulerLimits& limits_;
  const std::vector<StartCheckpoint>& checkpoints_;
};

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
      : parts_(parts), stream_(stream), incoming_(incoming), context_(context) {}

  void Deliver(const Command& command, const std::vector<StartCheckpoint>& checkpoints) override {
    if (const auto* close = std::get_if<CloseSession>(&command)) {
      return End(Status(Code::kAborted, close->reason));
    }
    Encoder encoder(parts_, parts_.core.limits(), checkpoints);
    std::visit(encoder, command);
    const std::lock_guard lock(mutex_);
    if (stream_ == nullptr || ending_) return;
    outgoing_.push_back(std::move(encoder.message));
    if (outgoing_.size() == 1) stream_->StartWrite(&outgoing_.front());
  }

  void Written(bool ok) {
    const std::lock_guard lock(mutex_);
    outgoing_.pop_front();
    if (!ok) outgoing_.clear();
    if (ending_) {
      outgoing_.clear();
      return FinishOnce();
    }
    if (!ok) return End(Status(Code::kUnavailable, "the worker disconnected"));
    if (!outgoing_.empty()) stream_->StartWrite(&outgoing_.front());
    Resume();
  }

  // Reads the next message, at once or when enough messages have been answered.
  void Read() {
    const std::lock_guard lock(mutex_);
    if (stream_ == nullptr || ending_) return;
    if (IsFull()) {
      paused_ = true;
    } else {
      stream_->StartRead(incoming_);
    }
  }

  void AddUnanswered(std::int64_t n_bytes) {
    const std::lock_guard lock(mutex_);
    n_unanswered_ += n_bytes;
  }
  void RemoveUnanswered(std::int64_t n_bytes) {
    const std::lock_guard lock(mutex_);
    n_unanswered_ -= n_bytes;
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
      outgoing_.resize(1);  // the one being written
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
  // We stop reading from a peer that sends but does not read its answers.
  bool IsFull() const {
    return n_unanswered_ > kUnansweredBytesMax || outgoing_.size() > kOutgoingMax;
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
  std::deque<v1::CoordinatorMessage> outgoing_;  // the first one is being written now
  std::int64_t n_unanswered_ = 0;
  bool paused_ = false;
  bool ending_ = false;
  bool finished_ = false;
  Status status_;
};

class Session final : public Stream {
 public:
  Session(CoordinatorParts& parts, grpc::CallbackServerContext* context)
      : parts_(parts), outbox_(std::make_shared<Outbox>(parts, this, &incoming_, context)) {
    outbox_->Read();
  }

  void OnReadDone(bool ok) override {
    if (!ok) return outbox_->End(Status());  // the worker closed its side, or is gone
    if (Status status = Take(); !status.ok()) return outbox_->End(status);
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
    if (incoming_.message_case() == v1::WorkerMessage::kHello) return TakeHello();
    if (session_ == 0) return Malformed("the first message of a session must be Hello");
    switch (incoming_.message_case()) {
      case v1::WorkerMessage::kHeartbeat:
        if (incoming_.heartbeat().attempts_size() > kAttemptsMax) {
          return Malformed(Str("a heartbeat with ", incoming_.heartbeat().attempts_size(),
                               " attempts: at most ", kAttemptsMax, " are taken"));
        }
        parts_.metrics.SetBacklog(worker_, incoming_.heartbeat().backlog_bytes());
        Post(WorkerHeard{.session = session_,
                         .number = incoming_.heartbeat().number(),
                         .attempts = LiveAttempts(incoming_.heartbeat().attempts())});
        return Status();
      case v1::WorkerMessage::kAccepted:
        Post(AttemptAccepted{.session = session_,
                             .attempt = incoming_.accepted().attempt(),
                             .epoch = incoming_.accepted().epoch()});
        return Status();
      case v1::WorkerMessage::kRejected:
        Post(AttemptRejected{.session = session_,
                             .attempt = incoming_.rejected().attempt(),
                             .epoch = incoming_.rejected().epoch(),
                             .failure_class = incoming_.rejected().failure_class(),
                             .reason = incoming_.rejected().reason()});
        return Status();
      case v1::WorkerMessage::kJournalBatch: {
        RETURN_IF_ERROR(parts_.core.CheckDiskSpaceIfLow());
        ASSIGN_OR_RETURN(JournalReceived received, JournalOf(incoming_.journal_batch()));
        received.session = session_;
        Post(std::move(received));
        return Status();
      }
      case v1::WorkerMessage::kAttemptEnded:
        TakeEnd(incoming_.attempt_ended());
        return Status();
      case v1::WorkerMessage::kLogChunk:
        TakeLog(incoming_.log_chunk().attempt(), incoming_.log_chunk().offset(),
                incoming_.log_chunk().data());
        return Status();
      case v1::WorkerMessage::kDrain:
        Post(WorkerLeaves{.session = session_});
        return Status();
      case v1::WorkerMessage::kHello:
      case v1::WorkerMessage::MESSAGE_NOT_SET:
        return Malformed("a message of a kind that this coordinator does not know");
    }
    return Malformed("a message of a kind that this coordinator does not know");
  }

  Status TakeHello() {
    if (session_ != 0) return Malformed("a second Hello in one session");
    ASSIGN_OR_RETURN(WorkerArrived arrival, ArrivalOf(incoming_.hello()));
    session_ = parts_.core.AddSession(outbox_);
    arrival.session = session_;
    worker_ = arrival.worker.id;
    Post(std::move(arrival));
    return Status();
  }

  void TakeEnd(const v1::AttemptEnded& ended) {
    const std::string& tail = ended.log_tail();
    if (!tail.empty()) {
      // If no chunk of the log has come, the tail is all there is.
      const auto n_bytes = static_cast<std::int64_t>(tail.size());
      outbox_->AddUnanswered(n_bytes);
      const bool posted =
          parts_.log_writer.Post([&parts = parts_, outbox = outbox_, n_bytes,
                                  attempt = ended.attempt(), tail](StoreReader& reader) {
            const auto here = parts.logs.Read(attempt, 0, 1);
            if (here.ok() && here->empty()) AppendLog(parts, reader, attempt, 0, tail);
            outbox->RemoveUnanswered(n_bytes);
          });
      if (!posted) outbox_->RemoveUnanswered(n_bytes);
    }
    AttemptFinished finished;
    finished.session = session_;
    finished.attempt = ended.attempt();
    finished.epoch = ended.epoch();
    finished.last_seq = ended.last_seq();
    finished.evidence.exit_known = ended.exit_known();
    finished.evidence.exit_code = ended.exit_code();
    finished.evidence.signal = ended.signal();
    finished.evidence.oom_kill = ended.oom_kill();
    finished.evidence.stop_requested = ended.stop_requested();
    finished.log_tail = tail;
    Post(std::move(finished));
  }

  // Keeps no log of an unknown attempt.
  static void AppendLog(const CoordinatorParts& parts, StoreReader& reader,
                        const std::string& attempt, std::int64_t offset, const std::string& data) {
    const Result<bool> known = reader.HasAttempt(attempt);
    if (known.ok() && *known) (void)parts.logs.Append(attempt, offset, data);
  }

  // The log is a copy for people: if it cannot be written or too much is waiting, we drop it.
  void TakeLog(const std::string& attempt, std::int64_t offset, const std::string& data) {
    const auto n_bytes = static_cast<std::int64_t>(data.size());
    outbox_->AddUnanswered(n_bytes);
    const bool posted = parts_.log_writer.Post(
        [&parts = parts_, outbox = outbox_, attempt, offset, data, n_bytes](StoreReader& reader) {
          AppendLog(parts, reader, attempt, offset, data);
          outbox->RemoveUnanswered(n_bytes);
        });
    if (!posted) outbox_->RemoveUnanswered(n_bytes);
  }

  // Counts the message as unanswered until its effect is committed.
  void Post(SchedulerEvent event) {
    const std::int64_t n_bytes = CostOf(incoming_);
    outbox_->AddUnanswered(n_bytes);
    parts_.core.Post(std::move(event), [outbox = outbox_, n_bytes](const StepResult&) {
      outbox->RemoveUnanswered(n_bytes);
    });
  }

  CoordinatorParts& parts_;
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
    return new longrun::Session(parts_, context);
  }

 private:
  CoordinatorParts& parts_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeWorkerSessionService(CoordinatorParts& parts) {
  return std::make_unique<WorkerSessionService>(parts);
}

}  // namespace longrun
