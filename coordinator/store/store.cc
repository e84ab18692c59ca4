// Opening, migrating, transactions, and the WAL. Writes are in apply.cc, loading in load.cc.
#include "coordinator/store/store.h"

#include <sqlite3.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>

#include "base/check.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/files.h"
#include "base/log.h"
#include "base/random.h"
#include "base/str.h"
#include "base/units.h"
#include "base/version.h"
#include "coordinator/store/commit_mark.h"
#include "coordinator/store/complete_check.h"
#include "coordinator/store/lock_patience.h"
#include "coordinator/store/mend_definitions.h"
#include "coordinator/store/mend_rows.h"
#include "coordinator/store/meta.h"
#include "coordinator/store/migrations.h"
#include "coordinator/store/schema.h"
#include "coordinator/store/sqlite.h"
#include "coordinator/store/wal_check.h"
#include "coordinator/store/whole_check.h"

namespace longrun::coordinator {
namespace {

// Larger databases are not read completely at every start, but by `longrun doctor --repair`. A
// truncated file is still found, and a damaged page or row when it is read.
constexpr std::int64_t kCheckBytesMax = 16ll << 20;
constexpr std::size_t kDamagedShown = 20;
constexpr std::size_t kDamagedKept = 10'000;
constexpr int kWalPagesMax = 4096;                 // 16 MiB of 4 KiB pages
constexpr std::int64_t kWalBytesMax = 16ll << 20;  // size that a restarted WAL keeps
constexpr std::int64_t kPagesKib = 64 << 10;
constexpr std::int64_t kPagesOfPartsKib = 512 << 10;  // 100,000 runs make a database of 375 MiB
constexpr int kReadersMs = 20;
constexpr const char* kDatabaseName = "longrun.db";
constexpr const char* kIdName = "database.id";

// The process that the lock names, unless it has ended.
std::optional<CoordinatorHolder> LivingHolder(const std::string& folder) {
  std::optional<CoordinatorHolder> holder = ReadCoordinatorLock(folder);
  if (holder && !IsAlive(*holder)) holder.reset();
  return holder;
}

Result<CoordinatorLock> TakeLock(const std::string& folder, const StoreOptions& options) {
  constexpr timespec kPause = {.tv_sec = 0, .tv_nsec = 5'000'000};
  LockPatience patience;
  while (true) {
    auto lock =
        CoordinatorLock::Acquire(folder, {.pid = getpid(), .is_momentary = options.is_momentary});
    const bool is_held = !lock.ok() && lock.status().code() == Code::kUnavailable;
    if (!is_held || options.is_momentary) return lock;
    const std::optional<CoordinatorHolder> holder = LivingHolder(folder);
    if (!patience.Lasts(BootMs(), holder) || (holder && !options.waits_for)) return lock;
    if (holder && !options.waits_for(*holder)) {
      return Status(Code::kCancelled, Str("stopped waiting for the state folder ", folder));
    }
    nanosleep(&kPause, nullptr);
  }
}

// Users may end the process that is named here, so a pid that may be another's is not named.
Status FolderIsTaken(const std::string& folder) {
  const std::optional<CoordinatorHolder> holder = LivingHolder(folder);
  if (holder && holder->is_momentary) {
    return Status(Code::kUnavailable,
                  Str("a command uses the state folder ", folder, " (its coordinator has pid ",
                      holder->pid, "): try again once that command has ended"));
  }
  const std::string remedy =
      holder ? "" : Str(" (`fuser -v ", CoordinatorLockPath(folder), "` shows its pid)");
  return Status(
      Code::kUnavailable,
      Str("another coordinator", holder ? Str(" (pid ", holder->pid, ")") : "",
          " uses the state folder ", folder, ": use that coordinator, or stop it first", remedy));
}

// `named`: the content of the folder's database.id, whatever it is.
Status OtherDatabase(const std::string& path, const std::string& id, const std::string& id_path,
                     const std::string& named) {
  const std::string remedy =
      Str("write the database's id into the file: `echo ", id, " > ", id_path, "`");
  if (!IsUlid(named)) {
    return Status(Code::kFailedPrecondition,
                  Str(id_path, " is damaged: it holds ", named.size(),
                      " bytes that are not a database id. The database beside it, ", path,
                      ", has "
                      "the id ",
                      id, "; if it belongs to this folder, ", remedy));
  }
  return Status(Code::kFailedPrecondition,
                Str("the database ", path, " has the id ", id,
                    ", but the file database.id of this state folder says ", named,
                    ": put the right database back, or use another state folder; if this database "
                    "is the right one and the file is damaged, ",
                    remedy));
}

// Whether one of our own tables has a damaged index or order; users may have added tables.
Result<bool> OneOfOursIsDamaged(Connection& connection) {
  ASSIGN_OR_RETURN(
      const std::vector<std::string> names,
      connection.ReadTexts("SELECT name FROM main.sqlite_schema WHERE type = 'table'"));
  for (const std::string& name : names) {
    if (!IsOurTable(name)) continue;
    ASSIGN_OR_RETURN(const auto worst, WorstComplaint(connection, name));
    if (worst.first != Complaint::kRow) return true;
  }
  return false;
}

// A unique index that somebody added to one of our tables refuses rows that we have to store.
Status CheckAddedIndexes(Connection& connection) {
  Status status;
  RETURN_IF_ERROR(ForEach(
      connection,
      "SELECT made.name, by.name FROM main.sqlite_schema AS made,"
      " pragma_index_list(made.name) AS by"
      " WHERE made.type = 'table' AND by.\"unique\" AND by.origin = 'c'",
      [&](const Statement& row) {
        if (!IsOurTable(row.Text(0)) || IsOurIndex(row.Text(1)) || !status.ok()) return;
        status =
            Status(Code::kFailedPrecondition,
                   Str("somebody added the unique index ", row.Text(1), " to table ", row.Text(0),
                       " of the database, which refuses rows that longrun stores: "
                       "remove it (`sqlite3 longrun.db 'DROP INDEX ",
                       row.Text(1), "'`)"));
      }));
  return status;
}

// Makes the folder private to this user. A folder that was made read-only stays so.
Status MakePrivate(const std::string& folder) {
  RETURN_IF_ERROR(MakeFolders(folder, 0700));
  struct stat info {};
  if (stat(folder.c_str(), &info) != 0) {
    return ErrnoStatus(errno, Str("cannot look at the state folder ", folder));
  }
  if ((info.st_mode & S_IRWXU) != S_IRWXU) {
    return Status(
        Code::kPermissionDenied,
        Str("the state folder ", folder,
            " was made read-only, so longrun changes nothing in it; to use it, run `chmod 700 ",
            folder, "`"));
  }
  if ((info.st_mode & ALLPERMS) == S_IRWXU || chmod(folder.c_str(), S_IRWXU) == 0) return Status();
  return ErrnoStatus(errno, Str("cannot make the state folder ", folder, " private"));
}

// The bytes that the log must have by the header of the wal-index, which all connections share
// (https://www.sqlite.org/walformat.html, 2.2). nullopt if it is just being written.
std::optional<std::int64_t> LogBytes(sqlite3* db) {
  constexpr std::size_t kHeaderBytes = 48, kPageBytesAt = 14, kFramesAt = 16;
  constexpr int kRegionBytes = 32768;
  constexpr std::int64_t kLogHeaderBytes = 32, kFrameHeaderBytes = 24;
  sqlite3_file* file = nullptr;
  if (sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &file) != SQLITE_OK ||
      file->pMethods == nullptr || file->pMethods->iVersion < 2) {
    return std::nullopt;
  }
  volatile void* region = nullptr;
  const int code = file->pMethods->xShmMap(file, 0, kRegionBytes, /*extend=*/0, &region);
  if (code != SQLITE_OK || region == nullptr) return std::nullopt;
  const auto* const shared = static_cast<const volatile unsigned char*>(region);
  std::array<unsigned char, 2 * kHeaderBytes> header;  // SQLite writes it twice
  for (std::size_t i = 0; i < header.size(); ++i) header[i] = shared[i];
  if (std::memcmp(header.data(), &header[kHeaderBytes], kHeaderBytes) != 0) return std::nullopt;
  std::uint16_t page_bytes = 0;  // 1: 65536
  std::uint32_t n_frames = 0;
  std::memcpy(&page_bytes, &header[kPageBytesAt], sizeof page_bytes);
  std::memcpy(&n_frames, &header[kFramesAt], sizeof n_frames);
  if (n_frames == 0) return 0;
  return kLogHeaderBytes +
         std::int64_t{n_frames} * (kFrameHeaderBytes + (page_bytes == 1 ? 65536 : page_bytes));
}

// SQLite itself never makes the log shorter than the wal-index says, also in another process. A cut
// after which this process has written beyond the old end already is not seen.
Status CheckLog(sqlite3* db, const std::string& path) {
  const std::optional<std::int64_t> committed = LogBytes(db);
  if (!committed) return Status();
  const Result<std::int64_t> has = FileBytes(path);
  if (!has.ok() || *has >= *committed) return Status();
  if (LogBytes(db) != committed) return Status();  // it began again meanwhile
  return Status(
      Code::kDataLoss,
      Str("the database's log ", path, " was cut short while the coordinator was using it: it has ",
          *has, " of the ", *committed,
          " bytes that were committed; the coordinator ends, since the database lacks these "
          "changes. Put the log back if you have it, or restore a backup (docs/operating.md)"));
}

}  // namespace

