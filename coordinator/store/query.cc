// See query.h.
#include "coordinator/store/query.h"

#include <sqlite3.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <span>

#include "base/check.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/letter_case.h"
#include "base/str.h"
#include "coordinator/store/query_catalogue.h"
#include "coordinator/store/query_error.h"
#include "coordinator/store/row_sum.h"
#include "coordinator/store/schema.h"
#include "coordinator/store/sqlite.h"

namespace longrun::coordinator {
namespace {

constexpr int kProgressOps = 50;              // machine steps between two checks of the limits
constexpr double kExpandedTablesMax = 5'000;  // preparing them takes 0.1 s
constexpr int kLikePatternBytesMax = 100;
// Limit of a stored row, which is read whole for its checksum: a sweep's file with its overrides
// and axes, or a task with its list of results, which had no limit in earlier releases. Half of the
// memory is left for the rest of the query.
constexpr int kRowBytesMax = 64 << 20;
constexpr std::string_view kHolds = "row_holds_";  // a prefix from row_sum.h
constexpr std::int64_t kValueBytes = 24;           // of a value in the answer, without its text

struct CloseDb {
  void operator()(sqlite3* db) const { sqlite3_close(db); }
};
using Db = std::unique_ptr<sqlite3, CloseDb>;
struct FinalizeStatement {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using Prepared = std::unique_ptr<sqlite3_stmt, FinalizeStatement>;

bool IsView(std::string_view name) {
  const auto views = QueryViews();
  return std::ranges::find(views, name, &QueryView::name) != views.end();
}

bool IsJsonTable(std::string_view name) { return name == "json_each" || name == "json_tree"; }

const QueryView& GivenView() {
  const auto views = QueryViews();
  const auto view = std::ranges::find(views, true, &QueryView::is_given);
  LR_CHECK(view != views.end());
  return *view;
}

std::string ColumnList(const QueryView& view) {
  std::vector<std::string> columns;
  columns.reserve(view.columns.size());
  for (const QueryColumn& column : view.columns) columns.push_back(Str('"', column.name, '"'));
  return Join(columns, ", ");
}

// ---- what is allowed ----------------------------------------------------------------------------

struct Guard {
  bool on_views_only = true;  // the database in memory; false: the real one, tables below the views
  std::string denied = {};    // the first operation that was refused
  std::set<std::string, std::less<>> tables = {};  // tables that the views read
  bool reads_given = false;                        // the query names GivenView()
};

std::string ActionName(int action) {
  switch (action) {
    case SQLITE_INSERT:
    case SQLITE_UPDATE:
    case SQLITE_DELETE:
      return "change rows";
    case SQLITE_PRAGMA:
      return "use PRAGMA";
    case SQLITE_ATTACH:
    case SQLITE_DETACH:
      return "attach databases";
    case SQLITE_TRANSACTION:
    case SQLITE_SAVEPOINT:
      return "begin transactions";
    case SQLITE_ANALYZE:
    case SQLITE_REINDEX:
      return "work on indexes";
    default:
      return "change the schema";
  }
}

int Deny(Guard& guard, std::string what) {
  if (guard.denied.empty()) guard.denied = std::move(what);
  return SQLITE_DENY;
}

// Tables of SQLite itself; some of them take time in proportion to the database's size.
bool IsInternal(std::string_view table) {
  return table.starts_with("sqlite_") || table.starts_with("pragma_") || table == "dbstat" ||
         table == "bytecode" || table == "tables_used";
}

// In the first pass, every name that the query itself uses was found among the views. So on the
// real database a table is read only through a view: the context is the view, or a WITH inside one.
// A read of no column is a count of the rows of a WITH or of a table below a view.
int AuthorizeRead(Guard& guard, std::string_view table, std::string_view column,
                  const char* context) {
  // As it was typed, if no column is read.
  const std::string_view given = GivenView().name;
  if (table.size() == given.size() &&
      sqlite3_strnicmp(table.data(), given.data(), static_cast<int>(given.size())) == 0) {
    guard.reads_given = true;
  }
  if (IsView(table) || IsJsonTable(table)) return SQLITE_OK;
  const bool through_view = !guard.on_views_only && context != nullptr;
  if (!IsInternal(table) && (column.empty() || through_view)) {
    guard.tables.emplace(table);
    return SQLITE_OK;
  }
  return Deny(guard, Str("read ", table, ": only the views that `longrun query --views` lists"));
}

int Authorize(void* self, int action, const char* first, const char* second, const char*,
              const char* context) {
  Guard& guard = *static_cast<Guard*>(self);
  const std::string_view a = first != nullptr ? first : "";
  const std::string_view b = second != nullptr ? second : "";
  switch (action) {
    case SQLITE_SELECT:
    case SQLITE_RECURSIVE:
      return SQLITE_OK;
    case SQLITE_READ:
      return AuthorizeRead(guard, a, b, context);
    case SQLITE_FUNCTION: {
      const std::string name = InSmallLetters(b);
      // The views call it to leave out damaged rows; the first pass has no such function.
      if (context != nullptr && name.starts_with(kHolds)) return SQLITE_OK;
      const auto allowed = QueryFunctions();
      if (std::ranges::find(allowed, name) != allowed.end()) return SQLITE_OK;
      return Deny(guard, Str("call ", name, "(): docs/query.md lists the functions"));
    }
    default:
      return Deny(guard, Str(ActionName(action), ": queries can only read"));
  }
}

// like(PATTERN, TEXT [, ESCAPE]): SQLite's own takes time exponential in the number of '%'.
void Like(sqlite3_context* context, int n_values, sqlite3_value** values) {
  for (int i = 0; i < n_values; ++i) {
    if (sqlite3_value_type(values[i]) == SQLITE_NULL) return sqlite3_result_null(context);
    if (sqlite3_value_type(values[i]) == SQLITE_BLOB) return sqlite3_result_int(context, 0);
  }
  const auto text = [&](int i) {
    const auto* bytes = reinterpret_cast<const char*>(sqlite3_value_text(values[i]));
    return bytes == nullptr
               ? std::string_view()
               : std::string_view(bytes, static_cast<std::size_t>(sqlite3_value_bytes(values[i])));
  };
  const std::string_view pattern = text(0);
  if (pattern.size() > kLikePatternBytesMax) {
    return sqlite3_result_error(context, "a LIKE pattern may have at most 100 bytes", -1);
  }
  char32_t escape = 0;
  if (n_values == 3) {
    const std::string_view given = text(2);
    if (given.size() != 1) {
      return sqlite3_result_error(context, "ESCAPE expects one ASCII character", -1);
    }
    escape = static_cast<unsigned char>(given[0]);
  }
  sqlite3_result_int(context, LikeMatches(pattern, text(1), escape) ? 1 : 0);
}

// ---- the two databases --------------------------------------------------------------------------

void SetLimits(sqlite3* db) {
  const std::pair<int, int> limits[] = {{SQLITE_LIMIT_LENGTH, kRowBytesMax},
                                        {SQLITE_LIMIT_SQL_LENGTH, static_cast<int>(kQueryBytesMax)},
                                        {SQLITE_LIMIT_COLUMN, 200},
                                        {SQLITE_LIMIT_EXPR_DEPTH, 100},
                                        {SQLITE_LIMIT_COMPOUND_SELECT, 50},
                                        {SQLITE_LIMIT_VDBE_OP, 250'000},
                                        {SQLITE_LIMIT_FUNCTION_ARG, 64},
                                        {SQLITE_LIMIT_ATTACHED, 0},
                                        {SQLITE_LIMIT_LIKE_PATTERN_LENGTH, kLikePatternBytesMax},
                                        {SQLITE_LIMIT_VARIABLE_NUMBER, 1},
                                        {SQLITE_LIMIT_TRIGGER_DEPTH, 1},
                                        {SQLITE_LIMIT_WORKER_THREADS, 0}};
  for (const auto& [limit, value] : limits) sqlite3_limit(db, limit, value);
}

Status Execute(sqlite3* db, const std::string& sql) {
  const int code = sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr);
  return code == SQLITE_OK ? Status() : SqliteStatus(db, code, "preparing a query's database");
}

// The columns that QueryLimits::hides_folders leaves empty.
constexpr RowSums::BlankColumn kFolderColumns[] = {{"dataset", "folder"}, {"model", "source"}};

// The rows that came with the query, as a table of this connection alone.
Status AddGivenRows(sqlite3* db, const std::string& rows_json) {
  const QueryView& view = GivenView();
  const auto refuse = [&view](std::string_view what) {
    return Status(Code::kInvalidArgument, Str("rows of ", view.name, ": ", what));
  };
  const Result<Json> rows = ParseJson(rows_json);
  if (!rows.ok()) return refuse(rows.status().message());
  const auto is_row = [&view](const Json& row) {
    return row.is_array() && row.size() == view.columns.size() &&
           std::ranges::none_of(row, [](const Json& value) { return value.is_structured(); });
  };
  if (!rows->is_array() || !std::ranges::all_of(*rows, is_row)) {
    return refuse(Str("expected lists of ", view.columns.size(), " values"));
  }
  std::vector<std::string> values;
  for (std::size_t c = 0; c < view.columns.size(); ++c) {
    values.push_back(Str("json_extract(value, '$[", c, "]')"));
  }
  RETURN_IF_ERROR(Execute(db, Str("CREATE TEMP TABLE ", view.name, " (", ColumnList(view), ")")));
  const std::string insert =
      Str("INSERT INTO temp.", view.name, " SELECT ", Join(values, ", "), " FROM json_each(?1)");
  sqlite3_stmt* raw = nullptr;
  int code = sqlite3_prepare_v2(db, insert.c_str(), -1, &raw, nullptr);
  const Prepared statement(raw);
  if (code == SQLITE_OK) {
    code =
        sqlite3_bind_text64(raw, 1, rows_json.data(), rows_json.size(), SQLITE_STATIC, SQLITE_UTF8);
  }
  if (code == SQLITE_OK) code = sqlite3_step(raw);
  return code == SQLITE_DONE ? Status() : SqliteStatus(db, code, "preparing a query's database");
}

// The last three are for the real database: `sums` leaves out its damaged rows, `given_json` has
// the rows of GivenView(), and the columns `blank` are empty.
Result<Db> Open(const std::string& path, int flags, Guard& guard, std::unique_ptr<RowSums>* sums,
                const std::string& given_json, std::span<const RowSums::BlankColumn> blank) {
  sqlite3* raw = nullptr;
  const int code = sqlite3_open_v2(path.c_str(), &raw,
                                   flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, nullptr);
  Db db(raw);
  if (code != SQLITE_OK) {
    return SqliteStatus(db.get(), code, "opening it for a query");
  }
  sqlite3_busy_timeout(db.get(), 1000);
  sqlite3_db_config(db.get(), SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(db.get(), SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0, nullptr);
  // Text in double quotes is a name: a misspelled column must not become a string.
  sqlite3_db_config(db.get(), SQLITE_DBCONFIG_DQS_DML, 0, nullptr);
  // Our views call json_extract, which this SQLite counts as unsafe there. They are ours, and the
  // authorizer also checks the functions of views.
  sqlite3_db_config(db.get(), SQLITE_DBCONFIG_TRUSTED_SCHEMA, 1, nullptr);
  RETURN_IF_ERROR(Execute(db.get(), "PRAGMA temp_store = MEMORY; PRAGMA cache_size = -8192"));
  // Virtual tables are created at their first use, which the authorizer would see as a
  // change: use them now.
  RETURN_IF_ERROR(Execute(db.get(), "SELECT 1 FROM json_each('[]'), json_tree('[]')"));
  if (guard.on_views_only) {
    for (const QueryView& view : QueryViews()) {
      RETURN_IF_ERROR(
          Execute(db.get(), Str("CREATE TABLE ", view.name, " (", ColumnList(view), ")")));
    }
  }
  if (sums != nullptr) {
    ASSIGN_OR_RETURN(*sums, RowSums::Of(db.get()));
    RETURN_IF_ERROR((*sums)->HideDamaged(blank));
    if (!given_json.empty()) RETURN_IF_ERROR(AddGivenRows(db.get(), given_json));
  }
  for (const int n_values : {2, 3}) {
    sqlite3_create_function(db.get(), "like", n_values,
                            SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS, nullptr, &Like,
                            nullptr, nullptr);
  }
  SetLimits(db.get());
  sqlite3_set_authorizer(db.get(), &Authorize, &guard);
  return db;
}

bool IsBlank(std::string_view text) {
  while (true) {
    text = Trim(text);
    if (text.starts_with(';')) {
      text.remove_prefix(1);
    } else if (text.starts_with("--") || text.starts_with("/*")) {
      const bool is_line = text.starts_with("--");
      const std::size_t end = text.find(is_line ? "\n" : "*/");
      if (end == std::string_view::npos) return true;
      text.remove_prefix(end + (is_line ? 1 : 2));
    } else {
      return text.empty();
    }
  }
}

Result<Prepared> Prepare(sqlite3* db, const std::string& sql, const Guard& guard) {
  sqlite3_stmt* raw = nullptr;
  const char* tail = nullptr;
  const int code = sqlite3_prepare_v3(db, sql.data(), static_cast<int>(sql.size()), 0, &raw, &tail);
  Prepared statement(raw);
  if (!guard.denied.empty()) {
    return Status(Code::kPermissionDenied, Str("a query may not ", guard.denied));
  }
  if (code == SQLITE_NOMEM) {
    return Status(Code::kResourceExhausted,
                  "the query is too large after its views are expanded: use fewer views, or each "
                  "of them less often");
  }
  if (IsOfTheFile(code)) return SqliteStatus(db, code, "preparing a query");
  if (code != SQLITE_OK) {
    return Status(Code::kInvalidArgument,
                  ExplainSqlError(sql, sqlite3_errmsg(db), sqlite3_error_offset(db)));
  }
  if (statement == nullptr) return Status(Code::kInvalidArgument, "the query is empty");
  const auto n_read = static_cast<std::size_t>(tail - sql.data());
  if (!IsBlank(std::string_view(sql).substr(n_read))) {
    return Status(Code::kInvalidArgument, "expected one SELECT, found more after its ';'");
  }
  if (sqlite3_stmt_isexplain(statement.get()) != 0 || sqlite3_stmt_readonly(statement.get()) == 0 ||
      sqlite3_column_count(statement.get()) == 0) {
    return Status(Code::kPermissionDenied, "a query may only SELECT");
  }
  if (sqlite3_bind_parameter_count(statement.get()) > 0) {
    return Status(Code::kInvalidArgument,
                  "a query cannot have placeholders such as ? or :name: write the value itself");
  }
  return statement;
}

// ---- running ------------------------------------------------------------------------------------

struct Watchdog {
  const QueryLimits& limits;
  std::int64_t deadline_ms = 0;
  Status stopped = {};  // why it was stopped
};

int Look(void* self) {
  Watchdog& dog = *static_cast<Watchdog*>(self);
  if (BootMs() > dog.deadline_ms) dog.stopped = QueryTimeout(dog.limits);
  return dog.stopped.ok() ? 0 : 1;
}

Json ValueOf(sqlite3_stmt* statement, int column) {
  switch (sqlite3_column_type(statement, column)) {
    case SQLITE_INTEGER:
      return sqlite3_column_int64(statement, column);
    case SQLITE_FLOAT: {
      const double value = sqlite3_column_double(statement, column);
      if (std::isfinite(value)) return value;
      return value > 0 ? "Infinity" : "-Infinity";  // SQLite turns NaN into null
    }
    case SQLITE_TEXT: {
      const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement, column));
      const auto n = static_cast<std::size_t>(sqlite3_column_bytes(statement, column));
      return ToUtf8(std::string_view(text, n));
    }
    case SQLITE_BLOB: {
      constexpr std::string_view kDigits = "0123456789abcdef";
      const auto* bytes = static_cast<const unsigned char*>(sqlite3_column_blob(statement, column));
      const auto n = static_cast<std::size_t>(sqlite3_column_bytes(statement, column));
      std::string text = "x'";
      for (std::size_t i = 0; i < n; ++i) {
        text += kDigits[bytes[i] >> 4];
        text += kDigits[bytes[i] & 15];
      }
      return text + "'";
    }
    default:
      return nullptr;
  }
}

Status TooLong(const std::string& column) {
  return {Code::kResourceExhausted,
          Str("column \"", column, "\" has a value of more than ", kQueryTextBytesMax >> 10,
              " KiB: leave it out, or select its length or a part of it (`substr`)")};
}

bool IsOutOfMemory(int code) { return (code & 0xff) == SQLITE_NOMEM || code == SQLITE_IOERR_NOMEM; }

Status Fetch(sqlite3* db, sqlite3_stmt* statement, Watchdog& dog, QueryAnswer& answer) {
  const int n_columns = sqlite3_column_count(statement);
  for (int c = 0; c < n_columns; ++c) {
    answer.columns.push_back(ToUtf8(sqlite3_column_name(statement, c)));
  }
  std::int64_t n_bytes = 0, n_rows = 0;
  answer.rows_json = "[";
  const auto end = [&](std::string_view cut_by) {
    answer.rows_json += "]";
    answer.cut_by = cut_by;
    return Status();
  };
  while (true) {
    const int code = sqlite3_step(statement);
    if (code == SQLITE_DONE) return end("");
    if (!dog.stopped.ok()) return dog.stopped;
    if (code == SQLITE_TOOBIG) {
      return {Code::kResourceExhausted,
              Str("the query made a value, or read a row, of more than ", kRowBytesMax >> 20,
                  " MiB (a task of an earlier release may be as large): make shorter values, or "
                  "read fewer tasks")};
    }
    if (IsOutOfMemory(code)) {
      return {Code::kResourceExhausted, Str("the query was stopped when it held more than ",
                                            dog.limits.memory_bytes_max >> 20,
                                            " MiB: sort or group fewer rows, or shorter ones")};
    }
    if (IsOfTheFile(code)) return SqliteStatus(db, code, "a query");
    if (code != SQLITE_ROW) return {Code::kInvalidArgument, sqlite3_errmsg(db)};
    if (n_rows >= dog.limits.rows_max) return end("rows");
    Json row = Json::array();
    for (int c = 0; c < n_columns; ++c) {
      const int type = sqlite3_column_type(statement, c);
      const bool is_text = type == SQLITE_TEXT || type == SQLITE_BLOB;
      if (is_text && sqlite3_column_bytes(statement, c) > kQueryTextBytesMax) {
        return TooLong(answer.columns[static_cast<std::size_t>(c)]);
      }
      row.push_back(ValueOf(statement, c));
      n_bytes += kValueBytes;
      if (row.back().is_string()) {
        n_bytes += static_cast<std::int64_t>(row.back().get_ref<const std::string&>().size());
      }
    }
    if (n_bytes > dog.limits.answer_bytes_max) return end("bytes");
    if (n_rows++ > 0) answer.rows_json += ',';
    answer.rows_json += CanonicalJson(row);
  }
}

Status CheckText(const std::string& sql) {
  if (sql.size() >= kQueryBytesMax) {
    return {Code::kInvalidArgument,
            Str("the query has ", sql.size(), " bytes: expected less than ", kQueryBytesMax)};
  }
  if (!IsUtf8(sql) || sql.find('\0') != std::string::npos) {
    return {Code::kInvalidArgument, "the query is not UTF-8 text"};
  }
  if (const double n = ExpandedTables(sql); n > kExpandedTablesMax) {
    return {Code::kInvalidArgument,
            "the query uses the names defined in its WITH too often: expanded, it could read more "
            "than 5000 tables; define fewer names, or use each of them less often"};
  }
  return {};
}

}  // namespace

Status QueryTimeout(const QueryLimits& limits) {
  return {Code::kDeadlineExceeded,
          Str("the query was stopped after ", limits.timeout_ms,
              " ms: narrow the query with WHERE, or allow more time with --timeout")};
}

Result<QueryAnswer> RunQuery(const std::string& database_path, const std::string& sql,
                             const std::string& claims_json, const QueryLimits& limits) {
  RETURN_IF_ERROR(CheckText(sql));
  {
    ASSIGN_OR_RETURN(const auto connection,
                     Connection::Open(database_path, Connection::Mode::kReadAll));
    RETURN_IF_ERROR(CheckDefinitions(*connection));
  }
  Guard names = {.on_views_only = true};
  {
    ASSIGN_OR_RETURN(const Db views,
                     Open(":memory:", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, names,
                          /*sums=*/nullptr, /*given_json=*/"", /*blank=*/{}));
    RETURN_IF_ERROR(Prepare(views.get(), sql, names).status());
  }
  if (names.reads_given && claims_json.empty()) {
    return Status(
        Code::kInvalidArgument,
        Str("the rows of ", GivenView().name,
            " come from the client: use `longrun query`, which sends them with the query"));
  }
  Guard guard = {.on_views_only = false};
  std::unique_ptr<RowSums> sums;  // must outlive its connection
  std::span<const RowSums::BlankColumn> blank;
  if (limits.hides_folders) blank = kFolderColumns;
  ASSIGN_OR_RETURN(const Db db, Open(database_path, SQLITE_OPEN_READONLY, guard, &sums,
                                     names.reads_given ? claims_json : "", blank));
  Watchdog dog = {.limits = limits, .deadline_ms = BootMs() + limits.timeout_ms};
  sqlite3_progress_handler(db.get(), kProgressOps, &Look, &dog);
  ASSIGN_OR_RETURN(const Prepared statement, Prepare(db.get(), sql, guard));
  QueryAnswer answer;
  RETURN_IF_ERROR(Fetch(db.get(), statement.get(), dog, answer));
  answer.damaged = sums->TakeDamaged();
  answer.tables = {guard.tables.begin(), guard.tables.end()};
  return answer;
}

}  // namespace longrun::coordinator
