// See complete_check.h.
#include "coordinator/store/complete_check.h"

#include <string>

#include "base/str.h"
#include "coordinator/store/sqlite.h"

namespace longrun {
namespace {

struct Question {
  const char* table;  // the one that lacks rows
  const char* sql;    // one row for each object, with its name for people
};

constexpr Question kQuestions[] = {
    {"sweep_run",
     "SELECT DISTINCT 'run number ' || (ordinal + 1) || ' of sweep ' || sweep FROM"
     " (SELECT sweep, ordinal FROM main.sweep_cell"
     "  UNION SELECT sweep, ordinal - 1 FROM main.sweep_run WHERE ordinal > 0) AS named"
     " WHERE NOT EXISTS (SELECT 1 FROM main.sweep_run AS found"
     "  WHERE found.sweep = named.sweep AND found.ordinal = named.ordinal)"},
    {"sweep_task",
     "SELECT DISTINCT 'task ' || substr(cell.task, 1, 8) || ' among those of sweep ' || sweep"
     " FROM main.sweep_cell JOIN main.cell ON cell.cell = sweep_cell.cell"
     " WHERE NOT EXISTS (SELECT 1 FROM main.sweep_task AS found"
     "  WHERE found.sweep = sweep_cell.sweep AND found.task = cell.task)"},
    {"attempt",
     "SELECT (task.attempts - count(attempt.id)) || ' of the ' || task.attempts || ' attempts of '"
     " || kind || ' task ' || substr(task.id, 1, 8)"
     " FROM main.task LEFT JOIN main.attempt ON attempt.task = task.id"
     " GROUP BY task.id HAVING count(attempt.id) < task.attempts"},
    {"record",
     "WITH seen AS (SELECT attempt, count(*) AS n FROM"
     "  (SELECT attempt, seq FROM main.record UNION SELECT attempt, seq FROM main.result"
     "   UNION SELECT attempt, seq FROM main.series) GROUP BY attempt)"
     " SELECT (durable_seq - ifnull(seen.n, 0)) || ' of the ' || durable_seq || ' journal records"
     " of attempt ' || attempt.n || ' of task ' || substr(task, 1, 8)"
     " FROM main.attempt LEFT JOIN seen ON seen.attempt = attempt.id"
     " WHERE ifnull(seen.n, 0) < durable_seq"},
};
constexpr int kShownMax = 20;

}  // namespace

Result<std::vector<DamagedRow>> FindMissingRows(Connection& connection) {
  std::vector<DamagedRow> missing;
  for (const auto& [table, sql] : kQuestions) {
    ASSIGN_OR_RETURN(const std::vector<std::string> objects,
                     connection.ReadTexts(Str(sql, " LIMIT ", kShownMax)));
    for (const std::string& object : objects) missing.push_back(DescribeMissing(table, object));
  }
  RETURN_IF_ERROR(ForEach(
      connection,
      "SELECT DISTINCT \"parent\", \"table\" FROM main.sqlite_schema AS made,"
      " pragma_foreign_key_check(made.name, 'main') WHERE made.type = 'table' ORDER BY 1, 2",
      [&](const Statement& row) {
        missing.push_back(DescribeMissing(
            row.Text(0), Str("a row of table ", row.Text(0), " that table ", row.Text(1),
                             " refers to")));
      }));
  return missing;
}

}  // namespace longrun
