// See metrics.h.
#include "worker/agent/metrics.h"

#include <optional>
#include <utility>

#include "base/log.h"
#include "base/memory.h"
#include "base/str.h"
#include "sweeps/failure.h"
#include "sweeps/task.h"
#include "worker/agent/host_usage.h"
#include "worker/agent/nvml.h"

namespace longrun::agent {
namespace {

constexpr const char* kCpu = "cpu";

std::string GpuLabel(std::int64_t index) { return Str("gpu", index); }

// The gauges of a busy slot; a free slot has none of them.
constexpr Metric kLive[] = {Metric::kWorkerSlotProgressRatio, Metric::kWorkerSlotTokensPerSecond,
                            Metric::kWorkerSlotLossNats, Metric::kWorkerSlotMfuRatio};

}  // namespace

Result<std::unique_ptr<WorkerMetrics>> WorkerMetrics::Serve(const std::string& address,
                                                            const std::string& state_folder,
                                                            const std::vector<Slot>& devices,
                                                            const std::vector<GpuName>& gpus) {
  std::unique_ptr<WorkerMetrics> metrics(new WorkerMetrics());
  MetricPage& page = metrics->page_;
  for (const TaskKind kind : {TaskKind::kTrain, TaskKind::kEvaluate}) {
    page.Touch(Metric::kWorkerAttemptsStarted, {EnumName(kind)});
  }
  page.Touch(Metric::kWorkerAttemptsEnded, {"none"});
  for (const FailureRow& row : FailureTable()) {
    page.Touch(Metric::kWorkerAttemptsEnded, {row.name});
  }
  for (const Slot& slot : devices) {
    page.Touch(Metric::kWorkerStepSeconds, {Str(slot.index)});
  }
  ShowDiskOf(page, state_folder);
  metrics->ShowDevices(devices, gpus);
  ASSIGN_OR_RETURN(metrics->address_, page.Expose(address));
  return metrics;
}

void WorkerMetrics::ShowDevices(const std::vector<Slot>& devices,
                                const std::vector<GpuName>& gpus) {
  const Slot& first = devices.front();
  page_.Set(Metric::kWorkerDeviceInfo, {kCpu, EnumName(DeviceKind::kCpu), DetectHostCpu().name}, 1);
  page_.BeforeEachScrape([this, host = HostUsage()]() mutable {
    if (const auto ratio = host.CpuRatio()) {
      page_.Set(Metric::kWorkerDeviceUtilizationRatio, {kCpu}, *ratio);
    }
    if (const auto memory = ReadHostMemory()) {
      page_.Set(Metric::kWorkerDeviceMemoryBytes, {kCpu}, static_cast<double>(memory->total_bytes));
      page_.Set(Metric::kWorkerDeviceMemoryUsedBytes, {kCpu},
                static_cast<double>(memory->used_bytes));
    }
  });
  if (first.kind != DeviceKind::kGpu) return;
  Result<std::unique_ptr<Nvml>> opened = Nvml::Open();
  if (!opened.ok() || *opened == nullptr) {
    LogWarning("gpus_not_measured", {{"error", opened.status().message()}});
    return;
  }
  for (const Slot& slot : devices) {
    page_.Set(Metric::kWorkerDeviceInfo, {GpuLabel(slot.index), EnumName(slot.kind), slot.name}, 1);
  }
  // Shared, because std::function must be copyable.
  page_.BeforeEachScrape([this, gpus, nvml = std::shared_ptr<Nvml>(std::move(opened).value())] {
    for (std::size_t i = 0; i < gpus.size(); ++i) {
      const GpuUsage usage = nvml->UsageOf(gpus[i].place);
      const std::pair<Metric, std::optional<double>> values[] = {
          {Metric::kWorkerDeviceMemoryBytes, usage.memory_bytes},
          {Metric::kWorkerDeviceMemoryUsedBytes, usage.memory_used_bytes},
          {Metric::kWorkerDeviceUtilizationRatio, usage.utilization},
          {Metric::kWorkerDevicePowerWatts, usage.power_watts},
          {Metric::kWorkerDeviceTemperatureCelsius, usage.temperature_celsius}};
      for (const auto& [metric, value] : values) {
        if (value) page_.Set(metric, {GpuLabel(static_cast<std::int64_t>(i))}, *value);
      }
    }
  });
}

void WorkerMetrics::SetSlots(std::int64_t busy, std::int64_t free) {
  page_.Set(Metric::kWorkerSlots, {"busy"}, static_cast<double>(busy));
  page_.Set(Metric::kWorkerSlots, {"free"}, static_cast<double>(free));
}

void WorkerMetrics::CountStarted(std::string_view kind) {
  page_.Add(Metric::kWorkerAttemptsStarted, {kind});
}

void WorkerMetrics::CountEnded(std::string_view failure_class) {
  page_.Add(Metric::kWorkerAttemptsEnded, {failure_class});
}

void WorkerMetrics::SetBacklogBytes(std::int64_t n_bytes) {
  page_.Set(Metric::kWorkerJournalBacklogBytes, {}, static_cast<double>(n_bytes));
}

void WorkerMetrics::SetConnected(bool connected) {
  page_.Set(Metric::kWorkerSessionConnected, {}, connected ? 1 : 0);
}

void WorkerMetrics::ObserveStepSeconds(int slot, double seconds) {
  page_.Observe(Metric::kWorkerStepSeconds, {Str(slot)}, seconds);
}

void WorkerMetrics::ShowSlot(int slot, const SlotMeter& meter) {
  const std::string label = Str(slot);
  page_.Set(Metric::kWorkerSlotInfo, {label, meter.kind(), meter.method(), meter.dataset()}, 1);
  const std::optional<double> values[] = {meter.progress(), meter.tokens_per_s(), meter.loss(),
                                          meter.mfu()};
  static_assert(std::size(values) == std::size(kLive));
  for (std::size_t i = 0; i < std::size(kLive); ++i) {
    if (values[i]) page_.Set(kLive[i], {label}, *values[i]);
  }
}

void WorkerMetrics::HideSlot(int slot, const SlotMeter& meter) {
  const std::string label = Str(slot);
  page_.Remove(Metric::kWorkerSlotInfo, {label, meter.kind(), meter.method(), meter.dataset()});
  for (const Metric metric : kLive) page_.Remove(metric, {label});
}

}  // namespace longrun::agent
