// Loads the tables into the scheduler's state.
#include <algorithm>
#include <limits>
#include <unordered_map>

#include "base/hash.h"
#include "base/str.h"
#include "coordinator/store/dataset_folder.h"
#include "coordinator/store/mend.h"
#include "coordinator/store/meta.h"
#include "coordinator/store/sqlite.h"
#include "coordinator/store/store.h"
#include "coordinator/store/stored_numbers.h"
#include "model/evaluation/evaluation.h"
#include "sweeps/event.h"
#include "sweeps/known.h"
#include "sweeps/run_reader.h"

namespace longrun::coordinator {
namespace {

template <NamedEnum Enum>
Result<Enum> StateOf(const std::string& name) {
  if (const std::optional<Enum> state = FindEnum<Enum>(name)) return *state;
  return Status(Code::kDataLoss, Str("the database holds an unknown state \"", name, "\""));
}

template <typename T>
Result<std::vector<T>> ListOf(const std::string& json) {
  ASSIGN_OR_RETURN(const Json list, ParseJson(json));
  std::vector<T> items;
  for (const Json& item : list) {
    ASSIGN_OR_RETURN(T parsed, T::FromJson(item));
    items.push_back(std::move(parsed));
  }
  return items;
}

template <typename T>
Result<std::optional<T>> OptionalOf(const Statement& row, int column) {
  if (row.IsNull(column)) return std::optional<T>();
  ASSIGN_OR_RETURN(const Json json, ParseJson(row.Text(column)));
  ASSIGN_OR_RETURN(T parsed, T::FromJson(json));
  return std::optional<T>(std::move(parsed));
}

// Why this build cannot use something stored. Another build may, so only what depends on it is held
// back, and everything else is loaded.
std::string NotKnown(const std::string& unknown, std::string_view what, const Status& read) {
  if (!unknown.empty()) return "this build does not know " + unknown;
  return Str("this build cannot read the stored form of ", what, " (", read.message(), ")");
}

// The runs of a machine are executed in only a few ways: each is parsed once.
class ExecutionReader {
 public:
  Result<Execution> Read(const std::string& text) {
    const auto known = executions_.find(text);
    if (known != executions_.end()) return known->second;
    ASSIGN_OR_RETURN(const Json json, ParseJson(text));
    ASSIGN_OR_RETURN(Execution execution, Execution::FromJson(json));
    executions_.emplace(text, execution);
    return execution;
  }

