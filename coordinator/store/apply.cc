// The scheduler's writes as SQL. Journal records are in apply_records.cc.
#include <algorithm>
#include <optional>
#include <set>

#include "base/check.h"
#include "base/hash.h"
#include "base/str.h"
#include "base/utf8.h"
#include "coordinator/store/dataset_folder.h"
#include "coordinator/store/meta.h"
#include "coordinator/store/rewritten.h"
#include "coordinator/store/sqlite.h"
#include "coordinator/store/store.h"

namespace longrun::coordinator {
namespace {

using Text = std::optional<std::string>;

template <typename T>
std::string ListJson(const std::vector<T>& items) {
  Json list = Json::array();
  for (const T& item : items) list.push_back(item.ToJson());
  return CanonicalJson(list);
}

std::string CellsJson(const std::vector<ExpectedCell>& cells) {
  Json list = Json::array();
  for (const ExpectedCell& cell : cells) list.push_back(cell.ToStoredJson());
  return CanonicalJson(list);
}

std::optional<std::string> OptionalJson(const std::optional<CheckpointRef>& reference) {
  if (!reference) return {};
  return CanonicalJson(reference->ToJson());
}

std::set<std::string> TablesOf(const std::vector<DamagedRow>& rows) {
  std::set<std::string> tables;
  for (const DamagedRow& row : rows) tables.insert(row.table);
  return tables;
}

std::string AllocationJson(const std::optional<Allocation>& allocation) {
  if (!allocation) return "";
  Json json = {{"job", allocation->job}};
  if (const std::optional<Deadline>& end = allocation->work_end) {
    json["work_end_boot_ms"] = end->boot_ms;
    json["work_end_boot"] = end->boot;
    json["work_end_wall_ms"] = end->wall_ms;
  }
  return CanonicalJson(json);
}

}  // namespace

std::string SweepDigest(const Sweep& sweep) {
  Json asked = {{"name", sweep.name},
                {"labels", sweep.labels},
                {"axes", sweep.axes},
                {"devices", sweep.devices},
                {"device_kind", sweep.device_kind},
                {"failures_max", sweep.retry.failures_max},
                {"losses_max", sweep.retry.losses_max},
                {"priority", sweep.priority},
                {"checkpoint_every_ms", sweep.checkpoint_every_ms},
                {"checkpoint_keep", sweep.checkpoint_keep}};
  // Older databases have sweeps without these keys.
  if (sweep.export_to == kExportPrometheus) asked["export"] = sweep.export_to;
  if (sweep.activation_checkpointing) asked["activation_checkpointing"] = true;
  // The member "runs" is last, and grows with the sweep: hashed run by run, it needs no memory.
  std::string text = CanonicalJson(asked);
  text.pop_back();
  text += ",\"runs\":[";
  Sha256 digest;
  for (const PlannedRun& run : sweep.runs) {
    Json cells = Json::array();
    for (const PlannedEvaluation& evaluation : run.evaluations) {
      for (const ExpectedCell& cell : evaluation.cells) cells.push_back(cell.ToJson());
    }
    if (&run != &sweep.runs.front()) text += ',';
    StrAppend(text, Str("{\"axes\":", CanonicalJson(run.axes), ",\"cells\":", CanonicalJson(cells),
                        ",\"dataset\":", CanonicalJson(run.dataset_name), ",\"run_key\":\"",
                        run.run_key, "\"}"));
    digest.Update(text);
    text.clear();
  }
  digest.Update(Str(text, "]}"));
  return digest.FinishHex();
}

SweepTexts TextsOf(const Sweep& sweep, const std::set<std::string>& known_runs) {
  SweepTexts texts{.digest = SweepDigest(sweep)};
  texts.run_json.reserve(sweep.runs.size());
  texts.axes_json.reserve(sweep.runs.size());
  for (const PlannedRun& run : sweep.runs) {
    texts.run_json.push_back(known_runs.contains(run.run_key) ? ""
                                                              : CanonicalJson(run.run.ToJson()));
    texts.axes_json.push_back(CanonicalJson(run.axes));
  }
  return texts;
}

Status Store::Apply(std::span<const Write> writes, std::int64_t wall_ms, ApplyCounts& counts) {
  // An attempt that ends must leave the unique indexes before another takes its place.
  const auto ends_attempt = [](const Write& write) {
    const auto* put = std::get_if<PutAttempt>(&write);
    return put != nullptr && !IsLive(put->attempt.state);
  };
  for (const bool ending : {true, false}) {
    for (const Write& write : writes) {
      if (ends_attempt(write) != ending) continue;
      RETURN_IF_ERROR(
          std::visit([&](const auto& put) { return ApplyOne(put, wall_ms, counts); }, write));
    }
  }
  const auto submits = [](const Write& write) {
    return std::holds_alternative<PutSweep>(write) || std::holds_alternative<PutSweepRuns>(write);
  };
  if (std::ranges::none_of(writes, submits)) return Status();
  return DropDisplaced(*connection_, TablesOf(damaged()));
}

Status Store::ApplyOne(const PutSweep& write, std::int64_t wall_ms, ApplyCounts&) {
  const Sweep& sweep = write.sweep;
  Json overrides = Json::array();
  for (const auto& [path, value] : sweep.overrides) overrides.push_back({path, value});
  const std::string digest = write.texts.digest.empty() ? SweepDigest(sweep) : write.texts.digest;
  const std::string overrides_json = CanonicalJson(overrides);
  const std::string labels_json = CanonicalJson(Json(sweep.labels));
  const std::string axes_json = CanonicalJson(Json(sweep.axes));
  std::string note;
  if (TablesOf(damaged()).contains("sweep")) {
    ASSIGN_OR_RETURN(note, NoteOfDamaged(*connection_, write.sweep_id,
                                         {{"name", sweep.name},
                                          {"digest", digest},
                                          {"yaml", sweep.yaml},
                                          {"file_name", sweep.file_name},
                                          {"overrides", overrides_json},
                                          {"labels", labels_json},
                                          {"axes", axes_json}}));
  }
  RETURN_IF_ERROR(DropIfDamaged("sweep", write.sweep_id));
  // A sweep that is submitted again becomes the newest of its name, and is no longer cancelled or
  // paused. It stays its owner's.
  ASSIGN_OR_RETURN(
      Statement put,
      connection_->Prepare(
          "INSERT INTO sweep (id, name, digest, submitted_seq, submitted_wall_ms, cancelled, yaml,"
          " file_name, overrides, labels, axes, note, owner)"
          " VALUES (?, ?, ?, (SELECT ifnull(max(submitted_seq), 0) + 1 FROM sweep), ?, 0, ?, ?, ?,"
          " ?, ?, ?, ?)"
          " ON CONFLICT (id) DO UPDATE SET digest = excluded.digest,"
          " submitted_seq = excluded.submitted_seq, submitted_wall_ms = excluded.submitted_wall_ms,"
          " cancelled = 0, paused = 0, yaml = excluded.yaml, file_name = excluded.file_name,"
          " overrides = excluded.overrides, labels = excluded.labels, axes = excluded.axes"));
  RETURN_IF_ERROR(put.Bind(write.sweep_id)
                      .Bind(sweep.name)
                      .Bind(digest)
                      .Bind(wall_ms)
                      .Bind(sweep.yaml)
                      .Bind(sweep.file_name)
                      .Bind(overrides_json)
                      .Bind(labels_json)
                      .Bind(axes_json)
                      .Bind(note)
                      .Bind(write.owner)
                      .Run());
  ASSIGN_OR_RETURN(const bool has_members, HasMembers(write));
  if (has_members) return Status();
  for (const char* clear :
       {"DELETE FROM sweep_run WHERE sweep = ?", "DELETE FROM sweep_cell WHERE sweep = ?",
        "DELETE FROM sweep_task WHERE sweep = ?"}) {
    ASSIGN_OR_RETURN(Statement statement, connection_->Prepare(clear));
    RETURN_IF_ERROR(statement.Bind(write.sweep_id).Run());
  }
  return AddMembers(write.sweep_id, 0, sweep.runs, write.texts.axes_json, write.tasks);
}

Status Store::ApplyOne(const PutSweepRuns& write, std::int64_t, ApplyCounts&) {
  return AddMembers(write.sweep_id, write.first_run, write.runs, write.axes_json, write.tasks);
}

Status Store::ApplyOne(const PutSubmitting& write, std::int64_t, ApplyCounts&) {
  return write.sweep_id.empty() ? DropMeta(*connection_, kSubmittingKey)
                                : PutMeta(*connection_, kSubmittingKey, write.sweep_id);
}

Status Store::ApplyOne(const PutOrder& write, std::int64_t, ApplyCounts&) {
  if (!write.order) return DropMeta(*connection_, kOrderKey);
  const Json order = {{"kind", EnumName(write.order->kind)},
                      {"sweep", write.order->sweep_id},
                      {"mode", EnumName(write.order->mode)}};
  return PutMeta(*connection_, kOrderKey, CanonicalJson(order));
}

Status Store::AddMembers(const std::string& sweep_id, std::int64_t first_run,
                         std::span<const PlannedRun> runs, std::span<const std::string> axes_json,
                         std::span<const std::string> tasks) {
  std::int64_t ordinal = first_run;
  for (const PlannedRun& run : runs) {
    const auto i = static_cast<std::size_t>(ordinal - first_run);
    const std::string axes = i < axes_json.size() ? axes_json[i] : CanonicalJson(run.axes);
    {
      ASSIGN_OR_RETURN(Statement statement,
                       connection_->Prepare("INSERT INTO sweep_run (sweep, ordinal, run_key, axes)"
                                            " VALUES (?, ?, ?, ?)"));
      RETURN_IF_ERROR(statement.Bind(sweep_id).Bind(ordinal).Bind(run.run_key).Bind(axes).Run());
    }
    for (const PlannedEvaluation& evaluation : run.evaluations) {
      for (const ExpectedCell& cell : evaluation.cells) {
        // Variants of one cell (the model, a baseline) share its name.
        ASSIGN_OR_RETURN(Statement statement,
                         connection_->Prepare("INSERT OR IGNORE INTO sweep_cell"
                                              " (sweep, ordinal, cell) VALUES (?, ?, ?)"));
        RETURN_IF_ERROR(statement.Bind(sweep_id).Bind(ordinal).Bind(cell.cell).Run());
      }
    }
    ++ordinal;
  }
  for (const std::string& task : tasks) {
    ASSIGN_OR_RETURN(Statement statement,
                     connection_->Prepare("INSERT INTO sweep_task (sweep, task) VALUES (?, ?)"));
    RETURN_IF_ERROR(statement.Bind(sweep_id).Bind(task).Run());
  }
  return Status();
}

// Whether all rows of the sweep's runs, cells and tasks are stored as they would be written: if a
// large sweep is submitted again unchanged, writing them would cost more than everything else.
Result<bool> Store::HasMembers(const PutSweep& write) {
  if (!damaged().empty()) return false;
  using Row = std::pair<std::int64_t, std::string>;
  const auto stored = [&](const char* table, const char* columns) -> Result<std::vector<Row>> {
    ASSIGN_OR_RETURN(
        Statement row,
        connection_->PrepareOnce(Str("SELECT ", columns, " FROM ", table, " WHERE sweep = ? AND ",
                                     RowSums::HoldsCall(connection_->row_sums().table(table)),
                                     " ORDER BY 1, 2")));
    row.Bind(write.sweep_id);
    std::vector<Row> rows;
    while (true) {
      ASSIGN_OR_RETURN(const bool more, row.Step());
      if (!more) return rows;
      rows.emplace_back(row.Int(0), row.Text(1));
    }
  };
  std::vector<Row> runs, cells, tasks;
  for (const PlannedRun& run : write.sweep.runs) {
    const auto ordinal = static_cast<std::int64_t>(runs.size());
    const auto i = runs.size();
    runs.emplace_back(ordinal,
                      Str(run.run_key, i < write.texts.axes_json.size() ? write.texts.axes_json[i]
                                                                        : CanonicalJson(run.axes)));
    for (const PlannedEvaluation& evaluation : run.evaluations) {
      for (const ExpectedCell& cell : evaluation.cells) cells.emplace_back(ordinal, cell.cell);
    }
  }
  for (const std::string& task : write.tasks) tasks.emplace_back(0, task);
  for (std::vector<Row>* rows : {&cells, &tasks}) {
    std::ranges::sort(*rows);
    rows->erase(std::unique(rows->begin(), rows->end()), rows->end());
  }
  ASSIGN_OR_RETURN(const std::vector<Row> stored_runs,
                   stored("sweep_run", "ordinal, run_key || axes"));
  if (stored_runs != runs) return false;
  ASSIGN_OR_RETURN(const std::vector<Row> stored_tasks, stored("sweep_task", "0, task"));
  if (stored_tasks != tasks) return false;
  ASSIGN_OR_RETURN(const std::vector<Row> stored_cells, stored("sweep_cell", "ordinal, cell"));
  return stored_cells == cells;
}

Status Store::ApplyOne(const PutSweepDesired& write, std::int64_t, ApplyCounts&) {
  ASSIGN_OR_RETURN(Statement statement,
                   connection_->Prepare("UPDATE sweep SET cancelled = ?, paused = ? WHERE id = ?"));
  return statement.Bind(write.desired == Desired::kCancelled)
      .Bind(write.desired == Desired::kPaused)
      .Bind(write.sweep_id)
      .Run();
}

Status Store::ApplyOne(const PutRun& write, std::int64_t, ApplyCounts&) {
  const RunRecord& record = write.run;
  const std::string run =
      write.run_json.empty() ? CanonicalJson(record.run.ToJson()) : write.run_json;
  Text execution;
  if (record.execution) execution = CanonicalJson(record.execution->ToJson());
  RETURN_IF_ERROR(DropIfDamaged("run", record.run_key));
  ASSIGN_OR_RETURN(
      Statement statement,
      connection_->Prepare(
          "INSERT INTO run (run_key, run, position, train_length, seed, dataset_name,"
          " dataset_digest, dataset_path, execution) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
          " ON CONFLICT (run_key) DO UPDATE SET dataset_name = excluded.dataset_name,"
          " dataset_path = excluded.dataset_path, execution = excluded.execution"));
  return statement.Bind(record.run_key)
      .Bind(run)
      .Bind(record.run.model.position.method)
      .Bind(record.run.train.train_length)
      .Bind(record.run.seed)
      .Bind(record.dataset_name)
      .Bind(record.run.dataset_digest)
      .Bind(record.dataset_path)
      .Bind(execution)
      .Run();
}

// Does not overwrite what this build cannot read of a task: another build may read it.
Status Store::PutUnknownTask(const Task& task) {
  ASSIGN_OR_RETURN(
      Statement statement,
      connection_->Prepare("UPDATE task SET state = ?, cancel_wanted = ?, reason = ?, priority = ?,"
                           " ready_seq = ?, retry_round = ?, epoch = ?, attempts = ?, attempt = ?,"
                           " result_attempt = ?, failures = ?, losses = ?, avoid_worker = ?,"
                           " stop_mode = ? WHERE id = ?"));
  return statement.Bind(EnumName(task.state))
      .Bind(task.cancel_wanted)
      .Bind(task.reason)
      .Bind(task.priority)
      .Bind(task.ready_seq)
      .Bind(task.retry_round)
      .Bind(static_cast<std::int64_t>(task.epoch))
      .Bind(task.attempts)
      .Bind(task.attempt)
      .Bind(task.result_attempt)
      .Bind(task.failures)
      .Bind(task.losses)
      .Bind(task.avoid_worker)
      .Bind(EnumName(task.stop_mode))
      .Bind(task.id)
      .Run();
}

Status Store::ApplyOne(const PutTask& write, std::int64_t, ApplyCounts&) {
  const Task& task = write.task;
  if (!task.unknown.empty()) return PutUnknownTask(task);
  Text evaluation;
  if (!task.evaluation.is_null()) evaluation = CanonicalJson(task.evaluation);
  // After its success its cells are not in the state, so the row cannot be restored from here.
  const bool is_whole = task.kind == TaskKind::kTrain || !task.expected_cells.empty();
  if (is_whole) RETURN_IF_ERROR(DropIfDamaged("task", task.id));
  const std::string expected_cells = CellsJson(task.expected_cells);
  const std::string checkpoints = ListJson(task.checkpoints);
  const Text best_checkpoint = OptionalJson(task.best_checkpoint);
  const Text final_checkpoint = OptionalJson(task.final_checkpoint);
  ASSIGN_OR_RETURN(
      Statement statement,
      connection_->Prepare(
          "INSERT INTO task (id, run_key, kind, state, cancel_wanted, reason, priority, ready_seq,"
          " retry_round, epoch, attempts, attempt, result_attempt, failures, losses, failures_max,"
          " losses_max, needs, device_kind, avoid_worker, evaluation, expected_cells,"
          " checkpoint_every_ms, checkpoint_keep, checkpoints, best_checkpoint, final_checkpoint,"
          " activation_checkpointing, stop_mode, owner)"
          " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, "
          "?, ?, ?, ?)"
          " ON CONFLICT (id) DO UPDATE SET state = excluded.state,"
          " cancel_wanted = excluded.cancel_wanted, reason = excluded.reason,"
          " priority = excluded.priority, ready_seq = excluded.ready_seq,"
          " retry_round = excluded.retry_round, epoch = excluded.epoch,"
          " attempts = excluded.attempts, attempt = excluded.attempt,"
          " result_attempt = excluded.result_attempt, failures = excluded.failures,"
          " losses = excluded.losses, failures_max = excluded.failures_max,"
          " losses_max = excluded.losses_max, needs = excluded.needs,"
          " device_kind = excluded.device_kind, avoid_worker = excluded.avoid_worker,"
          // Not expected_cells: a task's id depends on them, and after its success they are no
          // longer in the state.
          " evaluation = excluded.evaluation,"
          " checkpoint_every_ms = excluded.checkpoint_every_ms,"
          " checkpoint_keep = excluded.checkpoint_keep, checkpoints = excluded.checkpoints,"
          " best_checkpoint = excluded.best_checkpoint,"
          " final_checkpoint = excluded.final_checkpoint,"
          " activation_checkpointing = excluded.activation_checkpointing,"
          " stop_mode = excluded.stop_mode"));
  return statement.Bind(task.id)
      .Bind(task.run_key)
      .Bind(EnumName(task.kind))
      .Bind(EnumName(task.state))
      .Bind(task.cancel_wanted)
      .Bind(task.reason)
      .Bind(task.priority)
      .Bind(task.ready_seq)
      .Bind(task.retry_round)
      .Bind(static_cast<std::int64_t>(task.epoch))
      .Bind(task.attempts)
      .Bind(task.attempt)
      .Bind(task.result_attempt)
      .Bind(task.failures)
      .Bind(task.losses)
      .Bind(task.retry.failures_max)
      .Bind(task.retry.losses_max)
      .Bind(task.needs)
      .Bind(EnumName(task.device_kind))
      .Bind(task.avoid_worker)
      .Bind(evaluation)
      .Bind(expected_cells)
      .Bind(task.checkpoint_every_ms)
      .Bind(task.checkpoint_keep)
      .Bind(checkpoints)
      .Bind(best_checkpoint)
      .Bind(final_checkpoint)
      .Bind(task.activation_checkpointing)
      .Bind(EnumName(task.stop_mode))
      .Bind(task.owner)
      .Run();
}

Status Store::ApplyOne(const PutAttempt& write, std::int64_t, ApplyCounts&) {
  const Attempt& attempt = write.attempt;
  const Text resume = OptionalJson(attempt.resume);
  Text execution;
  if (attempt.execution != nullptr) execution = CanonicalJson(attempt.execution->ToJson());
  RETURN_IF_ERROR(DropIfDamaged("attempt", attempt.id));
  ASSIGN_OR_RETURN(
      Statement statement,
      connection_->Prepare(
          "INSERT INTO attempt (id, task, n, epoch, state, worker, device_index, resume,"
          " resume_attempt, resume_step, durable_seq, failure_class, message, started_wall_ms,"
          " ended_wall_ms, end_stored, outlived, started_boot_ms, started_boot, offered_boot_ms,"
          " offered_boot, execution, duration_ms, duration_clock)"
          " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
          " ON CONFLICT (id) DO UPDATE SET state = excluded.state, worker = excluded.worker,"
          " device_index = excluded.device_index, resume = excluded.resume,"
          " resume_attempt = excluded.resume_attempt, resume_step = excluded.resume_step,"
          " durable_seq = excluded.durable_seq,"
          " failure_class = excluded.failure_class, message = excluded.message,"
          " started_wall_ms = excluded.started_wall_ms, ended_wall_ms = excluded.ended_wall_ms,"
          " end_stored = excluded.end_stored, outlived = excluded.outlived,"
          " started_boot_ms = excluded.started_boot_ms,"
          " started_boot = excluded.started_boot, execution = excluded.execution,"
          " duration_ms = excluded.duration_ms, duration_clock = excluded.duration_clock"));
  statement.Bind(attempt.id)
      .Bind(attempt.task)
      .Bind(attempt.n)
      .Bind(static_cast<std::int64_t>(attempt.epoch))
      .Bind(EnumName(attempt.state))
      .Bind(attempt.worker)
      .Bind(attempt.device_index)
      .Bind(resume);
  if (attempt.resume) {
    statement.Bind(attempt.resume->attempt).Bind(attempt.resume->step);
  } else {
    statement.BindNull().BindNull();
  }
  statement.Bind(attempt.durable_seq)
      .Bind(attempt.failure_class)
      .Bind(attempt.message)
      .Bind(attempt.started_wall_ms)
      .Bind(attempt.ended_wall_ms)
      .Bind(attempt.end_stored)
      .Bind(attempt.outlived)
      .Bind(attempt.started_boot_ms)
      .Bind(attempt.started_boot)
      .Bind(attempt.offered_boot_ms)
      .Bind(attempt.offered_boot)
      .Bind(execution);
  if (attempt.duration_clock == DurationClock::kNone) {
    statement.BindNull();
  } else {
    statement.Bind(attempt.duration_ms);
  }
  return statement.Bind(EnumName(attempt.duration_clock)).Run();
}

Status Store::ApplyOne(const PutWorker& write, std::int64_t, ApplyCounts&) {
  Json slots = Json::array();
  for (const Slot& slot : write.worker.slots) {
    slots.push_back({{"index", slot.index},
                     {"kind", slot.kind},
                     {"name", slot.name},
                     {"memory_bytes", slot.memory_bytes},
                     {"threads", slot.threads},
                     {"simd", slot.simd},
                     {"linear", slot.linear},
                     {"bf16", slot.bf16},
                     {"attention", slot.attention},
                     {"operators", slot.operators},
                     {"head", slot.head}});
  }
  const std::string slots_json = CanonicalJson(slots);
  const std::string digests_json = CanonicalJson(Json(write.worker.dataset_digests));
  const std::string labels_json = CanonicalJson(Json(write.worker.labels));
  const std::string allocation_json = AllocationJson(write.worker.allocation);
  ASSIGN_OR_RETURN(
      Statement statement,
      connection_->Prepare("INSERT OR REPLACE INTO worker (id, incarnation, host, version, slots,"
                           " dataset_digests, draining, protocol, labels, drain_wanted,"
                           " drain_boot_ms, drain_boot, drain_wall_ms, quarantined, allocation,"
                           " folder_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"));
  statement.Bind(write.worker.id)
      .Bind(write.worker.incarnation)
      .Bind(write.worker.host)
      .Bind(write.worker.version)
      .Bind(slots_json)
      .Bind(digests_json)
      .Bind(write.worker.draining)
      .Bind(std::int64_t{write.worker.protocol})
      .Bind(labels_json)
      .Bind(write.worker.drain.has_value());
  const std::optional<Deadline> deadline =
      write.worker.drain ? write.worker.drain->deadline : std::nullopt;
  if (deadline) {
    statement.Bind(deadline->boot_ms).Bind(deadline->boot).Bind(deadline->wall_ms);
  } else {
    statement.BindNull().Bind(std::string_view()).BindNull();
  }
  Json quarantined = Json::array();
  for (const auto& [index, quarantine] : write.worker.quarantined) {
    quarantined.push_back(
        {{"slot", index}, {"reason", quarantine.reason}, {"since_ms", quarantine.since_wall_ms}});
  }
  const std::string quarantined_json = CanonicalJson(quarantined);
  return statement.Bind(quarantined_json).Bind(allocation_json).Bind(write.worker.folder_id).Run();
}

Status Store::ApplyOne(const PutCell& write, std::int64_t, ApplyCounts&) {
  RETURN_IF_ERROR(DropIfDamaged("cell", write.cell));
  ASSIGN_OR_RETURN(Statement statement,
                   connection_->Prepare("INSERT INTO cell (cell, task) VALUES (?, ?)"
                                        " ON CONFLICT (cell) DO UPDATE SET task = excluded.task"));
  return statement.Bind(write.cell).Bind(write.task).Run();
}

Status Store::ApplyOne(const PutTransition& write, std::int64_t wall_ms, ApplyCounts&) {
  ASSIGN_OR_RETURN(Statement statement,
                   connection_->Prepare(
                       "INSERT INTO transition (wall_ms, subject, id, from_state, to_state, reason)"
                       " VALUES (?, ?, ?, ?, ?, ?)"));
  return statement.Bind(wall_ms)
      .Bind(write.subject)
      .Bind(write.id)
      .Bind(write.from)
      .Bind(write.to)
      .Bind(write.reason)
      .Run();
}

Status Store::ApplyOne(const DropCheckpoint& write, std::int64_t, ApplyCounts& counts) {
  {
    ASSIGN_OR_RETURN(Statement statement,
                     connection_->Prepare("DELETE FROM checkpoint WHERE task = ? AND sha256 = ?"));
    RETURN_IF_ERROR(statement.Bind(write.task).Bind(write.sha256).Run());
  }
  return DropCheckpointFilesIfUnused(write.sha256, counts);
}

Status Store::DropCheckpointFilesIfUnused(const std::string& sha256, ApplyCounts& counts) {
  {
    ASSIGN_OR_RETURN(Statement statement,
                     connection_->Prepare("SELECT 1 FROM checkpoint WHERE sha256 = ? LIMIT 1"));
    ASSIGN_OR_RETURN(const bool used, statement.Bind(sha256).Step());
    if (used) return Status();  // by another task with the same bytes
  }
  return DropCheckpointFiles(sha256, counts);
}

Status Store::DropIfDamaged(const std::string& table, const std::string& key) {
  std::string& sql = drop_if_damaged_[table];
  if (sql.empty()) {
    const SummedTable& summed = connection_->row_sums().table(table);
    sql = Str("DELETE FROM ", table, " WHERE ", summed.key.front(), " = ? AND NOT ",
              RowSums::HoldsCall(summed));
  }
  ASSIGN_OR_RETURN(Statement statement, connection_->Prepare(sql.c_str()));
  return statement.Bind(key).Run();
}

Result<bool> Store::HasSound(const std::string& table, const std::string& key) {
  const SummedTable& summed = connection_->row_sums().table(table);
  ASSIGN_OR_RETURN(Statement statement, connection_->PrepareOnce(Str(
                                            "SELECT 1 FROM ", table, " WHERE ", summed.key.front(),
                                            " = ? AND ", RowSums::HoldsCall(summed))));
  return statement.Bind(key).Step();
}

Status Store::RunEach(std::span<const char* const> statements, const std::string& bound) {
  for (const char* const sql : statements) {
    ASSIGN_OR_RETURN(Statement statement, connection_->Prepare(sql));
    RETURN_IF_ERROR(statement.Bind(bound).Run().In(sql));
  }
  return Status();
}

Result<std::vector<std::string>> Store::Texts(const char* sql, const std::string& bound) {
  ASSIGN_OR_RETURN(Statement statement, connection_->Prepare(sql));
  statement.Bind(bound);
  std::vector<std::string> texts;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, statement.Step());
    if (!more) return texts;
    texts.push_back(statement.Text(0));
  }
}

