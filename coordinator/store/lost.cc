// Finds rows that a reader should have found but did not. A row's checksum tells whether it is
// valid (row_sum.h); but a flipped bit in a key or an index hides a valid row, and a read ends
// where the row of another sweep seems to begin. So related rows are counted and compared here:
//   a sweep     its runs are numbered without a gap, its cells and tasks belong to them, and the
//               rows on both sides of its own, where a read by its id stopped, are valid
//   a task      each number that it owes exists, under the attempt that counts, both by the table
//               and by its index
#include <algorithm>
#include <functional>
#include <iterator>
#include <utility>

#include "base/json.h"
#include "base/str.h"
#include "coordinator/store/read_rows.h"
#include "coordinator/store/reader.h"
#include "coordinator/store/sqlite.h"
#include "sweeps/event.h"

namespace longrun::coordinator {
namespace {

constexpr std::size_t kRememberedMax = 100'000;  // tasks

// A hash of one number of a task. 64 bits are enough: no database has two equal hashes by chance.
std::size_t HashOf(const std::string& task, const ExpectedCell& asked) {
  return std::hash<std::string>()(Str(task, " ", asked.cell, " ", asked.metric, " ",
                                      asked.context_length, " ", asked.variant,
                                      DepthText(asked.depth)));
}

std::size_t HashOf(const std::string& cell) { return std::hash<std::string>()(cell); }

// A table of members of sweeps, by its primary key.
struct MemberTable {
  const char* name;
  const char* rest_of_key;  // after `sweep`
  const char* descending;
  const char* columns;  // the columns to read
};
constexpr MemberTable kRuns = {.name = "sweep_run",
                               .rest_of_key = "ordinal",
                               .descending = "ordinal DESC",
                               .columns = "ordinal, run_key"};
constexpr MemberTable kCells = {.name = "sweep_cell",
                                .rest_of_key = "ordinal, cell",
                                .descending = "ordinal DESC, cell DESC",
                                .columns = "ordinal, cell"};
constexpr MemberTable kTasks = {.name = "sweep_task",
                                .rest_of_key = "task",
                                .descending = "task DESC",
                                .columns = "task, task"};
// The tables from which a sweep's answer is made, besides its numbers.
constexpr std::string_view kMemberTables[] = {"sweep_run", "sweep_cell", "sweep_task",
                                              "run",       "task",       "cell"};

// All evaluations that count, or those of one sweep: id, run key, attempt,
// whether its run is found.
constexpr const char* kAllEvaluations =
    "SELECT task.id, task.run_key, task.result_attempt,"
    " EXISTS (SELECT 1 FROM main.run WHERE run.run_key = task.run_key) FROM main.task"
    " WHERE task.kind = 'evaluate' AND task.result_attempt <> '' AND ?1 = ''";
constexpr const char* kEvaluationsOfSweep =
    "SELECT task.id, task.run_key, task.result_attempt,"
    " EXISTS (SELECT 1 FROM main.run WHERE run.run_key = task.run_key)"
    " FROM main.sweep_task CROSS JOIN main.task ON task.id = sweep_task.task"
    " WHERE sweep_task.sweep = ?1 AND task.kind = 'evaluate' AND task.result_attempt <> ''";
constexpr const char* kEvaluationsOfRun =
    "SELECT task.id, task.run_key, task.result_attempt, 1 FROM main.task"
    " WHERE task.run_key = ?1 AND task.kind = 'evaluate' AND task.result_attempt <> ''";

// The two ways to find the results of an attempt: the table, by its primary key, and an index.
constexpr const char* kByTable = "sqlite_autoindex_result_1";
constexpr const char* kByIndex = "result_once";

}  // namespace

const char* StoreReader::Kept(const std::string& sql) {
  return kept_sql_.insert(sql).first->c_str();
}

bool StoreReader::IsTold(std::string_view table, std::string_view id) const {
  return std::ranges::any_of(connection_->row_sums().noted(), [&](const DamagedRow& one) {
    return one.table == table && (id.empty() || one.key.find(id) != std::string::npos);
  });
}

// ---- the members of a sweep ---------------------------------------------------------------------

// Every row of the sweep in the table. The rows just before and after them belong to other sweeps,
// unless their id is damaged and they belong to this one: so those are checked, too.
Result<std::vector<StoreReader::Member>> StoreReader::Members(const std::string& table,
                                                              const std::string& sweep_id) {
  const MemberTable& of = table == kRuns.name ? kRuns : table == kCells.name ? kCells : kTasks;
  const std::string holds = RowSums::HoldsCall(connection_->row_sums().table(table));
  connection_->SetTimeLimit(kReadMsMax);
  {
    ASSIGN_OR_RETURN(Statement before,
                     connection_->Prepare(Kept(Str("SELECT ", holds, " FROM main.", table,
                                                   " WHERE sweep < ?1 ORDER BY sweep DESC, ",
                                                   of.descending, " LIMIT 1"))));
    RETURN_IF_ERROR(before.Bind(sweep_id).Step().status());
  }
  ASSIGN_OR_RETURN(
      Statement row,
      connection_->Prepare(Kept(
          Str("SELECT sweep, ", of.columns, ", CASE WHEN sweep = ?1 THEN 1 ELSE ", holds,
              " END FROM main.", table, " WHERE sweep >= ?1 ORDER BY sweep, ", of.rest_of_key))));
  row.Bind(sweep_id);
  std::vector<Member> members;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, row.Step());
    if (!more || row.Text(0) != sweep_id) return members;
    members.push_back({.ordinal = row.Int(1), .name = row.Text(2)});
  }
}

