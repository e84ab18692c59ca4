// The client's side of the wire. A call takes and gives JSON: the field names of the .proto files,
// 64-bit integers as numbers, and fields that end in `_json` as the JSON they hold (under the name
// without the ending). So a verb is data in, text out, and `-o json` prints what the coordinator
// said.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/status.h"

namespace longrun {

// Whether gRPC can start its threads and open its files, without which it would abort; looked at once, before it does.
const Status& RoomForConnections();

class Connection {
 public:
  // "unix:/path". Connects lazily: the first call finds out whether anybody is there.
  explicit Connection(const std::string& address);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Asked when nobody answers any more: an error that it gives, such as how our own coordinator ended, is
  // what the call gives.
  void WhenLost(std::function<Status()> why) { why_lost_ = std::move(why); }

  // `method` of SweepService, unary: "SubmitSweep". kUnavailable when no coordinator answers.
  Result<Json> Call(const std::string& method, const Json& request,
                    std::int64_t timeout_ms = 30'000);

  // A server-streaming method; `each` returns false to end the stream early.
  Status Stream(const std::string& method, const Json& request,
                const std::function<bool(const Json&)>& each);
  // Ends a Stream under way from another thread or a signal's watcher; it then gives kCancelled.
  void CancelStream();

  // The bytes of an artifact of the store, by the SHA-256 that they are found to have; kDataLoss
  // when they have another, kResourceExhausted beyond `bytes_max`.
  Result<std::string> Download(const std::string& sha256, std::int64_t bytes_max);

  // Error details of the last call that failed: the lines of a sweep file's violations.
  const std::vector<std::string>& violations() const { return violations_; }

 private:
  // `failed`, or why nobody answers, where that is known.
  Status Lost(Status failed) const;

  struct Impl;
  std::unique_ptr<Impl> impl_;
  std::function<Status()> why_lost_;
  std::vector<std::string> violations_;
};

}  // namespace longrun
