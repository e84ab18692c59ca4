// gRPC's side of a call without a connection: calls the real services, in this process. A context
// says who calls; a stream gives what it is told to give, and takes what it gets at once.
#pragma once

#include <google/protobuf/message.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/security/auth_context.h>
#include <grpcpp/test/default_reactor_test_peer.h>

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/check.h"

namespace longrun {

// Who calls, as gRPC would know it.
struct RpcPeer {
  bool is_local = false;         // over the unix socket
  std::string token = {};        // in the header "authorization"
  std::string common_name = {};  // of the certificate
  std::string certificate = {};  // PEM
};

class FuzzContext final : public grpc::CallbackServerContext {
 public:
  explicit FuzzContext(const RpcPeer& peer);
  const std::string& address() const { return address_; }
  grpc::AuthContext& connection() { return *connection_; }
  // As after the client's disconnection.
  void Cancel();

 private:
  std::string address_;
  std::string authorization_;
  std::shared_ptr<grpc::AuthContext> connection_;
};

// How a call of any kind ends.
class RpcEnd {
 public:
  void Set(grpc::Status status) {
    const std::lock_guard lock(mutex_);
    LR_CHECK(!status_);  // gRPC allows one end
    status_ = std::move(status);
    changed_.notify_all();  // with the lock: after it, this object may be gone
  }
  bool IsSet() const {
    const std::lock_guard lock(mutex_);
    return status_.has_value();
  }
  // False if it has not ended by then.
  bool WaitFor(std::chrono::milliseconds time) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, time, [&] { return status_.has_value(); });
  }
  // A call that does not end is an error.
  grpc::Status Wait() {
    LR_CHECK(WaitFor(kPatience));
    const std::lock_guard lock(mutex_);
    return *status_;
  }

  static constexpr std::chrono::milliseconds kPatience{60'000};

 protected:
  mutable std::mutex mutex_;  // guards all that changes, in derived classes too
  std::condition_variable changed_;
  std::optional<grpc::Status> status_;
};

// What the server reads: the caller gives one message after the other.
template <typename Message>
class RpcInput : public RpcEnd {
 public:
  void Read(Message* room) {
    const std::lock_guard lock(mutex_);
    LR_CHECK(room_ == nullptr);
    room_ = room;
    changed_.notify_all();
  }
  // Gives the message, or the end of the stream (nullptr), once the server reads. False if the
  // server has ended the call, or does not read while nothing else is going on.
  bool Give(const Message* message, const std::function<void(bool ok)>& done) {
    Message* room = nullptr;
    {
      std::unique_lock lock(mutex_);
      LR_CHECK(changed_.wait_for(lock, kPatience,
                                 [&] { return room_ != nullptr || status_.has_value(); }));
      if (status_) return false;
      room = std::exchange(room_, nullptr);
    }
    if (message != nullptr) *room = *message;
    done(message != nullptr);
    return true;
  }

 private:
  Message* room_ = nullptr;
};

template <typename Request>
class FuzzReadStream final : public grpc::ServerCallbackReader<Request>, public RpcInput<Request> {
 public:
  explicit FuzzReadStream(grpc::ServerReadReactor<Request>* reactor) : reactor_(reactor) {
    this->BindReactor(reactor);
  }
  bool Give(const Request* message) {
    return RpcInput<Request>::Give(message, [this](bool ok) { reactor_->OnReadDone(ok); });
  }
  void Finish(grpc::Status status) override { this->Set(std::move(status)); }
  void SendInitialMetadata() override {}
  void Read(Request* room) override { RpcInput<Request>::Read(room); }

 private:
  grpc::internal::ServerReactor* reactor() override { return reactor_; }
  void CallOnDone() override {}
  grpc::ServerReadReactor<Request>* reactor_;
};

// Each message that the server sends has been taken when `take` returns.
template <typename Response>
class FuzzWriteStream final : public grpc::ServerCallbackWriter<Response>, public RpcEnd {
 public:
  using Take = std::function<void(const Response&)>;
  FuzzWriteStream(grpc::ServerWriteReactor<Response>* reactor, Take take)
      : reactor_(reactor), take_(std::move(take)) {
    this->BindReactor(reactor);
    Start();
  }
  void Finish(grpc::Status status) override { this->Set(std::move(status)); }
  void SendInitialMetadata() override {}
  void Write(const Response* message, grpc::WriteOptions) override {
    take_(*message);
    {
      const std::lock_guard lock(this->mutex_);
      if (!started_) {  // inside BindReactor, where the reactor cannot be called yet
        waits_ = true;
        return;
      }
    }
    reactor_->OnWriteDone(true);
  }
  void WriteAndFinish(const Response* message, grpc::WriteOptions, grpc::Status status) override {
    take_(*message);
    this->Set(std::move(status));
  }

 private:
  void Start() {
    bool waits = false;
    {
      const std::lock_guard lock(this->mutex_);
      started_ = true;
      waits = waits_;
    }
    if (waits) reactor_->OnWriteDone(true);
  }
  grpc::internal::ServerReactor* reactor() override { return reactor_; }
  void CallOnDone() override {}
  grpc::ServerWriteReactor<Response>* reactor_;
  const Take take_;
  bool started_ = false;
  bool waits_ = false;
};

template <typename Request, typename Response>
class FuzzStream final : public grpc::ServerCallbackReaderWriter<Request, Response>,
                         public RpcInput<Request> {
 public:
  using Take = std::function<void(const Response&)>;
  // The server must not send anything before it has read.
  FuzzStream(grpc::ServerBidiReactor<Request, Response>* reactor, Take take)
      : reactor_(reactor), take_(std::move(take)) {
    this->BindReactor(reactor);
  }
  bool Give(const Request* message) {
    return RpcInput<Request>::Give(message, [this](bool ok) { reactor_->OnReadDone(ok); });
  }
  void Finish(grpc::Status status) override { this->Set(std::move(status)); }
  void SendInitialMetadata() override {}
  void Read(Request* room) override { RpcInput<Request>::Read(room); }
  void Write(const Response* message, grpc::WriteOptions) override {
    take_(*message);
    reactor_->OnWriteDone(true);
  }
  void WriteAndFinish(const Response* message, grpc::WriteOptions, grpc::Status status) override {
    take_(*message);
    this->Set(std::move(status));
  }

 private:
  grpc::internal::ServerReactor* reactor() override { return reactor_; }
  void CallOnDone() override {}
  grpc::ServerBidiReactor<Request, Response>* reactor_;
  const Take take_;
};

// A refusal has words that can be shown, and a code that blames the caller or the circumstances:
// UNKNOWN and INTERNAL stand for errors of our own.
void CheckEnd(const grpc::Status& status);
// A message that another program can read: its texts are UTF-8.
void CheckReadable(const google::protobuf::Message& message);

}  // namespace longrun
