// A thin wrapper around SQLite's C interface: statements that bind and read by type, and errors as
// Status. Used only in this folder.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/status.h"
#include "coordinator/store/row_sum.h"

namespace longrun::coordinator {

inline constexpr int kBusyMs = 5000;  // how long a statement waits for another connection

// A prepared statement in use. Call Bind() in the order of the question marks, then Step() or
// Run(). The destructor resets the statement and clears its bindings, for the next use.
class Statement {
 public:
  explicit Statement(sqlite3_stmt* statement, bool is_kept = true)
      : statement_(statement), is_kept_(is_kept) {}
  ~Statement();
  Statement(Statement&& other) noexcept
      : statement_(other.statement_), is_kept_(other.is_kept_), n_bound_(other.n_bound_) {
    other.statement_ = nullptr;
  }
  Statement& operator=(Statement&&) = delete;

  Statement& Bind(std::string_view text);  // must outlive the statement's use
  Statement& Bind(std::int64_t number);
  Statement& Bind(double number);
  Statement& Bind(bool flag) { return Bind(std::int64_t{flag ? 1 : 0}); }
  Statement& BindNull();
  Statement& BindValue(const StoredValue& value);
  template <typename T>
  Statement& Bind(const std::optional<T>& value) {
    return value ? Bind(*value) : BindNull();
  }

  // Resets the statement for the next row: Bind() starts again with the first question mark.
  Statement& Again();

  Result<bool> Step();  // returns true if there is a row
  Status Run();         // to the end; ignores rows

  std::string Text(int column) const;  // "" for NULL
  std::int64_t Int(int column) const;
  double Double(int column) const;
  bool IsNull(int column) const;
  StoredValue Value(int column) const;

 private:
  sqlite3_stmt* statement_;
  bool is_kept_;  // the connection keeps it for the next use
  int n_bound_ = 0;
};

// One connection; one thread at a time.
class Connection {
 public:
  // kRead does not see rows with a wrong checksum (row_sum.h); kReadAll sees every row.
  // kDefinitions reads and writes sqlite_schema as text, even if SQLite cannot parse it.
  enum class Mode { kWrite, kRead, kReadAll, kDefinitions };
  static Result<std::unique_ptr<Connection>> Open(const std::string& path, Mode mode);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // `sql` is a literal: the statement is prepared once and kept.
  Result<Statement> Prepare(const char* sql);
  Result<Statement> PrepareOnce(const std::string& sql);
  Status Execute(const std::string& sql);  // one or more statements without parameters
  Result<std::int64_t> ReadInt(const std::string& sql);
  Result<std::string> ReadText(const std::string& sql);
  Result<std::vector<std::string>> ReadTexts(
      const std::string& sql);     // the first column of all rows
  std::int64_t n_changed() const;  // rows changed by the newest statement
  sqlite3* raw() const { return db_; }
  // Creates this connection's RowSums. To be called again after the tables have changed.
  Status FindRowSums();
  RowSums& row_sums() { return *row_sums_; }

  // A read that takes longer ends with kDeadlineExceeded. 0: no limit.
  void SetTimeLimit(std::int64_t limit_ms);

 private:
  explicit Connection(sqlite3* db) : db_(db) {}
  static int Progress(void* self);
  sqlite3* db_;
  std::unique_ptr<RowSums> row_sums_;
  std::map<const char*, sqlite3_stmt*> statements_;
  std::int64_t deadline_ms_ = 0;
};

// Calls `each` for each row of the statement. If `each` returns an error, the reading ends with it.
template <typename Each>
Status ForEachRow(Statement& row, Each each) {
  while (true) {
    ASSIGN_OR_RETURN(const bool more, row.Step());
    if (!more) return Status();
    if constexpr (std::is_void_v<decltype(each(row))>) {
      each(row);
    } else {
      RETURN_IF_ERROR(each(row));
    }
  }
}

// The same for a query without parameters.
template <typename Each>
Status ForEach(Connection& connection, const char* sql, Each each) {
  ASSIGN_OR_RETURN(Statement row, connection.Prepare(sql));
  return ForEachRow(row, std::move(each));
}

// The connection's newest error as a message: the database, the problem, the remedy, SQLite's own
// words and, unless the file is damaged, the beginning of `what`, the request that failed. The code
// matches: kResourceExhausted for a full disk or a limit of the process (base/shortage.h),
// kDataLoss for a damaged file.
Status SqliteStatus(sqlite3* db, int code, std::string_view what);
// Whether an error comes from the file or its disk, and not from the statement.
bool IsOfTheFile(int code);
// kDataLoss; `how` says how the damage was found, for a closer look.
Status DamagedDatabase(const std::string& path, std::string_view how);

}  // namespace longrun::coordinator