 private:
  std::unordered_map<std::string, Execution> executions_;
};

Status LoadRuns(Connection& connection, State& state) {
  RunReader runs;
  ExecutionReader executions;
  const auto read = [&](const Statement& row, const std::string& text,
                        RunRecord& record) -> Status {
    ASSIGN_OR_RETURN(record.run, runs.Read(text));
    if (!row.IsNull(4)) {
      ASSIGN_OR_RETURN(record.execution, executions.Read(row.Text(4)));
    }
    return Status();
  };
  return ForEach(connection, "SELECT run_key, run, dataset_name, dataset_path, execution FROM run",
                 [&](const Statement& row) -> Status {
                   RunRecord record;
                   record.run_key = row.Text(0);
                   record.dataset_name = row.Text(2);
                   record.dataset_path = row.Text(3);
                   const std::string text = row.Text(1);
                   if (const Status status = read(row, text, record); !status.ok()) {
                     record.run = Run();
                     record.unknown = NotKnown(UnknownOfRun(text), "its run", status);
                   } else if (Sha256Hex(text) != record.run_key) {
                     record.run = Run();
                     record.unknown = kRunDamaged;
                     record.damaged = true;
                   }
                   std::string key = record.run_key;
                   state.runs.insert_or_assign(std::move(key), std::move(record));
                   return Status();
                 });
}

Status ReadSpecification(const Statement& row, Task& task) {
  if (!row.IsNull(20)) {
    ASSIGN_OR_RETURN(task.evaluation, ParseJson(row.Text(20)));
    if (!task.evaluation.is_object() || task.evaluation.size() != 1) {
      return Status(Code::kDataLoss, "its evaluation is not an object with one member");
    }
    RETURN_IF_ERROR(FindEvaluation(task.evaluation.begin().key()).status());
  }
  ASSIGN_OR_RETURN(task.expected_cells, ListOf<ExpectedCell>(row.Text(21)));
  ASSIGN_OR_RETURN(task.checkpoints, ListOf<CheckpointRef>(row.Text(24)));
  ASSIGN_OR_RETURN(task.best_checkpoint, OptionalOf<CheckpointRef>(row, 25));
  ASSIGN_OR_RETURN(task.final_checkpoint, OptionalOf<CheckpointRef>(row, 26));
  const std::string devices = row.Text(18);
  const auto known_devices = FindEnum<DeviceChoice>(devices);
  if (!known_devices) {
    return Status(Code::kDataLoss, Str("its kind of device is \"", devices, "\""));
  }
  task.device_kind = *known_devices;
  return Status();
}

// For tasks that have succeeded, neither the cells nor their owners are read: there are as many as
// results. The cells of the others say who owes them.
Status LoadTasks(Connection& connection, State& state) {
  return ForEach(
      connection,
      "SELECT id, run_key, kind, state, cancel_wanted, reason, priority, ready_seq, retry_round,"
      " epoch, attempts, attempt, result_attempt, failures, losses, failures_max, losses_max, "
      "needs,"
      " device_kind, avoid_worker, evaluation,"
      " CASE state WHEN 'SUCCEEDED' THEN '[]' ELSE expected_cells END, checkpoint_every_ms,"
      " checkpoint_keep, checkpoints, best_checkpoint, final_checkpoint, activation_checkpointing,"
      " owner, stop_mode FROM task",
      [&](const Statement& row) -> Status {
        Task task;
        task.id = row.Text(0);
        task.run_key = row.Text(1);
        task.kind = row.Text(2) == "train" ? TaskKind::kTrain : TaskKind::kEvaluate;
        const Result<TaskState> known_state = StateOf<TaskState>(row.Text(3));
        task.state = known_state.ok() ? *known_state : TaskState::kReady;
        task.cancel_wanted = row.Int(4) != 0;
        task.reason = row.Text(5);
        task.priority = row.Int(6);
        task.ready_seq = row.Int(7);
        task.retry_round = row.Int(8);
        task.epoch = static_cast<std::uint64_t>(row.Int(9));
        task.attempts = row.Int(10);
        task.attempt = row.Text(11);
        task.result_attempt = row.Text(12);
        task.failures = row.Int(13);
        task.losses = row.Int(14);
        task.retry.failures_max = row.Int(15);
        task.retry.losses_max = row.Int(16);
        task.needs = row.Text(17);
        task.avoid_worker = row.Text(19);
        task.checkpoint_every_ms = row.Int(22);
        task.checkpoint_keep = row.Int(23);
        task.activation_checkpointing = row.Int(27) != 0;
        task.owner = row.Text(28);
        task.stop_mode = FindEnum<StopMode>(row.Text(29)).value_or(StopMode::kCheckpoint);
        if (const Status read = ReadSpecification(row, task); !read.ok()) {
          task.unknown = NotKnown(UnknownOfEvaluation(task.evaluation), "it", read);
          // Evaluations start from this training, so they are held back as well.
          const auto run = state.runs.find(task.run_key);
          if (task.kind == TaskKind::kTrain && run != state.runs.end()) {
            run->second.unknown = task.unknown;
          }
        }
        if (!known_state.ok()) task.unknown = NotKnown("", "it", known_state.status());
        for (const ExpectedCell& cell : task.expected_cells) state.cell_task[cell.cell] = task.id;
        state.next_ready_seq = std::max(state.next_ready_seq, task.ready_seq + 1);
        state.tasks[task.id] = std::move(task);
        return Status();
      });
}

Status LoadAttempts(Connection& connection, State& state) {
  ExecutionReader executions;
  return ForEach(
      connection,
      "SELECT id, task, n, epoch, state, worker, device_index, resume, durable_seq, failure_class,"
      " message, started_wall_ms, ended_wall_ms, end_stored, started_boot_ms, started_boot,"
      " ifnull(duration_ms, 0), duration_clock, execution, outlived,"
      " offered_boot_ms, offered_boot FROM attempt",
      [&](const Statement& row) -> Status {
        Attempt attempt;
        attempt.id = row.Text(0);
        attempt.task = row.Text(1);
        attempt.n = row.Int(2);
        attempt.epoch = static_cast<std::uint64_t>(row.Int(3));
        ASSIGN_OR_RETURN(attempt.state, StateOf<AttemptState>(row.Text(4)));
        attempt.worker = row.Text(5);
        attempt.device_index = row.Int(6);
        ASSIGN_OR_RETURN(attempt.resume, OptionalOf<CheckpointRef>(row, 7));
        attempt.durable_seq = row.Int(8);
        attempt.failure_class = row.Text(9);
        attempt.message = row.Text(10);
        attempt.started_wall_ms = row.Int(11);
        attempt.ended_wall_ms = row.Int(12);
        attempt.end_stored = row.Int(13) != 0;
        attempt.started_boot_ms = row.Int(14);
        attempt.started_boot = row.Text(15);
        attempt.duration_ms = row.Int(16);
        ASSIGN_OR_RETURN(attempt.duration_clock, StateOf<DurationClock>(row.Text(17)));
        if (!row.IsNull(18)) {
          ASSIGN_OR_RETURN(Execution execution, executions.Read(row.Text(18)));
          attempt.execution = std::make_shared<const Execution>(std::move(execution));
        }
        attempt.outlived = row.Int(19) != 0;
        attempt.offered_boot_ms = row.Int(20);
        attempt.offered_boot = row.Text(21);
        state.attempts[attempt.id] = std::move(attempt);
        return Status();
      });
}

// If a task's state could not be read but its newest attempt is live, the task takes the state that
// fits the attempt, so that the attempt's records can be applied.
void StateByAttempt(State& state, const Attempt& attempt) {
  const auto found = state.tasks.find(attempt.task);
  if (found == state.tasks.end() || found->second.attempt != attempt.id) return;
  Task& task = found->second;
  if (task.unknown.empty() || task.state != TaskState::kReady) return;
  task.state = attempt.state == AttemptState::kRunning ? TaskState::kRunning : TaskState::kReserved;
}

// Reads the records of an attempt, in the journal's order.
// Of a series record only the number and the time are kept.
Status NoteRecords(Connection& connection, Attempt& attempt) {
  ASSIGN_OR_RETURN(
      Statement row,
      connection.Prepare("SELECT seq, line, t_ms FROM record WHERE attempt = ?1"
                         " UNION ALL SELECT seq, line, t_ms FROM result WHERE attempt = ?1"
                         " UNION ALL SELECT seq, NULL, max(t_ms) FROM series WHERE attempt = ?1"
                         " GROUP BY seq"
                         " ORDER BY 1"));
  row.Bind(attempt.id);
  std::int64_t last_seq = 0;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, row.Step());
    const std::int64_t seq = more ? row.Int(0) : attempt.durable_seq + 1;
    if (seq > last_seq + 1) {
      attempt.unreadable = Str("the stored record ", last_seq + 1, " of attempt ", attempt.n,
                               " is damaged or missing");
      return Status();
    }
    if (!more) return Status();
    last_seq = seq;
    if (row.IsNull(1)) {
      JournalRecord series;
      series.seq = row.Int(0);
      series.kind = RecordKind::kSeries;
      series.t_ms = row.Int(2);
      NoteRecord(attempt, series, "");
      continue;
    }
    const std::string line = row.Text(1);
    const auto record = ParseJournalLine(line);
    if (!record.ok()) {
      attempt.unreadable = Str("the stored record ", row.Int(0), " of attempt ", attempt.n,
                               " cannot be read: ", record.status().message());
      return Status();
    }
    NoteRecord(attempt, *record, line);
  }
}

