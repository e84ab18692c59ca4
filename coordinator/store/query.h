// Runs a user's SQL over the documented views (query_catalogue.h), with limits on everything.
//
// The text passes three checks before a row is read:
//   1. It is prepared against an empty database in memory that has the views as tables and nothing
//      else. Only the documented views exist there, so no other name can be used.
//   2. An authorizer allows only SELECT, also a recursive one, and the listed functions.
//   3. Names that WITH defines may be used only a limited number of times: SQLite copies their
//      definitions while it prepares a statement, and cannot be interrupted then.
// Then it runs on its own connection, opened for reading. Time, rows, bytes of the answer and
// lengths of text are limited. Memory is also limited if it runs in a process of its own
// (query_process.h). Nothing is written, not even a temporary file.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "coordinator/store/damage.h"

namespace longrun::coordinator {

struct QueryLimits {
  std::int64_t timeout_ms = 5'000;
  std::int64_t rows_max = 10'000;
  std::int64_t answer_bytes_max = 16ll << 20;
  std::int64_t memory_bytes_max = 128ll << 20;  // SQLite's memory: see query_process.h
  bool hides_folders = false;  // columns with a folder of the coordinator's machine are empty
};

inline constexpr std::int64_t kQueryTimeoutMsMax = 60'000;
inline constexpr std::int64_t kQueryRowsMax = 1'000'000;
inline constexpr std::size_t kQueryBytesMax = 16 << 10;  // of the SQL
// Of one value: the context lengths of the largest task (sweeps/limits.h) fit.
inline constexpr std::int64_t kQueryTextBytesMax = 512 << 10;

struct QueryAnswer {
  std::vector<std::string> columns;
  std::string rows_json = "[]";     // one list per row; null, number or text; a blob as "x'0a'"
  std::vector<DamagedRow> damaged;  // damaged rows that were left out
  std::set<std::string> tables;     // the database's tables that its views read
  std::string cut_by;               // "", or the limit that ended it early: "rows", "bytes"
};

// `claims_json`: the rows of the view `claims`, each a list with a value for each column. "": the
// rows are not known, and a query that reads the view is refused.
//
// May be called from any thread. kInvalidArgument: the text is not a single SELECT over documented
// views (the message says why); kPermissionDenied: it uses something that a query may not use;
// kDeadlineExceeded, kResourceExhausted: it was stopped at a limit.
Result<QueryAnswer> RunQuery(const std::string& database_path, const std::string& sql,
                             const std::string& claims_json, const QueryLimits& limits);

// Returns kDeadlineExceeded, for a query that took longer than its limit.
Status QueryTimeout(const QueryLimits& limits);

// An upper bound of the number of tables and views to which SQLite expands a statement while it
// prepares it: one more than the number of views that it names, multiplied by the number of uses of
// each name that a WITH defines.
double ExpandedTables(std::string_view sql);

// A name, keyword or quoted text of a statement, in lower case and without its quotes.
struct SqlName {
  std::string text;
  std::size_t begin = 0;  // bytes into the statement
};
std::vector<SqlName> NamesOf(std::string_view sql);

// SQLite's LIKE, in time proportional to the length of the text times that of the pattern. '%'
// stands for any text, '_' for one character, and the case of ASCII letters does not matter.
// `escape` 0: no escape character.
bool LikeMatches(std::string_view pattern, std::string_view text, char32_t escape);

}  // namespace longrun::coordinator