void StoreReader::NoteMember(const std::string& table, const std::string& what) {
  if (!IsTold(table, "")) connection_->row_sums().NoteDamaged(DescribeLostMember(table, what));
}

Result<bool> StoreReader::IsWhole(const std::string& sweep_id,
                                  const std::vector<SweepRunRow>& runs_read,
                                  LengthsByTask* lengths) {
  ASSIGN_OR_RETURN(const std::vector<Member> runs, Members(kRuns.name, sweep_id));
  ASSIGN_OR_RETURN(const std::vector<Member> cells, Members(kCells.name, sweep_id));
  ASSIGN_OR_RETURN(const std::vector<Member> tasks, Members(kTasks.name, sweep_id));
  const auto note_run = [&](std::int64_t ordinal) {
    NoteMember(kRuns.name, Str("run number ", ordinal + 1, " of sweep ", sweep_id));
  };
  std::unordered_set<std::string_view> read;
  read.reserve(runs_read.size());
  for (const SweepRunRow& run : runs_read) read.insert(run.run_key);
  std::unordered_set<std::string_view> run_keys;
  run_keys.reserve(runs.size());
  std::set<std::int64_t> ordinals;
  Series series(*this);
  for (const Member& run : runs) {
    run_keys.insert(run.name);
    ordinals.insert(ordinals.end(), run.ordinal);
    if (read.contains(run.name)) continue;
    RETURN_IF_ERROR(series.Next());
    ASSIGN_OR_RETURN(Statement row, connection_->Prepare("SELECT 1 FROM run WHERE run_key = ?"));
    ASSIGN_OR_RETURN(const bool found, row.Bind(run.name).Step());
    if (!found && !IsTold("run", run.name)) {
      connection_->row_sums().NoteDamaged(DescribeLostObject("run", run.name));
    }
  }
  std::int64_t n_runs = 0;
  for (const std::int64_t ordinal : ordinals) {
    if (ordinal != n_runs) {
      note_run(n_runs);
      break;
    }
    n_runs += 1;
  }
  for (const Member& cell : cells) {
    if (!ordinals.contains(cell.ordinal)) note_run(cell.ordinal);
  }
  for (const Member& task : tasks) {
    RETURN_IF_ERROR(series.Next());
    ASSIGN_OR_RETURN(Statement row,
                     connection_->Prepare("SELECT run_key, kind, expected_cells FROM task"
                                          " WHERE id = ?"));
    ASSIGN_OR_RETURN(const bool found, row.Bind(task.name).Step());
    const std::string run_key = found ? row.Text(0) : "";
    if (!found && !IsTold("task", task.name)) {
      connection_->row_sums().NoteDamaged(DescribeLostObject("task", task.name));
    } else if (found && !run_keys.contains(run_key)) {
      NoteMember(kRuns.name,
                 Str("the record that run ", run_key.substr(0, 8), " belongs to sweep ", sweep_id));
    }
    if (!found || lengths == nullptr || row.Text(1) != EnumName(TaskKind::kEvaluate)) continue;
    if (auto asked = LengthsIn(row.Text(2)); asked.ok()) {
      lengths->emplace(task.name, std::move(asked).value());
    }
  }
  return std::ranges::none_of(kMemberTables,
                              [&](std::string_view table) { return IsTold(table, ""); });
}

