// Metrics by prometheus-cpp.
#include "worker/agent/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/exposer.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>

#include <exception>
#include <utility>

#include "base/check.h"
#include "base/str.h"
#include "base/version.h"

namespace longrun {

struct WorkerMetrics::Registry {
  std::string address;
  std::shared_ptr<prometheus::Registry> registry;  // shared with the exposer, which wants it so
  std::unique_ptr<prometheus::Exposer> exposer;
  prometheus::Gauge* slots_busy = nullptr;
  prometheus::Gauge* slots_free = nullptr;
  prometheus::Counter* started = nullptr;
  prometheus::Family<prometheus::Counter>* ended = nullptr;
  prometheus::Gauge* backlog_bytes = nullptr;
  prometheus::Gauge* connected = nullptr;
};

WorkerMetrics::WorkerMetrics(std::unique_ptr<Registry> registry) : registry_(std::move(registry)) {}
WorkerMetrics::~WorkerMetrics() = default;

Result<std::unique_ptr<WorkerMetrics>> WorkerMetrics::Serve(const std::string& address) {
  constexpr std::string_view kLoopback = "127.0.0.1:";
  if (!address.starts_with(kLoopback)) {
    return Status(Code::kInvalidArgument,
                  Str("metrics address \"", address,
                      "\": expected 127.0.0.1:PORT; other addresses "
                      "need TLS and tokens, which this release does not have yet"));
  }
  auto r = std::make_unique<Registry>();
  try {
    r->exposer = std::make_unique<prometheus::Exposer>(address, 1);
    const auto ports = r->exposer->GetListeningPorts();
    LR_CHECK(!ports.empty());
    r->address = Str(kLoopback, ports.front());
  } catch (const std::exception& error) {
    return Status(Code::kUnavailable, Str("cannot serve metrics on ", address, ": ", error.what(),
                                          "; take another port, or 127.0.0.1:0 for a free one"));
  }
  r->registry = std::make_shared<prometheus::Registry>();
  prometheus::Registry& registry = *r->registry;
  auto& slots = prometheus::BuildGauge()
                    .Name("longrun_worker_slots")
                    .Help("Slots of this worker by state")
                    .Register(registry);
  r->slots_busy = &slots.Add({{"state", "busy"}});
  r->slots_free = &slots.Add({{"state", "free"}});
  r->started = &prometheus::BuildCounter()
                    .Name("longrun_worker_attempts_started_total")
                    .Help("Trainers started")
                    .Register(registry)
                    .Add({});
  r->ended = &prometheus::BuildCounter()
                  .Name("longrun_worker_attempts_ended_total")
                  .Help("Trainers ended, by the failure class that their exit shows")
                  .Register(registry);
  r->backlog_bytes = &prometheus::BuildGauge()
                          .Name("longrun_worker_journal_backlog_bytes")
                          .Help("Journal bytes that the coordinator has not acknowledged")
                          .Register(registry)
                          .Add({});
  r->connected = &prometheus::BuildGauge()
                      .Name("longrun_worker_session_connected")
                      .Help("1 while the coordinator has welcomed this worker")
                      .Register(registry)
                      .Add({});
  prometheus::BuildGauge()
      .Name("longrun_build_info")
      .Help("Release and commit of this program")
      .Register(registry)
      .Add({{"program", "longrun-worker"},
            {"version", std::string(kVersion)},
            {"commit", std::string(BuildCommit())}})
      .Set(1);
  r->exposer->RegisterCollectable(r->registry);
  return std::unique_ptr<WorkerMetrics>(new WorkerMetrics(std::move(r)));
}

const std::string& WorkerMetrics::address() const { return registry_->address; }

void WorkerMetrics::SetSlots(std::int64_t busy, std::int64_t free) {
  registry_->slots_busy->Set(static_cast<double>(busy));
  registry_->slots_free->Set(static_cast<double>(free));
}

void WorkerMetrics::CountStarted() { registry_->started->Increment(); }

void WorkerMetrics::CountEnded(std::string_view failure_class) {
  registry_->ended->Add({{"class", std::string(failure_class)}}).Increment();
}

void WorkerMetrics::SetBacklogBytes(std::int64_t n_bytes) {
  registry_->backlog_bytes->Set(static_cast<double>(n_bytes));
}

void WorkerMetrics::SetConnected(bool connected) { registry_->connected->Set(connected ? 1 : 0); }

}  // namespace longrun
