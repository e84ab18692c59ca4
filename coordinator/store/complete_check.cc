// See complete_check.h.
#include "coordinator/store/complete_check.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <string_view>

#include "base/str.h"
#include "coordinator/store/sqlite.h"

namespace longrun::coordinator {
namespace {

struct Question {
  const char* table;  // the one that lacks rows
  const char* sql;    // one row for each object, with its name for people
};

constexpr Question kMembers[] = {
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
};
constexpr Question kRecords = {
    "record",
    "WITH seen AS (SELECT attempt, count(*) AS n FROM"
    "  (SELECT attempt, seq FROM main.record UNION SELECT attempt, seq FROM main.result"
    "   UNION SELECT attempt, seq FROM main.series) GROUP BY attempt)"
    " SELECT (durable_seq - ifnull(seen.n, 0)) || ' of the ' || durable_seq || ' journal records"
    " of attempt ' || attempt.n || ' of task ' || substr(task, 1, 8)"
    " FROM main.attempt JOIN main.task ON task.id = attempt.task"
    " LEFT JOIN seen ON seen.attempt = attempt.id"
    // Retrying an evaluation drops the damaged results of the attempt that counted until then.
    " WHERE ifnull(seen.n, 0) < durable_seq"
    "  AND (task.kind = 'train' OR task.result_attempt = attempt.id)"};
// A start names each of these that others refer to.
constexpr std::string_view kNamedAtStart[] = {"run", "task"};
constexpr int kShownMax = 20;

Status Ask(Connection& connection, const Question& question, std::vector<DamagedRow>& missing) {
  ASSIGN_OR_RETURN(const std::vector<std::string> objects,
                   connection.ReadTexts(Str(question.sql, " LIMIT ", kShownMax)));
  for (const std::string& object : objects) {
    missing.push_back(DescribeMissing(question.table, object));
  }
  return Status();
}

}  // namespace

Result<std::vector<DamagedRow>> FindMissingMembers(Connection& connection) {
  std::vector<DamagedRow> missing;
  for (const Question& question : kMembers) RETURN_IF_ERROR(Ask(connection, question, missing));
  return missing;
}

Result<std::vector<DamagedRow>> FindMissingRows(Connection& connection, bool names_all) {
  ASSIGN_OR_RETURN(std::vector<DamagedRow> missing, FindMissingMembers(connection));
  RETURN_IF_ERROR(Ask(connection, kRecords, missing));
  // Only of our tables: users may add their own, with references of their own.
  for (const SummedTable& table : connection.row_sums().tables()) {
    ASSIGN_OR_RETURN(
        const std::vector<std::string> parents,
        connection.ReadTexts(Str("SELECT DISTINCT \"parent\" FROM pragma_foreign_key_check('",
                                 table.name, "', 'main') ORDER BY 1")));
    for (const std::string& parent : parents) {
      const bool is_named = std::ranges::find(kNamedAtStart, parent) != std::end(kNamedAtStart);
      if (is_named && !names_all) continue;
      missing.push_back(DescribeMissing(
          parent, Str("a row of table ", parent, " that table ", table.name, " refers to")));
    }
  }
  return missing;
}

}  // namespace longrun::coordinator
