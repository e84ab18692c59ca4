// Attempts that workers still have and that this database does not know, because it was restored
// from an older backup. Those of a task that could run are adopted as soon as their worker says
// Hello (session.cc). The others are noted here: their task waits for a training, or its sweep was
// submitted after the backup. They are adopted when their task becomes READY, before it is placed,
// so that no work is done twice.
#include <algorithm>
#include <vector>

#include "base/str.h"
#include "coordinator/scheduler/step.h"

namespace longrun::coordinator {
namespace {

// A new task starts with the epochs of the tasks that gc dropped, so an attempt of a dropped task
// is of no use.
bool MayBeAdopted(const State& state, const std::string& task_id, std::uint64_t epoch) {
  if (!IsOfEarlierDatabase(state, epoch)) return false;
  const auto task = state.tasks.find(task_id);
  return epoch > (task == state.tasks.end() ? state.epoch_floor : task->second.epoch);
}

// The newest attempt of the task that a connected worker has; null if there is none.
const KeptAttempt* NewestOf(const State& state, const Task& task) {
  const auto kept = state.index.kept.find(task.id);
  if (kept == state.index.kept.end()) return nullptr;
  const KeptAttempt* newest = nullptr;
  for (const KeptAttempt& one : kept->second) {
    const auto worker = state.workers.find(one.worker);
    const bool is_here = worker != state.workers.end() && worker->second.session;
    if (!is_here || one.epoch <= task.epoch) continue;
    if (newest == nullptr || one.epoch > newest->epoch) newest = &one;
  }
  return newest;
}

}  // namespace

void NoteKept(StepContext& step, const Worker& worker, const std::vector<LiveAttempt>& listed) {
  State& state = step.state;
  auto& kept = state.index.kept;
  for (auto it = kept.begin(); it != kept.end();) {
    std::erase_if(it->second, [&](const KeptAttempt& one) { return one.worker == worker.id; });
    it = it->second.empty() ? kept.erase(it) : std::next(it);
  }
  std::size_t n_unknown = 0;
  for (const LiveAttempt& live : listed) {
    if (FindAttempt(state, live.attempt) != nullptr) continue;
    if (!IsAdoptable(live) || !MayBeAdopted(state, live.task, live.epoch)) continue;
    kept[live.task].push_back({.worker = worker.id, .attempt = live.attempt, .epoch = live.epoch});
    n_unknown += state.tasks.contains(live.task) ? 0 : 1;
  }
  if (n_unknown == 0) return;
  step.result.warnings.push_back(
      Str("worker ", worker.id, " has the journals of ", n_unknown,
          " attempts whose tasks this database does not know: submit their sweeps again, and the "
          "journals are used instead of repeating the work"));
}

void AdoptKept(StepContext& step) {
  State& state = step.state;
  if (state.index.kept.empty()) return;
  std::vector<std::string> ready;
  for (const std::string& id : step.changed_tasks) {
    const Task& task = state.tasks.at(id);
    const bool waits =
        task.state == TaskState::kReady && !IsRefreshing(task) && !IsBeingSubmitted(state, id);
    if (waits && state.index.kept.contains(id)) ready.push_back(id);
  }
  for (const std::string& id : ready) {
    Task& task = state.tasks.at(id);
    const KeptAttempt* const newest =
        WhyUnknown(state, task).empty() ? NewestOf(state, task) : nullptr;
    if (newest == nullptr) continue;
    const KeptAttempt kept = *newest;
    const Worker& worker = state.workers.at(kept.worker);
    if (FindOrAdopt(step, worker, kept.attempt, id, kept.epoch) == nullptr) continue;
    SendVerdict(step, worker, {.attempt = kept.attempt, .verdict = Verdict::kContinue});
    std::erase_if(state.index.kept.at(id),
                  [&](const KeptAttempt& one) { return one.attempt == kept.attempt; });
    if (state.index.kept.at(id).empty()) state.index.kept.erase(id);
  }
}

}  // namespace longrun::coordinator
