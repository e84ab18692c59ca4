// See backup.h.
#include "coordinator/store/backup.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <optional>
#include <set>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/str.h"
#include "base/version.h"
#include "coordinator/store/backup_file.h"
#include "coordinator/store/sqlite.h"
#include "coordinator/store/store.h"
#include "pki/files.h"

namespace longrun::coordinator {
namespace {

constexpr int kPagesAtOnce = 1024;
constexpr int kSnapshotTriesMax = 5;
// Far less than ArtifactStore::Options::keep_unreferenced_ms.
constexpr std::int64_t kKeepAgainMs = 60'000;

// ---- the snapshot -------------------------------------------------------------------------------

struct CloseDatabase {
  void operator()(sqlite3* db) const { sqlite3_close(db); }
};

// Copies the database as of one moment, page by page: a damaged page stays as it is, so that the
// check of the copy finds it. The open read keeps the moment, however much is committed meanwhile;
// until it ends, the coordinator's log (longrun.db-wal) can only grow.
Status CopyDatabase(const std::string& from, const std::string& to) {
  for (const char* const part : {"", "-wal", "-shm", "-journal"}) {
    RETURN_IF_ERROR(RemoveAll(to + part));
  }
  ASSIGN_OR_RETURN(const auto source, Connection::Open(from, Connection::Mode::kReadAll));
  RETURN_IF_ERROR(source->Execute("BEGIN"));
  RETURN_IF_ERROR(source->ReadInt("SELECT count(*) FROM main.sqlite_schema").status());
  sqlite3* opened = nullptr;
  const int code =
      sqlite3_open_v2(to.c_str(), &opened,
                      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr);
  const std::unique_ptr<sqlite3, CloseDatabase> target(opened);
  const std::string what = Str("copying the database to ", to);
  if (code != SQLITE_OK) return SqliteStatus(opened, code, what);
  // The copy counts only after it was synced, so a journal of it would help nobody.
  if (const int set = sqlite3_exec(opened, "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF",
                                   nullptr, nullptr, nullptr);
      set != SQLITE_OK) {
    return SqliteStatus(opened, set, what);
  }
  sqlite3_backup* const copy = sqlite3_backup_init(opened, "main", source->raw(), "main");
  if (copy == nullptr) return SqliteStatus(opened, sqlite3_errcode(opened), what);
  int step = SQLITE_OK;
  while (step == SQLITE_OK) {
    step = sqlite3_backup_step(copy, kPagesAtOnce);
    Failpoint("backup_mid_snapshot");
  }
  const int finished = sqlite3_backup_finish(copy);
  if (finished != SQLITE_OK) return SqliteStatus(opened, finished, what);
  if (step != SQLITE_DONE) return SqliteStatus(opened, step, what);
  return SyncFile(to);
}

// ---- the artifacts that a snapshot needs --------------------------------------------------------

// Asks the coordinator to keep these files for a while even if nothing refers to them any more. As
// ArtifactStore::Has() does, it renews their times. Returns those that are not there.
Result<std::vector<std::string>> Keep(const std::string& state_folder,
                                      const std::set<std::string>& digests) {
  std::vector<std::string> missing;
  for (const std::string& digest : digests) {
    const std::string path = JoinPath(state_folder, BackupArtifactName(digest));
    if (utimensat(AT_FDCWD, path.c_str(), nullptr, 0) == 0) continue;
    if (errno == ENOENT) {
      missing.push_back(digest);
    } else if (errno != EROFS) {  // where nobody can write, nobody removes anything
      return ErrnoStatus(errno, Str("cannot renew the time of ", path));
    }
  }
  return missing;
}

// ---- one backup ---------------------------------------------------------------------------------

class Taker {
 public:
  Taker(const BackupOptions& options, std::string path)
      : state_(options.state_folder),
        path_(std::move(path)),
        with_artifacts_(options.with_artifacts),
        with_keys_(options.with_keys),
        work_(path_ + ".partial") {}

  Status Begin() {
    RETURN_IF_ERROR(MakeFolder(work_, 0700));
    auto lock = FileLock::Acquire(JoinPath(work_, "lock"), "another backup");
    if (!lock.ok()) {
      if (lock.status().code() != Code::kUnavailable) return lock.status();
      return Status(Code::kUnavailable,
                    Str("another process is writing the backup ", path_,
                        ": wait until it has finished, or choose another name"));
    }
    lock_.emplace(std::move(lock).value());
    return RemoveParts();  // of a process that was killed
  }

  // Removes everything but the finished backup at its final path.
  void End() {
    if (lock_) static_cast<void>(RemoveAll(work_));  // it names itself unfinished if it stays
  }

  Result<CheckedState> Take(bool replaces) {
    RETURN_IF_ERROR(TakeSnapshot());
    RETURN_IF_ERROR(CheckRoom());
    RETURN_IF_ERROR(Write());
    RETURN_IF_ERROR(RemoveAll(snapshot()));
    Failpoint("backup_before_check");
    ASSIGN_OR_RETURN(CheckedState checked, CheckBackupIn(unfinished(), JoinPath(work_, "check")));
    if (!checked.found.damaged.empty()) return checked;
    Failpoint("backup_before_rename");
    RETURN_IF_ERROR(Publish(replaces));
    return checked;
  }