int Store::SchemaVersion() { return static_cast<int>(Migrations().size()); }

Store::Store(std::string folder, CoordinatorLock lock, std::unique_ptr<Connection> connection,
             bool is_momentary)
    : folder_(std::move(folder)),
      lock_(std::move(lock)),
      connection_(std::move(connection)),
      is_momentary_(is_momentary) {}

Store::~Store() = default;

std::string Store::database_path() const { return JoinPath(folder_, kDatabaseName); }

Result<std::unique_ptr<Store>> Store::Open(const std::string& folder, const StoreOptions& options) {
  // SQLite's count of its memory costs a lock for every allocation, and nothing here uses it. Where
  // SQLite is already in use, it keeps its setting.
  sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
  RETURN_IF_ERROR(MakePrivate(folder));
  auto lock = TakeLock(folder, options);
  if (!lock.ok()) {
    if (lock.status().code() != Code::kUnavailable) return lock.status();
    return FolderIsTaken(folder);
  }
  Failpoint("database_locked");

  // The identity is also stored outside the database: an empty file is not a new database if
  // there was one before.
  const std::string path = JoinPath(folder, kDatabaseName);
  const std::string id_path = JoinPath(folder, kIdName);
  std::string id;
  if (PathExists(id_path)) {
    ASSIGN_OR_RETURN(const std::string text, ReadFile(id_path));
    id = Trim(text);
    const auto n_bytes = FileBytes(path);
    if (!n_bytes.ok() || *n_bytes == 0) return DamagedDatabase(path, "it is missing or empty");
  }

  if (IsFolder(path)) return DamagedDatabase(path, "it is a folder");
  for (const char* const part : {"", "-wal", "-shm", "-mark"}) {
    const std::string file = path + part;
    if (access(file.c_str(), R_OK | W_OK) == 0 || errno == ENOENT) continue;
    return ErrnoStatus(errno, Str("cannot write ", file));
  }
  std::vector<std::string> repairs;
  RETURN_IF_ERROR(MendWal(path, repairs));
  RETURN_IF_ERROR(CommitMark::Check(path));
  ASSIGN_OR_RETURN(const bool is_mark_damaged, CommitMark::IsDamaged(path));
  if (is_mark_damaged) {
    LogWarning("commit_mark_damaged",
               {{"file", path + "-mark"},
                {"meaning",
                 "it says how much was committed to the database's log; since it is damaged, this "
                 "start could not notice whether the log is missing or was cut short"},
                {"remedy",
                 "if the machine lost power or files of the folder were replaced, see whether "
                 "`longrun ls` lacks something, and if so, restore a backup (docs/operating.md); "
                 "the file is written again, so later starts notice a lost log"}});
  }
  ASSIGN_OR_RETURN(auto connection, Connection::Open(path, Connection::Mode::kWrite));
  if (!DefinitionsHold(*connection)) {
    connection.reset();
    RETURN_IF_ERROR(MendDefinitions(path, repairs));
    ASSIGN_OR_RETURN(connection, Connection::Open(path, Connection::Mode::kWrite));
  }
  std::unique_ptr<Store> store(
      new Store(folder, std::move(lock).value(), std::move(connection), options.is_momentary));
  store->repairs_ = std::move(repairs);
  const bool checks_any_size = options.checks_any_size || !store->repairs_.empty();
  RETURN_IF_ERROR(store->Migrate(id, checks_any_size));
  // Otherwise, the unfinished remains of a power failure would come after the next commits in the
  // log, and look like damage after a kill.
  RETURN_IF_ERROR(store->CheckpointWal(true));
  ASSIGN_OR_RETURN(store->mark_, CommitMark::Open(path));
  RETURN_IF_ERROR(store->CountStart());
  if (id.empty()) {
    RETURN_IF_ERROR(WriteFileAtomic(id_path, store->coordinator_id_ + "\n", 0600));
  } else if (id != store->coordinator_id_) {
    return OtherDatabase(path, store->coordinator_id_, id_path, id);
  }
  RETURN_IF_ERROR(store->HoldFiles());
  return store;
}

