// Repairs the definitions of tables, indexes and views, which are text in the database: one flipped
// bit makes SQLite read other columns, or refuse to open the database at all. The migrations have
// the correct text.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"

namespace longrun::coordinator {

// The objects whose definition differs from that of the migrations in exactly one bit, as
// "table run". Opens the database with a connection of its own, which can also read definitions
// that SQLite cannot parse.
Result<std::vector<std::string>> FlippedDefinitions(const std::string& database_path);
// Flips these bits back. Adds descriptions of what was done to `repairs`.
Status MendDefinitions(const std::string& database_path, std::vector<std::string>& repairs);

}  // namespace longrun::coordinator
