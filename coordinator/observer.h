// Turns the core's steps and state into metrics and log lines.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "coordinator/metrics.h"
#include "coordinator/scheduler/scheduler.h"

namespace longrun::coordinator {

// On the core's thread only. `metrics` must outlive it.
class Observer {
 public:
  explicit Observer(Metrics& metrics) : metrics_(metrics) {}

  // Called after each step, with the state that it left: counts and logs the changes.
  void See(const State& state, const StepResult& result);
  // Called once a second: counts the tasks, of all and by sweep, and the workers in each state.
  // Tasks are counted again only if `version` (Core::version) has changed.
  void Count(const State& state, std::int64_t version);

 private:
  void SeeTask(const State& state, const PutTransition& moved);
  void SeeAttempt(const State& state, const PutTransition& moved, const Attempt& attempt);
  void CountTasks(const State& state);
  using TaskCounts = decltype(SweepTally::n);
  void CountSweeps(const State& state);
  void CountWorkers(const State& state);
  void CountUnplaced(const State& state);

  Metrics& metrics_;
  std::int64_t counted_version_ = -1;
  std::map<std::string, Instant> ready_at_;  // by task: waiting for a start since then
  // Workers whose failures are counted, and since when they have been gone.
  std::map<std::string, std::optional<Instant>> known_workers_;
  // The sweeps that are shown, and since when they have ended; the numbers of each name.
  std::map<std::string, std::optional<Instant>> shown_sweeps_;
  std::map<std::string, TaskCounts> shown_counts_;
};

}  // namespace longrun::coordinator