int Store::OnWal(void* self, sqlite3*, const char*, int n_pages) {
  static_cast<Store*>(self)->wal_pages_ = n_pages;
  return SQLITE_OK;
}

Status Store::Migrate(const std::string& id_beside, bool checks_any_size) {
  const std::string path = database_path();
  RETURN_IF_ERROR(CheckHeader(*connection_, path, SchemaVersion()));
  RETURN_IF_ERROR(
      ForEach(*connection_, "SELECT name, tbl_name FROM main.sqlite_schema WHERE type = 'trigger'",
              [](const Statement& row) {
                LogWarning("trigger_ignored",
                           {{"name", row.Text(0)},
                            {"table", row.Text(1)},
                            {"meaning", "longrun runs no triggers that it did not make"}});
              }));
  ASSIGN_OR_RETURN(const std::int64_t version, connection_->ReadInt("PRAGMA user_version"));
  RETURN_IF_ERROR(CheckAddedIndexes(*connection_));
  RETURN_IF_ERROR(CheckAddedColumns(*connection_, version));
  RETURN_IF_ERROR(connection_->FindRowSums());
  RETURN_IF_ERROR(MendMeta(*connection_, path, id_beside, repairs_));
  const auto n_bytes = FileBytes(path);
  // A migration writes checksums again, after which a row with a flipped bit cannot be mended.
  const bool is_checked =
      checks_any_size || version < SchemaVersion() || !n_bytes.ok() || *n_bytes <= kCheckBytesMax;
  bool all_hold = false;
  if (is_checked) {
    ASSIGN_OR_RETURN(all_hold, CheckDatabase());
  } else {
    // Load() frees the epoch of a damaged attempt, so mend the attempts first.
    RETURN_IF_ERROR(MendRows(*connection_, repairs_, "attempt").status());
  }
  RETURN_IF_ERROR(
      connection_->Execute(Str("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                               "PRAGMA wal_autocheckpoint = 0;"
                               "PRAGMA foreign_keys = ON; PRAGMA journal_size_limit = ",
                               kWalBytesMax)));
  RETURN_IF_ERROR(KeepPages(PageCache::kUsual));
  sqlite3_wal_hook(connection_->raw(), &Store::OnWal, this);
  RETURN_IF_ERROR(MendSchema(*connection_, path, version, repairs_));
  for (std::int64_t v = version; v < SchemaVersion(); ++v) {
    const Migration& migration = Migrations()[static_cast<std::size_t>(v)];
    if (version > 0) {
      LogInfo("database_migrates", {{"migration", std::string(migration.name)},
                                    {"meaning", "takes minutes where there are millions of rows"}});
    }
    Status status = connection_->Execute("BEGIN IMMEDIATE");
    if (status.ok()) status = RunMigration(migration);
    if (status.ok()) status = connection_->Execute(HeaderOf(v + 1));
    if (status.ok()) status = PutSchemaVersion(*connection_, v + 1);
    if (status.ok()) status = connection_->Execute("COMMIT");
    if (!status.ok()) {
      Rollback();
      return std::move(status).In(Str("migration ", migration.name, " of ", path));
    }
    LogInfo("database_migrated", {{"migration", std::string(migration.name)}});
  }
  RETURN_IF_ERROR(connection_->FindRowSums());
  RETURN_IF_ERROR(connection_->row_sums().Keep());
  RETURN_IF_ERROR(NoteSchema(*connection_, SchemaVersion()));
  const bool is_known = all_hold && version == SchemaVersion();
  if (!is_checked) return Status();
  if (!is_known) RETURN_IF_ERROR(CheckRows());
  if (!damaged().empty()) return Status();
  ASSIGN_OR_RETURN(const std::vector<DamagedRow> missing, FindMissingRows(*connection_, false));
  NoteDamaged(missing);
  return Status();
}

