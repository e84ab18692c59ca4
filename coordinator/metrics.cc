// See metrics.h.
#include "coordinator/metrics.h"

#include <algorithm>

#include "coordinator/scheduler/state.h"
#include "sweeps/failure.h"
#include "sweeps/task.h"

namespace longrun::coordinator {
namespace {

constexpr const char* kCodes[] = {
    "OK",           "CANCELLED",         "UNKNOWN",  "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
    "NOT_FOUND",    "ALREADY_EXISTS",    "ABORTED",  "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
    "OUT_OF_RANGE", "PERMISSION_DENIED", "INTERNAL", "UNAVAILABLE",        "UNIMPLEMENTED",
    "DATA_LOSS"};
constexpr const char* kSucceeded = "succeeded";

double Number(std::int64_t n) { return static_cast<double>(n); }

std::vector<std::string_view> TaskStates() {
  std::vector<std::string_view> names;
  for (int i = 0; i <= static_cast<int>(TaskState::kSkipped); ++i) {
    names.push_back(EnumName(static_cast<TaskState>(i)));
  }
  return names;
}

}  // namespace

Metrics::Metrics() : page_(MetricOwner::kCoordinator) {
  for (const std::string_view state : TaskStates()) {
    page_.Touch(Metric::kTaskTransitions, {"", state});  // a new task has no previous state
    for (const std::string_view to : TaskStates()) {
      page_.Touch(Metric::kTaskTransitions, {state, to});
    }
  }
  for (const TaskKind kind : {TaskKind::kTrain, TaskKind::kEvaluate}) {
    const std::string_view name = EnumName(kind);
    for (const std::string_view state : TaskStates()) page_.Touch(Metric::kTasks, {name, state});
    page_.Touch(Metric::kTaskQueueSeconds, {name});
    page_.Touch(Metric::kScheduleLatencySeconds, {name});
    page_.Touch(Metric::kAttemptSeconds, {name, kSucceeded});
    for (const FailureRow& row : FailureTable()) {
      page_.Touch(Metric::kAttemptSeconds, {name, row.name});
    }
  }
  for (const char* kind : {"result", "series", "record"}) page_.Touch(Metric::kIngestRows, {kind});
  for (const Metric metric :
       {Metric::kSchedulerStepSeconds, Metric::kSessions, Metric::kSessionMemoryBytes,
        Metric::kLeaseExpirations, Metric::kFenced, Metric::kIngestDuplicates,
        Metric::kIngestMalformed, Metric::kIngestLagSeconds, Metric::kStoreCommitSeconds,
        Metric::kStoreBatchRows, Metric::kStoreBusy, Metric::kResultSeriesLeftOut,
        Metric::kSweepsLeftOut}) {
    page_.Touch(metric, {});
  }
  SetUnplaced({});
  SetWorkers({});
  SetStore({});
}

void Metrics::SetTasks(std::string_view kind, std::string_view state, std::int64_t n) {
  page_.Set(Metric::kTasks, {kind, state}, Number(n));
}

void Metrics::SetSweepTasks(std::string_view name, std::string_view state, std::int64_t n) {
  page_.Set(Metric::kSweepTasks, {name, state}, Number(n));
}

void Metrics::ForgetSweep(std::string_view name) {
  for (const std::string_view state : TaskStates()) {
    page_.Remove(Metric::kSweepTasks, {name, state});
  }
}

void Metrics::SetSweepsLeftOut(std::int64_t n) { page_.Set(Metric::kSweepsLeftOut, {}, Number(n)); }

void Metrics::CountTaskTransition(std::string_view from, std::string_view to) {
  page_.Add(Metric::kTaskTransitions, {from, to});
}

void Metrics::ObserveQueue(std::string_view kind, double seconds) {
  page_.Observe(Metric::kTaskQueueSeconds, {kind}, seconds);
}

void Metrics::ObserveScheduleLatency(std::string_view kind, double seconds) {
  page_.Observe(Metric::kScheduleLatencySeconds, {kind}, seconds);
}

void Metrics::ObserveStep(double seconds) {
  page_.Observe(Metric::kSchedulerStepSeconds, {}, seconds);
}

void Metrics::SetUnplaced(const UnplacedCounts& counts) {
  page_.Set(Metric::kUnplacedReadyTasks, {"back_off"}, Number(counts.back_off));
  page_.Set(Metric::kUnplacedReadyTasks, {"unfit"}, Number(counts.unfit));
  page_.Set(Metric::kUnplacedReadyTasks, {"no_worker"}, Number(counts.no_worker));
  page_.Set(Metric::kUnplacedReadyTasks, {"no_free_slot"}, Number(counts.no_free_slot));
  page_.Set(Metric::kUnplacedReadyTasks, {"restore"}, Number(counts.restore));
}

void Metrics::CountAttemptEnd(std::string_view kind, std::string_view outcome, double seconds) {
  page_.Add(Metric::kAttemptSeconds, {kind, outcome}, std::max(0.0, seconds));
}

void Metrics::CountAttemptFailure(std::string_view failure_class, std::string_view worker) {
  page_.Add(Metric::kAttemptFailures, {failure_class, worker});
}

void Metrics::SetWorkers(const WorkerCounts& counts) {
  page_.Set(Metric::kWorkers, {"connected"}, Number(counts.connected));
  page_.Set(Metric::kWorkers, {"silent"}, Number(counts.silent));
  page_.Set(Metric::kWorkers, {"draining"}, Number(counts.draining));
  page_.Set(Metric::kWorkers, {"gone"}, Number(counts.gone));
  page_.Set(Metric::kSlots, {"busy"}, Number(counts.slots_busy));
  page_.Set(Metric::kSlots, {"free"}, Number(counts.slots_free));
  page_.Set(Metric::kSlots, {"quarantined"}, Number(counts.slots_quarantined));
}

void Metrics::PreregisterWorker(std::string_view worker) {
  for (const FailureRow& row : FailureTable()) {
    page_.Touch(Metric::kAttemptFailures, {row.name, worker});
  }
}

void Metrics::ForgetWorker(std::string_view worker) {
  for (const FailureRow& row : FailureTable()) {
    page_.Remove(Metric::kAttemptFailures, {row.name, worker});
  }
}

void Metrics::SetSessions(std::int64_t n) { page_.Set(Metric::kSessions, {}, Number(n)); }

void Metrics::SetSessionMemory(std::int64_t n_bytes) {
  page_.Set(Metric::kSessionMemoryBytes, {}, Number(n_bytes));
}

void Metrics::CountLeaseExpiration() { page_.Add(Metric::kLeaseExpirations, {}); }

void Metrics::CountFenced() { page_.Add(Metric::kFenced, {}); }

void Metrics::SetBacklog(std::string_view worker, std::int64_t n_bytes) {
  page_.Set(Metric::kJournalBacklogBytes, {worker}, Number(n_bytes));
}

void Metrics::ForgetBacklog(std::string_view worker) {
  page_.Remove(Metric::kJournalBacklogBytes, {worker});
}

void Metrics::CountIngest(std::int64_t result_rows, std::int64_t series_rows,
                          std::int64_t record_rows, std::int64_t duplicates,
                          std::int64_t malformed) {
  page_.Add(Metric::kIngestRows, {"result"}, Number(result_rows));
  page_.Add(Metric::kIngestRows, {"series"}, Number(series_rows));
  page_.Add(Metric::kIngestRows, {"record"}, Number(record_rows));
  page_.Add(Metric::kIngestDuplicates, {}, Number(duplicates));
  page_.Add(Metric::kIngestMalformed, {}, Number(malformed));
}

void Metrics::ObserveIngestLag(double seconds) {
  page_.Observe(Metric::kIngestLagSeconds, {}, std::max(0.0, seconds));
}

void Metrics::ObserveCommit(double seconds, std::int64_t n_writes) {
  page_.Observe(Metric::kStoreCommitSeconds, {}, seconds);
  page_.Observe(Metric::kStoreBatchRows, {}, Number(n_writes));
}

void Metrics::SetStore(const StoreSizes& sizes) {
  page_.Set(Metric::kStoreWalBytes, {}, Number(sizes.wal_bytes));
  page_.Set(Metric::kStoreDatabaseBytes, {}, Number(sizes.database_bytes));
  page_.Add(Metric::kStoreBusy, {}, Number(std::max<std::int64_t>(0, sizes.n_busy - store_busy_)));
  store_busy_ = sizes.n_busy;
}

void Metrics::KnowCall(std::string_view method, bool unary) {
  for (const char* code : kCodes) page_.Touch(Metric::kCallsHandled, {method, code});
  if (unary) page_.Touch(Metric::kCallSeconds, {method});
}

void Metrics::CountCall(std::string_view method, std::string_view code) {
  page_.Add(Metric::kCallsHandled, {method, code});
}

void Metrics::ObserveCall(std::string_view method, double seconds) {
  page_.Observe(Metric::kCallSeconds, {method}, seconds);
}

void Metrics::SetResults(const std::vector<ResultSeries>& series) {
  const std::size_t n_shown = std::min(series.size(), kResultSeriesMax);
  page_.Clear(Metric::kResultPpl);
  page_.Clear(Metric::kResultPseudoPpl);
  for (std::size_t i = 0; i < n_shown; ++i) {
    const ResultSeries& one = series[i];
    page_.Set(one.is_pseudo ? Metric::kResultPseudoPpl : Metric::kResultPpl,
              {one.sweep, one.method, one.stage, one.train_length, one.context_length, one.dataset,
               one.split, one.protocol, one.evaluation},
              one.perplexity);
  }
  page_.Set(Metric::kResultSeriesLeftOut, {}, static_cast<double>(series.size() - n_shown));
}

}  // namespace longrun::coordinator
