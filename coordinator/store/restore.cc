// See restore.h. The order of the steps decides what a kill leaves behind:
//
//   1. STATE/restoring/longrun.db   extracted, checked and counted; STATE is as before
//   2. artifacts and files          added under their SHA-256; a coordinator would not mind them
//   3. STATE/database.id            from here on, a missing longrun.db is refused
//   4. STATE/replaced-DATE/         the earlier database goes there: no coordinator starts now;
//                                   and the keys of another authority
//   5. STATE/pki                    the backup's keys, if it has any and the folder has none
//   6. STATE/longrun.db             renamed into place, with no log of another database beside it
#include "coordinator/store/restore.h"

#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <memory>
#include <optional>
#include <set>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/str.h"
#include "coordinator/store/backup_check.h"
#include "coordinator/store/backup_file.h"
#include "coordinator/store/meta.h"
#include "coordinator/store/sqlite.h"
#include "coordinator/store/store.h"
#include "pki/files.h"
#include "sweeps/coordinator_lock.h"

namespace longrun::coordinator {
namespace {

constexpr const char* kDatabaseParts[] = {"longrun.db", "longrun.db-wal", "longrun.db-shm",
                                          "longrun.db-mark"};

constexpr const char* kReplaced = "replaced-";

// What the database that is replaced knows. A damaged one may know nothing.
struct Earlier {
  bool is_read = false;
  std::int64_t restore_count = 0;
  std::int64_t boot_epoch = 0;
  std::set<std::string> attempts;
  std::vector<std::pair<std::string, std::string>> sweeps;  // id and name, oldest first
  IdentityRows identity;
};

// Of the workers of other machines: those that the database accepts, by id.
std::vector<std::string> MembersOf(const IdentityRows& identity) {
  std::vector<std::string> members;
  for (const WorkerCertificateRow& one : identity.certificates) {
    if (!one.revoked_ms) members.push_back(one.worker);
  }
  return members;
}

// A damaged row is not seen: what it said of an end is unknown.
IdentityRows IdentityIn(const std::string& path) {
  const auto connection = Connection::Open(path, Connection::Mode::kRead);
  if (!connection.ok()) return {};
  const Result<IdentityRows> rows = ReadIdentity(**connection);
  return rows.ok() ? *rows : IdentityRows();
}

Result<Earlier> ReadEarlier(const std::string& path) {
  ASSIGN_OR_RETURN(const auto connection, Connection::Open(path, Connection::Mode::kReadAll));
  ASSIGN_OR_RETURN(const Json facts, FactsOf(*connection));
  Earlier earlier = {.is_read = true,
                     .restore_count = facts.at("restore_count").get<std::int64_t>(),
                     .boot_epoch = facts.at("boot_epoch").get<std::int64_t>(),
                     .attempts = {},
                     .sweeps = {},
                     .identity = IdentityIn(path)};
  ASSIGN_OR_RETURN(const std::vector<std::string> attempts,
                   connection->ReadTexts("SELECT id FROM main.attempt"));
  earlier.attempts.insert(attempts.begin(), attempts.end());
  RETURN_IF_ERROR(ForEach(
      *connection, "SELECT id, name FROM main.sweep ORDER BY submitted_seq",
      [&](const Statement& row) { earlier.sweeps.emplace_back(row.Text(0), row.Text(1)); }));
  return earlier;
}

class Restorer {
 public:
  Restorer(const RestoreOptions& options, const BackupFile& backup)
      : state_(options.state_folder),
        replaces_(options.replaces),
        backup_(backup),
        work_(JoinPath(state_, "restoring")),
        was_killed_(PathExists(work_)) {}