Status Store::ApplyOne(const DropSweep& write, std::int64_t, ApplyCounts&) {
  constexpr const char* kStatements[] = {
      "DELETE FROM sweep_task WHERE sweep = ?", "DELETE FROM sweep_cell WHERE sweep = ?",
      "DELETE FROM sweep_label WHERE sweep = ?", "DELETE FROM sweep_run WHERE sweep = ?",
      "DELETE FROM sweep WHERE id = ?"};
  return RunEach(kStatements, write.sweep_id);
}

// Thousands are dropped at once: one statement for all costs a fraction of one for each.
Status Store::ApplyOne(const DropTasks& write, std::int64_t, ApplyCounts& counts) {
  const std::string tasks = CanonicalJson(Json(write.tasks));
  ASSIGN_OR_RETURN(const std::vector<std::string> checkpoints,
                   Texts("SELECT DISTINCT sha256 FROM checkpoint"
                         " WHERE task IN (SELECT value FROM json_each(?))",
                         tasks));
  ASSIGN_OR_RETURN(const std::vector<std::string> attempt_ids,
                   Texts("SELECT id FROM attempt WHERE task IN (SELECT value FROM json_each(?))"
                         " ORDER BY id",
                         tasks));
  const std::string attempts = CanonicalJson(Json(attempt_ids));
  ASSIGN_OR_RETURN(const std::vector<std::string> artifacts,
                   Texts("SELECT sha256 FROM artifact"
                         " WHERE attempt IN (SELECT value FROM json_each(?))",
                         attempts));
  counts.dropped.insert(counts.dropped.end(), artifacts.begin(), artifacts.end());
  constexpr const char* kOfAttempts[] = {
      "DELETE FROM artifact WHERE attempt IN (SELECT value FROM json_each(?))",
      "DELETE FROM series WHERE attempt IN (SELECT value FROM json_each(?))",
      "DELETE FROM result WHERE attempt IN (SELECT value FROM json_each(?))",
      "DELETE FROM record WHERE attempt IN (SELECT value FROM json_each(?))",
      "DELETE FROM transition WHERE id IN (SELECT value FROM json_each(?))"};
  RETURN_IF_ERROR(RunEach(kOfAttempts, attempts));
  constexpr const char* kOfTasks[] = {
      "INSERT INTO meta (key, value) SELECT 'epoch_floor', max(epoch) FROM task"
      " WHERE id IN (SELECT value FROM json_each(?)) HAVING count(*) > 0"
      " ON CONFLICT (key) DO UPDATE"
      " SET value = max(CAST(value AS INTEGER), CAST(excluded.value AS INTEGER))",
      "DELETE FROM checkpoint WHERE task IN (SELECT value FROM json_each(?))",
      "DELETE FROM transition WHERE id IN (SELECT value FROM json_each(?))",
      "DELETE FROM attempt WHERE task IN (SELECT value FROM json_each(?))",
      "DELETE FROM cell WHERE task IN (SELECT value FROM json_each(?))",
      "DELETE FROM task WHERE id IN (SELECT value FROM json_each(?))"};
  RETURN_IF_ERROR(RunEach(kOfTasks, tasks));
  for (const std::string& sha256 : checkpoints) {
    RETURN_IF_ERROR(DropCheckpointFilesIfUnused(sha256, counts));
  }
  return Status();
}

