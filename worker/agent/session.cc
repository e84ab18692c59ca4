// The session's stream over gRPC's callback interface, and the translation of its messages.
#include "worker/agent/session.h"

#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <iterator>
#include <list>
#include <mutex>
#include <optional>
#include <utility>

#include "base/file_room.h"
#include "base/str.h"
#include "base/thread.h"
#include "base/version.h"
#include "longrun/v1/session.grpc.pb.h"

namespace longrun {
namespace {

constexpr int kMessageBytesMax = 8 << 20;
constexpr int kThreadsMax = 16;  // of the session, transfers, and the metrics server
// For the same and for attempts. With less room gRPC aborts, or waits forever.
constexpr int kFilesMax = 24;

// Lets std::visit choose among lambdas.
template <typename... Cases>
struct Overloaded : Cases... {
  using Cases::operator()...;
};
template <typename... Cases>
Overloaded(Cases...) -> Overloaded<Cases...>;  // C++20 deduces it; clang 14 does not yet

Status FromRpc(const grpc::Status& status) {
  if (status.ok()) return Status();
  return Status(static_cast<Code>(status.error_code()), status.error_message());
}

void Fill(v1::LiveAttempt& wire, const LiveAttempt& live) {
  wire.set_attempt(live.attempt);
  wire.set_task(live.task);
  wire.set_run_key(live.run_key);
  wire.set_epoch(live.epoch);
  wire.set_last_seq(live.last_seq);
  wire.set_running(live.running);
}

void Fill(v1::Device& wire, const DeviceSlot& slot) {
  wire.set_index(slot.index);
  wire.set_kind(slot.kind);
  wire.set_name(slot.name);
  wire.set_memory_bytes(slot.memory_bytes);
  wire.set_threads(static_cast<int>(slot.threads));
  wire.set_simd(slot.simd);
  wire.set_linear(slot.linear);
  wire.set_bf16(slot.bf16);
}

void Fill(v1::Hello& wire, HelloMessage& hello) {
  wire.set_protocol_version(kProtocolVersion);
  wire.set_worker_id(hello.worker_id);
  wire.set_incarnation(hello.incarnation);
  wire.set_host(hello.host);
  wire.set_version(Str(kVersion, " ", BuildCommit()));
  wire.set_pid(getpid());
  for (const DeviceSlot& slot : hello.devices) Fill(*wire.add_devices(), slot);
  for (std::string& digest : hello.dataset_digests) wire.add_dataset_digests(std::move(digest));
  for (const LiveAttempt& live : hello.attempts) Fill(*wire.add_attempts(), live);
}

v1::WorkerMessage ToWire(UpMessage message) {
  v1::WorkerMessage wire;
  std::visit(Overloaded{
                 [&](HelloMessage& m) { Fill(*wire.mutable_hello(), m); },
                 [&](HeartbeatMessage& m) {
                   v1::Heartbeat& to = *wire.mutable_heartbeat();
                   to.set_number(m.number);
                   to.set_backlog_bytes(m.backlog_bytes);
                   for (const LiveAttempt& live : m.attempts) Fill(*to.add_attempts(), live);
                 },
                 [&](AcceptedMessage& m) {
                   v1::Accepted& to = *wire.mutable_accepted();
                   to.set_attempt(m.attempt);
                   to.set_epoch(m.epoch);
                 },
                 [&](RejectedMessage& m) {
                   v1::Rejected& to = *wire.mutable_rejected();
                   to.set_attempt(m.attempt);
                   to.set_epoch(m.epoch);
                   to.set_failure_class(m.failure_class);
                   // Protobuf's strings are UTF-8, but a log or a path may contain anything.
                   to.set_reason(ToUtf8(m.reason));
                 },
                 [&](JournalBatchMessage& m) {
                   v1::JournalBatch& to = *wire.mutable_journal_batch();
                   to.set_attempt(m.attempt);
                   to.set_epoch(m.epoch);
                   to.set_first_seq(m.first_seq);
                   for (std::string& line : m.lines) to.add_lines(std::move(line));
                   for (const std::int64_t seq : m.without_files) to.add_without_files(seq);
                 },
                 [&](AttemptEndedMessage& m) {
                   v1::AttemptEnded& to = *wire.mutable_attempt_ended();
                   to.set_attempt(m.attempt);
                   to.set_epoch(m.epoch);
                   to.set_exit_known(m.exit_known);
                   to.set_exit_code(m.exit_code);
                   to.set_signal(m.signal);
                   to.set_oom_kill(m.oom_kill);
                   to.set_stop_requested(m.stop_requested);
                   to.set_last_seq(m.last_seq);
                   to.set_log_tail(ToUtf8(m.log_tail));
                 },
                 [&](LogChunkMessage& m) {
                   v1::LogChunk& to = *wire.mutable_log_chunk();
                   to.set_attempt(m.attempt);
                   to.set_offset(m.offset);
                   to.set_data(std::move(m.data));
                 },
                 [&](DrainMessage&) { wire.mutable_drain(); },
             },
             message);
  return wire;
}

// nullopt for a verdict of a later protocol: the attempt then waits for the next session.
std::optional<Verdict> FromWire(v1::AttemptVerdict::Verdict verdict) {
  switch (verdict) {
    case v1::AttemptVerdict::VERDICT_CONTINUE:
      return Verdict::kContinue;
    case v1::AttemptVerdict::VERDICT_STOP:
      return Verdict::kStop;
    case v1::AttemptVerdict::VERDICT_FENCED:
      return Verdict::kFenced;
    case v1::AttemptVerdict::VERDICT_ENDED:
      return Verdict::kEnded;
    default:
      return std::nullopt;
  }
}

DownMessage FromWire(const v1::Welcome& wire) {
  WelcomeMessage welcome = {.protocol_version = wire.protocol_version(),
                            .coordinator_id = wire.coordinator_id(),
                            .boot_epoch = wire.boot_epoch(),
                            .heartbeat_ms = wire.heartbeat_ms(),
                            .attempts = {}};
  for (const v1::AttemptVerdict& from : wire.attempts()) {
    const std::optional<Verdict> verdict = FromWire(from.verdict());
    if (!verdict) continue;
    welcome.attempts.push_back(
        {.attempt = from.attempt(), .durable_seq = from.durable_seq(), .verdict = *verdict});
  }
  return welcome;
}

DownMessage FromWire(const v1::Start& wire) {
  StartMessage start = {.attempt = wire.attempt(),
                        .epoch = wire.epoch(),
                        .device_index = wire.device_index(),
                        .task_json = wire.task_json(),
                        .dataset_digest = wire.dataset_digest(),
                        .dataset_path = wire.dataset_path(),
                        .checkpoints = {}};
  for (const v1::CheckpointSource& from : wire.checkpoints()) {
    CheckpointSource source = {.sha256 = from.sha256(), .files = {}};
    for (const v1::ArtifactFile& file : from.files()) {
      source.files.push_back(
          {.name = file.name(), .sha256 = file.sha256(), .n_bytes = file.bytes()});
    }
    start.checkpoints.push_back(std::move(source));
  }
  return start;
}

// nullopt for a message of a later protocol.
std::optional<DownMessage> FromWire(const v1::CoordinatorMessage& wire) {
  switch (wire.message_case()) {
    case v1::CoordinatorMessage::kWelcome:
      return FromWire(wire.welcome());
    case v1::CoordinatorMessage::kStart:
      return FromWire(wire.start());
    case v1::CoordinatorMessage::kStop:
      return StopMessage{.attempt = wire.stop().attempt(),
                         .epoch = wire.stop().epoch(),
                         .grace_ms = wire.stop().grace_ms(),
                         .reason = wire.stop().reason()};
    case v1::CoordinatorMessage::kAck:
      return AckMessage{.attempt = wire.ack().attempt(),
                        .durable_seq = wire.ack().durable_seq(),
                        .ended = wire.ack().ended()};
    case v1::CoordinatorMessage::kNack:
      return NackMessage{.attempt = wire.nack().attempt(),
                         .expected_seq = wire.nack().expected_seq()};
    case v1::CoordinatorMessage::kFenced:
      return FencedMessage{.attempt = wire.fenced().attempt(),
                           .current_epoch = wire.fenced().current_epoch()};
    case v1::CoordinatorMessage::kHeartbeatReply:
      return HeartbeatReplyMessage{.number = wire.heartbeat_reply().number()};
    case v1::CoordinatorMessage::kDrain:
      return DrainMessage{};
    case v1::CoordinatorMessage::MESSAGE_NOT_SET:
      break;
  }
  return std::nullopt;
}

}  // namespace

Result<CoordinatorChannel> ConnectTo(const std::string& address) {
  constexpr std::string_view kUnix = "unix:";
  if (!address.starts_with(kUnix) || address.size() == kUnix.size()) {
    return Status(Code::kInvalidArgument,
                  Str("coordinator address \"", address,
                      "\": expected unix:PATH; a network address "
                      "needs TLS and tokens, which this release does not have yet"));
  }
  RETURN_IF_ERROR(CheckThreadRoom(kThreadsMax));
  RETURN_IF_ERROR(CheckFileRoom(kFilesMax, "the worker"));
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMessageBytesMax);
  arguments.SetMaxSendMessageSize(kMessageBytesMax);
  // The agent has its own back-off; the channel should not add minutes to it. The minimal back-off
  // stays gRPC's: it is also the time limit of an attempt to connect.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  return CoordinatorChannel{
      .channel = grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments)};
}

