// The numbered changes of the schema, oldest first. The first one makes version 1. A migration is
// never edited; for a change, add a new file in migrations/ and its name in CMakeLists.txt.
#pragma once

#include <span>
#include <string_view>

namespace longrun::coordinator {

struct Migration {
  std::string_view name;  // "0001_first"
  std::string_view sql;
};

std::span<const Migration> Migrations();

// Whether a migration makes a table, view or index of this name. Others were added by somebody
// else.
bool IsOurTable(std::string_view name);
bool IsOurView(std::string_view name);
bool IsOurIndex(std::string_view name);

}  // namespace longrun::coordinator
