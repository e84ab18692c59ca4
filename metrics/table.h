// Every metric of the daemons, as data. The page (page.h), docs/metrics.md and the tests of the
// dashboards and alerts use these rows.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace longrun {

// In the order of the rows.
enum class Metric {
  // Both daemons.
  kBuildInfo,
  kDiskFreeBytes,
  kDiskBytes,
  kProcessCpuSeconds,
  kProcessResidentBytes,
  kProcessVirtualBytes,
  kProcessOpenFds,
  kProcessMaxFds,
  kProcessStartTime,
  // The coordinator: tasks and scheduling.
  kTasks,
  kSweepTasks,
  kSweepsLeftOut,
  kTaskTransitions,
  kTaskQueueSeconds,
  kScheduleLatencySeconds,
  kSchedulerStepSeconds,
  kUnplacedReadyTasks,
  kAttemptFailures,
  kAttemptSeconds,
  // Workers, as the coordinator sees them.
  kWorkers,
  kSlots,
  kSessions,
  kSessionMemoryBytes,
  kLeaseExpirations,
  kFenced,
  kJournalBacklogBytes,
  // Ingest and store.
  kIngestRows,
  kIngestDuplicates,
  kIngestMalformed,
  kIngestLagSeconds,
  kStoreCommitSeconds,
  kStoreBatchRows,
  kStoreWalBytes,
  kStoreDatabaseBytes,
  kStoreBusy,
  // Calls.
  kCallsHandled,
  kCallSeconds,
  // Results of sweeps that ask for export.
  kResultPpl,
  kResultPseudoPpl,
  kResultSeriesLeftOut,
  // The worker.
  kWorkerSlots,
  kWorkerAttemptsStarted,
  kWorkerAttemptsEnded,
  kWorkerSessionConnected,
  kWorkerJournalBacklogBytes,
  kWorkerSlotInfo,
  kWorkerSlotProgressRatio,
  kWorkerSlotTokensPerSecond,
  kWorkerSlotLossNats,
  kWorkerSlotMfuRatio,
  kWorkerStepSeconds,
  kWorkerDeviceInfo,
  kWorkerDeviceMemoryBytes,
  kWorkerDeviceMemoryUsedBytes,
  kWorkerDeviceUtilizationRatio,
  kWorkerDevicePowerWatts,
  kWorkerDeviceTemperatureCelsius,
};

enum class MetricType { kCounter, kGauge, kHistogram };
std::string_view MetricTypeName(MetricType type);  // "counter", in Prometheus' words

enum class MetricOwner { kCoordinator, kWorker, kBoth };

struct MetricRow {
  Metric metric;
  std::string_view name;
  MetricType type;
  std::string_view labels;  // separated by spaces; may be ""
  std::string_view unit;    // "seconds", "bytes", ...; "" for counts
  MetricOwner owner;
  std::string_view help;  // a sentence

  std::vector<std::string> label_names() const;
};

// The rows, in the order of the enumerators.
std::span<const MetricRow> MetricTable();
const MetricRow& RowOf(Metric metric);
// Upper bounds, in the row's unit; empty except for histograms.
std::span<const double> BucketsOf(const MetricRow& row);

// The table as a page for people (docs/metrics.md).
std::string MetricReference();

}  // namespace longrun
