// The states of workers as people see them, in `longrun workers` and in the log.
#include <utility>

#include "coordinator/scheduler/step.h"

namespace longrun::coordinator {

bool IsMissed(const State& state, const Worker& worker, Instant now) {
  return worker.lost || !worker.session || IsSilent(state, worker, now);
}

// A worker that announced that it is leaving is stopped, not lost.
std::string_view WorkerStateName(const State& state, const Worker& worker, Instant now) {
  if (worker.draining) return worker.session ? "DRAINING" : "STOPPED";
  if (worker.lost) return "LOST";
  if (IsMissed(state, worker, now)) return "SUSPECT";
  if (!worker.drain) return "READY";
  return worker.busy.empty() ? "DRAINED" : "DRAINING";
}

void NoteWorker(StepContext& step, const Worker& worker, std::string reason) {
  step.result.workers.push_back(
      {.worker = worker.id,
       .host = worker.host,
       .state = WorkerStateName(step.state, worker, step.now),
       .is_missed = !worker.draining && IsMissed(step.state, worker, step.now),
       .reason = std::move(reason)});
}

}  // namespace longrun::coordinator