// ---- the numbers of a task ----------------------------------------------------------------------

Result<const std::vector<StoreReader::OwedNumber>*> StoreReader::OwedBy(const std::string& task) {
  const auto known = owed_.find(task);
  if (known != owed_.end()) return &known->second;
  ASSIGN_OR_RETURN(const std::vector<ExpectedCell> cells, ExpectedCellsOf(task));
  if (cells.empty()) return nullptr;  // its row is damaged
  return &Remember(task, cells);
}

void StoreReader::RememberOwed(const std::string& task, const std::string& expected_cells) {
  if (owed_.contains(task)) return;
  const Result<std::vector<ExpectedCell>> cells = ExpectedCellsIn(expected_cells);
  if (cells.ok() && !cells->empty()) Remember(task, *cells);
}

const std::vector<StoreReader::OwedNumber>& StoreReader::Remember(
    const std::string& task, const std::vector<ExpectedCell>& cells) {
  if (owed_.size() >= kRememberedMax) owed_.clear();
  std::vector<OwedNumber>& owed = owed_[task];
  owed.reserve(cells.size());
  for (const ExpectedCell& cell : cells) {
    owed.push_back({.cell = HashOf(cell.cell), .name = HashOf(task, cell)});
  }
  return owed;
}

Result<std::vector<StoreReader::Evaluated>> StoreReader::Evaluations(const char* sql,
                                                                     const std::string& bound) {
  return ReadRows(
      *connection_, sql,
      [](const Statement& row) {
        return Evaluated{.task = row.Text(0),
                         .run_key = row.Text(1),
                         .attempt = row.Text(2),
                         .run_is_found = row.Int(3) != 0};
      },
      bound);
}

// The numbers of an attempt that are found by `way`.
Result<std::unordered_set<std::size_t>> StoreReader::NumbersBy(const char* way,
                                                               const Evaluated& evaluated) {
  const char* const sql = Kept(Str(
      "SELECT cell, metric, context_length, variant, line, depth FROM main.result INDEXED BY ", way,
      " WHERE attempt = ? AND ", RowSums::HoldsCall(connection_->row_sums().table("result"))));
  std::unordered_set<std::size_t> found;
  RETURN_IF_ERROR(ReadEach(
      *connection_, sql,
      [&](const Statement& row) {
        if (!ParseJournalLine(row.Text(4)).ok()) return;
        found.insert(HashOf(evaluated.task, {.cell = row.Text(0),
                                             .metric = row.Text(1),
                                             .context_length = row.Int(2),
                                             .variant = row.Text(3),
                                             .depth = DepthAt(row, 5)}));
      },
      evaluated.attempt));
  return found;
}

