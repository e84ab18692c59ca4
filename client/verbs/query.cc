// longrun query SQL: read-only SQL over the documented views (docs/query.md).
#include <map>

#include "base/str.h"
#include "base/units.h"
#include "client/claims/sweep_claims.h"
#include "client/console/exit_code.h"
#include "client/console/input.h"
#include "client/console/output.h"
#include "client/verb.h"
#include "client/wire/retrying_client.h"
#include "client/words/render.h"

namespace longrun::client {
namespace {

constexpr std::size_t kSqlBytesMax = 1
                                     << 20;  // the coordinator's own limit is smaller, and says so
constexpr std::int64_t kTimeoutMsMax = 60'000;

struct QueryArguments {
  std::string sql;
  std::string timeout = "5s";
  std::int64_t limit = 10'000;
  bool views = false;
};

using Rows = std::vector<std::vector<std::string>>;

// On one line, with control characters as \n, \t, \x1b.
std::string OnOneLine(const std::string& text) { return OneLine(Printable(text)); }

std::string Shown(const Json& value, const char* null) {
  if (value.is_null()) return null;
  if (!value.is_string()) return CanonicalJson(value);
  return OnOneLine(value.get_ref<const std::string&>());
}

std::string CsvText(const Json& value) {
  if (value.is_null()) return "";
  return value.is_string() ? value.get<std::string>() : CanonicalJson(value);
}

std::string Markdown(const std::vector<std::string>& header, const Rows& rows) {
  const auto line = [](const std::vector<std::string>& row) {
    std::string text = "|";
    for (const std::string& field : row) text += Str(" ", MarkdownCell(field), " |");
    return text + "\n";
  };
  std::string out = line(header) + line(std::vector<std::string>(header.size(), "---"));
  for (const auto& row : rows) out += line(row);
  return out;
}

// Columns of one name become name, name_2, ...
std::vector<std::string> ObjectKeys(const std::vector<std::string>& columns) {
  std::vector<std::string> keys;
  std::map<std::string, int> seen;
  keys.reserve(columns.size());
  for (const std::string& name : columns) {
    const int n = ++seen[name];
    keys.push_back(n == 1 ? name : Str(name, "_", n));
  }
  return keys;
}

// A row as an object whose members are in the order of the columns, which an object of Json is not:
// on one line, or as RenderJson would write it in a list.
std::string ObjectText(const std::vector<std::string>& keys, const Json& row, bool on_one_line) {
  std::vector<std::string> members;
  for (std::size_t c = 0; c < keys.size(); ++c) {
    const std::string key = CanonicalJson(Json(keys[c]));
    if (on_one_line) {
      members.push_back(Str(key, ":", CanonicalJson(row.at(c))));
      continue;
    }
    const std::vector<std::string> lines = Split(std::string(Trim(RenderJson(row.at(c)))), '\n');
    members.push_back(Str("    ", key, ": ", Join(lines, "\n    ")));
  }
  if (on_one_line) return Str("{", Join(members, ","), "}");
  return members.empty() ? "  {}" : Str("  {\n", Join(members, ",\n"), "\n  }");
}

// `rows`: lists with a value for each column.
std::string Rendered(const std::vector<std::string>& columns, const Json& rows,
                     const std::string& format) {
  if (format == "json" || format == "jsonl") {
    std::vector<std::string> objects;
    const std::vector<std::string> keys = ObjectKeys(columns);
    for (const Json& row : rows) objects.push_back(ObjectText(keys, row, format == "jsonl"));
    if (format == "json")
      return objects.empty() ? "[]\n" : Str("[\n", Join(objects, ",\n"), "\n]\n");
    return objects.empty() ? "" : Join(objects, "\n") + "\n";
  }
  std::vector<Align> align(columns.size(), Align::kRight);
  Rows texts;
  for (const Json& row : rows) {
    std::vector<std::string> fields;
    for (std::size_t c = 0; c < row.size(); ++c) {
      if (row.at(c).is_string()) align[c] = Align::kLeft;
      fields.push_back(format == "csv" ? CsvText(row.at(c)) : Shown(row.at(c), "–"));
    }
    texts.push_back(std::move(fields));
  }
  if (format == "csv") return RenderCsv(columns, texts);
  std::vector<std::string> header;
  for (const std::string& name : columns) header.push_back(OnOneLine(name));
  return format == "markdown" ? Markdown(header, texts) : RenderColumns(header, align, texts);
}

int ListViews(const std::string& format, const std::string& state) {
  const Result<v1::ListViewsResponse> answer = RetryingClient(state).ListViews();
  if (!answer.ok()) return Report(answer.status());
  Json rows = Json::array();
  for (const v1::ViewInfo& view : answer->views()) {
    for (const v1::ViewColumnInfo& column : view.columns()) {
      rows.push_back(Json::array(
          {view.name(), column.name(), column.type(), column.unit(), column.meaning()}));
    }
  }
  Print(Rendered({"view", "column", "type", "unit", "meaning"}, rows, format));
  return kExitOk;
}

int Query(const QueryArguments& arguments, const std::string& format, const std::string& state) {
  if (arguments.views) return ListViews(format, state);
  if (arguments.sql.empty()) {
    return Report(Status(Code::kInvalidArgument,
                         "a query is missing: write `longrun query \"SELECT ...\"`, or `longrun "
                         "query -` to read it from standard input; --views lists the views"));
  }
  const Result<std::string> sql =
      arguments.sql == "-"
          ? ReadStdin("the query",
                      "give the query as an argument, or its file: `longrun query - < FILE`",
                      kSqlBytesMax)
          : arguments.sql;
  if (!sql.ok()) return Report(sql.status());
  if (!IsUtf8(*sql)) {
    return Report(Status(Code::kInvalidArgument, "the query is not text in UTF-8"));
  }
  const Result<std::int64_t> timeout_ms = ParseDurationMs(arguments.timeout);
  if (!timeout_ms.ok()) return Report(timeout_ms.status().In("--timeout"));
  if (*timeout_ms < 1 || *timeout_ms > kTimeoutMsMax) {
    return Report(Status(Code::kInvalidArgument,
                         Str("--timeout: expected from 1ms to 60s, found ", arguments.timeout)));
  }
  RetryingClient client(state);
  QueryOptions options = {.timeout_ms = *timeout_ms, .rows_max = arguments.limit};
  if (MentionsClaims(*sql)) {
    Result<std::string> rows = ClaimRows(client, *timeout_ms);
    if (!rows.ok()) return client.ReportFailure(rows.status());
    options.claims_json = std::move(rows).value();
  }
  const Result<v1::QueryResponse> answer = client.Query(*sql, options);
  if (!answer.ok()) return client.ReportFailure(answer.status());
  const Json rows = JsonIn(answer->rows_json());
  Print(Rendered({answer->columns().begin(), answer->columns().end()}, rows, format));
  const std::string& cut_by = answer->cut_by();
  if (!cut_by.empty()) {
    std::fprintf(stderr, "longrun: only the first %zu rows are shown: %s\n", rows.size(),
                 cut_by == "rows" ? "use --limit for more"
                                  : "an answer holds at most 16 MiB; select fewer columns or rows");
  }
  return kExitOk;
}

}  // namespace

void AddQuery(Verbs& verbs) {
  Verb verb = verbs.AddVerb("query", "run a read-only SQL query over documented views");
  const auto arguments = std::make_shared<QueryArguments>();
  verb.AddArgument("SQL", arguments->sql, "one SELECT statement; -: read it from standard input");
  verb.AddFlag("--views", arguments->views, "list the views and their columns");
  verb.AddArgument("--timeout", arguments->timeout, "time that the query may take, up to 60s")
      .ShowDefault();
  verb.AddArgument("--limit", arguments->limit, "show at most this many rows, up to 1000000")
      .Between(1, 1'000'000)
      .ShowDefault();
  const auto output = AddOutput(verb, {"table", "json", "jsonl", "csv", "markdown"});
  verb.AddExamples({"longrun query --views",
                    "longrun query \"SELECT * FROM sweep_results WHERE sweep = 'my-sweep'\"",
                    "longrun query - -o csv"});
  verb.SetRun([&verbs, arguments, output] { return Query(*arguments, *output, verbs.state); });
}

}  // namespace longrun::client
