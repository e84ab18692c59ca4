// See backup_check.h.
#include "coordinator/store/backup_check.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/access.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/str.h"
#include "coordinator/store/backup_file.h"
#include "coordinator/store/commit_mark.h"
#include "coordinator/store/sqlite.h"
#include "coordinator/store/store.h"
#include "coordinator/store/wal_check.h"
#include "sweeps/coordinator_lock.h"

namespace longrun::coordinator {
namespace {

constexpr std::string_view kOtherBackup =
    "restore from another backup; `tar -xf` still unpacks the undamaged files of this one";

// kFailedPrecondition for a database of a newer release, which this one cannot check.
Status CheckRelease(const BackupFile& backup) {
  const Json& facts = backup.facts();
  const std::int64_t version = facts.value("schema_version", std::int64_t{0});
  if (version <= Store::SchemaVersion()) return Status();
  return Status(Code::kFailedPrecondition,
                Str("the backup ", backup.path(), " was taken by longrun ",
                    facts.value("version", "of a newer release"), " and has schema version ",
                    version, "; this release knows versions up to ", Store::SchemaVersion(),
                    ": use that release or a newer one"));
}

}  // namespace

Result<Json> FactsOf(Connection& connection) {
  Json facts = Json::object();
  const auto count = [&](const char* name, const std::string& sql) -> Status {
    ASSIGN_OR_RETURN(const std::int64_t n, connection.ReadInt(sql));
    facts[name] = n;
    return Status();
  };
  const auto meta = [](std::string_view key) {
    return Str("SELECT coalesce((SELECT value FROM main.meta WHERE key = '", key, "'), 0)");
  };
  RETURN_IF_ERROR(count("schema_version", "PRAGMA user_version"));
  RETURN_IF_ERROR(count("restore_count", meta("restore_count")));
  RETURN_IF_ERROR(count("boot_epoch", meta("boot_epoch")));
  RETURN_IF_ERROR(count("sweeps", "SELECT count(*) FROM main.sweep"));
  RETURN_IF_ERROR(count("runs", "SELECT count(*) FROM main.run"));
  RETURN_IF_ERROR(count("tasks", "SELECT count(*) FROM main.task"));
  RETURN_IF_ERROR(
      count("tasks_succeeded", "SELECT count(*) FROM main.task WHERE state = 'SUCCEEDED'"));
  RETURN_IF_ERROR(count("attempts", "SELECT count(*) FROM main.attempt"));
  RETURN_IF_ERROR(count("attempts_live",
                        "SELECT count(*) FROM main.attempt"
                        " WHERE state IN ('OFFERED', 'ACCEPTED', 'RUNNING')"));
  RETURN_IF_ERROR(count("results", "SELECT count(*) FROM main.result"));
  ASSIGN_OR_RETURN(facts["coordinator_id"], connection.ReadText(meta("coordinator_id")));
  return facts;
}

Result<std::set<std::string>> ArtifactsNamedIn(Connection& connection) {
  std::set<std::string> digests;
  for (const char* const table : {"checkpoint_file", "artifact"}) {
    ASSIGN_OR_RETURN(const std::vector<std::string> found,
                     connection.ReadTexts(Str("SELECT sha256 FROM main.", table, " NOT INDEXED")));
    for (const std::string& digest : found) {
      if (IsSha256Hex(digest)) digests.insert(digest);  // else the row is damaged, and is reported
    }
  }
  return digests;
}

Status CheckStateDatabase(const std::string& state_folder) {
  const std::string path = JoinPath(state_folder, kBackupDatabase);
  const Result<std::int64_t> n_bytes = FileBytes(path);
  if (n_bytes.ok() && *n_bytes > 0) return Status();
  if (!n_bytes.ok() && n_bytes.status().code() != Code::kNotFound) {
    return NamingDenied(n_bytes.status(), state_folder);
  }
  return Status(Code::kNotFound,
                Str("there is no database in the state folder ", state_folder,
                    ": give the coordinator's folder with --state, on the coordinator's machine"));
}

Status CheckLogOfStopped(const std::string& state_folder) {
  if (FileLock::IsHeld(CoordinatorLockPath(state_folder))) return Status();
  const std::string path = JoinPath(state_folder, kBackupDatabase);
  ASSIGN_OR_RETURN(const WalFlaws flaws, FindWalFlaws(path));
  RETURN_IF_ERROR(flaws.lost);
  return CommitMark::Check(path);
}

Result<CheckedState> CheckAndExtract(const BackupFile& backup, const std::string& work) {
  RETURN_IF_ERROR(CheckRelease(backup));
  RETURN_IF_ERROR(RemoveAll(work));
  RETURN_IF_ERROR(MakeFolder(work, 0700));
  struct Part {
    std::string digest;  // of an artifact, else ""
    std::string what;
  };
  std::vector<Part> parts;
  RETURN_IF_ERROR(backup.Read(
      [&](const BackupMember& member) {
        const bool is_extracted = member.name == kBackupDatabase || member.name == kBackupId;
        return is_extracted ? JoinPath(work, member.name) : std::string();
      },
      [&](const BackupMember* member, std::string what) {
        const bool is_artifact = member != nullptr && member->name.starts_with("artifacts/");
        parts.push_back(
            {.digest = is_artifact ? DigestInName(member->name) : "", .what = std::move(what)});
      }));
  std::map<std::string, std::string> named;
  CheckedState checked = {.facts = backup.facts(), .found = {}};
  auto database = CheckDatabaseDeep(work);
  if (database.ok()) {
    checked.found = std::move(database->found);
    named = std::move(database->named);
  } else if (parts.empty()) {
    return database.status();
  } else {
    checked.found.damaged.push_back(
        {.object = database.status().message(), .remedy = std::string(kOtherBackup)});
  }
  std::vector<DamagedObject> damaged;
  for (const Part& part : parts) {
    const auto known = named.find(part.digest);
    damaged.push_back({.object = Str(part.what, " in ", backup.path(),
                                     known == named.end() ? "" : Str(" (", known->second, ")")),
                       .remedy = std::string(kOtherBackup)});
  }
  std::set<std::string> there;
  for (const BackupMember& member : backup.members()) there.insert(DigestInName(member.name));
  checked.found.n_files = static_cast<std::int64_t>(backup.members().size());
  if (checked.facts.value("with_artifacts", true)) {
    for (const auto& [digest, what] : named) {
      if (there.contains(digest)) continue;
      damaged.push_back(
          {.object = Str("artifact ", digest, " (", what, ") is not in ", backup.path()),
           .remedy = std::string(kOtherBackup)});
    }
  }
  std::vector<DamagedObject>& all = checked.found.damaged;
  all.insert(all.begin(), damaged.begin(), damaged.end());
  return checked;
}

Result<CheckedState> CheckBackupIn(const std::string& path, const std::string& work) {
  ASSIGN_OR_RETURN(const BackupFile backup, BackupFile::Open(path));
  Result<CheckedState> checked = CheckAndExtract(backup, work);
  RETURN_IF_ERROR(RemoveAll(work));
  return checked;
}

Result<CheckedState> CheckBackup(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string absolute, AbsolutePath(path));
  const TempFolder temporary;
  ASSIGN_OR_RETURN(CheckedState checked,
                   CheckBackupIn(absolute, JoinPath(temporary.path(), "backup")));
  // The remedies of a live folder, such as `longrun retry`, change nothing in a file.
  for (DamagedObject& one : checked.found.damaged) one.remedy = kOtherBackup;
  return checked;
}

Result<CheckedState> CheckState(const std::string& state_folder) {
  RETURN_IF_ERROR(CheckStateDatabase(state_folder));
  ASSIGN_OR_RETURN(DeepCheck found, CheckDeep(state_folder));
  CheckedState checked = {.facts = Json::object(), .found = std::move(found)};
  const std::string path = JoinPath(state_folder, kBackupDatabase);
  const auto connection = Connection::Open(path, Connection::Mode::kReadAll);
  if (connection.ok()) {
    const Result<Json> facts = FactsOf(**connection);
    // Otherwise the damage was found, and is reported.
    if (facts.ok()) checked.facts = *facts;
  }
  const Result<std::int64_t> n_bytes = FileBytes(path);
  if (n_bytes.ok()) checked.facts["database_bytes"] = *n_bytes;
  return checked;
}

}  // namespace longrun::coordinator
