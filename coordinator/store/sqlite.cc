// See sqlite.h.
#include "coordinator/store/sqlite.h"

#include <cerrno>
#include <charconv>

#include "base/check.h"
#include "base/clock.h"
#include "base/shortage.h"
#include "base/str.h"
#include "base/utf8.h"

namespace longrun::coordinator {
namespace {

constexpr int kProgressOps = 10'000;  // virtual machine steps between two looks at the clock
constexpr std::size_t kShownBytes = 120;

// The beginning of a statement, without the line breaks and indents of our source.
std::string BeginningOf(std::string_view sql) {
  std::string line;
  for (const char c : sql) {
    const bool is_space = c == ' ' || c == '\n' || c == '\t';
    if (!is_space || (!line.empty() && line.back() != ' ')) line += is_space ? ' ' : c;
  }
  return Shortened(line, kShownBytes, " …");
}

// "" for a database in memory.
std::string PathOf(sqlite3* db) {
  const char* const name = db != nullptr ? sqlite3_db_filename(db, "main") : nullptr;
  return name != nullptr ? name : "";
}

// The errno of the system call that failed on a file of a connection, if it is a shortage; else 0.
// SQLite itself reports a limit of the process as "disk I/O error" or "unable to open".
// sqlite3_system_errno comes last: after a failed write, it may be the error of the rollback.
int ShortageErrno(sqlite3* db, int code) {
  const int primary = code & 0xff;
  if (primary == SQLITE_NOMEM) return ENOMEM;
  if (db == nullptr || (primary != SQLITE_IOERR && primary != SQLITE_CANTOPEN)) return 0;
  for (const int pointer : {SQLITE_FCNTL_FILE_POINTER, SQLITE_FCNTL_JOURNAL_POINTER}) {
    sqlite3_file* file = nullptr;
    int error_number = 0;
    if (sqlite3_file_control(db, "main", pointer, &file) != SQLITE_OK || file == nullptr) continue;
    if (file->pMethods == nullptr) continue;  // not open
    file->pMethods->xFileControl(file, SQLITE_FCNTL_LAST_ERRNO, &error_number);
    if (ShortageOf(error_number)) return error_number;
  }
  const int error_number = sqlite3_system_errno(db);
  return ShortageOf(error_number) ? error_number : 0;
}

}  // namespace

bool IsOfTheFile(int code) {
  switch (code & 0xff) {
    case SQLITE_FULL:
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_READONLY:
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_IOERR:
      return true;
    default:
      return false;
  }
}

Status DamagedDatabase(const std::string& path, std::string_view how) {
  return Status(Code::kDataLoss,
                Str("the database ", path, " is damaged (", how,
                    "): put back a copy of it, or move the state folder away to start over"));
}

Status SqliteStatus(sqlite3* db, int code, std::string_view what) {
  const std::string path = PathOf(db);
  const std::string database = path.empty() ? "the database" : Str("the database ", path);
  const std::string said =
      Str("SQLite: ", db != nullptr ? sqlite3_errmsg(db) : sqlite3_errstr(code));
  const std::string raw = Str(said, "; ", BeginningOf(what));
  const auto told = [&](Code told_code, std::string_view matter) {
    return Status(told_code, Str(matter, " (", raw, ")"));
  };
  if (const int error_number = ShortageErrno(db, code); error_number != 0) {
    const Status shortage = ErrnoStatus(error_number, Str("cannot use ", database));
    return told(shortage.code(), shortage.message());
  }
  switch (code & 0xff) {
    case SQLITE_FULL:
      return told(Code::kResourceExhausted,
                  Str("the disk of ", database, " is full: make room on it, then try again"));
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return DamagedDatabase(path, said);  // any statement of ours would have met it
    case SQLITE_CANTOPEN:
      return told(
          Code::kPermissionDenied,
          Str("cannot open ", database,
              ": give this user the right to read and write it, its -wal, its -shm and their "
              "folder"));
    case SQLITE_PERM:
    case SQLITE_READONLY:
    case SQLITE_AUTH:
      return told(
          Code::kPermissionDenied,
          Str("cannot write ", database,
              ": give this user the right to write it, its -wal, its -shm and their folder"));
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return told(Code::kUnavailable,
                  Str("another program has locked ", database, ": end it, then try again"));
    case SQLITE_IOERR:
      return told(
          Code::kUnavailable,
          Str("the disk of ", database,
              " cannot be read or written: check the disk (`dmesg`, `df`), then try again"));
    case SQLITE_INTERRUPT:
      return told(
          Code::kDeadlineExceeded,
          Str("reading ", database,
              " took too long: ask for less, or try again when the coordinator is less busy"));
    default:
      // SQLite 3 always writes 4 into this byte of the header.
      if (said.find("unsupported file format") != std::string::npos) {
        return DamagedDatabase(
            path, Str("its header names a schema format that no SQLite writes; ", said));
      }
      return told(Code::kInternal, Str(database,
                                       " rejected a statement of longrun: check with `longrun "
                                       "doctor` whether the database is damaged"));
  }
}

Statement::~Statement() {
  if (statement_ == nullptr) return;
  if (!is_kept_) {
    sqlite3_finalize(statement_);
    return;
  }
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
}

Statement& Statement::Bind(std::string_view text) {
  // A null pointer would bind NULL.
  const char* data = text.data() != nullptr ? text.data() : "";
  LR_CHECK(sqlite3_bind_text64(statement_, ++n_bound_, data, text.size(), SQLITE_STATIC,
                               SQLITE_UTF8) == SQLITE_OK);
  return *this;
}

Statement& Statement::Bind(std::int64_t number) {
  LR_CHECK(sqlite3_bind_int64(statement_, ++n_bound_, number) == SQLITE_OK);
  return *this;
}

Statement& Statement::Bind(double number) {
  LR_CHECK(sqlite3_bind_double(statement_, ++n_bound_, number) == SQLITE_OK);
  return *this;
}

Statement& Statement::BindNull() {
  LR_CHECK(sqlite3_bind_null(statement_, ++n_bound_) == SQLITE_OK);
  return *this;
}

Statement& Statement::BindValue(const StoredValue& value) {
  if (const auto* const number = std::get_if<std::int64_t>(&value)) return Bind(*number);
  if (const auto* const real = std::get_if<double>(&value)) return Bind(*real);
  if (const auto* const text = std::get_if<std::string>(&value)) {
    return Bind(std::string_view(*text));
  }
  return BindNull();
}

Statement& Statement::Again() {
  sqlite3_reset(statement_);
  n_bound_ = 0;
  return *this;
}

Result<bool> Statement::Step() {
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return SqliteStatus(sqlite3_db_handle(statement_), code, sqlite3_sql(statement_));
}

Status Statement::Run() {
  while (true) {
    ASSIGN_OR_RETURN(const bool more, Step());
    if (!more) return Status();
  }
}

std::string Statement::Text(int column) const {
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
  if (text == nullptr) return "";
  return std::string(text, static_cast<std::size_t>(sqlite3_column_bytes(statement_, column)));
}

std::int64_t Statement::Int(int column) const { return sqlite3_column_int64(statement_, column); }

double Statement::Double(int column) const { return sqlite3_column_double(statement_, column); }

bool Statement::IsNull(int column) const {
  return sqlite3_column_type(statement_, column) == SQLITE_NULL;
}

StoredValue Statement::Value(int column) const {
  switch (sqlite3_column_type(statement_, column)) {
    case SQLITE_INTEGER:
      return Int(column);
    case SQLITE_FLOAT:
      return Double(column);
    case SQLITE_NULL:
      return std::monostate();
    default:
      return Text(column);
  }
}

Result<std::unique_ptr<Connection>> Connection::Open(const std::string& path, Mode mode) {
  sqlite3* db = nullptr;
  const int flags =
      SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE |
      (mode == Mode::kWrite ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READWRITE);
  const int code = sqlite3_open_v2(path.c_str(), &db, flags, nullptr);
  std::unique_ptr<Connection> connection(new Connection(db));
  if (code != SQLITE_OK) return SqliteStatus(db, code, Str("cannot open the database ", path));
  sqlite3_busy_timeout(db, kBusyMs);
  // A trigger that somebody added to the database could make each of our writes fail. Our own are
  // temporary, and still run.
  sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, nullptr);
  // A connection that only reads leaves the files as they are.
  if (mode == Mode::kReadAll || mode == Mode::kDefinitions) {
    sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  }
  if (mode == Mode::kDefinitions) {
    RETURN_IF_ERROR(connection->Execute("PRAGMA writable_schema = ON"));
    return connection;
  }
  sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  RETURN_IF_ERROR(connection->Execute("PRAGMA trusted_schema = OFF"));
  if (mode == Mode::kWrite) {
    // A statement makes its row in memory of this size, which SQLite would otherwise allocate each
    // time: rows of tasks have a few kilobytes.
    constexpr int kBlockBytes = 8192, kBlocks = 64;
    sqlite3_db_config(db, SQLITE_DBCONFIG_LOOKASIDE, nullptr, kBlockBytes, kBlocks);
    return connection;
  }
  RETURN_IF_ERROR(connection->FindRowSums());
  if (mode == Mode::kRead) RETURN_IF_ERROR(connection->row_sums().HideDamaged());
  RETURN_IF_ERROR(connection->Execute("PRAGMA query_only = ON; PRAGMA cache_size = -16384"));
  return connection;
}

