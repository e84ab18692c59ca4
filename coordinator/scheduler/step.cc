// One step: the event changes the state, then ready tasks are placed, then everything that changed
// is written once.
#include "coordinator/scheduler/step.h"

#include <utility>
#include <variant>

#include "coordinator/scheduler/scheduler.h"

namespace longrun::coordinator {
namespace {

template <typename Row>
void AppendAll(std::vector<Write>& target, std::vector<Row>& source) {
  target.insert(target.end(), std::make_move_iterator(source.begin()),
                std::make_move_iterator(source.end()));
}

// Collects the writes in the order that scheduler.h promises.
void CollectWrites(StepContext& step) {
  const State& state = step.state;
  std::vector<Write>& writes = step.result.writes;
  writes.reserve(step.changed_runs.size() + step.changed_tasks.size() + step.cells.size() +
                 step.sweeps.size() + step.changed_workers.size() + step.changed_attempts.size() +
                 step.records.size() + step.transitions.size() + step.drops.size() +
                 step.removals.size());
  for (const std::string& key : step.changed_runs) {
    writes.push_back(PutRun{.run = state.runs.at(key), .run_json = std::move(step.run_json[key])});
  }
  for (const std::string& id : step.changed_tasks) writes.push_back(PutTask{state.tasks.at(id)});
  AppendAll(writes, step.cells);
  AppendAll(writes, step.sweeps);
  for (const std::string& id : step.changed_workers) {
    writes.push_back(PutWorker{state.workers.at(id)});
  }
  for (const std::string& id : step.changed_attempts) {
    // There may be many rows, and they are not among the columns.
    Attempt& attempt = step.state.attempts.at(id);
    GivenRows rows = std::exchange(attempt.rows, {});
    writes.push_back(PutAttempt{attempt});
    attempt.rows = std::move(rows);
  }
  AppendAll(writes, step.records);
  AppendAll(writes, step.transitions);
  AppendAll(writes, step.drops);
  AppendAll(writes, step.removals);
}

// Whether a task may have become ready, or a slot free. Most events, and all frequent ones, tell
// of work that goes on; a search among thousands of slots would cost more than all else that they
// need. Time opens slots, too (the end of a back-off or of a refusal): TimePassed comes at least
// once a second.
bool MayPlace(const StepContext& step, const SchedulerEvent& event,
              std::int64_t workers_version_before) {
  const bool goes_on =
      std::holds_alternative<WorkerHeard>(event) || std::holds_alternative<JournalReceived>(event);
  const bool accepts = std::holds_alternative<AttemptAccepted>(event);
  if (!goes_on && !accepts) return true;
  const bool moved = goes_on && !step.changed_tasks.empty();
  return moved || step.freed_slot || !step.changed_workers.empty() ||
         step.state.index.workers_version != workers_version_before;
}

}  // namespace

StepResult Step(State& state, SchedulerEvent event, Instant now, std::int64_t wall_ms) {
  StepContext step{.state = state,
                   .now = now,
                   .wall_ms = wall_ms,
                   .result = {},
                   .changed_runs = {},
                   .changed_tasks = {},
                   .changed_attempts = {},
                   .changed_workers = {},
                   .run_json = {},
                   .cells = {},
                   .sweeps = {},
                   .records = {},
                   .transitions = {},
                   .drops = {},
                   .removals = {}};
  const std::int64_t workers_version = state.index.workers_version;
  ExtendLeasesOverSleep(step);
  std::visit([&step](auto& e) { HandleEvent(step, e); }, event);
  AdoptKept(step);
  JudgeDoubtfulSlots(step);
  if (MayPlace(step, event, workers_version)) PlaceReadyTasks(step);
  CollectWrites(step);
  step.result.wake_at = NextDeadline(state, now);
  return std::move(step.result);
}

}  // namespace longrun::coordinator
