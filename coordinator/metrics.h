// The coordinator's numbers for Prometheus, on a loopback port of their own (orchestration.md 5.2).
// Labels come from small closed sets only, never an id; every value of a closed set is there from the
// start.
//
// Any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"

namespace longrun {

class Metrics {
 public:
  Metrics();
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  // Serves the page on `address` ("127.0.0.1:9411"; port 0: any free one) and gives the address with
  // its port. kInvalidArgument for what is no loopback address, kUnavailable when the port is in use.
  Result<std::string> Expose(const std::string& address);
  std::string Page() const;  // the text form

  void SetTasks(std::string_view kind, std::string_view state, std::int64_t n);
  void CountTaskTransition(std::string_view from, std::string_view to);
  void CountAttemptFailure(std::string_view failure_class);
  void CountLeaseExpiration();
  void CountFenced();
  void CountIngest(std::int64_t result_rows, std::int64_t series_rows, std::int64_t record_rows,
                   std::int64_t duplicates, std::int64_t malformed);
  void ObserveCommit(double seconds, std::int64_t n_writes);
  void ObserveStep(double seconds);
  void SetSessions(std::int64_t n);
  void CountCall(std::string_view method, std::string_view code);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace longrun