Status Store::ApplyOne(const DropWorker& write, std::int64_t, ApplyCounts&) {
  ASSIGN_OR_RETURN(Statement statement, connection_->Prepare("DELETE FROM worker WHERE id = ?"));
  return statement.Bind(write.worker).Run();
}

Status Store::ApplyOne(const DropRuns& write, std::int64_t, ApplyCounts& counts) {
  const std::string run_keys = CanonicalJson(Json(write.run_keys));
  // Most runs do not start from a model; this finds out without parsing them.
  ASSIGN_OR_RETURN(const std::vector<std::string> models,
                   Texts("SELECT DISTINCT json_extract(run, '$.init.sha256') FROM run"
                         " WHERE run_key IN (SELECT value FROM json_each(?))"
                         " AND CASE WHEN instr(run, '\"init\"') > 0 AND json_valid(run)"
                         " THEN json_extract(run, '$.init.sha256') IS NOT NULL ELSE FALSE END",
                         run_keys));
  constexpr const char* kStatements[] = {
      "DELETE FROM run WHERE run_key IN (SELECT value FROM json_each(?))"
      " AND NOT EXISTS (SELECT 1 FROM sweep_run WHERE sweep_run.run_key = run.run_key)"};
  RETURN_IF_ERROR(RunEach(kStatements, run_keys));
  for (const std::string& digest : models) {
    ASSIGN_OR_RETURN(const bool is_used, IsModelUsed(digest));
    if (!is_used) RETURN_IF_ERROR(DropCheckpointFiles(digest, counts));
  }
  return Status();
}

