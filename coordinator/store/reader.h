// Reads the database through its own connection, which cannot write and whose reads end after two
// seconds, so that the WAL can always be checkpointed. One thread at a time.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/artifact_file.h"
#include "base/status.h"
#include "coordinator/scheduler/scheduler.h"
#include "coordinator/store/damage.h"
#include "coordinator/store/identity.h"
#include "coordinator/store/owned.h"

namespace longrun::coordinator {

class Connection;

struct SweepRow {
  std::string id;
  std::string name;
  std::int64_t submitted_wall_ms = 0;
  std::int64_t n_runs = 0;
  std::map<std::string, std::string> labels = {};  // from its file, with later changes
  std::string note = {};
  std::string owner = {};  // who submitted it first; "": unknown
};

struct SweepBody {
  std::string yaml;
  std::string axes_json;  // list of axis paths in matrix order
  std::string file_name;
  std::string overrides_json;  // [[path, value], ...]
  std::string digest;          // SweepDigest() of the sweep
};

struct SweepRunRow {
  std::string run_key;
  std::string axes_json;  // axis path -> value
  std::string dataset;
  std::string run_json;
  std::string execution_json;
};

struct AttemptRow {
  std::string id;
  std::string task;
  std::int64_t n = 0;
  std::string state;
  std::string failure_class;
  std::string message;
  std::string worker;
  std::int64_t started_wall_ms = 0;
  std::int64_t ended_wall_ms = 0;
  std::int64_t duration_ms = 0;  // how long it has run
  std::int64_t durable_seq = 0;
  std::int64_t resume_step = 0;
  std::string started_json;  // body of its `started` record, or ""
};

// The settings and the duration of a task that one attempt completed, from the first step to the
// last.
struct MeasuredRow {
  std::string kind;  // train | evaluate
  std::string run_json;
  std::string execution_json;
  std::string evaluation_json;      // "" for a training task
  std::string expected_cells_json;  // list
  double seconds = 0;
  std::optional<double> start_seconds = {};  // from the attempt's offer to its first record
};

struct ResultBody {
  std::string run_key;
  std::string cell;
  std::string task;
  std::string attempt;
  std::string body_json;        // unchanged from the trainer
  std::string evaluation_json;  // of the task: evaluation -> parameters, without lengths
  ExpectedCell asked = {};      // the task's expected number that this row answers
};

// A sweep that may show its results at /metrics: the newest of its name, if its file mentions
// export.
struct ExportCandidate {
  std::string id;
  std::string name;
  std::string yaml;
  std::string overrides_json;  // [[path, value], ...]
};
// A perplexity or pseudo-perplexity that counts.
struct ExportRow {
  std::string metric;  // nll | pseudo_nll
  std::string axes_json;
  std::string dataset;
  std::int64_t train_length = 0;
  std::int64_t context_length = 0;
  std::string split;
  std::string protocol;
  std::string evaluation_json;  // name -> parameters, without lengths
  std::string variant;          // "": the model itself
  double nll = 0;               // nats per token
};

// The evaluation of a task.
struct EvaluationRow {
  std::string task;
  std::string evaluation_json;
};

// A file of a checkpoint.
struct CheckpointBytesRow {
  std::string checkpoint;  // sha256 of its manifest
  std::string sha256;      // of the file
  std::int64_t n_bytes = 0;
  std::int64_t n_tasks = 0;  // tasks that have the checkpoint
};

struct CurvePoint {
  std::int64_t step = 0;
  double value = 0;
};

// The stored journal lines of an attempt with results.
struct EarlierLines {
  std::string attempt;
  std::string started;  // the record `started`
  // The records `artifact` and `result`, in their order. "": one that cannot be read, or whose file
  // did not arrive.
  std::vector<std::string> results;
};
// The fencing tokens between these two.
struct EpochRange {
  std::uint64_t after = 0;
  std::uint64_t before = 0;
};

class StoreReader {
 public:
  static Result<std::unique_ptr<StoreReader>> Open(const std::string& database_path);
  ~StoreReader();

  // For thousands of small reads, one after the other: while a Series exists, they see one snapshot
  // of the database and take its locks once. Call Next() before each read. Every few hundred calls,
  // it starts a new snapshot, so that the WAL can be checkpointed.
  class Series {
   public:
    explicit Series(StoreReader& reader) : reader_(reader) {}
    ~Series() { End(); }
    Series(const Series&) = delete;
    Series& operator=(const Series&) = delete;
    Status Next();

