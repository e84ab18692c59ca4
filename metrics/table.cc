// The rows of the table, and the page made from them.
#include "metrics/table.h"

#include <array>

#include "base/check.h"
#include "base/str.h"

namespace longrun {
namespace {

using enum MetricType;
using enum MetricOwner;

constexpr MetricRow kRows[] = {
    {Metric::kBuildInfo, "longrun_build_info", kGauge, "version revision", "info", kBoth,
     "Always 1; the labels are release and commit."},
    {Metric::kDiskFreeBytes, "longrun_disk_free_bytes", kGauge, "", "bytes", kBoth,
     "Free space on the disk of the state folder, for an ordinary user."},
    {Metric::kDiskBytes, "longrun_disk_bytes", kGauge, "", "bytes", kBoth,
     "Size of the disk of the state folder."},
    {Metric::kProcessCpuSeconds, "process_cpu_seconds_total", kCounter, "", "seconds", kBoth,
     "CPU time of the daemon, user and system."},
    {Metric::kProcessResidentBytes, "process_resident_memory_bytes", kGauge, "", "bytes", kBoth,
     "Memory of the daemon that is in RAM."},
    {Metric::kProcessVirtualBytes, "process_virtual_memory_bytes", kGauge, "", "bytes", kBoth,
     "Address space of the daemon."},
    {Metric::kProcessOpenFds, "process_open_fds", kGauge, "", "", kBoth,
     "Open file descriptors of the daemon."},
    {Metric::kProcessMaxFds, "process_max_fds", kGauge, "", "", kBoth,
     "File descriptors that the daemon may open."},
    {Metric::kProcessStartTime, "process_start_time_seconds", kGauge, "", "seconds", kBoth,
     "When the daemon started, in seconds since 1970."},

    {Metric::kTasks, "longrun_tasks", kGauge, "kind state", "", kCoordinator,
     "Tasks by kind (train, evaluate) and state, of all sweeps."},
    {Metric::kSweepTasks, "longrun_sweep_tasks", kGauge, "sweep state", "", kCoordinator,
     "Tasks by state of the sweeps of a name that have not ended, and until ten minutes after "
     "their end. A task may belong to several sweeps."},
    {Metric::kSweepsLeftOut, "longrun_sweeps_left_out", kGauge, "", "", kCoordinator,
     "Sweeps that longrun_sweep_tasks leaves out: it shows at most 500."},
    {Metric::kTaskTransitions, "longrun_task_transitions_total", kCounter, "from to", "",
     kCoordinator, "State changes of tasks; for a new task, `from` is empty."},
    {Metric::kTaskQueueSeconds, "longrun_task_queue_seconds", kHistogram, "kind", "seconds",
     kCoordinator,
     "Time from READY to RUNNING: back-off, waiting for a slot, fetching, the trainer's start."},
    {Metric::kScheduleLatencySeconds, "longrun_schedule_latency_seconds", kHistogram, "kind",
     "seconds", kCoordinator, "Time from READY to the offer of a slot."},
    {Metric::kSchedulerStepSeconds, "longrun_scheduler_step_seconds", kHistogram, "", "seconds",
     kCoordinator, "Time to process one event in the scheduler, including placement."},
    {Metric::kUnplacedReadyTasks, "longrun_unplaced_ready_tasks", kGauge, "gate", "", kCoordinator,
     "READY tasks by the cause of their waiting: back_off, unfit (no worker can run them), "
     "no_worker, "
     "no_free_slot, restore."},
    {Metric::kAttemptFailures, "longrun_attempt_failures_total", kCounter, "class worker", "",
     kCoordinator, "Attempts that failed, by failure class and worker."},
    {Metric::kAttemptSeconds, "longrun_attempt_seconds_total", kCounter, "kind outcome", "seconds",
     kCoordinator, "Time that attempts held a slot, by kind of task and how they ended."},

    {Metric::kWorkers, "longrun_workers", kGauge, "state", "", kCoordinator,
     "Workers in the database: connected, silent (no session, but its lease has not ended), "
     "draining, gone."},
    {Metric::kSlots, "longrun_slots", kGauge, "state", "", kCoordinator,
     "Slots of connected workers: busy, free or quarantined."},
    {Metric::kSessions, "longrun_sessions", kGauge, "", "", kCoordinator, "Open worker sessions."},
    {Metric::kSessionMemoryBytes, "longrun_session_memory_bytes", kGauge, "", "bytes", kCoordinator,
     "Memory of the messages of all worker sessions that were received and not yet answered, or "
     "wait "
     "to be sent (--session-memory-bytes)."},
    {Metric::kLeaseExpirations, "longrun_lease_expirations_total", kCounter, "", "", kCoordinator,
     "Attempts lost because nothing was heard from their worker for a whole lease."},
    {Metric::kFenced, "longrun_fenced_total", kCounter, "", "", kCoordinator,
     "Messages that told a worker that an attempt is no longer the current one of its task."},
    {Metric::kJournalBacklogBytes, "longrun_journal_backlog_bytes", kGauge, "worker", "bytes",
     kCoordinator,
     "Journal bytes on a worker that are not acknowledged, as its newest heartbeat said."},

    {Metric::kIngestRows, "longrun_ingest_rows_total", kCounter, "kind", "", kCoordinator,
     "Rows stored from journals: result, series (one per metric and step), record (all else)."},
    {Metric::kIngestDuplicates, "longrun_ingest_duplicates_total", kCounter, "", "", kCoordinator,
     "Rows that were already stored, and therefore ignored."},
    {Metric::kIngestMalformed, "longrun_ingest_malformed_total", kCounter, "", "", kCoordinator,
     "Journal records whose body does not have the form of a row; kept unchanged."},
    {Metric::kIngestLagSeconds, "longrun_ingest_lag_seconds", kHistogram, "", "seconds",
     kCoordinator,
     "Age of a journal batch's newest record when it was committed, by the clocks of the two "
     "machines."},
    {Metric::kStoreCommitSeconds, "longrun_store_commit_seconds", kHistogram, "", "seconds",
     kCoordinator,
     "Time from BEGIN to the end of COMMIT, including its fsync. For the parts of a large "
     "submission, whose transaction stays open for up to a second, only the time of COMMIT "
     "counts."},
    {Metric::kStoreBatchRows, "longrun_store_batch_rows", kHistogram, "", "", kCoordinator,
     "Writes in one transaction."},
    {Metric::kStoreWalBytes, "longrun_store_wal_bytes", kGauge, "", "bytes", kCoordinator,
     "Size of the database's write-ahead log."},
    {Metric::kStoreDatabaseBytes, "longrun_store_database_bytes", kGauge, "", "bytes", kCoordinator,
     "Size of the database file."},
    {Metric::kStoreBusy, "longrun_store_busy_total", kCounter, "", "", kCoordinator,
     "How often the write-ahead log could not be emptied because of a reader; the coordinator "
     "tries again every second."},

    {Metric::kCallsHandled, "longrun_grpc_server_handled_total", kCounter, "method code", "",
     kCoordinator, "Calls that ended, by method and code."},
    {Metric::kCallSeconds, "longrun_grpc_server_handling_seconds", kHistogram, "method", "seconds",
     kCoordinator, "Time of unary calls from arrival to answer, including waiting."},

    {Metric::kResultPpl, "longrun_result_ppl", kGauge,
     "sweep method stage train_length context_length dataset split protocol evaluation", "ppl",
     kCoordinator,
     "Perplexity, exp of the mean nll over seeds and further axes, of sweeps with "
     "`metadata.export: prometheus`. `evaluation` is the protocol with its own parameters, such as "
     "`sliding_bos(stride=16)`, and the extension, as in `nonoverlap under yarn(factor=4)`; it "
     "includes `score_tokens` if a sweep asks for several values. "
     "`stage` is the stage or `base`, and empty in a sweep without stages."},
    {Metric::kResultPseudoPpl, "longrun_result_pseudo_ppl", kGauge,
     "sweep method stage train_length context_length dataset split protocol evaluation", "ppl",
     kCoordinator,
     "Pseudo-perplexity of masked language models, exp of the mean pseudo_nll; otherwise like "
     "longrun_result_ppl."},
    {Metric::kResultSeriesLeftOut, "longrun_result_series_left_out", kGauge, "", "", kCoordinator,
     "Series of longrun_result_ppl and longrun_result_pseudo_ppl that are left out: together, at "
     "most 10000 are shown."},

    {Metric::kWorkerSlots, "longrun_worker_slots", kGauge, "state", "", kWorker,
     "Slots of this worker: busy or free."},
    {Metric::kWorkerAttemptsStarted, "longrun_worker_attempts_started_total", kCounter, "kind", "",
     kWorker, "Trainers started, by kind of task."},
    {Metric::kWorkerAttemptsEnded, "longrun_worker_attempts_ended_total", kCounter, "class", "",
     kWorker, "Trainers that ended, by the failure class of their exit; none: a normal end."},
    {Metric::kWorkerSessionConnected, "longrun_worker_session_connected", kGauge, "", "", kWorker,
     "1 while the coordinator has welcomed this worker, else 0."},
    {Metric::kWorkerJournalBacklogBytes, "longrun_worker_journal_backlog_bytes", kGauge, "",
     "bytes", kWorker, "Journal bytes that the coordinator has not acknowledged."},
    {Metric::kWorkerSlotInfo, "longrun_worker_slot_info", kGauge, "slot kind method dataset",
     "info", kWorker, "1 for the task that a slot is working on; a free slot has no row."},
    {Metric::kWorkerSlotProgressRatio, "longrun_worker_slot_progress_ratio", kGauge, "slot",
     "ratio", kWorker,
     "Completed part, 0 to 1, of the task on a slot, as last reported by its trainer."},
    {Metric::kWorkerSlotTokensPerSecond, "longrun_worker_slot_tokens_per_second", kGauge, "slot",
     "tokens_per_second", kWorker,
     "Tokens trained on or scored per second, as reported by the trainer."},
    {Metric::kWorkerSlotLossNats, "longrun_worker_slot_loss_nats", kGauge, "slot", "nats", kWorker,
     "Newest training loss of the task on a slot, in nats per token."},
    {Metric::kWorkerSlotMfuRatio, "longrun_worker_slot_mfu_ratio", kGauge, "slot", "ratio", kWorker,
     "Model FLOP/s of the training on a slot, divided by the device's peak; only if the peak is "
     "known."},
    {Metric::kWorkerStepSeconds, "longrun_worker_step_seconds", kHistogram, "slot", "seconds",
     kWorker, "Time of trainers' optimiser steps, from one loss in the journal to the next."},
    {Metric::kWorkerDeviceInfo, "longrun_worker_device_info", kGauge, "device kind name", "info",
     kWorker, "Always 1; the labels describe the device."},
    {Metric::kWorkerDeviceMemoryBytes, "longrun_worker_device_memory_bytes", kGauge, "device",
     "bytes", kWorker, "Memory of a device; for cpu, the memory of the machine or its cgroup."},
    {Metric::kWorkerDeviceMemoryUsedBytes, "longrun_worker_device_memory_used_bytes", kGauge,
     "device", "bytes", kWorker, "Memory of a device in use by any program."},
    {Metric::kWorkerDeviceUtilizationRatio, "longrun_worker_device_utilization_ratio", kGauge,
     "device", "ratio", kWorker,
     "Share of the time, 0 to 1, that a device was busy: for a GPU as NVML says, for cpu since the "
     "previous scrape."},
    {Metric::kWorkerDevicePowerWatts, "longrun_worker_device_power_watts", kGauge, "device",
     "watts", kWorker, "Power that a GPU draws, by NVML."},
    {Metric::kWorkerDeviceTemperatureCelsius, "longrun_worker_device_temperature_celsius", kGauge,
     "device", "celsius", kWorker, "Temperature of a GPU, by NVML."},
};

// Whether each row is at the index of its enumerator, by which it is looked up.
constexpr bool IsInOrder() {
  for (std::size_t i = 0; i < std::size(kRows); ++i) {
    if (kRows[i].metric != static_cast<Metric>(i)) return false;
  }
  return kRows[std::size(kRows) - 1].metric == Metric::kWorkerDeviceTemperatureCelsius;
}
static_assert(IsInOrder());

// 1 ms to 10 minutes in steps of about a factor of two.
constexpr std::array<double, 18> kSecondBuckets = {
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 120, 300, 600};
constexpr std::array<double, 13> kCountBuckets = {1,   2,   5,    10,   20,   50,   100,
                                                  200, 500, 1000, 2000, 5000, 10000};

std::string_view OwnerName(MetricOwner owner) {
  switch (owner) {
    case kCoordinator:
      return "coordinator";
    case kWorker:
      return "worker";
    case kBoth:
      return "both";
  }
  LR_CHECK(false);
}

}  // namespace

std::string_view MetricTypeName(MetricType type) {
  switch (type) {
    case kCounter:
      return "counter";
    case kGauge:
      return "gauge";
    case kHistogram:
      return "histogram";
  }
  LR_CHECK(false);
}

std::vector<std::string> MetricRow::label_names() const {
  if (labels.empty()) return {};
  return Split(std::string(labels), ' ');
}

std::span<const MetricRow> MetricTable() { return kRows; }

const MetricRow& RowOf(Metric metric) { return kRows[static_cast<std::size_t>(metric)]; }

std::span<const double> BucketsOf(const MetricRow& row) {
  if (row.type != kHistogram) return {};
  if (row.unit == "seconds") return kSecondBuckets;
  return kCountBuckets;
}

std::string MetricReference() {
  std::string page =
      "# Metrics\n\n"
      "This page is generated from the table in `metrics/table.cc`. The test `metrics/table`\n"
      "fails if the page and the table differ; with `LONGRUN_UPDATE=1`, the test rewrites the\n"
      "page. The column `of` names the daemon that exports the metric at `/metrics`. A\n"
      "histogram of seconds has buckets from 1 ms to 10 min; any other histogram has buckets\n"
      "from 1 to 10000. The server of the page adds metrics of its own answers\n"
      "(`exposer_transferred_bytes_total`, `exposer_scrapes_total`, "
      "`exposer_request_latencies`).\n\n"
      "| metric | type | labels | unit | of | meaning |\n"
      "| --- | --- | --- | --- | --- | --- |\n";
  for (const MetricRow& row : kRows) {
    const std::vector<std::string> labels = row.label_names();
    StrAppend(page,
              Str("| `", row.name, "` | ", MetricTypeName(row.type), " | ", Join(labels, ", "),
                  " | ", row.unit, " | ", OwnerName(row.owner), " | ", row.help, " |\n"));
  }
  return page;
}

}  // namespace longrun
