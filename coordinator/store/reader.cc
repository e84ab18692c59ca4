// See reader.h.
#include "coordinator/store/reader.h"

#include <algorithm>
#include <limits>
#include <set>
#include <string_view>
#include <tuple>
#include <unordered_map>

#include "base/json.h"
#include "base/letter_case.h"
#include "base/random.h"
#include "base/str.h"
#include "base/ulid.h"
#include "base/utf8.h"
#include "coordinator/store/damage.h"
#include "coordinator/store/one_bit.h"
#include "coordinator/store/read_rows.h"
#include "coordinator/store/sqlite.h"
#include "coordinator/store/stored_numbers.h"
#include "sweeps/event.h"

namespace longrun::coordinator {
namespace {

constexpr std::size_t kBeginningMin = 8;
constexpr std::int64_t kShown = 10;  // similar or ambiguous names in a message

// The first string beyond all that start with `beginning`.
std::string EndOfRange(std::string beginning) {
  beginning.push_back('\x7f');
  return beginning;
}

// The rows of an attempt for one cell, by the unique index.
std::string ResultsOfCellSql(const RowSums& sums) {
  return Str(
      "SELECT run_key, task, attempt, line, metric, context_length, variant, seq, depth"
      " FROM main.result INDEXED BY result_once WHERE attempt = ? AND cell = ? AND ",
      RowSums::HoldsCall(sums.table("result")));
}

// The number of characters in which two texts differ; all, if their lengths differ.
int OtherCharacters(const std::string& a, const std::string& b) {
  if (a.size() != b.size()) return static_cast<int>(std::max(a.size(), b.size()));
  int n = 0;
  for (std::size_t i = 0; i < a.size(); ++i) n += a[i] == b[i] ? 0 : 1;
  return n;
}

SweepRow SweepOf(const Statement& row) {
  return {.id = row.Text(0),
          .name = row.Text(1),
          .submitted_wall_ms = row.Int(2),
          .n_runs = row.Int(3),
          .owner = row.Text(4)};
}

SweepRunRow RunOf(const Statement& row) {
  return {.run_key = row.Text(0),
          .axes_json = row.Text(1),
          .dataset = row.Text(2),
          .run_json = row.Text(3),
          .execution_json = row.Text(4)};
}

}  // namespace

StoreReader::StoreReader(std::unique_ptr<Connection> connection)
    : connection_(std::move(connection)),
      results_of_cell_(ResultsOfCellSql(connection_->row_sums())) {}

StoreReader::~StoreReader() = default;

Status StoreReader::Series::Next() {
  constexpr std::size_t kReadsTogether = 500;
  if (n_reads_++ % kReadsTogether != 0) return Status();
  End();
  reader_.connection_->SetTimeLimit(kReadMsMax);
  RETURN_IF_ERROR(reader_.connection_->Execute("BEGIN"));
  is_open_ = true;
  return Status();
}

void StoreReader::Series::End() {
  if (!is_open_) return;
  is_open_ = false;
  if (sqlite3_get_autocommit(reader_.connection_->raw()) != 0) return;  // an error has ended it
  reader_.connection_->SetTimeLimit(0);               // also after a read that ran out of its time
  (void)reader_.connection_->Execute("COMMIT").ok();  // nothing was written; else BEGIN fails next
}

Result<std::unique_ptr<StoreReader>> StoreReader::Open(const std::string& database_path) {
  ASSIGN_OR_RETURN(auto connection, Connection::Open(database_path, Connection::Mode::kRead));
  // A damaged definition may be valid SQL without the column of checksums. A start repairs it, but
  // a reader may come first.
  for (const char* const name : {"attempt", "model", "result", "run", "sweep"}) {
    const std::vector<SummedTable>& tables = connection->row_sums().tables();
    if (std::ranges::find(tables, name, &SummedTable::name) != tables.end()) continue;
    return Status(Code::kDataLoss,
                  Str("the definition of table ", name,
                      " is damaged: start the coordinator, which repairs it, or ", kRestoreRemedy));
  }
  return std::unique_ptr<StoreReader>(new StoreReader(std::move(connection)));
}

Result<OwnedBytes> StoreReader::Owned(const std::string& owner) {
  return ReadOwned(*connection_, owner);
}

Result<std::vector<SweepRow>> StoreReader::Sweeps() {
  return ReadRows(*connection_,
                  "SELECT id, name, submitted_wall_ms,"
                  " (SELECT count(*) FROM sweep_run WHERE sweep = sweep.id), owner"
                  " FROM sweep ORDER BY submitted_seq",
                  &SweepOf);
}

// A damaged row may be the requested one, so the message does not say that there is none.
Status StoreReader::NotFound(const std::vector<std::string_view>& tables,
                             std::string_view reference) {
  // The search does not meet a row whose damaged key is another one now.
  bool is_noted = false;
  for (const std::string_view table : tables) {
    for (const DamagedRow& row : known_) {
      if (row.table == table) connection_->row_sums().NoteDamaged(row);
    }
    is_noted = is_noted || IsDamageNoted(table);
  }
  std::string what;
  for (std::size_t i = 0; i < tables.size(); ++i) {
    if (i > 0) what += i + 1 == tables.size() ? " or " : ", ";
    what += tables[i];
  }
  return Status(Code::kNotFound, Str("there is no ", what, " ", Quoted(reference),
                                     is_noted ? " among those that can be read" : ""));
}

bool StoreReader::IsDamageNoted(std::string_view table) const {
  return std::ranges::any_of(connection_->row_sums().noted(),
                             [&](const DamagedRow& row) { return row.table == table; });
}

Result<std::string> StoreReader::OneOf(const char* sql, std::string_view what,
                                       const std::string& beginning) {
  const std::string end = EndOfRange(beginning);
  ASSIGN_OR_RETURN(Statement row, Read(*connection_, sql, beginning, end));
  std::vector<std::string> found;
  while (static_cast<std::int64_t>(found.size()) < kShown) {
    ASSIGN_OR_RETURN(const bool more, row.Step());
    if (!more) break;
    found.push_back(row.Text(0));
    if (found.front() == beginning) break;
  }
  if (found.empty()) return std::string();
  if (found.size() == 1 || found.front() == beginning) return found.front();
  return Status(Code::kInvalidArgument, Str("more than one ", what, " begins with ",
                                            Quoted(beginning), ": ", Join(found, ", ")));
}

// Ids of sweeps and attempts (ULIDs) are written in capitals, those of runs and tasks (hex digits)
// are not. A user may give them in either case.
Result<std::string> StoreReader::OneOfAnyCase(const char* sql, std::string_view what,
                                              const std::string& beginning, int (*to_case)(int)) {
  Result<std::string> found = OneOf(sql, what, beginning);
  const std::string other = InCase(beginning, to_case);
  const bool is_over = !found.ok() || !found->empty() || other == beginning;
  return is_over ? std::move(found) : OneOf(sql, what, other);
}

Result<std::string> StoreReader::OtherKind(const std::string& reference, std::string_view wanted) {
  if (reference.size() < kBeginningMin) return std::string();
  const auto text_of = [this](const char* sql, const std::string& key) -> Result<std::string> {
    ASSIGN_OR_RETURN(Statement row, Read(*connection_, sql, key));
    ASSIGN_OR_RETURN(const bool found, row.Step());
    return found ? row.Text(0) : std::string();
  };
  const std::string begin = Str(Quoted(reference), " is not a ", wanted, ", but ");
  // An id that several things begin with is left to the search for things of the wanted kind.
  const Result<std::string> run = FindRunKey(reference);
  if (wanted != "run" && run.ok() && !run->empty()) {
    ASSIGN_OR_RETURN(
        const std::string sweep,
        text_of("SELECT sweep.name FROM sweep_run"
                " JOIN sweep ON sweep.id = sweep_run.sweep"
                " WHERE sweep_run.run_key = ? ORDER BY sweep.submitted_seq DESC LIMIT 1",
                *run));
    return Str(begin, "a run", sweep.empty() ? "" : Str(" of sweep ", sweep), ": `longrun get ",
               reference, "` shows the run",
               sweep.empty() ? "" : Str(", and `longrun get ", sweep, "` shows the sweep"));
  }
  const auto run_of = [&](const std::string& task) -> Result<std::string> {
    ASSIGN_OR_RETURN(const std::string key, text_of("SELECT run_key FROM task WHERE id = ?", task));
    return key.substr(0, kBeginningMin);
  };
  const Result<std::string> task = FindTaskId(reference);
  if (task.ok() && !task->empty()) {
    ASSIGN_OR_RETURN(const std::string key, run_of(*task));
    return Str(begin, "a task of run ", key, ": `longrun why ", reference,
               "` shows the task, and `longrun get ", key, "` shows the run");
  }
  const Result<std::string> attempt = FindAttemptId(reference);
  if (!attempt.ok() || attempt->empty()) return std::string();
  ASSIGN_OR_RETURN(const std::string of_attempt,
                   text_of("SELECT task FROM attempt WHERE id = ?", *attempt));
  ASSIGN_OR_RETURN(const std::string key, run_of(of_attempt));
  return Str(begin, "an attempt of run ", key, ": `longrun logs ", reference,
             "` shows its log, and `longrun get ", key, "` shows the run");
}

// Every call about a sweep begins here, so it reads all sweeps only if the name is not found at
// once. An id comes before a name, since earlier releases allowed names that are ids of others.
Result<SweepRow> StoreReader::FindSweep(const std::string& reference) {
  ASSIGN_OR_RETURN(std::vector<SweepRow> newest,
                   ReadRows(*connection_,
                            "SELECT id, name, submitted_wall_ms,"
                            " (SELECT count(*) FROM sweep_run WHERE sweep = sweep.id), owner"
                            " FROM sweep WHERE name = ?1 OR id = ?1 OR id = upper(?1)"
                            " ORDER BY id IN (?1, upper(?1)) DESC, submitted_seq DESC"
                            " LIMIT 1",
                            &SweepOf, reference));
  if (!newest.empty()) {
    RETURN_IF_ERROR(AddLabels(newest));
    return std::move(newest.front());
  }
  ASSIGN_OR_RETURN(const std::vector<SweepRow> sweeps, Sweeps());
  std::vector<SweepRow> begun;
  if (reference.size() >= kBeginningMin) {
    const std::string in_capitals = InCapitals(reference);
    for (const SweepRow& sweep : sweeps) {
      const bool begins = sweep.id.starts_with(reference) || sweep.id.starts_with(in_capitals);
      if (begins) begun.push_back(sweep);
    }
  }
  if (begun.size() == 1) {
    RETURN_IF_ERROR(AddLabels(begun));
    return begun.front();
  }
  std::vector<std::string> names;
  if (begun.size() > 1) {
    for (const SweepRow& sweep : begun) names.push_back(Str(sweep.id, " (", sweep.name, ")"));
    return Status(Code::kInvalidArgument, Str("more than one sweep begins with ", Quoted(reference),
                                              ": ", Join(names, ", ")));
  }
  std::set<std::string_view> known;
  for (const SweepRow& sweep : sweeps) {
    if (known.insert(sweep.name).second) names.push_back(sweep.name);
  }
  ASSIGN_OR_RETURN(const std::string other, OtherKind(reference, "sweep"));
  if (!other.empty()) return Status(Code::kNotFound, other);
  std::string message(NotFound({"sweep"}, reference).message());
  if (const std::string near = Nearest(reference, names); !near.empty()) {
    StrAppend(message, Str("; did you mean \"", near, "\"?"));
  } else if (names.empty()) {
    if (!IsDamageNoted("sweep")) StrAppend(message, "; none was submitted yet");
  } else {
    const auto n_more = static_cast<std::int64_t>(names.size()) - kShown;
    if (n_more > 0) names.erase(names.begin(), names.end() - kShown);
    StrAppend(message, Str("; existing sweeps: ", Join(names, ", ")));
    if (n_more > 0) StrAppend(message, Str(", and ", n_more, " older ones (`longrun ls`)"));
  }
  return Status(Code::kNotFound, message);
}

// A task is written together with a row for each of its cells, so a cell of a task that has no row
// has lost it. A task that has measured the cell counts before one that owes it.
Status StoreReader::FindByTasks(const std::string& run_key, const std::set<std::string>& cells,
                                std::map<std::string, std::string>& owners) {
  return ReadEach(
      *connection_,
      "SELECT id, expected_cells FROM task WHERE run_key = ? AND"
      " kind = 'evaluate' ORDER BY result_attempt = '', id",
      [&](const Statement& row) {
        const Result<Json> list = ParseJson(row.Text(1));
        if (!list.ok()) return;
        for (const Json& one : *list) {
          const Result<ExpectedCell> cell = ExpectedCell::FromJson(one);
          if (!cell.ok()) break;  // from another build: only that one requests such cells
          if (cells.contains(cell->cell)) owners.emplace(cell->cell, row.Text(0));
        }
      },
      run_key);
}

Result<std::map<std::string, std::string>> StoreReader::CellOwners(
    const Sweep& sweep, std::set<std::string>* unrecorded) {
  std::map<std::string, std::string> owners;
  Series series(*this);
  for (const PlannedRun& run : sweep.runs) {
    RETURN_IF_ERROR(series.Next());
    std::set<std::string> missed;
    {
      ASSIGN_OR_RETURN(Statement row, Read(*connection_, "SELECT task FROM cell WHERE cell = ?"));
      for (const PlannedEvaluation& evaluation : run.evaluations) {
        for (const ExpectedCell& cell : evaluation.cells) {
          ASSIGN_OR_RETURN(const bool found, row.Again().Bind(cell.cell).Step());
          if (found) {
            owners[cell.cell] = row.Text(0);
          } else {
            missed.insert(cell.cell);
          }
        }
      }
    }
    if (missed.empty()) continue;
    RETURN_IF_ERROR(FindByTasks(run.run_key, missed, owners));
    if (unrecorded == nullptr) continue;
    for (const std::string& cell : missed) {
      if (owners.contains(cell)) unrecorded->insert(cell);
    }
  }
  return owners;
}

// The former id of a sweep with a flipped bit in its id: the rows of its runs still have it.
Result<std::string> StoreReader::IdOfMembers(const std::string& flipped) {
  ASSIGN_OR_RETURN(
      Statement row,
      connection_->Prepare("SELECT DISTINCT sweep FROM main.sweep_run WHERE NOT EXISTS"
                           " (SELECT 1 FROM main.sweep WHERE sweep.id = sweep_run.sweep)"));
  while (true) {
    ASSIGN_OR_RETURN(const bool more, row.Step());
    if (!more) return std::string();
    if (IsOneBitOff(row.Text(0), flipped)) return row.Text(0);
  }
}

Result<std::string> StoreReader::SameSweep(const std::string& name, const std::string& digest) {
  ASSIGN_OR_RETURN(Statement row, Read(*connection_,
                                       "SELECT id FROM sweep WHERE name = ? AND digest = ?"
                                       " ORDER BY submitted_seq DESC LIMIT 1",
                                       name, digest));
  ASSIGN_OR_RETURN(const bool found, row.Step());
  if (found) return row.Text(0);
  ASSIGN_OR_RETURN(
      Statement damaged,
      connection_->Prepare(Kept(Str("SELECT id, name, digest FROM main.sweep WHERE NOT ",
                                    RowSums::HoldsCall(connection_->row_sums().table("sweep")),
                                    " ORDER BY submitted_seq DESC"))));
  while (true) {
    ASSIGN_OR_RETURN(const bool more, damaged.Step());
    if (!more) return std::string();
    if (OtherCharacters(damaged.Text(1) + damaged.Text(2), name + digest) > 1) continue;
    const std::string id = damaged.Text(0);
    ASSIGN_OR_RETURN(const std::string own_id, IdOfMembers(id));
    if (!own_id.empty()) return own_id;
    if (IsUlid(id)) return id;
  }
}

Result<std::vector<std::string>> StoreReader::TasksOfSweep(const std::string& sweep_id) {
  return ReadRows(*connection_,
                  "SELECT task FROM sweep_task WHERE sweep = ?"
                  " ORDER BY task",
                  &FirstText, sweep_id);
}

Result<SweepBody> StoreReader::BodyOfSweep(const std::string& sweep_id) {
  ASSIGN_OR_RETURN(Statement row, Read(*connection_,
                                       "SELECT yaml, axes, file_name, overrides, digest"
                                       " FROM sweep WHERE id = ?",
                                       sweep_id));
  ASSIGN_OR_RETURN(const bool found, row.Step());
  if (!found) return NotFound({"sweep"}, sweep_id);
  return SweepBody{.yaml = row.Text(0),
                   .axes_json = row.Text(1),
                   .file_name = row.Text(2),
                   .overrides_json = row.Text(3),
                   .digest = row.Text(4)};
}

Result<std::vector<SweepRunRow>> StoreReader::RunsOfSweep(const std::string& sweep_id) {
  return ReadRows(*connection_,
                  "SELECT run.run_key, sweep_run.axes, run.dataset_name, run.run,"
                  " run.execution FROM sweep_run JOIN run ON run.run_key = sweep_run.run_key"
                  " WHERE sweep_run.sweep = ? ORDER BY sweep_run.ordinal",
                  &RunOf, sweep_id);
}

Result<std::vector<SweepRunRow>> StoreReader::RunsOfKeys(const std::set<std::string>& run_keys) {
  return ReadRows(*connection_,
                  "SELECT run_key, '{}', dataset_name, run, execution FROM run"
                  " WHERE run_key IN (SELECT value FROM json_each(?))",
                  &RunOf, CanonicalJson(Json(run_keys)));
}

Result<StoreReader::CellSet> StoreReader::CellsOfSweep(const std::string& sweep_id) {
  CellSet cells;
  RETURN_IF_ERROR(ReadEach(
      *connection_, "SELECT cell FROM sweep_cell WHERE sweep = ?",
      [&](const Statement& row) { cells.insert(row.Text(0)); }, sweep_id));
  return cells;
}

// Replaces the journal lines of these rows by their bodies; a row with a damaged line counts as
// lost.
void StoreReader::KeepBodies(std::vector<ResultBody>& rows) {
  std::erase_if(rows, [](ResultBody& row) {
    Result<std::string> body = BodyOfJournalLine(row.body_json);
    if (body.ok()) row.body_json = std::move(body).value();
    return !body.ok();
  });
}

Result<std::vector<ResultBody>> StoreReader::Results(const char* sql, const std::string& bound) {
  const auto with_line = [](const Statement& row) {
    return ResultBody{.run_key = row.Text(0),
                      .cell = row.Text(1),
                      .task = row.Text(2),
                      .attempt = row.Text(3),
                      .body_json = row.Text(4),
                      .evaluation_json = row.Text(5),
                      .asked = {.cell = row.Text(1),
                                .metric = row.Text(6),
                                .context_length = row.Int(7),
                                .variant = row.Text(8),
                                .depth = DepthAt(row, 9)}};
  };
  ASSIGN_OR_RETURN(std::vector<ResultBody> rows, ReadRows(*connection_, sql, with_line, bound));
  KeepBodies(rows);  // after the read, since it parses
  return rows;
}

Result<std::vector<StoreReader::OwnedCell>> StoreReader::OwnedCells(const std::string& sweep_id) {
  // CROSS JOIN keeps SQLite to that order, however large the tables have grown and whatever it
  // guesses about them.
  return ReadRows(
      *connection_,
      "SELECT sweep_cell.ordinal, sweep_cell.cell, cell.task"
      " FROM sweep_cell CROSS JOIN cell"
      " ON cell.cell = sweep_cell.cell WHERE sweep_cell.sweep = ?"
      " ORDER BY sweep_cell.ordinal",
      [](const Statement& row) {
        return OwnedCell{.ordinal = row.Int(0), .cell = row.Text(1), .task = row.Text(2)};
      },
      sweep_id);
}

Result<std::vector<ResultBody>> StoreReader::ResultsOfSweep(const std::string& sweep_id) {
  ASSIGN_OR_RETURN(const std::vector<OwnedCell> cells, OwnedCells(sweep_id));
  return ResultsOf(cells);
}

Result<std::vector<ResultBody>> StoreReader::ResultsOfCells(
    const std::map<std::string, std::string>& owners) {
  std::vector<OwnedCell> cells;
  cells.reserve(owners.size());
  for (const auto& [cell, task] : owners) cells.push_back({.cell = cell, .task = task});
  return ResultsOf(cells);
}

Result<std::vector<MeasuredNumber>> StoreReader::NumbersOf(const std::string& attempt) {
  return ReadNumbers(*connection_, attempt);
}

// Goes by keys from few rows to few rows, however many results other sweeps have, and reads each
// task once, since it has many cells.
Result<std::vector<ResultBody>> StoreReader::ResultsOf(const std::vector<OwnedCell>& cells) {
  struct Measured {
    std::string attempt;  // "": none counts
    std::string evaluation_json;
  };
  std::unordered_map<std::string_view, Measured> tasks;
  struct Found {
    ResultBody row;
    std::int64_t ordinal = 0, seq = 0;
  };
  std::vector<Found> found;
  found.reserve(cells.size());
  {
    Series series(*this);
    for (const OwnedCell& cell : cells) {
      const auto [task, is_new] = tasks.try_emplace(cell.task);
      if (is_new) {
        RETURN_IF_ERROR(series.Next());
        ASSIGN_OR_RETURN(Statement row,
                         connection_->Prepare("SELECT result_attempt, evaluation, expected_cells"
                                              " FROM task WHERE id = ?"));
        ASSIGN_OR_RETURN(const bool is_there, row.Bind(cell.task).Step());
        if (is_there) {
          task->second = {.attempt = row.Text(0), .evaluation_json = row.Text(1)};
          RememberOwed(cell.task, row.Text(2));
        }
      }
      if (task->second.attempt.empty()) continue;
      ASSIGN_OR_RETURN(Statement row, connection_->Prepare(results_of_cell_.c_str()));
      row.Bind(task->second.attempt).Bind(cell.cell);
      RETURN_IF_ERROR(ForEachRow(row, [&](const Statement&) {
        found.push_back({.row = {.run_key = row.Text(0),
                                 .cell = cell.cell,
                                 .task = row.Text(1),
                                 .attempt = row.Text(2),
                                 .body_json = row.Text(3),
                                 .evaluation_json = task->second.evaluation_json,
                                 .asked = {.cell = cell.cell,
                                           .metric = row.Text(4),
                                           .context_length = row.Int(5),
                                           .variant = row.Text(6),
                                           .depth = DepthAt(row, 8)}},
                         .ordinal = cell.ordinal,
                         .seq = row.Int(7)});
      }));
    }
  }
  std::vector<Found*> in_order;
  in_order.reserve(found.size());
  for (Found& one : found) in_order.push_back(&one);
  std::ranges::stable_sort(in_order, [](const Found* a, const Found* b) {
    const auto key = [](const Found& one) {
      const ExpectedCell& asked = one.row.asked;
      return std::tie(one.ordinal, asked.metric, asked.context_length, asked.variant, one.seq);
    };
    return key(*a) < key(*b);
  });
  std::vector<ResultBody> rows;
  rows.reserve(found.size());
  for (Found* const one : in_order) rows.push_back(std::move(one->row));
  KeepBodies(rows);
  return rows;
}

Result<std::vector<ResultBody>> StoreReader::ResultsOfRun(const std::string& run_key) {
  return Results(
      "SELECT result.run_key, result.cell, result.task, result.attempt, result.line,"
      " task.evaluation, result.metric, result.context_length, result.variant, result.depth"
      " FROM task CROSS JOIN result ON result.attempt = task.result_attempt"
      " WHERE task.run_key = ? AND task.kind = 'evaluate' AND task.result_attempt <> ''"
      " ORDER BY result.metric, result.split, result.protocol, result.context_length,"
      " result.variant, result.seq",
      run_key);
}

Result<std::vector<ExpectedCell>> StoreReader::ExpectedCellsOf(const std::string& task) {
  ASSIGN_OR_RETURN(Statement row,
                   Read(*connection_, "SELECT expected_cells FROM task WHERE id = ?", task));
  ASSIGN_OR_RETURN(const bool found, row.Step());
  return found ? ExpectedCellsIn(row.Text(0)) : std::vector<ExpectedCell>();
}

Result<std::vector<ExpectedCell>> StoreReader::ExpectedCellsIn(const std::string& json) {
  ASSIGN_OR_RETURN(const Json list, ParseJson(json));
  std::vector<ExpectedCell> cells;
  for (const Json& one : list) {
    ASSIGN_OR_RETURN(ExpectedCell cell, ExpectedCell::FromJson(one));
    cells.push_back(std::move(cell));
  }
  return cells;
}

void StoreReader::NoteDamaged(const std::vector<DamagedRow>& rows) {
  for (const DamagedRow& row : rows) connection_->row_sums().NoteDamaged(row);
}

std::vector<DamagedRow> StoreReader::TakeDamaged() { return connection_->row_sums().TakeDamaged(); }

Result<std::string> StoreReader::FindRunKey(const std::string& beginning) {
  return OneOfAnyCase("SELECT run_key FROM run WHERE run_key >= ? AND run_key < ? ORDER BY run_key",
                      "run", beginning, &ToLower);
}

Result<std::string> StoreReader::FindTaskId(const std::string& beginning) {
  return OneOfAnyCase("SELECT id FROM task WHERE id >= ? AND id < ? ORDER BY id", "task", beginning,
                      &ToLower);
}

Result<std::string> StoreReader::FindAttemptId(const std::string& beginning) {
  return OneOfAnyCase("SELECT id FROM attempt WHERE id >= ? AND id < ? ORDER BY id", "attempt",
                      beginning, &ToUpper);
}

Result<SweepRunRow> StoreReader::FindRun(const std::string& reference) {
  if (reference.size() < kBeginningMin) {
    return Status(Code::kInvalidArgument,
                  Str(Quoted(reference), " is too short for a run: give 8 or more of its digits"));
  }
  ASSIGN_OR_RETURN(const std::string run_key, FindRunKey(reference));
  if (run_key.empty()) {
    ASSIGN_OR_RETURN(const std::string other, OtherKind(reference, "run"));
    return other.empty() ? NotFound({"run"}, reference) : Status(Code::kInvalidArgument, other);
  }
  // The axes as the newest sweep that shows the run names them.
  ASSIGN_OR_RETURN(Statement row,
                   Read(*connection_,
                        "SELECT run.run_key, sweep_run.axes, run.dataset_name, run.run,"
                        " run.execution FROM run"
                        " LEFT JOIN sweep_run ON sweep_run.run_key = run.run_key"
                        " WHERE run.run_key = ? ORDER BY sweep_run.sweep DESC LIMIT 1",
                        run_key));
  ASSIGN_OR_RETURN(const bool found, row.Step());
  if (!found) return NotFound({"run"}, reference);
  return RunOf(row);
}

Result<std::vector<std::string>> StoreReader::TasksOfRun(const std::string& run_key) {
  return ReadRows(*connection_,
                  "SELECT id FROM task WHERE run_key = ?"
                  " ORDER BY kind = 'evaluate', ready_seq, id",
                  &FirstText, run_key);
}

namespace {

// An attempt's id has the time of its offer. Empty if the clock was set back meanwhile.
std::optional<double> StartSeconds(const std::string& attempt, std::int64_t started_wall_ms) {
  const std::optional<std::int64_t> offered_wall_ms = UlidWallMs(attempt);
  if (!offered_wall_ms || started_wall_ms < *offered_wall_ms) return std::nullopt;
  return static_cast<double>(started_wall_ms - *offered_wall_ms) / 1000.0;
}

}  // namespace

Result<std::vector<MeasuredRow>> StoreReader::MeasuredTasks(std::int64_t n_max) {
  return ReadRows(
      *connection_,
      "SELECT task.kind, run.run, run.execution, ifnull(task.evaluation, ''),"
      " task.expected_cells,"
      " ifnull(attempt.duration_ms, 0) / 1000.0, attempt.id, ifnull(attempt.started_wall_ms, 0)"
      " FROM attempt JOIN task ON task.id = attempt.task"
      " JOIN run ON run.run_key = task.run_key"
      " WHERE attempt.state = 'SUCCEEDED' AND attempt.resume_step IS NULL"
      " AND task.result_attempt = attempt.id AND run.execution IS NOT NULL"
      // What an earlier attempt had measured, this one may have taken over.
      " AND NOT EXISTS (SELECT 1 FROM attempt earlier CROSS JOIN result"
      " ON result.attempt = earlier.id"
      " WHERE earlier.task = task.id AND earlier.epoch < attempt.epoch)"
      " ORDER BY attempt.id DESC LIMIT ?",
      [](const Statement& row) {
        return MeasuredRow{.kind = row.Text(0),
                           .run_json = row.Text(1),
                           .execution_json = row.Text(2),
                           .evaluation_json = row.Text(3),
                           .expected_cells_json = row.Text(4),
                           .seconds = row.Double(5),
                           .start_seconds = StartSeconds(row.Text(6), row.Int(7))};
      },
      n_max);
}

namespace {

// Finds the context lengths in a list of cells, without a tree of it: the list of a task of an
// earlier release may have millions.
class LengthFinder final : public nlohmann::json_sax<Json> {
 public:
  std::set<std::int64_t> lengths;
  std::string error;

  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t number) override { return Take(number); }
  bool number_unsigned(number_unsigned_t number) override {
    return Take(static_cast<std::int64_t>(number));
  }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_object(std::size_t) override { return Deeper(); }
  bool key(string_t& key) override {
    is_length_ = depth_ == 2 && key == "context_length";
    return true;
  }
  bool end_object() override { return Higher(); }
  bool start_array(std::size_t) override { return Deeper(); }
  bool end_array() override { return Higher(); }
  bool parse_error(std::size_t, const std::string&, const Json::exception& why) override {
    error = why.what();
    return false;
  }