// One write is in progress at a time: the front of the queue. Writes come from outside of gRPC's
// callbacks, so we hold the stream until reading has ended.
class CoordinatorSession::Stream final
    : public grpc::ClientBidiReactor<v1::WorkerMessage, v1::CoordinatorMessage> {
 public:
  Stream(const CoordinatorChannel& coordinator, HelloMessage hello, Listener listener)
      : stub_(v1::WorkerSessionService::NewStub(coordinator.channel)),
        listener_(std::move(listener)) {
    stub_->async()->Session(&context_, this);
    AddHold();
    StartRead(&incoming_);
    Send(UpMessage(std::move(hello)));
    StartCall();
  }

  ~Stream() override {
    context_.TryCancel();
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return done_; });
  }

  void Send(UpMessage message) {
    const bool in_front = std::holds_alternative<HeartbeatMessage>(message);
    v1::WorkerMessage wire = ToWire(std::move(message));
    const std::scoped_lock lock(mutex_);
    if (reading_ended_) return;
    queued_bytes_ += wire.ByteSizeLong();
    const bool idle = queue_.empty();
    if (in_front && !idle) {
      queue_.insert(std::next(queue_.begin()), std::move(wire));
    } else {
      queue_.push_back(std::move(wire));
    }
    if (idle) StartWrite(&queue_.front());
  }

  std::size_t queued_bytes() const {
    const std::scoped_lock lock(mutex_);
    return queued_bytes_;
  }

  void Close(std::int64_t wait_ms) {
    std::unique_lock lock(mutex_);
    if (reading_ended_ || !queue_.empty()) return;
    StartWritesDone();
    changed_.wait_for(lock, std::chrono::milliseconds(wait_ms), [&] { return done_; });
  }

  void OnReadDone(bool ok) override {
    if (!ok) {
      {
        const std::scoped_lock lock(mutex_);
        reading_ended_ = true;
      }
      RemoveHold();
      return;
    }
    if (std::optional<DownMessage> message = FromWire(incoming_)) {
      listener_.on_message(*std::move(message));
    }
    StartRead(&incoming_);
  }

  void OnWriteDone(bool ok) override {
    const std::scoped_lock lock(mutex_);
    queued_bytes_ -= queue_.front().ByteSizeLong();
    queue_.pop_front();
    if (ok && !reading_ended_ && !queue_.empty()) StartWrite(&queue_.front());
  }

  void OnDone(const grpc::Status& status) override {
    listener_.on_end(FromRpc(status));
    const std::scoped_lock lock(mutex_);
    done_ = true;
    changed_.notify_all();
  }

 private:
  std::unique_ptr<v1::WorkerSessionService::Stub> stub_;
  grpc::ClientContext context_;
  Listener listener_;
  v1::CoordinatorMessage incoming_;

  mutable std::mutex mutex_;  // guards everything below
  std::condition_variable changed_;
  std::list<v1::WorkerMessage> queue_;  // a list: the front must not move while it is written
  std::size_t queued_bytes_ = 0;
  bool reading_ended_ = false;
  bool done_ = false;
};

CoordinatorSession::CoordinatorSession(std::unique_ptr<Stream> stream)
    : stream_(std::move(stream)) {}
CoordinatorSession::~CoordinatorSession() = default;

std::unique_ptr<CoordinatorSession> CoordinatorSession::Open(const CoordinatorChannel& coordinator,
                                                             HelloMessage hello,
                                                             Listener listener) {
  return std::unique_ptr<CoordinatorSession>(new CoordinatorSession(
      std::make_unique<Stream>(coordinator, std::move(hello), std::move(listener))));
}

void CoordinatorSession::Send(UpMessage message) { stream_->Send(std::move(message)); }
std::size_t CoordinatorSession::queued_bytes() const { return stream_->queued_bytes(); }
void CoordinatorSession::Close(std::int64_t wait_ms) { stream_->Close(wait_ms); }

}  // namespace longrun
