// One request to the coordinator of a state folder, for the verbs that only read (and for those
// whose call is safe to repeat).
//
// The coordinator that answers may be the momentary one of another command, and end with that
// command. A request that gets no answer is then sent again, to the next coordinator or to one of
// our own, so that any number of commands can run at once on a folder without a service.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "client/wire/embedded.h"

namespace longrun::client {

// Keeps its coordinator between requests: a momentary one is started only once for all of them.
// Only for calls that are safe to repeat. kUnavailable if nobody has answered for 30 s; later calls
// then fail at once.
class RetryingClient final : public SweepCalls {
 public:
  // Whether a database is made in a folder that has none yet. Most commands leave it without one.
  enum class NoDatabase { kIsLeft, kIsMade };
  explicit RetryingClient(std::string state, NoDatabase no_database = NoDatabase::kIsLeft)
      : state_(std::move(state)), no_database_(no_database) {}
  // `why_lost` is called after a request that got no answer:
  // an error that it returns ends the retries.
  RetryingClient(std::string state, std::function<Status()> why_lost)
      : state_(std::move(state)),
        no_database_(NoDatabase::kIsMade),
        why_lost_(std::move(why_lost)) {}

  Status Send(const google::protobuf::Message& request, std::int64_t answer_ms,
              google::protobuf::Message* answer) override;
  bool unanswered() const override { return unanswered_; }

  // Reports why the last request failed, with a sweep file's violations; returns the exit code.
  int ReportFailure(const Status& status) const;
  const std::vector<std::string>& violations() const { return violations_; }

  // The coordinator of the last answer.
  Coordinator& coordinator() { return *coordinator_; }

 private:
  std::string state_;
  NoDatabase no_database_;
  std::function<Status()> why_lost_;
  std::unique_ptr<Coordinator> coordinator_;
  std::vector<std::string> violations_;
  bool unanswered_ = false;
  bool has_given_up_ = false;
};

// The log of `target` (GetLogs) as a stream of answers. The request is sent again, to the next
// coordinator, only if no answer has arrived yet. `each` returns false to end the stream early.
// `follow`: also what comes later, if a service runs; becomes false if none does.
Status ReadLogs(const std::string& state, const std::string& target, bool& follow,
                const std::function<bool(const v1::GetLogsResponse&)>& each);

}  // namespace longrun::client