Status Store::ApplyOne(const DropDamagedResults& write, std::int64_t, ApplyCounts&) {
  return DropIfDamaged("result", write.attempt);
}

// Whether another name or a run that starts from it uses the model; a damaged run may use any.
Result<bool> Store::IsModelUsed(const std::string& digest, const std::string& except_name) {
  if (is_model_used_.empty()) {
    const RowSums& sums = connection_->row_sums();
    const std::string model_holds = RowSums::HoldsCall(sums.table("model"));
    const std::string run_holds = RowSums::HoldsCall(sums.table("run"));
    is_model_used_ = Str("SELECT 1 FROM model WHERE name <> ? AND (digest = ? OR NOT ", model_holds,
                         ") UNION ALL SELECT 1 FROM run WHERE CASE WHEN ", run_holds,
                         " AND json_valid(run) THEN json_extract(run, '$.init.sha256') = ?"
                         " ELSE TRUE END LIMIT 1");
  }
  ASSIGN_OR_RETURN(Statement statement, connection_->Prepare(is_model_used_.c_str()));
  return statement.Bind(except_name).Bind(digest).Bind(digest).Step();
}

Status Store::DropDataset(const std::string& name) {
  constexpr const char* kStatements[] = {"DELETE FROM dataset WHERE name = ?"};
  return RunEach(kStatements, name);
}