 private:
  bool Take(std::int64_t number) {
    if (is_length_) lengths.insert(number);
    return true;
  }
  bool Deeper() {
    depth_ += 1;
    is_length_ = false;
    return true;
  }
  bool Higher() {
    depth_ -= 1;
    return true;
  }

  int depth_ = 0;
  bool is_length_ = false;  // the next value
};

}  // namespace

Result<std::vector<std::int64_t>> StoreReader::LengthsIn(const std::string& expected_cells) {
  LengthFinder finder;
  if (!Json::sax_parse(expected_cells, &finder)) {
    return Status(Code::kDataLoss,
                  Str("a task's list of cells is not valid JSON: ", ToUtf8(finder.error)));
  }
  return std::vector<std::int64_t>(finder.lengths.begin(), finder.lengths.end());
}

Result<std::vector<std::int64_t>> StoreReader::LengthsOfTask(const std::string& task) {
  ASSIGN_OR_RETURN(Statement row,
                   Read(*connection_, "SELECT expected_cells FROM task WHERE id = ?", task));
  ASSIGN_OR_RETURN(const bool found, row.Step());
  return found ? LengthsIn(row.Text(0)) : std::vector<std::int64_t>();
}

Result<std::vector<AttemptRow>> StoreReader::AttemptsOfTask(const std::string& task) {
  std::vector<AttemptRow> attempts;
  RETURN_IF_ERROR(ReadEach(
      *connection_,
      "SELECT id, task, n, state, failure_class, message, worker, started_wall_ms,"
      " ended_wall_ms, ifnull(duration_ms, 0), durable_seq, ifnull(resume_step, 0),"
      " (SELECT line FROM record WHERE attempt = attempt.id AND kind = 'started' LIMIT 1)"
      " FROM attempt WHERE task = ? ORDER BY epoch",
      [&](const Statement& row) -> Status {
        AttemptRow attempt{.id = row.Text(0),
                           .task = row.Text(1),
                           .n = row.Int(2),
                           .state = row.Text(3),
                           .failure_class = row.Text(4),
                           .message = row.Text(5),
                           .worker = row.Text(6),
                           .started_wall_ms = row.Int(7),
                           .ended_wall_ms = row.Int(8),
                           .duration_ms = row.Int(9),
                           .durable_seq = row.Int(10),
                           .resume_step = row.Int(11),
                           .started_json = ""};
        if (!row.IsNull(12)) {
          ASSIGN_OR_RETURN(attempt.started_json, BodyOfJournalLine(row.Text(12)));
        }
        attempts.push_back(std::move(attempt));
        return Status();
      },
      task));
  return attempts;
}

