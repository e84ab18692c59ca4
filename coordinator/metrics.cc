// One line a metric. See metrics.h.
#include "coordinator/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/exposer.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <exception>
#include <vector>

#include "base/str.h"
#include "base/version.h"
#include "coordinator/scheduler/state.h"
#include "sweeps/failure.h"

namespace longrun {
namespace {

using Counters = prometheus::Family<prometheus::Counter>;
using Gauges = prometheus::Family<prometheus::Gauge>;
using Histograms = prometheus::Family<prometheus::Histogram>;

constexpr const char* kCodes[] = {
    "OK",           "CANCELLED",         "UNKNOWN",  "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
    "NOT_FOUND",    "ALREADY_EXISTS",    "ABORTED",  "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
    "OUT_OF_RANGE", "PERMISSION_DENIED", "INTERNAL", "UNAVAILABLE",        "UNIMPLEMENTED",
    "DATA_LOSS"};
constexpr const char* kMethods[] = {
    "GetServerInfo", "PlanSweep",      "SubmitSweep",     "ListSweeps",      "GetSweep",
    "GetRun",        "WatchSweep",     "GetResults",      "GetSeries",       "CancelSweep",
    "GetLogs",       "ListWorkers",    "Session",         "RegisterDataset", "ListDatasets",
    "HasArtifacts",  "UploadArtifact", "DownloadArtifact"};

// 1 ms to 10 minutes, four a decade.
prometheus::Histogram::BucketBoundaries SecondBuckets() {
  return {0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 600};
}

prometheus::Histogram::BucketBoundaries RowBuckets() {
  return {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000};
}

std::vector<std::string> TaskStates() {
  std::vector<std::string> names;
  for (int i = 0; i <= static_cast<int>(TaskState::kSkipped); ++i) {
    names.emplace_back(TaskStateName(static_cast<TaskState>(i)));
  }
  return names;
}

bool IsLoopback(std::string_view address) {
  return address.starts_with("127.0.0.1:") || address.starts_with("localhost:") ||
         address.starts_with("[::1]:");
}

}  // namespace

struct Metrics::Impl {
  std::shared_ptr<prometheus::Registry> registry = std::make_shared<prometheus::Registry>();
  std::unique_ptr<prometheus::Exposer> exposer;

  Gauges& tasks = Gauge("longrun_tasks", "Tasks by kind and state.");
  Counters& transitions = Count("longrun_task_transitions_total", "State changes of tasks.");
  Counters& failures =
      Count("longrun_attempt_failures_total", "Attempts that ended badly, by class.");
  Counters& ingested = Count("longrun_ingest_rows_total", "Rows stored from journals, by kind.");
  Counters& duplicates =
      Count("longrun_ingest_duplicates_total", "Rows that were there already and were left aside.");
  Counters& malformed = Count("longrun_ingest_malformed_total",
                              "Journal records whose body has no row's form; kept as they came.");
  Histograms& commits =
      Histogram("longrun_store_commit_seconds", "From BEGIN to the end of COMMIT.");
  Histograms& batches = Histogram("longrun_store_batch_rows", "Writes in one transaction.");
  Histograms& steps = Histogram("longrun_scheduler_step_seconds", "One event in the scheduler.");
  Gauges& sessions = Gauge("longrun_sessions", "Open worker sessions.");
  Counters& leases = Count("longrun_lease_expirations_total", "Attempts lost with their lease.");
  Counters& fenced = Count("longrun_fenced_total", "Messages of attempts that are not current.");
  Counters& calls =
      Count("longrun_grpc_server_handled_total", "Calls that ended, by method and code.");
  Gauges& build = Gauge("longrun_build_info", "Always 1; the labels tell version and revision.");