// Of an ended attempt whose journal may not be complete yet: reads the time from which the clock of
// its trainer counts, and not all of its records, which may be many.
Status NoteStarted(Connection& connection, Attempt& attempt) {
  ASSIGN_OR_RETURN(Statement row,
                   connection.Prepare("SELECT t_ms FROM record WHERE attempt = ? AND kind = ?"
                                      " ORDER BY seq LIMIT 1"));
  row.Bind(attempt.id).Bind(EnumName(RecordKind::kStarted));
  ASSIGN_OR_RETURN(const bool found, row.Step());
  // If the record is damaged, the time up to the first record that comes late does not count.
  attempt.recorded_wall_ms = found ? row.Int(0) : std::numeric_limits<std::int64_t>::max();
  attempt.recorded_run_ms = 0;
  return Status();
}

Result<Allocation> ReadAllocation(const std::string& text) {
  Allocation allocation;
  ASSIGN_OR_RETURN(const Json json, ParseJson(text));
  ASSIGN_OR_RETURN(allocation.job, GetString(json, "job"));
  if (json.contains("work_end_wall_ms")) {
    Deadline end;
    ASSIGN_OR_RETURN(end.boot_ms, GetInt(json, "work_end_boot_ms"));
    ASSIGN_OR_RETURN(end.boot, GetString(json, "work_end_boot"));
    ASSIGN_OR_RETURN(end.wall_ms, GetInt(json, "work_end_wall_ms"));
    allocation.work_end = end;
  }
  return allocation;
}

