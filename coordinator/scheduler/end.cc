// What the end of an attempt means for its task: the table in sweeps/failure.cc decides
// by failure class.
#include <algorithm>
#include <csignal>
#include <utility>

#include "base/str.h"
#include "base/utf8.h"
#include "coordinator/scheduler/step.h"

namespace longrun::coordinator {
namespace {

// How often in a row workers may die while they prepare a task, before each further time counts as
// a loss: that many times may be chance, or an operator's doing.
constexpr std::size_t kUnpreparedMax = 3;

AttemptState EndStateOf(FailureClass failure_class) {
  switch (failure_class) {
    case FailureClass::kLost:
      return AttemptState::kLost;
    case FailureClass::kPreempted:
      return AttemptState::kPreempted;
    case FailureClass::kCancelled:
      return AttemptState::kCancelled;
    case FailureClass::kVanished:
    case FailureClass::kKilled:
    case FailureClass::kCrashed:
    case FailureClass::kNumerical:
    case FailureClass::kOutOfMemory:
    case FailureClass::kInvalid:
    case FailureClass::kData:
    case FailureClass::kStorage:
    case FailureClass::kLimit:
    case FailureClass::kIncomplete:
      return AttemptState::kFailed;
  }
  LR_CHECK(false);
}

// Counts one more failure or loss. False if the budget is exceeded.
bool CountAndMayRetry(Task& task, const FailureRow& row) {
  switch (row.counted_as) {
    case CountedAs::kFailure:
      task.failures += 1;
      return row.retryable && task.failures <= task.retry.failures_max;
    case CountedAs::kLoss:
      task.losses += 1;
      return row.retryable && task.losses <= task.retry.losses_max;
    case CountedAs::kNothing:
      return row.retryable;
  }
  LR_CHECK(false);
}

// "2 failures, 1 allowed"
std::string Spent(const Task& task, const FailureRow& row) {
  if (row.counted_as == CountedAs::kFailure) {
    return Str(task.failures, task.failures == 1 ? " failure, " : " failures, ",
               task.retry.failures_max, " allowed");
  }
  return Str(task.losses, task.losses == 1 ? " loss, " : " losses, ", task.retry.losses_max,
             " allowed");
}

// What helps if the message is about the checkpoint from which the attempt starts; "" if it is
// about something else.
std::string CheckpointRemedy(const State& state, const Attempt& attempt,
                             const std::string& message) {
  const auto start = attempt.resume ? attempt.resume : InitOf(state, attempt);
  if (!start || message.find(start->sha256) == std::string::npos) return "";
  const Task& task = state.tasks.at(attempt.task);
  const std::string retry = Str("`longrun retry ", ShortId(task.run_key), "`");
  const auto writer = state.attempts.find(start->attempt);
  if (writer != state.attempts.end() && writer->second.task == task.id) {
    return Str(retry, " continues the training from its newest checkpoint that is intact");
  }
  const std::string backup = "or restore a backup (docs/operating.md)";
  if (!task.needs.empty()) {
    return Str(retry, " first trains again what the store has lost, and then tries this again; ",
               backup);
  }
  const std::string& parent = state.runs.at(task.run_key).run.parent;
  if (!parent.empty()) {
    return Str("`longrun retry ", ShortId(parent),
               "` trains the run again that it continues; then ", retry, " tries this again; ",
               backup);
  }
  return Str("import the model again (`longrun import NAME FOLDER`); then ", retry,
             " tries this again; ", backup);
}

void FailTask(StepContext& step, Task& task, const Attempt& attempt, const FailureRow& row,
              const std::string& message) {
  if (IsRefreshing(task)) return KeepEarlier(step, task, Str(row.name, ": ", message));
  // A diverged run is a result, not an accident.
  const bool diverged = row.failure_class == FailureClass::kNumerical;
  const std::string why = !row.retryable ? "" : Str(" (", Spent(task, row), ")");
  const std::string about_checkpoint = row.failure_class == FailureClass::kData
                                           ? CheckpointRemedy(step.state, attempt, message)
                                           : "";
  const bool is_told =
      message == row.advice || std::ranges::any_of(row.remedies, [&](std::string_view remedy) {
        return !remedy.empty() && message.find(remedy) != std::string::npos;
      });
  const std::string advice = !about_checkpoint.empty() ? Str("; ", about_checkpoint)
                             : is_told                 ? ""
                                                       : Str("; ", row.advice);
  MoveTask(step, task, TaskState::kFailed,
           Str(diverged ? "diverged" : row.name, ": ", message, why, advice));
  SkipDependants(step, task);
}

void CancelTaskNow(StepContext& step, Task& task, const std::string& message) {
  if (IsRefreshing(task)) return KeepEarlier(step, task, Str("cancelled: ", message));
  MoveTask(step, task, TaskState::kCancelled, Str("cancelled: ", message));
  SkipDependants(step, task);
}

// Whether this machine was rebooted since the attempt began. It tells only for a trainer on the
// coordinator's machine; a trainer elsewhere that vanishes at that time is retried
// once without a wait.
bool IsOfEarlierBoot(const State& state, const Attempt& attempt) {
  return !attempt.started_boot.empty() && attempt.started_boot != state.boot;
}

// Whether all processes of the worker's machine ended together, for the first time: that is seldom
// the task's doing. A task that ends so again may be the cause (it needs too much memory, say), and
// waits.
bool EndedWithAll(const Attempt& attempt, std::int64_t n_before) {
  return attempt.died_together > 0 && n_before == 0;
}

// What an exit code means, for people.
std::string ExitText(int exit_code) {
  if (exit_code == FailureOf(FailureClass::kPreempted).exit_code) {
    return "the trainer stopped as it was asked to";
  }
  return Str("the trainer ended with exit code ", exit_code);
}

// What the signal that ended a trainer means, for people. SIGBUS has no class of its own: either a
// file or a device can be its cause.
std::string SignalText(int signal) {
  if (signal != SIGBUS) return Str("the trainer died of signal ", signal);
  return Str("the trainer died of signal ", signal,
             " (SIGBUS): a file that it had mapped, such as a checkpoint or a program, became "
             "shorter or cannot be read from its disk, or a device failed: look at the system log "
             "of the worker's machine");
}

// From where a task starts that is tried again, or goes on; "" where it has no checkpoints.
std::string StartOf(const State& state, const Task& task) {
  if (task.kind != TaskKind::kTrain) return "";
  const std::optional<CheckpointRef> point = ResumePoint(state, task);
  return point ? Str(", from the checkpoint of step ", point->step)
               : ", from the beginning, since there is no checkpoint yet";
}

// While the task was at work, its training may have been tried again.
void MakeReady(StepContext& step, Task& task, std::string reason) {
  MoveTask(step, task, TaskState::kReady, std::move(reason));
  BlockUntilTrained(step, task);
}

void DecideTask(StepContext& step, Task& task, const Attempt& attempt, const FailureRow& row,
                const std::string& message) {
  // If its cancellation was taken back in the meantime, it counts as preempted.
  const bool yielded = row.failure_class == FailureClass::kPreempted ||
                       row.failure_class == FailureClass::kCancelled;
  const std::int64_t n_before = task.failures + task.losses;
  const bool may_retry = yielded || CountAndMayRetry(task, row);
  if (task.cancel_wanted && (yielded || row.retryable)) return CancelTaskNow(step, task, message);
  if (!may_retry) return FailTask(step, task, attempt, row, message);
  // The trainer vanished with its machine: waiting would not help,
  // and the same worker is as good as any.
  const bool by_machine = row.failure_class == FailureClass::kVanished &&
                          (IsOfEarlierBoot(step.state, attempt) || EndedWithAll(attempt, n_before));
  if (row.avoid_worker && !by_machine) task.avoid_worker = attempt.worker;
  const bool wait = row.back_off && !by_machine;
  const std::int64_t wait_ms =
      wait ? BackOffMs(n_before, step.state.random.Next(), step.state.limits.back_off) : 0;
  task.not_before = step.now + wait_ms;
  if (yielded) {
    return MakeReady(step, task,
                     Str("attempt ", attempt.n, " stopped, to continue later",
                         StartOf(step.state, task), NeedsText(task)));
  }
  const std::string when = wait ? Str("tried again after a pause of ", (wait_ms + 999) / 1000, " s")
                                : std::string("tried again");
  MakeReady(step, task,
            Str(when, StartOf(step.state, task), ": attempt ", attempt.n, " ended (", row.name,
                "): ", message));
}

// The message for a cancelled trainer that did not yield: how it ended, besides being cancelled.
std::string WhileCancelled(EndEvidence evidence, StopMode mode, const std::string& message) {
  if (mode == StopMode::kNow && evidence.signal == SIGKILL && !evidence.oom_kill &&
      evidence.failed_message.empty()) {
    return "its trainer was killed (--now)";
  }
  evidence.cancel_requested = false;
  // The worker itself sends these two, SIGKILL after the grace time.
  if (evidence.signal != SIGTERM && evidence.signal != SIGKILL) evidence.stop_requested = false;
  const FailureRow& row = FailureOf(ClassifyEnd(evidence));
  if (row.failure_class == FailureClass::kPreempted) return message;
  return Str(row.name, " while it was being cancelled: ", message.empty() ? row.advice : message);
}

}  // namespace

std::string InShort(const std::string& message) {
  constexpr std::size_t kBytesMax = 2000;
  return Shortened(OneLine(Printable(message)), kBytesMax);
}

void EndAttempt(StepContext& step, Attempt& attempt, FailureClass failure_class,
                const std::string& message, EndTime end) {
  if (IsCutOff(step, attempt, failure_class)) {
    return EndAttempt(step, attempt, FailureClass::kPreempted,
                      Str("the allocation of worker ", attempt.worker, " ended: ", message), end);
  }
  const FailureRow& row = FailureOf(failure_class);
  Task& task = TaskOf(step.state, attempt);
  LR_CHECK(task.attempt == attempt.id);
  attempt.failure_class = std::string(row.name);
  attempt.message = message.empty() ? std::string(row.advice) : InShort(message);
  const bool had_started = attempt.state == AttemptState::kRunning;
  MoveAttempt(step, attempt, EndStateOf(failure_class), attempt.message, end);
  if (failure_class == FailureClass::kPreempted) NoteCutShort(step, attempt);
  if (failure_class == FailureClass::kData) {
    const auto start = attempt.resume ? attempt.resume : InitOf(step.state, attempt);
    if (start) step.result.doubtful_checkpoints.push_back(start->sha256);
  }
  DecideTask(step, task, attempt, row, attempt.message);
  if (row.blames_slot) NoteSlotFailure(step, attempt);
  if (had_started && failure_class == FailureClass::kPreempted) {
    ForgetSlotFailures(step.state, attempt.worker, attempt.device_index);
  }
}

void ReleaseSlot(State& state, const Attempt& attempt) {
  const auto worker = state.workers.find(attempt.worker);
  if (worker == state.workers.end()) return;
  auto& busy = worker->second.busy;
  const auto slot = busy.find(attempt.device_index);
  if (slot == busy.end() || slot->second != attempt.id) return;
  busy.erase(slot);
  IndexIdle(state, worker->second);
}

void WithdrawOffer(StepContext& step, Attempt& attempt, const std::string& message) {
  Task& task = TaskOf(step.state, attempt);
  LR_CHECK(task.attempt == attempt.id);
  attempt.message = InShort(message);
  MoveAttempt(step, attempt, AttemptState::kRejected, attempt.message);
  ReleaseSlot(step.state, attempt);
  if (task.cancel_wanted) return CancelTaskNow(step, task, "it had not started");
  task.not_before = step.now;
  MakeReady(step, task, Str("offered again: ", attempt.message));
}

void EndUnprepared(StepContext& step, Attempt& attempt) {
  LR_CHECK(attempt.durable_seq == 0);
  const auto earlier = step.state.index.unprepared.find(attempt.task);
  const bool may_be_by_chance =
      earlier == step.state.index.unprepared.end() || earlier->second.size() < kUnpreparedMax;
  const std::string died =
      Str("worker ", attempt.worker, " died while it was preparing the task (it had not started ",
          "a trainer yet)");
  if (may_be_by_chance) {
    attempt.failure_class = std::string(FailureOf(FailureClass::kVanished).name);
    return WithdrawOffer(step, attempt, died);
  }
  EndAttempt(step, attempt, FailureClass::kVanished,
             Str(died, ", as its workers did at least ", kUnpreparedMax,
                 " times before: the task may be the cause, if what it reads does not fit into the "
                 "memory that the worker may use; look at the system log of the worker's machine"));
}

bool IsOfEarlierDatabase(const State& state, std::uint64_t epoch) {
  return (epoch >> 32) < state.restore_count;
}

void LoseToRestore(StepContext& step, Attempt& attempt, const std::string& message) {
  Task& task = TaskOf(step.state, attempt);
  LR_CHECK(task.attempt == attempt.id);
  attempt.message = message;
  MoveAttempt(step, attempt, AttemptState::kLost, message);
  if (task.cancel_wanted) return CancelTaskNow(step, task, message);
  task.not_before = step.now;
  MakeReady(step, task, Str("tried again", StartOf(step.state, task), ": ", message));
}

void Succeed(StepContext& step, Attempt& attempt) {
  Task& task = TaskOf(step.state, attempt);
  MoveAttempt(step, attempt, AttemptState::kSucceeded, "complete");
  ForgetSlotFailures(step.state, attempt.worker, attempt.device_index);
  step.judges_slots = true;
  if (IsRefreshing(task)) return TakeRefreshed(step, task, attempt);
  task.result_attempt = attempt.id;
  const std::optional<CheckpointRef> lost =
      std::exchange(task.final_checkpoint, attempt.final_checkpoint);
  if (lost && lost->sha256 != task.final_checkpoint->sha256) DropUnlessUsed(step, task, *lost);
  MoveTask(step, task, TaskState::kSucceeded, Str("complete with attempt ", attempt.n));
  const auto dependants = step.state.index.dependants.find(task.id);
  if (dependants == step.state.index.dependants.end()) return;
  for (const std::string& id : dependants->second) {
    Task& dependant = step.state.tasks.at(id);
    if (dependant.state != TaskState::kBlocked) continue;
    MoveTask(step, dependant, TaskState::kReady, "waits for a free slot");
  }
}

void SkipDependants(StepContext& step, const Task& task) {
  const auto dependants = step.state.index.dependants.find(task.id);
  if (dependants == step.state.index.dependants.end()) return;
  const std::string how = task.state == TaskState::kCancelled ? std::string("was cancelled")
                          : task.state == TaskState::kSkipped ? Str("was skipped: ", task.reason)
                                                              : Str("failed: ", task.reason);
  for (const std::string& id : dependants->second) {
    Task& dependant = step.state.tasks.at(id);
    if (dependant.state != TaskState::kBlocked) continue;
    MoveTask(step, dependant, TaskState::kSkipped,
             Str("the training it needs (task ", ShortId(task.id), ") ", how));
    SkipDependants(step, dependant);
  }
}

void HandleEvent(StepContext& step, const AttemptFinished& event) {
  Worker* const worker = Hear(step, event.session);
  if (worker == nullptr) return;
  Attempt* const attempt = FindAttempt(step.state, event.attempt);
  if (attempt == nullptr) {
    // This database does not know it, so the worker may remove its folder.
    step.Send(event.session, AckMessage{.attempt = event.attempt, .ended = true});
    return;
  }
  if (attempt->worker != worker->id || attempt->epoch != event.epoch) {
    NoteForeign(step, *worker, *attempt);
    step.result.warnings.push_back(Str("worker ", worker->id, " reports the end of attempt ",
                                       attempt->id, " of epoch ", event.epoch,
                                       ", but that attempt is on worker ", attempt->worker,
                                       " with epoch ", attempt->epoch));
    step.Send(event.session, FencedMessage{.attempt = event.attempt,
                                           .current_epoch = TaskOf(step.state, *attempt).epoch});
    return;
  }
  if (event.last_seq > attempt->durable_seq) {
    step.Send(event.session,
              NackMessage{.attempt = attempt->id, .expected_seq = attempt->durable_seq + 1});
    return;
  }
  if (IsCurrent(step.state, *attempt)) {
    EndEvidence evidence = event.evidence;
    evidence.cancel_requested =
        TaskOf(step.state, *attempt).cancel_wanted && evidence.stop_requested;
    evidence.failed_class = attempt->failed_class;
    evidence.failed_message = attempt->failed_message;
    evidence.final_seen = attempt->final_seen;
    evidence.log_tail = event.log_tail;
    const FailureClass failure_class = ClassifyEnd(evidence);
    std::string message = evidence.failed_message;
    if (message.empty() && evidence.signal == SIGTERM && evidence.stop_requested) {
      message = "the trainer was asked to stop while it was starting";
    } else if (message.empty() && evidence.signal != 0) {
      message = SignalText(evidence.signal);
    } else if (message.empty() && evidence.exit_known) {
      message = ExitText(evidence.exit_code);
    }
    if (failure_class == FailureClass::kCancelled) {
      message = WhileCancelled(evidence, TaskOf(step.state, *attempt).stop_mode, message);
    }
    // If it was listed as ended before, it did not end just now: a checkpoint was uploaded since,
    // or nobody listened.
    const bool is_now = evidence.exit_known && attempt->listed_trainer != ListedTrainer::kEnded;
    EndAttempt(step, *attempt, failure_class, message,
               is_now ? EndTime::kNow : EndTime::kLastRecord);
  }
  if (!attempt->end_stored) {
    attempt->end_stored = true;
    attempt->tally = JournalTally();
    attempt->rows = {};
    attempt->progress.reset();
    step.changed_attempts.insert(attempt->id);
  }
  ReleaseSlot(step.state, *attempt);
  step.Send(event.session,
            AckMessage{.attempt = attempt->id, .durable_seq = attempt->durable_seq, .ended = true});
}

}  // namespace longrun::coordinator
