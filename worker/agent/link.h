// The worker's link to its coordinator: one session at a time, opened again after a growing pause,
// kept alive by heartbeats, and given up after a long silence. The link decides when; the agent
// sends what Look() asks for. Belongs to the agent's thread; time is passed in (milliseconds of
// BootMs()).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/status.h"
#include "sweeps/session_messages.h"
#include "worker/agent/session.h"

namespace longrun::agent {

class Link {
 public:
  struct Hooks {
    // Runs a closure on the agent's thread; any thread may call it.
    std::function<void(std::function<void()>)> post;
    std::function<void(const DownMessage&)> on_message;  // of the current session
    std::function<void()> on_unreached = {};             // a session that never began has ended
  };
  Link(CoordinatorChannel coordinator, Hooks hooks, SeededRandom random);

  enum class Next {
    kNothing,
    kHello,  // no session, and the pause is over
    kBeat,
  };
  // Says what to send now. Gives up a session whose coordinator is silent.
  Next Look(std::int64_t now_ms);
  void Open(HelloMessage hello, std::int64_t now_ms);  // after kHello
  // After kBeat; the link sets the number.
  void Beat(HeartbeatMessage heartbeat, std::int64_t now_ms);
  // Returns false, and ends the session, if the coordinator chose a protocol that we do not speak,
  // or runs on an older copy of a database that this worker has served.
  bool TakeWelcome(const WelcomeMessage& welcome, std::int64_t now_ms);

  void Send(UpMessage message);  // while there is a session
  std::size_t queued_bytes() const;
  // Waits until the coordinator has read everything that was sent (CoordinatorSession::Close).
  void Finish(std::int64_t wait_ms);

  bool welcomed() const { return welcomed_; }
  // The number of the session: 1, 2, ...
  std::int64_t session_number() const { return number_; }
  // The time of the next Look() that will have something to do, unless a message comes first.
  std::int64_t next_ms() const { return session_ != nullptr ? beat_at_ms_ : connect_at_ms_; }

 private:
  void Close(std::int64_t now_ms, const Status& why);

  CoordinatorChannel coordinator_;
  Hooks hooks_;
  SeededRandom random_;
  std::unique_ptr<CoordinatorSession> session_;
  std::int64_t number_ = 0;
  bool welcomed_ = false;
  std::string coordinator_id_;
  std::int64_t boot_epoch_ = 0;
  std::int64_t heartbeat_ms_ = 0;  // 0: no coordinator has welcomed us yet
  std::int64_t beat_number_ = 0;
  std::int64_t beat_at_ms_ = 0;
  std::int64_t heard_ms_ = 0;  // the last message from the coordinator
  std::int64_t connect_at_ms_ = 0;
  std::int64_t back_off_ms_ = 0;
};

}  // namespace longrun::agent
