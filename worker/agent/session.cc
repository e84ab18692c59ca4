// The session's stream over gRPC's callback interface.
#include "worker/agent/session.h"

#include <grpcpp/grpcpp.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>

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
#include "longrun/v1/session.grpc.pb.h"
#include "sweeps/coordinator_address.h"
#include "sweeps/message_size.h"
#include "sweeps/session_codec.h"

namespace longrun::agent {
namespace {

constexpr int kThreadsMax = 18;  // of the session, transfers, and the metrics server
// For the same and for attempts. With less room gRPC aborts, or waits forever.
constexpr int kFilesMax = 26;

Status FromRpc(const grpc::Status& status) {
  if (status.ok()) return Status();
  if (status.error_code() == grpc::StatusCode::UNAUTHENTICATED) {
    return Status(Code::kPermissionDenied, status.error_message());
  }
  return Status(static_cast<Code>(status.error_code()), status.error_message());
}

constexpr unsigned kReadAgainS = 1;
constexpr int kKeepaliveMs = 20'000;
constexpr int kKeepaliveTimeoutMs = 10'000;

Result<grpc::ChannelArguments> ArgumentsIfRoom() {
  RETURN_IF_ERROR(CheckThreadRoom(kThreadsMax));
  RETURN_IF_ERROR(CheckFileRoom(kFilesMax, "the worker"));
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kSessionMessageBytesMax);
  arguments.SetMaxSendMessageSize(kSessionMessageBytesMax);
  // The agent has its own back-off; the channel should not add minutes to it. The minimal back-off
  // stays gRPC's: it is also the time limit of an attempt to connect.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  return arguments;
}

}  // namespace

Result<CoordinatorChannel> ConnectTo(const std::string& address) {
  constexpr std::string_view kUnix = "unix:";
  if (!address.starts_with(kUnix) || address.size() == kUnix.size()) {
    return Status(Code::kInvalidArgument,
                  Str("coordinator address \"", address, "\": expected unix:PATH, or HOST:PORT"));
  }
  RETURN_IF_ERROR(
      CheckSocketPath(std::string_view(address).substr(kUnix.size())).In("--coordinator"));
  ASSIGN_OR_RETURN(const grpc::ChannelArguments arguments, ArgumentsIfRoom());
  return CoordinatorChannel{.channel = grpc::CreateCustomChannel(GrpcTarget(address),
                                                                 grpc::InsecureChannelCredentials(),
                                                                 arguments)};
}

Result<CoordinatorChannel> ConnectTo(const HostPort& place, const MemberFiles& files) {
  ASSIGN_OR_RETURN(grpc::ChannelArguments arguments, ArgumentsIfRoom());
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  // A network may swallow packets without a word: find out while the session is quiet.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  grpc::experimental::TlsChannelCredentialsOptions options;
  options.set_certificate_provider(
      std::make_shared<grpc::experimental::FileWatcherCertificateProvider>(
          files.key, files.certificate, files.authority, kReadAgainS));
  options.watch_root_certs();
  options.watch_identity_key_cert_pairs();
  return CoordinatorChannel{
      .channel = grpc::CreateCustomChannel(place.Text(),
                                           grpc::experimental::TlsCredentials(options), arguments)};
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

}  // namespace longrun::agent
