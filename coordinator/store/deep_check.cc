// See deep_check.h.
#include "coordinator/store/deep_check.h"

#include <map>
#include <memory>
#include <optional>
#include <set>

#include "base/access.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/str.h"
#include "base/utf8.h"
#include "coordinator/store/commit_mark.h"
#include "coordinator/store/complete_check.h"
#include "coordinator/store/damage.h"
#include "coordinator/store/dataset_folder.h"
#include "coordinator/store/mend_definitions.h"
#include "coordinator/store/schema.h"
#include "coordinator/store/sqlite.h"
#include "coordinator/store/store.h"
#include "coordinator/store/wal_check.h"
#include "coordinator/store/whole_check.h"
#include "model/evaluation/input_file.h"
#include "sweeps/coordinator_lock.h"
#include "sweeps/event.h"

namespace longrun::coordinator {
namespace {

constexpr std::string_view kFileRemedy =
    "put it back from a backup (docs/operating.md); the existing numbers stay";

// Of the final checkpoint of a run.
std::string TrainAgainRemedy(const std::string& run) {
  return Str("train the run again (`longrun retry ", run, "`), or ", kFileRemedy);
}

constexpr std::string_view kInputFileRemedy =
    "submit the sweep again with the original file, which stores it again, or put it back from a "
    "backup (docs/operating.md)";

constexpr std::string_view kReadRemedy =
    "give this user the right to read it (`chmod u+rwX`), then check again";

constexpr std::string_view kUnneededRemedy =
    "nothing refers to it: remove it with `longrun gc`, or restore it from a backup";

class Checker {
 public:
  Checker(std::string folder, std::unique_ptr<Connection> connection, Result<WalFlaws> flaws_of_log,
          bool is_mark_damaged)
      : folder_(std::move(folder)),
        connection_(std::move(connection)),
        flaws_of_log_(std::move(flaws_of_log)),
        is_mark_damaged_(is_mark_damaged) {}

  Result<DeepCheck> Run() {
    CheckDatabase();
    CheckArtifacts();
    CheckFiles();
    return Finish();
  }

  Result<DatabaseCheck> RunDatabase() {
    CheckDatabase();
    return DatabaseCheck{.found = Finish(), .named = std::move(named_)};
  }

 private:
  void CheckDatabase() {
    CheckLog();
    Try("the database's header",
        CheckHeader(*connection_, JoinPath(folder_, "longrun.db"), Store::SchemaVersion()));
    CheckPages();
    CheckSchema();
    // What the checks above met is met again with its table.
    (void)connection_->row_sums().TakeDamaged();
    // One after the other: of one table at a time a connection keeps what it found.
    for (const SummedTable& table : connection_->row_sums().tables()) {
      if (!extended_.contains(table.name)) CheckTable(table);
    }
    Try("the results of the tasks that succeeded", CheckResultSets());
    if (found_.damaged.empty()) CheckMissing();
    Try("the files that checkpoints and results name", FindNames());
    Try("the files that evaluations name", FindInputFiles());
    CheckId();
    if (is_mark_damaged_) {
      Add("the note of how much was committed to the database's log: longrun.db-mark",
          "the coordinator writes it again when it starts; until then, nobody notices whether the "
          "log is missing or was cut short");
    }
    Try("the registered datasets",
        ForEach(*connection_, "SELECT name, folder, digest FROM dataset ORDER BY name",
                [&](const Statement& row) {
                  std::string folder =
                      CurrentDatasetFolder(folder_, row.Text(0), row.Text(2), row.Text(1));
                  found_.datasets.emplace_back(row.Text(0), std::move(folder));
                }));
  }

  // What is damaged may be any bytes.
  DeepCheck Finish() {
    for (DamagedObject& one : found_.damaged) one.object = PrintableBytes(one.object);
    for (auto& [name, folder] : found_.datasets) {
      name = ToUtf8(name);
      folder = ToUtf8(folder);
    }
    return std::move(found_);
  }

  void Add(std::string object, std::string_view remedy) {
    found_.damaged.push_back({.object = std::move(object), .remedy = std::string(remedy)});
  }