   private:
    void End();
    StoreReader& reader_;
    std::size_t n_reads_ = 0;
    bool is_open_ = false;
  };

  // Oldest first, without labels and notes: reading those of all sweeps may take many times as long
  // as the rest.
  Result<std::vector<SweepRow>> Sweeps();
  Status AddLabels(std::vector<SweepRow>& sweeps);  // and notes
  Result<OwnedBytes> Owned(const std::string& owner);
  // The newest `n_rows_max` entries of the audit log since then, oldest first; with `only_changes`,
  // of the calls that changed something.
  Result<std::vector<AuditRow>> Audit(std::int64_t since_ms, std::int64_t n_rows_max,
                                      bool only_changes = false);
  // Finds a sweep by its name (the newest one), its id, or an unambiguous beginning of its id of at
  // least 8 characters. kNotFound says what else has this id, or suggests similar names;
  // kInvalidArgument lists the sweeps that share the beginning.
  Result<SweepRow> FindSweep(const std::string& reference);
  // The id of the newest sweep with this name and the same content, or "". A sweep with a damaged
  // row also matches if its name and digest differ in at most one character, and keeps its id.
  Result<std::string> SameSweep(const std::string& name, const std::string& digest);
  // The known cells of the sweep, with the task that owes or has each. A cell whose own row is
  // damaged is found through its task, and added to `unrecorded`.
  Result<std::map<std::string, std::string>> CellOwners(
      const Sweep& sweep, std::set<std::string>* unrecorded = nullptr);
  Result<std::vector<std::string>> TasksOfSweep(const std::string& sweep_id);
  Result<SweepBody> BodyOfSweep(const std::string& sweep_id);
  Result<std::vector<SweepRunRow>> RunsOfSweep(const std::string& sweep_id);
  // The runs with these keys that can be read, without axes, in any order.
  Result<std::vector<SweepRunRow>> RunsOfKeys(const std::set<std::string>& run_keys);
  using CellSet = std::unordered_set<std::string>;
  Result<CellSet> CellsOfSweep(const std::string& sweep_id);
  // The rows that count for the sweep's numbers, in the sweep's order.
  Result<std::vector<ResultBody>> ResultsOfSweep(const std::string& sweep_id);
  // The rows that count for cells, given the task that has each (CellOwners).
  Result<std::vector<ResultBody>> ResultsOfCells(const std::map<std::string, std::string>& owners);
  // The numbers in an attempt's rows.
  Result<std::vector<MeasuredNumber>> NumbersOf(const std::string& attempt);
  // What the newest of the task's attempts of these epochs have measured, the newest first: about
  // n_bytes_max of it. Without attempts that ended for a reason which puts their rows in doubt.
  Result<std::vector<EarlierLines>> EarlierLinesOf(const std::string& task,
                                                   const EpochRange& epochs,
                                                   std::int64_t n_bytes_max);
  // All rows of the run that count, whichever sweep requested them.
  Result<std::vector<ResultBody>> ResultsOfRun(const std::string& run_key);
  // The next two functions find numbers that were stored but can no longer be read (lost.cc). The
  // number's row is damaged, or the way to it: for example, a flipped bit in a key hides a sound
  // row. Both note what they find for TakeDamaged(), and return the numbers that count and are
  // missing in `results`, without body_json. `cells`: those of the sweep.
  Result<std::vector<ResultBody>> LostOfSweep(const std::string& sweep_id, const CellSet& cells,
                                              const std::vector<ResultBody>& results);
  Result<std::vector<ResultBody>> LostOfRun(const std::string& run_key,
                                            const std::vector<ResultBody>& results);
  // Whether all runs, cells and tasks of a sweep are there. To be called after the reads on which
  // the answer rests. The runs in `runs` were read and are sound, so they are not read again.
  // `lengths`, if given, gets the context lengths that each of the sweep's evaluations requests, in
  // ascending order.
  using LengthsByTask = std::map<std::string, std::vector<std::int64_t>>;
  Result<bool> IsWhole(const std::string& sweep_id, const std::vector<SweepRunRow>& runs = {},
                       LengthsByTask* lengths = nullptr);
  // Empties the cache of pages, so that later reads see the same bytes of the file as another
  // connection that has just read it.
  void ForgetPages();
  // Notes the numbers of a sweep's tasks that a query would not find; "": of all tasks.
  Status NoteLostNumbers(const std::string& sweep_id);
  // Reads these tables completely, and notes all damaged rows.
  Status NoteDamagedOf(const std::set<std::string>& tables);
  // The damage found since the last call, which was left out of all answers.
  std::vector<DamagedRow> TakeDamaged();
  void NoteDamaged(const std::vector<DamagedRow>& rows);
  // Sets the rows that were already reported. A number that is missing because of one of them is
  // reported in the same words.
  void SetKnown(std::vector<DamagedRow> rows) { known_ = std::move(rows); }
  // All cells that the task must fill, whether they are known or not. Empty if the task does not
  // exist.
  Result<std::vector<ExpectedCell>> ExpectedCellsOf(const std::string& task);