Status LoadWorkers(Connection& connection, State& state) {
  return ForEach(connection,
                 "SELECT id, incarnation, host, version, slots, dataset_digests, draining,"
                 " protocol, labels, drain_wanted, drain_boot_ms, drain_boot, drain_wall_ms,"
                 " quarantined, allocation, folder_id FROM worker",
                 [&](const Statement& row) -> Status {
                   Worker worker;
                   worker.id = row.Text(0);
                   worker.incarnation = row.Text(1);
                   worker.folder_id = row.Text(15);
                   worker.host = row.Text(2);
                   worker.version = row.Text(3);
                   ASSIGN_OR_RETURN(const Json slots, ParseJson(row.Text(4)));
                   for (const Json& json : slots) {
                     Slot slot;
                     ASSIGN_OR_RETURN(slot.index, GetInt(json, "index"));
                     ASSIGN_OR_RETURN(const std::string kind, GetString(json, "kind"));
                     const auto known_kind = FindEnum<DeviceKind>(kind);
                     // Such a slot fits no task. The worker lists its slots again when it connects.
                     if (!known_kind) continue;
                     slot.kind = *known_kind;
                     ASSIGN_OR_RETURN(slot.name, GetString(json, "name"));
                     ASSIGN_OR_RETURN(slot.memory_bytes, GetInt(json, "memory_bytes"));
                     ASSIGN_OR_RETURN(slot.threads, GetInt(json, "threads"));
                     ASSIGN_OR_RETURN(slot.simd, GetString(json, "simd"));
                     ASSIGN_OR_RETURN(slot.linear, GetString(json, "linear"));
                     if (json.contains("bf16")) {  // older rows do not have it
                       ASSIGN_OR_RETURN(slot.bf16, GetString(json, "bf16"));
                     }
                     if (json.contains("attention")) {  // nor this
                       ASSIGN_OR_RETURN(slot.attention, GetString(json, "attention"));
                     }
                     if (json.contains("operators")) {
                       ASSIGN_OR_RETURN(slot.operators, GetString(json, "operators"));
                     }
                     if (json.contains("head")) {
                       ASSIGN_OR_RETURN(slot.head, GetString(json, "head"));
                     }
                     worker.slots.push_back(std::move(slot));
                   }
                   ASSIGN_OR_RETURN(const Json digests, ParseJson(row.Text(5)));
                   for (const Json& digest : digests) {
                     worker.dataset_digests.insert(digest.get<std::string>());
                   }
                   worker.draining = row.Int(6) != 0;
                   worker.protocol = static_cast<int>(row.Int(7));
                   ASSIGN_OR_RETURN(const Json labels, ParseJson(row.Text(8)));
                   for (const auto& [key, value] : labels.items()) {
                     worker.labels[key] = value.get<std::string>();
                   }
                   if (row.Int(9) != 0) {
                     worker.drain.emplace();
                     if (!row.IsNull(10)) {
                       worker.drain->deadline = {
                           .boot_ms = row.Int(10), .boot = row.Text(11), .wall_ms = row.Int(12)};
                     }
                   }
                   ASSIGN_OR_RETURN(const Json quarantined, ParseJson(row.Text(13)));
                   for (const Json& json : quarantined) {
                     ASSIGN_OR_RETURN(const std::int64_t index, GetInt(json, "slot"));
                     Quarantine& quarantine = worker.quarantined[index];
                     ASSIGN_OR_RETURN(quarantine.reason, GetString(json, "reason"));
                     ASSIGN_OR_RETURN(quarantine.since_wall_ms, GetInt(json, "since_ms"));
                   }
                   if (!row.Text(14).empty()) {
                     ASSIGN_OR_RETURN(worker.allocation, ReadAllocation(row.Text(14)));
                   }
                   state.workers[worker.id] = std::move(worker);
                   return Status();
                 });
}

// Finds the executions of runs with damaged rows from the `started` records of their attempts.
Status FindExecutions(Connection& connection, State& state) {
  for (auto& [key, run] : state.runs) {
    if (!run.damaged) continue;
    ASSIGN_OR_RETURN(
        Statement row,
        connection.Prepare("SELECT record.line FROM task JOIN attempt ON attempt.task = task.id"
                           " JOIN record ON record.attempt = attempt.id"
                           " AND record.kind = 'started' WHERE task.run_key = ?"
                           " ORDER BY attempt.id LIMIT 1"));
    ASSIGN_OR_RETURN(const bool found, row.Bind(key).Step());
    if (!found) continue;
    const auto record = ParseJournalLine(row.Text(0));
    const auto* const started = record.ok() ? record->As<StartedRecord>() : nullptr;
    if (started != nullptr && started->execution) run.execution = started->execution;
  }
  return Status();
}

