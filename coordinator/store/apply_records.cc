// Journal records as rows. A trainer's record need not have the form of a row: a record whose body
// does not fit is stored unchanged in `record`, and its attempt will lack the row.
#include <optional>

#include "base/check.h"
#include "base/hash.h"
#include "coordinator/store/record_columns.h"
#include "coordinator/store/sqlite.h"
#include "coordinator/store/store.h"

namespace longrun::coordinator {
namespace {

constexpr std::size_t kMetricsKnownMax = 1000;  // a trainer may use any names

using Real = std::optional<double>;

}  // namespace

Status Store::ApplyOne(const PutRecord& write, std::int64_t, ApplyCounts& counts) {
  const RecordKind kind = write.record.kind;
  if (kind == RecordKind::kResult) {
    ASSIGN_OR_RETURN(const bool stored, PutResultRow(write));
    if (stored) {
      counts.result_rows += 1;
      return Status();
    }
    counts.malformed += 1;
  } else if (kind == RecordKind::kSeries) {
    ASSIGN_OR_RETURN(const bool stored, PutSeriesRows(write, counts));
    if (stored) return Status();
    counts.malformed += 1;
  } else if (kind == RecordKind::kCheckpoint && !write.files_gone) {
    RETURN_IF_ERROR(PutCheckpointRows(write));
  } else if (kind == RecordKind::kArtifact && !write.files_gone) {
    RETURN_IF_ERROR(PutArtifactRow(write));
  }
  return PutPlainRecord(write, counts);
}

// Rows of results, series and records come by the thousand,
// so the statements supply their checksums.
Result<bool> Store::PutResultRow(const PutRecord& write) {
  const std::optional<ResultColumns> columns = ResultColumnsOf(write.record.body);
  if (!columns) return false;
  ASSIGN_OR_RETURN(
      Statement statement,
      connection_->Prepare(
          "INSERT INTO result (attempt, seq, task, run_key, cell, metric, context_length, split,"
          " protocol, averaging, depth, variant, value, se, n, nll_sum, bytes, status, extra, t_ms,"
          " line, sum) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15,"
          " ?16, ?17, ?18, ?19, ?20, ?21, row_sum(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11,"
          " ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21)) ON CONFLICT DO NOTHING"));
  RETURN_IF_ERROR(statement.Bind(write.attempt)
                      .Bind(write.record.seq)
                      .Bind(write.task)
                      .Bind(write.run_key)
                      .Bind(columns->cell)
                      .Bind(columns->metric)
                      .Bind(columns->context_length)
                      .Bind(columns->split)
                      .Bind(columns->protocol)
                      .Bind(columns->averaging)
                      .Bind(columns->depth)
                      .Bind(columns->variant)
                      .Bind(columns->value)
                      .Bind(columns->se)
                      .Bind(columns->n)
                      .Bind(columns->nll_sum)
                      .Bind(columns->n_bytes)
                      .Bind(columns->status)
                      .Bind(columns->extra)
                      .Bind(write.record.t_ms)
                      .Bind(write.line)
                      .Run());
  return connection_->n_changed() == 1;
}

Result<bool> Store::PutSeriesRows(const PutRecord& write, ApplyCounts& counts) {
  const Json& body = write.record.body;
  if (!write.record.step || !body.is_object() || body.empty()) return false;
  for (const auto& [name, value] : body.items()) {
    if (!value.is_number() && !value.is_null()) return false;
  }
  std::int64_t n_stored = 0;
  ASSIGN_OR_RETURN(Statement statement,
                   connection_->Prepare(
                       "INSERT INTO series (attempt, metric, step, value, t_ms, seq, sum) VALUES"
                       " (?1, ?2, ?3, ?4, ?5, ?6, row_sum(?1, ?2, ?3, ?4, ?5, ?6))"
                       " ON CONFLICT DO NOTHING"));
  for (const auto& [name, value] : body.items()) {
    ASSIGN_OR_RETURN(const std::int64_t metric, MetricId(name));
    const Real number = value.is_null() ? Real() : Real(value.get<double>());
    RETURN_IF_ERROR(statement.Again()
                        .Bind(write.attempt)
                        .Bind(metric)
                        .Bind(*write.record.step)
                        .Bind(number)
                        .Bind(write.record.t_ms)
                        .Bind(write.record.seq)
                        .Run());
    n_stored += connection_->n_changed();
  }
  counts.series_rows += n_stored;
  counts.duplicates += static_cast<std::int64_t>(body.size()) - n_stored;
  // A record that gave no rows is still a record, and is stored unchanged.
  return n_stored > 0;
}

// Every row names its metric, so the number of each is looked up only once.
Result<std::int64_t> Store::MetricId(const std::string& name) {
  if (const auto known = metric_ids_.find(name); known != metric_ids_.end()) return known->second;
  {
    ASSIGN_OR_RETURN(Statement statement,
                     connection_->Prepare("INSERT OR IGNORE INTO metric_name (name) VALUES (?)"));
    RETURN_IF_ERROR(statement.Bind(name).Run());
  }
  ASSIGN_OR_RETURN(Statement statement,
                   connection_->Prepare("SELECT id FROM metric_name WHERE name = ?"));
  ASSIGN_OR_RETURN(const bool found, statement.Bind(name).Step());
  LR_CHECK(found);
  if (metric_ids_.size() >= kMetricsKnownMax) metric_ids_.clear();
  return metric_ids_.emplace(name, statement.Int(0)).first->second;
}

Status Store::PutCheckpointRows(const PutRecord& write) {
  RecordColumns columns(write.record.body);
  const std::string sha256 = columns.Must(columns.TextOf("sha256"));
  const std::int64_t step = columns.Must(columns.IntOf("step"));
  const bool is_final = columns.BoolOf("final"), is_best = columns.BoolOf("best");
  const auto files = write.record.body.find("files");
  if (!columns.fits() || !IsWholeCheckpoint(write.record.body)) {
    return Status();  // stored as a plain record; the scheduler does not count it as a checkpoint
  }
  std::vector<ArtifactFile> rows;
  for (const Json& file : *files) {
    RecordColumns file_columns(file);
    ArtifactFile row{.name = file_columns.Must(file_columns.TextOf("name")),
                     .sha256 = file_columns.Must(file_columns.TextOf("sha256")),
                     .n_bytes = file_columns.Must(file_columns.IntOf("bytes"))};
    if (!file_columns.fits()) return Status();
    rows.push_back(std::move(row));
  }
  {
    ASSIGN_OR_RETURN(
        Statement statement,
        connection_->Prepare("INSERT INTO checkpoint (attempt, seq, task, step, sha256, is_final,"
                             " is_best) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"));
    RETURN_IF_ERROR(statement.Bind(write.attempt)
                        .Bind(write.record.seq)
                        .Bind(write.task)
                        .Bind(step)
                        .Bind(sha256)
                        .Bind(is_final)
                        .Bind(is_best)
                        .Run());
  }
  return PutCheckpointFiles(sha256, rows);
}

Status Store::PutCheckpointFiles(const std::string& sha256, std::span<const ArtifactFile> files) {
  RETURN_IF_ERROR(DropIfDamaged("checkpoint_file", sha256));
  for (const ArtifactFile& file : files) {
    ASSIGN_OR_RETURN(Statement statement,
                     connection_->Prepare(
                         "INSERT OR IGNORE INTO checkpoint_file (checkpoint, name, sha256, bytes)"
                         " VALUES (?, ?, ?, ?)"));
    RETURN_IF_ERROR(
        statement.Bind(sha256).Bind(file.name).Bind(file.sha256).Bind(file.n_bytes).Run());
  }
  return Status();
}

Status Store::PutArtifactRow(const PutRecord& write) {
  RecordColumns columns(write.record.body);
  const std::string name = columns.Must(columns.TextOf("name"));
  const std::string sha256 = columns.Must(columns.TextOf("sha256"));
  const std::int64_t n_bytes = columns.Must(columns.IntOf("bytes"));
  if (!columns.fits() || !IsSha256Hex(sha256)) return Status();
  ASSIGN_OR_RETURN(
      Statement statement,
      connection_->Prepare("INSERT INTO artifact (attempt, seq, task, name, sha256, bytes)"
                           " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"));
  return statement.Bind(write.attempt)
      .Bind(write.record.seq)
      .Bind(write.task)
      .Bind(name)
      .Bind(sha256)
      .Bind(n_bytes)
      .Run();
}

Status Store::PutPlainRecord(const PutRecord& write, ApplyCounts& counts) {
  ASSIGN_OR_RETURN(
      Statement statement,
      connection_->Prepare("INSERT INTO record (attempt, seq, kind, step, t_ms, line, sum)"
                           " VALUES (?1, ?2, ?3, ?4, ?5, ?6,"
                           " row_sum(?1, ?2, ?3, ?4, ?5, ?6)) ON CONFLICT DO NOTHING"));
  RETURN_IF_ERROR(statement.Bind(write.attempt)
                      .Bind(write.record.seq)
                      .Bind(RecordKindName(write.record.kind))
                      .Bind(write.record.step)
                      .Bind(write.record.t_ms)
                      .Bind(write.line)
                      .Run());
  counts.record_rows += connection_->n_changed();
  counts.duplicates += 1 - connection_->n_changed();
  return Status();
}

}  // namespace longrun::coordinator
