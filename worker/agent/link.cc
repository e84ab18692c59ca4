#include "worker/agent/link.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "base/version.h"
#include "sweeps/protocol.h"

namespace longrun::agent {
namespace {

constexpr std::int64_t kBackOffMs = 200;
constexpr double kBackOffGrowth = 1.6;
constexpr std::int64_t kBackOffMsMax = 10'000;
constexpr std::int64_t kBackOffHeartbeats = 2;  // at most, so that no lease ends meanwhile
constexpr std::int64_t kHeartbeatMs = 5000;     // if Welcome does not give one
constexpr std::int64_t kSilenceMsMax = 30'000;  // coordinator silent so long: a new session
constexpr std::int64_t kWelcomeMs = 1000;       // until the loop looks again without a message

// A welcome does not: a coordinator whose disk is full welcomes a worker, and ends the session at
// its first journal batch.
bool ShowsThatTheSessionLasts(const DownMessage& message) {
  return std::holds_alternative<AckMessage>(message) ||
         std::holds_alternative<HeartbeatReplyMessage>(message);
}

}  // namespace

Link::Link(CoordinatorChannel coordinator, Hooks hooks, SeededRandom random)
    : coordinator_(std::move(coordinator)), hooks_(std::move(hooks)), random_(random) {}

Link::Next Link::Look(std::int64_t now_ms) {
  if (session_ == nullptr) return now_ms >= connect_at_ms_ ? Next::kHello : Next::kNothing;
  if (now_ms - heard_ms_ > std::max(kSilenceMsMax, 4 * heartbeat_ms_)) {
    Close(now_ms, Status(Code::kDeadlineExceeded, "the coordinator does not answer"));
    return Next::kNothing;
  }
  return welcomed_ && now_ms >= beat_at_ms_ ? Next::kBeat : Next::kNothing;
}

void Link::Open(HelloMessage hello, std::int64_t now_ms) {
  const std::int64_t number = ++number_;
  heard_ms_ = now_ms;
  beat_at_ms_ = now_ms + kWelcomeMs;
  const auto current = [this, number] { return session_ != nullptr && number_ == number; };
  session_ =
      CoordinatorSession::Open(coordinator_, std::move(hello),
                               {.on_message =
                                    [this, current](DownMessage message) {
                                      hooks_.post([this, current, message = std::move(message)] {
                                        if (!current()) return;
                                        heard_ms_ = BootMs();
                                        if (ShowsThatTheSessionLasts(message)) back_off_ms_ = 0;
                                        hooks_.on_message(message);
                                      });
                                    },
                                .on_end =
                                    [this, current](const Status& status) {
                                      hooks_.post([this, current, status] {
                                        if (current()) Close(BootMs(), status);
                                      });
                                    }});
}

void Link::Beat(HeartbeatMessage heartbeat, std::int64_t now_ms) {
  beat_at_ms_ = now_ms + heartbeat_ms_;
  heartbeat.number = ++beat_number_;
  session_->Send(std::move(heartbeat));
}

bool Link::TakeWelcome(const WelcomeMessage& welcome, std::int64_t now_ms) {
  if (welcome.protocol_version < kProtocolOldest || welcome.protocol_version > kProtocolNewest) {
    Close(now_ms, Status(Code::kFailedPrecondition,
                         Str("the coordinator chose version ", welcome.protocol_version,
                             " of the protocol, but this worker (", kVersion, ") speaks ",
                             ProtocolText(ProtocolRange()),
                             ": update the worker to the coordinator's "
                             "release")));
    return false;
  }
  if (welcome.coordinator_id == coordinator_id_ && welcome.boot_epoch < boot_epoch_) {
    Close(now_ms,
          Status(Code::kFailedPrecondition,
                 Str("coordinator ", welcome.coordinator_id, " reports start ", welcome.boot_epoch,
                     ", but this worker has already served start ", boot_epoch_,
                     ": two coordinators are running on copies of one database. Stop the one on "
                     "the earlier copy. If this one was restored on a machine whose clock runs "
                     "behind, correct the clock and restore again, or restart the workers")));
    return false;
  }
  coordinator_id_ = welcome.coordinator_id;
  boot_epoch_ = welcome.boot_epoch;
  heartbeat_ms_ = welcome.heartbeat_ms > 0 ? welcome.heartbeat_ms : kHeartbeatMs;
  beat_at_ms_ = now_ms + heartbeat_ms_;
  welcomed_ = true;
  return true;
}

void Link::Send(UpMessage message) { session_->Send(std::move(message)); }

std::size_t Link::queued_bytes() const { return session_->queued_bytes(); }

void Link::Finish(std::int64_t wait_ms) {
  if (session_ != nullptr) session_->Close(wait_ms);
}

void Link::Close(std::int64_t now_ms, const Status& why) {
  session_.reset();
  const bool was_welcomed = std::exchange(welcomed_, false);
  const std::int64_t back_off_max_ms =
      heartbeat_ms_ == 0
          ? kBackOffMsMax
          : std::clamp(kBackOffHeartbeats * heartbeat_ms_, kBackOffMs, kBackOffMsMax);
  back_off_ms_ =
      back_off_ms_ == 0
          ? kBackOffMs
          : std::min(back_off_max_ms,
                     static_cast<std::int64_t>(kBackOffGrowth * static_cast<double>(back_off_ms_)));
  connect_at_ms_ =
      now_ms + 1 + static_cast<std::int64_t>(random_.Uniform() * static_cast<double>(back_off_ms_));
  if (!was_welcomed && why.code() == Code::kUnavailable && hooks_.on_unreached) {
    hooks_.on_unreached();
  }
  // Log once per outage, not once per try.
  if (was_welcomed || back_off_ms_ == kBackOffMs || why.code() != Code::kUnavailable) {
    const bool is_unreached = !was_welcomed && why.code() == Code::kUnavailable;
    LogWarning(
        "session_ended",
        {{"why", why.ok()       ? "the coordinator closed it"
                 : is_unreached ? Str("the coordinator at --coordinator is not reached: start "
                                      "it there, correct the address, or see what follows (",
                                      why.message(), ")")
                                : why.message()},
         {"again_in_ms", Str(connect_at_ms_ - now_ms)}});
  }
}

}  // namespace longrun::agent