Result<std::optional<SweepOrder>> LoadOrder(Connection& connection) {
  ASSIGN_OR_RETURN(const std::optional<std::string> text, MetaValue(connection, kOrderKey));
  if (!text) return std::optional<SweepOrder>();
  ASSIGN_OR_RETURN(const Json json, ParseJson(*text));
  ASSIGN_OR_RETURN(const std::string kind, GetString(json, "kind"));
  ASSIGN_OR_RETURN(const std::string mode, GetString(json, "mode"));
  SweepOrder order;
  ASSIGN_OR_RETURN(order.sweep_id, GetString(json, "sweep"));
  const auto known_kind = FindEnum<OrderKind>(kind);
  const auto known_mode = FindEnum<StopMode>(mode);
  if (!known_kind || !known_mode) {
    return Status(Code::kDataLoss, Str("the database has an unfinished order of an unknown kind (",
                                       kind, ", ", mode, "): start the release that wrote it"));
  }
  order.kind = *known_kind;
  order.mode = *known_mode;
  return std::optional(std::move(order));
}

Status LoadSweeps(Connection& connection, State& state) {
  ASSIGN_OR_RETURN(const std::optional<std::string> submitting,
                   MetaValue(connection, kSubmittingKey));
  if (submitting) state.submitting = *submitting;
  ASSIGN_OR_RETURN(state.order, LoadOrder(connection));
  RETURN_IF_ERROR(ForEach(connection, "SELECT id, cancelled, paused, owner, name FROM sweep",
                          [&](const Statement& row) -> Status {
                            state.sweep_tasks[row.Text(0)];
                            state.sweep_owner[row.Text(0)] = row.Text(3);
                            state.sweep_name[row.Text(0)] = row.Text(4);
                            if (row.Int(1) != 0) state.cancelled_sweeps.insert(row.Text(0));
                            if (row.Int(2) != 0) state.paused_sweeps.insert(row.Text(0));
                            return Status();
                          }));
  RETURN_IF_ERROR(ForEach(connection, "SELECT sweep, run_key FROM sweep_run",
                          [&](const Statement& row) -> Status {
                            state.sweep_runs[row.Text(0)].insert(row.Text(1));
                            return Status();
                          }));
  return ForEach(connection, "SELECT sweep, task FROM sweep_task",
                 [&](const Statement& row) -> Status {
                   state.sweep_tasks[row.Text(0)].insert(row.Text(1));
                   return Status();
                 });
}

}  // namespace

Status Store::OpenReader() {
  if (reader_ != nullptr) return Status();
  ASSIGN_OR_RETURN(reader_, Connection::Open(database_path(), Connection::Mode::kRead));
  return Status();
}

// Ends attempts whose own row is damaged, or that of their task (`lost`): if they stayed live, they
// would block their task and their slot forever.
Status Store::EndDamagedAttempts(const std::vector<std::string>& lost) {
  RETURN_IF_ERROR(connection_->Execute("BEGIN IMMEDIATE"));
  const auto end = [&]() -> Status {
    for (const std::string& id : lost) {
      ASSIGN_OR_RETURN(Statement put,
                       connection_->Prepare("UPDATE attempt SET state = 'LOST', ended_wall_ms ="
                                            " max(ended_wall_ms, started_wall_ms), message ="
                                            " 'what is stored of its task is damaged' WHERE id = ?"
                                            " AND state IN ('OFFERED', 'ACCEPTED', 'RUNNING')"));
      RETURN_IF_ERROR(put.Bind(id).Run());
    }
    // These rows stay damaged, but their epochs become free.
    RETURN_IF_ERROR(
        connection_->Execute(Str("UPDATE attempt SET state = 'LOST', epoch = -rowid WHERE NOT ",
                                 RowSums::HoldsCall(connection_->row_sums().table("attempt")),
                                 " AND NOT (state = 'LOST' AND epoch < 0)")));
    return connection_->Execute("COMMIT");
  };
  Status status = end();
  if (!status.ok()) Rollback();
  return std::move(status).In("ending attempts whose rows are damaged");
}

