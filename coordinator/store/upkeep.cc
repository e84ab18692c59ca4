// Labels, notes, and references to the bytes of the artifact store: the parts of Store and
// StoreReader for the upkeep of sweeps.
#include "base/clock.h"
#include "base/json.h"
#include "base/str.h"
#include "coordinator/store/annotation.h"
#include "coordinator/store/complete_check.h"
#include "coordinator/store/read_rows.h"
#include "coordinator/store/reader.h"
#include "coordinator/store/rewritten.h"
#include "coordinator/store/sqlite.h"
#include "coordinator/store/store.h"
#include "coordinator/store/whole_check.h"

namespace longrun::coordinator {
namespace {

constexpr std::int64_t kCheckMsMax = 60'000;   // per table, like a user's query
constexpr std::int64_t kFilesReadMs = 10'000;  // how long a complete read is trusted
// The tables that refer to the bytes of artifacts.
constexpr std::string_view kFileTables[] = {"checkpoint_file", "artifact"};
// The tables that decide which tasks, runs, checkpoints, logs and models are needed, and what is
// removed with them. Not the largest ones, which decide nothing: results,
// series and journal records.
constexpr std::string_view kDecideWhatGoes[] = {
    "sweep", "sweep_run", "sweep_cell", "sweep_task", "sweep_label",     "run",     "task",
    "cell",  "attempt",   "checkpoint", "model",      "checkpoint_file", "artifact"};

using Text = std::optional<std::string>;

}  // namespace

Status Store::PutAnnotation(const SweepAnnotation& annotation) {
  for (const auto& [key, value] : annotation.labels) {
    ASSIGN_OR_RETURN(Statement put,
                     connection_->Prepare("INSERT OR REPLACE INTO sweep_label (sweep, key, value)"
                                          " SELECT id, ?, ? FROM sweep WHERE id = ?"));
    RETURN_IF_ERROR(put.Bind(key).Bind(value).Bind(annotation.sweep_id).Run());
  }
  if (!annotation.labels.empty() && !damaged().empty()) {
    RETURN_IF_ERROR(DropDisplaced(*connection_, {"sweep_label"}));
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
  return ReadRows(*connection_,
                  "SELECT task, max(step), sha256 FROM checkpoint"
                  " GROUP BY task, sha256 ORDER BY task, max(step)",
                  [](const Statement& row) {
                    return StoredCheckpoint{
                        .task = row.Text(0), .step = row.Int(1), .sha256 = row.Text(2)};
                  });
}

Result<std::vector<EvaluationRow>> StoreReader::EvaluationsWithFiles(const std::string& owner) {
  return ReadRows(
      *connection_,
      "SELECT id, evaluation FROM task WHERE evaluation LIKE '%\"sha256:%'"
      " AND (?1 = '' OR owner = ?1)",
      [](const Statement& row) {
        return EvaluationRow{.task = row.Text(0), .evaluation_json = row.Text(1)};
      },
      owner);
}

Result<std::vector<std::string>> StoreReader::OrphanTasks() {
  // `line`: a run that continues another or starts from its weights, and that one, and so on.
  return ReadRows(*connection_,
                  "WITH RECURSIVE orphan (id, kind, run_key, attempt) AS MATERIALIZED"
                  " (SELECT id, kind, run_key, attempt FROM task WHERE NOT EXISTS"
                  "   (SELECT 1 FROM sweep_task WHERE sweep_task.task = task.id)),"
                  " line (id, run_key, depth) AS"
                  " (SELECT id, run_key, 0 FROM orphan WHERE kind = 'train' UNION ALL"
                  "  SELECT line.id, ifnull(json_extract(run.run, '$.parent'),"
                  "                         json_extract(run.run, '$.init.run')), line.depth + 1"
                  "  FROM line JOIN run ON run.run_key = line.run_key"
                  "  WHERE ifnull(json_extract(run.run, '$.parent'),"
                  "               json_extract(run.run, '$.init.run')) IS NOT NULL),"
                  " train (id, depth) AS (SELECT id, max(depth) FROM line GROUP BY id)"
                  " SELECT orphan.id FROM orphan LEFT JOIN train ON train.id = orphan.id"
                  " ORDER BY orphan.kind = 'train', train.depth DESC, orphan.attempt,"
                  " orphan.id",
                  &FirstText);
}

Result<std::vector<CheckpointBytesRow>> StoreReader::CheckpointBytes() {
  return ReadRows(*connection_,
                  "SELECT file.checkpoint, file.sha256, file.bytes,"
                  " (SELECT count(DISTINCT task) FROM checkpoint"
                  "  WHERE checkpoint.sha256 = file.checkpoint)"
                  " FROM checkpoint_file AS file ORDER BY file.checkpoint, file.name",
                  [](const Statement& row) {
                    return CheckpointBytesRow{.checkpoint = row.Text(0),
                                              .sha256 = row.Text(1),
                                              .n_bytes = row.Int(2),
                                              .n_tasks = row.Int(3)};
                  });
}

Result<std::vector<ArtifactFile>> StoreReader::CheckpointFiles(const std::string& sha256) {
  ASSIGN_OR_RETURN(std::vector<ArtifactFile> files,
                   ReadRows(
                       *connection_,
                       "SELECT name, sha256, bytes FROM checkpoint_file"
                       " WHERE checkpoint = ? ORDER BY name",
                       [](const Statement& row) {
                         return ArtifactFile{
                             .name = row.Text(0), .sha256 = row.Text(1), .n_bytes = row.Int(2)};
                       },
                       sha256));
  if (!files.empty()) return files;
  return Status(Code::kNotFound, Str("no checkpoint ", sha256, " in the database"));
}

Status StoreReader::CheckBeforeRemoval() {
  ASSIGN_OR_RETURN(std::optional<Flaw> flaw, FindFlaw(*connection_, kDecideWhatGoes, kCheckMsMax));
  if (!flaw) {
    connection_->SetTimeLimit(kCheckMsMax);
    ASSIGN_OR_RETURN(const std::vector<DamagedRow> missing, FindMissingMembers(*connection_));
    if (missing.empty()) return Status();
    flaw = Flaw{.object = missing.front().object,
                .how = "cannot be found",
                .remedy = std::string(kRestoreRemedy)};
  }
  return Status(Code::kFailedPrecondition,
                Str("nothing is removed while the stored data is damaged (", flaw->object, " ",
                    flaw->how, "), since the damaged part may say what is still needed: ",
                    flaw->remedy, "; `longrun doctor --deep` lists all that is damaged"));
}

Status StoreReader::ReadFileDigests(std::int64_t version) {
  file_digests_.clear();
  files_flaw_.clear();
  ASSIGN_OR_RETURN(const std::optional<Flaw> flaw,
                   FindFlaw(*connection_, kFileTables, kCheckMsMax));
  if (flaw) files_flaw_ = Str(flaw->object, " ", flaw->how, ": ", flaw->remedy);
  for (const std::string_view table : kFileTables) {
    connection_->SetTimeLimit(kCheckMsMax);
    ASSIGN_OR_RETURN(
        const std::vector<std::string> digests,
        connection_->ReadTexts(Str("SELECT sha256 FROM main.", table, " NOT INDEXED")));
    file_digests_.insert(digests.begin(), digests.end());
  }
  files_version_ = version;
  files_read_ms_ = BootMs();
  return Status();
}

// An index finds a row that has just been stored, but may hide one if it is damaged. So we trust
// only a complete read of the tables that nothing refers to some bytes. We cannot tell what a
// damaged row refers to: while there is one, all bytes stay.
Result<bool> StoreReader::IsReferenced(const std::string& sha256) {
  ASSIGN_OR_RETURN(const std::int64_t version, DataVersion());
  {
    ASSIGN_OR_RETURN(Statement row,
                     Read(*connection_,
                          "SELECT 1 FROM checkpoint_file WHERE sha256 = ?"
                          " UNION ALL SELECT 1 FROM artifact WHERE sha256 = ? LIMIT 1",
                          sha256, sha256));
    ASSIGN_OR_RETURN(const bool found, row.Step());
    if (found) return true;
  }
  const bool is_old = files_version_ < 0 || BootMs() - files_read_ms_ > kFilesReadMs;
  // Its row may have been removed since.
  const bool may_be_gone = file_digests_.contains(sha256) || !files_flaw_.empty();
  if (version != files_version_ && (is_old || may_be_gone)) {
    RETURN_IF_ERROR(ReadFileDigests(version));
  }
  return !files_flaw_.empty() || file_digests_.contains(sha256);
}

}  // namespace longrun::coordinator
