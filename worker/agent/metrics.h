// What the worker tells Prometheus: which of the table's numbers (metrics/table.h) change when. A slot's
// live numbers are there while it works, and are labelled by the slot, never by what runs on it.
//
// Any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "metrics/page.h"
#include "worker/agent/devices.h"
#include "worker/agent/slot_meter.h"

namespace longrun {

class WorkerMetrics {
 public:
  // `address` is a loopback address, port 0 for a free one. kInvalidArgument for any other host,
  // kUnavailable when the port is taken.
  static Result<std::unique_ptr<WorkerMetrics>> Serve(const std::string& address,
                                                      const std::string& state_folder,
                                                      const std::vector<DeviceSlot>& devices);

  const std::string& address() const { return address_; }  // with the port that was taken

  void SetSlots(std::int64_t busy, std::int64_t free);
  void CountStarted(std::string_view kind);
  void CountEnded(std::string_view failure_class);  // "none" for an end as it should be
  void SetBacklogBytes(std::int64_t n_bytes);
  void SetConnected(bool connected);

  void ObserveStepSeconds(int slot, double seconds);
  void ShowSlot(int slot, const SlotMeter& meter);  // the live numbers, as they are now
  void HideSlot(int slot, const SlotMeter& meter);  // it works on that no more

 private:
  WorkerMetrics() : page_(MetricOwner::kWorker) {}
  void ShowDevices(const std::vector<DeviceSlot>& devices);

  MetricPage page_;
  std::string address_;
};

}  // namespace longrun
