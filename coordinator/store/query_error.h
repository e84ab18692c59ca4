// Explains SQLite's error about a statement that it cannot prepare: the place in the text, the name
// that does not exist, and similar or possible names.
#pragma once

#include <string>
#include <string_view>

namespace longrun::coordinator {

// `message`: sqlite3_errmsg(); `offset`: sqlite3_error_offset(), bytes into `sql`, -1 when unknown.
//   line 1, column 8: no view here has a column "positon"; did you mean "position"?
std::string ExplainSqlError(std::string_view sql, std::string_view message, int offset);

}  // namespace longrun::coordinator