Result<std::vector<ResultBody>> StoreReader::LostOfTask(
    const Evaluated& evaluated, const std::unordered_set<std::size_t>* cells) {
  ASSIGN_OR_RETURN(const auto by_table, NumbersBy(kByTable, evaluated));
  ASSIGN_OR_RETURN(const auto by_index, NumbersBy(kByIndex, evaluated));
  std::vector<ResultBody> lost;
  // Checked last: while an attempt counts, it keeps all its rows.
  ASSIGN_OR_RETURN(Statement row, Read(*connection_,
                                       "SELECT ifnull(evaluation, ''), expected_cells FROM task"
                                       " WHERE id = ? AND result_attempt = ?",
                                       evaluated.task, evaluated.attempt));
  ASSIGN_OR_RETURN(const bool found, row.Step());
  if (!found) return lost;
  ASSIGN_OR_RETURN(const Json list, ParseJson(row.Text(1)));
  for (const Json& one : list) {
    ASSIGN_OR_RETURN(ExpectedCell cell, ExpectedCell::FromJson(one));
    if (cells != nullptr && !cells->contains(HashOf(cell.cell))) continue;
    const std::size_t name = HashOf(evaluated.task, cell);
    ASSIGN_OR_RETURN(Statement owner, connection_->Prepare("SELECT task FROM cell WHERE cell = ?"));
    ASSIGN_OR_RETURN(const bool has_owner, owner.Bind(cell.cell).Step());
    if (has_owner && owner.Text(0) != evaluated.task) continue;  // it was measured again
    const bool is_found = by_table.contains(name) && by_index.contains(name);
    // Checks the way from the sweep to the number, which is itself valid.
    if (is_found && (has_owner || cells == nullptr)) continue;
    if (is_found) {
      NoteMember("cell", Str("the record of the task that has the result ", cell.metric, " at ",
                             cell.context_length, " of run ", evaluated.run_key.substr(0, 8)));
    }
    lost.push_back({.run_key = evaluated.run_key,
                    .cell = cell.cell,
                    .task = evaluated.task,
                    .attempt = is_found ? "" : evaluated.attempt,
                    .body_json = "",
                    .evaluation_json = row.Text(0),
                    .asked = std::move(cell)});
  }
  return lost;
}

// Reports missing numbers by name, instead of by the contents of their damaged rows.
void StoreReader::NoteNumbers(const std::vector<ResultBody>& lost) {
  std::vector<DamagedRow> met;
  for (DamagedRow& row : connection_->row_sums().TakeDamaged()) {
    if (row.table == "result" && !row.key.empty()) {
      met.push_back(std::move(row));
    } else {
      connection_->row_sums().NoteDamaged(std::move(row));
    }
  }
  // A damaged row accounts for one number: of its attempt,
  // or of any attempt if its attempt is damaged.
  const auto take = [&](const ResultBody& one, bool any) {
    const auto found = std::ranges::find_if(met, [&](const DamagedRow& row) {
      return any || row.key.find(one.attempt) != std::string::npos;
    });
    if (found == met.end()) return false;
    met.erase(found);
    return true;
  };
  const auto note = [&](const ResultBody& one, bool is_lost) {
    DamagedRow row = DescribeLostResult(one.run_key, one.task, one.asked.metric,
                                        one.asked.context_length, one.asked.variant, is_lost);
    if (std::ranges::find(known_, row.object, &DamagedRow::object) != known_.end())
      row.is_lost = false;
    connection_->row_sums().NoteDamaged(std::move(row));
  };
  std::vector<const ResultBody*> unmet;
  for (const ResultBody& one : lost) {
    if (one.attempt.empty()) continue;  // its way is already reported
    if (take(one, false)) {
      note(one, false);
    } else {
      unmet.push_back(&one);
    }
  }
  for (const ResultBody* const one : unmet) note(*one, !take(*one, true));
  for (DamagedRow& row : met) connection_->row_sums().NoteDamaged(std::move(row));
}

Result<std::vector<ResultBody>> StoreReader::Lost(const char* sql, const std::string& bound,
                                                  const CellSet* cells,
                                                  const std::vector<ResultBody>& results) {
  std::unordered_set<std::size_t> found;
  found.reserve(results.size());
  for (const ResultBody& result : results) found.insert(HashOf(result.task, result.asked));
  std::unordered_set<std::size_t> wanted;
  if (cells != nullptr) {
    wanted.reserve(cells->size());
    for (const std::string& cell : *cells) wanted.insert(HashOf(cell));
  }
  ASSIGN_OR_RETURN(const std::vector<Evaluated> evaluations, Evaluations(sql, bound));
  std::vector<ResultBody> lost;
  for (const Evaluated& evaluated : evaluations) {
    ASSIGN_OR_RETURN(const std::vector<OwedNumber>* const owed, OwedBy(evaluated.task));
    if (owed == nullptr) continue;
    const bool has_all = std::ranges::all_of(*owed, [&](const OwedNumber& one) {
      return found.contains(one.name) || (cells != nullptr && !wanted.contains(one.cell));
    });
    if (has_all) continue;
    ASSIGN_OR_RETURN(std::vector<ResultBody> of_task,
                     LostOfTask(evaluated, cells == nullptr ? nullptr : &wanted));
    std::ranges::move(of_task, std::back_inserter(lost));
  }
  NoteNumbers(lost);
  return lost;
}