  // A part that could not be read to its end is damaged as a whole.
  void Try(std::string_view what, const Status& status) {
    const bool is_damage = status.code() == Code::kDataLoss || status.code() == Code::kInternal;
    if (!status.ok()) {
      Add(Str(what, " cannot be read: ", status.message()),
          is_damage ? kRestoreRemedy : "correct that, then check again");
    }
  }

  void CheckLog() {
    const Result<WalFlaws>& flaws = flaws_of_log_;
    Try("the database's log", flaws.status());
    if (!flaws.ok()) return;
    Try("the database's log", flaws->lost);
    if (flaws->needless_from) {
      Add(Str("the database's log: longrun.db-wal is damaged at byte ", *flaws->needless_from,
              ", but the database already has all changes from this log"),
          "start the coordinator, which empties it");
      return;
    }
    const std::string_view remedy =
        flaws->lost.ok()
            ? "start the coordinator, which repairs it"
            : "repair the other damage of the log first: until then the coordinator refuses to "
              "start; after that, it repairs this";
    for (const WalPage& page : flaws->in_database) {
      Add(Str("the database's log: the page at byte ", page.offset, " of longrun.db-wal"), remedy);
    }
    for (const WalByte& byte : flaws->flipped) {
      Add(Str("the database's log: one bit of byte ", byte.offset, " of longrun.db-wal flipped"),
          remedy);
    }
  }

  void CheckPages() {
    Try("the database's pages",
        ForEach(*connection_, "PRAGMA integrity_check", [&](const Statement& row) {
          if (row.Text(0) == "ok") return;
          const bool is_mended = ComplaintOf(row.Text(0)) < Complaint::kStructure;
          Add(Str("the database's pages and indexes: ", PlainComplaint(row.Text(0))),
              is_mended ? Str(kRepairRemedy, "; otherwise, ", kRestoreRemedy)
                        : std::string(kRestoreRemedy));
        }));
  }

  void CheckSchema() {
    const Result<std::int64_t> version = connection_->ReadInt("PRAGMA user_version");
    Try("the database's version", version.status());
    if (!version.ok() || *version < 0 || *version > Store::SchemaVersion()) return;
    const auto differences = DifferencesOfSchema(*connection_, *version);
    Try("the database's definitions", differences.status());
    if (!differences.ok()) return;
    const auto added = FindAddedColumns(*connection_, *version);
    Try("the columns of the database's tables", added.status());
    for (const AddedColumn& column : added.ok() ? *added : std::vector<AddedColumn>()) {
      extended_.insert(column.table);
      Add(Str("column ", column.name, ", which somebody added to the database's table ",
              column.table),
          Str(RemedyFor(column),
              ", then check again: because of this column, the rows of the table have no checksum "
              "and were not checked"));
    }
    for (const SchemaDifference& object : *differences) {
      const bool is_table = object.type == "table";
      if (is_table && extended_.contains(object.name)) continue;
      Add(Str("the database's definition of ", object.type, " ", object.name),
          is_table ? kRestoreRemedy : "start the coordinator again, which repairs it");
    }
  }

  void CheckTable(const SummedTable& table) {
    const Result<std::int64_t> n_rows = connection_->ReadInt(
        Str("SELECT count(*) + CAST(0 * total(", RowSums::HoldsCall(table), " AND ",
            RowSums::AgreesCall(table), ") AS INTEGER) FROM main.", table.name));
    if (n_rows.ok()) {
      found_.n_rows += *n_rows;
    } else {
      Try(Str("table ", table.name), n_rows.status());
    }
    const std::vector<DamagedRow> rows = connection_->row_sums().TakeDamaged();
    for (const DamagedRow& row : rows) {
      if (row.table == "result") damaged_results_ += row.key + "\n";
      if (row.table == "artifact" || row.table == "checkpoint_file") all_named_ = false;
      found_.damaged.push_back({.object = Str(row.object, " (", row.table, ": ", row.key, ")"),
                                .remedy = Str(kRestoreRemedy, ", or ", row.remedy)});
    }
    if (rows.size() < RowSums::kDamagedMax) return;
    Add(Str("table ", table.name, ": more damaged rows than the ", rows.size(), " named here"),
        kRestoreRemedy);
  }

