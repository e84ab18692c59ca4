// The coordinator's durable state: one SQLite database in the state folder.
//
// One connection, on one thread, writes and checkpoints the WAL. No other connection may: Debian's
// SQLite 3.40.1 has a bug that occurs if a checkpoint on one connection overlaps a commit on
// another. synchronous=FULL: when Commit() has returned, the rows are on the disk. All other
// threads only read, each through its own StoreReader (reader.h).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/artifact_file.h"
#include "base/files.h"
#include "base/held_file.h"
#include "base/status.h"
#include "coordinator/scheduler/scheduler.h"
#include "coordinator/store/annotation.h"
#include "coordinator/store/commit_mark.h"
#include "coordinator/store/damage.h"
#include "coordinator/store/identity.h"
#include "coordinator/store/owned.h"
#include "sweeps/coordinator_lock.h"

struct sqlite3;

namespace longrun::coordinator {

class Connection;
struct Migration;

// A registered dataset: what a name refers to now.
struct DatasetRow {
  DatasetInfo info;
  std::string folder;
  std::string owner = {};  // whose disk limit it counts for; "": stored by an earlier release
  std::int64_t owner_bytes = 0;
  std::int64_t n_bytes = 0;  // of all files; 0: registered by a release that noted no size
};

// An imported checkpoint: what a name refers to.
struct ModelRow {
  std::string name;
  std::string digest;       // of manifest.json
  std::string config_json;  // config.json
  std::string source;       // the folder from which it was imported, for people
  std::int64_t n_bytes = 0;
  std::int64_t imported_wall_ms = 0;
  std::string owner = {};  // as that of a dataset
};
Status UnknownModel(const std::string& name);  // kNotFound

struct StoreSizes {
  std::int64_t wal_bytes = 0;
  std::int64_t database_bytes = 0;
  std::int64_t n_busy = 0;  // checkpoints that a reader kept from finishing, since Open()
};

// The effects of a batch of writes.
struct ApplyCounts {
  std::int64_t result_rows = 0;
  std::int64_t series_rows = 0;
  std::int64_t record_rows = 0;
  std::int64_t duplicates = 0;       // rows, or plain records, that were already there
  std::int64_t malformed = 0;        // records kept unchanged that did not give a row
  std::vector<std::string> dropped;  // digests that may have lost their last reference
  std::int64_t rows() const { return result_rows + series_rows + record_rows; }
};

struct StoreOptions {
  bool is_momentary = false;     // ends with the command that started it
  bool checks_any_size = false;  // checks and repairs any database; else only one up to 16 MiB
  // Called several times a second while a command's coordinator holds the folder. Returns whether
  // to wait until the command has ended. Without this function, Open() refuses such a folder.
  std::function<bool(const CoordinatorHolder&)> waits_for = {};
};

// What a change of a dataset's or model's name did, or why the store refused it. A refusal is an
// answer and changes nothing, while an error of the store ends the process.
struct NameChange {
  Status refused = {};
  bool done = false;
};

// Of a model whose name is removed. kMustGo: they must not stay for a run, where they would count
// for nobody; they may stay under another name, for whose owner they count.
enum class ModelBytes { kMayStay, kMustGo };

// kForParts is for a submission in parts: its keys are digests, so that its rows reach all pages of
// the indexes again and again until it ends.
enum class PageCache { kUsual, kForParts };

class Store {
 public:
  // Opens or creates the database in `folder` (created with mode 0700), takes the folder's lock,
  // updates the schema, and counts the start. Errors: kUnavailable (another coordinator has the
  // folder), kCancelled (`waits_for` returned false), kFailedPrecondition (a newer database, or
  // another program's), kDataLoss (damaged, or gone although it existed), kResourceExhausted. The
  // lock file says who holds it (sweeps/coordinator_lock.h).
  static Result<std::unique_ptr<Store>> Open(const std::string& folder) {
    return Open(folder, StoreOptions());
  }
  static Result<std::unique_ptr<Store>> Open(const std::string& folder,
                                             const StoreOptions& options);
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  const std::string& folder() const { return folder_; }
  // Whether the coordinator ends with the command that started it. It carries out calls only: no
  // deadline passes, and no worker or pilot is served.
  bool is_momentary() const { return is_momentary_; }
  std::string database_path() const;
  // For a process that ends without destructors: removes this process's name from the folder's
  // lock.
  void RemoveHolderName() { lock_.RemoveName(); }
  const std::string& coordinator_id() const { return coordinator_id_; }  // ULID of the database
  std::int64_t boot_epoch() const { return boot_epoch_; }
  static int SchemaVersion();  // of this build
  // Descriptions of the repairs made when the store was opened.
  const std::vector<std::string>& repairs() const { return repairs_; }
  // The damage found when the store was opened and loaded, which was left out, and the damage found
  // by others since. May be called from any thread.
  std::vector<DamagedRow> damaged() const;
  void NoteDamaged(const std::vector<DamagedRow>& rows);