Status Store::DropCheckpointFiles(const std::string& sha256, ApplyCounts& counts) {
  {
    ASSIGN_OR_RETURN(
        Statement statement,
        connection_->Prepare("SELECT sha256 FROM checkpoint_file WHERE checkpoint = ?"));
    statement.Bind(sha256);
    while (true) {
      ASSIGN_OR_RETURN(const bool more, statement.Step());
      if (!more) break;
      counts.dropped.push_back(statement.Text(0));
    }
  }
  ASSIGN_OR_RETURN(Statement statement,
                   connection_->Prepare("DELETE FROM checkpoint_file WHERE checkpoint = ?"));
  return statement.Bind(sha256).Run();
}

Result<NameChange> Store::PutDataset(const DatasetRow& dataset, std::int64_t owned_bytes_max) {
  // A damaged row is treated as missing, but dropped only once nothing refuses its replacement.
  ASSIGN_OR_RETURN(const bool is_sound, HasSound("dataset", dataset.info.name));
  const std::string folder = StoredDatasetFolder(folder_, dataset.folder);
  std::string owner = dataset.owner;
  std::int64_t owner_bytes = dataset.owner_bytes;
  NameChange change;
  {
    ASSIGN_OR_RETURN(Statement statement,
                     connection_->Prepare(
                         "SELECT digest, folder, owner, owner_bytes FROM dataset WHERE name = ?"));
    ASSIGN_OR_RETURN(const bool is_any, statement.Bind(dataset.info.name).Step());
    const bool is_there = is_any && is_sound;
    change.done = is_there && statement.Text(0) != dataset.info.digest;
    const bool is_same = is_there && !change.done && statement.Text(1) == folder;
    if (is_same && !statement.Text(2).empty()) {
      owner = statement.Text(2);
      owner_bytes = statement.Int(3);
    } else {
      ASSIGN_OR_RETURN(const OwnedBytes before,
                       ReadOwned(*connection_, owner, {.dataset = dataset.info.name}));
      change.refused = CheckOwned(
          {.what = "dataset", .name = dataset.info.name, .owner = owner, .n_bytes = owner_bytes},
          before, owned_bytes_max);
    }
  }
  if (!change.refused.ok()) return change;
  RETURN_IF_ERROR(DropIfDamaged("dataset", dataset.info.name));
  const std::string split_tokens = CanonicalJson(Json(dataset.info.split_tokens));
  ASSIGN_OR_RETURN(
      Statement statement,
      connection_->Prepare("INSERT OR REPLACE INTO dataset (name, digest, folder, tokenizer,"
                           " vocab_size, split_tokens, n_tokens, mask_token, owner, owner_bytes,"
                           " bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"));
  RETURN_IF_ERROR(statement.Bind(dataset.info.name)
                      .Bind(dataset.info.digest)
                      .Bind(folder)
                      .Bind(dataset.info.tokenizer_fingerprint)
                      .Bind(dataset.info.vocab_size)
                      .Bind(split_tokens)
                      .Bind(dataset.info.n_tokens)
                      .Bind(dataset.info.mask_token)
                      .Bind(owner)
                      .Bind(owner_bytes)
                      .Bind(dataset.n_bytes)
                      .Run());
  return change;
}