  Result<Restored> Restore() {
    RETURN_IF_ERROR(CheckPlace());
    RETURN_IF_ERROR(CheckRoom());
    ASSIGN_OR_RETURN(const CheckedState checked, CheckAndExtract(backup_, work_));
    if (!checked.found.damaged.empty()) return Refusal(checked.found);
    RETURN_IF_ERROR(ReadKeys());
    restored_.facts = checked.facts;
    RETURN_IF_ERROR(FinishMove());
    ReadReplaced();
    RETURN_IF_ERROR(CountRestore());
    Failpoint("restore_before_files");
    RETURN_IF_ERROR(AddFiles());
    for (const std::string& digest : artifacts_) {
      restored_.n_artifacts_missing += PathExists(At(BackupArtifactName(digest))) ? 0 : 1;
    }
    RETURN_IF_ERROR(Install());
    return restored_;
  }

  // After an error, the extracted database must not stay; after a success, it has been renamed.
  Status CleanUp() { return RemoveAll(work_); }

 private:
  std::string At(std::string_view name) const { return JoinPath(state_, name); }

  Status CheckPlace() const {
    if (replaces_) return Status();
    for (const char* const part : kDatabaseParts) {
      if (!PathExists(At(part))) continue;
      return Status(Code::kAlreadyExists,
                    Str("the state folder ", state_, " has a database (", part,
                        "): restore into an empty folder, or give --replace, which moves the "
                        "database to a folder beside it and keeps artifacts, datasets and workers' "
                        "folders"));
    }
    return Status();
  }

  Status CheckRoom() const {
    std::int64_t n_needed = 0;
    for (const BackupMember& member : backup_.members()) {
      if (!PathExists(At(member.name)) || DigestInName(member.name).empty()) {
        n_needed += member.n_bytes;
      }
    }
    ASSIGN_OR_RETURN(const std::int64_t n_free, DiskFreeBytes(state_));
    if (n_free >= n_needed) return Status();
    return Status(Code::kResourceExhausted,
                  Str("restoring ", backup_.path(), " needs ", n_needed, " bytes in ", state_,
                      ", and ", n_free, " are free there: make room, or choose another folder"));
  }

  // The keys in the backup, and whether they are those of another authority than the folder has.
  Status ReadKeys() {
    const std::string authority_path = PkiPathsOf(state_).authority;
    restored_.keys = PathExists(authority_path) ? "kept" : "missing";
    if (!backup_.has_keys()) return Status();
    PkiFiles keys;
    std::string* const texts[] = {&keys.authority_key, &keys.authority, &keys.key, &keys.chain};
    const std::string temporary = JoinPath(work_, "key");
    for (const BackupMember& member : backup_.members()) {
      const auto* const name = std::ranges::find(kBackupKeys, member.name);
      if (name == std::end(kBackupKeys)) continue;
      RETURN_IF_ERROR(backup_.Extract(member, temporary));
      ASSIGN_OR_RETURN(*texts[name - std::begin(kBackupKeys)], ReadFile(temporary));
    }
    RETURN_IF_ERROR(RemoveAll(temporary));
    if (restored_.keys == "missing") {
      keys_ = std::move(keys);
      return Status();
    }
    const Result<std::string> there = ReadFile(authority_path);
    if (there.ok() && *there == keys.authority) return Status();
    if (!replaces_) {
      return Status(Code::kAlreadyExists,
                    Str("the state folder ", state_,
                        " has the keys of another authority (pki) than the backup: restore into "
                        "an empty folder, or give --replace, which moves them to a folder beside "
                        "it; workers and people that trust them then have to join and log in "
                        "again"));
    }
    moves_keys_ = true;
    keys_ = std::move(keys);
    return Status();
  }

  Status InstallKeys() {
    if (!keys_) return Status();
    RETURN_IF_ERROR(WritePki(state_, *keys_));
    restored_.keys = "restored";
    ASSIGN_OR_RETURN(const CertificateFacts certificate, ReadCertificate(keys_->chain));
    restored_.names = certificate.names;
    return Status();
  }

  Status Refusal(const DeepCheck& found) const {
    // A damaged database comes first, and then what it has of which run.
    constexpr std::size_t kShown = 3;
    std::vector<std::string> objects;
    for (const DamagedObject& one : found.damaged) {
      if (objects.size() < kShown) objects.push_back(one.object);
    }
    const std::size_t n_more = found.damaged.size() - objects.size();
    if (n_more > 0) objects.push_back(Str("and ", n_more, " more"));
    return Status(Code::kDataLoss,
                  Str("the backup ", backup_.path(), " is damaged (", Join(objects, "; "),
                      "), and nothing was restored: `longrun admin check ", backup_.path(),
                      "` lists the damage; restore from another backup"));
  }