  void CheckMissing() {
    const Result<std::vector<DamagedRow>> missing = FindMissingRows(*connection_, true);
    Try("the references between the database's tables", missing.status());
    if (!missing.ok()) return;
    for (const DamagedRow& row : *missing) {
      Add(Str(row.object, " (", row.table, "), which cannot be found"),
          Str(kRestoreRemedy, ", or ", row.remedy));
    }
  }

  // The state folder's id is also in a file beside the database.
  void CheckId() {
    const std::string path = JoinPath(folder_, "database.id");
    const Result<std::string> named = ReadFile(path, 4096);
    const Result<std::string> id =
        connection_->ReadText("SELECT value FROM main.meta WHERE key = 'coordinator_id'");
    Try("the database's own record", id.status());
    if (!id.ok() || (named.ok() && Trim(*named) == *id)) return;
    // One that is missing or empty is written at the next start.
    if (named.ok() ? Trim(*named).empty() : named.status().code() == Code::kNotFound) return;
    Add(Str(path, named.ok() ? " does not have the id of the database beside it"
                             : Str(" cannot be read: ", named.status().message())),
        Str("if the database belongs to this folder, write its id again: `echo ", *id, " > ", path,
            "`"));
  }

  // An attempt's last record has the digest of all its result lines.
  Status CheckResultSets() {
    std::map<std::string, std::string> said;  // attempt -> digest
    RETURN_IF_ERROR(ForEach(*connection_,
                            "SELECT record.attempt, record.line FROM task JOIN record"
                            " ON record.attempt = task.result_attempt AND record.kind = 'final'",
                            [&](const Statement& row) {
                              const auto record = ParseJournalLine(row.Text(1));
                              if (!record.ok()) return;  // it is among the damaged rows
                              const auto* const final = record->As<FinalRecord>();
                              if (final != nullptr && final->digest && final->digest->is_string()) {
                                said[row.Text(0)] = final->digest->get<std::string>();
                              }
                            }));
    std::map<std::string, Sha256> digests;
    std::map<std::string, std::string> names;
    RETURN_IF_ERROR(
        ForEach(*connection_,
                "SELECT task.result_attempt, all_lines.line, task.run_key, task.id FROM task"
                " LEFT JOIN (SELECT attempt, seq, line FROM result UNION ALL"
                "            SELECT attempt, seq, line FROM record WHERE kind = 'result') all_lines"
                " ON all_lines.attempt = task.result_attempt"
                " WHERE task.result_attempt <> '' ORDER BY 1, all_lines.seq",
                [&](const Statement& row) {
                  Sha256& digest = digests.try_emplace(row.Text(0)).first->second;
                  names[row.Text(0)] = Str("the results of run ", row.Text(2).substr(0, 8),
                                           " (task ", row.Text(3).substr(0, 8), ")");
                  if (row.IsNull(1)) return;
                  digest.Update(row.Text(1));
                  digest.Update("\n");
                }));
    for (auto& [attempt, digest] : digests) {
      const auto expected = said.find(attempt);
      if (expected == said.end() || digest.FinishHex() == expected->second) continue;
      if (damaged_results_.find(attempt) != std::string::npos) continue;  // already reported
      Add(Str(names[attempt], " differ from those that its attempt recorded when it ended"),
          Str(kRestoreRemedy, ", or measure them again: `longrun retry`"));
    }
    return Status();
  }

  // Not through an index, in which a damaged bit would hide a name or change it.
  Status FindNames() {
    return ForEach(*connection_,
                   "SELECT file.sha256, file.name, ifnull(task.run_key, ''),"
                   " ifnull(checkpoint.step, 0), task.state = 'SUCCEEDED' AND CASE"
                   " WHEN json_valid(task.final_checkpoint) THEN checkpoint.sha256 ="
                   " json_extract(task.final_checkpoint, '$.sha256') END"
                   " FROM checkpoint_file AS file NOT INDEXED"
                   " LEFT JOIN checkpoint ON checkpoint.sha256 = file.checkpoint"
                   " LEFT JOIN task ON task.id = checkpoint.task"
                   " UNION ALL SELECT artifact.sha256, artifact.name,"
                   " ifnull(task.run_key, ''), 0, 0 FROM artifact NOT INDEXED LEFT JOIN task ON "
                   "task.id = artifact.task",
                   [&](const Statement& row) {
                     const std::string run = row.Text(2).substr(0, 8);
                     named_[row.Text(0)] =
                         run.empty() ? Str(row.Text(1), " of an imported model")
                                     : Str(row.Text(1), " of run ", run, " at step ", row.Int(3));
                     if (row.Int(4) != 0) trained_by_[row.Text(0)] = run;
                   });
  }