  Gauges& Gauge(const char* name, const char* help) {
    return prometheus::BuildGauge().Name(name).Help(help).Register(*registry);
  }
  Counters& Count(const char* name, const char* help) {
    return prometheus::BuildCounter().Name(name).Help(help).Register(*registry);
  }
  Histograms& Histogram(const char* name, const char* help) {
    return prometheus::BuildHistogram().Name(name).Help(help).Register(*registry);
  }
};

Metrics::Metrics() : impl_(std::make_unique<Impl>()) {
  for (const std::string& state : TaskStates()) {
    for (const char* kind : {"train", "evaluate"})
      impl_->tasks.Add({{"kind", kind}, {"state", state}});
    impl_->transitions.Add({{"from", ""}, {"to", state}});  // a new task comes from nowhere
    for (const std::string& to : TaskStates()) {
      impl_->transitions.Add({{"from", state}, {"to", to}});
    }
  }
  for (const FailureRow& row : FailureTable()) {
    impl_->failures.Add({{"class", std::string(row.name)}});
  }
  for (const char* kind : {"result", "series", "record"}) impl_->ingested.Add({{"kind", kind}});
  impl_->duplicates.Add({});
  impl_->malformed.Add({});
  impl_->commits.Add({}, SecondBuckets());
  impl_->batches.Add({}, RowBuckets());
  impl_->steps.Add({}, SecondBuckets());
  impl_->sessions.Add({});
  impl_->leases.Add({});
  impl_->fenced.Add({});
  for (const char* method : kMethods) {
    for (const char* code : kCodes) impl_->calls.Add({{"method", method}, {"code", code}});
  }
  impl_->build.Add({{"version", std::string(kVersion)}, {"revision", std::string(BuildCommit())}})
      .Set(1);
}

Metrics::~Metrics() = default;

Result<std::string> Metrics::Expose(const std::string& address) {
  if (!IsLoopback(address)) {
    return Status(Code::kInvalidArgument,
                  Str("metrics are served on a loopback address only (127.0.0.1:PORT), not on \"",
                      address, "\": TLS and tokens are not built yet"));
  }
  try {
    impl_->exposer = std::make_unique<prometheus::Exposer>(address, 1);
    impl_->exposer->RegisterCollectable(impl_->registry);
    const std::vector<int> ports = impl_->exposer->GetListeningPorts();
    if (!ports.empty()) return Str(address.substr(0, address.rfind(':')), ":", ports.front());
  } catch (const std::exception&) {
    // The library's message does not say what was in the way.
  }
  return Status(Code::kUnavailable, Str("cannot serve metrics on ", address,
                                        ": the port is in use, or no port; give another one"));
}

std::string Metrics::Page() const {
  return prometheus::TextSerializer().Serialize(impl_->registry->Collect());
}

void Metrics::SetTasks(std::string_view kind, std::string_view state, std::int64_t n) {
  impl_->tasks.Add({{"kind", std::string(kind)}, {"state", std::string(state)}})
      .Set(static_cast<double>(n));
}

void Metrics::CountTaskTransition(std::string_view from, std::string_view to) {
  impl_->transitions.Add({{"from", std::string(from)}, {"to", std::string(to)}}).Increment();
}

void Metrics::CountAttemptFailure(std::string_view failure_class) {
  impl_->failures.Add({{"class", std::string(failure_class)}}).Increment();
}

void Metrics::CountLeaseExpiration() { impl_->leases.Add({}).Increment(); }

void Metrics::CountFenced() { impl_->fenced.Add({}).Increment(); }

void Metrics::CountIngest(std::int64_t result_rows, std::int64_t series_rows,
                          std::int64_t record_rows, std::int64_t duplicates,
                          std::int64_t malformed) {
  impl_->ingested.Add({{"kind", "result"}}).Increment(static_cast<double>(result_rows));
  impl_->ingested.Add({{"kind", "series"}}).Increment(static_cast<double>(series_rows));
  impl_->ingested.Add({{"kind", "record"}}).Increment(static_cast<double>(record_rows));
  impl_->duplicates.Add({}).Increment(static_cast<double>(duplicates));
  impl_->malformed.Add({}).Increment(static_cast<double>(malformed));
}

void Metrics::ObserveCommit(double seconds, std::int64_t n_writes) {
  impl_->commits.Add({}, SecondBuckets()).Observe(seconds);
  impl_->batches.Add({}, RowBuckets()).Observe(static_cast<double>(n_writes));
}

void Metrics::ObserveStep(double seconds) {
  impl_->steps.Add({}, SecondBuckets()).Observe(seconds);
}

void Metrics::SetSessions(std::int64_t n) { impl_->sessions.Add({}).Set(static_cast<double>(n)); }

void Metrics::CountCall(std::string_view method, std::string_view code) {
  impl_->calls.Add({{"method", std::string(method)}, {"code", std::string(code)}}).Increment();
}

}  // namespace longrun