  // Finds a run by an unambiguous beginning of at least 8 digits; kNotFound; kInvalidArgument, also
  // for the id of a task or an attempt.
  Result<SweepRunRow> FindRun(const std::string& reference);
  // The files of a checkpoint, manifest.json included; kNotFound.
  Result<std::vector<ArtifactFile>> CheckpointFiles(const std::string& sha256);
  Result<std::vector<std::string>> TasksOfRun(const std::string& run_key);
  // The context lengths of an evaluation task, ascending.
  Result<std::vector<std::int64_t>> LengthsOfTask(const std::string& task);
  Result<std::vector<AttemptRow>> AttemptsOfTask(const std::string& task);  // oldest first
  Result<bool> HasAttempt(const std::string& attempt, const std::string& worker);
  // Of each worker, the newest time at which it was heard, as far as that is stored: of its
  // attempts, their records and its certificate. Workers without such a time are left out. The end
  // of a lost attempt does not count, since the coordinator decided it alone.
  Result<std::map<std::string, std::int64_t>> LastStoredOfWorkers();
  Result<std::map<std::string, std::string>> TasksByAttempt();  // attempt -> its task
  // The newest tasks, at most `n_max`.
  Result<std::vector<MeasuredRow>> MeasuredTasks(std::int64_t n_max);
  // Finds the attempts whose logs to show. For a run or a task: the newest attempt of each task;
  // for an attempt: only this attempt. kNotFound, kInvalidArgument. Leaves out attempts with
  // damaged rows, and notes these for TakeDamaged().
  Result<std::vector<std::string>> FindLogs(const std::string& reference);

  // A task's curve over its lineage. points_max > 0: at most that many points, spread over the
  // whole curve and including its last point.
  Result<std::vector<CurvePoint>> Curve(const std::string& task, const std::string& metric,
                                        std::int64_t points_max = 0);

  // A number that changes whenever another connection stores something.
  Result<std::int64_t> DataVersion();
  Result<std::vector<ExportCandidate>> ExportCandidates();  // newest first
  Result<std::vector<ExportRow>> ExportRows(const std::string& sweep_id);

  // Every checkpoint that has rows, once for each task.
  Result<std::vector<StoredCheckpoint>> Checkpoints();
  // Tasks that no sweep has: first evaluations, then training tasks, each before the one that its
  // run continues.
  Result<std::vector<std::string>> OrphanTasks();
  // Of tasks of this owner, or of all (""), those whose evaluations name files.
  Result<std::vector<EvaluationRow>> EvaluationsWithFiles(const std::string& owner);
  Result<std::vector<CheckpointBytesRow>> CheckpointBytes();  // every file of Checkpoints()
  // Whether anything refers to these bytes.
  Result<bool> IsReferenced(const std::string& sha256);
  // Why IsReferenced() is true for all bytes: a table that names files is damaged. "" if none is.
  const std::string& files_flaw() const { return files_flaw_; }
  // kFailedPrecondition while a table that decides what may be removed is damaged.
  Status CheckBeforeRemoval();

