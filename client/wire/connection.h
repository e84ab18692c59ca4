// The client's side of the wire. A call takes and returns JSON, with the field names of the .proto
// files, 64-bit integers as numbers, and fields that end in `_json` as the JSON that they hold
// (under the name without the ending). So a verb is data in, text out, and `-o json` prints the
// coordinator's answer.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/status.h"

namespace longrun {

// Whether gRPC can start its threads and open its files, without which it would abort; checked
// once, before gRPC starts.
const Status& RoomForConnections();

class CoordinatorConnection {
 public:
  // "unix:/path". Connects lazily: only the first call notices whether a coordinator is there.
  explicit CoordinatorConnection(const std::string& address);
  ~CoordinatorConnection();
  CoordinatorConnection(const CoordinatorConnection&) = delete;
  CoordinatorConnection& operator=(const CoordinatorConnection&) = delete;

  // `why` is called when the coordinator no longer answers. If it returns an error, for example how
  // our own coordinator ended, that is the call's error.
  void WhenLost(std::function<Status()> why) { why_lost_ = std::move(why); }

  // `method` is a unary call of SweepService: "SubmitSweep".
  // kUnavailable if no coordinator answers.
  Result<Json> Call(const std::string& method, const Json& request,
                    std::int64_t timeout_ms = 30'000);

  // A server-streaming method; `each` returns false to end the stream early.
  Status Stream(const std::string& method, const Json& request,
                const std::function<bool(const Json&)>& each);
  // Ends a running Stream, from another thread or a signal's watcher; it then returns kCancelled.
  void CancelStream();

  // The bytes of an artifact in the store, checked against `sha256`; kDataLoss if they differ,
  // kResourceExhausted beyond `bytes_max`.
  Result<std::string> Download(const std::string& sha256, std::int64_t bytes_max);

  // Error details of the last failed call: the violations of a sweep file, one per line.
  const std::vector<std::string>& violations() const { return violations_; }

 private:
  // `failed`, or the reason why nobody answers, if it is known.
  Status Lost(Status failed) const;

  struct Impl;
  std::unique_ptr<Impl> impl_;
  std::function<Status()> why_lost_;
  std::vector<std::string> violations_;
};

}  // namespace longrun
