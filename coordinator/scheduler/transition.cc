// Every change of a state goes through here, which writes one PutTransition and
// updates the indexes.
#include <algorithm>
#include <array>
#include <utility>

#include "base/check.h"
#include "base/ulid.h"
#include "coordinator/scheduler/step.h"
#include "model/evaluation/evaluation.h"
#include "model/evaluation/params.h"
#include "sweeps/cost.h"
#include "sweeps/evaluated_dataset.h"

namespace longrun::coordinator {
namespace {

using enum TaskState;

constexpr std::pair<TaskState, TaskState> kTaskEdges[] = {
    {kBlocked, kReady},
    {kBlocked, kCancelled},
    {kBlocked, kSkipped},
    {kReady, kReserved},
    {kReady, kBlocked},  // the training that it starts from was lost
    {kReady, kCancelled},
    {kReserved, kRunning},
    {kReserved, kReady},
    {kReserved, kFailed},
    {kReserved, kStopping},
    {kRunning, kSucceeded},
    {kRunning, kReady},
    {kRunning, kFailed},
    {kRunning, kStopping},
    {kStopping, kReady},
    {kStopping, kCancelled},
    {kStopping, kSucceeded},
    {kStopping, kFailed},
    // A refresh that ends early keeps the earlier result.
    {kReady, kSucceeded},
    {kReserved, kSucceeded},
};

using A = AttemptState;
constexpr std::pair<AttemptState, AttemptState> kAttemptEdges[] = {
    {A::kOffered, A::kAccepted},  {A::kOffered, A::kRejected},   {A::kOffered, A::kLost},
    {A::kOffered, A::kRunning},   {A::kOffered, A::kFailed},     {A::kOffered, A::kPreempted},
    {A::kOffered, A::kCancelled}, {A::kAccepted, A::kRunning},   {A::kAccepted, A::kFailed},
    {A::kAccepted, A::kRejected}, {A::kAccepted, A::kPreempted}, {A::kAccepted, A::kCancelled},
    {A::kAccepted, A::kLost},     {A::kRunning, A::kSucceeded},  {A::kRunning, A::kFailed},
    {A::kRunning, A::kPreempted}, {A::kRunning, A::kCancelled},  {A::kRunning, A::kLost},
};

void WriteTransition(StepContext& step, std::string_view subject, const std::string& id,
                     std::string_view from, std::string_view to, const std::string& reason) {
  step.transitions.push_back(PutTransition{.subject = std::string(subject),
                                           .id = id,
                                           .from = std::string(from),
                                           .to = std::string(to),
                                           .reason = reason});
}
// Of the sweeps that have the task.
template <typename Change>
void ForEachTally(State& state, const std::string& task, const Change& change) {
  const auto sweeps = state.index.task_sweeps.find(task);
  if (sweeps == state.index.task_sweeps.end()) return;
  for (const std::string& sweep : sweeps->second) change(state.index.tallies.at(sweep));
}

// The store has the cells and their owners, and there are as many as results: a state that is
// loaded after the task's success lacks them, too.
void ForgetCells(State& state, Task& task) {
  for (const ExpectedCell& cell : task.expected_cells) state.cell_task.erase(cell.cell);
  Release(task.expected_cells);
}

void EnterTaskState(StepContext& step, Task& task, TaskState to, std::string reason) {
  LR_CHECK(!reason.empty());
  ForEachTally(step.state, task.id, [&](SweepTally& tally) {
    tally.n[static_cast<std::size_t>(task.state)] -= 1;
    tally.n[static_cast<std::size_t>(to)] += 1;
  });
  task.state = to;
  task.reason = std::move(reason);
  if (to == kReady) {
    // A task that becomes ready again keeps its place, so that work once begun is finished first.
    if (task.ready_seq == 0) task.ready_seq = step.state.next_ready_seq++;
    if (std::string held = HoldReason(step.state, task.id); !held.empty()) {
      task.reason = std::move(held);
    }
    IndexReady(step.state, task, step.now);
  }
  if (to == kSucceeded) ForgetCells(step.state, task);
  step.changed_tasks.insert(task.id);
}

void StartRound(StepContext& step, Task& task, TaskState to, std::string reason) {
  task.retry_round += 1;
  task.failures = 0;
  task.losses = 0;
  task.cancel_wanted = false;
  task.avoid_worker.clear();
  task.too_large_for.clear();
  task.not_before = 0;
  task.needs_ms = 0;
  task.results_reached = 0;
  task.ready_seq = 0;
  WriteTransition(step, "task", task.id, EnumName(task.state), EnumName(to), reason);
  EnterTaskState(step, task, to, std::move(reason));
}

}  // namespace

std::string ClassName(const ReadyClass& ready) {
  Json name = {{"kind", ready.device_kind},
               {"dataset", ready.dataset_digest},
               {"text", ready.text_digest},
               {"gpu_memory", ready.gpu_memory_bytes},
               {"gpu_fused_memory", ready.gpu_fused_memory_bytes},
               {"head_dim", ready.head_dim},
               {"cpu_memory", ready.cpu_memory_bytes}};
  if (ready.execution) name["execution"] = ready.execution->ToJson();
  for (const auto& [worker, cache] : ready.too_large_for) {
    name["too_large_for"][worker] = {cache.incarnation, cache.needed_bytes, cache.limit_bytes};
  }
  return name.dump();
}

namespace {

// The boot clock survives a restart of the coordinator, but not a reboot of its machine (or a move
// of the state folder to another): then only the wall clock spans begin and end.
void MeasureDuration(const StepContext& step, Attempt& attempt) {
  if (attempt.started_wall_ms == 0) return;  // it never ran
  const bool same_boot = !attempt.started_boot.empty() && attempt.started_boot == step.state.boot;
  attempt.duration_clock = same_boot ? DurationClock::kBoot : DurationClock::kWall;
  attempt.duration_ms = std::max<std::int64_t>(
      0, same_boot ? step.now - attempt.started_boot_ms : step.wall_ms - attempt.started_wall_ms);
}

// For how long the attempt had been offered when it started, as far as is known: its trainer
// started in this time. The wall clock, which may have been set in it, counts if no other is known.
std::int64_t OfferedMs(const Attempt& attempt) {
  if (!attempt.offered_boot.empty() && attempt.offered_boot == attempt.started_boot) {
    return attempt.started_boot_ms - attempt.offered_boot_ms;
  }
  const std::optional<std::int64_t> offered_wall_ms = UlidWallMs(attempt.id);
  return offered_wall_ms ? attempt.started_wall_ms - *offered_wall_ms : 0;
}

// The coordinator may hear of a start long after it, together with what followed: while the worker
// was stopped, or while a backup was restored. By its trainer's clock, the attempt has then run for
// longer than since the coordinator heard of it, so it started earlier; but not before its offer,
// however that clock was set. Expects `duration_ms` to be that until now.
void NoteEarlierStart(Attempt& attempt) {
  const std::int64_t offered_ms = std::max<std::int64_t>(0, OfferedMs(attempt));
  const std::int64_t earlier_ms =
      std::clamp<std::int64_t>(attempt.recorded_run_ms - attempt.duration_ms, 0, offered_ms);
  attempt.started_boot_ms -= earlier_ms;
  attempt.started_wall_ms -= earlier_ms;
  attempt.duration_ms += earlier_ms;
}

void ForgetLive(Index& index, const Attempt& attempt) {
  index.live.erase(attempt.id);
  const auto of_worker = index.live_of.find(attempt.worker);
  if (of_worker == index.live_of.end()) return;
  of_worker->second.erase(attempt.id);
  if (of_worker->second.empty()) index.live_of.erase(of_worker);
}

}  // namespace

ReadyClass::Key ReadyKey(const State& state, const Task& task) {
  return {.later = !state.index.first.contains(task.id),
          .minus_priority = -task.priority,
          .trains = task.kind == TaskKind::kTrain,
          .ready_seq = task.ready_seq,
          .task = task.id};
}

ReadyClass ClassOf(const State& state, const Task& task) {
  const RunRecord& run = state.runs.at(task.run_key);
  ReadyClass ready;
  ready.device_kind = task.device_kind;
  const Execution* const execution = ExecutionOf(state, run);
  if (execution != nullptr) ready.execution = *execution;
  ready.too_large_for = task.too_large_for;
  ready.dataset_digest = run.run.dataset_digest;
  ready.text_digest = DigestOfText(task.evaluation, run.run.dataset_digest);
  if (ready.execution && task.kind != TaskKind::kTrain) ClearTraining(*ready.execution);
  ready.head_dim = run.run.model.attention_shape().head_dim;
  const auto path_on = [&](DeviceKind device_kind, std::int64_t gpu_head_dim_max = 0) {
    MemoryPath path;
    if (execution != nullptr) {
      path = BegunRunMemoryPath(*execution, task.activation_checkpointing);
      path.device_kind = device_kind;
    } else {
      path = NewRunMemoryPath(run.run.model, device_kind, task.activation_checkpointing,
                              gpu_head_dim_max);
      path.head = HeadChunks::kByLogits;  // the least that a slot must have (FittingHeadChunks)
    }
    return path;
  };
  if (task.kind == TaskKind::kTrain) {
    const std::int64_t micro_batch = execution == nullptr ? 1 : execution->micro_batch;
    const auto bytes = [&](const MemoryPath& path) {
      return TrainMemoryBytes(run.run.model, run.run.train, micro_batch, path);
    };
    ready.gpu_memory_bytes = bytes(path_on(DeviceKind::kGpu));
    ready.gpu_fused_memory_bytes = bytes(path_on(DeviceKind::kGpu, ready.head_dim));
    ready.cpu_memory_bytes = bytes(path_on(DeviceKind::kCpu));
  }
  const int keys_held = EvaluationKeysHeld(task.evaluation);
  const Precision precision = EvaluationPrecision(task.evaluation);
  for (const ExpectedCell& cell : task.expected_cells) {
    ready.cpu_memory_bytes =
        std::max(ready.cpu_memory_bytes,
                 EvaluateMemoryBytes(run.run.model, cell.context_length, path_on(DeviceKind::kCpu),
                                     keys_held, precision, cell.prompt_tokens));
  }
  return ready;
}

void NoteNeeds(Index& index, const Task& task) {
  if (!task.needs.empty()) {
    index.dependants[task.needs].insert(task.id);
  } else if (task.kind == TaskKind::kEvaluate) {
    index.untrained[task.run_key].insert(task.id);
  }
}

void NoteEnded(Index& index, const Attempt& attempt) {
  EndedAttempts& ended = index.ended[attempt.task];
  ended.n += 1;
  ended.n_withdrawn += attempt.state == AttemptState::kRejected ? 1 : 0;
  ended.ran_ms += attempt.duration_ms;
  // Of withdrawn attempts, only these have a class.
  const bool is_withdrawn = attempt.state == AttemptState::kRejected;
  if (is_withdrawn && !attempt.failure_class.empty()) {
    index.unprepared[attempt.task].insert(attempt.n);
  }
}

void NoteBegun(Index& index, const Attempt& attempt) {
  const auto found = index.unprepared.find(attempt.task);
  if (found == index.unprepared.end()) return;
  found->second.erase(found->second.begin(), found->second.lower_bound(attempt.n));
  if (found->second.empty()) index.unprepared.erase(found);
}

bool IsTaskEdge(TaskState from, TaskState to) {
  return std::ranges::find(kTaskEdges, std::pair(from, to)) != std::end(kTaskEdges);
}

bool IsAttemptEdge(AttemptState from, AttemptState to) {
  return std::ranges::find(kAttemptEdges, std::pair(from, to)) != std::end(kAttemptEdges);
}

void IndexReady(State& state, Task& task, Instant now) {
  if (!WhyUnknown(state, task).empty() || !HoldReason(state, task.id).empty()) return;
  if (IsBeingSubmitted(state, task.id)) return;
  if (task.not_before > now) {
    state.index.waiting.insert({task.not_before, task.id});
    return;
  }
  ReadyClass wanted = ClassOf(state, task);
  task.ready_class = ClassName(wanted);
  const auto [it, added] = state.index.ready.try_emplace(task.ready_class, std::move(wanted));
  it->second.tasks.insert(ReadyKey(state, task));
  it->second.joined.push_back(task.id);
}

void UnindexReady(State& state, Task& task) {
  state.index.waiting.erase({task.not_before, task.id});
  const auto it = state.index.ready.find(task.ready_class);
  if (it == state.index.ready.end()) return;
  it->second.tasks.erase(ReadyKey(state, task));
  if (it->second.tasks.empty()) state.index.ready.erase(it);
  Release(task.ready_class);
}

Task& AddTask(StepContext& step, Task&& task, std::string reason) {
  LR_CHECK(task.state == kBlocked || task.state == kReady);
  const auto [it, added] = step.state.tasks.try_emplace(task.id, std::move(task));
  LR_CHECK(added);
  Task& stored = it->second;
  stored.epoch = step.state.epoch_floor;
  NoteNeeds(step.state.index, stored);
  WriteTransition(step, "task", stored.id, "", EnumName(stored.state), reason);
  EnterTaskState(step, stored, stored.state, std::move(reason));
  return stored;
}

void MoveTask(StepContext& step, Task& task, TaskState to, std::string reason) {
  LR_CHECK(IsTaskEdge(task.state, to));
  if (task.state == kReady) UnindexReady(step.state, task);
  WriteTransition(step, "task", task.id, EnumName(task.state), EnumName(to), reason);
  EnterTaskState(step, task, to, std::move(reason));
}

void RetryTask(StepContext& step, Task& task, TaskState to, std::string reason) {
  LR_CHECK(IsTerminal(task.state) && (task.state != kSucceeded || task.result_attempt.empty()));
  LR_CHECK(to == kBlocked || to == kReady);
  StartRound(step, task, to, std::move(reason));
}

void RefreshTask(StepContext& step, Task& task, std::string reason) {
  LR_CHECK(task.state == kSucceeded && task.kind == TaskKind::kEvaluate &&
           !task.result_attempt.empty());
  StartRound(step, task, kReady, std::move(reason));
}

void NoteUnanswered(Index& index, const Attempt& attempt) {
  if (attempt.state != AttemptState::kOffered) return;
  index.unanswered.insert({attempt.offered_at, attempt.id});
}

void NoteLive(Index& index, const Attempt& attempt) {
  index.live.insert(attempt.id);
  index.live_of[attempt.worker].insert(attempt.id);
  NoteUnanswered(index, attempt);
}

std::vector<Attempt*> LiveAttemptsOf(State& state, const std::string& worker) {
  std::vector<Attempt*> attempts;
  const auto live = state.index.live_of.find(worker);
  if (live == state.index.live_of.end()) return attempts;
  for (const std::string& id : live->second) attempts.push_back(&state.attempts.at(id));
  return attempts;
}

Attempt& AddAttempt(StepContext& step, Attempt&& attempt, const std::string& reason) {
  LR_CHECK(IsLive(attempt.state));
  const auto [it, added] = step.state.attempts.try_emplace(attempt.id, std::move(attempt));
  LR_CHECK(added);
  Attempt& stored = it->second;
  NoteLive(step.state.index, stored);
  ForEachTally(step.state, stored.task,
               [&](SweepTally& tally) { tally.begun.insert(stored.task); });
  WriteTransition(step, "attempt", stored.id, "", EnumName(stored.state), reason);
  step.changed_attempts.insert(stored.id);
  return stored;
}

void NoteRan(StepContext& step, Attempt& attempt) {
  const bool is_over = !IsLive(attempt.state);
  const DurationClock clock = attempt.duration_clock;
  if (is_over && (attempt.end_stored || clock == DurationClock::kNone)) return;
  if (!is_over && attempt.state != AttemptState::kRunning) return;
  const std::int64_t before_ms = attempt.duration_ms;
  MeasureDuration(step, attempt);
  NoteEarlierStart(attempt);
  const bool is_late = is_over || attempt.listed_trainer == ListedTrainer::kEnded;
  if (!is_late || clock == DurationClock::kNone) return;
  // The trainer's clock may have been set: back; or forward, but it has run neither beyond now nor
  // since before its offer.
  attempt.duration_ms = std::max(before_ms, std::min(attempt.duration_ms, attempt.recorded_run_ms));
  attempt.duration_clock = clock;
  if (is_over) step.state.index.ended[attempt.task].ran_ms += attempt.duration_ms - before_ms;
}

void MoveAttempt(StepContext& step, Attempt& attempt, AttemptState to, const std::string& reason,
                 EndTime end) {
  LR_CHECK(IsAttemptEdge(attempt.state, to));
  WriteTransition(step, "attempt", attempt.id, EnumName(attempt.state), EnumName(to), reason);
  attempt.state = to;
  step.state.index.unanswered.erase({attempt.offered_at, attempt.id});
  if (to == AttemptState::kRunning) {
    attempt.started_wall_ms = step.wall_ms;
    attempt.started_boot_ms = step.now;
    attempt.started_boot = step.state.boot;
    MeasureDuration(step, attempt);
  }
  if (!IsLive(to)) {
    attempt.ended_wall_ms = step.wall_ms;
    // Attempts of an earlier release have no time until a record comes.
    const bool has_none = attempt.duration_clock == DurationClock::kNone;
    if (end == EndTime::kNow || has_none) MeasureDuration(step, attempt);
    ForgetLive(step.state.index, attempt);
    EndOffer(step, attempt);
    NoteEnded(step.state.index, attempt);
  }
  step.changed_attempts.insert(attempt.id);
}

}  // namespace longrun::coordinator