 private:
  Status ReadFileDigests(std::int64_t version);
  Result<std::string> IdOfMembers(const std::string& flipped);
  // Finds those of a run's cells that are in its tasks' lists, and adds them to `owners`.
  Status FindByTasks(const std::string& run_key, const std::set<std::string>& cells,
                     std::map<std::string, std::string>& owners);
  explicit StoreReader(std::unique_ptr<Connection> connection);
  // The results that a query returns. Its columns are run key, cell, task, attempt, journal line,
  // evaluation, metric, length, variant and depth; `bound` is its only parameter.
  Result<std::vector<ResultBody>> Results(const char* sql, const std::string& bound);
  // The context lengths of a task's expected cells, ascending.
  static Result<std::vector<std::int64_t>> LengthsIn(const std::string& expected_cells);
  static void KeepBodies(std::vector<ResultBody>& rows);
  struct OwnedCell {  // of a sweep, with the task that has or owes it
    std::int64_t ordinal = 0;
    std::string cell, task;
  };
  Result<std::vector<OwnedCell>> OwnedCells(const std::string& sweep_id);
  Result<std::vector<ResultBody>> ResultsOf(const std::vector<OwnedCell>& cells);
  struct Member {
    std::int64_t ordinal = 0;
    std::string name;
  };
  struct OwedNumber {  // as hashes
    std::size_t cell = 0, name = 0;
  };
  struct Evaluated {
    std::string task, run_key, attempt;
    bool run_is_found = false;
  };
  Result<std::vector<Member>> Members(const std::string& table, const std::string& sweep_id);
  void NoteMember(const std::string& table, const std::string& what);
  bool IsTold(std::string_view table, std::string_view id) const;  // "": anything in the table
  // The lost results of the evaluations that a query returns; `bound` is the query's only
  // parameter. `cells`: only results of these cells, unless null.
  Result<std::vector<ResultBody>> Lost(const char* sql, const std::string& bound,
                                       const CellSet* cells,
                                       const std::vector<ResultBody>& results);
  Result<std::vector<Evaluated>> Evaluations(const char* sql, const std::string& bound);
  // The numbers that a task owes. They are computed once, since they never change (the task's id
  // depends on them). Null if the task cannot be read.
  Result<const std::vector<OwedNumber>*> OwedBy(const std::string& task);
  // Computes the same from the expected cells in the task's row, if they can be read.
  void RememberOwed(const std::string& task, const std::string& expected_cells);
  const std::vector<OwedNumber>& Remember(const std::string& task,
                                          const std::vector<ExpectedCell>& cells);
  static Result<std::vector<ExpectedCell>> ExpectedCellsIn(const std::string& json);
  // The task's numbers that cannot be found or, if `cells` is given, to which no row of table
  // `cell` leads. Leaves out numbers that another task has measured since.
  Result<std::vector<ResultBody>> LostOfTask(const Evaluated& evaluated,
                                             const std::unordered_set<std::size_t>* cells);
  Result<std::unordered_set<std::size_t>> NumbersBy(const char* way, const Evaluated& evaluated);
  Result<std::int64_t> CountBy(const char* way, const std::string& attempt);
  void NoteNumbers(const std::vector<ResultBody>& lost);
  // Keeps the text of an assembled statement, so that Prepare() always gets the same pointer.
  const char* Kept(const std::string& sql);
  // Returns kNotFound, for a row of these tables.
  Status NotFound(const std::vector<std::string_view>& tables, std::string_view reference);
  bool IsDamageNoted(std::string_view table) const;
  // Runs a query for one column, with the range of the texts that begin with `beginning` as its
  // parameters. Returns its only row, or the row that is `beginning` itself; "" if there is none.
  Result<std::string> OneOf(const char* sql, std::string_view what, const std::string& beginning);
  // The same; if there is none, for the beginning in the case in which ids are written.
  Result<std::string> OneOfAnyCase(const char* sql, std::string_view what,
                                   const std::string& beginning, int (*to_case)(int));
  // "" if there is none.
  Result<std::string> FindRunKey(const std::string& beginning);
  Result<std::string> FindTaskId(const std::string& beginning);
  Result<std::string> FindAttemptId(const std::string& beginning);
  // If the reference is the id of a run, a task or an attempt and not of the wanted kind ("sweep",
  // "run"), says so and which commands show it; else "".
  Result<std::string> OtherKind(const std::string& reference, std::string_view wanted);

  std::unique_ptr<Connection> connection_;
  const std::string results_of_cell_;  // SQL
  // Read completely from the tables that name files, at one version of the data.
  std::int64_t files_version_ = -1;
  std::int64_t files_read_ms_ = 0;  // when they were read (boot clock)
  std::string files_flaw_;
  std::unordered_set<std::string> file_digests_;
  std::map<std::string, std::vector<OwedNumber>> owed_;  // by task
  std::set<std::string> kept_sql_;
  std::vector<DamagedRow> known_;
  // By attempt, if all its numbers were found: the number of its rows, which no longer changes.
  std::map<std::string, std::int64_t> n_rows_of_;
};

}  // namespace longrun::coordinator
