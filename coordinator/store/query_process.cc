// See query_process.h.
#include "coordinator/store/query_process.h"

#include <sqlite3.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <string_view>
#include <utility>
#include <vector>

#include "base/ask_process.h"
#include "base/check.h"
#include "base/exit_code.h"
#include "base/json.h"
#include "base/process.h"
#include "base/program.h"
#include "base/str.h"

namespace longrun::coordinator {
namespace {

// The child ends a query at its time. This much later the parent kills it: preparing a statement
// and finding damaged definitions are not interrupted.
constexpr std::int64_t kGraceMs = 5'000;
// For starting the child, which is not the query's fault.
constexpr std::int64_t kStartMs = 30'000;
// JSON writes one byte of text with up to six ("\u0001"); columns and damaged rows come on top.
constexpr std::int64_t kJsonBytesPerByte = 6;
constexpr std::int64_t kHeaderBytesMax = 16 << 20;

std::string Framed(const Json& header, std::string_view text) {
  return Str(CanonicalJson(header), "\n", text);
}

struct Frame {
  Json header;
  std::string text;
};

Result<Frame> Unframed(std::string bytes) {
  const std::size_t end = bytes.find('\n');
  if (end == std::string::npos) return Status(Code::kInternal, "it has no complete line");
  ASSIGN_OR_RETURN(Json header, ParseJson(std::string_view(bytes).substr(0, end)));
  ASSIGN_OR_RETURN(const std::int64_t n_bytes, GetInt(header, "text_bytes"));
  bytes.erase(0, end + 1);
  if (static_cast<std::int64_t>(bytes.size()) != n_bytes) {
    return Status(Code::kInternal, Str("it has ", bytes.size(), " bytes of text, not ", n_bytes));
  }
  return Frame{.header = std::move(header), .text = std::move(bytes)};
}

std::string QuestionText(const std::string& database_path, const std::string& sql,
                         const std::string& claims_json, const QueryLimits& limits) {
  return Framed({{"answer_bytes_max", limits.answer_bytes_max},
                 {"claims_json", claims_json},
                 {"database_path", database_path},
                 {"hides_folders", limits.hides_folders},
                 {"memory_bytes_max", limits.memory_bytes_max},
                 {"rows_max", limits.rows_max},
                 {"text_bytes", sql.size()},
                 {"timeout_ms", limits.timeout_ms}},
                sql);
}

std::string AnswerText(const Result<QueryAnswer>& answer) {
  if (!answer.ok()) {
    return Framed({{"code", static_cast<int>(answer.status().code())},
                   {"message", ToUtf8(answer.status().message())},  // SQLite may quote any bytes
                   {"text_bytes", 0}},
                  "");
  }
  Json damaged = Json::array();
  for (const DamagedRow& row : answer->damaged) {
    damaged.push_back({{"is_lost", row.is_lost},
                       {"key", ToUtf8(row.key)},
                       {"object", ToUtf8(row.object)},
                       {"remedy", ToUtf8(row.remedy)},
                       {"table", ToUtf8(row.table)}});
  }
  return Framed({{"code", 0},
                 {"columns", answer->columns},
                 {"cut_by", answer->cut_by},
                 {"damaged", std::move(damaged)},
                 {"tables", answer->tables},
                 {"text_bytes", answer->rows_json.size()}},
                answer->rows_json);
}

struct Reply {
  Status status;  // of the query
  QueryAnswer answer;
};

// An error: the text is not an answer.
Result<Reply> ParseAnswer(std::string text) {
  ASSIGN_OR_RETURN(Frame frame, Unframed(std::move(text)));
  Reply reply;
  ASSIGN_OR_RETURN(const std::int64_t code, GetInt(frame.header, "code"));
  if (code != 0) {
    ASSIGN_OR_RETURN(const std::string message, GetString(frame.header, "message"));
    reply.status = Status(static_cast<Code>(code), message);
    return reply;
  }
  QueryAnswer& answer = reply.answer;
  answer.rows_json = std::move(frame.text);
  ASSIGN_OR_RETURN(answer.cut_by, GetString(frame.header, "cut_by"));
  ASSIGN_OR_RETURN(const Json columns, GetMember(frame.header, "columns"));
  for (const Json& column : columns) answer.columns.push_back(column.get<std::string>());
  ASSIGN_OR_RETURN(const Json tables, GetMember(frame.header, "tables"));
  for (const Json& table : tables) answer.tables.insert(table.get<std::string>());
  ASSIGN_OR_RETURN(const Json damaged, GetMember(frame.header, "damaged"));
  for (const Json& row : damaged) {
    DamagedRow& one = answer.damaged.emplace_back();
    ASSIGN_OR_RETURN(one.table, GetString(row, "table"));
    ASSIGN_OR_RETURN(one.key, GetString(row, "key"));
    ASSIGN_OR_RETURN(one.object, GetString(row, "object"));
    ASSIGN_OR_RETURN(one.remedy, GetString(row, "remedy"));
    ASSIGN_OR_RETURN(one.is_lost, GetBool(row, "is_lost"));
  }
  return reply;
}

// The date functions use TZ; the program may need the other to find its libraries.
std::vector<std::string> Environment() {
  std::vector<std::string> environment;
  for (const char* const name : {"LD_LIBRARY_PATH", "TZ"}) {
    if (const auto value = GetEnv(name)) environment.push_back(Str(name, "=", *value));
  }
  return environment;
}

Status EndedWithoutAnswer(const ExitInfo& exit) {
  const std::string how = exit.signal != 0 ? Str("was killed by signal ", exit.signal)
                                           : Str("ended with exit code ", exit.code);
  return {Code::kInternal,
          Str("the process of the query ", how,
              " before it had answered; the coordinator goes on, and no data is affected: try "
              "again, and if it happens again, the coordinator's log and the kernel's (`dmesg`) "
              "may say why")};
}

Result<std::string> ReadInput() {
  std::string text;
  std::array<char, 4096> part{};
  while (true) {
    const ssize_t n = read(STDIN_FILENO, part.data(), part.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, "cannot read the question");
    if (n == 0) return text;
    text.append(part.data(), static_cast<std::size_t>(n));
  }
}

Result<QueryAnswer> AnswerTo(const Frame& question) {
  QueryLimits limits;
  ASSIGN_OR_RETURN(limits.answer_bytes_max, GetInt(question.header, "answer_bytes_max"));
  ASSIGN_OR_RETURN(limits.hides_folders, GetBool(question.header, "hides_folders"));
  ASSIGN_OR_RETURN(limits.memory_bytes_max, GetInt(question.header, "memory_bytes_max"));
  ASSIGN_OR_RETURN(limits.rows_max, GetInt(question.header, "rows_max"));
  ASSIGN_OR_RETURN(limits.timeout_ms, GetInt(question.header, "timeout_ms"));
  ASSIGN_OR_RETURN(const std::string path, GetString(question.header, "database_path"));
  // Without its count of memory, SQLite has no limit.
  LR_CHECK(sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 1) == SQLITE_OK);
  sqlite3_hard_heap_limit64(limits.memory_bytes_max);
  ASSIGN_OR_RETURN(const std::string claims_json, GetString(question.header, "claims_json"));
  return RunQuery(path, question.text, claims_json, limits);
}

Status ClientGone() { return {Code::kCancelled, "the query's client disconnected"}; }

}  // namespace

