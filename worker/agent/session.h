// The worker's session with its coordinator: one bidirectional stream (gRPC stays in session.cc).
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "base/host_port.h"
#include "base/status.h"
#include "sweeps/session_messages.h"

namespace grpc {
class Channel;
}

namespace longrun::agent {

// The channel to one coordinator, shared by the session and the transfers of artifacts.
struct CoordinatorChannel {
  std::shared_ptr<grpc::Channel> channel;  // shared: calls in flight keep it
};
// `address` is "unix:PATH".
Result<CoordinatorChannel> ConnectTo(const std::string& address);

// What a worker needs to be known over the network (membership.h). New connections read the files
// again.
struct MemberFiles {
  std::string authority;
  std::string key;
  std::string certificate;
};
Result<CoordinatorChannel> ConnectTo(const HostPort& place, const MemberFiles& files);

// One stream, from Hello to its end. Each try opens a new session.
class CoordinatorSession {
 public:
  // Called on gRPC's threads, one at a time. The functions post to the agent. `on_end` is called
  // once, last.
  struct Listener {
    std::function<void(DownMessage)> on_message;
    std::function<void(Status)> on_end;
  };
  static std::unique_ptr<CoordinatorSession> Open(const CoordinatorChannel& coordinator,
                                                  HelloMessage hello, Listener listener);
  ~CoordinatorSession();  // cancels the stream and waits for its end

  // Queues a message; may be called from any thread. A heartbeat goes to the front. Nothing is sent
  // once the stream has ended.
  void Send(UpMessage message);
  std::size_t queued_bytes() const;
  // Sends nothing more, and waits until the coordinator has read everything that was sent and ends
  // the stream. Waits at most `wait_ms`, and not at all if the stream has ended or something is
  // still queued.
  void Close(std::int64_t wait_ms);

 private:
  class Stream;
  explicit CoordinatorSession(std::unique_ptr<Stream> stream);
  std::unique_ptr<Stream> stream_;
};

}  // namespace longrun::agent