// Also rewrites the checksums of tables that get them, or that get further columns under them.
Status Store::RunMigration(const Migration& migration) {
  RETURN_IF_ERROR(connection_->FindRowSums());
  const std::vector<SummedTable> before = connection_->row_sums().tables();
  RETURN_IF_ERROR(connection_->Execute(std::string(migration.sql)));
  RETURN_IF_ERROR(connection_->FindRowSums());
  for (const SummedTable& table : connection_->row_sums().tables()) {
    const auto was = std::ranges::find(before, table.name, &SummedTable::name);
    if (was == before.end()) {
      RETURN_IF_ERROR(connection_->row_sums().FillIn(table));
    } else if (*was != table) {
      RETURN_IF_ERROR(connection_->row_sums().FillIn(table, *was));
    }
  }
  return Status();
}

// Whether every row is valid. An index contains only what the rows do, and rows can be
// rewritten; a page that cannot be read cannot be mended.
Result<bool> Store::CheckDatabase() {
  const std::string path = database_path();
  ASSIGN_OR_RETURN(auto worst, WorstComplaint(*connection_));
  const auto can_be_put_in_order = [&worst] {
    return worst.first == Complaint::kOrder || worst.first == Complaint::kIndex;
  };
  if (can_be_put_in_order()) {
    ASSIGN_OR_RETURN(bool is_ours, OneOfOursIsDamaged(*connection_));
    if (is_ours) {
      LogWarning("database_damaged", {{"found", worst.second}, {"done", "rebuilt"}});
      const Status done = PutInOrder(*connection_, repairs_);
      // A full disk or a limit is not damage.
      if (done.code() == Code::kInternal) return DamagedDatabase(path, done.message());
      RETURN_IF_ERROR(done);
      ASSIGN_OR_RETURN(worst, WorstComplaint(*connection_));
      ASSIGN_OR_RETURN(is_ours, OneOfOursIsDamaged(*connection_));
    }
    if (can_be_put_in_order() && !is_ours) {
      LogWarning("foreign_table_damaged",
                 {{"found", worst.second},
                  {"meaning", "it is not longrun's, and stays as it is: REINDEX may repair it"}});
      worst.first = Complaint::kRow;
    }
  }
  if (worst.first != Complaint::kRow) return DamagedDatabase(path, Str("SQLite: ", worst.second));
  return MendRows(*connection_, repairs_);
}

