// The views that a user's query may read, with the meaning of each column. The views themselves are
// in migrations/, except the one whose rows come with a query. A test compares names and order with
// the database, and docs/query.md with this table.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace longrun::coordinator {

struct QueryColumn {
  std::string_view name;
  std::string_view type;  // text | integer | real | json (text that holds JSON)
  std::string_view unit;  // ms, bytes, tokens, nats, ...; "" if none
  std::string_view meaning;
};

struct QueryView {
  std::string_view name;
  std::string_view meaning;  // the meaning of a row
  std::vector<QueryColumn> columns;
  // Whether its rows come from the client, with the query, and not from the database.
  bool is_given = false;
};

std::span<const QueryView> QueryViews();
// The names of the functions that a query may call.
std::span<const std::string_view> QueryFunctions();

// The part of docs/query.md from "## Views" on.
std::string QueryPage();

}  // namespace longrun::coordinator