 private:
  std::string snapshot() const { return JoinPath(work_, kBackupDatabase); }
  std::string unfinished() const { return JoinPath(work_, "unfinished"); }

  Status RemoveParts() {
    ASSIGN_OR_RETURN(const std::vector<std::string> names, ListFolder(work_));
    for (const std::string& name : names) {
      if (name != "lock") RETURN_IF_ERROR(RemoveAll(JoinPath(work_, name)));
    }
    return Status();
  }

  // A snapshot, all of whose artifacts are still there and stay for a while. An artifact may have
  // been removed after the snapshot, because a newer checkpoint replaced it: a newer snapshot then
  // no longer names it.
  Status TakeSnapshot() {
    for (int n_tries = 1;; ++n_tries) {
      RETURN_IF_ERROR(CopyDatabase(JoinPath(state_, kBackupDatabase), snapshot()));
      Failpoint("backup_after_snapshot");
      ASSIGN_OR_RETURN(const auto connection,
                       Connection::Open(snapshot(), Connection::Mode::kReadAll));
      ASSIGN_OR_RETURN(facts_, FactsOf(*connection));
      ASSIGN_OR_RETURN(
          id_, connection->ReadText("SELECT value FROM main.meta WHERE key = 'coordinator_id'"));
      if (!with_artifacts_) return Status();
      ASSIGN_OR_RETURN(artifacts_, ArtifactsNamedIn(*connection));
      ASSIGN_OR_RETURN(const std::vector<std::string> missing, Keep(state_, artifacts_));
      kept_at_ms_ = BootMs();
      if (missing.empty()) return Status();
      if (n_tries < kSnapshotTriesMax) continue;
      return Status(Code::kDataLoss,
                    Str("artifact ", missing.front(), " is missing in ", state_,
                        missing.size() == 1 ? "" : Str(", and ", missing.size() - 1, " more"),
                        ": `longrun doctor --deep` says which run needs it; put it back from an "
                        "earlier backup (docs/operating.md), or leave artifacts out "
                        "(--no-artifacts)"));
    }
  }

  Status CheckRoom() {
    std::int64_t n_needed = 0;
    const auto add = [&](const std::string& path) {
      const Result<std::int64_t> n_bytes = FileBytes(path);
      if (n_bytes.ok()) n_needed += *n_bytes;
    };
    add(snapshot());  // in the backup; the snapshot itself is there already
    for (const std::string& digest : artifacts_) {
      add(JoinPath(state_, BackupArtifactName(digest)));
    }
    ASSIGN_OR_RETURN(kept_files_, KeptFiles());
    for (const std::string& digest : kept_files_) {
      add(JoinPath(state_, BackupKeptFileName(digest)));
    }
    ASSIGN_OR_RETURN(const std::int64_t n_free, DiskFreeBytes(work_));
    if (n_free >= n_needed) return Status();
    return Status(Code::kResourceExhausted,
                  Str("the backup ", path_, " needs ", n_needed, " bytes, and ", n_free,
                      " are free there: make room, choose another disk, or leave artifacts out "
                      "(--no-artifacts)"));
  }

  Result<std::vector<std::string>> KeptFiles() const {
    const std::string folder = JoinPath(state_, "files");
    std::vector<std::string> digests;
    if (!PathExists(folder)) return digests;
    ASSIGN_OR_RETURN(digests, ListFolder(folder));
    std::erase_if(digests, [](const std::string& name) { return !IsSha256Hex(name); });
    return digests;
  }

