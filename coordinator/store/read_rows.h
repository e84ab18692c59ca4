// Reads with a time limit: the building blocks of StoreReader's queries.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/status.h"
#include "coordinator/store/sqlite.h"

namespace longrun::coordinator {

inline constexpr std::int64_t kReadMsMax = 2000;  // per read; beyond it: kDeadlineExceeded

// Prepares a query (a literal), binds `bound` to its question marks in order, and starts its time
// limit. Texts in `bound` must outlive the statement.
template <typename... Bound>
Result<Statement> Read(Connection& connection, const char* sql, const Bound&... bound) {
  connection.SetTimeLimit(kReadMsMax);
  ASSIGN_OR_RETURN(Statement statement, connection.Prepare(sql));
  (statement.Bind(bound), ...);
  return statement;
}

// Calls `each` for each row of such a query. If `each` returns an error, the reading ends with it.
template <typename Each, typename... Bound>
Status ReadEach(Connection& connection, const char* sql, Each each, const Bound&... bound) {
  ASSIGN_OR_RETURN(Statement row, Read(connection, sql, bound...));
  return ForEachRow(row, std::move(each));
}

// Returns the values that `make` returns for the rows of such a query.
template <typename Make, typename... Bound>
auto ReadRows(Connection& connection, const char* sql, Make make, const Bound&... bound)
    -> Result<std::vector<std::invoke_result_t<Make, const Statement&>>> {
  std::vector<std::invoke_result_t<Make, const Statement&>> rows;
  RETURN_IF_ERROR(ReadEach(
      connection, sql, [&](const Statement& row) { rows.push_back(make(row)); }, bound...));
  return rows;
}

// Returns the first column of a row, for ReadRows.
inline std::string FirstText(const Statement& row) { return row.Text(0); }

// Returns the value of result.depth, which is in this column.
inline std::optional<double> DepthAt(const Statement& row, int column) {
  return row.IsNull(column) ? std::nullopt : std::optional(row.Double(column));
}

}  // namespace longrun::coordinator