Result<bool> StoreReader::HasAttempt(const std::string& attempt, const std::string& worker) {
  ASSIGN_OR_RETURN(Statement row,
                   Read(*connection_, "SELECT worker FROM attempt WHERE id = ?", attempt));
  ASSIGN_OR_RETURN(const bool is_there, row.Step());
  return is_there && row.Text(0) == worker;
}

// The attempts are read once for all workers, since no index has them by worker. The journal is
// read only of attempts whose end the worker has not reported: it has reported the others' ends
// after their records.
Result<std::map<std::string, std::int64_t>> StoreReader::LastStoredOfWorkers() {
  struct Known {
    std::int64_t wall_ms = 0;
    std::vector<std::string> open = {};  // live attempts
    std::int64_t lost_at_ms = 0;
    std::vector<std::string> lost = {};  // at that time, the newest
  };
  std::map<std::string, Known> workers;
  RETURN_IF_ERROR(
      ReadEach(*connection_,
               "SELECT worker, id, state = 'LOST', state IN ('OFFERED', 'ACCEPTED', 'RUNNING'),"
               " started_wall_ms, ended_wall_ms FROM attempt",
               [&](const Statement& row) {
                 Known& known = workers[row.Text(0)];
                 const bool is_lost = row.Int(2) != 0;
                 known.wall_ms = std::max({known.wall_ms, row.Int(4), is_lost ? 0 : row.Int(5)});
                 if (row.Int(3) != 0) known.open.push_back(row.Text(1));
                 if (!is_lost || row.Int(5) < known.lost_at_ms) return;
                 if (row.Int(5) > known.lost_at_ms) known.lost.clear();
                 known.lost_at_ms = row.Int(5);
                 known.lost.push_back(row.Text(1));
               }));
  RETURN_IF_ERROR(ReadEach(*connection_, "SELECT worker, issued_ms FROM worker_certificate",
                           [&](const Statement& row) {
                             Known& known = workers[row.Text(0)];
                             known.wall_ms = std::max(known.wall_ms, row.Int(1));
                           }));
  std::map<std::string, std::int64_t> newest;
  for (auto& [worker, known] : workers) {
    known.open.insert(known.open.end(), known.lost.begin(), known.lost.end());
    for (const std::string& attempt : known.open) {
      ASSIGN_OR_RETURN(
          Statement row,
          Read(*connection_,
               "WITH one AS (SELECT ? AS id)"
               " SELECT max(ifnull((SELECT max(t_ms) FROM record WHERE attempt = one.id), 0),"
               "  ifnull((SELECT max(t_ms) FROM series WHERE attempt = one.id), 0),"
               "  ifnull((SELECT max(t_ms) FROM result WHERE attempt = one.id), 0)) FROM one",
               attempt));
      ASSIGN_OR_RETURN(const bool found, row.Step());
      if (found) known.wall_ms = std::max(known.wall_ms, row.Int(0));
    }
    if (known.wall_ms > 0) newest.emplace(worker, known.wall_ms);
  }
  return newest;
}

