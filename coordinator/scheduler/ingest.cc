// Takes journal records into the store: in order, without gaps, each exactly once. Records of an
// attempt that is no longer current are kept as history and change nothing.
#include <algorithm>
#include <limits>
#include <utility>

#include "base/str.h"
#include "base/utf8.h"
#include "coordinator/scheduler/step.h"

namespace longrun::coordinator {
namespace {

// An attempt with more of them ends: they are kept in memory while it runs.
constexpr std::size_t kUnexpectedRowsMax = 1000;

// Of a whole checkpoint.
CheckpointRef RefOf(const Attempt& attempt, const CheckpointRecord& checkpoint) {
  return {.attempt = attempt.id,
          .checkpoint = "",
          .sha256 = checkpoint.sha256,
          .step = *checkpoint.step};
}

// ---- checkpoints -------------------------------------------------------------------------------

// Keeps the newest `checkpoint_keep`, and the one that the attempt itself started from: its worker
// may still be fetching it. Checkpoints of earlier attempts beyond the present step go first: they
// were passed over because they could not be read, and they would push out what is written now.
void TakeCheckpoint(StepContext& step, Task& task, const Attempt& attempt,
                    const CheckpointRecord& record) {
  const CheckpointRef checkpoint = RefOf(attempt, record);
  step.changed_tasks.insert(task.id);
  std::vector<CheckpointRef> replaced;
  const auto in_use = [&](const CheckpointRef& other) {
    return attempt.resume && attempt.resume->sha256 == other.sha256;
  };
  std::erase_if(task.checkpoints, [&](const CheckpointRef& other) {
    // A resumed training writes the same steps again.
    const bool passed_over =
        other.step > checkpoint.step && other.attempt != attempt.id && !in_use(other);
    if (other.step != checkpoint.step && !passed_over) return false;
    replaced.push_back(other);
    return true;
  });
  const auto after =
      std::ranges::upper_bound(task.checkpoints, checkpoint.step, {}, &CheckpointRef::step);
  task.checkpoints.insert(after, checkpoint);
  if (record.is_best) {
    if (task.best_checkpoint) replaced.push_back(*task.best_checkpoint);
    task.best_checkpoint = checkpoint;
  }
  const auto n_keep = static_cast<std::size_t>(std::max<std::int64_t>(task.checkpoint_keep, 1));
  for (auto it = task.checkpoints.begin();
       it != task.checkpoints.end() && task.checkpoints.size() > n_keep;) {
    if (in_use(*it)) {
      ++it;
      continue;
    }
    replaced.push_back(*it);
    it = task.checkpoints.erase(it);
  }
  for (const CheckpointRef& old : replaced) DropUnlessUsed(step, task, old);
}

// ---- completeness ------------------------------------------------------------------------------

// What is missing when the attempt sends `final`, or "".
std::string WhatIsMissing(const Task& task, const Attempt& attempt, const FinalRecord& said) {
  if (attempt.state != AttemptState::kRunning) return "it never reported that it had started";
  const FinalRecord stored = attempt.tally.Final();
  for (const auto& [name, member] :
       {std::pair("counts", &FinalRecord::counts), std::pair("digest", &FinalRecord::digest)}) {
    if (said.*member != stored.*member) {
      return Str("its final record says ", name, " ",
                 said.*member ? (said.*member)->dump() : "nothing", ", but ",
                 (stored.*member)->dump(), " is stored");
    }
  }
  for (const ExpectedCell& cell : task.expected_cells) {
    const auto stored_rows = attempt.rows.counts.find(cell);
    const std::int64_t n_rows = stored_rows == attempt.rows.counts.end() ? 0 : stored_rows->second;
    if (n_rows != 1) return Str("it gave ", n_rows, " rows of ", Describe(cell), " instead of 1");
  }
  if (attempt.rows.numbers.size() != task.expected_cells.size()) {
    return Str("it gave ", attempt.rows.numbers.size(), " rows, but ", task.expected_cells.size(),
               " were expected");
  }
  if (task.kind == TaskKind::kTrain && !attempt.final_checkpoint) {
    return "its final checkpoint is not in the store";
  }
  return "";
}

// ---- one record --------------------------------------------------------------------------------

void WarnOfUnexpectedRow(StepContext& step, const Task& task, Attempt& attempt,
                         const ExpectedCell& cell) {
  if (attempt.rows.expected.empty()) {
    attempt.rows.expected.insert(task.expected_cells.begin(), task.expected_cells.end());
  }
  if (attempt.rows.expected.contains(cell) && attempt.rows.counts.at(cell) == 1) return;
  step.result.warnings.push_back(Str("attempt ", attempt.id, " of task ", ShortId(task.id),
                                     " gave an unexpected row: ", Describe(cell)));
}

// The effect of a record of the current attempt, besides being stored.
void Apply(StepContext& step, Attempt& attempt, const BatchRecord& batch) {
  Task& task = TaskOf(step.state, attempt);
  const JournalRecord& record = batch.record;
  const auto* const started = record.As<StartedRecord>();
  if (started != nullptr || record.kind == RecordKind::kCheckpoint ||
      record.kind == RecordKind::kResult) {
    BindExecution(step, attempt, started);
  }
  if (record.kind == RecordKind::kStarted) {
    if (attempt.state != AttemptState::kRunning) {
      MoveAttempt(step, attempt, AttemptState::kRunning, "started");
    }
    if (task.state == TaskState::kReserved) {
      MoveTask(step, task, TaskState::kRunning,
               Str("attempt ", attempt.n, " runs on worker ", attempt.worker));
    }
  } else if (const auto* const checkpoint = record.As<CheckpointRecord>()) {
    if (batch.files_gone && !batch.bytes_stored) {
      if (checkpoint->is_final && IsOfEarlierDatabase(step.state, attempt.epoch)) {
        LoseToRestore(step, attempt,
                      "neither the restored backup nor its worker has the files of its final "
                      "checkpoint");
      } else if (checkpoint->is_final) {
        EndAttempt(step, attempt, FailureClass::kData,
                   "the files of its final checkpoint are missing or damaged");
      }
    } else if (!checkpoint->is_whole) {
      step.result.warnings.push_back(Str("record ", record.seq, " of attempt ", attempt.id,
                                         " is not a checkpoint from which training can resume"));
    } else if (task.kind == TaskKind::kTrain) {
      TakeCheckpoint(step, task, attempt, *checkpoint);
    }
  } else if (record.kind == RecordKind::kArtifact) {
    // It may be one that the attempt took over, whose file only the lost database knew.
    if (batch.files_gone && !batch.bytes_stored && IsOfEarlierDatabase(step.state, attempt.epoch)) {
      LoseToRestore(step, attempt,
                    "neither the restored backup nor its worker has the files of its results");
    }
  } else if (const auto* const result = record.As<ResultRecord>()) {
    WarnOfUnexpectedRow(step, task, attempt, result->asked());
    if (attempt.rows.numbers.size() > task.expected_cells.size() + kUnexpectedRowsMax) {
      EndAttempt(step, attempt, FailureClass::kIncomplete,
                 Str("it gave ", attempt.rows.numbers.size(), " rows, but ",
                     task.expected_cells.size(), " were expected"));
    }
  } else if (const auto* const body = record.As<UnreadableBody>();
             body != nullptr && record.kind == RecordKind::kResult) {
    step.result.warnings.push_back(
        Str("record ", record.seq, " of attempt ", attempt.id, " is not a result: ", body->why));
  } else if (const auto* const final = record.As<FinalRecord>()) {
    const std::string missing = WhatIsMissing(task, attempt, *final);
    if (missing.empty()) {
      Succeed(step, attempt);
    } else {
      EndAttempt(step, attempt, FailureClass::kIncomplete, missing);
    }
  }
}

void Store(StepContext& step, Attempt& attempt, BatchRecord& batch) {
  const Task& task = TaskOf(step.state, attempt);
  const bool counts = IsCurrent(step.state, attempt);
  if (attempt.durable_seq == 0) NoteBegun(step.state.index, attempt);
  attempt.durable_seq = batch.record.seq;
  step.changed_attempts.insert(attempt.id);
  if (!attempt.end_stored) NoteRecord(attempt, batch.record, batch.line);
  NoteRan(step, attempt);
  if (counts) Apply(step, attempt, batch);
  step.records.push_back(
      PutRecord{.attempt = attempt.id,
                .task = task.id,
                .run_key = task.run_key,
                .record = std::move(batch.record),
                .line = std::move(batch.line),
                .files_gone = !counts || (batch.files_gone && !batch.bytes_stored)});
}

// How long the attempt has run since `started`, by its trainer's clock. That may have any reading,
// and may have been set: back, which counts as no time.
void NoteTime(Attempt& attempt, const JournalRecord& record) {
  const auto from = static_cast<std::uint64_t>(attempt.recorded_wall_ms);
  const bool is_later = record.t_ms > attempt.recorded_wall_ms;
  const std::uint64_t passed_ms = is_later ? static_cast<std::uint64_t>(record.t_ms) - from : 0;
  constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
  const auto room_ms = static_cast<std::uint64_t>(kMax - attempt.recorded_run_ms);
  const bool begins = record.kind == RecordKind::kStarted;
  attempt.recorded_run_ms =
      begins ? 0
             : attempt.recorded_run_ms + static_cast<std::int64_t>(std::min(passed_ms, room_ms));
  attempt.recorded_wall_ms = record.t_ms;
}

// Stores the new records, moving them out of the event.
// Returns the seq that must be sent again, if any.
std::optional<std::int64_t> StoreBatch(StepContext& step, Attempt& attempt,
                                       JournalReceived& event) {
  if (event.first_seq > attempt.durable_seq + 1) return attempt.durable_seq + 1;
  std::int64_t seq = event.first_seq;
  for (BatchRecord& batch : event.records) {
    if (batch.record.seq != seq) {
      step.result.warnings.push_back(Str("attempt ", attempt.id, " sent record ", batch.record.seq,
                                         " instead of record ", seq));
      return attempt.durable_seq + 1;
    }
    seq += 1;
    if (batch.record.seq <= attempt.durable_seq) continue;
    // Records kept as history do not wait for bytes, which may be gone with the worker's folder.
    const bool wanted = !batch.bytes_stored && !batch.files_gone;
    if (wanted && IsCurrent(step.state, attempt)) return batch.record.seq;
    Store(step, attempt, batch);
  }
  return std::nullopt;
}

Attempt* AttemptOf(StepContext& step, const Worker& worker, const JournalReceived& event) {
  if (Attempt* const known = FindAttempt(step.state, event.attempt)) return known;
  if (event.records.empty()) return nullptr;
  const auto* const begun = event.records.front().record.As<AttemptRecord>();
  if (begun == nullptr) return nullptr;
  return FindOrAdopt(step, worker, event.attempt, begun->task, event.epoch);
}

}  // namespace

void DropUnlessUsed(StepContext& step, const Task& task, const CheckpointRef& checkpoint) {
  const auto same = [&](const CheckpointRef& other) { return other.sha256 == checkpoint.sha256; };
  if (std::ranges::any_of(task.checkpoints, same)) return;
  if (task.best_checkpoint && same(*task.best_checkpoint)) return;
  if (task.final_checkpoint && same(*task.final_checkpoint)) return;
  step.drops.push_back(DropCheckpoint{.task = task.id, .sha256 = checkpoint.sha256});
}

// A trainer's names may have any length.
std::string Describe(const ExpectedCell& cell) {
  constexpr std::size_t kBytesMax = 256;
  return Str(
      Shortened(cell.metric, kBytesMax), " at ", cell.context_length, DepthText(cell.depth),
      cell.variant.empty() ? std::string() : Str(" (", Shortened(cell.variant, kBytesMax), ")"));
}

MeasuredNumber NumberOf(const ResultRecord& result) {
  return {.asked = result.asked(),
          .status = result.status,
          .n = result.n.value_or(0),
          .nll_sum = result.nll_sum};
}

void NoteRecord(Attempt& attempt, const JournalRecord& record, std::string_view line) {
  NoteTime(attempt, record);
  if (record.kind == RecordKind::kFinal) {
    attempt.final_seen = true;
    return;
  }
  attempt.tally.Add(record.kind, line);
  if (const auto* const begun = record.As<AttemptRecord>()) {
    if (!attempt.resume) attempt.resume = begun->resume;
  } else if (const auto* const progress = record.As<ProgressRecord>()) {
    attempt.progress = *progress;
  } else if (const auto* const result = record.As<ResultRecord>();
             result != nullptr && IsLive(attempt.state)) {
    attempt.rows.counts[result->asked()] += 1;
    attempt.rows.numbers.push_back(NumberOf(*result));
  } else if (const auto* const checkpoint = record.As<CheckpointRecord>()) {
    if (checkpoint->is_whole && checkpoint->is_final) {
      attempt.final_checkpoint = RefOf(attempt, *checkpoint);
    }
  } else if (const auto* const failed = record.As<FailedRecord>()) {
    attempt.failed_class = failed->failure_class;
    attempt.failed_message = failed->message;
  }
}

void HandleEvent(StepContext& step, JournalReceived& event) {
  Worker* const worker = Hear(step, event.session);
  if (worker == nullptr) return;
  Attempt* const attempt = AttemptOf(step, *worker, event);
  const FencedMessage fenced = {
      .attempt = event.attempt,
      .current_epoch = attempt == nullptr ? 0 : TaskOf(step.state, *attempt).epoch};
  if (attempt == nullptr) return step.Send(event.session, fenced);
  if (attempt->worker != worker->id || attempt->epoch != event.epoch) {
    NoteForeign(step, *worker, *attempt);
    step.result.warnings.push_back(Str(
        "worker ", worker->id, " sends records of attempt ", attempt->id, " of epoch ", event.epoch,
        ", but that attempt is on worker ", attempt->worker, " with epoch ", attempt->epoch));
    return step.Send(event.session, fenced);
  }
  attempt->listed_at = step.now;
  const std::int64_t seq_before = attempt->durable_seq;
  const bool was_at_work = attempt->state == AttemptState::kRunning;
  const std::optional<std::int64_t> wanted = StoreBatch(step, *attempt, event);
  if (attempt->durable_seq > seq_before) {
    const std::int64_t gap_ms = step.now - attempt->recorded_at;
    if (was_at_work) attempt->record_gap_ms = std::max(attempt->record_gap_ms, gap_ms);
    attempt->recorded_at = step.now;
  }
  step.Send(event.session, AckMessage{.attempt = attempt->id, .durable_seq = attempt->durable_seq});
  if (wanted) {
    step.Send(event.session, NackMessage{.attempt = attempt->id, .expected_seq = *wanted});
  }
  const bool fence = !IsLive(attempt->state) && attempt->state != AttemptState::kSucceeded;
  if (fence) step.Send(event.session, fenced);
}

}  // namespace longrun::coordinator