// By now, all rows of table meta are valid.
Status Store::CheckRows() {
  for (const SummedTable& table : connection_->row_sums().tables()) {
    RETURN_IF_ERROR(connection_
                        ->ReadInt(Str("SELECT count(*) FROM main.", table.name, " WHERE NOT ",
                                      RowSums::HoldsCall(table)))
                        .status());
  }
  NoteDamaged(connection_->row_sums().TakeDamaged());
  return Status();
}

void Store::NoteDamaged(const std::vector<DamagedRow>& rows) {
  const std::lock_guard lock(damaged_mutex_);
  std::size_t n_shown = 0;
  for (const DamagedRow& row : rows) {
    if (damaged_.size() >= kDamagedKept || !damaged_.insert(row).second) continue;
    if (n_shown++ < kDamagedShown) LogWarning("row_damaged", {{"what", DamageText(row)}});
  }
  if (n_shown > kDamagedShown) {
    LogWarning("rows_damaged", {{"more", Str(n_shown - kDamagedShown)},
                                {"remedy", "`longrun doctor --deep` lists all of them"}});
  }
}

void Store::NoteLost(const std::vector<DamagedRow>& objects) {
  const std::vector<DamagedRow> known = damaged();
  std::vector<DamagedRow> news;
  for (const DamagedRow& lost : objects) {
    const auto is_it = [&](const DamagedRow& row) {
      return row.table == lost.table && row.object.find(lost.object) != std::string::npos;
    };
    if (std::ranges::none_of(known, is_it)) news.push_back(lost);
  }
  NoteDamaged(news);
}