Result<std::vector<ResultBody>> StoreReader::LostOfSweep(const std::string& sweep_id,
                                                         const CellSet& cells,
                                                         const std::vector<ResultBody>& results) {
  return Lost(kEvaluationsOfSweep, sweep_id, &cells, results);
}

Result<std::vector<ResultBody>> StoreReader::LostOfRun(const std::string& run_key,
                                                       const std::vector<ResultBody>& results) {
  return Lost(kEvaluationsOfRun, run_key, nullptr, results);
}

Result<std::int64_t> StoreReader::CountBy(const char* way, const std::string& attempt) {
  ASSIGN_OR_RETURN(
      Statement row,
      Read(*connection_,
           Kept(Str("SELECT count(*) FROM main.result INDEXED BY ", way, " WHERE attempt = ?")),
           attempt));
  RETURN_IF_ERROR(row.Step().status());
  return row.Int(0);
}

void StoreReader::ForgetPages() { (void)sqlite3_db_release_memory(connection_->raw()); }

Status StoreReader::NoteLostNumbers(const std::string& sweep_id) {
  ASSIGN_OR_RETURN(const std::vector<Evaluated> evaluations,
                   Evaluations(sweep_id.empty() ? kAllEvaluations : kEvaluationsOfSweep, sweep_id));
  std::vector<ResultBody> lost;
  for (const Evaluated& evaluated : evaluations) {
    if (!evaluated.run_is_found && !IsTold("run", evaluated.run_key)) {
      connection_->row_sums().NoteDamaged(DescribeLostObject("run", evaluated.run_key));
    }
    ASSIGN_OR_RETURN(const std::int64_t n_rows, CountBy(kByTable, evaluated.attempt));
    ASSIGN_OR_RETURN(const std::int64_t n_entries, CountBy(kByIndex, evaluated.attempt));
    const auto known = n_rows_of_.find(evaluated.attempt);
    if (n_rows == n_entries && known != n_rows_of_.end() && known->second == n_rows) continue;
    // An attempt may have more rows than it owes: so count the rows that it has,
    // and name those that it owes.
    ASSIGN_OR_RETURN(std::vector<ResultBody> of_task, LostOfTask(evaluated, nullptr));
    if (of_task.empty() && n_rows == n_entries) {
      if (n_rows_of_.size() >= kRememberedMax) n_rows_of_.clear();
      n_rows_of_[evaluated.attempt] = n_rows;
    }
    std::ranges::move(of_task, std::back_inserter(lost));
  }
  NoteNumbers(lost);
  if (sweep_id.empty()) return Status();
  ASSIGN_OR_RETURN(Statement row,
                   Read(*connection_,
                        "SELECT cell FROM main.sweep_cell WHERE sweep = ? AND NOT EXISTS"
                        " (SELECT 1 FROM main.cell WHERE cell.cell = sweep_cell.cell) LIMIT 1",
                        sweep_id));
  ASSIGN_OR_RETURN(const bool found, row.Step());
  if (found)
    NoteMember("cell", Str("the record of the task that has cell ", row.Text(0).substr(0, 8)));
  return Status();
}

Status StoreReader::NoteDamagedOf(const std::set<std::string>& tables) {
  for (const SummedTable& table : connection_->row_sums().tables()) {
    if (!tables.contains(table.name)) continue;
    connection_->SetTimeLimit(kReadMsMax);
    RETURN_IF_ERROR(connection_
                        ->ReadInt(Str("SELECT count(*) FROM main.", table.name, " WHERE NOT ",
                                      RowSums::HoldsCall(table)))
                        .status());
  }
  return Status();
}

}  // namespace longrun::coordinator
