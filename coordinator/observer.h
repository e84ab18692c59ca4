// What the core's steps and its state mean for the metrics and the log.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "coordinator/metrics.h"
#include "coordinator/scheduler/scheduler.h"

namespace longrun::coordinator {

// On the core's thread only. `metrics` must outlive it.
class Observer {
 public:
  explicit Observer(Metrics& metrics) : metrics_(metrics) {}

  // After each step, with the state as it left it: counts and logs what has changed.
  void See(const State& state, const StepResult& result);
  // Once a second: how many tasks and workers are in which state. Tasks are counted again only if
  // `version` (Core::version) has changed.
  void Count(const State& state, std::int64_t version);

 private:
  void SeeTask(const State& state, const PutTransition& moved);
  void SeeAttempt(const State& state, const PutTransition& moved, const Attempt& attempt);
  void CountTasks(const State& state);
  void CountWorkers(const State& state);
  void CountUnplaced(const State& state);

  Metrics& metrics_;
  std::int64_t counted_version_ = -1;
  std::map<std::string, Instant> ready_at_;  // tasks that have not started since then
  std::set<std::string> known_workers_;      // workers whose failures are counted
};

}  // namespace longrun::coordinator