Result<std::map<std::string, std::string>> StoreReader::TasksByAttempt() {
  std::map<std::string, std::string> tasks;
  RETURN_IF_ERROR(ReadEach(*connection_, "SELECT id, task FROM attempt",
                           [&](const Statement& row) { tasks.emplace(row.Text(0), row.Text(1)); }));
  return tasks;
}

Result<std::vector<std::string>> StoreReader::FindLogs(const std::string& reference) {
  if (reference.size() < kBeginningMin) {
    return Status(Code::kInvalidArgument,
                  Str(Quoted(reference),
                      " is too short: give 8 or more characters of the id of a run, a task or "
                      "an attempt"));
  }
  const Result<std::string> attempt = FindAttemptId(reference);
  if (attempt.ok() && !attempt->empty()) return std::vector<std::string>{*attempt};
  const Result<std::string> task = FindTaskId(reference);
  std::vector<std::string> tasks;
  if (task.ok() && !task->empty()) {
    tasks.push_back(*task);
  } else {
    const auto run_key = FindRunKey(reference);
    if (!run_key.ok() || run_key->empty()) {
      for (const Status& status : {attempt.status(), task.status(), run_key.status()}) {
        RETURN_IF_ERROR(status);
      }
      return NotFound({"run", "task", "attempt"}, reference);
    }
    ASSIGN_OR_RETURN(tasks, TasksOfRun(*run_key));
  }
  std::vector<std::string> attempts;
  for (const std::string& id : tasks) {
    ASSIGN_OR_RETURN(Statement row, connection_->Prepare("SELECT attempt FROM task WHERE id = ?"));
    ASSIGN_OR_RETURN(const bool found, row.Bind(id).Step());
    if (found && !row.Text(0).empty()) attempts.push_back(row.Text(0));
  }
  return attempts;
}

