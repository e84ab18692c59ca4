// Leases: what happens when a worker is silent. Wrong times only cost time here;
// safety depends on the epoch.
#include <algorithm>
#include <map>
#include <set>
#include <vector>

#include "base/str.h"
#include "coordinator/scheduler/step.h"

namespace longrun::coordinator {
namespace {

// A trainer reports about once a second, but not during a step, a window or a checkpoint, however
// long these take.
constexpr std::int64_t kQuietMs = 180'000;
constexpr std::int64_t kQuietGaps = 5;  // of its longest time without a record
// Until two records have come: it reads its data and weights, or this process has just started.
constexpr std::int64_t kQuietAtStartMs = 600'000;

// Workers in two folders are two workers, whatever their files worker_id say. A folder may be
// unknown: after a restore, or if its file was damaged, too.
bool MayBeOne(const Worker& a, const Worker& b) {
  return a.folder_id.empty() || b.folder_id.empty() || a.folder_id == b.folder_id;
}

// The newest connected worker on the same machine that started later and may be the same one under
// another name, if any.
const Worker* InPlaceOf(const State& state, const Worker& missed) {
  const Worker* newest = nullptr;
  for (const auto& [session, id] : state.index.sessions) {
    const Worker& worker = state.workers.at(id);
    if (worker.host != missed.host || worker.incarnation <= missed.incarnation) continue;
    if (!MayBeOne(worker, missed)) continue;
    if (newest == nullptr || worker.incarnation > newest->incarnation) newest = &worker;
  }
  return newest;
}

void EndLease(StepContext& step, Worker& worker) {
  const bool has_stopped = worker.draining && !worker.session;
  const std::string reason = Str("nothing was heard from worker ", worker.id, " for ",
                                 step.state.limits.lease_ms / 1000, " s");
  worker.lost = true;
  worker.silence_noted = false;
  worker.busy.clear();
  step.state.index.workers_version += 1;
  // The stream is at best half open: after closing it, the worker opens a new one and
  // lists its attempts.
  if (worker.session) {
    step.Send(CloseSession{.session = *worker.session, .reason = reason});
    step.state.index.sessions.erase(*worker.session);
    worker.session.reset();
  }
  if (!has_stopped) NoteWorker(step, worker, reason);
  for (Attempt* const attempt : LiveAttemptsOf(step.state, worker.id)) {
    EndAttempt(step, *attempt, FailureClass::kLost, reason);
  }
}

// Whether a worker that takes work has a slot that fits the task, free or not.
bool FitsConnected(const State& state, const Task& task, Instant now) {
  if (!WhyUnknown(state, task).empty()) return false;
  const ReadyClass ready = ClassOf(state, task);
  return std::ranges::any_of(state.index.sessions, [&](const auto& open) {
    const Worker& worker = state.workers.at(open.second);
    if (!TakesWork(worker) || IsSilent(state, worker, now)) return false;
    return std::ranges::any_of(worker.slots, [&](const Slot& slot) {
      return !IsQuarantined(worker, slot) && Fits(ready, worker, slot);
    });
  });
}

// Tells the log of a worker whose session is open, but which has become silent.
void NoteSilence(StepContext& step, Worker& worker) {
  if (!worker.session || worker.silence_noted) return;
  if (!IsSilent(step.state, worker, step.now)) return;
  worker.silence_noted = true;
  NoteWorker(step, worker,
             Str("nothing was heard from worker ", worker.id, " for ",
                 (step.now - worker.heard_at) / 1000, " s"));
}

void WithdrawOldOffers(StepContext& step) {
  std::vector<Attempt*> unanswered;
  for (const auto& [offered_at, id] : step.state.index.unanswered) {
    if (step.now - offered_at < step.state.limits.offer_ms) break;
    unanswered.push_back(&step.state.attempts.at(id));
  }
  for (Attempt* const attempt : unanswered) {
    WithdrawOffer(step, *attempt,
                  Str("worker ", attempt->worker, " did not answer within ",
                      step.state.limits.offer_ms / 1000, " s"));
  }
}

// Ends attempts whose stored records cannot be read: they can never be complete. The next attempt
// resumes from the task's last checkpoint, and this one is fenced.
void EndUnreadable(StepContext& step) {
  std::vector<Attempt*> unreadable;
  for (const std::string& id : step.state.index.live) {
    Attempt& attempt = step.state.attempts.at(id);
    if (!attempt.unreadable.empty()) unreadable.push_back(&attempt);
  }
  for (Attempt* const attempt : unreadable) {
    step.result.warnings.push_back(Str("attempt ", attempt->id, ": ", attempt->unreadable));
    EndAttempt(step, *attempt, FailureClass::kLost, attempt->unreadable);
    attempt->unreadable.clear();
  }
}

}  // namespace

bool IsSilent(const State& state, const Worker& worker, Instant now) {
  return now - worker.heard_at > state.limits.suspect_ms;
}

Instant LeaseEnd(const State& state, const Worker& worker) {
  return std::max(worker.heard_at, state.booted_at) + state.limits.lease_ms;
}

void HandleEvent(StepContext& step, const TimePassed&) {
  DropUnfinishedSubmission(step);
  FinishOrder(step);
  EndUnreadable(step);
  for (auto& [id, worker] : step.state.workers) {
    if (!worker.lost && step.now >= LeaseEnd(step.state, worker)) EndLease(step, worker);
    NoteSilence(step, worker);
  }
  WithdrawOldOffers(step);
  StopDrained(step);
  ForgetGoneWorkers(step);
}

bool IsHeardOf(const State& state, const std::string& id, Instant now) {
  const auto found = state.workers.find(id);
  if (found == state.workers.end()) return false;
  const Worker& worker = found->second;
  if (worker.lost || IsSilent(state, worker, now)) return false;
  if (worker.session) return true;
  const bool came_before = worker.last_session != 0;
  return came_before && InPlaceOf(state, worker) == nullptr;
}

std::vector<MissedWorker> MissedWorkers(const State& state, Instant now) {
  std::map<std::string, std::set<std::string>> tasks;
  for (const std::string& id : state.index.live) {
    const Attempt& attempt = state.attempts.at(id);
    tasks[attempt.worker].insert(attempt.task);
  }
  std::vector<MissedWorker> missed;
  for (const auto& [id, worker] : state.workers) {
    const auto its = tasks.find(id);
    if (its == tasks.end() || worker.lost || IsHeardOf(state, id, now)) continue;
    const Worker* const instead = worker.session ? nullptr : InPlaceOf(state, worker);
    if (instead == nullptr && !IsSilent(state, worker, now)) continue;
    const auto fits_elsewhere = [&](const std::string& task) {
      return FitsConnected(state, state.tasks.at(task), now);
    };
    missed.push_back({.worker = &worker,
                      .instead = instead,
                      .tasks = its->second,
                      .n_elsewhere = std::ranges::count_if(its->second, fits_elsewhere),
                      .lease_end = LeaseEnd(state, worker)});
  }
  return missed;
}

std::vector<const Attempt*> QuietAttempts(const State& state, Instant now) {
  std::vector<const Attempt*> quiet;
  for (const std::string& id : state.index.live) {
    const Attempt& attempt = state.attempts.at(id);
    if (attempt.state != AttemptState::kRunning || !IsHeardOf(state, attempt.worker, now)) continue;
    // What its journal has, the worker may hold back until the files of a checkpoint are stored.
    if (attempt.listed_trainer != ListedTrainer::kRunning ||
        attempt.listed_seq > attempt.durable_seq)
      continue;
    const std::int64_t allowed_ms = attempt.record_gap_ms < 0
                                        ? kQuietAtStartMs
                                        : std::max(kQuietMs, kQuietGaps * attempt.record_gap_ms);
    if (now - attempt.recorded_at > allowed_ms) quiet.push_back(&attempt);
  }
  return quiet;
}

// TimePassed comes about once a second. If no event came for longer, this machine slept and could
// not hear the workers.
void ExtendLeasesOverSleep(StepContext& step) {
  State& state = step.state;
  const Instant gap = step.now - std::max(state.last_event_at, state.booted_at);
  if (gap > state.limits.suspend_ms) {
    for (auto& [id, worker] : state.workers) worker.heard_at += gap;
    state.index.unanswered.clear();
    for (const std::string& id : state.index.live) {
      Attempt& attempt = state.attempts.at(id);
      attempt.offered_at += gap;
      attempt.listed_at += gap;
      attempt.recorded_at += gap;
      NoteUnanswered(state.index, attempt);
    }
    state.booted_at += gap;
  }
  state.last_event_at = step.now;
}

Instant NextDeadline(const State& state, Instant now) {
  Instant next = now + 1000;
  if (!state.index.waiting.empty()) next = std::min(next, state.index.waiting.begin()->first);
  if (state.place_not_before > now) next = std::min(next, state.place_not_before);
  if (!state.index.unanswered.empty()) {
    next = std::min(next, state.index.unanswered.begin()->first + state.limits.offer_ms);
  }
  return std::max(next, now + 1);
}

}  // namespace longrun::coordinator
