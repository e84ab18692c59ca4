// The worker's metrics: the functions that change its numbers in the table (metrics/table.h). A
// slot's live numbers exist while the slot is busy, and are labelled by the slot, never by its
// attempt.
//
// May be called from any thread.
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

namespace longrun::agent {

class WorkerMetrics {
 public:
  // `address` is a loopback address; port 0: any free one. kInvalidArgument for any other host,
  // kUnavailable if the port is in use.
  static Result<std::unique_ptr<WorkerMetrics>> Serve(const std::string& address,
                                                      const std::string& state_folder,
                                                      const std::vector<Slot>& devices,
                                                      const std::vector<GpuName>& gpus);

  const std::string& address() const { return address_; }  // with the actual port

  void SetSlots(std::int64_t busy, std::int64_t free);
  void CountStarted(std::string_view kind);
  void CountEnded(std::string_view failure_class);  // "none" for a success
  void SetBacklogBytes(std::int64_t n_bytes);
  void SetConnected(bool connected);

  void ObserveStepSeconds(int slot, double seconds);
  void ShowSlot(int slot, const SlotMeter& meter);  // the current live numbers
  void HideSlot(int slot, const SlotMeter& meter);  // the slot no longer works on that

 private:
  WorkerMetrics() : page_(MetricOwner::kWorker) {}
  void ShowDevices(const std::vector<Slot>& devices, const std::vector<GpuName>& gpus);

  MetricPage page_;
  std::string address_;
};

}  // namespace longrun::agent
