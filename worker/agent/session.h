// The worker's session with its coordinator: one bidirectional stream (gRPC stays in session.cc).
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "base/status.h"
#include "worker/agent/messages.h"

namespace grpc {
class Channel;
}

namespace longrun {

// The way to one coordinator, shared by the session and the transfers of artifacts. `address` is
// "unix:PATH"; anything else is refused until TLS and tokens exist.
struct CoordinatorChannel {
  std::shared_ptr<grpc::Channel> channel;  // shared: calls in flight keep it
};
Result<CoordinatorChannel> ConnectTo(const std::string& address);

// One stream, from Hello to its end; a new one is opened for each try.
class Session {
 public:
  // Called on gRPC's threads, one at a time: they post to the agent. `on_end` comes once, last.
  struct Listener {
    std::function<void(DownMessage)> on_message;
    std::function<void(Status)> on_end;
  };
  static std::unique_ptr<Session> Open(const CoordinatorChannel& coordinator, HelloMessage hello,
                                       Listener listener);
  ~Session();  // cancels the stream and waits for its end

  // Queues; any thread. A heartbeat goes in front. Nothing is sent once the stream has ended.
  void Send(UpMessage message);
  std::size_t queued_bytes() const;
  // Nothing more is sent, and all that was has been read: the coordinator ends the stream behind it.
  // Waits no longer than this, nor where the stream has ended or something is queued.
  void Close(std::int64_t wait_ms);

 private:
  class Stream;
  explicit Session(std::unique_ptr<Stream> stream);
  std::unique_ptr<Stream> stream_;
};

}  // namespace longrun