Result<std::vector<CurvePoint>> StoreReader::Curve(const std::string& task,
                                                   const std::string& metric,
                                                   std::int64_t points_max) {
  connection_->SetTimeLimit(kReadMsMax);
  // The view `lineage`, for one task, from its newest attempt back. Each part is read by the
  // primary key of `series`.
  std::string attempt;
  {
    ASSIGN_OR_RETURN(
        Statement row,
        connection_->Prepare("SELECT CASE result_attempt WHEN '' THEN attempt ELSE result_attempt"
                             " END FROM task WHERE id = ?"));
    ASSIGN_OR_RETURN(const bool found, row.Bind(task).Step());
    if (found) attempt = row.Text(0);
  }
  std::vector<CurvePoint> points;
  std::int64_t step_last = std::numeric_limits<std::int64_t>::max();
  // The attempts that journals name as their origin may form a circle.
  std::set<std::pair<std::string, std::int64_t>> seen;
  while (seen.emplace(attempt, step_last).second) {
    std::string parent;
    std::int64_t step_first = 0;
    {
      ASSIGN_OR_RETURN(
          Statement row,
          connection_->Prepare("SELECT ifnull(resume_step + 1, 0), ifnull(resume_attempt, '')"
                               " FROM attempt WHERE id = ?"));
      ASSIGN_OR_RETURN(const bool found, row.Bind(attempt).Step());
      if (!found) break;
      step_first = row.Int(0);
      parent = row.Text(1);
    }
    ASSIGN_OR_RETURN(Statement row, connection_->Prepare(
                                        "SELECT step, value FROM series WHERE attempt = ?"
                                        " AND metric = (SELECT id FROM metric_name WHERE name = ?)"
                                        " AND step BETWEEN ? AND ?"));
    row.Bind(attempt).Bind(metric).Bind(step_first).Bind(step_last);
    RETURN_IF_ERROR(ForEachRow(row, [&](const Statement&) {
      points.push_back(
          {.step = row.Int(0),
           .value = row.IsNull(1) ? std::numeric_limits<double>::quiet_NaN() : row.Double(1)});
    }));
    attempt = std::move(parent);
    step_last = step_first - 1;
  }
  std::ranges::stable_sort(points, {}, &CurvePoint::step);
  const auto n = static_cast<std::int64_t>(points.size());
  if (points_max <= 0 || n <= points_max) return points;
  std::vector<CurvePoint> some;
  for (std::int64_t i = 1; i <= points_max; ++i) {
    some.push_back(points[static_cast<std::size_t>(i * n / points_max - 1)]);
  }
  return some;
}

