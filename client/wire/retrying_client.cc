#include "client/wire/retrying_client.h"

#include <poll.h>

#include <optional>
#include <utility>

#include "base/clock.h"
#include "client/console/exit_code.h"
#include "client/console/output.h"
#include "client/wire/context.h"
#include "client/wire/silence.h"

namespace longrun::client {
namespace {

constexpr std::int64_t kCallMs = 30'000;
constexpr int kPauseMs = 20;
constexpr int kRemotePauseMs = 200;  // each try costs a connection over the network

// Tells the user of a context what is waited for, and waits.
void Pause(const std::string& state, const Status& failed, RetryNotice& notice) {
  const bool is_remote = IsContext(state);
  if (is_remote && notice.IsDue(BootMs())) {
    SayLine(TryingAgainText(std::string(failed.message()), kCallMs));
  }
  poll(nullptr, 0, is_remote ? kRemotePauseMs : kPauseMs);
}

// Whether the coordinator ended before it answered; any other status is its answer.
bool WentAway(const Status& status) {
  return status.code() == Code::kUnavailable || status.code() == Code::kCancelled;
}

}  // namespace

Status RetryingClient::Send(const google::protobuf::Message& request, std::int64_t answer_ms,
                            google::protobuf::Message* answer) {
  std::optional<std::int64_t> deadline;  // from the first failure: an answer may take minutes
  RetryNotice notice;
  unanswered_ = false;
  while (true) {
    violations_.clear();
    Status failed;
    if (coordinator_ == nullptr) {
      Result<std::unique_ptr<Coordinator>> reached = no_database_ == NoDatabase::kIsMade
                                                         ? Coordinator::Reach(state_)
                                                         : Coordinator::ReachToRead(state_);
      failed = reached.status();
      if (reached.ok()) coordinator_ = std::move(reached).value();
    }
    if (coordinator_ != nullptr) {
      failed = coordinator_->connection().Send(request, answer_ms, answer);
      unanswered_ = unanswered_ || coordinator_->connection().unanswered();
      if (!WentAway(failed)) {
        violations_ = coordinator_->connection().violations();
        return failed;
      }
      coordinator_.reset();
      if (why_lost_) RETURN_IF_ERROR(why_lost_());
    }
    if (!WentAway(failed)) return failed;
    if (!deadline) deadline = BootMs() + (has_given_up_ ? 0 : kCallMs);
    if (BootMs() >= *deadline) {
      has_given_up_ = true;
      return failed;
    }
    Pause(state_, failed, notice);
  }
}

int RetryingClient::ReportFailure(const Status& status) const {
  return Report(status, violations_);
}

Status ReadLogs(const std::string& state, const std::string& target, bool& follow,
                const std::function<bool(const v1::GetLogsResponse&)>& each) {
  const std::int64_t deadline = BootMs() + kCallMs;
  const bool is_to_follow = follow;
  RetryNotice notice;
  while (true) {
    bool begun = false;
    const Result<std::unique_ptr<Coordinator>> reached = Coordinator::ReachToRead(state);
    Status status = reached.status();
    if (reached.ok()) {
      // Through the coordinator of a command nothing comes, and no service could start.
      follow = is_to_follow && !(*reached)->momentary();
      const auto noted = [&](const v1::GetLogsResponse& message) {
        begun = true;
        return each(message);
      };
      status = (*reached)->connection().GetLogs(target, follow, noted);
    }
    if (status.ok() || begun || !WentAway(status) || BootMs() > deadline) return status;
    Pause(state, status, notice);
  }
}

}  // namespace longrun::client
