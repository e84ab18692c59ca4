// Runs a user's SQL over the documented views (query_catalogue.h), with limits on everything.
//
// The text passes three checks before a row is read:
//   1. It is prepared against an empty database in memory that has the views as tables and nothing
//      else: anything but a documented view does not exist there, whatever its name.
//   2. An authorizer allows only SELECT, the listed functions and recursion, in any form.
//   3. The uses of names of WITH are limited, since SQLite copies what they stand for while it
//      prepares, where nothing can stop it.
// Then it runs on its own connection, opened for reading. Time, rows, bytes of the answer and
// lengths of text are limited, and memory where it runs in a process of its own (query_process.h);
// nothing is written, not even a temporary file.
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
};

inline constexpr std::int64_t kQueryTimeoutMsMax = 60'000;
inline constexpr std::int64_t kQueryRowsMax = 1'000'000;
inline constexpr std::size_t kQueryBytesMax = 16 << 10;        // of the SQL
inline constexpr std::int64_t kQueryTextBytesMax = 256 << 10;  // of one value

struct QueryAnswer {
  std::vector<std::string> columns;
  std::string rows_json = "[]";     // one list per row; null, number or text; a blob as "x'0a'"
  std::vector<DamagedRow> damaged;  // damaged rows that were left out
  std::set<std::string> tables;     // of the database, behind its views
  std::string cut_by;               // "", or the limit that ended it early: "rows", "bytes"
};

// `claims_json`: the rows of the view `claims`, each a list with a value for each column; "": they
// are not known, and a query that reads the view is refused.
//
// Any thread. kInvalidArgument: not a single SELECT over documented views (the message says what);
// kPermissionDenied: it uses something that a query may not; kDeadlineExceeded, kResourceExhausted:
// it was stopped at a limit.
Result<QueryAnswer> RunQuery(const std::string& database_path, const std::string& sql,
                             const std::string& claims_json, const QueryLimits& limits);

// kDeadlineExceeded: the query took longer than its time.
Status QueryTimeout(const QueryLimits& limits);

// An upper bound of the number of tables and views to which SQLite expands a statement while it
// prepares it: the views named, times the uses of each name of a WITH.
double ExpandedTables(std::string_view sql);

// The names, keywords and quoted texts of a statement, in lower case and without their quotes.
struct SqlName {
  std::string text;
  std::size_t begin = 0;  // bytes into the statement
};
std::vector<SqlName> NamesOf(std::string_view sql);

// LIKE like SQLite's, in time proportional to text times pattern: '%' any text, '_' one character,
// ASCII letters without regard to case. `escape` 0: none.
bool LikeMatches(std::string_view pattern, std::string_view text, char32_t escape);

}  // namespace longrun::coordinator