  void CheckArtifacts() {
    const std::string artifacts = JoinPath(folder_, "artifacts");
    const Result<std::vector<std::string>> folders = ListFolder(artifacts);
    if (PathExists(artifacts)) Look(artifacts, folders.status());
    for (const std::string& folder : folders.ok() ? *folders : std::vector<std::string>()) {
      if (folder.size() != 2) continue;  // half-done uploads
      CheckDigests(JoinPath(artifacts, folder), false);
    }
    if (!all_looked_at_) return;
    for (const auto& [sha256, file] : named_) {
      if (seen_.contains(sha256)) continue;
      Add(Str("artifact ", sha256, " (", file, ") is missing"), RemedyOf(sha256));
    }
  }

  // What is in a folder that cannot be listed is not missing.
  void Look(const std::string& folder, const Status& status) {
    if (status.ok()) return;
    all_looked_at_ = false;
    Add(Str(folder, " cannot be read: ", status.message()),
        status.code() == Code::kPermissionDenied ? kReadRemedy : kFileRemedy);
  }

  void CheckFiles() {
    const std::string folder = JoinPath(folder_, "files");
    CheckDigests(folder, true);
    if (!all_looked_at_) return;
    for (const auto& [id, run] : input_files_) {
      const std::string path = KeptFilePath(id, folder);
      if (PathExists(path)) continue;
      Add(Str(path, " is missing: the file that evaluations of run ", run, " read"),
          kInputFileRemedy);
    }
  }

  Status FindInputFiles() {
    return ForEach(*connection_,
                   "SELECT evaluation, run_key FROM task NOT INDEXED"
                   " WHERE instr(evaluation, '\"sha256:') > 0",
                   [&](const Statement& row) {
                     for (const std::string& id : InputFileIdsIn(row.Text(0))) {
                       input_files_.emplace(id, row.Text(1).substr(0, 8));
                     }
                   });
  }

  // Files whose name is their SHA-256. `is_needed`: whether a row names them or not.
  void CheckDigests(const std::string& folder, bool is_needed) {
    if (!PathExists(folder)) return;
    const Result<std::vector<std::string>> names = ListFolder(folder);
    Look(folder, names.status());
    for (const std::string& name : names.ok() ? *names : std::vector<std::string>()) {
      if (!IsSha256Hex(name)) continue;
      const std::string path = JoinPath(folder, name);
      const Result<std::string> sha256 = Sha256OfFile(path);
      if (sha256.status().code() == Code::kNotFound) continue;  // removed meanwhile
      seen_.insert(name);
      found_.n_files += 1;
      if (sha256.ok() && *sha256 == name) continue;
      const auto file = named_.find(name);
      Add(Str(path, file == named_.end() ? "" : Str(" (", file->second, ")"),
              sha256.ok() ? " does not match the SHA-256 that is its name"
                          : Str(" cannot be read: ", sha256.status().message())),
          sha256.status().code() == Code::kPermissionDenied ? std::string(kReadRemedy)
          : is_needed                                       ? std::string(kInputFileRemedy)
          : !all_named_ || file != named_.end()             ? RemedyOf(name)
                                                            : std::string(kUnneededRemedy));
    }
  }

  // Of a file that is needed, and missing or damaged.
  std::string RemedyOf(const std::string& sha256) const {
    const auto run = trained_by_.find(sha256);
    return run == trained_by_.end() ? std::string(kFileRemedy) : TrainAgainRemedy(run->second);
  }