Result<QueryAnswer> AskQuery(const std::string& program, const std::string& database_path,
                             const std::string& sql, const std::string& claims_json,
                             const QueryLimits& limits, std::function<bool()> is_cancelled) {
  if (is_cancelled && is_cancelled()) return ClientGone();
  const std::int64_t bytes_max = kJsonBytesPerByte * limits.answer_bytes_max + kHeaderBytesMax;
  auto asked = AskProcess({.argv = {program, kAnswerQueryFlag}, .env = Environment()},
                          QuestionText(database_path, sql, claims_json, limits),
                          {.timeout_ms = limits.timeout_ms + kGraceMs,
                           .start_ms = kStartMs,
                           .answer_bytes_max = static_cast<std::size_t>(bytes_max),
                           .is_cancelled = std::move(is_cancelled)});
  if (!asked.ok()) {
    // Not kUnavailable, as for a service that has gone: a client would ask for another one.
    const Code code = asked.status().code();
    const bool is_limit = code == Code::kResourceExhausted || code == Code::kUnavailable;
    return Status(is_limit ? Code::kResourceExhausted : Code::kInternal, asked.status().message())
        .In("starting the process of the query");
  }
  switch (asked->end) {
    case AnswerEnd::kNotStarted:
      return Status(Code::kResourceExhausted,
                    Str("the process of the query was not ready after ", kStartMs / 1000,
                        " s: the coordinator's machine has too much to do; try again later"));
    case AnswerEnd::kTimeout:
      return QueryTimeout(limits);
    case AnswerEnd::kTooLong:
      return Status(Code::kResourceExhausted, Str("the answer takes more than ", bytes_max >> 20,
                                                  " MiB: ask for fewer rows, or shorter ones"));
    case AnswerEnd::kCancelled:
      return ClientGone();
    case AnswerEnd::kExit:
      break;
  }
  if (asked->exit.code != 0) return EndedWithoutAnswer(asked->exit);
  Result<Reply> reply = ParseAnswer(std::move(asked->text));
  if (!reply.ok()) return EndedWithoutAnswer(asked->exit);
  RETURN_IF_ERROR(reply->status);
  return std::move(reply->answer);
}

int AnswerQuery() {
  prctl(PR_SET_NAME, "longrun-query");
  WriteOutput("\n");  // it has started
  FlushOutput();
  const auto read_text = ReadInput();
  const auto question = read_text.ok() ? Unframed(*read_text) : Result<Frame>(read_text.status());
  if (!question.ok()) {
    std::fprintf(stderr, "longrun-coordinator %s: not a question of a coordinator: %s\n",
                 kAnswerQueryFlag, question.status().message().c_str());
    return kExitBadUsage;
  }
  WriteOutput(AnswerText(AnswerTo(*question)));
  return 0;
}

}  // namespace longrun::coordinator