Result<NameChange> Store::PutModel(const ModelRow& model, std::span<const ArtifactFile> files,
                                   std::int64_t owned_bytes_max) {
  // A damaged row is treated as missing, but dropped only once nothing refuses its replacement.
  ASSIGN_OR_RETURN(const bool is_there, HasSound("model", model.name));
  if (is_there) {
    ASSIGN_OR_RETURN(Statement statement,
                     connection_->Prepare("SELECT digest FROM model WHERE name = ?"));
    RETURN_IF_ERROR(statement.Bind(model.name).Step().status());
    if (statement.Text(0) != model.digest) {
      return NameChange{
          .refused =
              Status(Code::kAlreadyExists,
                     Str("model \"", model.name, "\" already exists with other content (digest ",
                         statement.Text(0).substr(0, 8), ", not ", model.digest.substr(0, 8),
                         "): choose another name, or remove that model first: `longrun "
                         "models rm ",
                         model.name, "`"))};
    }
    return NameChange();
  }
  bool is_counted = false;  // under another name of the same owner
  {
    ASSIGN_OR_RETURN(
        Statement statement,
        connection_->Prepare("SELECT 1 FROM model WHERE owner = ? AND digest = ? AND name <> ?"));
    ASSIGN_OR_RETURN(is_counted,
                     statement.Bind(model.owner).Bind(model.digest).Bind(model.name).Step());
  }
  if (!is_counted) {
    ASSIGN_OR_RETURN(const OwnedBytes before,
                     ReadOwned(*connection_, model.owner, {.model = model.name}));
    Status room = CheckOwned(
        {.what = "model", .name = model.name, .owner = model.owner, .n_bytes = model.n_bytes},
        before, owned_bytes_max);
    if (!room.ok()) return NameChange{.refused = std::move(room)};
  }
  RETURN_IF_ERROR(DropIfDamaged("model", model.name));
  {
    ASSIGN_OR_RETURN(
        Statement statement,
        connection_->Prepare("INSERT INTO model (name, digest, config, source, bytes,"
                             " imported_wall_ms, owner) VALUES (?, ?, ?, ?, ?, ?, ?)"));
    RETURN_IF_ERROR(statement.Bind(model.name)
                        .Bind(model.digest)
                        .Bind(model.config_json)
                        .Bind(model.source)
                        .Bind(model.n_bytes)
                        .Bind(model.imported_wall_ms)
                        .Bind(model.owner)
                        .Run());
  }
  RETURN_IF_ERROR(PutCheckpointFiles(model.digest, files));
  return NameChange{.done = true};
}