  // Returns the durable part of the state, with NoteRecord applied to the records of live attempts.
  // The amount that it reads grows with runs, tasks and attempts, but not with their results. The
  // caller then calls AfterLoad().
  Result<State> Load();
  Result<std::vector<DatasetRow>> LoadDatasets();
  Result<std::vector<ModelRow>> LoadModels();
  Result<IdentityRows> LoadIdentity();

  // When the database was restored from a backup, if no coordinator has waited yet for the workers
  // to report (restore.h); nullopt: it was not restored, or one has. 0: the time is damaged.
  Result<std::optional<std::int64_t>> RestoredWallMs();
  Status ForgetRestored();  // in a transaction

  // One transaction: Begin, any number of Apply and of the Puts and Drops below, then Commit. After
  // an error, call Rollback(): nothing of the transaction is stored.
  Status Begin();
  Status Apply(std::span<const Write> writes, std::int64_t wall_ms, ApplyCounts& counts);
  // `done`: the name referred to other content before. Refused with kResourceExhausted if its owner
  // would have more than `owned_bytes_max` then. A dataset that is registered again, from the same
  // folder, stays its owner's. A damaged row of the name is treated as missing, and replaced.
  Result<NameChange> PutDataset(const DatasetRow& dataset,
                                std::int64_t owned_bytes_max = kNoOwnedLimit);
  Status DropDataset(const std::string& name);
  // Stores nothing if the sweep was removed meanwhile.
  Status PutAnnotation(const SweepAnnotation& annotation);
  // Not `done` if the name already refers to the same digest. Refused with kAlreadyExists if it
  // refers to another one, and with kResourceExhausted as a dataset is.
  Result<NameChange> PutModel(const ModelRow& model, std::span<const ArtifactFile> files,
                              std::int64_t owned_bytes_max = kNoOwnedLimit);
  // Removes the name. If no other name and no run refers to the files, also removes their rows, and
  // adds their digests to counts.dropped: `done`. Refused with kNotFound, and with
  // kFailedPrecondition if the bytes must go and a run needs them.
  Result<NameChange> DropModel(const std::string& name, ApplyCounts& counts,
                               ModelBytes bytes = ModelBytes::kMayStay);
  // Adds the token, or stores how it ended.
  Status PutToken(const TokenRow& token);
  Status DropToken(const std::string& id);
  Status PutWorkerCertificate(const WorkerCertificateRow& certificate);
  // Keeps the newest `n_rows_max` entries of each kind (audit_log.h).
  Status AddAudit(const AuditRow& entry, std::int64_t n_rows_max);
  Status Commit();
  void Rollback();
  // Memory for the database's pages. A transaction writes pages that do not fit before it ends, and
  // again if it changes them once more.
  Status KeepPages(PageCache size);

  // kDataLoss if the lock, the database or its WAL is no longer the file at its path, or its WAL
  // was cut short: nobody would find later commits, or the database lacks earlier ones.
  Status CheckInPlace() const;

  // The files of a checkpoint, manifest.json included; kNotFound.
  Result<std::vector<ArtifactFile>> CheckpointFiles(const std::string& sha256);

  // The sizes of the files, and how often a reader kept the WAL from being emptied.
  StoreSizes Sizes() const;
  // Whether much was committed to the WAL since the last checkpoint.
  bool IsWalLarge() const;
  // Checkpoints the WAL into the database if the WAL is large, and waits some milliseconds for
  // readers, so that the next transaction begins the WAL anew; its file then keeps up to 16 MiB.
  // With `idle`, checkpoints a WAL of any size and empties its file. Call only between
  // transactions.
  Status CheckpointWal(bool idle);

 private:
  Store(std::string folder, CoordinatorLock lock, std::unique_ptr<Connection> connection,
        bool is_momentary);
  Status Migrate(const std::string& id_beside, bool checks_any_size);
  Result<bool> CheckDatabase();
  Status RunMigration(const Migration& migration);
  Status CheckRows();
  void NoteLost(const std::vector<DamagedRow>& objects);  // except those already found damaged
  Status CountStart();
  Status OpenReader();
  Status EndDamagedAttempts(const std::vector<std::string>& lost);
  Status HoldFiles();
  static int OnWal(void* self, sqlite3* db, const char* name, int n_pages);