  // The newest folder to which a restore has moved a database; "": there is none.
  std::string NewestReplaced() const {
    std::string newest;
    const Result<std::vector<std::string>> names = ListFolder(state_);
    for (const std::string& name : names.ok() ? *names : std::vector<std::string>()) {
      if (name.starts_with(kReplaced)) newest = At(name);  // the last name is the newest
    }
    return newest;
  }

  // If a restore was killed after it had moved the database that is replaced, what belongs to that
  // database follows it now: it must not be read, nor kept, without its log.
  Status FinishMove() {
    if (!was_killed_ || PathExists(At(kBackupDatabase))) return Status();
    restored_.moved_to = NewestReplaced();
    if (restored_.moved_to.empty()) return Status();
    for (const char* const part : kDatabaseParts) {
      const std::string to = JoinPath(restored_.moved_to, part);
      if (PathExists(At(part)) && !PathExists(to)) RETURN_IF_ERROR(RenameSync(At(part), to));
    }
    return Status();
  }

  // The database that is replaced. If a restore was killed, it has been moved already.
  void ReadReplaced() {
    std::string path = At(kBackupDatabase);
    const std::string replaced = NewestReplaced();
    if (!PathExists(path) && !replaced.empty()) path = JoinPath(replaced, kBackupDatabase);
    if (!PathExists(path)) return;
    Result<Earlier> earlier = ReadEarlier(path);
    if (earlier.ok()) earlier_ = std::move(earlier).value();
  }

  // In the extracted database, before anybody can open it in its place.
  Status CountRestore() {
    const std::string path = JoinPath(work_, kBackupDatabase);
    ASSIGN_OR_RETURN(auto connection, Connection::Open(path, Connection::Mode::kWrite));
    RETURN_IF_ERROR(connection->FindRowSums());
    RETURN_IF_ERROR(connection->row_sums().Keep());
    ASSIGN_OR_RETURN(const Json facts, FactsOf(*connection));
    restored_.restore_count =
        1 + std::max(facts.at("restore_count").get<std::int64_t>(), earlier_.restore_count);
    // Starts are far rarer than seconds. So the wall clock gives a number that is larger than that
    // of every start since the backup, even if the same backup was restored elsewhere.
    const std::int64_t boot_epoch = std::max(
        {facts.at("boot_epoch").get<std::int64_t>() + 1, earlier_.boot_epoch + 1, WallMs() / 1000});
    RETURN_IF_ERROR(connection->Execute("BEGIN IMMEDIATE"));
    for (const auto& [key, value] :
         {std::pair<std::string_view, std::int64_t>{"restore_count", restored_.restore_count},
          {"boot_epoch", boot_epoch},
          {kRestoredKey, WallMs()}}) {
      RETURN_IF_ERROR(PutMeta(*connection, key, Str(value)));
    }
    RETURN_IF_ERROR(TakeOverEnds(*connection));
    RETURN_IF_ERROR(ProlongCertificates(*connection));
    RETURN_IF_ERROR(connection->Execute("COMMIT"));
    RETURN_IF_ERROR(Compare(*connection));
    // Its log must be in the file, since only the file is renamed.
    RETURN_IF_ERROR(connection->Execute("PRAGMA wal_checkpoint(TRUNCATE)"));
    connection.reset();
    for (const char* const part : {"-wal", "-shm"}) RETURN_IF_ERROR(RemoveAll(path + part));
    return SyncFile(path);
  }

