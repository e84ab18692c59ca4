// A connection to a coordinator: the only place, besides artifacts.cc and channel.cc, that knows
// gRPC.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "client/wire/context.h"
#include "client/wire/sweep_calls.h"

namespace longrun::client {

// Whether gRPC can start its threads and open its files; if it could not, it would abort. Checked
// once, before gRPC starts.
const Status& RoomForConnections();

class CoordinatorConnection final : public SweepCalls {
 public:
  // "unix:/path". Connects lazily: only the first call notices whether a coordinator is there.
  explicit CoordinatorConnection(const std::string& address)
      : CoordinatorConnection(Destination{.address = address}) {}
  explicit CoordinatorConnection(const Destination& destination);
  ~CoordinatorConnection() override;
  CoordinatorConnection(const CoordinatorConnection&) = delete;
  CoordinatorConnection& operator=(const CoordinatorConnection&) = delete;

  // `why` is called when the coordinator no longer answers. If it returns an error (for example,
  // how our own coordinator ended), the call returns that error.
  void WhenLost(std::function<Status()> why) { why_lost_ = std::move(why); }

  Status Send(const google::protobuf::Message& request, std::int64_t answer_ms,
              google::protobuf::Message* answer) override;
  bool unanswered() const override { return unanswered_; }

  // Streams of answers; `each` returns false to end the stream early.
  Status WatchSweep(const std::string& sweep, bool first,
                    const std::function<bool(const v1::WatchSweepResponse&)>& each);
  Status GetLogs(const std::string& target, bool follow,
                 const std::function<bool(const v1::GetLogsResponse&)>& each);
  // Ends a running stream, from another thread or a signal's watcher. The call that reads the
  // stream then returns kCancelled.
  void CancelStream();

  // The bytes of an artifact in the store, checked against `sha256`; kDataLoss if they differ,
  // kResourceExhausted beyond `bytes_max`.
  Result<std::string> Download(const std::string& sha256, std::int64_t bytes_max);

  // Error details of the last failed call: the violations of a sweep file, one per line.
  const std::vector<std::string>& violations() const { return violations_; }

 private:
  // Reads each answer into `message`, then calls `each`.
  Status Stream(const google::protobuf::Message& request, google::protobuf::Message* message,
                const std::function<bool()>& each);
  // Returns the reason why nobody answers if it is known, else `failed`.
  Status Lost(Status failed) const;

  struct Impl;
  std::unique_ptr<Impl> impl_;
  std::function<Status()> why_lost_;
  std::vector<std::string> violations_;
  bool unanswered_ = false;
};

}  // namespace longrun::client
