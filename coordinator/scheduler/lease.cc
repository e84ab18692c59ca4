// Leases: what is done when nobody says anything. Time only costs time here;
// safety rests on the epoch.
#include <algorithm>
#include <vector>

#include "base/str.h"
#include "coordinator/scheduler/step.h"

namespace longrun {
namespace {

Instant LeaseEnd(const State& state, const Worker& worker) {
  return std::max(worker.heard_at, state.booted_at) + state.limits.lease_ms;
}

std::vector<Attempt*> LiveAttemptsOf(State& state, const std::string& worker) {
  std::vector<Attempt*> attempts;
  for (const std::string& id : state.index.live) {
    Attempt& attempt = state.attempts.at(id);
    if (attempt.worker == worker) attempts.push_back(&attempt);
  }
  return attempts;
}

void EndLease(StepContext& step, Worker& worker) {
  worker.lost = true;
  worker.busy.clear();
  step.state.index.workers_version += 1;
  // The stream is half open at best: without it the worker opens a new one and says what it has.
  if (worker.session) {
    const std::string reason = Str("nothing was heard of worker ", worker.id, " for ",
                                   step.state.limits.lease_ms / 1000, " s");
    step.Send(CloseSession{.session = *worker.session, .reason = reason});
    step.state.index.sessions.erase(*worker.session);
    worker.session.reset();
  }
  for (Attempt* const attempt : LiveAttemptsOf(step.state, worker.id)) {
    EndAttempt(step, *attempt, FailureClass::kLost,
               Str("nothing was heard of worker ", worker.id, " for ",
                   step.state.limits.lease_ms / 1000, " s"));
  }
}

void WithdrawOldOffers(StepContext& step) {
  std::vector<Attempt*> unanswered;
  for (const std::string& id : step.state.index.live) {
    Attempt& attempt = step.state.attempts.at(id);
    const bool late = step.now - attempt.offered_at >= step.state.limits.offer_ms;
    if (attempt.state == AttemptState::kOffered && late) unanswered.push_back(&attempt);
  }
  for (Attempt* const attempt : unanswered) {
    WithdrawOffer(step, *attempt,
                  Str("worker ", attempt->worker, " did not answer within ",
                      step.state.limits.offer_ms / 1000, " s"));
  }
}

// What was stored of it cannot be read again, so it can never be complete: the next attempt goes on from
// the task's last checkpoint, and this one is fenced.
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

void HandleEvent(StepContext& step, const TimePassed&) {
  EndUnreadable(step);
  for (auto& [id, worker] : step.state.workers) {
    if (!worker.lost && step.now >= LeaseEnd(step.state, worker)) EndLease(step, worker);
  }
  WithdrawOldOffers(step);
}

// TimePassed comes about once a second. If nothing at all came for longer, it was this machine that
// slept, and the workers could not be heard.
void ExtendLeasesOverSleep(StepContext& step) {
  State& state = step.state;
  const Instant gap = step.now - std::max(state.last_event_at, state.booted_at);
  if (gap > state.limits.suspend_ms) {
    for (auto& [id, worker] : state.workers) worker.heard_at += gap;
    for (const std::string& id : state.index.live) {
      state.attempts.at(id).offered_at += gap;
      state.attempts.at(id).listed_at += gap;
    }
    state.booted_at += gap;
  }
  state.last_event_at = step.now;
}

Instant NextDeadline(const State& state, Instant now) {
  Instant next = now + 1000;
  if (!state.index.waiting.empty()) next = std::min(next, state.index.waiting.begin()->first);
  if (state.place_not_before > now) next = std::min(next, state.place_not_before);
  for (const std::string& id : state.index.live) {
    const Attempt& attempt = state.attempts.at(id);
    if (attempt.state != AttemptState::kOffered) continue;
    next = std::min(next, attempt.offered_at + state.limits.offer_ms);
  }
  return std::max(next, now + 1);
}

}  // namespace longrun