  Status TakeOverEnds(Connection& connection) {
    ASSIGN_OR_RETURN(identity_, ReadIdentity(connection));
    AccessSince& since = restored_.access;
    since = EndAccess(earlier_.identity, identity_, WallMs());
    for (const TokenRow& token : since.tokens_ended) {
      ASSIGN_OR_RETURN(
          Statement end,
          connection.Prepare("UPDATE access_token SET ended_ms = ?, ended_by = ? WHERE id = ?"));
      RETURN_IF_ERROR(end.Bind(token.ended_ms).Bind(token.ended_by).Bind(token.id).Run());
    }
    for (const auto* const rows : {&since.workers_revoked, &since.workers_replaced}) {
      for (const WorkerCertificateRow& one : *rows) {
        ASSIGN_OR_RETURN(
            Statement revoke,
            connection.Prepare("UPDATE worker_certificate SET revoked_ms = ? WHERE worker = ?"));
        RETURN_IF_ERROR(revoke.Bind(one.revoked_ms).Bind(one.worker).Run());
      }
    }
    return Status();
  }

  // Workers renew their certificates, so they may have newer ones than the backup knows. A row that
  // has expired would lock them out, although their certificates are valid (which TLS checks). So
  // each row gets the longest time that a certificate of its worker can still have.
  Status ProlongCertificates(Connection& connection) const {
    if (MembersOf(identity_).empty()) return Status();
    return connection.Execute(Str("UPDATE worker_certificate SET expires_ms = max(expires_ms, ",
                                  WallMs(), " + expires_ms - issued_ms) WHERE revoked_ms IS NULL"));
  }

  // What the people who restore should know of both databases.
  Status Compare(Connection& connection) {
    restored_.replaced_is_read = earlier_.is_read;
    std::set<std::string> sweeps;
    ASSIGN_OR_RETURN(const std::vector<std::string> ids,
                     connection.ReadTexts("SELECT id FROM main.sweep"));
    sweeps.insert(ids.begin(), ids.end());
    for (const auto& [id, name] : earlier_.sweeps) {
      if (!sweeps.contains(id)) restored_.sweeps_since.push_back(name);
    }
    ASSIGN_OR_RETURN(const std::vector<std::string> attempts,
                     connection.ReadTexts("SELECT id FROM main.attempt"));
    for (const std::string& id : attempts) earlier_.attempts.erase(id);
    restored_.n_attempts_since = std::ssize(earlier_.attempts);
    restored_.members = MembersOf(identity_);
    ASSIGN_OR_RETURN(restored_.workers,
                     connection.ReadTexts("SELECT id FROM main.worker ORDER BY id"));
    std::set<std::string> refused(restored_.access.workers_to_join.begin(),
                                  restored_.access.workers_to_join.end());
    for (const WorkerCertificateRow& one : identity_.certificates) {
      if (one.revoked_ms) refused.insert(one.worker);
    }
    std::erase_if(restored_.workers,
                  [&](const std::string& worker) { return refused.contains(worker); });
    ASSIGN_OR_RETURN(artifacts_, ArtifactsNamedIn(connection));
    restored_.n_attempts_live = restored_.facts.value("attempts_live", std::int64_t{0});
    return ForEach(connection, "SELECT name, folder FROM main.dataset ORDER BY name",
                   [&](const Statement& row) {
                     const std::string folder =
                         row.Text(1).starts_with('/') ? row.Text(1) : At(row.Text(1));
                     if (!IsFolder(folder)) {
                       restored_.datasets_missing.emplace_back(row.Text(0), folder);
                     }
                   });
  }

  // A file that is there already is read, since the damage of one may be the reason to restore.
  Status AddFiles() {
    const std::string temporary = JoinPath(work_, "file");
    for (const BackupMember& member : backup_.members()) {
      const std::string digest = DigestInName(member.name);
      if (digest.empty()) continue;
      const std::string path = At(member.name);
      if (const Result<std::string> there = Sha256OfFile(path); there.ok() && *there == digest) {
        continue;
      }
      RETURN_IF_ERROR(backup_.Extract(member, temporary));
      RETURN_IF_ERROR(MakeFolders(FolderOf(path), 0700));
      RETURN_IF_ERROR(RenameSync(temporary, path));
      restored_.n_files_new += 1;
      Failpoint("restore_after_file");
    }
    return Status();
  }

