// See observer.h.
#include "coordinator/observer.h"

#include <algorithm>
#include <utility>

#include "base/clock.h"
#include "base/letter_case.h"
#include "base/log.h"

namespace longrun::coordinator {
namespace {

// The last numbers of what has ended are to be scraped before their series end.
constexpr std::int64_t kEndedShownMs = 600'000;

}  // namespace

void Observer::See(const State& state, const StepResult& result) {
  for (const WorkerChange& change : result.workers) {
    (change.is_missed ? LogWarning : LogInfo)("worker", {{"worker", change.worker},
                                                         {"host", change.host},
                                                         {"state", std::string(change.state)},
                                                         {"reason", change.reason}});
  }
  for (const std::string& warning : result.warnings) LogWarning("peer", {{"what", warning}});
  for (const std::string& what : result.differences) LogWarning("remeasured", {{"what", what}});
  for (const Write& write : result.writes) {
    const auto* moved = std::get_if<PutTransition>(&write);
    if (moved == nullptr) continue;
    if (moved->subject == "task") {
      SeeTask(state, *moved);
      continue;
    }
    const auto attempt = state.attempts.find(moved->id);
    if (attempt == state.attempts.end()) continue;
    LogInfo("attempt", {{"attempt", moved->id},
                        {"task", attempt->second.task.substr(0, 8)},
                        {"worker", attempt->second.worker},
                        {"state", moved->to},
                        {"reason", moved->reason}});
    SeeAttempt(state, *moved, attempt->second);
  }
}

void Observer::SeeTask(const State& state, const PutTransition& moved) {
  metrics_.CountTaskTransition(moved.from, moved.to);
  const auto is = [&](TaskState to) { return moved.to == EnumName(to); };
  // An offer that nobody accepted changes nothing: the task has been waiting since before it.
  if (is(TaskState::kReady)) {
    ready_at_.try_emplace(moved.id, BootMs());
    return;
  }
  const auto ready = ready_at_.find(moved.id);
  if (ready == ready_at_.end()) return;  // unknown: it was waiting before this process started
  const double seconds = static_cast<double>(BootMs() - ready->second) / 1000;
  const std::string_view kind = EnumName(state.tasks.at(moved.id).kind);
  if (is(TaskState::kReserved)) {
    metrics_.ObserveScheduleLatency(kind, seconds);
    return;
  }
  if (is(TaskState::kRunning)) metrics_.ObserveQueue(kind, seconds);
  ready_at_.erase(ready);
}

void Observer::SeeAttempt(const State& state, const PutTransition& moved, const Attempt& attempt) {
  if (moved.to == EnumName(AttemptState::kLost)) metrics_.CountLeaseExpiration();
  // A withdrawn attempt may have a class, and is no failure.
  if (!attempt.failure_class.empty() && attempt.state != AttemptState::kRejected) {
    metrics_.CountAttemptFailure(attempt.failure_class, attempt.worker);
  }
  if (IsLive(attempt.state) || attempt.duration_clock == DurationClock::kNone) return;
  const std::string_view kind = EnumName(state.tasks.at(attempt.task).kind);
  // What a restore has lost has no class, since its task does not count it as a failure.
  const std::string outcome = attempt.failure_class.empty()
                                  ? InSmallLetters(EnumName(attempt.state))
                                  : attempt.failure_class;
  metrics_.CountAttemptEnd(kind, outcome, static_cast<double>(attempt.duration_ms) / 1000);
}

void Observer::Count(const State& state, std::int64_t version) {
  if (counted_version_ != version) CountTasks(state);
  counted_version_ = version;
  CountSweeps(state);
  CountWorkers(state);
  CountUnplaced(state);
}

void Observer::CountTasks(const State& state) {
  std::map<std::pair<TaskKind, TaskState>, std::int64_t> counts;
  for (const auto& [id, task] : state.tasks) counts[{task.kind, task.state}] += 1;
  for (const TaskKind kind : {TaskKind::kTrain, TaskKind::kEvaluate}) {
    for (int i = 0; i <= static_cast<int>(TaskState::kSkipped); ++i) {
      const auto task_state = static_cast<TaskState>(i);
      metrics_.SetTasks(EnumName(kind), EnumName(task_state), counts[{kind, task_state}]);
    }
  }
}

void Observer::CountSweeps(const State& state) {
  constexpr std::size_t kSweepsMax = 500;
  std::int64_t n_left_out = 0;
  for (const auto& [id, tally] : state.index.tallies) {
    // The row of a sweep may be damaged, and its tasks not.
    if (!IsActiveSweep(state, id) || !state.sweep_name.contains(id)) continue;
    const bool is_shown = shown_sweeps_.size() < kSweepsMax || shown_sweeps_.contains(id);
    if (is_shown) shown_sweeps_[id] = std::nullopt;
    n_left_out += is_shown ? 0 : 1;
  }
  metrics_.SetSweepsLeftOut(n_left_out);
  std::map<std::string, TaskCounts> counts;
  for (auto shown = shown_sweeps_.begin(); shown != shown_sweeps_.end();) {
    auto& [id, ended_at] = *shown;
    const auto tally = state.index.tallies.find(id);
    const bool is_dropped = tally == state.index.tallies.end();
    if (!is_dropped && !ended_at && !IsActiveSweep(state, id)) ended_at = BootMs();
    if (is_dropped || (ended_at && BootMs() - *ended_at >= kEndedShownMs)) {
      shown = shown_sweeps_.erase(shown);
      continue;
    }
    TaskCounts& of_name = counts[state.sweep_name.at(id)];
    for (std::size_t i = 0; i < of_name.size(); ++i) of_name[i] += tally->second.n[i];
    ++shown;
  }
  for (const auto& [name, n] : counts) {
    const auto known = shown_counts_.find(name);
    if (known != shown_counts_.end() && known->second == n) continue;
    for (std::size_t i = 0; i < n.size(); ++i) {
      metrics_.SetSweepTasks(name, EnumName(static_cast<TaskState>(i)), n[i]);
    }
  }
  for (const auto& [name, n] : shown_counts_) {
    if (!counts.contains(name)) metrics_.ForgetSweep(name);
  }
  shown_counts_ = std::move(counts);
}

void Observer::CountWorkers(const State& state) {
  WorkerCounts counts;
  for (const auto& [id, worker] : state.workers) {
    const auto [known, is_new] = known_workers_.try_emplace(id);
    if (is_new) metrics_.PreregisterWorker(id);
    known->second = std::nullopt;
    const bool suspect = BootMs() - worker.heard_at > state.limits.suspect_ms;
    const bool connected = worker.session && !suspect;
    std::int64_t& count = worker.lost                       ? counts.gone
                          : !connected                      ? counts.silent
                          : worker.draining || worker.drain ? counts.draining
                                                            : counts.connected;
    count += 1;
    if (!connected) continue;
    const auto n_slots = static_cast<std::int64_t>(worker.slots.size());
    const auto n_busy = std::min(n_slots, static_cast<std::int64_t>(worker.busy.size()));
    const std::int64_t n_quarantined = std::ranges::count_if(
        worker.quarantined,
        [&worker](const auto& entry) { return !worker.busy.contains(entry.first); });
    counts.slots_busy += n_busy;
    counts.slots_quarantined += n_quarantined;
    counts.slots_free += n_slots - n_busy - n_quarantined;
  }
  metrics_.SetWorkers(counts);
  // Jobs of a cluster come as workers that nobody sees again.
  for (auto known = known_workers_.begin(); known != known_workers_.end();) {
    auto& [id, gone_since] = *known;
    const bool is_gone = !state.workers.contains(id);
    if (is_gone && !gone_since) gone_since = BootMs();
    if (is_gone && BootMs() - *gone_since >= kEndedShownMs) {
      metrics_.ForgetWorker(id);
      known = known_workers_.erase(known);
    } else {
      ++known;
    }
  }
}

void Observer::CountUnplaced(const State& state) {
  UnplacedCounts counts{.back_off = static_cast<std::int64_t>(state.index.waiting.size())};
  const bool restore = BootMs() < state.place_not_before;
  for (const auto& [name, ready] : state.index.ready) {
    std::int64_t& count = restore                        ? counts.restore
                          : !ready.unfit.empty()         ? counts.unfit
                          : state.index.sessions.empty() ? counts.no_worker
                                                         : counts.no_free_slot;
    count += static_cast<std::int64_t>(ready.tasks.size());
  }
  metrics_.SetUnplaced(counts);
}

}  // namespace longrun::coordinator