Status UnknownModel(const std::string& name) {
  return Status(Code::kNotFound, Str("there is no model ", Quoted(name),
                                     "; `longrun models ls` lists the imported models"));
}

Result<NameChange> Store::DropModel(const std::string& name, ApplyCounts& counts,
                                    ModelBytes bytes) {
  std::string digest;
  {
    ASSIGN_OR_RETURN(Statement statement,
                     connection_->Prepare("SELECT digest FROM model WHERE name = ?"));
    ASSIGN_OR_RETURN(const bool is_there, statement.Bind(name).Step());
    if (!is_there) return NameChange{.refused = UnknownModel(name)};
    digest = statement.Text(0);
  }
  ASSIGN_OR_RETURN(const bool is_used, IsModelUsed(digest, name));
  if (is_used && bytes == ModelBytes::kMustGo) {
    ASSIGN_OR_RETURN(Statement statement,
                     connection_->Prepare("SELECT 1 FROM model WHERE digest = ? AND name <> ?"));
    ASSIGN_OR_RETURN(const bool has_other_name, statement.Bind(digest).Bind(name).Step());
    if (!has_other_name) {
      return NameChange{
          .refused = Status(
              Code::kFailedPrecondition,
              Str("runs start from model \"", name,
                  "\", so its bytes would stay: remove the sweeps that have these runs (`longrun "
                  "rm`), and have an operator collect what they left (`longrun gc`); or have an "
                  "operator remove the model"))};
    }
  }
  {
    ASSIGN_OR_RETURN(Statement statement, connection_->Prepare("DELETE FROM model WHERE name = ?"));
    RETURN_IF_ERROR(statement.Bind(name).Run());
  }
  if (is_used) return NameChange();
  RETURN_IF_ERROR(DropCheckpointFiles(digest, counts));
  return NameChange{.done = true};
}

Result<std::vector<ArtifactFile>> Store::CheckpointFiles(const std::string& sha256) {
  RETURN_IF_ERROR(OpenReader());
  ASSIGN_OR_RETURN(Statement statement,
                   reader_->Prepare("SELECT name, sha256, bytes FROM checkpoint_file"
                                    " WHERE checkpoint = ? ORDER BY name"));
  statement.Bind(sha256);
  std::vector<ArtifactFile> files;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, statement.Step());
    if (!more) break;
    files.push_back(
        {.name = statement.Text(0), .sha256 = statement.Text(1), .n_bytes = statement.Int(2)});
  }
  if (files.empty()) {
    return Status(Code::kNotFound, Str("no checkpoint ", sha256, " in the database"));
  }
  return files;
}

}  // namespace longrun::coordinator