  Status Install() {
    ASSIGN_OR_RETURN(const std::string id, ReadFile(JoinPath(work_, kBackupId)));
    const Result<std::string> earlier_id = ReadFile(At(kBackupId));
    RETURN_IF_ERROR(WriteFileAtomic(At(kBackupId), id, 0600));
    Failpoint("restore_after_id");
    for (const char* const part : kDatabaseParts) {
      if (!PathExists(At(part))) continue;
      if (restored_.moved_to.empty() || PathExists(JoinPath(restored_.moved_to, part))) {
        RETURN_IF_ERROR(MakeReplacedFolder(earlier_id));
      }
      RETURN_IF_ERROR(RenameSync(At(part), JoinPath(restored_.moved_to, part)));
      Failpoint("restore_after_move");
    }
    if (moves_keys_) {
      if (restored_.moved_to.empty()) RETURN_IF_ERROR(MakeReplacedFolder(earlier_id));
      RETURN_IF_ERROR(RenameSync(PkiPathsOf(state_).folder, JoinPath(restored_.moved_to, "pki")));
    }
    RETURN_IF_ERROR(InstallKeys());
    RETURN_IF_ERROR(SyncFolder(state_));
    RETURN_IF_ERROR(RenameSync(JoinPath(work_, kBackupDatabase), At(kBackupDatabase)));
    Failpoint("restore_after_install");
    return Status();
  }

  Status MakeReplacedFolder(const Result<std::string>& earlier_id) {
    std::string date = FormatWallMs(WallMs());  // 2026-11-20T08:03:46Z
    std::erase_if(date, [](char c) { return c == '-' || c == ':'; });
    restored_.moved_to = At(Str(kReplaced, date));
    for (int n = 2; PathExists(restored_.moved_to); ++n) {
      restored_.moved_to = At(Str(kReplaced, date, n < 10 ? "-0" : "-", n));
    }
    RETURN_IF_ERROR(MakeFolder(restored_.moved_to, 0700));
    if (!earlier_id.ok()) return Status();
    return WriteFileAtomic(JoinPath(restored_.moved_to, kBackupId), *earlier_id, 0600);
  }

  const std::string state_;
  const bool replaces_;
  const BackupFile& backup_;
  const std::string work_;
  const bool was_killed_;  // the restore before
  Earlier earlier_;
  IdentityRows identity_;            // of the restored database
  std::optional<PkiFiles> keys_;     // to install
  bool moves_keys_ = false;          // those that are there, aside
  std::set<std::string> artifacts_;  // that the restored database refers to
  Restored restored_;
};

Status IsInUse(const std::string& state_folder) {
  const std::optional<CoordinatorHolder> holder = ReadCoordinatorLock(state_folder);
  const std::string who = holder && IsAlive(*holder) ? Str(" (pid ", holder->pid, ")") : "";
  return Status(Code::kUnavailable,
                Str("a coordinator", who, " uses the state folder ", state_folder,
                    ": stop it first (`systemctl stop longrun-coordinator`, or Ctrl-C where "
                    "`longrun up` runs)"));
}

}  // namespace

Result<Restored> RestoreBackup(const RestoreOptions& options) {
  ASSIGN_OR_RETURN(const std::string path, AbsolutePath(options.path));
  ASSIGN_OR_RETURN(const BackupFile backup, BackupFile::Open(path));
  RETURN_IF_ERROR(MakeFolders(options.state_folder, 0700));
  const auto lock =
      CoordinatorLock::Acquire(options.state_folder, {.pid = getpid(), .is_momentary = false});
  if (!lock.ok()) {
    return lock.status().code() == Code::kUnavailable ? IsInUse(options.state_folder)
                                                      : lock.status();
  }
  Restorer restorer(options, backup);
  Result<Restored> restored = restorer.Restore();
  const Status clean = restorer.CleanUp();
  if (restored.ok() && !clean.ok()) return clean;
  return restored;
}

}  // namespace longrun::coordinator
