// Journal records as rows. A record whose body does not have its kind's form is stored unchanged in
// `record`, and its attempt will lack the row.
#include <optional>

#include "base/check.h"
#include "coordinator/store/sqlite.h"
#include "coordinator/store/store.h"

namespace longrun::coordinator {
namespace {

constexpr std::size_t kMetricsKnownMax = 1000;  // a trainer may use any names

}  // namespace

Status Store::ApplyOne(const PutRecord& write, std::int64_t, ApplyCounts& counts) {
  const JournalRecord& record = write.record;
  bool stored = false;
  if (const auto* const result = record.As<ResultRecord>()) {
    ASSIGN_OR_RETURN(stored, PutResultRow(write, *result));
    counts.result_rows += stored ? 1 : 0;
  } else if (const auto* const series = record.As<SeriesRecord>()) {
    ASSIGN_OR_RETURN(stored, PutSeriesRows(write, *series, counts));
  } else if (const auto* const checkpoint = record.As<CheckpointRecord>()) {
    // One that is not whole has no row; the scheduler does not count it as a checkpoint.
    if (checkpoint->is_whole && !write.files_gone) {
      RETURN_IF_ERROR(PutCheckpointRows(write, *checkpoint));
    }
  } else if (const auto* const artifact = record.As<ArtifactRecord>()) {
    if (!write.files_gone) RETURN_IF_ERROR(PutArtifactRow(write, *artifact));
  }
  if (stored) return Status();
  const bool needs_row = record.kind == RecordKind::kResult || record.kind == RecordKind::kSeries;
  counts.malformed += needs_row ? 1 : 0;
  return PutPlainRecord(write, counts);
}

// Rows of results, series and records come by the thousand,
// so the statements supply their checksums.
Result<bool> Store::PutResultRow(const PutRecord& write, const ResultRecord& result) {
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
                      .Bind(result.cell)
                      .Bind(result.metric)
                      .Bind(result.context_length)
                      .Bind(result.split)
                      .Bind(result.protocol)
                      .Bind(result.averaging)
                      .Bind(result.depth)
                      .Bind(result.variant)
                      .Bind(result.value)
                      .Bind(result.se)
                      .Bind(result.n)
                      .Bind(result.nll_sum)
                      .Bind(result.n_bytes)
                      .Bind(result.status)
                      .Bind(result.extra)
                      .Bind(write.record.t_ms)
                      .Bind(write.line)
                      .Run());
  return connection_->n_changed() == 1;
}

Result<bool> Store::PutSeriesRows(const PutRecord& write, const SeriesRecord& series,
                                  ApplyCounts& counts) {
  std::int64_t n_stored = 0;
  ASSIGN_OR_RETURN(Statement statement,
                   connection_->Prepare(
                       "INSERT INTO series (attempt, metric, step, value, t_ms, seq, sum) VALUES"
                       " (?1, ?2, ?3, ?4, ?5, ?6, row_sum(?1, ?2, ?3, ?4, ?5, ?6))"
                       " ON CONFLICT DO NOTHING"));
  for (const auto& [name, value] : series.values) {
    ASSIGN_OR_RETURN(const std::int64_t metric, MetricId(name));
    RETURN_IF_ERROR(statement.Again()
                        .Bind(write.attempt)
                        .Bind(metric)
                        .Bind(*write.record.step)
                        .Bind(value)
                        .Bind(write.record.t_ms)
                        .Bind(write.record.seq)
                        .Run());
    n_stored += connection_->n_changed();
  }
  counts.series_rows += n_stored;
  counts.duplicates += static_cast<std::int64_t>(series.values.size()) - n_stored;
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

Status Store::PutCheckpointRows(const PutRecord& write, const CheckpointRecord& checkpoint) {
  {
    ASSIGN_OR_RETURN(
        Statement statement,
        connection_->Prepare("INSERT INTO checkpoint (attempt, seq, task, step, sha256, is_final,"
                             " is_best) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"));
    RETURN_IF_ERROR(statement.Bind(write.attempt)
                        .Bind(write.record.seq)
                        .Bind(write.task)
                        .Bind(*checkpoint.step)
                        .Bind(checkpoint.sha256)
                        .Bind(checkpoint.is_final)
                        .Bind(checkpoint.is_best)
                        .Run());
  }
  return PutCheckpointFiles(checkpoint.sha256, *checkpoint.files);
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

Status Store::PutArtifactRow(const PutRecord& write, const ArtifactRecord& artifact) {
  ASSIGN_OR_RETURN(
      Statement statement,
      connection_->Prepare("INSERT INTO artifact (attempt, seq, task, name, sha256, bytes)"
                           " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"));
  return statement.Bind(write.attempt)
      .Bind(write.record.seq)
      .Bind(write.task)
      .Bind(artifact.name)
      .Bind(artifact.sha256)
      .Bind(artifact.n_bytes)
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
                      .Bind(EnumName(write.record.kind))
                      .Bind(write.record.step)
                      .Bind(write.record.t_ms)
                      .Bind(write.line)
                      .Run());
  counts.record_rows += connection_->n_changed();
  counts.duplicates += 1 - connection_->n_changed();
  return Status();
}

}  // namespace longrun::coordinator
