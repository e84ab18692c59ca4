// An operator's orders about workers: drain one, take that back, remove one that is gone.
//
// A drained worker keeps its session and gets nothing new. With a deadline, its trainers are asked
// to stop one grace time before it, so that the machine is free by then; their tasks continue on
// other workers from the checkpoints that they write, and nothing is counted against them.
#include <algorithm>
#include <vector>

#include "base/str.h"
#include "base/utf8.h"
#include "coordinator/scheduler/step.h"
#include "sweeps/protocol.h"

namespace longrun::coordinator {
namespace {

// When the worker's trainers are asked to stop; nullopt: never.
std::optional<Instant> StopTime(const State& state, const Worker& worker, Instant now,
                                std::int64_t wall_ms) {
  const std::optional<std::int64_t> left_ms = DrainLeftMs(state, worker, now, wall_ms);
  if (!left_ms) return std::nullopt;
  return now + *left_ms - state.limits.stop_grace_ms;
}

// The attempt ends as preempted, unless it finishes or fails first.
void Preempt(StepContext& step, const Attempt& attempt) {
  Task& task = TaskOf(step.state, attempt);
  if (task.state == TaskState::kStopping) return;
  const std::string reason =
      Str("asked to stop, to continue elsewhere: worker ", attempt.worker, " is drained");
  MoveTask(step, task, TaskState::kStopping, reason);
  SendStopTo(step, attempt, reason);
}

void ChangeDrain(StepContext& step, Worker& worker, std::optional<Drain> drain) {
  worker.drain = std::move(drain);
  step.state.index.workers_version += 1;
  step.changed_workers.insert(worker.id);
  if (worker.session) SendHold(step, worker);
}

}  // namespace

Status UnknownWorker(const std::string& id) {
  return Status(Code::kNotFound,
                Str("there is no worker ", Shortened(PrintableBytes(id), kQuotedBytesMax, "…"),
                    ": `longrun workers` shows all workers"));
}

std::optional<std::int64_t> DrainLeftMs(const State& state, const Worker& worker, Instant now,
                                        std::int64_t wall_ms) {
  if (!worker.drain || !worker.drain->deadline) return std::nullopt;
  return LeftMs(state, *worker.drain->deadline, now, wall_ms);
}

void SendHold(StepContext& step, const Worker& worker) {
  if (!worker.capabilities.contains(std::string(kHoldCapability))) return;
  const auto left_ms = DrainLeftMs(step.state, worker, step.now, step.wall_ms);
  step.Send(*worker.session,
            HoldMessage{.held = worker.drain.has_value(), .deadline_ms = left_ms.value_or(-1)});
}

void StopDrained(StepContext& step) {
  std::vector<const Attempt*> due;
  for (const std::string& id : step.state.index.live) {
    const Attempt& attempt = step.state.attempts.at(id);
    const auto worker = step.state.workers.find(attempt.worker);
    if (worker == step.state.workers.end()) continue;
    const auto stop_at = StopTime(step.state, worker->second, step.now, step.wall_ms);
    if (stop_at && *stop_at <= step.now) due.push_back(&attempt);
  }
  for (const Attempt* const attempt : due) Preempt(step, *attempt);
}

void HandleEvent(StepContext& step, const WorkerDrained& event) {
  const auto found = step.state.workers.find(event.worker);
  if (found == step.state.workers.end()) {
    step.result.status = UnknownWorker(event.worker);
    return;
  }
  Drain drain;
  if (event.deadline_ms) {
    drain.deadline = {.boot_ms = step.now + *event.deadline_ms,
                      .boot = step.state.boot,
                      .wall_ms = step.wall_ms + *event.deadline_ms};
  }
  ChangeDrain(step, found->second, drain);
  StopDrained(step);
}

void HandleEvent(StepContext& step, const WorkerUndrained& event) {
  const auto found = step.state.workers.find(event.worker);
  if (found == step.state.workers.end()) {
    step.result.status = UnknownWorker(event.worker);
    return;
  }
  if (found->second.drain) ChangeDrain(step, found->second, std::nullopt);
}

void HandleEvent(StepContext& step, const WorkerRemoved& event) {
  State& state = step.state;
  const auto found = state.workers.find(event.worker);
  if (found == state.workers.end()) {
    step.result.status = UnknownWorker(event.worker);
    return;
  }
  if (found->second.session) {
    step.result.status = Status(
        Code::kFailedPrecondition,
        Str("worker ", event.worker, " is connected: stop its process on its machine first"));
    return;
  }
  const std::size_t n_live = LiveAttemptsOf(state, event.worker).size();
  if (n_live > 0) {
    const Instant lease_end = LeaseEnd(state, found->second);
    step.result.status =
        Status(Code::kFailedPrecondition,
               Str("worker ", event.worker, " has ", n_live, n_live == 1 ? " task" : " tasks",
                   " in progress, and may come back: try again in ",
                   (std::max<Instant>(0, lease_end - step.now) + 999) / 1000,
                   " s, while a service runs: then its lease has ended, and other workers take "
                   "over"));
    return;
  }
  state.workers.erase(found);
  state.index.workers_version += 1;
  step.removals.push_back(DropWorker{.worker = event.worker});
}

}  // namespace longrun::coordinator