  Status Write() {
    ASSIGN_OR_RETURN(BackupWriter writer, BackupWriter::Create(unfinished(), WallMs()));
    RETURN_IF_ERROR(writer.AddFile(std::string(kBackupDatabase), snapshot()));
    RETURN_IF_ERROR(writer.AddText(std::string(kBackupId), id_ + "\n"));
    if (with_keys_) RETURN_IF_ERROR(AddKeys(writer));
    for (const std::string& digest : artifacts_) {
      if (BootMs() - kept_at_ms_ > kKeepAgainMs) {
        RETURN_IF_ERROR(Keep(state_, artifacts_).status());
        kept_at_ms_ = BootMs();
      }
      const std::string name = BackupArtifactName(digest);
      RETURN_IF_ERROR(writer.AddFile(name, JoinPath(state_, name)));
    }
    for (const std::string& digest : kept_files_) {
      const std::string name = BackupKeptFileName(digest);
      RETURN_IF_ERROR(writer.AddFile(name, JoinPath(state_, name)));
    }
    std::int64_t artifact_bytes = 0, kept_bytes = 0;
    for (const BackupMember& member : writer.members()) {
      if (member.name.starts_with("artifacts/")) artifact_bytes += member.n_bytes;
      if (member.name.starts_with("files/")) kept_bytes += member.n_bytes;
    }
    facts_.update({{"version", Str(kVersion, " ", BuildCommit())},
                   {"with_artifacts", with_artifacts_},
                   {"keys", with_keys_                                 ? "included"
                            : PathExists(PkiPathsOf(state_).authority) ? "left out"
                                                                       : "none"},
                   {"database_bytes", writer.members().front().n_bytes},
                   {"artifacts", artifacts_.size()},
                   {"artifact_bytes", artifact_bytes},
                   {"files", kept_files_.size()},
                   {"file_bytes", kept_bytes}});
    RETURN_IF_ERROR(writer.Finish(facts_));
    // So that the check reads what the disk has, and not what memory still has of it.
    const int fd = open(unfinished().c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return ErrnoStatus(errno, Str("cannot open ", unfinished()));
    static_cast<void>(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
    close(fd);
    return Status();
  }

  // The file was made with mode 0600, but not every file system keeps modes.
  Status AddKeys(BackupWriter& writer) {
    ASSIGN_OR_RETURN(const int mode, ModeForOthers(unfinished()));
    if (mode != 0) {
      return Status(Code::kFailedPrecondition,
                    Str("the file system of ", FolderOf(path_),
                        " does not keep the mode of a file, so others could read the keys in the "
                        "backup: choose a folder on another file system, or leave out "
                        "--with-keys"));
    }
    ASSIGN_OR_RETURN(const PkiFiles keys, ReadPki(state_));
    ASSIGN_OR_RETURN(const CertificateFacts authority, ReadCertificate(keys.authority));
    facts_["authority"] = authority.fingerprint;
    for (std::size_t i = 0; i < std::size(kBackupKeys); ++i) {
      const std::string* const texts[] = {&keys.authority_key, &keys.authority, &keys.key,
                                          &keys.chain};
      RETURN_IF_ERROR(writer.AddText(std::string(kBackupKeys[i]), *texts[i]));
    }
    return Status();
  }

  Status Publish(bool replaces) {
    const std::string from = unfinished();
    const unsigned flags = replaces ? 0 : RENAME_NOREPLACE;
    int code = renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, path_.c_str(), flags);
    if (code != 0 && errno == EINVAL) {  // a file system without RENAME_NOREPLACE
      code = link(from.c_str(), path_.c_str());
    }
    if (code != 0) {
      if (errno == EEXIST) return Exists(path_);
      return ErrnoStatus(errno, Str("cannot rename ", from, " to ", path_));
    }
    return SyncFolder(FolderOf(path_));
  }

 public:
  static Status Exists(const std::string& path) {
    return Status(Code::kAlreadyExists,
                  Str(path, " exists already: choose another name, or give --replace"));
  }

 private:
  const std::string state_;
  const std::string path_;
  const bool with_artifacts_;
  const bool with_keys_;
  const std::string work_;
  std::optional<FileLock> lock_;
  Json facts_;
  std::string id_;
  std::set<std::string> artifacts_;
  std::vector<std::string> kept_files_;
  std::int64_t kept_at_ms_ = 0;
};

std::string RealPath(const std::string& path) {
  char resolved[PATH_MAX];
  return realpath(path.c_str(), resolved) != nullptr ? resolved : path;
}

Status CheckPlace(const BackupOptions& options, const std::string& path) {
  if (IsFolder(path)) {
    return Status(Code::kInvalidArgument,
                  Str(path, " is a folder: name a file, such as ", JoinPath(path, "longrun.tar")));
  }
  if (PathExists(path) && !options.replaces) return Taker::Exists(path);
  if (PathExists(path) && options.with_keys) {
    ASSIGN_OR_RETURN(const int mode, ModeForOthers(path));
    if (mode != 0) {
      return Status(Code::kFailedPrecondition,
                    Str("others may read or write ", path,
                        ", and a backup with keys must be for its owner only: `chmod 600 ", path,
                        "`, or choose another name"));
    }
  }
  const std::string folder = FolderOf(path);
  if (!IsFolder(folder)) {
    return Status(Code::kNotFound, Str("there is no folder ", folder,
                                       " for the backup: make it "
                                       "(`mkdir -p`), or choose another one"));
  }
  const std::string inside = RealPath(options.state_folder) + "/";
  if ((RealPath(folder) + "/").starts_with(inside)) {
    return Status(Code::kInvalidArgument,
                  Str(path,
                      " is in the state folder: a backup that is lost with it helps nobody; "
                      "choose another folder, on another disk if possible"));
  }
  return Status();
}

}  // namespace

Result<CheckedState> WriteBackup(const BackupOptions& options) {
  ASSIGN_OR_RETURN(const std::string path, AbsolutePath(options.path));
  RETURN_IF_ERROR(CheckStateDatabase(options.state_folder));
  RETURN_IF_ERROR(CheckPlace(options, path));
  if (options.with_keys) RETURN_IF_ERROR(ReadPki(options.state_folder).status());
  RETURN_IF_ERROR(CheckLogOfStopped(options.state_folder));
  Taker taker(options, path);
  Status begun = taker.Begin();
  if (!begun.ok()) return begun;
  Result<CheckedState> taken = taker.Take(options.replaces);
  taker.End();
  return taken;
}

}  // namespace longrun::coordinator
