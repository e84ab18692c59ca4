// One question to the coordinator of a state folder, for the verbs that only read (and for those
// whose call may be made twice without harm).
//
// The coordinator that answers may be the momentary one of another command, which ends when that
// command does. A question that it no longer answers is asked again, of whoever is there next, or of
// one of our own: so any number of commands may run at once on a folder without a service.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "client/embedded.h"

namespace longrun {

// Keeps its coordinator between questions: a momentary one is started once for all of them.
class Asker {
 public:
  // `why_lost` is asked after a question that got no answer: an error that it gives ends the asking.
  explicit Asker(std::string state, std::function<Status()> why_lost = nullptr)
      : state_(std::move(state)), why_lost_(std::move(why_lost)) {}

  // `method` of SweepService, unary; it must be safe to carry out twice. kUnavailable when nobody
  // has answered within kAskMs; kDeadlineExceeded when an answer took longer than `timeout_ms`.
  Result<Json> Ask(const std::string& method, const Json& request,
                   std::int64_t timeout_ms = 30'000);

  // Reports why the last question had no answer, with a sweep file's violations; the exit code.
  int ReportFailure(const Status& status) const;

  // The coordinator of the last answer.
  Coordinator& coordinator() { return *coordinator_; }

 private:
  std::string state_;
  std::function<Status()> why_lost_;
  std::unique_ptr<Coordinator> coordinator_;
  std::vector<std::string> violations_;
};

// One question with nothing after it.
Result<Json> Ask(const std::string& state, const std::string& method, const Json& request);

}  // namespace longrun