Result<State> Store::Load() {
  State state;
  RETURN_IF_ERROR(OpenReader());
  ASSIGN_OR_RETURN(const std::int64_t restore_count,
                   connection_->ReadInt("SELECT value FROM meta WHERE key = 'restore_count'"));
  state.restore_count = static_cast<std::uint64_t>(restore_count);
  ASSIGN_OR_RETURN(const std::int64_t epoch_floor,
                   connection_->ReadInt(
                       "SELECT coalesce((SELECT value FROM meta WHERE key = 'epoch_floor'), 0)"));
  state.epoch_floor = static_cast<std::uint64_t>(epoch_floor);
  RETURN_IF_ERROR(LoadRuns(*reader_, state));
  RETURN_IF_ERROR(LoadTasks(*reader_, state));
  RETURN_IF_ERROR(LoadAttempts(*reader_, state));
  RETURN_IF_ERROR(LoadWorkers(*reader_, state));
  RETURN_IF_ERROR(LoadSweeps(*reader_, state));
  NoteDamaged(reader_->row_sums().TakeDamaged());
  // Even if no damaged row was found: a row can be lost with its page, or with an index entry.
  const Mended mended = MendReferences(state);
  NoteLost(mended.lost);
  if (!damaged().empty()) {
    RETURN_IF_ERROR(EndDamagedAttempts(mended.ended));
    RETURN_IF_ERROR(FindExecutions(*reader_, state));
  }
  for (auto& [id, attempt] : state.attempts) {
    if (!IsLive(attempt.state)) {
      const bool ran = attempt.duration_clock != DurationClock::kNone;
      if (ran && !attempt.end_stored) RETURN_IF_ERROR(NoteStarted(*reader_, attempt));
      continue;
    }
    StateByAttempt(state, attempt);
    RETURN_IF_ERROR(NoteRecords(*reader_, attempt));
  }
  for (auto& [id, task] : state.tasks) {
    if (!IsRefreshing(task)) continue;
    ASSIGN_OR_RETURN(task.earlier, ReadNumbers(*reader_, task.result_attempt));
  }
  NoteDamaged(reader_->row_sums().TakeDamaged());
  (void)sqlite3_db_release_memory(reader_->raw());  // everything was read once, for good
  return state;
}

Result<std::vector<DatasetRow>> Store::LoadDatasets() {
  std::vector<DatasetRow> datasets;
  RETURN_IF_ERROR(OpenReader());
  RETURN_IF_ERROR(ForEach(
      *reader_,
      "SELECT name, digest, folder, tokenizer, vocab_size, split_tokens, n_tokens, mask_token,"
      " owner, owner_bytes, bytes FROM dataset ORDER BY name",
      [&](const Statement& row) -> Status {
        DatasetRow dataset;
        dataset.info.name = row.Text(0);
        dataset.info.digest = row.Text(1);
        dataset.folder =
            CurrentDatasetFolder(folder_, dataset.info.name, dataset.info.digest, row.Text(2));
        dataset.info.tokenizer_fingerprint = row.Text(3);
        dataset.info.vocab_size = row.Int(4);
        ASSIGN_OR_RETURN(const Json splits, ParseJson(row.Text(5)));
        for (const auto& [split, n_tokens] : splits.items()) {
          dataset.info.split_tokens[split] = n_tokens.get<std::int64_t>();
        }
        dataset.info.n_tokens = row.Int(6);
        dataset.info.mask_token = row.Int(7);
        dataset.owner = row.Text(8);
        dataset.owner_bytes = row.Int(9);
        dataset.n_bytes = row.Int(10);
        datasets.push_back(std::move(dataset));
        return Status();
      }));
  NoteDamaged(reader_->row_sums().TakeDamaged());
  return datasets;
}

Result<std::vector<ModelRow>> Store::LoadModels() {
  std::vector<ModelRow> models;
  RETURN_IF_ERROR(OpenReader());
  RETURN_IF_ERROR(ForEach(*reader_,
                          "SELECT name, digest, config, source, bytes, imported_wall_ms,"
                          " owner FROM model ORDER BY name",
                          [&](const Statement& row) -> Status {
                            models.push_back({.name = row.Text(0),
                                              .digest = row.Text(1),
                                              .config_json = row.Text(2),
                                              .source = row.Text(3),
                                              .n_bytes = row.Int(4),
                                              .imported_wall_ms = row.Int(5),
                                              .owner = row.Text(6)});
                            return Status();
                          }));
  NoteDamaged(reader_->row_sums().TakeDamaged());
  return models;
}

}  // namespace longrun::coordinator
