// Reads with a time limit, the parts of StoreReader's queries.
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

// A query (a literal) with `bound` for its question marks, in their order; its time begins. Texts
// must outlive the statement.
template <typename... Bound>
Result<Statement> Read(Connection& connection, const char* sql, const Bound&... bound) {
  connection.SetTimeLimit(kReadMsMax);
  ASSIGN_OR_RETURN(Statement statement, connection.Prepare(sql));
  (statement.Bind(bound), ...);
  return statement;
}

// Calls `each` for all rows of such a query; if it returns an error, the reading ends with it.
template <typename Each, typename... Bound>
Status ReadEach(Connection& connection, const char* sql, Each each, const Bound&... bound) {
  ASSIGN_OR_RETURN(Statement row, Read(connection, sql, bound...));
  return ForEachRow(row, std::move(each));
}

// All rows of such a query, each as `make` returns it.
template <typename Make, typename... Bound>
auto ReadRows(Connection& connection, const char* sql, Make make, const Bound&... bound)
    -> Result<std::vector<std::invoke_result_t<Make, const Statement&>>> {
  std::vector<std::invoke_result_t<Make, const Statement&>> rows;
  RETURN_IF_ERROR(ReadEach(
      connection, sql, [&](const Statement& row) { rows.push_back(make(row)); }, bound...));
  return rows;
}

// The first column of a row, for ReadRows.
inline std::string FirstText(const Statement& row) { return row.Text(0); }

// result.depth in this column.
inline std::optional<double> DepthAt(const Statement& row, int column) {
  return row.IsNull(column) ? std::nullopt : std::optional(row.Double(column));
}

}  // namespace longrun::coordinator