std::vector<DamagedRow> Store::damaged() const {
  const std::lock_guard lock(damaged_mutex_);
  return {damaged_.begin(), damaged_.end()};
}

Status Store::CountStart() {
  RETURN_IF_ERROR(connection_->Execute("BEGIN IMMEDIATE"));
  SeededRandom random(EntropySeed());
  const std::int64_t wall_ms = WallMs();
  const std::string id = MakeUlid(wall_ms, random);
  const std::string created = Str(kVersion, " ", BuildCommit());
  const auto write = [&]() -> Status {
    for (const auto& [key, value] : {std::pair<std::string_view, std::string>{"coordinator_id", id},
                                     {"boot_epoch", "0"},
                                     {"restore_count", "0"},
                                     {"created_by", created},
                                     {"created_wall_ms", Str(wall_ms)}}) {
      ASSIGN_OR_RETURN(Statement put, connection_->Prepare(
                                          "INSERT OR IGNORE INTO meta (key, value) VALUES (?, ?)"));
      RETURN_IF_ERROR(put.Bind(key).Bind(value).Run());
    }
    return connection_->Execute(
        "UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE key = 'boot_epoch';"
        "COMMIT");
  };
  if (Status status = write(); !status.ok()) {
    Rollback();
    return std::move(status).In("counting the start in the database");
  }
  ASSIGN_OR_RETURN(coordinator_id_,
                   connection_->ReadText("SELECT value FROM meta WHERE key = 'coordinator_id'"));
  ASSIGN_OR_RETURN(boot_epoch_,
                   connection_->ReadInt("SELECT value FROM meta WHERE key = 'boot_epoch'"));
  return Status();
}

Result<std::optional<std::int64_t>> Store::RestoredWallMs() {
  ASSIGN_OR_RETURN(const std::optional<std::string> text, MetaValue(*connection_, kRestoredKey));
  if (!text) return std::optional<std::int64_t>();
  const Result<std::int64_t> wall_ms = ParseCount(*text);
  if (wall_ms.ok()) return std::optional(*wall_ms);
  return DamagedDatabase(database_path(), Str(kRestoredKey, " is \"", Printable(*text), "\""));
}

Status Store::ForgetRestored() { return DropMeta(*connection_, kRestoredKey); }

Status Store::Begin() {
  RETURN_IF_ERROR(connection_->Execute("BEGIN IMMEDIATE"));
  // The lock excludes others on this machine; this check finds one that came through a
  // shared file system.
  auto epoch = connection_->ReadInt("SELECT value FROM meta WHERE key = 'boot_epoch'");
  if (epoch.ok() && *epoch == boot_epoch_) return Status();
  Rollback();
  if (!epoch.ok()) return epoch.status();
  return Status(Code::kFailedPrecondition,
                Str("another coordinator has opened ", database_path(), " (start ", *epoch,
                    ", ours was ", boot_epoch_, "): this one stops"));
}