Status Connection::FindRowSums() {
  ASSIGN_OR_RETURN(row_sums_, RowSums::Of(db_));
  return Status();
}

Connection::~Connection() {
  for (const auto& [sql, statement] : statements_) sqlite3_finalize(statement);
  sqlite3_close(db_);
}

Result<Statement> Connection::Prepare(const char* sql) {
  sqlite3_stmt*& statement = statements_[sql];
  if (statement == nullptr) {
    const int code =
        sqlite3_prepare_v3(db_, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
    if (code != SQLITE_OK) return SqliteStatus(db_, code, sql);
  }
  LR_CHECK(sqlite3_stmt_busy(statement) == 0);  // it is not requested while it is in use
  return Statement(statement);
}

Result<Statement> Connection::PrepareOnce(const std::string& sql) {
  sqlite3_stmt* statement = nullptr;
  const int code = sqlite3_prepare_v2(db_, sql.c_str(), -1, &statement, nullptr);
  if (code != SQLITE_OK) return SqliteStatus(db_, code, sql);
  return Statement(statement, false);
}

Status Connection::Execute(const std::string& sql) {
  const int code = sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return SqliteStatus(db_, code, sql);
  return Status();
}

Result<std::int64_t> Connection::ReadInt(const std::string& sql) {
  ASSIGN_OR_RETURN(const std::string text, ReadText(sql));
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) {
    return DamagedDatabase(PathOf(db_),
                           Str("\"", text.substr(0, kShownBytes), "\" is where a number must be"));
  }
  return number;
}