Result<std::int64_t> StoreReader::DataVersion() {
  ASSIGN_OR_RETURN(Statement row, Read(*connection_, "PRAGMA data_version"));
  RETURN_IF_ERROR(row.Step().status());
  return row.Int(0);
}

Result<std::vector<ExportCandidate>> StoreReader::ExportCandidates() {
  return ReadRows(*connection_,
                  "SELECT id, name, yaml, overrides FROM sweep WHERE submitted_seq ="
                  " (SELECT max(newest.submitted_seq) FROM sweep newest"
                  " WHERE newest.name = sweep.name)"
                  " AND (instr(yaml, 'export') > 0 OR instr(overrides, 'export') > 0)"
                  " ORDER BY submitted_seq DESC",
                  [](const Statement& row) {
                    return ExportCandidate{.id = row.Text(0),
                                           .name = row.Text(1),
                                           .yaml = row.Text(2),
                                           .overrides_json = row.Text(3)};
                  });
}

Result<std::vector<ExportRow>> StoreReader::ExportRows(const std::string& sweep_id) {
  return ReadRows(
      *connection_,
      "SELECT sweep_run.axes, run.dataset_name, run.train_length, result.context_length,"
      " ifnull(result.split, ''), ifnull(result.protocol, ''), ifnull(result.variant, ''),"
      " result.value, ifnull(task.evaluation, ''), result.metric FROM sweep_cell"
      " JOIN sweep_run ON sweep_run.sweep = sweep_cell.sweep"
      " AND sweep_run.ordinal = sweep_cell.ordinal"
      " JOIN run ON run.run_key = sweep_run.run_key"
      " JOIN cell ON cell.cell = sweep_cell.cell"
      " JOIN task ON task.id = cell.task AND task.result_attempt <> ''"
      " JOIN result ON result.attempt = task.result_attempt AND result.cell = cell.cell"
      " WHERE sweep_cell.sweep = ? AND result.metric IN ('nll', 'pseudo_nll')"
      " AND result.status = 'ok'"
      " AND result.context_length IS NOT NULL AND result.depth IS NULL"
      " AND result.value IS NOT NULL",
      [](const Statement& row) {
        return ExportRow{.metric = row.Text(9),
                         .axes_json = row.Text(0),
                         .dataset = row.Text(1),
                         .train_length = row.Int(2),
                         .context_length = row.Int(3),
                         .split = row.Text(4),
                         .protocol = row.Text(5),
                         .evaluation_json = row.Text(8),
                         .variant = row.Text(6),
                         .nll = row.Double(7)};
      },
      sweep_id);
}

}  // namespace longrun::coordinator
