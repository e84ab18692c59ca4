// Labels, notes, and what the bytes of the artifact store are there for: the parts of Store and
// StoreReader that serve a sweep's upkeep.
#include "base/json.h"
#include "base/str.h"
#include "coordinator/store/annotation.h"
#include "coordinator/store/reader.h"
#include "coordinator/store/sqlite.h"
#include "coordinator/store/store.h"

namespace longrun {
namespace {


using Text = std::optional<std::string>;

}  // namespace

Status Store::PutAnnotation(const SweepAnnotation& annotation) {
  for (const auto& [key, value] : annotation.labels) {
    ASSIGN_OR_RETURN(Statement put,
                     connection_->Prepare("INSERT OR REPLACE INTO sweep_label (sweep, key, value)"
                                          " SELECT id, ?, ? FROM sweep WHERE id = ?"));
    RETURN_IF_ERROR(put.Bind(key).Bind(value).Bind(annotation.sweep_id).Run());
  }
  if (!annotation.note) return Status();
  ASSIGN_OR_RETURN(Statement put, connection_->Prepare("UPDATE sweep SET note = ? WHERE id = ?"));
  return put.Bind(*annotation.note).Bind(annotation.sweep_id).Run();
}

Status StoreReader::AddLabels(std::vector<SweepRow>& sweeps) {
  ASSIGN_OR_RETURN(Statement of_file,
                   connection_->Prepare("SELECT labels, note FROM sweep WHERE id = ?"));
  ASSIGN_OR_RETURN(Statement changed,
                   connection_->Prepare("SELECT key, value FROM sweep_label WHERE sweep = ?"));
  for (SweepRow& sweep : sweeps) {
    ASSIGN_OR_RETURN(const bool found, of_file.Again().Bind(sweep.id).Step());
    if (!found) continue;
    ASSIGN_OR_RETURN(const Json labels, ParseJson(of_file.Text(0)));
    for (const auto& [key, value] : labels.items()) sweep.labels[key] = value.get<std::string>();
    sweep.note = of_file.Text(1);
    changed.Again().Bind(sweep.id);
    while (true) {
      ASSIGN_OR_RETURN(const bool more, changed.Step());
      if (!more) break;
      if (changed.IsNull(1)) {
        sweep.labels.erase(changed.Text(0));
      } else {
        sweep.labels[changed.Text(0)] = changed.Text(1);
      }
    }
  }
  return Status();
}

Result<std::vector<StoredCheckpoint>> StoreReader::Checkpoints() {
  connection_->SetTimeLimit(kReadMsMax);
  ASSIGN_OR_RETURN(Statement row,
                   connection_->Prepare("SELECT task, max(step), sha256 FROM checkpoint"
                                        " GROUP BY task, sha256 ORDER BY task, max(step)"));
  std::vector<StoredCheckpoint> rows;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, row.Step());
    if (!more) return rows;
    rows.push_back({.task = row.Text(0), .step = row.Int(1), .sha256 = row.Text(2)});
  }
}

Result<std::vector<std::string>> StoreReader::OrphanTasks() {
  connection_->SetTimeLimit(kReadMsMax);
  // `line`: a run that goes on from another, and that one, and so on.
  ASSIGN_OR_RETURN(
      Statement row,
      connection_->Prepare("WITH RECURSIVE orphan (id, kind, run_key) AS MATERIALIZED"
                           " (SELECT id, kind, run_key FROM task WHERE NOT EXISTS"
                           "   (SELECT 1 FROM sweep_task WHERE sweep_task.task = task.id)),"
                           " line (id, run_key, depth) AS"
                           " (SELECT id, run_key, 0 FROM orphan WHERE kind = 'train' UNION ALL"
                           "  SELECT line.id, json_extract(run.run, '$.parent'), line.depth + 1"
                           "  FROM line JOIN run ON run.run_key = line.run_key"
                           "  WHERE json_extract(run.run, '$.parent') IS NOT NULL),"
                           " train (id, depth) AS (SELECT id, max(depth) FROM line GROUP BY id)"
                           " SELECT orphan.id FROM orphan LEFT JOIN train ON train.id = orphan.id"
                           " ORDER BY orphan.kind = 'train', train.depth DESC, orphan.id"));
  std::vector<std::string> tasks;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, row.Step());
    if (!more) return tasks;
    tasks.push_back(row.Text(0));
  }
}

Result<std::vector<CheckpointBytesRow>> StoreReader::CheckpointBytes() {
  connection_->SetTimeLimit(kReadMsMax);
  ASSIGN_OR_RETURN(
      Statement row,
      connection_->Prepare("SELECT file.checkpoint, file.sha256, file.bytes,"
                           " (SELECT count(DISTINCT task) FROM checkpoint"
                           "  WHERE checkpoint.sha256 = file.checkpoint)"
                           " FROM checkpoint_file AS file ORDER BY file.checkpoint, file.name"));
  std::vector<CheckpointBytesRow> rows;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, row.Step());
    if (!more) return rows;
    rows.push_back({.checkpoint = row.Text(0),
                    .sha256 = row.Text(1),
                    .n_bytes = row.Int(2),
                    .n_tasks = row.Int(3)});
  }
}

Result<std::vector<ArtifactFileRow>> StoreReader::CheckpointFiles(const std::string& sha256) {
  connection_->SetTimeLimit(kReadMsMax);
  ASSIGN_OR_RETURN(Statement row,
                   connection_->Prepare("SELECT name, sha256, bytes FROM checkpoint_file"
                                        " WHERE checkpoint = ? ORDER BY name"));
  row.Bind(sha256);
  std::vector<ArtifactFileRow> files;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, row.Step());
    if (!more) break;
    files.push_back({.name = row.Text(0), .sha256 = row.Text(1), .n_bytes = row.Int(2)});
  }
  if (!files.empty()) return files;
  return Status(Code::kNotFound, Str("no checkpoint ", sha256, " in the database"));
}

// What a damaged row refers to cannot be told any more; so as long as there is one, all bytes stay.
Result<bool> StoreReader::IsReferenced(const std::string& sha256) {
  ASSIGN_OR_RETURN(const std::int64_t version, DataVersion());
  if (version != files_version_) {
    files_damaged_ = false;
    for (const char* const table : {"checkpoint_file", "artifact"}) {
      ASSIGN_OR_RETURN(
          const std::int64_t n_damaged,
          connection_->ReadInt(Str("SELECT count(*) FROM main.", table, " WHERE NOT ",
                                   RowSums::HoldsCall(connection_->row_sums().table(table)))));
      files_damaged_ = files_damaged_ || n_damaged > 0;
    }
    files_version_ = version;
  }
  if (files_damaged_) return true;
  connection_->SetTimeLimit(kReadMsMax);
  ASSIGN_OR_RETURN(
      Statement row,
      connection_->Prepare("SELECT 1 FROM checkpoint_file WHERE sha256 = ?"
                           " UNION ALL SELECT 1 FROM artifact WHERE sha256 = ? LIMIT 1"));
  return row.Bind(sha256).Bind(sha256).Step();
}

}  // namespace longrun
