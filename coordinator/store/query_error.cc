// See query_error.h.
#include "coordinator/store/query_error.h"

#include <algorithm>
#include <optional>
#include <set>
#include <vector>

#include "base/letter_case.h"
#include "base/str.h"
#include "coordinator/store/query.h"
#include "coordinator/store/query_catalogue.h"

namespace longrun::coordinator {
namespace {

constexpr const char* kKeywords[] = {
    "and",  "as",     "asc",    "between",   "by",    "case",   "cast",  "cross", "desc",
    "else", "end",    "exists", "from",      "group", "having", "inner", "is",    "join",
    "left", "limit",  "not",    "null",      "on",    "order",  "outer", "over",  "partition",
    "with", "select", "union",  "recursive", "using", "values", "when",  "where", "then",
    "like", "in",     "offset", "distinct",  "or"};
constexpr const char* kViewsHelp = "`longrun query --views` lists views and columns";

// The text after `beginning` if the message begins with it.
std::optional<std::string> After(std::string_view message, std::string_view beginning) {
  if (!message.starts_with(beginning)) return std::nullopt;
  return std::string(message.substr(beginning.size()));
}

// "line 2, column 5: "; columns count characters. "" if the place is unknown.
std::string PlaceOf(std::string_view sql, std::optional<std::size_t> offset) {
  if (!offset || *offset > sql.size()) return "";
  std::size_t line = 1, column = 1;
  for (const char c : sql.substr(0, *offset)) {
    if (c == '\n') {
      line += 1;
      column = 1;
    } else if ((static_cast<unsigned char>(c) & 0xc0) != 0x80) {
      column += 1;
    }
  }
  return Str("line ", line, ", column ", column, ": ");
}

std::optional<std::size_t> FindName(std::string_view sql, std::string_view name) {
  const std::vector<SqlName> names = NamesOf(sql);
  const auto found = std::ranges::find(names, InSmallLetters(name), &SqlName::text);
  return found == names.end() ? std::nullopt : std::optional(found->begin);
}

// Suggests `near` if there is one, else the help that lists everything.
std::string Suggest(const std::string& near, std::string_view help) {
  return near.empty() ? Str("; ", help) : Str("; did you mean \"", near, "\"?");
}

std::string NoView(const std::string& name) {
  std::vector<std::string> names;
  names.reserve(QueryViews().size());
  for (const QueryView& view : QueryViews()) names.emplace_back(view.name);
  const std::string lower = InSmallLetters(name);
  const bool is_singular = std::ranges::find(names, lower + "s") != names.end();
  const std::string near = is_singular ? lower + "s" : Nearest(lower, names);
  return Str("there is no view \"", name, "\"",
             near.empty() ? Str("; the views are: ", Join(names, ", "))
                          : Str("; did you mean \"", near, "\"?"));
}

// Suggests columns of the views that the statement names, else of all views.
std::string NoColumn(std::string_view sql, const std::string& qualified) {
  const std::string name = qualified.substr(qualified.rfind('.') + 1);  // npos + 1 is 0
  std::set<std::string> used;
  for (const SqlName& one : NamesOf(sql)) used.insert(one.text);
  std::set<std::string> here;
  std::vector<std::string> owners;  // views elsewhere that have exactly this column
  bool has_view = false;
  for (const QueryView& view : QueryViews()) {
    const bool is_used = used.contains(std::string(view.name));
    has_view = has_view || is_used;
    for (const QueryColumn& column : view.columns) {
      if (is_used) here.insert(std::string(column.name));
      if (!is_used && column.name == InSmallLetters(name)) owners.emplace_back(view.name);
    }
  }
  const std::string near = Nearest(InSmallLetters(name), {here.begin(), here.end()});
  if (near.empty() && !owners.empty()) {
    return Str(has_view ? "no view here has a column \"" : "there is no column \"", name,
               "\"; found in: ", Join(owners, ", "));
  }
  return Str("no view here has a column \"", name, "\"", Suggest(near, kViewsHelp));
}

std::string NoFunction(const std::string& name) {
  const auto functions = QueryFunctions();
  const std::string near = Nearest(InSmallLetters(name), {functions.begin(), functions.end()});
  return Str("there is no function ", name, "()",
             Suggest(near, "docs/query.md lists the functions"));
}

// `name`: "run_key", or "main.runs.run_key" where even the view does not tell which one is meant.
std::string Ambiguous(const std::string& name) {
  const std::size_t dot = name.rfind('.');
  if (dot == std::string::npos) {
    return Str("more than one view here has a column \"", name, "\": write VIEW.", name);
  }
  const std::string qualifier = name.substr(0, dot);
  const std::string twice = qualifier.substr(qualifier.rfind('.') + 1);  // npos + 1 is 0
  const bool is_view =
      std::ranges::any_of(QueryViews(), [&](const QueryView& view) { return view.name == twice; });
  return Str("more than one view here is called \"", twice,
             "\": give each a name of its own, as in ",
             is_view ? Str(twice, " AS a, ", twice, " AS b") : "runs AS a, tasks AS b");
}

// Handles: near "FORM": syntax error
std::string Syntax(std::string_view message) {
  constexpr std::size_t kBegin = std::string_view("near \"").size();
  const std::string token(message.substr(kBegin, message.rfind('"') - kBegin));
  const std::vector<std::string> keywords(std::begin(kKeywords), std::end(kKeywords));
  std::string near = Nearest(InSmallLetters(token), keywords);
  if (near == InSmallLetters(token)) near.clear();  // a keyword in the wrong place
  return Str("the SQL cannot be parsed from \"", token, "\" onwards",
             Suggest(InCapitals(near), "docs/query.md has examples"));
}

}  // namespace

std::string ExplainSqlError(std::string_view sql, std::string_view message, int offset) {
  std::optional<std::size_t> place;
  if (offset >= 0) place = static_cast<std::size_t>(offset);
  if (const auto table = After(message, "no such table: ")) {
    const std::string name = table->substr(table->rfind('.') + 1);
    return PlaceOf(sql, place ? place : FindName(sql, name)) + NoView(name);
  }
  if (const auto column = After(message, "no such column: ")) {
    return PlaceOf(sql, place ? place : FindName(sql, column->substr(column->rfind('.') + 1))) +
           NoColumn(sql, *column);
  }
  if (const auto function = After(message, "no such function: ")) {
    return PlaceOf(sql, place ? place : FindName(sql, *function)) + NoFunction(*function);
  }
  if (const auto name = After(message, "ambiguous column name: ")) {
    return PlaceOf(sql, place) + Ambiguous(*name);
  }
  if (message.starts_with("near \"") && message.ends_with("\": syntax error")) {
    return PlaceOf(sql, place) + Syntax(message);
  }
  if (message == "incomplete input") {
    return Str(PlaceOf(sql, sql.size()), "the query ends too early: something is missing, or a ",
               "bracket is not closed");
  }
  if (const auto token = After(message, "unrecognized token: ")) {
    return Str(PlaceOf(sql, place), "no SQL begins with ", *token,
               ": is a quote not closed, or a word not quoted?");
  }
  return Str(PlaceOf(sql, place), message, "; docs/query.md has examples");
}

}  // namespace longrun::coordinator