// Called after the first transaction: by then SQLite has created the WAL and its index.
Status Store::HoldFiles() {
  const std::string path = database_path();
  for (const std::string& file :
       {CoordinatorLockPath(folder_), path, path + "-wal", path + "-shm"}) {
    ASSIGN_OR_RETURN(HeldFile held, HeldFile::Open(file));
    held_.push_back(std::move(held));
  }
  return Status();
}

Status Store::CheckInPlace() const {
  const auto gone = std::ranges::find_if_not(held_, &HeldFile::IsInPlace);
  if (gone == held_.end()) return CheckLog(connection_->raw(), database_path() + "-wal");
  const std::string now = gone->PathNow();
  return Status(
      Code::kDataLoss,
      Str("the state folder ", folder_, " was ", now.empty() ? "deleted" : "moved",
          " while the coordinator was using it: ", gone->path(),
          now.empty() ? " is no longer the file that it opened" : Str(" is now at ", now),
          "; the coordinator ends, since nobody would find the data that it stores from now on. "
          "Put the folder or a copy of it back, and start the coordinator again"));
}

Status Store::Commit() {
  RETURN_IF_ERROR(connection_->Execute("COMMIT"));
  // What is committed stays so, whether or not it can be noted.
  if (const Status noted = mark_->Note(connection_->raw(), wal_pages_); !noted.ok()) {
    LogWarning("commit_not_noted", {{"error", noted.message()}});
  }
  return Status();
}

void Store::Rollback() {
  metric_ids_.clear();  // an id of this transaction may be reused for another name
  audit_counts_.reset();
  // An error may have ended the transaction already; then there is nothing to roll back.
  if (sqlite3_get_autocommit(connection_->raw()) == 0) {
    if (const Status status = connection_->Execute("ROLLBACK"); !status.ok()) {
      LogError("rollback_failed", {{"error", status.message()}});
    }
  }
}

Status Store::KeepPages(PageCache size) {
  const std::int64_t kib = size == PageCache::kUsual ? kPagesKib : kPagesOfPartsKib;
  return connection_->Execute(Str("PRAGMA cache_size = -", kib));
}

StoreSizes Store::Sizes() const {
  const auto n_bytes = [](const std::string& path) {
    const Result<std::int64_t> found = FileBytes(path);
    return found.ok() ? *found : 0;
  };
  return {.wal_bytes = n_bytes(database_path() + "-wal"),
          .database_bytes = n_bytes(database_path()),
          .n_busy = n_busy_};
}

bool Store::IsWalLarge() const { return wal_pages_ >= kWalPagesMax; }

Status Store::CheckpointWal(bool idle) {
  if (!idle && !IsWalLarge()) return Status();
  if (idle && Sizes().wal_bytes == 0) return Status();
  if (mark_) RETURN_IF_ERROR(mark_->Clear());
  // A user's query may take long, but our own reads end in a moment, and one that is there at each
  // commit would keep the WAL from ever starting again at its beginning.
  sqlite3_busy_timeout(connection_->raw(), idle ? 0 : kReadersMs);
  int n_pages = -1, n_moved = -1;
  const int code = sqlite3_wal_checkpoint_v2(
      connection_->raw(), nullptr, idle ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_RESTART,
      &n_pages, &n_moved);
  sqlite3_busy_timeout(connection_->raw(), kBusyMs);
  if (code != SQLITE_OK && (code & 0xff) != SQLITE_BUSY) {
    return SqliteStatus(connection_->raw(), code, "moving the WAL into the database");
  }
  // A reader is in the way. The next call continues.
  if (code != SQLITE_OK || n_moved < n_pages) {
    n_busy_ += 1;
  } else {
    wal_pages_ = 0;
  }
  return Status();
}

}  // namespace longrun::coordinator