  std::string folder_;
  std::unique_ptr<Connection> connection_;
  Result<WalFlaws> flaws_of_log_;
  bool is_mark_damaged_;
  DeepCheck found_;
  std::set<std::string> extended_;                  // tables to which somebody added a column
  std::map<std::string, std::string> named_;        // what a file is, by its SHA-256
  std::map<std::string, std::string> trained_by_;   // the run whose final checkpoint has the file
  std::map<std::string, std::string> input_files_;  // by id: the run of an evaluation that reads it
  bool all_named_ = true;                           // no row that could name one is damaged
  std::set<std::string> seen_;
  bool all_looked_at_ = true;    // every folder of artifacts could be listed
  std::string damaged_results_;  // their keys
};

Result<std::string> FindDatabase(const std::string& state_folder) {
  std::string path = JoinPath(state_folder, "longrun.db");
  if (PathExists(path)) return path;
  const bool was_there = PathExists(JoinPath(state_folder, "database.id"));
  if (was_there) return DamagedDatabase(path, "it is missing, and database.id is there");
  return Status(Code::kNotFound, Str("there is no database ", path));
}

// The flipped definitions that hinder every other check: with another definition of a table nothing
// else can be read, and SQLite may refuse the whole database (`is_readable` is false) for a flipped
// bit in any definition.
DeepCheck HinderingDefinitions(const std::string& path, bool is_readable) {
  DeepCheck found;
  // If this fails, the caller names the error, or meets it again.
  const Result<std::vector<std::string>> flipped = FlippedDefinitions(path);
  if (!flipped.ok()) return found;
  for (const std::string& name : *flipped) {
    if (is_readable && !name.starts_with("table ")) continue;
    found.damaged.push_back({.object = Str("the database's definition of ", name, ", in one bit"),
                             .remedy = "start the coordinator again, which repairs it; then check "
                                       "again, since nothing else in the database was checked"});
  }
  return found;
}

// Opens the database for a Checker. `done` gets what was found if nothing else can be checked.
Result<std::optional<Checker>> OpenChecker(const std::string& state_folder, DeepCheck& done) {
  ASSIGN_OR_RETURN(const std::string path, FindDatabase(state_folder));
  // Before SQLite opens the database: to close another descriptor of the file would free SQLite's
  // locks on it. Beside a coordinator the log is written while it is read,
  // and no start will read it.
  Result<WalFlaws> flaws_of_log = WalFlaws();
  bool is_mark_damaged = false;
  if (!FileLock::IsHeld(CoordinatorLockPath(state_folder))) {
    flaws_of_log = FindWalFlaws(path);
    if (flaws_of_log.ok() && flaws_of_log->lost.ok()) flaws_of_log->lost = CommitMark::Check(path);
    // The flaws of the log include that it cannot be read.
    const Result<bool> is_damaged = CommitMark::IsDamaged(path);
    is_mark_damaged = is_damaged.ok() && *is_damaged;
  }
  auto connection = Connection::Open(path, Connection::Mode::kReadAll);
  if (!connection.ok() || !DefinitionsHold(**connection)) {
    done = HinderingDefinitions(path, connection.ok());
    if (!done.damaged.empty()) return std::optional<Checker>();
  }
  if (!connection.ok()) return NamingDenied(std::move(connection).status().In(path), state_folder);
  return std::optional<Checker>(std::in_place, state_folder, std::move(connection).value(),
                                std::move(flaws_of_log), is_mark_damaged);
}

}  // namespace

Result<DeepCheck> CheckDeep(const std::string& state_folder) {
  DeepCheck done;
  ASSIGN_OR_RETURN(std::optional<Checker> checker, OpenChecker(state_folder, done));
  return checker ? checker->Run() : done;
}

Result<DatabaseCheck> CheckDatabaseDeep(const std::string& folder) {
  DeepCheck done;
  ASSIGN_OR_RETURN(std::optional<Checker> checker, OpenChecker(folder, done));
  return checker ? checker->RunDatabase() : DatabaseCheck{.found = std::move(done), .named = {}};
}

Result<std::vector<std::string>> RepairDatabase(const std::string& state_folder) {
  RETURN_IF_ERROR(FindDatabase(state_folder).status());
  const auto store = Store::Open(state_folder, {.checks_any_size = true});
  if (!store.ok()) return NamingDenied(store.status(), state_folder);
  return (*store)->repairs();
}

}  // namespace longrun::coordinator
