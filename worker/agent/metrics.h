// The worker's metrics, served on loopback (prometheus-cpp stays in metrics.cc).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"

namespace longrun {

class WorkerMetrics {
 public:
  // `address` is "127.0.0.1:PORT", port 0 for a free one; any other host is refused until TLS and
  // tokens exist. kUnavailable when the port is taken.
  static Result<std::unique_ptr<WorkerMetrics>> Serve(const std::string& address);
  ~WorkerMetrics();

  const std::string& address() const;  // with the port that was taken

  void SetSlots(std::int64_t busy, std::int64_t free);
  void CountStarted();
  void CountEnded(std::string_view failure_class);  // "none" for an end as it should be
  void SetBacklogBytes(std::int64_t n_bytes);
  void SetConnected(bool connected);

 private:
  struct Registry;
  explicit WorkerMetrics(std::unique_ptr<Registry> registry);
  std::unique_ptr<Registry> registry_;
};

}  // namespace longrun