Result<std::string> Connection::ReadText(const std::string& sql) {
  ASSIGN_OR_RETURN(std::vector<std::string> texts, ReadTexts(sql));
  if (texts.empty()) return Status(Code::kNotFound, Str(sql, ": no row"));
  return std::move(texts.front());
}

Result<std::vector<std::string>> Connection::ReadTexts(const std::string& sql) {
  sqlite3_stmt* statement = nullptr;
  int code = sqlite3_prepare_v2(db_, sql.c_str(), -1, &statement, nullptr);
  if (code != SQLITE_OK) return SqliteStatus(db_, code, sql);
  std::vector<std::string> texts;
  while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
    const auto* value = reinterpret_cast<const char*>(sqlite3_column_text(statement, 0));
    const auto n_bytes = static_cast<std::size_t>(sqlite3_column_bytes(statement, 0));
    texts.push_back(value == nullptr ? "" : std::string(value, n_bytes));
  }
  Status status;
  if (code != SQLITE_DONE) status = SqliteStatus(db_, code, sql);
  sqlite3_finalize(statement);
  if (!status.ok()) return status;
  return texts;
}

std::int64_t Connection::n_changed() const { return sqlite3_changes64(db_); }

void Connection::SetTimeLimit(std::int64_t limit_ms) {
  deadline_ms_ = BootMs() + limit_ms;
  if (limit_ms > 0) {
    sqlite3_progress_handler(db_, kProgressOps, &Connection::Progress, this);
  } else {
    sqlite3_progress_handler(db_, 0, nullptr, nullptr);
  }
}

int Connection::Progress(void* self) {
  return BootMs() > static_cast<Connection*>(self)->deadline_ms_ ? 1 : 0;
}

}  // namespace longrun::coordinator