  Status ApplyOne(const PutSweep& write, std::int64_t wall_ms, ApplyCounts& counts);
  Result<bool> HasMembers(const PutSweep& write);
  Status ApplyOne(const PutSweepRuns& write, std::int64_t wall_ms, ApplyCounts& counts);
  // Adds runs, with their cells, and tasks. `first_run`: the ordinal of the first; `axes_json`: of
  // each run, or empty.
  Status AddMembers(const std::string& sweep_id, std::int64_t first_run,
                    std::span<const PlannedRun> runs, std::span<const std::string> axes_json,
                    std::span<const std::string> tasks);
  Status ApplyOne(const PutSubmitting& write, std::int64_t wall_ms, ApplyCounts& counts);
  Status ApplyOne(const PutOrder& write, std::int64_t wall_ms, ApplyCounts& counts);
  Status ApplyOne(const PutSweepDesired& write, std::int64_t wall_ms, ApplyCounts& counts);
  Status ApplyOne(const PutRun& write, std::int64_t wall_ms, ApplyCounts& counts);
  Status ApplyOne(const PutTask& write, std::int64_t wall_ms, ApplyCounts& counts);
  Status ApplyOne(const PutAttempt& write, std::int64_t wall_ms, ApplyCounts& counts);
  Status ApplyOne(const PutWorker& write, std::int64_t wall_ms, ApplyCounts& counts);
  Status ApplyOne(const PutCell& write, std::int64_t wall_ms, ApplyCounts& counts);
  Status ApplyOne(const PutRecord& write, std::int64_t wall_ms, ApplyCounts& counts);
  Status ApplyOne(const PutTransition& write, std::int64_t wall_ms, ApplyCounts& counts);
  Status ApplyOne(const DropCheckpoint& write, std::int64_t wall_ms, ApplyCounts& counts);
  Status ApplyOne(const DropSweep& write, std::int64_t wall_ms, ApplyCounts& counts);
  Status ApplyOne(const DropTasks& write, std::int64_t wall_ms, ApplyCounts& counts);
  Status ApplyOne(const DropRuns& write, std::int64_t wall_ms, ApplyCounts& counts);
  Status ApplyOne(const DropWorker& write, std::int64_t wall_ms, ApplyCounts& counts);
  Status ApplyOne(const DropDamagedResults& write, std::int64_t wall_ms, ApplyCounts& counts);
  // Drops a damaged row before a complete new one replaces it, since nothing of the damaged row may
  // stay. `key`: the first column of the primary key.
  Status DropIfDamaged(const std::string& table, const std::string& key);
  // Whether there is such a row, and it is not damaged.
  Result<bool> HasSound(const std::string& table, const std::string& key);
  // Runs statements that each take `bound` as their only parameter.
  Status RunEach(std::span<const char* const> statements, const std::string& bound);
  // The first column of a query with one parameter.
  Result<std::vector<std::string>> Texts(const char* sql, const std::string& bound);
  Result<bool> IsModelUsed(const std::string& digest, const std::string& except_name = "");
  Status PutUnknownTask(const Task& task);
  // `result` or `series` is the body of `write.record`. Returns false if no row was new.
  Result<bool> PutResultRow(const PutRecord& write, const ResultRecord& result);
  Result<bool> PutSeriesRows(const PutRecord& write, const SeriesRecord& series,
                             ApplyCounts& counts);
  Result<std::int64_t> MetricId(const std::string& name);
  Status PutCheckpointRows(const PutRecord& write, const CheckpointRecord& checkpoint);
  Status PutCheckpointFiles(const std::string& sha256, std::span<const ArtifactFile> files);
  Status DropCheckpointFiles(const std::string& sha256, ApplyCounts& counts);
  Status DropCheckpointFilesIfUnused(const std::string& sha256, ApplyCounts& counts);
  Status PutArtifactRow(const PutRecord& write, const ArtifactRecord& artifact);
  Status PutPlainRecord(const PutRecord& write, ApplyCounts& counts);
  Status CountAudit();

  std::string folder_;
  CoordinatorLock lock_;
  std::vector<HeldFile> held_;
  std::unique_ptr<Connection> connection_;
  bool is_momentary_;
  std::optional<CommitMark> mark_;  // set once the store is open
  std::string coordinator_id_;
  std::int64_t boot_epoch_ = 0;
  std::map<std::string, std::int64_t> metric_ids_;  // as seen in the open transaction
  // Of one kind of the audit log's entries: how many there are, and a seq before which there are
  // none.
  struct AuditCount {
    std::int64_t n = 0;
    std::int64_t first_seq = 0;
  };
  // As seen in the open transaction; unset: not counted yet.
  std::optional<std::map<std::int64_t, AuditCount>> audit_counts_;
  std::unique_ptr<Connection> reader_;  // does not see damaged rows
  std::vector<std::string> repairs_;
  mutable std::mutex damaged_mutex_;
  std::set<DamagedRow> damaged_;                        // guarded by damaged_mutex_
  std::map<std::string, std::string> drop_if_damaged_;  // table -> statement
  std::string is_model_used_;                           // statement
  int wal_pages_ = 0;
  std::int64_t n_busy_ = 0;
};

// The digest of a sweep's content. Two files with the same digest are the same sweep, whatever
// their comments.
std::string SweepDigest(const Sweep& sweep);
// Makes the sweep's texts for the store. Not to be called on the core's thread. Runs in
// `known_runs`, which are already stored, get no run_json; it is made later if needed.
SweepTexts TextsOf(const Sweep& sweep, const std::set<std::string>& known_runs = {});

}  // namespace longrun::coordinator
