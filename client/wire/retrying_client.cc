#include "client/wire/retrying_client.h"

#include <poll.h>

#include <utility>

#include "base/clock.h"
#include "client/console/exit_code.h"

namespace longrun {
namespace {

constexpr std::int64_t kCallMs = 30'000;
constexpr int kPauseMs = 20;

// Whether the coordinator ended before it answered; any other status is its answer.
bool WentAway(const Status& status) {
  return status.code() == Code::kUnavailable || status.code() == Code::kCancelled;
}

}  // namespace

Result<Json> RetryingClient::Call(const std::string& method, const Json& request,
                                  std::int64_t timeout_ms) {
  const std::int64_t deadline = BootMs() + kCallMs;
  while (true) {
    violations_.clear();
    Status failed;
    if (coordinator_ == nullptr) {
      Result<std::unique_ptr<Coordinator>> reached = Coordinator::Reach(state_);
      failed = reached.status();
      if (reached.ok()) coordinator_ = std::move(reached).value();
    }
    if (coordinator_ != nullptr) {
      Result<Json> answer = coordinator_->connection().Call(method, request, timeout_ms);
      if (answer.ok() || !WentAway(answer.status())) {
        violations_ = coordinator_->connection().violations();
        return answer;
      }
      failed = std::move(answer).status();
      coordinator_.reset();
      if (why_lost_) RETURN_IF_ERROR(why_lost_());
    }
    if (!WentAway(failed) || BootMs() > deadline) return failed;
    poll(nullptr, 0, kPauseMs);
  }
}

int RetryingClient::ReportFailure(const Status& status) const {
  return Report(status, violations_);
}

Status CallStream(const std::string& state, const std::string& method, const Json& request,
                  const std::function<bool(const Json&)>& each) {
  const std::int64_t deadline = BootMs() + kCallMs;
  while (true) {
    bool begun = false;
    const Result<std::unique_ptr<Coordinator>> reached = Coordinator::Reach(state);
    Status status = reached.status();
    if (reached.ok()) {
      status = (*reached)->connection().Stream(method, request, [&](const Json& message) {
        begun = true;
        return each(message);
      });
    }
    if (status.ok() || begun || !WentAway(status) || BootMs() > deadline) return status;
    poll(nullptr, 0, kPauseMs);
  }
}

Result<Json> Call(const std::string& state, const std::string& method, const Json& request) {
  return RetryingClient(state).Call(method, request);
}

}  // namespace longrun
